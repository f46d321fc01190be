"""What a model is: its layout, its attention, its latents. `load` makes one, `check` says what it supports."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..types import Backbone
from .checking import Report, check

__all__ = ["Report", "check", "data_folder", "load"]


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
    for folder in (package / "_data", package.parent / "data"):
        if (folder / "models").is_dir():
            return folder
    raise FileNotFoundError(
        f"the bundled data are neither in {package / '_data'} nor in {package.parent / 'data'}"
    )


def _scenes(folder: Path, pretrained: bool) -> Backbone:
    from .scenes_model import load_scenes

    return load_scenes(folder, pretrained=pretrained)


def _photos(folder: Path, pretrained: bool) -> Backbone:
    from .photos_model import load_photos

    return load_photos(folder, pretrained=pretrained)


def _briefs(folder: Path, pretrained: bool) -> Backbone:
    from .huggingface_text import load_briefs

    return load_briefs(folder, pretrained=pretrained)


_BUNDLED: dict[str, Callable[[Path, bool], Backbone]] = {
    "scenes": _scenes,
    "photos": _photos,
    "briefs": _briefs,
}
"""Name to builder, which gets the model's folder and `pretrained`."""


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
        A bundled name (``"scenes"``, ``"photos"``, ``"briefs"``), ``"timm:NAME"``, ``"hf:REPO-OR-FOLDER"``, or a module: a model of timm
        or transformers, or any ViT-like module with its blocks in a ModuleList or Sequential. A module stays
        where and as it is. A Backbone is returned unchanged.
    transform : callable, optional
        PIL image to a float tensor (3, height, width), without a crop. Needed for a module that is neither
        of timm nor of transformers; by default the whole image is resized and normalised as the model expects.
        For a text model the tokenizer; by default the one that lies beside the weights.
    grid : tuple of int, optional
        (h, w) of the patch tokens; needed for such a module.
    n_prefix : int, optional
        P, the tokens before the patches; needed for such a module.
    size : int or tuple of int, optional
        (height, width) to which images are resized; the model's own by default.
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
        For a module of unknown layout without `transform`, `grid` and `n_prefix`.
    UltraError
        If weights can't be downloaded, or don't fit.

    Examples
    --------
    >>> load("scenes", pretrained=False)
    TextImageBackbone('scenes', ModuleDict, 4 prefix tokens)
    >>> load("timm:test_vit", pretrained=False).n_blocks
    6
    """
    if isinstance(source, str):
        layout = {"transform": transform, "grid": grid, "n_prefix": n_prefix, "size": size}
        model = _by_name(source, layout, pretrained, checkpoint, options)
        model.module.to(device=device, dtype=dtype)
        return model
    if extra := [
        *options,
        *(
            n
            for n, v in {"checkpoint": checkpoint, "device": device, "dtype": dtype}.items()
            if v is not None
        ),
    ]:
        raise ValueError(
            f"{', '.join(extra)} only go with a name; prepare the module before it is passed to load"
        )
    if isinstance(source, nn.Module):
        return _wrap(source, transform=transform, grid=grid, n_prefix=n_prefix, size=size)
    if all(callable(getattr(source, verb, None)) for verb in ("prepare", "run", "head", "card")):
        return source
    raise TypeError(f"load needs a name, an nn.Module or a Backbone, got {type(source).__name__}")


def _by_name(
    source: str, layout: dict[str, Any], pretrained: bool, checkpoint: Any, options: dict[str, Any]
) -> Backbone:
    kind, _, rest = source.partition(":")
    if checkpoint is not None and kind != "timm":
        raise ValueError(
            f"checkpoint goes with 'timm:NAME', got {source!r}; for 'hf:' name the folder itself"
        )
    if kind == "timm" and rest:
        from .timm import load_timm, wrap_timm

        module = load_timm(
            rest, pretrained=pretrained, checkpoint=checkpoint, size=layout["size"], options=options
        )
        return wrap_timm(module, name=source, **layout)
    if options:
        raise ValueError(f"{', '.join(options)} only go with 'timm:NAME', got {source!r}")
    if kind == "hf" and rest:
        from .huggingface import load_huggingface

        return load_huggingface(rest, pretrained=pretrained, **layout)
    if source in _BUNDLED:
        if given := [n for n, v in layout.items() if v is not None]:
            raise ValueError(f"{', '.join(given)} can't be changed for the bundled model {source!r}")
        return _BUNDLED[source](data_folder() / "models" / source, pretrained)
    raise ValueError(
        f"unknown model {source!r}; bundled are {', '.join(map(repr, _BUNDLED))}, others are 'timm:NAME' and "
        "'hf:REPO-OR-FOLDER', or pass an nn.Module"
    )


def _wrap(module: nn.Module, **layout: Any) -> Backbone:
    # Asked by the names of the classes, so that neither library is imported for a module that is not its own.
    roots = {c.__module__.partition(".")[0] for c in type(module).__mro__}
    if "timm" in roots:
        from .timm import wrap_timm

        return wrap_timm(module, **layout)
    if "transformers" in roots and hasattr(sys.modules["transformers"], "PreTrainedModel"):
        from .huggingface import wrap_huggingface

        return wrap_huggingface(module, **layout)
    from .image_backbone import ImageBackbone, WholeImage, fixed_grid, size_pair

    transform, size = layout["transform"], size_pair(layout["size"])
    if transform is None and size is not None:
        transform = WholeImage(size)
    missing = [
        n
        for n, v in (("transform", transform), ("grid", layout["grid"]), ("n_prefix", layout["n_prefix"]))
        if v is None
    ]
    if missing:
        raise TypeError(
            f"a {type(module).__name__} does not say how its tokens lie on an image; pass {', '.join(missing)} too: "
            "load(module, transform=image_to_tensor, grid=(h, w), n_prefix=1)"
        )
    prefix = layout["n_prefix"]
    if isinstance(prefix, bool) or not isinstance(prefix, int) or prefix < 0:
        raise ValueError(f"n_prefix must be an int of at least 0, got {prefix!r}")
    return ImageBackbone(type(module).__name__, module, transform, fixed_grid(layout["grid"]), prefix)
