"""Scores of the segments of one image against a known truth, pixel by pixel."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.metrics.cluster import contingency_matrix

from ..types.grids import cell_grid


def best_overlap_miou(labels: np.ndarray, truth: np.ndarray, *, ignore: int | None = None) -> float:
    """Mean over the true segments of the overlap with the best of the found ones.

    A found segment may serve several true ones, so this forgives too few segments more than
    `hungarian_miou` does, and never is below it.

    Parameters
    ----------
    labels, truth : ndarray of int, same shape
        Found and true segments of one image; the numbers are names only.
    ignore : int, optional
        Positions with this truth are left out.

    Returns
    -------
    float
        Mean intersection over union, in [0, 1].

    Raises
    ------
    ValueError
        If shapes disagree or every position is ignored.

    Examples
    --------
    >>> best_overlap_miou(np.array([[5, 5, 5, 5]]), np.array([[0, 0, 1, 1]]))
    0.5
    """
    return float(_overlaps(labels, truth, ignore).max(axis=1).mean())


def hungarian_miou(labels: np.ndarray, truth: np.ndarray, *, ignore: int | None = None) -> float:
    """Mean intersection over union of one image under the best one-to-one matching.

    Parameters
    ----------
    labels, truth, ignore
        As in `best_overlap_miou`.

    Returns
    -------
    float
        Mean over the true segments present, in [0, 1]; one left without a partner counts 0, a
        found segment left without one is not counted by itself.

    Raises
    ------
    ValueError
        As `best_overlap_miou`.

    Notes
    -----
    The matching (`scipy.optimize.linear_sum_assignment`) maximises the summed overlap itself, not
    the matched pixels, among the segments present in this image: the score does not depend on how
    ties are broken. It uses the truth of every image and is not comparable with scores that match
    once for a whole data set.

    Examples
    --------
    >>> hungarian_miou(np.array([[5, 5, 5, 5]]), np.array([[0, 0, 1, 1]]))
    0.25
    """
    overlaps = _overlaps(labels, truth, ignore)
    return float(overlaps[linear_sum_assignment(overlaps, maximize=True)].sum() / len(overlaps))


def patch_labels(instances: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Label of each patch: the one that most of its pixels have, the smaller at a tie.

    Parameters
    ----------
    instances : ndarray of int, shape (H, W)
    grid : tuple of int
        (h, w), at most (H, W); the grid covers the whole image, and a pixel belongs to the patch
        that holds its top left corner.

    Returns
    -------
    ndarray of shape (h, w), dtype of `instances`

    Raises
    ------
    ValueError
        If the grid is finer than the image.

    Examples
    --------
    >>> patch_labels(np.array([[0, 0, 3, 3], [0, 3, 3, 3]]), (1, 2))
    array([[0, 3]])
    """
    cells = cell_grid(instances.shape, grid)
    names, index = np.unique(instances, return_inverse=True)
    counts = np.bincount(cells.ravel() * len(names) + index.ravel(), minlength=grid[0] * grid[1] * len(names))
    return names[counts.reshape(-1, len(names)).argmax(axis=1)].reshape(grid)


def grid_ceiling(instances: np.ndarray, grid: tuple[int, int]) -> float:
    """Mean overlap that labels constant on each patch reach if every patch has its majority label.

    Parameters
    ----------
    instances, grid
        As in `patch_labels`.

    Returns
    -------
    float
        `hungarian_miou` of `patch_labels`, spread over the pixels, against `instances`.

    Raises
    ------
    ValueError
        As `patch_labels`.

    Examples
    --------
    >>> grid_ceiling(np.array([[0, 0, 3, 3], [0, 3, 3, 3]]), (1, 2))
    0.775
    """
    return hungarian_miou(patch_labels(instances, grid).ravel()[cell_grid(instances.shape, grid)], instances)


def _overlaps(labels: np.ndarray, truth: np.ndarray, ignore: int | None) -> np.ndarray:
    """Intersection over union of each true segment (row) with each found one (column)."""
    labels, truth = np.asarray(labels), np.asarray(truth)
    if labels.shape != truth.shape:
        raise ValueError(
            f"labels and truth must have one shape, got {labels.shape} and {truth.shape}; resize one"
        )
    keep = np.ones(truth.shape, bool) if ignore is None else truth != ignore
    if not keep.any():
        raise ValueError(f"no position is left to score: all {truth.size} are to be ignored")
    both = contingency_matrix(truth[keep], labels[keep])
    return both / (both.sum(axis=1, keepdims=True) + both.sum(axis=0) - both)
