"""Metrics of a single found object: a mask, and the box around it."""

from __future__ import annotations

import numpy as np

from .contingency import overlap


def mask_iou(mask: np.ndarray, truth: np.ndarray, *, ignored: np.ndarray | None = None) -> float:
    """Overlap of two masks.

    Parameters
    ----------
    mask, truth : ndarray of bool, shape (H, W)
        Other dtypes or shapes that disagree are a ValueError.
    ignored : ndarray of bool, shape (H, W), optional
        Pixels that are left out.

    Returns
    -------
    float
        Intersection over union, in [0, 1]; 1 if both are empty.

    Examples
    --------
    >>> mask_iou(np.array([[True, True, False]]), np.array([[False, True, True]])) == 1 / 3
    True
    """
    mask, truth, counted = checked_masks(mask, truth, ignored)
    mask, truth = mask & counted, truth & counted
    return float(overlap((mask & truth).sum(), mask.sum(), truth.sum(), empty=1))


def box_around(mask: np.ndarray) -> tuple[int, int, int, int]:
    """The smallest box that holds a mask.

    Parameters
    ----------
    mask : ndarray of bool, shape (H, W)
        An empty one is a ValueError.

    Returns
    -------
    tuple of int
        (x0, y0, x1, y1) in pixels; x1 and y1 are the first column and row outside.

    Examples
    --------
    >>> box_around(np.array([[False, False, False], [False, True, True]]))
    (1, 1, 3, 2)
    """
    rows, columns = np.flatnonzero(np.any(mask, axis=1)), np.flatnonzero(np.any(mask, axis=0))
    if not len(rows):
        raise ValueError("box_around needs a mask with at least one pixel, got an empty one")
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def checked_masks(
    mask: np.ndarray, truth: np.ndarray, ignored: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Both masks, bool and of one shape, and the pixels that count."""
    mask, truth = np.asarray(mask), np.asarray(truth)
    counted = np.ones(truth.shape, bool) if ignored is None else ~np.asarray(ignored, bool)
    if not mask.shape == truth.shape == counted.shape or mask.dtype != bool or truth.dtype != bool:
        raise ValueError(
            f"masks must be bool and of one shape, got {mask.dtype} {mask.shape}, {truth.dtype} {truth.shape} "
            f"and {counted.shape} for what is ignored"
        )
    return mask, truth, counted
