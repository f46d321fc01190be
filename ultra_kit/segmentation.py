"""Unsupervised segments from explanation maps: tokens whose maps look alike belong together."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import pdist

from .types import ExplanationMaps, Layout

METHODS = ("average", "complete", "single", "weighted")
"""Linkages that are defined on any distance; Ward's and the centroid ones need a Euclidean one."""

METRICS = ("cosine", "hellinger")
"""Distances between maps, both 0 for the same direction and 1 for maps that share no patch."""

_FLAT = 1e-6
"""A map whose range is below this share of its largest magnitude is constant up to float32 rounding."""


@dataclass(frozen=True, eq=False, repr=False)
class Segmentation:
    """Segments of one image with the tree they were cut from; made by `segment`.

    K segments are numbered by their first token in raster order. T tokens were clustered, C of
    which have a map with contrast; the maps were compared at (h, w).

    Attributes
    ----------
    labels : ndarray of shape (H, W), int32
        Segment 0..K-1 of every pixel of the original image.
    clusters : ndarray of shape (T,), int64
        Cluster of every token: 0..K-1, and C's number of clusters (one past the others) for the
        tokens in `constant`, a cluster of its own that no pixel takes. (If no token has contrast
        that is cluster 0, and the image is one segment.)
    tokens : ndarray of shape (T,), int64
        The clustered tokens, prefix tokens counted.
    constant : ndarray of int64
        The tokens whose map has no contrast.
    linkage : ndarray of shape (C - 1, 4), float64
        SciPy's linkage matrix; leaf j is the j-th of the tokens that are not in `constant`.
    scaled : ndarray of shape (K, h, w), float32
        Summed maps of every cluster, min-max scaled to [0, 1]; a sum without contrast is 0.
    maps : ndarray of shape (T, h, w), float32
        The maps that were compared, own positions replaced.
    threshold : float or None
        Distance at which the tree was cut; None if it was cut at a number of segments.
    layout : Layout
    input : ndarray or None
        The original image, for showing.
    card : dict
        Provenance, JSON-able.
    """

    labels: np.ndarray
    clusters: np.ndarray
    tokens: np.ndarray
    constant: np.ndarray
    linkage: np.ndarray
    scaled: np.ndarray
    maps: np.ndarray
    threshold: float | None
    layout: Layout
    input: Any = None
    card: Mapping[str, Any] = field(default_factory=dict)

    @property
    def n_segments(self) -> int:
        """K, the number of segments."""
        return len(self.scaled)

    @property
    def shares(self) -> np.ndarray:
        """Share of the image's area that each segment covers: float64 of shape (K,), sum 1."""
        return np.bincount(self.labels.ravel(), minlength=self.n_segments) / self.labels.size

    def mask(self, segment: int) -> np.ndarray:
        """Where a segment lies: bool of shape (H, W).

        Raises
        ------
        ValueError
            If there is no such segment.
        """
        if not 0 <= segment < self.n_segments:
            raise ValueError(f"segment must be in 0..{self.n_segments - 1}, got {segment}")
        return self.labels == segment

    def recut(self, *, threshold: float | None = None, n_segments: int | None = None) -> Segmentation:
        """Cut the same tree elsewhere; equal to a fresh `segment` of the same maps, but quick.

        Parameters
        ----------
        threshold : float
            Distance, as in `segment`.
        n_segments : int
            Number of segments, as in `segment`. Give this or `threshold`.

        Raises
        ------
        ValueError
            If none or both are given, or one is out of range.

        Examples
        --------
        >>> import numpy as np
        >>> from ultra_kit.types import ExplanationMaps, Layout
        >>> side = np.arange(8) % 4 // 2
        >>> values = (side[:, None] == side).astype("float32")
        >>> layout = Layout("image", n_prefix=0, grid=(2, 4), size=(2, 4))
        >>> seg = segment(ExplanationMaps(values, np.arange(8), -1, layout))
        >>> seg.n_segments, seg.recut(n_segments=1).n_segments
        (2, 1)
        """
        if (threshold is None) == (n_segments is None):
            raise ValueError(
                f"give either threshold or n_segments, got threshold={threshold}, n_segments={n_segments}"
            )
        _check_cut(threshold, n_segments, len(self.tokens))
        flat = np.isin(self.tokens, self.constant)
        found = _cut(self.linkage, ~flat, threshold, n_segments)
        return self._regrouped(found, threshold=threshold, n_segments=n_segments, merged=[])

    def merge(self, *segments: int) -> Segmentation:
        """Join segments: their tokens become one cluster, and every pixel is given out afresh.

        Where the joined segments are those that the next higher cut would join, the result is the
        same as that cut. The segments are numbered anew by first token.

        Parameters
        ----------
        *segments : int
            Two or more of 0..K-1.

        Raises
        ------
        ValueError
            If fewer than two are named, or one is not there.

        Examples
        --------
        >>> import numpy as np
        >>> from ultra_kit.types import ExplanationMaps, Layout
        >>> third = np.arange(6) // 2
        >>> values = (third[:, None] == third).astype("float32")
        >>> layout = Layout("image", n_prefix=0, grid=(1, 6), size=(1, 6))
        >>> segment(ExplanationMaps(values, np.arange(6), -1, layout)).merge(0, 2).labels
        array([[0, 0, 1, 1, 0, 0]], dtype=int32)
        """
        chosen = sorted(set(segments))
        if len(chosen) < 2 or chosen[0] < 0 or chosen[-1] >= self.n_segments:
            raise ValueError(
                f"merge needs two or more different segments of 0..{self.n_segments - 1}, got {segments}"
            )
        with_contrast = self.clusters[~np.isin(self.tokens, self.constant)]
        found = np.where(np.isin(with_contrast, chosen), chosen[0], with_contrast)
        done = [*self.card.get("segmentation", {}).get("merged", []), chosen]
        return self._regrouped(found, threshold=self.threshold, merged=done)

    def _regrouped(self, found: np.ndarray, *, threshold: float | None, **made: Any) -> Segmentation:
        """The segmentation for clusters of the tokens with contrast, numbered in any way."""
        flat = np.isin(self.tokens, self.constant)
        clusters = _numbered(found, flat, self.tokens)
        scaled = _scaled_sums(self.maps, clusters, max(clusters[~flat].max(initial=0) + 1, 1))
        card = {**self.card.get("segmentation", {}), "threshold": threshold, **made}
        if not card["merged"]:
            del card["merged"]
        return replace(
            self,
            labels=_pixels(scaled, self.layout.size or self.maps.shape[1:]),
            clusters=clusters,
            scaled=scaled,
            threshold=threshold,
            card={**self.card, "segmentation": card},
        )

    def __repr__(self) -> str:
        height, width = self.labels.shape
        cut = f"threshold {self.threshold}" if self.threshold is not None else "cut by number"
        flat = f", {len(self.constant)} without contrast" if len(self.constant) else ""
        return f"Segmentation({self.n_segments} segments of {height}x{width}, {len(self.tokens)} tokens{flat}, {cut})"


def segment(
    maps: ExplanationMaps,
    *,
    threshold: float = 0.25,
    n_segments: int | None = None,
    method: str = "average",
    metric: str = "cosine",
    size: tuple[int, int] | None = None,
) -> Segmentation:
    """Group the tokens of an image whose maps look alike, and give every pixel to a group.

    The procedure of ULTra (arXiv 2411.12589): each token's own column is replaced by the largest
    other entry of its map; distances between the maps (cosine by default); a tree by average linkage, cut into
    flat clusters; the maps of each cluster are summed and min-max scaled to [0, 1]; every pixel
    takes the cluster whose scaled map, resized bicubically, is largest there. Ties go to the lower
    cluster number. This project's choices: the resizing of the scaled maps in place of the single
    ones, the numbering by first token in raster order, and what becomes of maps without contrast
    (see `Segmentation.clusters`).

    Parameters
    ----------
    maps : ExplanationMaps
        T maps of patch tokens of one image, usually of all of them.
    threshold : float, default 0.25
        Distance at which the tree is cut: 0 (only equal directions) to 1 (maps are non-negative).
        Not used if `n_segments` is given.
    n_segments : int, optional
        Exactly so many segments, 1..T, also where the tree has ties; fewer only if fewer tokens
        have a map with contrast.
    method : {"average", "complete", "single", "weighted"}
        Linkage, as in `scipy.cluster.hierarchy.linkage`.
    metric : {"cosine", "hellinger"}
        Distance between maps a and b. "cosine", the paper's: 1 - <a, b> / (||a|| ||b||), which the
        few largest values decide. "hellinger", this project's choice for sharp maps: the squared
        Hellinger distance 1 - sum sqrt(p q) of the maps taken as distributions p and q (sum 1,
        negative values as 0), in which small shares count too.
    size : tuple of int, optional
        (height, width) at which the maps are compared, bicubic; the token grid by default.

    Returns
    -------
    Segmentation
        With labels at the original image's size. Deterministic.

    Raises
    ------
    ValueError
        If the maps are of a text, explain a prefix token or hold NaN or infinity, or an option is
        out of range.

    Examples
    --------
    Left and right half of a 2 x 4 grid explain themselves:

    >>> import numpy as np
    >>> from ultra_kit.types import ExplanationMaps, Layout
    >>> side = np.arange(8) % 4 // 2
    >>> values = (side[:, None] == side).astype("float32")
    >>> layout = Layout("image", n_prefix=0, grid=(2, 4), size=(2, 4))
    >>> seg = segment(ExplanationMaps(values, np.arange(8), -1, layout))
    >>> seg.labels
    array([[0, 0, 1, 1],
           [0, 0, 1, 1]], dtype=int32)
    """
    _check_maps(maps)
    _check_cut(None if n_segments is not None else threshold, n_segments, len(maps))
    if method not in METHODS:
        raise ValueError(
            f"method must be one of {', '.join(METHODS)}, got {method!r}; other linkages need Euclidean distances"
        )
    if metric not in METRICS:
        raise ValueError(f"metric must be one of {', '.join(METRICS)}, got {metric!r}")
    if size is not None and (len(size) != 2 or min(size) < 1):
        raise ValueError(f"size must be (height, width), both at least 1, got {size}")
    images = maps.images(size)
    rows = images.reshape(len(images), -1).astype(np.float64)
    if metric == "hellinger":
        # Scaled to unit length, square roots of maps are square roots of distributions.
        rows = np.sqrt(np.maximum(rows, 0))
    flat = ~_has_contrast(rows)
    if (~flat).sum() > 1:
        # Rounding may leave a tiny negative distance between equal maps.
        tree = linkage(np.maximum(pdist(rows[~flat], "cosine"), 0), method)
    else:
        tree = np.zeros((0, 4))
    made = {"method": method, "metric": metric, "size": list(images.shape[1:])}
    uncut = Segmentation(
        labels=np.zeros((0, 0), np.int32),
        clusters=np.zeros(0, np.int64),
        tokens=maps.tokens,
        constant=maps.tokens[flat],
        linkage=tree,
        scaled=np.zeros((0, *images.shape[1:]), np.float32),
        maps=images,
        threshold=None,
        layout=maps.layout,
        input=maps.input,
        card={**maps.card, "segmentation": made},
    )
    return uncut.recut(n_segments=n_segments) if n_segments is not None else uncut.recut(threshold=threshold)


def _check_maps(maps: ExplanationMaps) -> None:
    if maps.layout.grid is None:
        raise ValueError("segment needs maps of an image, got maps of a text; capture an image")
    if len(maps) == 0:
        raise ValueError("segment needs at least one map, got none")
    prefix = maps.tokens[maps.tokens < maps.layout.n_prefix]
    if len(prefix):
        raise ValueError(
            f"segment needs maps of patch tokens, got prefix token {prefix[0]}; explain the patches only (tokens=None)"
        )
    if len(np.unique(maps.tokens)) < len(maps):
        raise ValueError("segment needs every token at most once, got a token twice")
    if not np.isfinite(maps.values).all():
        raise ValueError(
            "maps must be finite, got NaN or infinity; look at the model's latents and the score"
        )


def _check_cut(threshold: float | None, n_segments: int | None, n_tokens: int) -> None:
    if n_segments is None:
        if threshold is None or not (math.isfinite(threshold) and threshold >= 0):
            raise ValueError(f"threshold must be a distance of at least 0, got {threshold}")
    elif isinstance(n_segments, bool) or not isinstance(n_segments, (int, np.integer)):
        raise TypeError(f"n_segments must be an int, got {n_segments!r}")
    elif not 1 <= n_segments <= n_tokens:
        raise ValueError(f"n_segments must be in 1..{n_tokens} (the number of tokens), got {n_segments}")


def _has_contrast(rows: np.ndarray) -> np.ndarray:
    """Which rows of (T, M) vary: bool of shape (T,)."""
    return np.ptp(rows, axis=1) > _FLAT * abs(rows).max(axis=1)


def _cut(tree: np.ndarray, leaves: np.ndarray, threshold: float | None, n_segments: int | None) -> np.ndarray:
    """Cluster of every leaf of the tree, numbered in any way; `leaves` says which tokens are leaves."""
    n = int(leaves.sum())
    if n < 2:
        return np.zeros(n, np.int64)
    if n_segments is None:
        return fcluster(tree, threshold, "distance")
    # Undoing the last n_segments - 1 merges gives that many clusters even if heights tie,
    # where fcluster's maxclust gives fewer. So the merges are ranked and cut by rank.
    ranked = tree.copy()
    ranked[:, 2] = np.arange(1, n)
    return fcluster(ranked, max(n - n_segments, 0) + 0.5, "distance")


def _numbered(found: np.ndarray, flat: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Clusters numbered by first token in raster order, the tokens without contrast last."""
    _, index = np.unique(found, return_inverse=True)
    first = np.full(index.max(initial=-1) + 1, np.iinfo(np.int64).max)
    np.minimum.at(first, index, tokens[~flat])
    clusters = np.full(len(flat), len(first), np.int64)
    clusters[~flat] = first.argsort().argsort()[index]
    return clusters


def _scaled_sums(maps: np.ndarray, clusters: np.ndarray, n: int) -> np.ndarray:
    """Sum of the maps of each cluster, min-max scaled: (n, h, w). Clusters from n on are left out."""
    member = (clusters == np.arange(n)[:, None]).astype(np.float64)
    sums = member @ maps.reshape(len(maps), -1).astype(np.float64)
    low, high = sums.min(axis=1, keepdims=True), sums.max(axis=1, keepdims=True)
    varies = _has_contrast(sums)[:, None]
    scaled = np.where(varies, (sums - low) / np.where(varies, high - low, 1), 0)
    return scaled.reshape(n, *maps.shape[1:]).astype(np.float32)


def _pixels(scaled: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Index of the largest of (K, h, w) maps resized to `size`: int32 of shape (H, W)."""
    up, across = _bicubic(scaled.shape[1], size[0]), _bicubic(scaled.shape[2], size[1]).T
    labels = np.zeros(size, np.int32)
    best = np.maximum(up @ scaled[0] @ across, 0)  # bicubic weights undershoot beside a peak
    # One cluster at a time: memory does not grow with K, and `>` leaves ties to the lower number.
    for k in range(1, len(scaled)):
        here = up @ scaled[k] @ across
        labels[here > best] = k
        np.maximum(best, here, out=best)
    return labels


def _bicubic(n: int, m: int) -> np.ndarray:
    """Matrix (m, n) of PyTorch's bicubic resizing of n samples to m, along one axis."""
    if n == m:
        return np.eye(n, dtype=np.float32)
    eye = torch.eye(n)[None, None]
    resized = torch.nn.functional.interpolate(eye, size=(m, n), mode="bicubic", align_corners=False)
    return resized[0, 0].numpy()
