"""The bundled model `photos`: the vision tower of `scenes`, self-distilled on photographs, for any image size."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch.nn.functional as F
from PIL import Image
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from .image_backbone import ImageBackbone, WholeImage
from .scenes_model import build_vision, fill

PATCH = 8
SIZE = 144
"""Pixels of the longer side, at which a photograph is looked at: at most 18 x 18 patches."""


@dataclass(frozen=True)
class LongerSide:
    """Resize the whole image so that its longer side has `size` pixels, and normalise it.

    The shorter side keeps the image's shape as nearly as whole patches of 8 pixels allow.

    Attributes
    ----------
    size : int
        A multiple of 8.

    Examples
    --------
    >>> LongerSide(144)(Image.new("RGB", (481, 321))).shape
    torch.Size([3, 96, 144])
    """

    size: int = SIZE

    def __call__(self, image: Image.Image) -> Tensor:
        """(3, height, width) float32."""
        longer = max(image.size)
        width, height = (max(PATCH, round(self.size * n / longer / PATCH) * PATCH) for n in image.size)
        return WholeImage((height, width))(image)


def build_photos(width: int = 128, depth: int = 5, heads: int = 4) -> VisionTransformer:
    """The vision tower of `photos`: `build_vision` for 144 x 144 pixels and, resampled, any other size.

    Parameters
    ----------
    width, depth, heads : int
        As in `build_vision`.

    Returns
    -------
    VisionTransformer
        With random weights.
    """
    return build_vision(width, depth, heads, size=SIZE, any_size=True)


def load_photos(folder: Path, *, pretrained: bool = True) -> ImageBackbone:
    """The bundled model for photographs; its head names the prototype that a token is likest.

    Parameters
    ----------
    folder : Path
        Holds ``config.json`` (width, depth, heads) and ``model.safetensors`` (float16), whose names start
        with ``vision.`` or are ``prototypes``.
    pretrained : bool
        False leaves the weights random, and there is no head.

    Returns
    -------
    ImageBackbone
        In eval mode, float32; a longer side of 144 pixels.

    Raises
    ------
    UltraError
        If the weights are missing or don't fit.
    """
    config = json.loads((folder / "config.json").read_text())
    vision = build_photos(config["width"], config["depth"], config["heads"])
    module = nn.ModuleDict({"vision": vision})
    prototypes = fill(folder / "model.safetensors", {"vision": vision}) if pretrained else None
    if prototypes is not None:
        module.register_buffer("prototypes", F.normalize(prototypes.float(), dim=-1))
    return ImageBackbone(
        name="photos",
        module=module.eval(),
        transform=LongerSide(),
        grid=vision.patch_embed.dynamic_feat_size,
        n_prefix=vision.num_prefix_tokens,
        forward=vision.forward_features,
        reader=None if prototypes is None else lambda z: F.linear(z, module.get_buffer("prototypes")),
        facts=config | {"pretrained": pretrained},
        libraries=("timm",),
    )
