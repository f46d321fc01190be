"""A capture and its maps, the objects that travel through the workbench: immutable, and each knows where it came from.

Glossary of letters used in every docstring: B batch, N token positions (prefix included), P prefix
tokens, T explained tokens, D width of a latent, H heads (or image height beside W), L blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from .backbone import AttentionStep, Backbone, Layout
from .checks import whole_number, whole_numbers
from .errors import UltraError
from .grids import bicubic
from .wording import counted


@dataclass(frozen=True, eq=False, repr=False)
class Capture:
    """One forward pass of one input, kept with its autograd graph until it goes; made by `ultra_kit.capture`.

    One of a batch holds the same numbers and no graph: what needs one asks `with_graph`.

    Attributes
    ----------
    input : ndarray of shape (H, W, 3), uint8, or str
    latents : tuple of torch.Tensor
        L + 1 tensors of shape (N, D): layer 0 is the embedding, layer k the raw output of block k,
        all on the path of one graph (the gradient of layer k by layer 0 can be taken).
    steps : tuple of AttentionStep
        In the order in which the forward pass made them.
    inputs : mapping of str to torch.Tensor
    card : dict
        Provenance: model, input hash, versions, dtype, device.
    alone : callable, optional
        Of one of a batch: runs the model on this input, for latents and steps in a graph.
    """

    model: Backbone
    layout: Layout
    input: Any
    latents: tuple[torch.Tensor, ...]
    steps: tuple[AttentionStep, ...]
    inputs: Mapping[str, torch.Tensor]
    card: Mapping[str, Any] = field(default_factory=dict)
    alone: Callable[[], tuple[list[torch.Tensor], list[AttentionStep]]] | None = None

    def with_graph(self) -> Capture:
        """The capture with its autograd graph: itself, or for one of a batch what another forward pass gives."""
        if self.alone is None:
            return self
        latents, steps = self.alone()
        return replace(self, latents=tuple(latents), steps=tuple(steps), alone=None)

    @property
    def n_layers(self) -> int:
        """L, the number of blocks; layers run from 0 to L."""
        return len(self.latents) - 1

    def layer_index(self, layer: int) -> int:
        """A layer as a number in 0..L; negative layers count from the end (-1 is L). A ValueError if there is none."""
        top = self.n_layers
        hint = f" (0 is the embedding, {top} or -1 the last block)"
        return whole_number("layer", layer, -top - 1, top, hint) % (top + 1)

    def token_indices(self, tokens: Tokens) -> np.ndarray:
        """Token indices as an int64 array; None means every content position, a float a share of them (`Layout.spread`).

        A ValueError unless all are in 0..N-1: a negative one means a prefix token to one user, the last patch to another.
        """
        if tokens is None or isinstance(tokens, float):
            return self.layout.spread(1.0 if tokens is None else tokens)
        prefix = f" (the first {p} are prefix tokens)" if (p := self.layout.n_prefix) else ""
        return whole_numbers("tokens", tokens, self.layout.n_tokens, prefix)

    def tokens(self, layer: int = -1) -> np.ndarray:
        """Latent tokens of a layer: float32 of shape (N, D), the raw block output."""
        return self.latents[self.layer_index(layer)].detach().float().cpu().numpy()

    def attention(self, block: int = -1) -> np.ndarray:
        """Attention probabilities of a block, 1..L or negative from the end: float32 of shape (H, N, N), rows are queries."""
        number = self.layer_index(block)
        if number == 0:
            raise ValueError(f"block must be in 1..{self.n_layers} or negative, got {block}: none there")
        found = [s for s in self.steps if s.layer == number]
        n = self.layout.n_tokens
        out = np.zeros((found[0].weights.shape[0], n, n), np.float32)
        for s in found:
            _, nq, nk = s.weights.shape
            out[:, s.query_start : s.query_start + nq, s.key_start : s.key_start + nk] = (
                s.weights.detach().float().cpu().numpy()
            )
        return out

    def rerun(self, embeddings: torch.Tensor, layer: int) -> torch.Tensor:
        """Latents (B, N, D) of layer 0..L when the blocks run again from other layer-0 tokens (B, N, D)."""
        if layer == 0:
            return embeddings
        if not hasattr(self.model, "run_from"):
            raise UltraError(
                f"{type(self.model).__name__} cannot run its blocks from other embeddings: it has no run_from(); "
                "use a method that needs none (explain, raw_attention, rollout, cosine)"
            )
        return self.model.run_from(dict(self.inputs), embeddings, layer)

    def __repr__(self) -> str:
        n, d = self.latents[0].shape
        where = f"grid {self.layout.grid[0]}x{self.layout.grid[1]}" if self.layout.grid else "text"
        return (
            f"Capture({self.model.name!r}, {self.n_layers} blocks, {n} tokens of width {d}, "
            f"{self.layout.n_prefix} prefix, {where})"
        )


@dataclass(frozen=True, eq=False, repr=False)
class ExplanationMaps:
    """What T latent tokens were made from: one row over all N positions for each.

    Attributes
    ----------
    values : ndarray of shape (T, N), float32
        Row t explains ``tokens[t]``; raw, non-negative, prefix positions included.
    tokens : ndarray of shape (T,), int64
        Explained positions, prefix tokens counted.
    method, score, rule : str
        "ultra" or a baseline's name; the scalar explained; the sign kept.
    card : dict
        Provenance, JSON-able.
    since : int
        The columns are tokens of this layer, 0 being the embedding.
    groups : tuple of tuple of int, optional
        Row t explains these tokens together, and ``tokens[t]`` is the first of them.
    """

    values: np.ndarray
    tokens: np.ndarray
    layer: int
    layout: Layout
    method: str = "ultra"
    score: str = "norm"
    rule: str = "positive"
    input: Any = None
    card: Mapping[str, Any] = field(default_factory=dict)
    since: int = 0
    groups: tuple[tuple[int, ...], ...] | None = None

    @property
    def content(self) -> np.ndarray:
        """The columns of the content positions: (T, n_content), prefix left out."""
        return self.values[:, self.layout.n_prefix :]

    @property
    def without_own(self) -> np.ndarray:
        """`content` with each token's own position (a group's own positions) replaced by the largest other entry.

        The identity in the product puts a spike there that says nothing about the model. Shape (T, n_content).
        """
        own = np.zeros(self.values.shape, bool)
        for row, members in zip(own, self.groups or self.tokens, strict=True):
            row[np.asarray(members)] = True
        out, own = self.content, own[:, self.layout.n_prefix :]
        other = np.where(own, np.float32(-np.inf), out).max(axis=1, keepdims=True)
        return np.where(own & (other > -np.inf), other, out)

    def top(self, token: int, share: float = 0.1) -> np.ndarray:
        """The content positions that a token's map names, strongest first: this share of the others, at least one.

        Token indices, int64; never its own or one of relevance 0, equal ones in their order. A ValueError unless `share`
        is above 0 and at most 1.
        """
        if not 0 < share <= 1:
            raise ValueError(f"share must be above 0 and at most 1, got {share}")
        row = self.row_of(token)
        others = np.setdiff1d(self.layout.content, self.groups[row] if self.groups else token)
        order = others[np.argsort(-self.values[row, others], kind="stable")][
            : max(1, round(share * len(others)))
        ]
        return order[self.values[row, order] > 0]

    def used_by(self, position: int) -> ExplanationMaps:
        """Which explained tokens an input position went into: the column of S, as one map over the tokens.

        Entry i is what token i drew from the position, 0 where token i was not explained. Each token has its own scale: a
        column compares tokens of like norms. Its own token is left out as always (`without_own`). A ValueError for maps of
        groups, or for no such position.

        >>> layout = Layout("image", 0, grid=(1, 3), size=(8, 24))
        >>> maps = ExplanationMaps(np.array([[1, 0, 2], [3, 1, 4]]), np.array([0, 1]), 1, layout)
        >>> maps.used_by(2).values.tolist()
        [[2.0, 4.0, 0.0]]
        """
        if self.groups is not None:
            raise ValueError("used_by needs maps of single tokens, these are of groups")
        n = self.layout.n_tokens
        position = whole_number("position", position, 0, n - 1)
        values = np.zeros((1, n), np.float32)
        values[0, self.tokens] = self.values[:, position]
        made = {
            **self.card.get("explanation", {}),
            "method": f"used_by, {self.method}",
            "explained": self.tokens.tolist(),
        }
        return replace(
            self,
            values=values,
            tokens=np.array([position]),
            method=made["method"],
            card={**self.card, "explanation": made},
        )

    def row_of(self, token: int) -> int:
        """The row of `values` that explains a token; a ValueError if there is none."""
        rows = np.flatnonzero(self.tokens == token)
        if not len(rows):
            raise ValueError(
                f"maps must hold token {token}, got maps of {len(self)} tokens from {self.tokens.min()} to "
                f"{self.tokens.max()}; explain that token too"
            )
        return int(rows[0])

    def images(self, size: tuple[int, int] | None = None) -> np.ndarray:
        """The maps on the image: float32 of shape (T, h, w), or bicubic and clipped at zero of `size` (T, H, W).

        Own positions are replaced, as in `without_own`. A ValueError for a text.
        """
        if self.layout.grid is None:
            raise ValueError("images() needs maps of an image; for a text use .content")
        grid = self.without_own.reshape(-1, *self.layout.grid)
        return grid if size is None or tuple(size) == self.layout.grid else bicubic(grid, size)

    def __len__(self) -> int:
        return len(self.tokens)

    def __repr__(self) -> str:
        t, n = self.values.shape
        layer = f"layer {self.layer}" + (f" since {self.since}" if self.since else "")
        of = counted(t, "token" if self.groups is None else "group")
        return f"ExplanationMaps({of} x {n} positions, {layer}, {self.method}, {self.score}, {self.rule})"


Progress = Callable[[int, int], None]
"""Called with (done, total) tokens."""

Tokens = int | float | Sequence[int] | Sequence[Sequence[int]] | np.ndarray | None
"""Positions, prefix tokens counted, groups of them, or a share of all; None means every content position."""
