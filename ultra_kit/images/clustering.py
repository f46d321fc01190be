"""From the explanation maps of an image to its segments: distances, a tree, a first cut."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import pdist

from ..types import ExplanationMaps, Settings
from ..types.checks import needs, one_of
from .segmentation import Segmentation, check_cut, has_contrast

METHODS = ("average", "complete", "single", "weighted")
"""Linkages that are defined on any distance; Ward's and the centroid ones need a Euclidean one."""

METRICS = ("cosine", "hellinger")
"""Distances of maps: cosine, and squared Hellinger; both 0 for the same direction and 1 without a common patch."""


def segment(
    maps: ExplanationMaps,
    *more: Any,
    threshold: float | None = None,
    n_segments: int | None = None,
    method: str = "average",
    metric: str | None = None,
    size: tuple[int, int] | None = None,
) -> Segmentation:
    """Group the tokens of an image whose maps look alike, and give every pixel to a group.

    The procedure of ULTra (arXiv 2411.12589): each token's own column is replaced by the largest other entry of
    its map; distances between the maps; a tree by average linkage, cut into flat clusters; the maps of each
    cluster are summed and min-max scaled to [0, 1]; every pixel takes the cluster whose scaled map, resized
    bicubically, is largest there, the lower one of equals. This project's choices: scaled maps are resized, not
    single ones; numbers follow the first token in raster order; maps without contrast (`Segmentation.clusters`).

    Parameters
    ----------
    maps : ExplanationMaps
        T maps of patch tokens of one image, or of a share: they are clustered, and then every pixel chooses. A fifth
        takes a fifth of the time; `ultra_kit.maps.medoids` and `complete` give what comes nearest to all.
    threshold : float, optional
        Distance at which the tree is cut, 0 (only equal directions) to 1. Where nothing is said it is the model's
        own (``maps.card["model"]["settings"]``), chosen so that a person would accept the number of segments; the
        paper's 0.25 for a model that has none, and for another metric than the model's.
    n_segments : int, optional
        In place of `threshold`: just so many segments, also where distances tie; fewer only if fewer maps vary.
    method : {"average", "complete", "single", "weighted"}
        Linkage, as in `scipy.cluster.hierarchy.linkage`.
    metric : {"cosine", "hellinger"}, optional
        Distance of maps a and b; the model's own, or cosine. "cosine", the paper's: 1 - <a, b> / (||a|| ||b||),
        which the few largest values decide. "hellinger", this project's choice for sharp maps: the *squared*
        Hellinger distance 1 - sum sqrt(p q) of the maps as distributions p and q (negative values as 0), in which
        small shares count too; thresholds are of the squared distance.
    size : tuple of int, optional
        (height, width) at which the maps are compared, bicubic; the token grid by default.

    Returns
    -------
    Segmentation
        With labels at the original image's size; always the same ones.

    Raises
    ------
    ValueError
        For maps of a text, a prefix token or a group, or with NaN in them, an option out of range, or both cuts.

    Examples
    --------
    >>> import ultra_kit as uk
    >>> cap = uk.capture(uk.load("scenes"), uk.data.scene(3).image)
    >>> uk.segment(uk.baselines.rollout(cap), n_segments=3)
    Segmentation(3 segments of 96x96, 144 tokens, cut by number)
    """
    needs("segment", ExplanationMaps, (maps, *more), "maps = uk.explain(uk.capture(model, x)) first")
    _check_maps(maps)
    own, unsaid = Settings.of(maps.card.get("model", {})), threshold is None and n_segments is None
    settings = own if metric in (None, own.metric) else Settings(metric=metric)
    threshold = settings.threshold if unsaid else threshold
    check_cut(threshold, n_segments, len(maps))
    one_of("method", method, METHODS)
    one_of("metric", settings.metric, METRICS)
    if size is not None and (len(size) != 2 or min(size) < 1):
        raise ValueError(f"size must be (height, width), both at least 1, got {size}")
    images = maps.images(size)
    rows = images.reshape(len(images), -1).astype(np.float64)
    if settings.metric == "hellinger":
        # Scaled to unit length, square roots of maps are square roots of distributions.
        rows = np.sqrt(np.maximum(rows, 0))
    flat = ~has_contrast(rows)
    # Rounding may leave a tiny negative distance between equal maps.
    distances = np.maximum(pdist(rows[~flat], "cosine"), 0)
    tree = linkage(distances, method) if distances.size else np.zeros((0, 4))
    made = {"method": method, "metric": settings.metric, "size": list(images.shape[1:])}
    uncut = Segmentation(
        labels=np.zeros((0, 0), np.int32),
        clusters=np.zeros(0, np.int64),
        tokens=maps.tokens,
        constant=maps.tokens[flat],
        linkage=tree,
        scaled=np.zeros((0, *images.shape[1:]), np.float32),
        maps=images,
        threshold=None,
        layout=maps.layout,
        input=maps.input,
        card={**maps.card, "segmentation": made},
    )
    seg = uncut.recut(threshold=threshold, n_segments=n_segments)
    if unsaid and settings.chosen_on:
        seg.card["segmentation"]["chosen_on"] = settings.chosen_on
    return seg


def _check_maps(maps: ExplanationMaps) -> None:
    if maps.layout.grid is None:
        raise ValueError("segment needs maps of an image, got maps of a text; capture an image")
    if len(maps) == 0:
        raise ValueError("segment needs at least one map, got none")
    if maps.groups is not None:
        raise ValueError(
            "segment needs a map for each token, got maps of groups; explain tokens, or a share of them"
        )
    prefix = maps.tokens[maps.tokens < maps.layout.n_prefix]
    if len(prefix):
        raise ValueError(f"segment needs maps of patches (tokens=None), got prefix token {prefix[0]}")
    if len(np.unique(maps.tokens)) < len(maps):
        raise ValueError("segment needs every token at most once, got a token twice")
    if not np.isfinite(maps.values).all():
        raise ValueError("maps must be finite, got NaN or infinity; look at the latents and the score")
