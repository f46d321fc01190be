"""Explanation maps against a known truth, token by token.

**The token's own position is left out everywhere**: the identity in the maps' product, and the
self-similarity in the baselines, puts a spike there that says nothing about the model. Where nothing
else shares a token's truth the result is NaN, so take means with `numpy.nanmean`.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata
from skimage.filters import threshold_otsu

from .contingency import overlap


def average_precision(values: np.ndarray, own: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Average precision of each map's ranking of the positions, as scikit-learn's, tied values falling together.

    Parameters
    ----------
    values : ndarray of shape (T, M)
        Maps over the M content positions, `ExplanationMaps.content`. Any finite numbers (else a
        ValueError); only their order counts.
    own : ndarray of int, shape (T,)
        Content index of each explained token, ``maps.tokens - maps.layout.n_prefix``; left out.
    truth : ndarray of bool, shape (T, M)

    Returns
    -------
    ndarray of shape (T,), float64
        In [0, 1]; chance is `prevalence`. NaN where no other position is true.

    Examples
    --------
    >>> average_precision([[9.0, 0.1, 0.3, 0.2]], [0], [[True, False, False, True]])
    array([0.5])
    """
    values, truth = _others(values, own, truth)
    # Positions ranked at or above each one, and how many of these are true.
    rank = rankdata(-values, "max", axis=1)
    hits = rankdata(np.where(truth, -values, np.inf), "max", axis=1)
    return _mean_over(hits / rank, truth)


def pointing_game(values: np.ndarray, own: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Whether each map is largest inside the truth.

    Parameters
    ----------
    values, own, truth : as for `average_precision`

    Returns
    -------
    ndarray of shape (T,), float64
        1 for a hit, 0 for a miss; if several positions tie for the largest value, the share of them that
        is true (this project's choice: a constant map has the prevalence).

    Examples
    --------
    >>> pointing_game([[9.0, 0.1, 0.3, 0.3]], [0], [[True, False, False, True]])
    array([0.5])
    """
    values, truth = _others(values, own, truth)
    top = values == values.max(axis=1, keepdims=True)
    return np.where(truth.any(axis=1), _mean_over(truth.astype(float), top), np.nan)


def energy_inside(values: np.ndarray, own: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Share of each map's mass that lies inside the truth.

    Parameters
    ----------
    values, own, truth : as for `average_precision`, but a negative value is a ValueError

    Returns
    -------
    ndarray of shape (T,), float64
        A constant map has the prevalence, one without mass 0 (this project's choice: it stays in the mean).

    Examples
    --------
    >>> energy_inside([[9.0, 0.1, 0.2, 0.1]], [0], [[True, False, False, True]])
    array([0.25])
    """
    values, truth = _others(values, own, truth)
    if (values < 0).any():
        raise ValueError(f"energy needs non-negative values, got {values.min()}; clip or shift them first")
    mass = values.sum(axis=1)
    inside = (values * truth).sum(axis=1) / np.where(mass > 0, mass, 1)
    return np.where(truth.any(axis=1), inside, np.nan)


def iou_at_otsu(values: np.ndarray, own: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Overlap (IoU) of the truth with what lies above Otsu's threshold of each map; 0 for a constant map.

    Parameters
    ----------
    values, own, truth : as for `average_precision`

    Returns
    -------
    ndarray of shape (T,), float64

    Examples
    --------
    >>> iou_at_otsu([[9.0, 0.9, 0.0, 1.0]], [0], [[True, False, False, True]])
    array([0.5])
    """
    values, truth = _others(values, own, truth)
    mask = np.stack([row > threshold_otsu(row) for row in values])
    found = overlap((mask & truth).sum(axis=1), mask.sum(axis=1), truth.sum(axis=1))
    return np.where(truth.any(axis=1), found, np.nan)


def prevalence(own: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Share of the other positions that are true: the chance level of the metrics of maps.

    Parameters
    ----------
    own, truth : as for `average_precision`

    Returns
    -------
    ndarray of shape (T,), float64
        Exact but for `average_precision`, where it is the limit for many positions of a random ranking.

    Examples
    --------
    >>> prevalence([0], [[True, False, False, True, False]])
    array([0.25])
    """
    _, truth = _others(np.zeros(np.shape(truth)), own, truth)
    return np.where(truth.any(axis=1), truth.mean(axis=1), np.nan)


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
