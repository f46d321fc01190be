"""Semantic classes over many images: segments whose latents look alike are of one class."""

from __future__ import annotations

import numpy as np
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from ..images.segmentation import Segmentation


def describe_segments(seg: Segmentation, latents: np.ndarray) -> np.ndarray:
    """Describe each segment by the mean latent of its tokens, so that segments of several images compare.

    Each token counts by the value of its cluster's scaled map at its own patch. This project's choice, the paper has
    no classes over images.

    Parameters
    ----------
    seg : Segmentation
        K segments, cut at the token grid (``size=None``); else a ValueError.
    latents : ndarray of shape (N, D)
        ``cap.tokens(layer)`` of the same capture.

    Returns
    -------
    ndarray of shape (K, D), float64
        Rows of length 1.

    Examples
    --------
    >>> import ultra_kit as uk
    >>> cap = uk.capture(uk.load("scenes"), uk.data.scene(0).image)
    >>> describe_segments(uk.segment(uk.explain(cap), n_segments=3), cap.tokens()).shape
    (3, 128)
    """
    layout = seg.layout
    if seg.maps.shape[1:] != layout.grid or len(latents) != layout.n_tokens:
        raise ValueError(
            f"segments must be cut at the token grid {layout.grid} with {layout.n_tokens} latents, got maps of "
            f"{seg.maps.shape[1:]} and {len(latents)} latents; leave size=None and take cap.tokens(layer)"
        )
    own = seg.scaled.reshape(seg.n_segments, -1)[:, seg.tokens - layout.n_prefix].astype(np.float64)
    member = seg.clusters == np.arange(seg.n_segments)[:, None]
    weights = np.where(member, own, 0)
    # A cluster whose map is zero on all of its tokens: they count alike.
    weights = np.where(weights.sum(axis=1, keepdims=True) > 0, weights, member)
    mean = weights @ latents[seg.tokens].astype(np.float64)
    return mean / np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), np.finfo(float).tiny)


def cluster_segments(features: np.ndarray, n_classes: int, *, seed: int = 0) -> np.ndarray:
    """Group the segments of all images into classes by k-means; deterministic.

    Parameters
    ----------
    features : ndarray of shape (S, D)
        Rows of `describe_segments` of all images, at least one and finite, else a ValueError.
    n_classes : int
        K, at least 1; fewer are made only if there are fewer different rows.
    seed : int

    Returns
    -------
    ndarray of shape (S,), int64
        Class 0..K-1 of each segment, numbered by first appearance.

    Examples
    --------
    >>> cluster_segments(np.array([[0.0, 1.0], [1.0, 0.0], [0.1, 1.0]]), 2)
    array([0, 1, 0])
    """
    features = np.asarray(features, np.float64)
    if features.ndim != 2 or not len(features) or not np.isfinite(features).all():
        raise ValueError(f"features must be finite and (S, D), with at least one row, got {features.shape}")
    if n_classes < 1:
        raise ValueError(f"n_classes must be at least 1, got {n_classes}")
    k = min(n_classes, len(np.unique(features, axis=0)))
    # One thread: with several, sums are taken in the order in which threads end.
    with threadpool_limits(1):
        found = KMeans(k, n_init=10, random_state=seed).fit_predict(features)
    _, first, index = np.unique(found, return_index=True, return_inverse=True)
    return first.argsort().argsort()[index].astype(np.int64)
