"""Segments of an image, and the steps that change them: another cut, a merge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..types import Layout
from .tree_cuts import check_cut, cut, numbered, pixels, scaled_sums


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
        >>> from ultra_kit import segment
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
        check_cut(threshold, n_segments, len(self.tokens))
        flat = np.isin(self.tokens, self.constant)
        found = cut(self.linkage, ~flat, threshold, n_segments)
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
        >>> from ultra_kit import segment
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
        clusters = numbered(found, flat, self.tokens)
        scaled = scaled_sums(self.maps, clusters, max(clusters[~flat].max(initial=0) + 1, 1))
        card = {**self.card.get("segmentation", {}), "threshold": threshold, **made}
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
        flat = f", {len(self.constant)} without contrast" if len(self.constant) else ""
        return f"Segmentation({self.n_segments} segments of {height}x{width}, {len(self.tokens)} tokens{flat}, {cut})"
