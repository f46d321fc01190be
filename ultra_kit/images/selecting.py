"""`select`: from points, a box or a text to the mask of an object."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ..maps.baselines import rollout
from ..maps.explanation import explain
from ..types import Capture, ExplanationMaps, Layout, UltraError
from ..types.grids import bicubic
from . import pixel_masks as masks
from . import token_walk as tokens
from .selection import Selection, check_threshold

Points = Sequence[tuple[float, float]]
Box = tuple[float, float, float, float]
COMBINE: dict[str, tokens.Combine] = {"walk": tokens.walk, "difference": tokens.difference}
"""How the maps of several tokens become one relevance."""

ALONE = 0.35
"""`best_patch`: what a patch's own likeness to the text counts, beside that of the patches round it."""


def select(
    cap: Capture,
    *,
    points: Points = (),
    unwanted: Points = (),
    box: Box | None = None,
    text: str | None = None,
    layer: int = -1,
    score: str = "norm",
    rule: str = "positive",
    transform: Any = None,
    maps: ExplanationMaps | None = None,
    combine: str = "walk",
    refine: bool = True,
    connected: bool = True,
    threshold: str | float = "otsu",
) -> Selection:
    """Select an object by what its latent tokens were made from.

    Points, a box or a text pick tokens. Their maps become one relevance over the patches, which is
    resized to the pixels, put on a scale on which Otsu's threshold is one half, refined along the
    edges of the image, and cut. No step knows a label. That tokens are picked and their maps, less
    those of the unwanted, are cut is Object Selection as in ULTra (arXiv 2411.12589); how maps are
    combined and refined is this project's choice.

    Parameters
    ----------
    cap : Capture
        Of an image.
    points, unwanted : sequence of (x, y)
        Points on the object and beside it, in pixels of the original image. The order of `points` counts:
        the first picks its token; a further one picks its own only where what is selected so far does not
        reach (see `ultra_kit.images.token_walk.new_parts`), else it corrects the outline at its pixel.
    box : tuple of float, optional
        (x0, y0, x1, y1) round the object. Picked are the tokens inside whose own maps stay
        inside (the share of the map's mass there is above Otsu's threshold); nothing outside the
        box is selected.
    text : str, optional
        What the object is, for models that share a space with texts: the patch that is most like
        it is picked, as by a point at its middle, before all points.
    layer, score, rule, transform
        Of the maps, as for `ultra_kit.explain`.
    maps : ExplanationMaps, optional
        Maps of all patches of this capture, made already or by a baseline; in place of `layer`,
        `score`, `rule` and `transform`. Several selections of one image then take no time.
    combine : {"walk", "difference"}
        "walk": the chance that a walk from a patch, each step to a patch that it was made from or
        that was made from it, meets a wanted token (see `ultra_kit.images.token_walk.walk`; all
        patches are explained). "difference": the mean map of the wanted tokens minus that of the
        unwanted (only these are explained).
    refine : bool, default True
        Let the relevance flow between neighbouring pixels of like colour, texture apart, up to edges and
        dark outlines, and hold it at the points (see `ultra_kit.images.pixel_masks.looks` and `smooth`).
        Without it the mask is as coarse as the patches.
    connected : bool, default True
        Keep only the connected parts that hold a wanted point (or a picked token).
    threshold : "otsu" or float
        Relevance above which a pixel is selected, 0 to 1; "otsu" is 0.5.

    Returns
    -------
    Selection

    Raises
    ------
    ValueError
        If nothing is picked, a point or the box lies outside the image, the capture is of a text,
        or an option is out of range.
    UltraError
        If a text is given and the model shares no space with texts.

    Examples
    --------
    >>> import ultra_kit as uk
    >>> scene = uk.data.scene(3)
    >>> cap = uk.capture(uk.load("scenes"), scene.image)
    >>> sel = uk.select(cap, points=[scene.objects[0].centre], unwanted=[(2, 2)], layer=2)
    >>> sel.mask.shape == scene.instances.shape, bool(sel.mask[2, 2])
    (True, False)
    """
    layout = cap.layout
    points, unwanted = _points(layout, points, "points"), _points(layout, unwanted, "unwanted")
    box = _box(layout, box)
    if not points and box is None and text is None:
        raise ValueError("nothing is picked: give points on the object, a box round it, or a text")
    if combine not in COMBINE:
        raise ValueError(f"combine must be one of {', '.join(COMBINE)}, got {combine!r}")
    cut = check_threshold(threshold)
    named = [] if text is None else [best_patch(cap, text)]
    clicked = named + [layout.token_at(x, y) for x, y in points]
    out = [layout.token_at(x, y) for x, y in unwanted]
    if maps is None:
        few = combine == "difference" and box is None
        asked = np.unique([*clicked, *out]) if few else None
        maps = explain(cap, layer=layer, tokens=asked, score=score, rule=rule, transform=transform)
    elif (layer, score, rule) != (-1, "norm", "positive") or transform is not None:
        raise ValueError("maps are made already: give layer, score, rule and transform to explain, not here")
    values = _square(maps, layout, [*clicked, *out])
    first, grid = layout.n_prefix, layout.grid or (1, 1)
    wanted_at, out_at = [t - first for t in clicked], [t - first for t in out]
    wanted_at = tokens.new_parts(values, wanted_at, out_at, grid, COMBINE[combine])
    if box is not None:
        inside = _inside(layout, box)
        wanted_at = wanted_at or [int(t) for t in _staying(values, inside)]
        out_at += [int(t) for t in np.flatnonzero(~inside)]
    out_at = sorted(set(out_at) - set(wanted_at))
    coarse = COMBINE[combine](values, wanted_at, out_at).reshape(grid)
    held = [*(layout.center_of(t) for t in named), *points]
    relevance = pixels(coarse, cap.input, points=held, unwanted=unwanted, box=box, refine=refine)
    made = {
        "points": [list(p) for p in points],
        "unwanted": [list(p) for p in unwanted],
        "box": box,
        "text": text,
        "combine": combine,
        "refine": refine,
        "connected": connected,
        "threshold": threshold,
    }
    selection = Selection(
        mask=np.zeros(relevance.shape, bool),
        relevance=relevance,
        tokens=np.array(sorted(wanted_at), np.int64) + first,
        unwanted_tokens=np.array(out_at, np.int64) + first,
        points=points,
        unwanted=unwanted,
        box=box,
        text=text,
        threshold=cut,
        layout=layout,
        input=cap.input,
        card={**maps.card, "selection": made},
    )
    return selection.recut(threshold=threshold)


def best_patch(cap: Capture, text: str) -> int:
    """The patch token that is most like a text, together with the patches that it attends to.

    The likeness of a patch, a scalar product in the space that the model shares with texts, counts
    `ALONE`; the rest is the mean likeness of the other patches, weighted by its row of attention
    rollout. A patch that is like the text by chance stands alone.

    Parameters
    ----------
    cap : Capture
        Of a model with ``encode_text`` and ``project``.
    text : str

    Returns
    -------
    int
        Prefix tokens counted.

    Raises
    ------
    UltraError
        If the model shares no space with texts.
    ValueError
        If the text is empty.
    """
    model: Any = cap.model
    if not (hasattr(model, "encode_text") and hasattr(model, "project")):
        raise UltraError(
            f"a text needs a model that shares a space with texts, and {model.name!r} has none; "
            "use points or a box, or a model such as scenes, CLIP or SigLIP"
        )
    with torch.no_grad():
        patches = model.project(cap.latents[-1].detach()[cap.layout.n_prefix :])
        like = (patches @ model.encode_text([text])[0].to(patches)).double().cpu().numpy()
    round_it = tokens.shares(rollout(cap).content) @ like
    return int((ALONE * like + (1 - ALONE) * round_it).argmax()) + cap.layout.n_prefix


def pixels(
    coarse: np.ndarray,
    image: np.ndarray,
    *,
    points: Points = (),
    unwanted: Points = (),
    box: Box | None = None,
    refine: bool = True,
) -> np.ndarray:
    """Relevance of the pixels of an image from that of its patches.

    Parameters
    ----------
    coarse : ndarray of shape (h, w)
        Non-negative.
    image : ndarray of shape (H, W, 3), uint8
    points, unwanted, box, refine
        As in `select`.

    Returns
    -------
    ndarray of shape (H, W), float32
        In [0, 1], one half at Otsu's threshold.
    """
    full = image.shape[:2]
    size = masks.working_size(full)
    across, down = size[1] / full[1], size[0] / full[0]
    values = masks.odds(bicubic(coarse, size))
    ruled_out = masks.near_points(size, [(x * across, y * down) for x, y in unwanted])
    outside = np.zeros(size, bool)
    if box is not None:
        y, x = np.mgrid[: size[0], : size[1]] + 0.5
        outside = ~_within(x / across, y / down, box)
        values[outside] = 0
    if refine:
        seen = masks.looks(masks.shrink(image, size))
        values = masks.smooth(seen, values, [(x * across, y * down) for x, y in points], ruled_out)
    values[ruled_out | outside] = 0
    return (values if size == full else bicubic(values, full).clip(0, 1)).astype(np.float32)


def _points(layout: Layout, points: Points, name: str) -> tuple[tuple[float, float], ...]:
    """Points checked: pairs of finite numbers inside the image."""
    try:
        pairs = tuple((float(x), float(y)) for x, y in points)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a list of (x, y), got {points!r}") from None
    for x, y in pairs:
        layout.token_at(x, y)
    return pairs


def _box(layout: Layout, box: Box | None) -> Box | None:
    if box is None:
        return None
    if layout.size is None:
        raise ValueError("select needs a capture of an image, this one is of a text")
    height, width = layout.size
    try:
        x0, y0, x1, y1 = (float(v) for v in box)
    except (TypeError, ValueError):
        raise TypeError(f"box must be (x0, y0, x1, y1), got {box!r}") from None
    if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
        raise ValueError(
            f"box must be (x0, y0, x1, y1) with 0 <= x0 < x1 <= {width} and 0 <= y0 < y1 <= {height}, got {box}"
        )
    return x0, y0, x1, y1


def _square(maps: ExplanationMaps, layout: Layout, needed: Sequence[int]) -> np.ndarray:
    """Maps as (M, M) over the content positions; rows that were not explained are 0."""
    if maps.layout != layout:
        raise ValueError("maps must be of the same capture: their layout is another")
    rows = maps.tokens - layout.n_prefix
    values = np.zeros((layout.n_content, layout.n_content), np.float64)
    values[rows[rows >= 0]] = maps.content[rows >= 0]
    lacking = sorted(set(needed) - set(maps.tokens.tolist()))
    if lacking:
        raise ValueError(
            f"maps must hold every picked token, token {lacking[0]} is missing; explain all patches"
        )
    return values


def _inside(layout: Layout, box: Box) -> np.ndarray:
    """Which patches have their middle in a box: bool of shape (M,); at least that at the box's own middle."""
    middles = np.array([layout.center_of(int(t)) for t in layout.content])
    inside = _within(middles[:, 0], middles[:, 1], box)
    inside[layout.token_at((box[0] + box[2]) / 2, (box[1] + box[3]) / 2) - layout.n_prefix] = True
    return inside


def _within(x: np.ndarray, y: np.ndarray, box: Box) -> np.ndarray:
    return (x >= box[0]) & (x < box[2]) & (y >= box[1]) & (y < box[3])


def _staying(values: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Content indices of the patches in a box whose maps stay there; see `select`."""
    links = tokens.links(values)
    stay = (links * inside).sum(axis=1)[inside]
    at = np.flatnonzero(inside)
    kept = at[stay > masks.otsu(stay)]
    return kept if kept.size else at
