"""The files of a bundled model in its folder, and the backbone of a vision tower filled from them."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from ..types import Settings, UltraError


def read_bundled(
    name: str, folder: Path, pretrained: bool, *more: str
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The configuration and, if `pretrained`, the weights; the folder must hold the files `more` too."""
    needed = ["config.json", *more, *(["model.safetensors"] if pretrained else [])]
    if missing := [file for file in needed if not (folder / file).is_file()]:
        hint = ", or pass pretrained=False" if missing == ["model.safetensors"] else ""
        raise UltraError(
            f"the bundled model {name!r} lacks {', '.join(missing)} in {folder}; reinstall ultra-kit, or make them with "
            f"data/models/{name}/train.py{hint}"
        )
    config = json.loads((folder / "config.json").read_text("utf-8"))
    return config, load_file(folder / "model.safetensors") if pretrained else {}


def read_settings(folder: Path) -> Settings:
    """The model's own settings, from ``settings.json`` in its folder; the paper's where there is none."""
    path = folder / "settings.json"
    return Settings(**json.loads(path.read_text("utf-8"))) if path.is_file() else Settings()


def fill(module: nn.Module, state: dict[str, Tensor], folder: Path) -> None:
    """Load the weights that were read from a folder."""
    try:
        module.load_state_dict(state)
    except RuntimeError as e:
        raise UltraError(f"the weights in {folder} don't fit config.json beside them: {e}") from e


def vision_fields(
    name: str, folder: Path, towers: dict[str, nn.Module], facts: dict[str, Any], state: dict[str, Tensor]
) -> dict[str, Any]:
    """The fields of a backbone round the tower "vision", all towers filled from `state` if it is not empty.

    Weights are named after their tower, others are left out; the optional ``prototypes`` (K, D) become the head.
    """
    vision: Any = towers["vision"]
    module = nn.ModuleDict(towers)
    if state:
        fill(module, {key: t for key, t in state.items() if key.partition(".")[0] in towers}, folder)
    prototypes = state.get("prototypes")
    if prototypes is not None:
        module.register_buffer("prototypes", F.normalize(prototypes.float(), dim=-1))

    return {
        "name": name,
        "module": module.eval(),
        "grid": vision.patch_embed.dynamic_feat_size,
        "n_prefix": vision.num_prefix_tokens,
        "forward": vision.forward_features,
        "reader": None if prototypes is None else partial(_likest, module),
        "facts": facts | ({} if prototypes is None else {"head": "prototype"}),
        "libraries": ("timm",),
        "settings": read_settings(folder),
    }


def _likest(module: nn.ModuleDict, latents: Tensor) -> Tensor:
    vision: Any = module["vision"]
    return vision.norm(latents) @ module.get_buffer("prototypes").T
