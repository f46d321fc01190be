"""Models of the timm library: the only room, with the bundled ones, that knows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..types import UltraError
from .hub_access import hub
from .image_backbone import ImageBackbone, Size, WholeImage, image_fields, size_pair, token_reader


def load_timm(name: str, pretrained: bool, checkpoint: Any, size: Any, options: dict[str, Any]) -> nn.Module:
    """Build a timm model, in eval mode, with timm's weights, those of a checkpoint, or random ones.

    `size` (height, width) is its input size, unless `options` of ``timm.create_model`` say an `img_size`.
    """
    import timm

    tagged = timm.list_models(pretrained=True)
    if not timm.is_model(name) or ("." in name and name not in tagged):
        known = get_close_matches(name, [*timm.list_models(), *tagged], n=5)
        near = f"; near it: {', '.join(known)}" if known else ""
        raise ValueError(f"timm has no model {name!r}{near}; timm.list_models('*vit*') lists more")
    if (pair := size_pair(size)) is not None:
        options = {"img_size": pair} | options
    download = pretrained and checkpoint is None
    try:
        with hub(f"timm:{name}") if download else nullcontext():
            module = timm.create_model(name, pretrained=download, **options)
    except TypeError as e:
        raise ValueError(f"timm's {name!r} does not take these options: {e}") from e
    if checkpoint is not None:
        _load_weights(module, name, checkpoint)
    return module.eval()


def _load_weights(module: nn.Module, name: str, checkpoint: Any) -> None:
    from timm.models import load_checkpoint

    path = Path(checkpoint)
    if not path.is_file():
        raise ValueError(f"no checkpoint at {str(path)!r}")
    try:
        load_checkpoint(module, str(path), weights_only=True)
    except Exception as e:  # what a broken or hostile file raises depends on its format
        if "loading state_dict" in str(e):
            first = " ".join(line.strip() for line in str(e).strip().splitlines()[1:3])
            raise UltraError(f"the weights in {path.name!r} don't fit timm's {name!r}: {first[:300]}") from e
        raise UltraError(
            f"{path.name!r} is no safetensors file and no file of plain tensors (torch.save of a state_dict): "
            f"{type(e).__name__}; pickled code is not loaded"
        ) from e


def wrap_timm(module: nn.Module, layout: Mapping[str, Any], *, name: str | None = None) -> ImageBackbone:
    """VisionTransformer, Eva, BEiT, NaFlexVit and their relatives, unchanged; `layout` is what the user gave to `load`."""
    from timm.data import resolve_model_data_config

    data = resolve_model_data_config(module)
    known = data["interpolation"] in ("bilinear", "nearest", "lanczos")

    def own_transform(size: Size | None) -> WholeImage:
        size = size or _input_size(module, data)
        return WholeImage(size, data["mean"], data["std"], data["interpolation"] if known else "bicubic")

    embed = _embedding(module)
    # Behind a backbone it is the size of a patch of its feature map.
    patch = None if hasattr(embed, "backbone") else getattr(embed, "patch_size", None)
    fields = image_fields(layout, own_transform, partial(_grid, module), _count_prefix(module), patch)
    name = name or type(module).__name__
    tag = getattr(module, "pretrained_cfg", None) or {}
    facts = {
        "input": list(getattr(fields["transform"], "size", ())),
        "mean": list(data["mean"]),
        "std": list(data["std"]),
        "architecture": tag.get("architecture", name),
    }
    return ImageBackbone(name, module, **fields, reader=_reader(module), facts=facts, libraries=("timm",))


def _count_prefix(module: nn.Module) -> int:
    if hasattr(module, "blocks_token_only"):  # CaiT: the class token joins after the blocks of the patches
        return 0
    # The encoder, inside timm's wrappers that add a classifier to one.
    owner = module if hasattr(module, "num_prefix_tokens") else getattr(module, "encoder", None)
    return int(getattr(owner, "num_prefix_tokens", 0))


def _embedding(module: nn.Module) -> Any:
    for owner in (module, getattr(module, "encoder", None)):
        for attribute in ("patch_embed", "embeds"):
            found = getattr(owner, attribute, None)
            if hasattr(found, "dynamic_feat_size"):
                return found
    return None


def _input_size(module: nn.Module, data: dict[str, Any]) -> Size:
    """What the patch embedding was built for, which may differ from the size of the pretrained weights."""
    size = getattr(_embedding(module), "img_size", None)
    return (size[0], size[1]) if size is not None else tuple(data["input_size"][-2:])  # type: ignore[return-value]


def _grid(module: nn.Module, size: Size) -> Size | None:
    embed = _embedding(module)
    # grid_size is stale in models with dynamic input sizes, dynamic_feat_size is not.
    return None if embed is None else embed.dynamic_feat_size(size)


def _reader(module: nn.Module) -> Callable[[Tensor], Tensor] | None:
    """The classifier applied to single tokens, after the norms it stands behind; None where tokens are pooled by attention."""
    found = [getattr(module, n, None) for n in ("head", "head_dist")]
    heads = [h for h in found if isinstance(h, nn.Linear)]
    if not heads or not getattr(module, "num_classes", 0) or getattr(module, "attn_pool", None) is not None:
        return None
    return token_reader([getattr(module, n, None) for n in ("norm", "fc_norm")], heads)
