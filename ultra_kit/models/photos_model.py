"""The bundled model `photos`: the vision tower of `scenes`, self-distilled on photographs, for any image size."""

from __future__ import annotations

from pathlib import Path

from timm.models.vision_transformer import VisionTransformer

from .bundled_files import read_bundled, vision_fields
from .image_backbone import ImageBackbone, KeepAspect
from .scenes_model import build_vision

PATCH, SIZE = 8, 144
"""Pixels of the longer side, at which a photograph is looked at: at most 18 x 18 patches."""


def build_photos(width: int = 128, depth: int = 5, heads: int = 4) -> VisionTransformer:
    """The vision tower of `photos`: `build_vision` for 144 x 144 pixels and, resampled, any other size."""
    return build_vision(width, depth, heads, size=SIZE, any_size=True)


def load_photos(folder: Path, *, pretrained: bool = True) -> ImageBackbone:
    """The model in a folder, for images of a longer side of 144 pixels; its head names the prototype a token is likest."""
    config, state = read_bundled("photos", folder, pretrained)
    vision = build_photos(config["width"], config["depth"], config["heads"])
    fields = vision_fields("photos", folder, {"vision": vision}, config | {"pretrained": pretrained}, state)
    return ImageBackbone(**fields, transform=KeepAspect(PATCH, SIZE, measure=max))
