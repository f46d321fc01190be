"""Scores with a known truth: of explanation maps, token by token, and of segments, pixel by pixel.

Scores of maps take ``values`` of shape (T, M) over the M content positions
(`ExplanationMaps.content`), ``own``, the content index of each explained token
(``maps.tokens - maps.layout.n_prefix``), and ``truth``, bool of shape (T, M). **The token's own
position is left out everywhere**: the identity in the maps' product, and the self-similarity in
the baselines, puts a spike there that says nothing about the model. A token that nothing else
shares its truth with has no score: NaN, so take means with `numpy.nanmean`.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.stats import rankdata
from skimage.filters import threshold_otsu
from sklearn.metrics.cluster import contingency_matrix


def average_precision(values: np.ndarray, own: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Average precision of each map's ranking of the positions, own position left out.

    Parameters
    ----------
    values : ndarray of shape (T, M)
        Any real numbers; only their order counts.
    own : ndarray of int, shape (T,)
        Content index of each explained token.
    truth : ndarray of bool, shape (T, M)

    Returns
    -------
    ndarray of shape (T,), float64
        In [0, 1]; chance is `prevalence`. NaN where no other position is true.

    Raises
    ------
    ValueError
        If shapes disagree, values are not finite, or an own position is out of range.

    Notes
    -----
    Sum over thresholds of (R_n - R_{n-1}) P_n as in `sklearn.metrics.average_precision_score`,
    tied values falling together; a constant map scores the prevalence.

    Examples
    --------
    The other true position ranks second of three, so its precision is 1/2:

    >>> average_precision([[9.0, 0.1, 0.3, 0.2]], [0], [[True, False, False, True]])
    array([0.5])
    """
    values, truth = _others(values, own, truth)
    # Positions ranked at or above each one, and how many of these are true.
    rank = rankdata(-values, "max", axis=1)
    hits = rankdata(np.where(truth, -values, np.inf), "max", axis=1)
    return _mean_over(hits / rank, truth)


def pointing_game(values: np.ndarray, own: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Whether each map is largest inside the truth, own position left out.

    Parameters
    ----------
    values, own, truth
        As in `average_precision`.

    Returns
    -------
    ndarray of shape (T,), float64
        1 for a hit, 0 for a miss; if several positions tie for the largest value, the share of
        them that is true (this project's choice: a constant map scores the prevalence). NaN where
        no other position is true.

    Raises
    ------
    ValueError
        As `average_precision`.

    Examples
    --------
    >>> pointing_game([[9.0, 0.1, 0.3, 0.3]], [0], [[True, False, False, True]])
    array([0.5])
    """
    values, truth = _others(values, own, truth)
    top = values == values.max(axis=1, keepdims=True)
    return np.where(truth.any(axis=1), _mean_over(truth.astype(float), top), np.nan)


def energy_inside(values: np.ndarray, own: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Share of each map's mass that lies inside the truth, own position left out.

    Parameters
    ----------
    values : ndarray of shape (T, M)
        Non-negative.
    own, truth
        As in `average_precision`.

    Returns
    -------
    ndarray of shape (T,), float64
        In [0, 1]; a constant map scores the prevalence, a map without mass 0 (this project's
        choice, so that an empty map is not left out of the mean). NaN where no other position is
        true.

    Raises
    ------
    ValueError
        As `average_precision`, or if a value is negative.

    Examples
    --------
    >>> energy_inside([[9.0, 1.0, 0.0, 3.0]], [0], [[True, False, False, True]])
    array([0.75])
    """
    values, truth = _others(values, own, truth)
    if (values < 0).any():
        raise ValueError(f"energy needs non-negative values, got {values.min()}; clip or shift them first")
    mass = values.sum(axis=1)
    inside = (values * truth).sum(axis=1) / np.where(mass > 0, mass, 1)
    return np.where(truth.any(axis=1), inside, np.nan)


def iou_at_otsu(values: np.ndarray, own: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Overlap of the truth with each map cut at Otsu's threshold, own position left out.

    Parameters
    ----------
    values, own, truth
        As in `average_precision`.

    Returns
    -------
    ndarray of shape (T,), float64
        Intersection over union, in [0, 1]; 0 for a constant map. NaN where no other position is
        true.

    Raises
    ------
    ValueError
        As `average_precision`.

    Notes
    -----
    Otsu's threshold is `skimage.filters.threshold_otsu` on the row's own values; what lies above
    it is the mask.

    Examples
    --------
    >>> iou_at_otsu([[9.0, 0.1, 1.0, 1.1, 0.0]], [0], [[True, False, False, True, False]])
    array([0.5])
    """
    values, truth = _others(values, own, truth)
    mask = np.stack([row > threshold_otsu(row) for row in values])
    union = (mask | truth).sum(axis=1)
    return np.where(truth.any(axis=1), (mask & truth).sum(axis=1) / np.maximum(union, 1), np.nan)


def prevalence(own: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Share of the other positions that are true: the chance level of the scores of maps.

    Parameters
    ----------
    own, truth
        As in `average_precision`.

    Returns
    -------
    ndarray of shape (T,), float64
        NaN where no other position is true. Exact for `pointing_game` and `energy_inside`; the
        limit for many positions of the `average_precision` of a random ranking.

    Raises
    ------
    ValueError
        If shapes disagree or an own position is out of range.

    Examples
    --------
    >>> prevalence([0], [[True, True, False, False, False]])
    array([0.25])
    """
    _, truth = _others(np.zeros(np.shape(truth)), own, truth)
    return np.where(truth.any(axis=1), truth.mean(axis=1), np.nan)


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
    cells = _cells(instances.shape, grid)
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
    return hungarian_miou(patch_labels(instances, grid).ravel()[_cells(instances.shape, grid)], instances)


def _cells(size: tuple[int, ...], grid: tuple[int, int]) -> np.ndarray:
    """Raster index of the patch of every pixel: int64 of shape `size`."""
    (height, width), (h, w) = size, grid
    if not (1 <= h <= height and 1 <= w <= width):
        raise ValueError(f"grid must be between 1 x 1 and the image's {height} x {width}, got {h} x {w}")
    return (np.arange(height) * h // height)[:, None] * w + np.arange(width) * w // width


def _others(values: np.ndarray, own: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values and truth without each row's own position: (T, M - 1) float64 and bool."""
    values, own, truth = np.asarray(values, np.float64), np.asarray(own), np.asarray(truth)
    if values.ndim != 2 or truth.shape != values.shape or own.shape != values.shape[:1]:
        raise ValueError(
            f"values and truth must be (T, M) and own (T,), got {values.shape}, {truth.shape} and {own.shape}"
        )
    n, m = values.shape
    if truth.dtype != bool:
        raise ValueError(f"truth must be bool, got {truth.dtype}; compare the labels first")
    if n == 0 or m < 2:
        raise ValueError(f"values must hold at least one map of two positions, got shape {values.shape}")
    if own.min() < 0 or own.max() >= m:
        raise ValueError(
            f"own must be content positions in 0..{m - 1} (prefix not counted), got {own.min()}..{own.max()}"
        )
    if not np.isfinite(values).all():
        raise ValueError("values must be finite, got NaN or infinity")
    keep = np.arange(m) != own[:, None]
    return values[keep].reshape(n, m - 1), truth[keep].reshape(n, m - 1)


def _mean_over(values: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Mean of each row over the positions in `where`; NaN where there are none."""
    count = where.sum(axis=1)
    return np.where(count > 0, (values * where).sum(axis=1) / np.maximum(count, 1), np.nan)


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
