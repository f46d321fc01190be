"""What knowing nothing scores, and what labels constant on each patch can reach."""

from __future__ import annotations

import numpy as np
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

_FITTED = 4096  # pixels that k-means on colours is fitted to


def colour_labels(image: np.ndarray, n_segments: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Segment an image by k-means on the colours of its pixels alone.

    Parameters
    ----------
    image : ndarray of shape (H, W, 3), uint8
    n_segments : int
        Fewer only if the image has fewer colours.
    seed : int

    Returns
    -------
    labels : ndarray of shape (H, W), int64
        Segment 0..K-1.
    centres : ndarray of shape (K, 3), float64
        Mean colours in [0, 1].

    Examples
    --------
    >>> image = np.array([[[0, 0, 0], [250, 0, 0]]], np.uint8)
    >>> len(np.unique(colour_labels(image, 2)[0]))
    2
    """
    pixels = image.reshape(-1, 3) / 255
    rng = np.random.default_rng(seed)
    fitted = rng.permutation(pixels)[:_FITTED]
    k = min(n_segments, len(np.unique(fitted, axis=0)))
    with threadpool_limits(1):  # the same sums in every process
        means = KMeans(k, n_init=1, random_state=seed).fit(fitted)
        labels = means.predict(pixels)
    return labels.reshape(image.shape[:2]).astype(np.int64), means.cluster_centers_


def majority(counts: np.ndarray) -> np.ndarray:
    """Counts after every cell took the class that most of its counted pixels have.

    Parameters
    ----------
    counts : ndarray of int, shape (C, n_cells)
        `ultra_kit.metrics.confusion` of the cells of one image.

    Returns
    -------
    ndarray of int, shape (C, C)
        Columns: the class that the cells got; the lower one at a tie.

    Examples
    --------
    >>> majority(np.array([[3, 1, 0], [1, 3, 2]]))
    array([[3, 1],
           [1, 5]])
    """
    chosen = counts.argmax(axis=0)
    return counts @ np.eye(len(counts), dtype=counts.dtype)[chosen]
