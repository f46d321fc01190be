"""What a model must offer, how the tokens of its input lie, and the settings that go with it.

Glossary of letters used in every docstring: see `ultra_kit.types.objects`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch


@dataclass(frozen=True)
class Layout:
    """How the N token positions of a capture lie on the input.

    Attributes
    ----------
    modality : {"image", "text"}
    n_prefix : int
        P, the number of leading positions that stand for no part of the input (class token, registers; BOS in text).
    grid : tuple of int or None
        (h, w) of the patch tokens, in raster order after the prefix, over the whole image; None for text.
    size : tuple of int or None
        (height, width) of the original image in pixels; None for text.
    tokens : tuple of str or None
        The N token strings of a text, prefix included; None for images.
    """

    modality: str
    n_prefix: int
    grid: tuple[int, int] | None = None
    size: tuple[int, int] | None = None
    tokens: tuple[str, ...] | None = None

    @property
    def n_content(self) -> int:
        """Number of positions that stand for a part of the input: h * w, or the text's tokens."""
        if self.grid is not None:
            return self.grid[0] * self.grid[1]
        return len(self.tokens or ()) - self.n_prefix

    @property
    def n_tokens(self) -> int:
        """N, prefix included."""
        return self.n_prefix + self.n_content

    @property
    def content(self) -> np.ndarray:
        """Indices of the content positions: int64 of shape (n_content,)."""
        return np.arange(self.n_prefix, self.n_tokens)

    def spread(self, share: float) -> np.ndarray:
        """About this share, in (0, 1], of the content positions, evenly over the grid or along the text: int64 of shape (T,).

        >>> Layout("image", 1, grid=(4, 6)).spread(0.25).tolist()
        [8, 10, 12, 20, 22, 24]
        """
        if not 0 < share <= 1:
            raise ValueError(f"a share of the tokens must be above 0 and at most 1, got {share}")
        h, w = self.grid or (1, self.n_content)
        rows = max(1, round(h * share**0.5))
        columns = min(w, max(1, round(h * w * share / rows)))
        y, x = ((2 * np.arange(n) + 1) * of // (2 * n) for n, of in ((rows, h), (columns, w)))
        return self.n_prefix + (y[:, None] * w + x).ravel()

    def token_at(self, x: float, y: Any = None) -> int:
        """Index of the patch token under pixel (x, y) of the original image; a ValueError outside it, or for a text."""
        if self.grid is None or self.size is None:
            raise ValueError("token_at needs an image; this layout is of a text: pass a token index")
        (h, w), (height, width) = self.grid, self.size
        if any(np.ndim(v) or isinstance(v, str | None) for v in (x, y)):
            raise TypeError(f"token_at takes two numbers, as in token_at(188, 115), got {x!r} and {y!r}")
        if not (0 <= x < width and 0 <= y < height):
            raise ValueError(
                f"point must lie in 0 <= x < {width}, 0 <= y < {height}, got ({x}, {y}); "
                "points are (x, y) in pixels of the original image"
            )
        return self.n_prefix + int(y * h / height) * w + int(x * w / width)

    def center_of(self, token: int) -> tuple[float, float]:
        """Centre (x, y), in pixels of the original image, of a patch token's cell."""
        if self.grid is None or self.size is None:
            raise ValueError("center_of needs an image; this layout is of a text")
        if not self.n_prefix <= token < self.n_tokens:
            raise ValueError(f"token must be a patch in {self.n_prefix}..{self.n_tokens - 1}, got {token}")
        row, col = divmod(token - self.n_prefix, self.grid[1])
        return (col + 0.5) * self.size[1] / self.grid[1], (row + 0.5) * self.size[0] / self.grid[0]

    def place_of(self, token: int) -> str:
        """A token's place in words: its row and column of the patches, from 0, or "prefix token 0"; of a text its piece.

        >>> Layout("image", 1, grid=(4, 6)).place_of(9)
        'row 1, column 2'
        """
        if self.tokens is not None:
            return self.tokens[token].strip() or repr(self.tokens[token])
        if self.grid is None or token < self.n_prefix:
            return f"prefix token {token}"
        return "row {}, column {}".format(*divmod(token - self.n_prefix, self.grid[1]))


@dataclass(frozen=True)
class Settings:
    """What the verbs use for a model when nothing is said; by default the paper's.

    Attributes
    ----------
    layer, score, rule, since
        For `ultra_kit.explain`.
    metric, threshold
        For `ultra_kit.segment`.
    transform, reach, beta, gamma, radius
        For `ultra_kit.select`: whether the maps of a click are read through the model's own W (``model.own_transform``); how
        far links go, the sigma of a Gaussian as a share of the grid's mean side (0: everywhere); how fast a difference of
        colours cuts the link of two pixels, the pull of a pixel's own value, and the pixels round a point that are held.
    chosen_on : str
        The data set aside on which they were chosen, and by what; empty for the paper's.
    """

    layer: int = -1
    score: str = "norm"
    rule: str = "positive"
    since: int = 0
    metric: str = "cosine"
    threshold: float = 0.25
    transform: bool = False
    reach: float = 0.0
    beta: float = 100.0
    gamma: float = 0.0015
    radius: float = 1.0
    chosen_on: str = ""

    @classmethod
    def of(cls, model: Any) -> Settings:
        """A model's own settings: of a `Backbone`, or of its card; the paper's where it has none.

        Examples
        --------
        >>> Settings.of({"name": "a model of yours"}).threshold
        0.25
        """
        if isinstance(model, Mapping):
            return cls(**model.get("settings", {}))
        return getattr(model, "settings", cls())

    def __str__(self) -> str:
        since = f" since {self.since}" if self.since else ""
        return f"layer {self.layer}{since}, {self.score}, {self.rule}, {self.metric} {self.threshold:g}"


@runtime_checkable
class Backbone(Protocol):
    """What a model must offer; `ultra_kit.load` makes one from a name or a module.

    Its name is what was passed to `load` or the class of the module, its modality "image" or "text".
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def modality(self) -> str: ...  # noqa: D102
    @property
    def module(self) -> torch.nn.Module: ...  # noqa: D102
    @property
    def n_blocks(self) -> int: ...  # noqa: D102

    def prepare(self, x: Any) -> tuple[dict[str, torch.Tensor], Layout, Any]:
        """Model inputs (batch of one), the layout, and the original input as kept for showing."""
        ...

    def run(self, inputs: dict[str, torch.Tensor]) -> tuple[list[torch.Tensor], list[AttentionStep]]:
        """One forward pass with explicit attention: latents 0..L, each (N, D), and the attention steps."""
        ...

    def head(self, latents: torch.Tensor) -> torch.Tensor | None:
        """The model's own reading of last-layer latents (..., D) -> (..., K), or None if it has none."""
        ...

    def card(self) -> dict[str, Any]:
        """Where the model comes from: name, class, weights hash, library versions; JSON-able."""
        ...

    def run_from(self, inputs: dict[str, torch.Tensor], embeddings: torch.Tensor, layer: int) -> torch.Tensor:
        """Raw output (B, N, D) of block `layer`, 1..L, from other layer-0 tokens (B, N, D), in their graph; optional.

        `inputs` is what `prepare` gave. The gradient mode of the caller holds; `Capture.rerun` asks for it.
        """
        ...


@dataclass(frozen=True, eq=False)
class AttentionStep:
    """One attention operation: queries of a block look at keys.

    Attributes
    ----------
    weights : torch.Tensor of shape (H, Nq, Nk)
        Probabilities after softmax, in the autograd graph of the capture.
    layer : int
        b: the latents of this layer and of all later ones depend on the step; blocks count from 1.
    query_start, key_start : int
        First position of both in the capture's token space, where a decoder's tokens follow the encoder's.
    name : str
        The module that made it.
    context : torch.Tensor of shape (..., Nq, width of a head), optional
        Probabilities times values, in the graph, where seen: behind it tokens may be treated one by one.
    values : torch.Tensor of shape (..., Nk, width of a head), optional
        The values themselves, for each head its own, or one for all.
    """

    weights: torch.Tensor
    layer: int
    query_start: int = 0
    key_start: int = 0
    name: str = ""
    context: torch.Tensor | None = None
    values: torch.Tensor | None = None
