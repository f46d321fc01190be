"""The two families of scores of unsupervised segmentation with known classes.

**Family A, the data set**: one clustering for the whole data set and one match of clusters with
classes, on the pooled confusion matrix (PiCIE, STEGO, HP, EAGLE, CAUSE). **Family B, the image**:
the segments of each image are matched with the classes of that image (DiffSeg). B reads the truth
of every image before it is scored, which is worth many points: a number of one family says nothing
beside one of the other.

Matrices are int64, classes in rows, clusters or segments in columns.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment


@dataclass(frozen=True, eq=False)
class ClassMetrics:
    """Accuracy and mean IoU over C classes.

    Attributes
    ----------
    accuracy : float
        Share of the counted pixels whose cluster's class is the true one.
    miou : float
        Mean of `iou` over the classes that are not NaN.
    iou : ndarray of shape (C,), float64
        Intersection over union of each class; NaN if neither truth nor prediction has it.
    n_pixels : int
        Counted pixels: those with a true class.
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
    n_classes : int
    n_clusters : int, optional
        One more than the largest label by default.

    Returns
    -------
    ndarray of shape (n_classes, n_clusters), int64

    Raises
    ------
    ValueError
        If shapes disagree or a label or class is out of range: dropping such pixels, as some
        published code does, would raise the score.

    Examples
    --------
    >>> confusion(np.array([0, 0, 1, 1]), np.array([2, 0, 0, -1]), n_classes=3)
    array([[1, 1],
           [0, 0],
           [1, 0]])
    """
    labels, truth = np.asarray(labels), np.asarray(truth)
    if labels.shape != truth.shape:
        raise ValueError(
            f"labels and truth must have one shape, got {labels.shape} and {truth.shape}; resize one"
        )
    clusters = int(labels.max(initial=-1)) + 1 if n_clusters is None else n_clusters
    if labels.size and not (labels.min() >= 0 and labels.max() < clusters):
        raise ValueError(f"labels must be in 0..{clusters - 1}, got {labels.min()}..{labels.max()}")
    if truth.size and truth.max() >= n_classes:
        raise ValueError(f"truth must be below {n_classes} (negative is ignored), got {truth.max()}")
    keep = truth >= 0
    flat = truth[keep].astype(np.int64) * clusters + labels[keep]
    return np.bincount(flat, minlength=n_classes * clusters).reshape(n_classes, clusters)


def dataset_metrics(counts: np.ndarray) -> ClassMetrics:
    """Family A: match clusters with classes once, on the counts of the whole data set.

    Parameters
    ----------
    counts : ndarray of int, shape (C, K)
        `confusion`, summed over all images; the clusters mean the same in every image.

    Returns
    -------
    ClassMetrics

    Raises
    ------
    TypeError
        If the counts are not integers (float32 rounds above 16.8 million).

    Notes
    -----
    One to one, the most matched pixels (Hungarian algorithm), as STEGO's `UnsupervisedMetrics`.
    With K > C the pixels of clusters left over are counted wrong; with K < C the classes left over
    have IoU 0. A class without a pixel whose cluster has pixels counts 0, one whose cluster has
    none is NaN. Renaming clusters changes nothing, ties included.

    Examples
    --------
    >>> found = dataset_metrics(np.array([[0, 6, 0], [2, 1, 1]]))
    >>> found.accuracy, found.iou.round(2)
    (0.8, array([0.86, 0.5 ]))
    """
    counts = _checked(counts)
    return pooled_metrics(_matched(counts, np.arange(len(counts))))


def image_counts(counts: np.ndarray, *, match: str = "present") -> np.ndarray:
    """Family B: match the segments of one image with its classes.

    Parameters
    ----------
    counts : ndarray of int, shape (C, K)
        `confusion` of one image.
    match : {"present", "diffseg"}
        "present" matches only the classes that are in the image; segments left over are missed
        pixels of their true classes and nobody's false ones, and renaming segments changes nothing.
        "diffseg" is the published code's exact form: all C classes take part, so that segments
        left over fall to arbitrary absent classes, whose IoU they lower; the mean IoU (not the
        accuracy) then depends on how the solver breaks ties.

    Returns
    -------
    ndarray of shape (3, C), int64
        True positives, false positives and false negatives of each class; sum them over images
        and hand them to `pooled_metrics`.

    Raises
    ------
    TypeError
        If the counts are not integers.
    ValueError
        For an unknown match.

    Examples
    --------
    Two segments, one class in the image of two that there are:

    >>> image_counts(np.array([[6, 2], [0, 0]]), match="present").tolist()
    [[6, 0], [0, 0], [2, 0]]
    >>> image_counts(np.array([[6, 2], [0, 0]]), match="diffseg").tolist()
    [[6, 0], [0, 2], [2, 0]]
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
    """Scores from true positives, false positives and false negatives.

    Parameters
    ----------
    counts : ndarray of int, shape (3, C), or an iterable of such
        From `image_counts`; several are summed, so that every pixel of the data set counts alike.

    Returns
    -------
    ClassMetrics
        Accuracy TP / (TP + FN) over all pixels, IoU TP / (TP + FP + FN) of each class.

    Raises
    ------
    ValueError
        If no pixel was counted.

    Examples
    --------
    >>> pooled_metrics([np.array([[6, 0], [0, 2], [2, 0]]), np.array([[0, 4], [0, 0], [0, 0]])]).iou
    array([0.75      , 0.66666667])
    """
    total = np.sum(np.stack(list(counts)) if not isinstance(counts, np.ndarray) else counts[None], axis=0)
    hit, false, missed = total
    n = int((hit + missed).sum())
    if n == 0:
        raise ValueError("no pixel is left to score: every true class is ignored (negative)")
    union = hit + false + missed
    iou = np.where(union > 0, hit / np.maximum(union, 1), np.nan)
    return ClassMetrics(float(hit.sum() / n), float(np.nanmean(iou)), iou, n)


def _checked(counts: np.ndarray) -> np.ndarray:
    counts = np.asarray(counts)
    if counts.ndim != 2 or not np.issubdtype(counts.dtype, np.integer):
        raise TypeError(
            f"counts must be integers of shape (C, K), got {counts.dtype} of shape {counts.shape}"
        )
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
