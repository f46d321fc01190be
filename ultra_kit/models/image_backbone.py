"""Vision Transformers as a `Backbone`: the part that timm, Hugging Face and a module of your own share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import sqrt
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from ..types import AttentionStep, Layout, UltraError
from ..types.checks import whole_number
from .attention import record, record_batch
from .open_image import open_image
from .transformer_backbone import TransformerBackbone

Size = tuple[int, int]


@dataclass(frozen=True)
class WholeImage:
    """Resize the whole image to `size` (height, width), without a crop, and normalise values in [0, 1] per channel.

    Where the patches leave a margin that no token sees, below and on the right, the image goes into the part `seen`.

    >>> WholeImage((8, 4))(Image.new("RGB", (100, 30))).shape
    torch.Size([3, 8, 4])
    """

    size: Size
    mean: Sequence[float] = (0.5, 0.5, 0.5)
    std: Sequence[float] = (0.5, 0.5, 0.5)
    resample: str = "bicubic"
    seen: Size | None = None

    def __call__(self, image: Image.Image) -> Tensor:
        """(3, height, width) float32."""
        height, width = self.seen or self.size
        if image.size != (width, height):
            image = image.resize((width, height), Image.Resampling[self.resample.upper()])
        values = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).float() / 255
        values = (values - torch.tensor(self.mean)[:, None, None]) / torch.tensor(self.std)[:, None, None]
        return nn.functional.pad(values, (0, self.size[1] - width, 0, self.size[0] - height))


def mean_side(size: Size) -> float:
    """The side of a square of the same area."""
    return sqrt(size[0] * size[1])


@dataclass(frozen=True)
class KeepAspect:
    """Resize the whole image to whole patches without squashing it, and normalise it.

    The sides become multiples of `patch` pixels, in the image's own shape as nearly as whole patches allow, and their
    `measure` is about `side`: the root of the area, or `max` for the longer one.

    >>> KeepAspect(14, 224)(Image.new("RGB", (451, 300))).shape
    torch.Size([3, 182, 280])
    >>> KeepAspect(8, 144, measure=max)(Image.new("RGB", (481, 321))).shape
    torch.Size([3, 96, 144])
    """

    patch: int
    side: int
    mean: Sequence[float] = (0.5, 0.5, 0.5)
    std: Sequence[float] = (0.5, 0.5, 0.5)
    measure: Callable[[Size], float] = mean_side

    def __call__(self, image: Image.Image) -> Tensor:
        """(3, height, width) float32."""
        whole = self.measure(image.size) * self.patch
        width, height = (max(1, round(self.side * n / whole)) * self.patch for n in image.size)
        return WholeImage((height, width), self.mean, self.std)(image)


@dataclass(frozen=True, eq=False, repr=False)
class ImageBackbone(TransformerBackbone):
    """A vision Transformer.

    `transform` makes a tensor (3, height, width) of a PIL image and must keep the whole image in view: the maps are
    laid over all of it. `grid` takes (height, width) of that tensor to the (h, w) of the patch tokens, None where
    nothing says it; `n_prefix` others come before them. `forward` runs the model on (1, 3, height, width), the module
    itself by default; `reader` takes raw last-layer latents (..., D) to the model's own scores (..., K). `patch` is the
    size of a patch in pixels where the model says it.
    """

    transform: Callable[[Image.Image], Tensor]
    grid: Callable[[Size], Size | None]
    n_prefix: int
    forward: Callable[[Tensor], Any] | None = None
    reader: Callable[[Tensor], Tensor] | None = None
    patch: Size | None = None
    modality: ClassVar[str] = "image"

    def call(self, inputs: dict[str, Tensor]) -> Callable[[], Any]:
        """One plain forward pass, to be run."""
        forward = self.forward or self.module
        return lambda: forward(inputs["pixel_values"])

    def smallest(self) -> dict[str, Tensor]:
        """A grey image."""
        return self.prepare(np.full((64, 64, 3), 127, np.uint8))[0]

    def prepare(self, x: Any) -> tuple[dict[str, Tensor], Layout, np.ndarray]:
        """An image as "pixel_values" (1, 3, height, width) of the model's dtype and device, its layout, and as opened."""
        original = open_image(x)
        values = self.transform(Image.fromarray(original))
        if not isinstance(values, Tensor) or values.ndim != 3 or not values.is_floating_point():
            got = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
            raise ValueError(f"transform must give a float tensor (channels, height, width), got {got}")
        like = next(self.module.parameters(), torch.empty(0))
        values = values[None].to(device=like.device, dtype=like.dtype)
        height, width, _ = original.shape
        grid = self.grid(_size(values))
        if grid is None:  # what its attention looks like may say more
            latents, _ = record(self.module, self.call({"pixel_values": values}))
            raise UltraError(
                f"{type(self.module).__name__} has one global attention in every block, but nothing says how its "
                f"{len(latents[0])} tokens lie on the image; pass grid=(h, w) and n_prefix=P to load"
            )
        whole = self.patch and (grid[0] * self.patch[0], grid[1] * self.patch[1])
        if whole not in (None, _size(values), getattr(self.transform, "seen", None)):
            raise ValueError(
                f"every pixel must lie in a patch of {self.patch} pixels, and the model gets {_size(values)} for {grid} patches: "
                f"part of the image would be seen by no token, or not where it is shown; give it {whole}, by size= or transform="
            )
        return {"pixel_values": values}, Layout("image", self.n_prefix, grid, (height, width)), original

    def run(self, inputs: dict[str, Tensor]) -> tuple[list[Tensor], list[AttentionStep]]:
        """One forward pass with explicit attention; see `record`."""
        latents, steps = super().run(inputs)
        h, w = self.grid(_size(inputs["pixel_values"])) or (0, 0)
        if len(latents[0]) != self.n_prefix + h * w:
            raise UltraError(
                f"tokens must be {self.n_prefix} prefix + {h} x {w} patches = {self.n_prefix + h * w}, the model "
                f"{self.name!r} has {len(latents[0])}; pass grid=(h, w) and n_prefix=P to load"
            )
        return latents, steps

    def run_batch(self, inputs: dict[str, Tensor], n_tokens: int) -> tuple[list[Tensor], list[Tensor]]:
        """Latents (B, N, D) and a map (B, H, N, N) for each block, without a graph; see `record_batch`."""
        shape = len(inputs["pixel_values"]), n_tokens
        return record_batch(self.module, self.call(inputs), self.block_names, shape)

    def head(self, latents: Tensor) -> Tensor | None:
        """The model's own scores (..., K) of raw last-layer latents (..., D); None if it has no head."""
        return None if self.reader is None else self.reader(latents)

    def __repr__(self) -> str:
        return self._named(f"{self.n_prefix} prefix tokens")


def _size(pixels: Tensor) -> Size:
    return pixels.shape[-2], pixels.shape[-1]


def image_fields(
    layout: Mapping[str, Any],
    transform: Callable[[Any], Callable[[Image.Image], Tensor]],
    grid: Callable[[Size], Size | None] | None = None,
    n_prefix: int | None = None,
    patch: Any = None,
) -> dict[str, Any]:
    """The fields transform, grid, n_prefix and patch: what the user gave to `load`, checked, or else the model's own.

    `transform` makes the model's own from the size given, (height, width) or None; `layout` holds what `load` got.
    """
    prefix = n_prefix if layout["n_prefix"] is None else layout["n_prefix"]
    whole_number("n_prefix", prefix, 0)
    if layout["grid"] is not None:
        grid, patch = fixed_grid(layout["grid"]), None
    pair, size = (
        size_pair(list(patch) if isinstance(patch, (list, tuple)) else patch),
        size_pair(layout["size"]),
    )
    found: Any = layout["transform"] or transform(size)
    cells = grid(found.size) if grid and pair and layout["transform"] is None else None
    if cells and pair:
        whole = cells[0] * pair[0], cells[1] * pair[1]
        if whole != found.size and size is not None and transform(None) != found:
            raise ValueError(f"size must be made of whole patches of {pair} pixels, got {size}; take {whole}")
        if whole[0] <= found.size[0] and whole[1] <= found.size[1]:
            found = replace(found, seen=whole)
    return {"transform": found, "grid": grid, "n_prefix": prefix, "patch": pair}


def token_reader(
    norms: Sequence[nn.Module | None], heads: Sequence[nn.Module]
) -> Callable[[Tensor], Tensor] | None:
    """A classifier applied to single latents (..., D), after the norms it stands behind; None without a head.

    The outputs of several heads are averaged, as distilled models do with their two.

    >>> double = nn.Linear(1, 1, bias=False).requires_grad_(False)
    >>> double.weight.fill_(2.0).item(), token_reader([None], [double])(torch.ones(3, 1)).tolist()
    (2.0, [[2.0], [2.0], [2.0]])
    """
    if not heads:
        return None
    return partial(_read, [norm for norm in norms if norm is not None], heads)


def _read(norms: Sequence[nn.Module], heads: Sequence[nn.Module], latents: Tensor) -> Tensor:
    for norm in norms:
        latents = norm(latents)
    return torch.stack([head(latents) for head in heads]).mean(0)


def _pair(value: Any, must: str) -> Size:
    """Two positive whole numbers, checked."""
    try:
        h, w = (int(n) for n in value if n == int(n))
    except (TypeError, ValueError):
        h = w = 0
    if h < 1 or w < 1:
        raise ValueError(f"{must}, got {value!r}")
    return h, w


def fixed_grid(grid: Any) -> Callable[[Size], Size]:
    """A grid (h, w) that does not depend on the input, checked."""
    pair = _pair(grid, "grid must be (h, w), the rows and columns of patch tokens")
    return lambda size: pair


def size_pair(size: Any) -> Size | None:
    """(height, width) of an input from an int (a square), a pair or None, checked."""
    square = (size, size) if isinstance(size, int) else size
    return None if size is None else _pair(square, "size must be a positive int or (height, width)")
