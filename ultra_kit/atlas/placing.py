"""Vectors placed in two dimensions and clustered, and new ones put among them; the same bytes for the same seed."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from ..types.one_thread import one_thread
from ..types.progress import reporting

# sklearn, umap and hdbscan take seconds to import and are imported where they are used.

REDUCED = 50
"""Principal axes that neighbours are looked for in."""
NEIGHBOURS = 15
VOTERS = 5
"""Nearest tokens of an atlas between which a new one is put."""


def place_vectors(
    vectors: np.ndarray, method: str, seed: int, min_cluster_size: int, progress: bool | None = False
) -> dict[str, Any]:
    """Fields `points`, `labels`, `probabilities` and `axes` of an `Embedding` for vectors (M, D)."""
    from sklearn.decomposition import PCA

    with one_thread(), reporting(progress, 3, "embed: place", "steps") as report:
        given = vectors.astype(np.float32)
        pca = PCA(min(REDUCED, *given.shape), svd_solver="covariance_eigh")
        reduced = pca.fit_transform(given).astype(np.float32)
        report(1)
        apart = np.ptp(given, axis=0).any()  # equal vectors have no neighbours to be laid out by
        points = _umap(reduced, seed) if method == "umap" and apart else reduced[:, :2]
        report(1)
        labels, probabilities = clusters_of(points, min_cluster_size)
        report(1)
    axes = np.vstack([pca.mean_, pca.components_[:2]]).astype(np.float32) if method == "pca" else None
    points = on_axes(given, axes) if axes is not None else np.ascontiguousarray(points, np.float32)
    return {"points": points, "labels": labels, "probabilities": probabilities, "axes": axes}


def _umap(reduced: np.ndarray, seed: int) -> np.ndarray:
    """UMAP of vectors whose neighbours are found exactly: no approximate search to compile, the same in every process."""
    from sklearn.neighbors import NearestNeighbors
    from umap import UMAP

    m, k = len(reduced), min(NEIGHBOURS, len(reduced) - 1)
    far, near = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(reduced).kneighbors(reduced)
    epochs = 200 if m < 20_000 else 100
    with warnings.catch_warnings():
        # It can't transform without a search of its own: `between` is there for that.
        warnings.simplefilter("ignore")
        how: dict[str, Any] = {"n_neighbors": k, "n_epochs": epochs, "min_dist": 0.05, "init": reduced[:, :2]}
        made = UMAP(random_state=seed, n_jobs=1, precomputed_knn=(near, far.astype(np.float32)), **how)
        return made.fit_transform(reduced)


def smallest_cluster(m: int) -> int:
    """How many of m tokens make a cluster where nothing is said: half the root of m (`benchmarks/bench_atlas.py --sizes`)."""
    return max(10, round(m**0.5 / 2))


def clusters_of(points: np.ndarray, min_cluster_size: int) -> tuple[np.ndarray, np.ndarray]:
    """HDBSCAN's labels, -1 for noise, and probabilities."""
    from hdbscan import HDBSCAN

    made = HDBSCAN(min_cluster_size=min_cluster_size, min_samples=5, core_dist_n_jobs=1)
    made.fit(points.astype(np.float64))
    return made.labels_.astype(np.int32), made.probabilities_.astype(np.float32)


def on_axes(vectors: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """Points (M, 2) of vectors on the mean and two axes (3, D)."""
    return (vectors.astype(np.float32) - axes[0]) @ axes[1:].T


def between(
    vectors: np.ndarray, old: np.ndarray, points: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points, labels and probabilities of new vectors, from those of the `old` ones nearest to them.

    A point is the mean of theirs, weighted by one over the squared distance; the label has most of the weight.
    """
    from sklearn.neighbors import NearestNeighbors

    with one_thread():
        search = NearestNeighbors(n_neighbors=min(VOTERS, len(old)), algorithm="brute")
        far, near = search.fit(old.astype(np.float32)).kneighbors(vectors.astype(np.float32))
    weights = 1 / np.maximum(far, 1e-6) ** 2
    weights /= weights.sum(axis=1, keepdims=True)
    found = (weights[..., None] * points[near]).sum(axis=1)
    votes = np.zeros((len(vectors), labels.max() + 2))
    np.add.at(votes, (np.arange(len(vectors))[:, None], labels[near] + 1), weights)
    label = votes.argmax(axis=1) - 1
    sure = np.where(label < 0, 0, votes.max(axis=1))
    return found.astype(np.float32), label.astype(np.int32), sure.astype(np.float32)


def cluster_names(labels: np.ndarray, words: list[str] | None) -> tuple[str, ...]:
    """Up to three words of each cluster that are commoner in it than elsewhere; empty without words. Later ones of a name are numbered.

    Ranked by count times the logarithm of (share in the cluster / share in all).

    >>> cluster_names(np.array([0, 0, 0, 1, 1, -1]), ["fire", "the", "fire", "river", "the", "the"])
    ('fire', 'river')
    """
    n = int(labels.max(initial=-1)) + 1
    if not words:
        return ("",) * n
    known, index = np.unique(words, return_inverse=True)
    counts = np.zeros((n + 1, len(known)))
    np.add.at(counts, (labels, index), 1)  # noise is the last row
    share = counts.sum(axis=0) / len(words)
    names = []
    for row in counts[:n]:
        lift = row * np.log(np.maximum(row, 1e-9) / row.sum() / share)
        best = [known[i] for i in np.argsort(-lift, kind="stable") if lift[i] > 0]
        # Marks name a cluster of marks alone.
        letters = [word for word in best if any(map(str.isalnum, word))]
        names.append(", ".join((letters or best)[:3]))
    counted = ((name, names[: i + 1].count(name)) for i, name in enumerate(names))
    return tuple(f"{name} {k}" if name and k > 1 else name for name, k in counted)
