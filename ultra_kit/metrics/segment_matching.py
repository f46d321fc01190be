"""The segments of one image against a known truth, pixel by pixel, and what a token grid can reach."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from ..types.grids import cell_grid
from .contingency import contingency, distinct, same_shape, table_overlap


def hungarian_miou(labels: np.ndarray, truth: np.ndarray, *, ignore: int | None = None) -> float:
    """Mean intersection over union of one image under the best one-to-one matching.

    The matching maximises the summed overlap, not the matched pixels, so ties do not matter. It uses the
    truth of every image: never compare it with a figure that matches once for a whole data set.

    Parameters
    ----------
    labels, truth : ndarray of int, same shape
        Found and true segments of one image; the numbers are names only.
    ignore : int, optional
        Positions with this truth are left out; a ValueError if none is left.

    Returns
    -------
    float
        Mean over the true segments present, in [0, 1]; one left without a partner counts 0, a
        found segment left without one is not counted by itself.

    Examples
    --------
    >>> hungarian_miou(np.array([[5, 5, 5, 5]]), np.array([[0, 0, 1, 1]]))
    0.25
    """
    labels, truth = same_shape(labels, truth)
    keep = np.ones(truth.shape, bool) if ignore is None else truth != ignore
    if not keep.any():
        raise ValueError(f"no position is left to score: all {truth.size} are to be ignored")
    overlaps = table_overlap(contingency(distinct(truth[keep])[1], distinct(labels[keep])[1]))
    return float(overlaps[linear_sum_assignment(overlaps, maximize=True)].sum() / len(overlaps))


def patch_labels(instances: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Label of each patch: the one that most of its pixels have, the smaller at a tie.

    Parameters
    ----------
    instances : ndarray of int, shape (H, W)
    grid : tuple of int
        (h, w); a pixel belongs to the patch that holds its top left corner. A grid finer than the
        image is a ValueError.

    Returns
    -------
    ndarray of shape (h, w), dtype of `instances`

    Examples
    --------
    >>> patch_labels(np.array([[3, 3, 3, 7], [3, 3, 7, 7]]), (1, 2))
    array([[3, 7]])
    """
    names, index = distinct(instances)
    counts = contingency(cell_grid(instances.shape, grid), index, (grid[0] * grid[1], len(names)))
    return names[counts.argmax(axis=1)].reshape(grid)


def grid_ceiling(instances: np.ndarray, grid: tuple[int, int]) -> float:
    """What `hungarian_miou` gives `patch_labels`, spread over the pixels, against `instances` themselves.

    Parameters
    ----------
    instances, grid : as for `patch_labels`

    Returns
    -------
    float
        What labels that are constant on each patch can hardly exceed.

    Examples
    --------
    >>> grid_ceiling(np.array([[3, 3, 3, 7]]), (1, 2))  # a tie goes to 3: the only 7 is lost
    0.375
    """
    return hungarian_miou(patch_labels(instances, grid).ravel()[cell_grid(instances.shape, grid)], instances)
