"""Scores of a single found object: a mask, a box around it, a map to be cut."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Box = tuple[int, int, int, int]
"""(x0, y0, x1, y1) in pixels; x1 and y1 are the first column and row outside."""


def mask_iou(mask: np.ndarray, truth: np.ndarray, *, ignored: np.ndarray | None = None) -> float:
    """Overlap of two masks.

    Parameters
    ----------
    mask, truth : ndarray of bool, shape (H, W)
    ignored : ndarray of bool, shape (H, W), optional
        Pixels that are left out.

    Returns
    -------
    float
        Intersection over union, in [0, 1]; 1 if both are empty.

    Raises
    ------
    ValueError
        If shapes disagree or a mask is not bool.

    Examples
    --------
    >>> mask_iou(np.array([[True, True, False]]), np.array([[False, True, True]]))
    0.3333333333333333
    """
    mask, truth = _masks(mask, truth)
    keep = np.ones(truth.shape, bool) if ignored is None else ~np.asarray(ignored, bool)
    union = ((mask | truth) & keep).sum()
    return float((mask & truth & keep).sum() / union) if union else 1.0


def max_f_beta(values: np.ndarray, truth: np.ndarray, *, beta2: float = 0.3) -> float:
    """Largest F-measure of a map over 255 thresholds, as saliency benchmarks report it.

    Parameters
    ----------
    values : ndarray of shape (H, W)
        In [0, 1]; a pixel is found where it exceeds the threshold.
    truth : ndarray of bool, shape (H, W)
    beta2 : float, default 0.3
        Weight of precision against recall; 0.3 in the literature on saliency.

    Returns
    -------
    float
        In [0, 1], over the thresholds 0/255 to 254/255.

    Raises
    ------
    ValueError
        If shapes disagree, values leave [0, 1], or the truth is empty.

    Examples
    --------
    >>> max_f_beta(np.array([[0.9, 0.6, 0.2]]), np.array([[True, True, False]]))
    1.0
    """
    values = np.asarray(values, float)
    _, truth = _masks(values > 0, truth)
    if not truth.any() or not (values.min() >= 0 and values.max() <= 1):
        raise ValueError(
            "max_f_beta needs values in [0, 1] and a truth with at least one pixel, got "
            f"{values.min()}..{values.max()} and {int(truth.sum())} pixels"
        )
    thresholds = np.arange(255) / 255
    found = values.size - np.searchsorted(np.sort(values.ravel()), thresholds, "right")
    hits = truth.sum() - np.searchsorted(np.sort(values[truth]), thresholds, "right")
    precision, recall = hits / np.maximum(found, 1), hits / truth.sum()
    below = beta2 * precision + recall
    return float(((1 + beta2) * precision * recall / np.where(below > 0, below, 1)).max())


def box_around(mask: np.ndarray) -> Box:
    """The smallest box that holds a mask.

    Parameters
    ----------
    mask : ndarray of bool, shape (H, W)

    Returns
    -------
    tuple of int
        (x0, y0, x1, y1), the last two just outside.

    Raises
    ------
    ValueError
        If the mask is empty.

    Examples
    --------
    >>> box_around(np.array([[False, False, False], [False, True, True]]))
    (1, 1, 3, 2)
    """
    rows, columns = np.flatnonzero(np.any(mask, axis=1)), np.flatnonzero(np.any(mask, axis=0))
    if not len(rows):
        raise ValueError("box_around needs a mask with at least one pixel, got an empty one")
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def box_iou(a: Box, b: Box) -> float:
    """Overlap of two boxes.

    Parameters
    ----------
    a, b : tuple of int
        (x0, y0, x1, y1). From a VOC annotation take (xmin - 1, ymin - 1, xmax, ymax): it counts
        pixels from 1 and includes the last.

    Returns
    -------
    float
        Intersection over union, in [0, 1].

    Raises
    ------
    ValueError
        If a box has no area.

    Examples
    --------
    >>> box_iou((0, 0, 2, 2), (1, 0, 3, 2))
    0.3333333333333333
    """
    for box in (a, b):
        if not (box[0] < box[2] and box[1] < box[3]):
            raise ValueError(f"a box must be (x0, y0, x1, y1) with x0 < x1 and y0 < y1, got {box}")
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    inside = max(width, 0) * max(height, 0)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    return float(inside / (areas - inside))


def corloc(boxes: Sequence[Box], truths: Sequence[Sequence[Box]], *, threshold: float = 0.5) -> float:
    """Correct localisation: share of the images whose one found box meets a true one.

    Parameters
    ----------
    boxes : sequence of tuple
        One box for each image.
    truths : sequence of sequence of tuple
        All true boxes of each image; an image without one can't be hit.
    threshold : float, default 0.5
        Smallest overlap of a hit, itself included.

    Returns
    -------
    float
        In [0, 1] (papers print percent), as LOST and TokenCut count it.

    Raises
    ------
    ValueError
        If the lengths disagree or there is no image.

    Examples
    --------
    >>> corloc([(0, 0, 2, 2), (0, 0, 2, 2)], [[(0, 0, 2, 1), (5, 5, 6, 6)], [(1, 1, 3, 3)]])
    0.5
    """
    if not boxes or len(boxes) != len(truths):
        raise ValueError(
            f"corloc needs one box and one list of boxes for each image, got {len(boxes)} and {len(truths)}"
        )
    hits = [any(box_iou(box, t) >= threshold for t in true) for box, true in zip(boxes, truths, strict=True)]
    return float(np.mean(hits))


def _masks(mask: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mask, truth = np.asarray(mask), np.asarray(truth)
    if mask.shape != truth.shape or mask.dtype != bool or truth.dtype != bool:
        raise ValueError(
            f"masks must be bool and of one shape, got {mask.dtype} {mask.shape} and {truth.dtype} {truth.shape}"
        )
    return mask, truth
