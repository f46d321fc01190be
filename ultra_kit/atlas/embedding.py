"""Tokens of many inputs placed in two dimensions and clustered, with what a view needs to show each of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from ..text.words import Word, split_words, with_tokens
from ..types import Layout
from ..types.checks import one_of

THUMBNAIL = 160
"""The longest side of a stored picture, in pixels."""


@dataclass(frozen=True, eq=False)
class PlacedInput:
    """What is kept of one input of an `Embedding`: enough to show its tokens.

    Attributes
    ----------
    layout : Layout
        Of the capture: grid, prefix and original size of an image, pieces of a text (``layout.tokens``).
    picture : ndarray of shape (h, w, 3), uint8, or None
        A thumbnail of an image, the longest side at most 160 pixels; None for a text.
    text : str
        The whole text; empty for an image.
    name : str
        The name of its file, or what the caller named it; may be empty.
    sha256 : str
        Of the original input.
    """

    layout: Layout
    picture: np.ndarray | None = None
    text: str = ""
    name: str = ""
    sha256: str = ""

    def box(self, token: int) -> tuple[float, float, float, float]:
        """The cell of a patch token as (x0, y0, x1, y1) in pixels of `picture`; a ValueError if there is none."""
        if self.picture is None or self.layout.grid is None:
            raise ValueError("box needs the patch of an image; this input is a text, see word()")
        self.layout.center_of(token)  # refuses what is no patch
        (h, w), (height, width) = self.layout.grid, self.picture.shape[:2]
        row, col = divmod(token - self.layout.n_prefix, w)
        return col * width / w, row * height / h, (col + 1) * width / w, (row + 1) * height / h

    @cached_property
    def words(self) -> tuple[Word, ...]:
        """The words of a text, each with its characters (start, end) in `text` and its tokens; none for an image."""
        pieces, first = self.layout.tokens or (), self.layout.n_prefix
        spans, at = [], 0
        for piece in pieces[first:]:
            bare = piece.strip()
            found = self.text.find(bare, at) if bare else -1
            start = at if found < 0 else found
            at = start + (len(bare) if found >= 0 else 0)
            spans.append((start, at))
        return with_tokens(split_words(self.text), spans, first)

    def word(self, token: int) -> str:
        """The word of a text that a token is part of, or its own piece where it is part of none; empty for an image."""
        pieces = self.layout.tokens or ()
        owner = next((w.text for w in self.words if token in w.tokens), None)
        return owner or (pieces[token] if pieces else "")


@dataclass(frozen=True, eq=False, repr=False)
class Embedding:
    """Tokens of many inputs in two dimensions, clustered; made by `ultra_kit.embed`.

    Attributes
    ----------
    points : ndarray of shape (M, 2), float32
    labels : ndarray of shape (M,), int32
        Cluster of each token, -1 for noise.
    probabilities : ndarray of shape (M,), float32
        How surely a token belongs to its cluster, in [0, 1]; 0 for noise.
    source : ndarray of shape (M, 2), int32
        Number of the input in `inputs`, and the token's index in it, prefix tokens counted.
    vectors : ndarray of shape (M, D), float16
        What was placed: unit latents, or maps of one size. They are rounded before they are placed, so that a file
        holds exactly what the points came from.
    inputs : tuple of PlacedInput
    layer : int
    by : {"latent", "map"}
    method : {"umap", "pca"}
    seed : int
    names : tuple of str
        One for each cluster; a name may be empty.
    mapped : tuple of two ndarrays of shape (M, K), int32 and float32, or None
        Of each token's map the K strongest positions (own left out) and their weights, the largest being 1.
    axes : ndarray of shape (3, D), float32, or None
        The mean and two axes of method "pca".
    card : dict
        Provenance, JSON-able.
    """

    points: np.ndarray
    labels: np.ndarray
    probabilities: np.ndarray
    source: np.ndarray
    vectors: np.ndarray
    inputs: tuple[PlacedInput, ...]
    layer: int = -1
    by: str = "latent"
    method: str = "umap"
    seed: int = 0
    names: tuple[str, ...] = ()
    mapped: tuple[np.ndarray, np.ndarray] | None = None
    axes: np.ndarray | None = None
    card: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        one_of("by", self.by, ("latent", "map"))
        one_of("method", self.method, ("umap", "pca"))
        m = len(self.points)
        shapes = {"points": (m, 2), "labels": (m,), "probabilities": (m,), "source": (m, 2)}
        for name, shape in shapes.items():
            if getattr(self, name).shape != shape:
                raise ValueError(f"{name} must have the shape {shape}, got {getattr(self, name).shape}")
        if len(self.vectors) != m:
            raise ValueError(f"vectors must be one for each of the {m} points, got {len(self.vectors)}")

    @property
    def n_clusters(self) -> int:
        """Number of clusters, noise not counted."""
        return int(self.labels.max(initial=-1)) + 1

    def __len__(self) -> int:
        return len(self.points)

    def __repr__(self) -> str:
        noise = float((self.labels < 0).mean()) if len(self) else 0.0
        return (
            f"Embedding({len(self)} tokens of {len(self.inputs)} inputs, layer {self.layer} by {self.by}, "
            f"{self.method}, {self.n_clusters} clusters, {noise:.0%} noise)"
        )
