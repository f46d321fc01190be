"""From the explanation maps of an image to its segments: distances, a tree, a first cut."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import pdist

from ..types import ExplanationMaps, Settings
from .segmentation import Segmentation, check_cut, has_contrast

METHODS = ("average", "complete", "single", "weighted")
"""Linkages that are defined on any distance; Ward's and the centroid ones need a Euclidean one."""

METRICS = ("cosine", "hellinger")
"""Distances of maps: cosine, and squared Hellinger; both 0 for the same direction and 1 without a common patch."""


def segment(
    maps: ExplanationMaps,
    *,
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
    bicubically, is largest there. Ties go to the lower cluster number. This project's choices: the resizing of
    the scaled maps in place of the single ones, the numbering by first token in raster order, and what becomes
    of maps without contrast (see `Segmentation.clusters`).

    Parameters
    ----------
    maps : ExplanationMaps
        T maps of patch tokens of one image, usually of all of them.
    threshold : float, optional
        Distance at which the tree is cut, 0 (only equal directions) to 1. If neither this nor `n_segments` is given,
        the model's own (``maps.card["model"]["settings"]``), chosen so that a person would accept the number of
        segments; the paper's 0.25 for a model that has none, and for another metric than the model's own.
    n_segments : int, optional
        In place of `threshold`: exactly so many segments, 1..T, also where the tree has ties; fewer only if
        fewer tokens have a map with contrast.
    method : {"average", "complete", "single", "weighted"}
        Linkage, as in `scipy.cluster.hierarchy.linkage`.
    metric : {"cosine", "hellinger"}, optional
        The model's own by default, "cosine" for a model that has none. Distance of maps a and b. "cosine", the paper's: 1 - <a, b> / (||a|| ||b||), which the few largest
        values decide. "hellinger", this project's choice for sharp maps: the *squared* Hellinger distance
        1 - sum sqrt(p q) of the maps as distributions p and q (negative values as 0), in which small shares
        count too; thresholds are of the squared distance.
    size : tuple of int, optional
        (height, width) at which the maps are compared, bicubic; the token grid by default.

    Returns
    -------
    Segmentation
        With labels at the original image's size. Deterministic.

    Raises
    ------
    ValueError
        If the maps are of a text, explain a prefix token or hold NaN or infinity, or an option is out of
        range, or both `threshold` and `n_segments` are given.

    Examples
    --------
    Left and right half of a 2 x 4 grid explain themselves:

    >>> import numpy as np
    >>> from ultra_kit.types import ExplanationMaps, Layout
    >>> side = np.arange(8) % 4 // 2
    >>> values = (side[:, None] == side).astype("float32")
    >>> layout = Layout("image", n_prefix=0, grid=(2, 4), size=(2, 4))
    >>> segment(ExplanationMaps(values, np.arange(8), -1, layout)).labels
    array([[0, 0, 1, 1],
           [0, 0, 1, 1]], dtype=int32)
    """
    _check_maps(maps)
    own = Settings.of(maps.card.get("model", {}))
    metric = own.metric if metric is None else metric
    settings = own if metric == own.metric else Settings(metric=metric)
    unsaid = threshold is None and n_segments is None
    threshold = settings.threshold if unsaid else threshold
    check_cut(threshold, n_segments, len(maps))
    if method not in METHODS:
        raise ValueError(
            f"method must be one of {', '.join(METHODS)}, got {method!r}; other linkages need Euclidean distances"
        )
    if metric not in METRICS:
        raise ValueError(f"metric must be one of {', '.join(METRICS)}, got {metric!r}")
    if size is not None and (len(size) != 2 or min(size) < 1):
        raise ValueError(f"size must be (height, width), both at least 1, got {size}")
    images = maps.images(size)
    rows = images.reshape(len(images), -1).astype(np.float64)
    if metric == "hellinger":
        # Scaled to unit length, square roots of maps are square roots of distributions.
        rows = np.sqrt(np.maximum(rows, 0))
    flat = ~has_contrast(rows)
    if (~flat).sum() > 1:
        # Rounding may leave a tiny negative distance between equal maps.
        tree = linkage(np.maximum(pdist(rows[~flat], "cosine"), 0), method)
    else:
        tree = np.zeros((0, 4))
    made = {"method": method, "metric": metric, "size": list(images.shape[1:])}
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
        made = {**seg.card["segmentation"], "chosen_on": settings.chosen_on}
        seg = replace(seg, card={**seg.card, "segmentation": made})
    return seg


def _check_maps(maps: ExplanationMaps) -> None:
    if maps.layout.grid is None:
        raise ValueError("segment needs maps of an image, got maps of a text; capture an image")
    if len(maps) == 0:
        raise ValueError("segment needs at least one map, got none")
    prefix = maps.tokens[maps.tokens < maps.layout.n_prefix]
    if len(prefix):
        raise ValueError(
            f"segment needs maps of patch tokens, got prefix token {prefix[0]}; explain the patches only (tokens=None)"
        )
    if len(np.unique(maps.tokens)) < len(maps):
        raise ValueError("segment needs every token at most once, got a token twice")
    if not np.isfinite(maps.values).all():
        raise ValueError(
            "maps must be finite, got NaN or infinity; look at the model's latents and the score"
        )
