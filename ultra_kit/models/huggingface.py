"""Models of the transformers library: the only room that knows it."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..types import Backbone, UltraError
from .download import hub
from .huggingface_text import is_text_model, wrap_text
from .vision import ImageBackbone, Size, TextImageBackbone, WholeImage, fixed_grid, size_pair

_PREFIX = ("cls_token", "class_token", "class_embedding", "distillation_token", "register_tokens")


def load_huggingface(source: str, *, pretrained: bool = True, **layout: Any) -> Backbone:
    """Load a model from a local folder or the hub: safetensors only, and no code of the repository.

    Parameters
    ----------
    source : str
        A folder with ``config.json`` (and ``model.safetensors``), or a repository.
    pretrained : bool
        False takes the configuration only and leaves the weights random.
    **layout
        transform, grid, n_prefix, size as for `ultra_kit.load`.

    Returns
    -------
    Backbone
        For images or for texts, in eval mode.

    Raises
    ------
    UltraError
        If it can't be read or downloaded, or is of a kind the workbench does not know.
    """
    local = Path(source).is_dir()
    with contextlib.nullcontext() if local else hub(f"hf:{source}"):
        try:
            module = _build(source, pretrained)
        except (OSError, ValueError) as e:
            if local or isinstance(e, ValueError):
                raise UltraError(f"{source!r} can't be loaded: {str(e).strip().splitlines()[0][:300]}") from e
            raise
        return wrap_huggingface(module.eval(), name=f"hf:{source}", source=source, **layout)


def _build(source: str, pretrained: bool) -> Any:
    import transformers

    config = transformers.AutoConfig.from_pretrained(source, trust_remote_code=False)
    found = getattr(transformers, (config.architectures or ["AutoModel"])[0], transformers.AutoModel)
    if pretrained:
        return found.from_pretrained(source, config=config, use_safetensors=True, trust_remote_code=False)
    return found.from_config(config) if found is transformers.AutoModel else found(config)


def wrap_huggingface(
    module: Any,
    *,
    name: str | None = None,
    source: str | None = None,
    transform: Callable | None = None,
    grid: Any = None,
    n_prefix: int | None = None,
    size: Any = None,
) -> Backbone:
    """A model of transformers as a backbone.

    Parameters
    ----------
    module : transformers.PreTrainedModel
        ViT, DeiT, DINOv2, DINOv3, BEiT, CLIP, SigLIP and their relatives; or a text model.
    name : str, optional
        The class name by default.
    source : str, optional
        Folder or repository in which the image processor's settings and the tokenizer lie.
    transform, grid, n_prefix, size
        As for `ultra_kit.load`; read from the model by default.

    Returns
    -------
    Backbone
        A `TextImageBackbone` for a CLIP-like model with its tokenizer in `source`, an `ImageBackbone` for any
        other vision model, and a text backbone for a text model.

    Raises
    ------
    UltraError
        If it is neither a vision nor a text model.
    ValueError
        If `grid`, `n_prefix` or `size` is given for a text model; its `transform` is a tokenizer.
    """
    name = name or type(module).__name__
    if is_text_model(module):
        if given := [n for n, v in (("grid", grid), ("n_prefix", n_prefix), ("size", size)) if v is not None]:
            raise ValueError(f"{', '.join(given)} do not go with a text model ({name})")
        return wrap_text(module, name=name, source=source, tokenizer=transform)
    vision = _vision_part(module)
    if vision is None:
        raise UltraError(
            f"{name} ({type(module).__name__}) takes neither pixel_values nor token ids alone: it is no vision and no text model"
        )
    config = getattr(module.config, "vision_config", module.config)
    if transform is None:
        transform = _transform(source, config, size_pair(size))
    if grid is None and not isinstance(getattr(config, "patch_size", None), (int, list, tuple)):
        raise UltraError(
            f"{type(module).__name__} does not say how its patches lie; pass grid=(h, w) to load"
        )
    fields: dict[str, Any] = {
        "name": name,
        "module": module,
        "transform": transform,
        "grid": fixed_grid(grid) if grid is not None else lambda s: _grid(config.patch_size, s),
        "n_prefix": _count_prefix(vision) if n_prefix is None else n_prefix,
        "forward": _forward(vision, config),
        "reader": _reader(module, config),
        "facts": {"model_type": config.model_type, "input": list(getattr(transform, "size", ()))},
        "libraries": ("transformers",),
    }
    if source is not None and isinstance(getattr(module, "visual_projection", None), nn.Linear):
        # Without its tokenizer the model reads no text.
        with contextlib.suppress(OSError, ValueError, AttributeError):
            return TextImageBackbone(
                **fields,
                text_encoder=_text_encoder(module, source),
                projection=lambda z: module.visual_projection(module.vision_model.post_layernorm(z)),
            )
    return ImageBackbone(**fields)


def _vision_part(module: nn.Module) -> nn.Module | None:
    """What takes pixel values alone: the model, or the vision tower of an image-text model."""
    if hasattr(module, "get_text_features"):
        return getattr(module, "vision_model", None)
    return module if getattr(module, "main_input_name", "") == "pixel_values" else None


def _transform(source: str | None, config: Any, size: Size | None) -> WholeImage:
    """The image processor's size, mean and spread, without its crop."""
    from transformers import BaseImageProcessor

    found: dict[str, Any] = {}
    if source is not None:
        with contextlib.suppress(OSError, ValueError):  # not every folder holds the processor's settings
            found, _ = BaseImageProcessor.get_image_processor_dict(source)
    box = (found.get("do_center_crop") and found.get("crop_size")) or found.get("size") or {}
    box = {"height": box, "width": box} if isinstance(box, int) else dict(box)
    if "height" not in box and "shortest_edge" in box:
        box = {"height": box["shortest_edge"], "width": box["shortest_edge"]}
    own = size_pair(getattr(config, "image_size", None)) or (224, 224)
    size = size or ((box["height"], box["width"]) if "height" in box else own)
    return WholeImage(size, found.get("image_mean") or (0.5,) * 3, found.get("image_std") or (0.5,) * 3)


def _grid(patch: int | tuple[int, int], size: Size) -> Size:
    ph, pw = (patch, patch) if isinstance(patch, int) else patch
    return size[0] // ph, size[1] // pw


def _count_prefix(module: nn.Module) -> int:
    """Class, distillation and register tokens, by the parameters that hold them."""
    found = [p for n, p in module.named_parameters() if n.rpartition(".")[2] in _PREFIX]
    return sum(1 if p.ndim < 2 else p.shape[-2] for p in found)


def _forward(vision: nn.Module, config: Any) -> Callable[[Tensor], Any]:
    adapts = "interpolate_pos_encoding" in inspect.signature(vision.forward).parameters or any(
        "interpolate_pos_encoding" in inspect.signature(m.forward).parameters for m in vision.modules()
    )
    own = size_pair(getattr(config, "image_size", None))

    def forward(pixels: Tensor) -> Any:
        other = own is not None and tuple(pixels.shape[-2:]) != own
        return vision(pixel_values=pixels, **({"interpolate_pos_encoding": True} if adapts and other else {}))

    return forward


def _reader(module: Any, config: Any) -> Callable[[Tensor], Tensor] | None:
    """The classifier applied to single tokens after the final norm; None if it reads something else than a token."""
    found = [getattr(module, n, None) for n in ("classifier", "cls_classifier", "distillation_classifier")]
    heads = [h for h in found if isinstance(h, nn.Linear) and h.in_features == config.hidden_size]
    if not heads:
        return None
    base: Any = getattr(module, "base_model", module)
    places = [(base, "layernorm"), (base, "norm"), (getattr(base, "pooler", None), "layernorm")]
    if config.model_type.startswith("siglip"):
        places.append((getattr(module, "vision_model", None), "post_layernorm"))
    norms = [
        n
        for n in (getattr(owner, attribute, None) for owner, attribute in places)
        if isinstance(n, nn.Module)
    ]

    def read(latents: Tensor) -> Tensor:
        for norm in norms:
            latents = norm(latents)
        return torch.stack([h(latents) for h in heads]).mean(0)

    return read


def _text_encoder(module: Any, source: str) -> Callable[[list[str]], Tensor]:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)

    def encode(texts: list[str]) -> Tensor:
        ids = tokenizer(texts, padding=True, truncation=True, return_tensors="pt").to(module.device)
        out = module.get_text_features(**ids)
        return out if isinstance(out, Tensor) else out.pooler_output

    return encode
