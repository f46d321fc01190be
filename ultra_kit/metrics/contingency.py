"""The one contingency table and the one overlap formula, from which the metrics of labels and masks are made."""

from __future__ import annotations

import numpy as np


def same_shape(labels: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both as arrays; ValueError if their shapes disagree."""
    labels, truth = np.asarray(labels), np.asarray(truth)
    if labels.shape != truth.shape:
        raise ValueError(f"labels and truth need one shape, got {labels.shape} and {truth.shape}; resize one")
    return labels, truth


def distinct(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The labels there are, ascending, and the index into them at every position, in the shape of `labels`."""
    labels = np.asarray(labels)
    if labels.dtype.kind in "iu" and labels.size and labels.min() >= 0 and labels.max() < labels.size:
        used = np.bincount(labels.ravel().astype(np.intp)) > 0  # no sorting: many times quicker
        return np.flatnonzero(used).astype(labels.dtype), (np.cumsum(used) - 1)[labels]
    names, index = np.unique(labels, return_inverse=True)
    return names, index.reshape(labels.shape)


def contingency(rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int] | None = None) -> np.ndarray:
    """How many positions have each pair of a row 0..R-1 and a column 0..C-1: int64 of `shape` (R, C).

    >>> contingency(np.array([0, 0, 1]), np.array([1, 1, 0])).tolist()
    [[0, 2], [1, 0]]
    """
    n_rows, n_columns = shape or (int(rows.max()) + 1, int(columns.max()) + 1)
    flat = rows.astype(np.int64, copy=False) * n_columns + columns
    return np.bincount(flat.ravel(), minlength=n_rows * n_columns).reshape(n_rows, n_columns)


def overlap(both: np.ndarray, first: np.ndarray, second: np.ndarray, *, empty: float = np.nan) -> np.ndarray:
    """Intersection over union from the sizes of the intersection and of the two sets; `empty` if both are empty."""
    union = np.asarray(first + second - both, np.float64)
    return np.divide(both, union, out=np.full(union.shape, empty, float), where=union > 0)


def table_overlap(table: np.ndarray) -> np.ndarray:
    """Overlap of each row of a contingency table with each column."""
    return overlap(table, table.sum(axis=1, keepdims=True), table.sum(axis=0))
