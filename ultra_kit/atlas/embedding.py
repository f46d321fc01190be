"""Tokens of many inputs placed in two dimensions and clustered: `embed`, and what it gives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from torch import nn

from ..types import Backbone, Progress, UltraError
from ..types.checks import one_of, whole_number
from ..types.provenance import versions
from ..types.wording import counted, layers_said
from .collecting import Rows, Wanted, collect, layer_of, maker_said
from .placed_input import PlacedInput
from .placing import between, cluster_names, on_axes, place_vectors, smallest_cluster

_MOST_CLUSTERS = 10**5
"""Where they have no names."""


@dataclass(frozen=True, eq=False, repr=False)
class Embedding:
    """Tokens of many inputs in two dimensions, clustered; made by `ultra_kit.embed`.

    Attributes
    ----------
    points : ndarray of shape (M, 2), float32
    labels : ndarray of shape (M,), int32
        Cluster of each token, -1 for noise.
    probabilities : ndarray of shape (M,), float32
        How surely a token belongs to its cluster, in [0, 1]; 0 for noise.
    source : ndarray of shape (M, 2), int32
        Number of the input in `inputs`, and the token's index in it, prefix tokens counted.
    layers : ndarray of shape (M,), int32
        Layer of each token.
    vectors : ndarray of shape (M, D), float16
        What was placed: unit latents, or unit means of what tokens were made from. They are rounded before they are placed, so that a file
        holds exactly what the points came from.
    inputs : tuple of PlacedInput
    layer : int, or tuple of int of several, ascending
    by : {"latent", "map"}
    method : {"umap", "pca"}
    seed : int
    names : tuple of str
        One for each cluster; a name may be empty.
    mapped : tuple of two ndarrays of shape (M, K), int32 and float32, or None
        Of each token's map the K strongest positions (own left out) and their weights, the largest being 1.
    axes : ndarray of shape (3, D), float32, or None
        The mean and two axes of method "pca".
    card : dict
        Provenance, JSON-able.
    """

    points: np.ndarray
    labels: np.ndarray
    probabilities: np.ndarray
    source: np.ndarray
    vectors: np.ndarray
    inputs: tuple[PlacedInput, ...]
    layer: int | tuple[int, ...] = -1
    by: str = "latent"
    method: str = "umap"
    seed: int = 0
    names: tuple[str, ...] = ()
    mapped: tuple[np.ndarray, np.ndarray] | None = None
    axes: np.ndarray | None = None
    card: Mapping[str, Any] = field(default_factory=dict)
    layers: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32))

    def __post_init__(self) -> None:
        one_of("by", self.by, ("latent", "map"))
        one_of("method", self.method, ("umap", "pca"))
        m = len(self.points)
        if isinstance(self.layer, int):  # files of before there could be several don't hold them
            object.__setattr__(self, "layers", np.full(m, self.layer, np.int32))
        shapes = {"points": (m, 2), "labels": (m,), "probabilities": (m,), "source": (m, 2), "layers": (m,)}
        shapes["vectors"] = (m, width := self.vectors.shape[-1])
        shapes |= {} if self.axes is None else {"axes": (3, width)}
        for name, shape in shapes.items():
            object.__setattr__(self, name, given := getattr(self, name).view())
            if given.shape != shape:
                raise ValueError(f"{name} must have the shape {shape}, got {given.shape}")
            given.flags.writeable = False
        if not np.isin(self.layers, self.layer).all():
            raise ValueError(f"layers must be among {self.layer}, got {np.unique(self.layers)}")
        below = np.array([placed.layout.n_tokens for placed in self.inputs])
        number, *places = np.hstack([self.source, *(self.mapped or ())[:1]]).T
        there = ((number >= 0) & (number < len(below))).all()
        if not (there and all(((at >= 0) & (at < below[number])).all() for at in places)):
            raise ValueError(f"source and mapped must name tokens of inputs 0..{len(below) - 1}")
        clusters = len(self.names) or _MOST_CLUSTERS
        if not ((self.labels >= -1) & (self.labels < clusters)).all():
            raise ValueError(f"labels must be -1 or in 0..{clusters - 1}")

    @property
    def n_clusters(self) -> int:
        """Number of clusters, noise not counted."""
        return max(len(self.names), int(self.labels.max(initial=-1)) + 1)

    def __len__(self) -> int:
        return len(self.points)

    def __repr__(self) -> str:
        noise = float((self.labels < 0).mean()) if len(self) else 0.0
        return (
            f"Embedding({len(self)} tokens of {counted(len(self.inputs), 'input')}, {layers_said(self.layer)} by {self.by}, "
            f"{self.method}, {counted(self.n_clusters, 'cluster')}, {noise:.0%} noise)"
        )

    def place(
        self,
        inputs: Any,
        *,
        model: str | Backbone | nn.Module | None = None,
        progress: bool | Progress | None = None,
    ) -> Embedding:
        """Put the tokens of other inputs into this atlas, which stays as it is.

        Their vectors are made as those of the atlas were. With "pca" they go onto its axes; with "umap" each goes
        between the 5 tokens of the atlas nearest to it, weighted by one over the squared distance: no fitted reducer
        is needed, so an opened file places tokens exactly as the atlas that was saved.

        Parameters
        ----------
        inputs, model, progress
            As in `ultra_kit.embed`.

        Returns
        -------
        Embedding
            Of the new tokens alone, `source` counting the new inputs. A label is the one that most of the 5 have.

        Examples
        --------
        >>> import ultra_kit as uk
        >>> caps = [uk.capture(uk.load("scenes"), uk.data.scene(i).image) for i in range(3)]
        >>> emb = uk.embed(caps[:2], method="pca")
        >>> emb.place(caps[2]).points.shape
        (144, 2)
        """
        try:
            wanted = Wanted(**{**self.card["embedding"]["wanted"], "phrases": ()})
            maker = self.card["model"]["name"]
        except (KeyError, TypeError) as error:
            raise UltraError(f"the atlas's card does not say how it was made ({error!r})") from None
        rows = collect(inputs, model, wanted, progress)
        fields = fields_of(rows)
        vectors = fields["vectors"]
        came = f"{maker_said(rows[0])}, width {vectors.shape[1]}"
        needed = f"{maker} {layers_said(self.layer)}, width {self.vectors.shape[1]}"
        if came != needed:
            raise ValueError(f"place needs tokens of {needed}, got {came}")
        points, labels, sure = between(vectors, self.vectors, self.points, self.labels)
        if self.axes is not None:
            points = on_axes(vectors, self.axes)
        return replace(self, points=points, labels=labels, probabilities=sure, **fields)

    def patch(self, row: int, *, around: int = 1) -> np.ndarray | None:
        """The patch of a token with `around` cells on each side, cut from its picture: (h, w, 3) uint8; None for a text."""
        number, token = self.source[row].tolist()
        return self.inputs[number].patch(token, around)

    def exemplars(self, cluster: int, n: int = 9) -> np.ndarray:
        """The tokens that stand for a cluster: rows of `points`, those nearest to its mean vector first.

        No input gives a second one before every input of the cluster gave its first, and no token comes at two layers.

        Parameters
        ----------
        cluster : int
            0..n_clusters - 1; -1 for noise.
        n : int
            How many at most.

        Returns
        -------
        ndarray of shape (n,), int64
        """
        members = np.flatnonzero(self.labels == whole_number("cluster", cluster, -1, self.n_clusters - 1))
        vectors = self.vectors[members].astype(np.float32)
        order = members[np.argsort(np.linalg.norm(vectors - vectors.mean(axis=0), axis=1), kind="stable")]
        order = order[~pd.DataFrame(self.source[order]).duplicated()]
        inputs = pd.Series(self.source[order, 0])
        return order[np.argsort(inputs.groupby(inputs).cumcount(), kind="stable")][:n]


def embed(
    inputs: Any,
    model: str | Backbone | nn.Module | None = None,
    *,
    layer: int | Iterable[int] | None = None,
    by: str = "latent",
    method: str = "umap",
    seed: int = 0,
    tokens: int | float | None = None,
    maps: bool = False,
    since: int | None = None,
    phrases: tuple[str, ...] = (),
    min_cluster_size: int | None = None,
    progress: bool | Progress | None = None,
) -> Embedding:
    """Place tokens of many inputs in two dimensions and find their clusters.

    By "latent" two tokens are near where their latents point the same way. By "map" they are near where they were made
    from the same: the vector of a token is the mean of the unit latents of layer `since`, weighted by its map (own position
    and prefix left out). Maps themselves aren't compared, as the same place in two inputs holds something else: their
    nearest neighbours say next to nothing about what is there (`benchmarks/bench_atlas.py`).

    Parameters
    ----------
    inputs : Capture, image, path, text, or iterable of them; or a folder
        Of a folder its images, also those in folders below. Anything but captures needs `model`. An iterator is read as workers get free: images are never all in memory.
    model : str, Backbone or nn.Module, optional
        By name each process loads it once.
    layer : int or sequence of int, optional
        The model's own where nothing is said. Of several every token is placed at each: see ``Embedding.layers``.
    by : {"latent", "map"}
    method : {"umap", "pca"}
        UMAP (McInnes et al. 2018) of the 50 first principal axes, from 15 exact neighbours; or the two first axes.
    seed : int
        Of UMAP, and of the tokens drawn. The same seed gives the same bytes, in any number of processes.
    tokens : float or int, optional
        A share of each input's tokens, evenly over it (`Layout.spread`), or a number of them, drawn; all by default.
    maps : bool
        Whether to keep the 16 strongest entries of each token's map, in `Embedding.mapped`; it is a run of
        `ultra_kit.explain` for each input.
    since : int, optional
        For those maps and for ``by="map"``, as in `ultra_kit.explain`; -1 takes one block and is quick.
    phrases : sequence of str
        Candidates for the names of clusters, for a model with a text tower; else words of a text are names.
    min_cluster_size : int, optional
        Of HDBSCAN (Campello et al. 2013), on the points; by default half the root of the number of tokens, at least 10.
    progress : bool or callable, optional
        As in `ultra_kit.explain`, over the inputs.

    Returns
    -------
    Embedding

    Raises
    ------
    TypeError, ValueError, UltraError
        For what is neither capture nor, with a model, an input; options out of range; fewer than 4 tokens; captures of
        several models; phrases for a model without a text tower.

    Notes
    -----
    Inputs are independent tasks for joblib, of one thread each: ``with joblib.parallel_config(backend="loky", n_jobs=4):``
    spreads them, ``"dask"`` or ``"ray"`` over a cluster. Captures stay in the process that made them.

    Examples
    --------
    >>> import ultra_kit as uk
    >>> scenes = (uk.data.scene(seed).image for seed in range(3))
    >>> emb = uk.embed(scenes, model="scenes", method="pca", tokens=0.25)
    >>> emb.points.shape, emb.source[-1].tolist()
    ((108, 2), [2, 147])
    """
    one_of("method", method, ("umap", "pca"))
    phrases = (phrases,) if isinstance(phrases, str) else tuple(phrases)
    layer = tuple(layer) if isinstance(layer, Iterable) else layer
    wanted = Wanted(layer, by, since, tokens, seed, maps, phrases)
    rows = collect(inputs, model, wanted, progress)
    fields = fields_of(rows)
    vectors = fields["vectors"]
    if len(vectors) < 4:
        raise ValueError(f"an atlas needs at least 4 tokens, got {len(vectors)}; give more inputs or tokens")
    size = smallest_cluster(len(vectors)) if min_cluster_size is None else min_cluster_size
    size = whole_number("min_cluster_size", size, 2)
    placed = place_vectors(vectors, method, seed, size, progress if isinstance(progress, bool) else None)
    words = [word for one in rows for r in one for word in r.words or ()]
    made = {"wanted": vars(wanted), "min_cluster_size": size, "versions": versions("umap-learn", "hdbscan")}
    return Embedding(
        **placed,
        **fields,
        by=by,
        method=method,
        seed=seed,
        names=cluster_names(placed["labels"], words),
        card={**rows[0][0].card, "embedding": made},
    )


def fields_of(rows: list[list[Rows]]) -> dict[str, Any]:
    """Fields `vectors`, `source`, `layers`, `layer`, `inputs` and `mapped` of an `Embedding`."""
    flat = [(i, r) for i, one in enumerate(rows) for r in one]
    lots = {
        "vectors": [r.vectors for _, r in flat],
        "source": [np.stack([np.full_like(r.tokens, i), r.tokens], axis=1) for i, r in flat],
        "layers": [np.full_like(r.tokens, r.layer) for _, r in flat],
    }
    kept = [r.mapped for _, r in flat if r.mapped is not None]
    mapped = tuple(map(np.concatenate, zip(*kept, strict=True))) if kept else None
    one = {"layer": layer_of(rows[0]), "inputs": tuple(r[0].input for r in rows), "mapped": mapped}
    return {**{name: np.concatenate(lot) for name, lot in lots.items()}, **one}
