"""Models of the transformers library: loading them, and those for images."""

from __future__ import annotations

import contextlib
import inspect
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from math import isqrt
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from ..types import Backbone, UltraError
from .gguf_files import read_gguf
from .hub_access import hub
from .huggingface_text import find_tokenizer, is_text_model, wrap_text
from .image_backbone import ImageBackbone, Size, WholeImage, image_fields, size_pair, token_reader
from .text_image_backbone import TextImageBackbone

_PREFIX = ("cls_token", "class_token", "class_embedding", "distillation_token", "register_tokens")


def load_huggingface(source: str, layout: Mapping[str, Any], pretrained: bool) -> Backbone:
    """A model from a local folder or the hub, in eval mode: safetensors or GGUF, and no code of the repository."""
    local = Path(source).is_dir()
    if not local and source.startswith((".", "/", "~")):
        raise ValueError(f"there is no folder {source!r}")
    with contextlib.nullcontext() if local else hub(f"hf:{source}"):
        try:
            files = [] if Path(source, "config.json").is_file() else sorted(Path(source).glob("*.gguf"))
            if len(files) > 1:
                raise ValueError(f"it must hold one .gguf file, got {', '.join(f.name for f in files)}")
            module, tokenizer = (
                read_gguf(files[0], pretrained) if files else (_build(source, pretrained), None)
            )
            layout = {**layout, "transform": layout["transform"] or tokenizer}
            return wrap_huggingface(module.eval(), layout, name=f"hf:{source}", source=source)
        except UltraError:
            raise
        except Exception as e:  # what is raised depends on the damaged file and the library that reads it
            if local or not isinstance(e, (OSError, RuntimeError)):
                said = (str(e).strip().splitlines() or [type(e).__name__])[0][:300]
                raise UltraError(f"{source!r} can't be loaded: {said}") from e
            raise


def _build(source: str, pretrained: bool) -> Any:
    import transformers

    config = transformers.AutoConfig.from_pretrained(source, trust_remote_code=False)
    found: Any = getattr(transformers, (config.architectures or ["AutoModel"])[0], None)
    if not (isinstance(found, type) and issubclass(found, transformers.PreTrainedModel)):
        found = transformers.AutoModel
    if not pretrained:
        return found.from_config(config) if found is transformers.AutoModel else found(config)
    how = {"config": config, "use_safetensors": True, "trust_remote_code": False, "output_loading_info": True}
    module, info = found.from_pretrained(source, **how)
    lacking = {str(name) for kind in ("missing_keys", "mismatched_keys") for name in info[kind]}
    if lacking := {name for name in lacking if "pooler." not in name}:  # which the latents do not pass
        raise ValueError(f"it lacks weights of a {type(module).__name__}: {', '.join(sorted(lacking)[:3])}")
    if surplus := sorted(map(str, info["unexpected_keys"])):
        said = f"{len(surplus)} weights of {source!r} are of no part of a {type(module).__name__}, such as {surplus[0]}"
        warnings.warn(f"{said}; they are left out", stacklevel=5)
    return module


def wrap_huggingface(
    module: Any, layout: Mapping[str, Any], *, name: str | None = None, source: str | None = None
) -> Backbone:
    """ViT, DeiT, DINOv2, DINOv3, BEiT, CLIP, SigLIP and their relatives, or a text model, as a backbone.

    `layout` is what the user gave to `load`; the image processor's settings and the tokenizer lie in `source`, a
    folder or repository. A whole CLIP or SigLIP becomes a `TextImageBackbone`.
    """
    name = name or type(module).__name__
    if is_text_model(module):
        if given := [n for n in ("grid", "n_prefix", "size") if layout[n] is not None]:
            raise ValueError(f"{', '.join(given)} do not go with a text model ({name})")
        return wrap_text(module, name=name, source=source, tokenizer=layout["transform"])
    if isinstance(getattr(module, "timm_model", None), nn.Module):
        from .timm_models import wrap_timm

        return wrap_timm(module.timm_model, layout, name=name)
    vision = _vision_part(module)
    if vision is None:
        raise UltraError(
            f"{name} ({type(module).__name__}) takes neither pixel_values nor token ids alone: it is no vision and no text model"
        )
    config = getattr(module.config, "vision_config", module.config)
    forward = _forward(vision, config)
    own_transform, own_grid = partial(_transform, source, config), partial(_grid, config)
    patch = getattr(config, "patch_size", None)
    fields = image_fields(layout, own_transform, own_grid, _count_prefix(vision), patch)
    fields |= {"forward": forward, "reader": _reader(module, config), "libraries": ("transformers",)}
    size = list(getattr(fields["transform"], "size", ()))
    fields["facts"] = {"model_type": config.model_type, "input": size}
    projection = _projection(module)
    if projection is None:
        return ImageBackbone(name, module, **fields)
    encoder = _text_encoder(module, name, source)
    return TextImageBackbone(name, module, **fields, text_encoder=encoder, projection=projection)


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
        there = Path(source, "preprocessor_config.json").is_file()
        # Not every folder holds the processor's settings; those that are there are read, or said to be damaged.
        with contextlib.nullcontext() if there else contextlib.suppress(OSError, ValueError):
            found, _ = BaseImageProcessor.get_image_processor_dict(source)
    odd = "do_flip_channel_order do_color_quantize do_grayscale do_align_long_axis do_pad rescale_offset"
    if asked := [name for name in odd.split() if found.get(name)]:
        raise UltraError(
            f"the image processor of {source!r} asks for {asked[0]}, which is not done here; pass transform="
        )
    resized = found.get("do_resize", True) and found.get("size")
    box = (found.get("do_center_crop") and found.get("crop_size")) or resized or {}
    if isinstance(box, Mapping):
        known = [box.get(name) for name in ("shortest_edge", "longest_edge")]
        box = (box["height"], box["width"]) if "height" in box else known[0] or known[1]
    size = size or size_pair(box or getattr(config, "image_size", None) or _square(config)) or (224, 224)
    mean, std = ([0.0] * 3, [1.0] * 3) if found.get("do_normalize") is False else ([0.5] * 3, [0.5] * 3)
    if found.get("do_normalize") is not False:
        mean, std = found.get("image_mean") or mean, found.get("image_std") or std
    factor = 255 * (found.get("rescale_factor", 1 / 255) if found.get("do_rescale", True) else 1.0)
    if len(mean) != 3 or len(std) != 3 or not factor:
        raise UltraError(
            f"the image processor of {source!r} must have three means and spreads and a factor, got {mean}, {std}"
        )
    resample = Image.Resampling(found.get("resample", Image.Resampling.BICUBIC)).name.lower()
    return WholeImage(size, [m / factor for m in mean], [s / factor for s in std], resample)


def _square(config: Any) -> Size | None:
    """The square of as many patches as a model without an image size was made for."""
    n, patch = getattr(config, "num_patches", None), getattr(config, "patch_size", None)
    return (isqrt(n) * patch,) * 2 if isinstance(n, int) and isinstance(patch, int) else None


def _grid(config: Any, size: Size) -> Size | None:
    patch = getattr(config, "patch_size", None)
    if not isinstance(patch, (int, list, tuple)):
        return None
    ph, pw = (patch, patch) if isinstance(patch, int) else patch
    return size[0] // ph, size[1] // pw


def _count_prefix(module: nn.Module) -> int:
    """Class, distillation and register tokens, by the parameters that hold them; a head's own query is none."""
    found = [
        p
        for n, p in module.named_parameters()
        if n.rpartition(".")[2] in _PREFIX and "head" not in n.split(".")
    ]
    return sum(1 if p.ndim < 2 else p.shape[-2] for p in found)


def _forward(vision: nn.Module, config: Any) -> Callable[[Tensor], Any]:
    if "spatial_shapes" in inspect.signature(vision.forward).parameters:
        return partial(_forward_patches, vision, config.patch_size)
    adapts = any(
        "interpolate_pos_encoding" in inspect.signature(m.forward).parameters for m in vision.modules()
    )
    own = size_pair(getattr(config, "image_size", None)) if adapts else None
    return partial(
        _forward_pixels, vision, own
    )  # no closure: a copy of the backbone must run the copied module


def _forward_pixels(vision: nn.Module, own: Size | None, pixels: Tensor) -> Any:
    other = own is not None and tuple(pixels.shape[-2:]) != own
    return vision(pixel_values=pixels, **({"interpolate_pos_encoding": True} if other else {}))


def _forward_patches(vision: nn.Module, patch: int, pixels: Tensor) -> Any:
    """SigLIP 2 takes patches in raster order, the channels of a pixel side by side, and the grid they come from."""
    h, w = pixels.shape[-2] // patch, pixels.shape[-1] // patch
    cut = pixels[..., : h * patch, : w * patch].reshape(1, -1, h, patch, w, patch)
    return vision(
        pixel_values=cut.permute(0, 2, 4, 3, 5, 1).reshape(1, h * w, -1),
        pixel_attention_mask=torch.ones(1, h * w, dtype=torch.int32, device=pixels.device),
        spatial_shapes=torch.tensor([[h, w]], device=pixels.device),
    )


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
    return token_reader([getattr(owner, attribute, None) for owner, attribute in places], heads)


def _projection(module: Any) -> Callable[[Tensor], Tensor] | None:
    """Single tokens into the space of the texts, as the model reads its pooled one; None where there is none."""
    vision = getattr(module, "vision_model", None)
    norm, head = getattr(vision, "post_layernorm", None), getattr(vision, "head", None)
    if not hasattr(module, "get_text_features") or norm is None:
        return None
    if isinstance(getattr(module, "visual_projection", None), nn.Linear):
        return nn.Sequential(norm, module.visual_projection)
    if module.config.model_type.startswith("siglip") and head is not None:
        # The attention of the pooling head, left with one token, takes that token.
        return partial(_pool_alone, norm, head)
    return None


def _pool_alone(norm: nn.Module, head: nn.Module, z: Tensor) -> Tensor:
    return head(norm(z).reshape(-1, 1, z.shape[-1])).reshape(z.shape)


def _text_encoder(module: Any, name: str, source: str | None) -> Callable[[list[str]], Tensor]:
    tokenizer = None if source is None else find_tokenizer(source)
    options: dict[str, Any] = {"padding": True}
    if module.config.model_type.startswith("siglip"):
        # Trained on texts padded to full length, and the last position is read: the padding has to be seen.
        longest = module.config.text_config.max_position_embeddings
        options = {"padding": "max_length", "max_length": longest, "return_attention_mask": False}

    def encode(texts: list[str]) -> Tensor:
        if tokenizer is None:
            raise UltraError(
                f"{name} came without the tokenizer of its text tower, so it can't read texts; put tokenizer.json and "
                "tokenizer_config.json beside the weights and load that folder: load('hf:FOLDER')"
            )
        ids = tokenizer(texts, truncation=True, return_tensors="pt", **options).to(module.device)
        out = module.get_text_features(**ids)
        return out if isinstance(out, Tensor) else out.pooler_output

    return encode
