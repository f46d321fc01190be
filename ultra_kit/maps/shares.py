"""A few tokens that stand for all: which to explain, and a map for each of the others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ..types import Capture, ExplanationMaps
from .explanation import explain
from .planning import place


def medoids(cap: Capture, share: float, *, layer: int | None = None) -> np.ndarray:
    """The tokens that stand for all: those nearest to the centres of k-means on the latents.

    Parameters
    ----------
    cap : Capture
    share : float
        Of the content positions, above 0 and at most 1: the number of centres.
    layer : int, optional
        Whose latents, as unit vectors; the model's own where nothing is said.

    Returns
    -------
    np.ndarray of shape (T,)
        Token indices, ascending, int64; fewer than the share where two centres have the same nearest token.

    Examples
    --------
    >>> import ultra_kit as uk
    >>> cap = uk.capture(uk.load("scenes"), uk.data.scene(3).image)
    >>> tokens = uk.maps.medoids(cap, 0.2)
    >>> uk.segment(uk.maps.complete(uk.explain(cap, tokens=tokens), cap), n_segments=3)
    Segmentation(3 segments of 96x96, 144 tokens, cut by number)
    """
    from sklearn.cluster import KMeans  # a second, which not everybody needs

    z = _unit_latents(cap, place(cap, layer, None)[0])
    # k-means wants no more centres than there are places.
    count = min(len(cap.layout.spread(share)), len(np.unique(z, axis=0)))
    centres = KMeans(count, random_state=0).fit(z).cluster_centers_
    return cap.layout.n_prefix + np.unique(_nearest(centres, z))


def complete(maps: ExplanationMaps, cap: Capture) -> ExplanationMaps:
    """Maps of all content positions from those of a few: every other token takes the map of the one that stands for it.

    That is the explained token nearest to it: unit latents of the maps' layer, and beside them its row and column
    as shares of the grid's height and width. This project's choice, on scenes of seeds 40000 to 40029: `segment`
    of these maps loses less than `segment` of the few (`benchmarks/bench_fast_tokens.py`).

    Parameters
    ----------
    maps : ExplanationMaps
        Of some patch tokens of `cap`; best of its `medoids`.
    cap : Capture
        What they were explained in.

    Returns
    -------
    ExplanationMaps
        A row for each content position. The rows of explained tokens are as they were; those of the others are not
        explanations of their own, and ``card["explanation"]["explained"]`` holds the tokens that were explained.

    Raises
    ------
    ValueError
        For maps of another layout, of a prefix token or of groups.
    """
    layout, first = cap.layout, cap.layout.n_prefix
    if maps.layout != layout or maps.groups is not None or (maps.tokens < first).any():
        raise ValueError(
            "complete needs maps of single patch tokens and the capture that they were explained in"
        )
    rows = maps.tokens - first
    grid = layout.grid or (1, layout.n_content)
    places = np.stack(np.divmod(np.arange(layout.n_content), grid[1]), axis=1) / grid
    near = np.hstack([_unit_latents(cap, maps.layer), places])
    of = _nearest(near, near[rows])
    of[rows] = np.arange(len(rows))
    values = maps.values[of]
    # The spike of the identity stays with the token that was explained; what stands in for it is the largest other.
    others = np.setdiff1d(np.arange(layout.n_content), rows)
    values[others, maps.tokens[of[others]]] = maps.without_own.max(axis=1)[of[others]]
    made = {**maps.card["explanation"], "explained": maps.tokens.tolist()}
    return replace(maps, values=values, tokens=layout.content, card={**maps.card, "explanation": made})


def explain_share(cap: Capture, share: float, *, layer: int | None = None, **options: Any) -> ExplanationMaps:
    """Maps of all content positions for the price of a share of them: `explain` of the `medoids`, and `complete`.

    Parameters
    ----------
    cap, share, layer
        As for `medoids`; a ValueError for a share that is none.
    **options
        As for `ultra_kit.explain`.

    Returns
    -------
    ExplanationMaps
        For `ultra_kit.segment`: the rows of tokens that were not explained are another's.

    Examples
    --------
    >>> import ultra_kit as uk
    >>> cap = uk.capture(uk.load("scenes"), uk.data.scene(3).image)
    >>> uk.segment(uk.maps.explain_share(cap, 0.2), n_segments=3)
    Segmentation(3 segments of 96x96, 144 tokens, cut by number)
    """
    return complete(explain(cap, layer=layer, tokens=medoids(cap, share, layer=layer), **options), cap)


def _unit_latents(cap: Capture, layer: int) -> np.ndarray:
    z = cap.tokens(layer)[cap.layout.n_prefix :].astype(float)
    return z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-12)


def _nearest(to: np.ndarray, among: np.ndarray) -> np.ndarray:
    from scipy.spatial.distance import cdist  # a third of the time that the package takes to import

    return cdist(to, among).argmin(axis=1)
