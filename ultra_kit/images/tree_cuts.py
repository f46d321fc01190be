"""Cuts of a tree of maps, and from the clusters to pixels."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.cluster.hierarchy import fcluster

_FLAT = 1e-6
"""A map whose range is below this share of its largest magnitude is constant up to float32 rounding."""


def check_cut(threshold: float | None, n_segments: int | None, n_tokens: int) -> None:
    """Refuse a threshold or a number of segments that cannot be."""
    if n_segments is None:
        if threshold is None or not (math.isfinite(threshold) and threshold >= 0):
            raise ValueError(f"threshold must be a distance of at least 0, got {threshold}")
    elif isinstance(n_segments, bool) or not isinstance(n_segments, (int, np.integer)):
        raise TypeError(f"n_segments must be an int, got {n_segments!r}")
    elif not 1 <= n_segments <= n_tokens:
        raise ValueError(f"n_segments must be in 1..{n_tokens} (the number of tokens), got {n_segments}")


def has_contrast(rows: np.ndarray) -> np.ndarray:
    """Which rows of (T, M) vary: bool of shape (T,)."""
    return np.ptp(rows, axis=1) > _FLAT * abs(rows).max(axis=1)


def cut(tree: np.ndarray, leaves: np.ndarray, threshold: float | None, n_segments: int | None) -> np.ndarray:
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


def numbered(found: np.ndarray, flat: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Clusters numbered by first token in raster order, the tokens without contrast last."""
    _, index = np.unique(found, return_inverse=True)
    first = np.full(index.max(initial=-1) + 1, np.iinfo(np.int64).max)
    np.minimum.at(first, index, tokens[~flat])
    clusters = np.full(len(flat), len(first), np.int64)
    clusters[~flat] = first.argsort().argsort()[index]
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
