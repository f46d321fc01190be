"""Segments of an image, and the steps that change them: a cut through the tree of maps, a merge."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from scipy.cluster.hierarchy import fcluster

from ..types import Layout
from ..types.checks import whole_number
from ..types.grids import bicubic_weights
from ..types.wording import counted

_FLAT = 1e-6
"""A map whose range is below this share of its largest magnitude is constant up to float32 rounding."""


@dataclass(frozen=True, eq=False, repr=False)
class Segmentation:
    """Segments of one image with the tree they were cut from; made by `segment`.

    Attributes
    ----------
    labels : ndarray of shape (H, W), int32
        Segment 0..K-1 of every pixel of the original image, numbered by first token in raster order.
    clusters : ndarray of shape (T,), int64
        Cluster of every token: 0..K-1, and for those in `constant` one more, which no pixel takes (but if
        there are no others).
    tokens, constant : ndarray of shape (T,) and (T - C,), int64
        The clustered tokens, prefix tokens counted, and those of them whose map has no contrast.
    linkage : ndarray of shape (C - 1, 4), float64
        SciPy's linkage matrix; leaf j is the j-th of the tokens that are not in `constant`.
    scaled : ndarray of shape (K, h, w), float32
        Summed maps of every cluster, min-max scaled to [0, 1]; a sum without contrast is 0.
    maps : ndarray of shape (T, h, w), float32
        The maps at the size at which they were compared, own positions replaced.
    threshold : float, or None for a cut at a number of segments
    layout, input, card
        Of the capture; the card says how the segments were made too.
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

    @property
    def cut_height(self) -> float:
        """Distance at which the tree is cut: the threshold, or midway between the two merges that the cut parts.

        One segment is a cut 5 % above the last merge; a merge by hand leaves the cut where it was.
        """
        if self.threshold is not None:
            return float(self.threshold)
        asked = self.card.get("segmentation", {}).get("n_segments") or self.n_segments
        heights = np.concatenate([[0.0], self.linkage[:, 2]])
        below = max(len(heights) - asked, 0)
        return float(np.mean([*heights, 1.1 * heights[-1]][below : below + 2]))

    @property
    def distance(self) -> str:
        """What the tree and `threshold` are measured in, for a reader: "cosine distance" or "squared Hellinger distance"."""
        hellinger = self.card.get("segmentation", {}).get("metric") == "hellinger"
        return "squared Hellinger distance" if hellinger else "cosine distance"

    def mask(self, segment: int) -> np.ndarray:
        """Where a segment lies: bool of shape (H, W); ValueError if there is no such segment."""
        return self.labels == whole_number("segment", segment, 0, self.n_segments - 1)

    def recut(self, *, threshold: float | None = None, n_segments: int | None = None) -> Segmentation:
        """Cut the same tree elsewhere; equal to a fresh `segment` of the same maps, but quick.

        Parameters
        ----------
        threshold, n_segments
            As in `segment`; a ValueError if none or both are given, or one is out of range.

        Examples
        --------
        >>> import ultra_kit as uk
        >>> cap = uk.capture(uk.load("scenes"), uk.data.scene(3).image)
        >>> uk.segment(uk.baselines.rollout(cap)).recut(n_segments=4).n_segments
        4
        """
        check_cut(threshold, n_segments, len(self.tokens))
        found = cut(self.linkage, int((~self._flat).sum()), threshold, n_segments)
        return self._regrouped(found, threshold=threshold, n_segments=n_segments, merged=[])

    def merge(self, *segments: int) -> Segmentation:
        """Join two or more segments (else a ValueError) into one; every pixel and number is given out afresh.

        Where the joined segments are those that the next higher cut would join, the result is that of the cut.
        """
        chosen = sorted(set(segments))
        if len(chosen) < 2 or chosen[0] < 0 or chosen[-1] >= self.n_segments:
            raise ValueError(
                f"merge needs two or more different segments of 0..{self.n_segments - 1}, got {segments}"
            )
        with_contrast = self.clusters[~self._flat]
        found = np.where(np.isin(with_contrast, chosen), chosen[0], with_contrast)
        done = [*self.card.get("segmentation", {}).get("merged", []), chosen]
        return self._regrouped(found, threshold=self.threshold, merged=done)

    @property
    def _flat(self) -> np.ndarray:
        """Which tokens' maps have no contrast: bool of shape (T,)."""
        return np.isin(self.tokens, self.constant)

    def _regrouped(self, found: np.ndarray, *, threshold: float | None, **made: Any) -> Segmentation:
        """The segmentation for clusters of the tokens with contrast, numbered in any way."""
        clusters = numbered(found, self._flat, self.tokens)
        scaled = scaled_sums(self.maps, clusters, clusters[~self._flat].max(initial=0) + 1)
        card = {**self.card.get("segmentation", {}), "threshold": threshold, **made}
        card.pop("chosen_on", None)  # of the cut before
        if not card["merged"]:
            del card["merged"]
        return replace(
            self,
            labels=pixels(scaled, self.layout.size or self.maps.shape[1:]),
            clusters=clusters,
            scaled=scaled,
            threshold=threshold,
            card={**self.card, "segmentation": card},
        )

    def __repr__(self) -> str:
        height, width = self.labels.shape
        cut = f"threshold {self.threshold}" if self.threshold is not None else "cut by number"
        cut += " (the model's own)" if "chosen_on" in self.card.get("segmentation", {}) else ""
        flat = f", {len(self.constant)} without contrast" if len(self.constant) else ""
        segments, tokens = counted(self.n_segments, "segment"), counted(len(self.tokens), "token")
        return f"Segmentation({segments} of {height}x{width}, {tokens}{flat}, {cut})"


def check_cut(threshold: float | None, n_segments: int | None, n_tokens: int) -> None:
    """Refuse a cut that is no threshold or no number of segments, or is both."""
    if (threshold is None) == (n_segments is None):
        raise ValueError(f"give either threshold or n_segments, got {threshold} and {n_segments}")
    if n_segments is not None:
        whole_number("n_segments", n_segments, 1, n_tokens, " (the number of tokens)")
    elif not isinstance(threshold, (int, float, np.number)) or not 0 <= threshold < math.inf:
        raise ValueError(f"threshold must be a distance of at least 0, got {threshold!r}")


def has_contrast(rows: np.ndarray) -> np.ndarray:
    """Which rows of (T, M) vary: bool of shape (T,)."""
    return np.ptp(rows, axis=1) > _FLAT * abs(rows).max(axis=1)


def cut(tree: np.ndarray, n: int, threshold: float | None, n_segments: int | None) -> np.ndarray:
    """Cluster of each of the n leaves of a tree, numbered in any way."""
    if n < 2:
        return np.zeros(n, np.int64)
    if n_segments is None:
        return fcluster(tree, threshold, "distance")
    # Undoing the last n_segments - 1 merges gives that many clusters even if heights tie,
    # where fcluster's maxclust gives fewer. So the merges are ranked and cut by rank.
    ranked = tree.copy()
    ranked[:, 2] = np.arange(1, n)
    return fcluster(ranked, max(n - n_segments, 0) + 0.5, "distance")


def numbered(found: np.ndarray, flat: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Clusters numbered by first token in raster order, the tokens without contrast last."""
    order = tokens[~flat].argsort()
    _, first, index = np.unique(found[order], return_index=True, return_inverse=True)
    clusters = np.full(len(flat), len(first), np.int64)
    clusters[np.flatnonzero(~flat)[order]] = first.argsort().argsort()[index]
    return clusters


def scaled_sums(maps: np.ndarray, clusters: np.ndarray, n: int) -> np.ndarray:
    """Sum of the maps of each cluster, min-max scaled: (n, h, w). Clusters from n on are left out."""
    member = (clusters == np.arange(n)[:, None]).astype(np.float64)
    sums = member @ maps.reshape(len(maps), -1).astype(np.float64)
    low, high = sums.min(axis=1, keepdims=True), sums.max(axis=1, keepdims=True)
    varies = has_contrast(sums)[:, None]
    scaled = np.where(varies, (sums - low) / np.where(varies, high - low, 1), 0)
    return scaled.reshape(n, *maps.shape[1:]).astype(np.float32)


def pixels(scaled: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Index of the largest of (K, h, w) maps resized to `size`: int32 of shape (H, W)."""
    up, across = bicubic_weights(scaled.shape[1], size[0]), bicubic_weights(scaled.shape[2], size[1]).T
    labels = np.zeros(size, np.int32)
    best = np.zeros(size, np.float32)  # and not less: bicubic weights undershoot beside a peak
    # One cluster at a time: memory does not grow with K, and `>` leaves ties to the lower number.
    for k, map_ in enumerate(scaled):
        here = up @ map_ @ across
        labels[here > best] = k
        np.maximum(best, here, out=best)
    return labels
