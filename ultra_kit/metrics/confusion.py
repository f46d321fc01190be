"""The two families of metrics of unsupervised segmentation with known classes.

**Family A, the data set**: one clustering and one match of clusters with classes, on the pooled
matrix (PiCIE, STEGO, HP, EAGLE, CAUSE). **Family B, the image**: the segments of each image are
matched with its classes (DiffSeg); that reads the truth of every image, which is worth many points.
Never compare figures of the two. Classes are in rows, clusters or segments in columns.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from .contingency import contingency, overlap, same_shape


@dataclass(frozen=True, eq=False)
class ClassMetrics:
    """Accuracy, over the `n_pixels` pixels with a true class, and overlap of C classes.

    `iou`, float64 of shape (C,), is NaN for a class in neither truth nor prediction; `miou` is its mean.
    """

    accuracy: float
    miou: float
    iou: np.ndarray
    n_pixels: int


def confusion(
    labels: np.ndarray, truth: np.ndarray, *, n_classes: int, n_clusters: int | None = None
) -> np.ndarray:
    """Count the pixels of every pair of a class and a cluster.

    Parameters
    ----------
    labels : ndarray of int, any shape
        Cluster 0..n_clusters-1 of every pixel.
    truth : ndarray of int, same shape
        Class 0..n_classes-1; negative ones are left out.
    n_classes, n_clusters : int
        By default there is one cluster more than the largest label.

    Returns
    -------
    ndarray of shape (n_classes, n_clusters), int64
        A ValueError if a label or class is out of range: dropping such pixels, as some published code
        does, would raise the figures.

    Examples
    --------
    >>> confusion(np.array([0, 0, 1, 1]), np.array([2, 0, 0, -1]), n_classes=3).tolist()
    [[1, 1], [0, 0], [1, 0]]
    """
    labels, truth = same_shape(labels, truth)
    clusters = int(labels.max(initial=-1)) + 1 if n_clusters is None else n_clusters
    if labels.size and not (labels.min() >= 0 and labels.max() < clusters):
        raise ValueError(f"labels must be in 0..{clusters - 1}, got {labels.min()}..{labels.max()}")
    if truth.size and truth.max() >= n_classes:
        raise ValueError(f"truth must be below {n_classes} (negative is ignored), got {truth.max()}")
    keep = truth >= 0
    return contingency(truth[keep], labels[keep], (n_classes, clusters))


def dataset_metrics(counts: np.ndarray) -> ClassMetrics:
    """Family A: match clusters with classes once, on the counts of the whole data set.

    One to one, the most matched pixels (Hungarian algorithm), as STEGO's `UnsupervisedMetrics`. Pixels
    of clusters left over are counted wrong. A class left over has IoU 0, as has one without a pixel
    whose cluster has some; without any it is NaN. Renaming clusters changes nothing, ties included.

    Parameters
    ----------
    counts : ndarray of int, shape (C, K)
        `confusion`, summed over all images; the clusters mean the same in every image. Other than
        integers are a TypeError (float32 rounds above 16.8 million).

    Returns
    -------
    ClassMetrics

    Examples
    --------
    >>> dataset_metrics(np.array([[0, 6, 0], [2, 1, 1]])).iou.round(2)
    array([0.86, 0.5 ])
    """
    counts = _checked(counts)
    return pooled_metrics(_matched(counts, np.arange(len(counts))))


def image_counts(counts: np.ndarray, *, match: str = "present") -> np.ndarray:
    """Family B: match the segments of one image with its classes.

    Parameters
    ----------
    counts : ndarray of int, shape (C, K)
        `confusion` of one image; other than integers are a TypeError.
    match : {"present", "diffseg"}
        "present" matches the classes in the image only; segments left over are missed pixels of their
        true classes and nobody's false ones, and renaming segments changes nothing. "diffseg" is the
        published code: all C classes take part, so that segments left over lower the IoU of arbitrary
        absent classes; the mean IoU (not the accuracy) then depends on how the solver breaks ties.

    Returns
    -------
    ndarray of shape (3, C), int64
        True positives, false positives and false negatives of each class, for `pooled_metrics`.

    Examples
    --------
    >>> one_class = np.array([[6, 2], [0, 0]])
    >>> image_counts(one_class).tolist(), image_counts(one_class, match="diffseg").tolist()
    ([[6, 0], [0, 0], [2, 0]], [[6, 0], [0, 2], [2, 0]])
    """
    counts = _checked(counts)
    if match == "present":
        return _matched(counts, np.flatnonzero(counts.any(axis=1)))
    if match != "diffseg":
        raise ValueError(f"match must be 'present' or 'diffseg', got {match!r}")
    # As google/diffseg: columns padded to at least C, the solver's own choice among ties.
    padded = np.pad(counts, ((0, 0), (0, max(0, len(counts) - counts.shape[1]))))
    return _counts_of(padded, *linear_sum_assignment(padded, maximize=True))


def pooled_metrics(counts: np.ndarray | Iterable[np.ndarray]) -> ClassMetrics:
    """Accuracy TP / (TP + FN) over all pixels and IoU TP / (TP + FP + FN) of each class.

    Parameters
    ----------
    counts : ndarray of int, shape (3, C), or an iterable of such
        From `image_counts`; several are summed, so that pixels count alike. None is a ValueError.

    Returns
    -------
    ClassMetrics

    Examples
    --------
    >>> found = pooled_metrics(np.array([[3, 1], [1, 0], [0, 1]]))  # 4 of 5 pixels hit
    >>> found.accuracy, found.iou
    (0.8, array([0.75, 0.5 ]))
    """
    several = counts[None] if isinstance(counts, np.ndarray) else np.stack(list(counts))
    hit, false, missed = several.sum(axis=0)
    n = int((hit + missed).sum())
    if n == 0:
        raise ValueError("no pixel is left to score: every true class is ignored (negative)")
    iou = overlap(hit, hit + missed, hit + false)
    return ClassMetrics(float(hit.sum() / n), float(np.nanmean(iou)), iou, n)


def _checked(counts: np.ndarray) -> np.ndarray:
    counts = np.asarray(counts)
    if counts.ndim != 2 or not np.issubdtype(counts.dtype, np.integer):
        raise TypeError(f"counts must be integers (C, K), got {counts.dtype} of shape {counts.shape}")
    return counts.astype(np.int64)


def _matched(counts: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Counts of the best match of all columns with some of the rows."""
    # The solver breaks ties by position. Columns sorted by content make that independent of names.
    order = np.lexsort(counts)
    rows, columns = linear_sum_assignment(counts[classes][:, order], maximize=True)
    return _counts_of(counts, classes[rows], order[columns])


def _counts_of(counts: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    out = np.zeros((3, len(counts)), np.int64)
    out[0, rows] = counts[rows, columns]
    out[1, rows] = counts[:, columns].sum(axis=0) - out[0, rows]
    out[2] = counts.sum(axis=1) - out[0]
    return out
