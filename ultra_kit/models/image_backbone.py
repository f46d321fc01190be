"""Vision Transformers as a `Backbone`: the part that timm, Hugging Face and a module of your own share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NoReturn

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from ..types import AttentionStep, Layout, UltraError
from .attention import record, run_from
from .model_card import model_card
from .open_image import open_image

Size = tuple[int, int]


@dataclass(frozen=True)
class WholeImage:
    """Resize the whole image, without a crop, and normalise it.

    Attributes
    ----------
    size : tuple of int
        (height, width) that the model gets.
    mean, std : tuple of float
        Per channel, for values in [0, 1].
    resample : str
        "bicubic", "bilinear", "nearest" or "lanczos".

    Examples
    --------
    >>> WholeImage((8, 4))(Image.new("RGB", (100, 30))).shape
    torch.Size([3, 8, 4])
    """

    size: Size
    mean: Sequence[float] = (0.5, 0.5, 0.5)
    std: Sequence[float] = (0.5, 0.5, 0.5)
    resample: str = "bicubic"

    def __call__(self, image: Image.Image) -> Tensor:
        """(3, height, width) float32."""
        height, width = self.size
        if image.size != (width, height):
            image = image.resize((width, height), Image.Resampling[self.resample.upper()])
        values = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).float() / 255
        return (values - torch.tensor(self.mean)[:, None, None]) / torch.tensor(self.std)[:, None, None]


@dataclass(frozen=True, eq=False, repr=False)
class ImageBackbone:
    """A vision Transformer as `ultra_kit.load` returns it; implements `ultra_kit.types.Backbone`.

    Attributes
    ----------
    name : str
    module : nn.Module
        The model, unchanged.
    transform : callable
        PIL image to a tensor (3, height, width). It must keep the whole image in view: the maps are laid over
        all of it.
    grid : callable
        (height, width) of the model's input to the (h, w) of its patch tokens.
    n_prefix : int
        P, the tokens before the patches.
    forward : callable, optional
        Runs the model on a tensor (1, 3, height, width); the module itself by default.
    reader : callable, optional
        Raw last-layer latents (..., D) to the model's own scores (..., K).
    facts : dict
        What the card says about the configuration.
    libraries : tuple of str
        Distributions whose versions the card names.
    """

    name: str
    module: nn.Module
    transform: Callable[[Image.Image], Tensor]
    grid: Callable[[Size], Size]
    n_prefix: int
    forward: Callable[[Tensor], Any] | None = None
    reader: Callable[[Tensor], Tensor] | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    libraries: tuple[str, ...] = ()
    modality: str = "image"

    @cached_property
    def block_names(self) -> tuple[str, ...]:
        """The modules that are the blocks, found in a forward pass of a grey image when first asked for."""
        inputs, _, _ = self.prepare(np.full((64, 64, 3), 127, np.uint8))
        return tuple(s.name for s in self.run(inputs)[1])

    @property
    def n_blocks(self) -> int:
        """L."""
        return len(self.block_names)

    def prepare(self, x: Any) -> tuple[dict[str, Tensor], Layout, np.ndarray]:
        """Open and transform an image.

        Parameters
        ----------
        x : str, Path, PIL.Image.Image or ndarray
            See `ultra_kit.models.open_image.open_image`.

        Returns
        -------
        inputs : dict
            "pixel_values" of shape (1, 3, height, width), in the model's dtype and device.
        layout : Layout
        original : ndarray of shape (H, W, 3), uint8
        """
        original = open_image(x)
        values = self.transform(Image.fromarray(original))
        if not isinstance(values, Tensor) or values.ndim != 3 or not values.is_floating_point():
            got = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
            raise ValueError(f"transform must give a float tensor (channels, height, width), got {got}")
        like = next(self.module.parameters(), torch.empty(0))
        values = values[None].to(device=like.device, dtype=like.dtype)
        height, width, _ = original.shape
        layout = Layout("image", self.n_prefix, self.grid(_size(values)), (height, width))
        return {"pixel_values": values}, layout, original

    def run(self, inputs: dict[str, Tensor]) -> tuple[list[Tensor], list[AttentionStep]]:
        """One forward pass with explicit attention; see `ultra_kit.models.attention.record`."""
        forward = self.forward or self.module
        latents, steps = record(self.module, lambda: forward(inputs["pixel_values"]))
        h, w = self.grid(_size(inputs["pixel_values"]))
        if len(latents[0]) != self.n_prefix + h * w:
            raise UltraError(
                f"tokens must be {self.n_prefix} prefix + {h} x {w} patches = {self.n_prefix + h * w}, the model "
                f"{self.name!r} has {len(latents[0])}; pass grid=(h, w) and n_prefix=P to load"
            )
        return latents, steps

    def run_from(self, inputs: dict[str, Tensor], embeddings: Tensor, layer: int) -> Tensor:
        """Run the blocks from other layer-0 tokens (B, N, D); see `ultra_kit.models.attention.run_from`.

        Raises
        ------
        ValueError
            If `layer` is not in 1..L.
        """
        if not 1 <= layer <= self.n_blocks:
            raise ValueError(f"layer must be in 1..{self.n_blocks}, got {layer}")
        forward = self.forward or self.module
        pixels = inputs["pixel_values"]
        return run_from(self.module, lambda: forward(pixels), list(self.block_names), embeddings, layer)

    def head(self, latents: Tensor) -> Tensor | None:
        """The model's own scores (..., K) of raw last-layer latents (..., D); None if it has no head."""
        return None if self.reader is None else self.reader(latents)

    def card(self) -> dict[str, Any]:
        """Name, class, hash of the weights, configuration and versions; JSON-able."""
        return model_card(self.name, self.module, self.facts, self.libraries)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {type(self.module).__name__}, {self.n_prefix} prefix tokens)"


def _size(pixels: Tensor) -> Size:
    return pixels.shape[-2], pixels.shape[-1]


def token_reader(
    norms: Sequence[nn.Module | None], heads: Sequence[nn.Module]
) -> Callable[[Tensor], Tensor] | None:
    """A classifier applied to single tokens.

    Parameters
    ----------
    norms : sequence of nn.Module or None
        What stands between the last block and the classifier, in order; None is passed over.
    heads : sequence of nn.Module
        Their outputs are averaged, as distilled models do with their two.

    Returns
    -------
    callable or None
        Raw last-layer latents (..., D) to (..., K); None without a head.

    Examples
    --------
    >>> double = nn.Linear(1, 1, bias=False).requires_grad_(False)
    >>> double.weight.fill_(2.0).item(), token_reader([None], [double])(torch.ones(3, 1)).tolist()
    (2.0, [[2.0], [2.0], [2.0]])
    """
    if not heads:
        return None
    present = [norm for norm in norms if norm is not None]

    def read(latents: Tensor) -> Tensor:
        for norm in present:
            latents = norm(latents)
        return torch.stack([head(latents) for head in heads]).mean(0)

    return read


def fixed_grid(grid: Any) -> Callable[[Size], Size]:
    """A grid that does not depend on the input, checked.

    Parameters
    ----------
    grid : pair of int
        (h, w), the rows and columns of patch tokens.

    Returns
    -------
    callable
        Gives (h, w) for any input size.

    Raises
    ------
    ValueError
        If `grid` is not two positive ints.
    """
    try:
        h, w = (int(n) for n in grid)
    except (TypeError, ValueError):
        raise ValueError(f"grid must be (h, w), the rows and columns of patch tokens, got {grid!r}") from None
    if h < 1 or w < 1:
        raise ValueError(f"grid must be (h, w) with h, w >= 1, got {grid!r}")
    return lambda size: (h, w)


def refuse_grid(module: nn.Module, forward: Callable[[Tensor], Any], size: Size) -> NoReturn:
    """Refuse a model that does not say where its tokens lie, by what its attention looks like.

    Parameters
    ----------
    module : nn.Module
        The model.
    forward : callable
        Runs it on a tensor (1, 3, height, width).
    size : tuple of int
        (height, width).

    Raises
    ------
    UltraError
        Always: that of `ultra_kit.models.attention.record` where a block has no global attention, and
        otherwise one that asks for the grid.
    """
    like = next(module.parameters(), torch.empty(0))
    latents, _ = record(module, lambda: forward(like.new_zeros(1, 3, *size)))
    raise UltraError(
        f"{type(module).__name__} has one global attention in every block, but nothing says how its {len(latents[0])} "
        "tokens lie on the image; pass grid=(h, w) and n_prefix=P to load"
    )


def size_pair(size: Any) -> Size | None:
    """(height, width) of an input from an int, a pair or None, checked.

    Parameters
    ----------
    size : int, pair of int or None
        In pixels; an int stands for a square.

    Returns
    -------
    tuple of int or None
        (height, width); None for None.

    Raises
    ------
    ValueError
        If an int is not positive, or a sequence is not two positive ints.
    TypeError
        If it is neither an int nor a sequence.
    """
    if size is None:
        return None
    pair = (size, size) if isinstance(size, int) else tuple(size)
    if len(pair) != 2 or not all(isinstance(n, int) and n > 0 for n in pair):
        raise ValueError(f"size must be a positive int or (height, width), got {size!r}")
    return pair
