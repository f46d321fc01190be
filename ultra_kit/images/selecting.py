"""`select`: from points, a box or a text to the mask of an object."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ..maps.baselines import rollout
from ..maps.explanation import explain
from ..types import Capture, ExplanationMaps, Layout, Settings, UltraError
from ..types.checks import needs, one_of
from ..types.torch_modes import plain_torch
from .pixel_relevance import (
    COMBINE,
    Box,
    Points,
    patch_relevance,
    pixel_relevance,
    shares,
    within,
    within_reach,
)
from .selection import Selection, check_threshold

ALONE = 0.35
"""`best_patch`: what a patch's own likeness to the text counts, beside that of the patches round it."""

NOTHING = (
    "nothing is selected: no relevance is above {:g}; move a background point away from the foreground ones, "
    "or cut lower with threshold="
)


def select(
    cap: Capture,
    *more: Any,
    points: Points = (),
    unwanted: Points = (),
    box: Box | None = None,
    text: str | None = None,
    layer: int | None = None,
    score: str | None = None,
    rule: str | None = None,
    transform: Any = None,
    maps: ExplanationMaps | None = None,
    combine: str = "walk",
    refine: bool = True,
    connected: bool = True,
    threshold: str | float = "otsu",
) -> Selection:
    """Select an object by what its latent tokens were made from.

    Points, a box or a text pick tokens. Their maps become one relevance over the patches, which is resized to
    the pixels, put on a scale on which Otsu's threshold is one half, refined along the edges of the image, and
    cut, without labels. To cut the maps of picked tokens less those of the background is Object Selection as in
    ULTra (arXiv 2411.12589); how they are combined and refined is this project's choice.

    Parameters
    ----------
    cap : Capture
    points, unwanted : sequence of (x, y)
        Foreground and background points in pixels of the original image. The first of `points` picks its
        token; a further one only where what is selected so far does not reach, else it corrects the outline.
    box : tuple of float, optional
        (x0, y0, x1, y1) round the object, outside of which nothing is selected. Without points it picks the
        tokens inside whose maps stay inside (a share of the mass above Otsu's threshold); all round the whole image.
    text : str, optional
        For models that share a space with texts: picks the patch most like it, as a first point there would.
    layer, score, rule, transform
        As for `ultra_kit.explain`. Where none is said the model's own, with its own W where its settings say so.
    maps : ExplanationMaps, optional
        Maps of all patches, of `explain` or a baseline, in place of the four above: selections take no time.
    combine : {"walk", "difference"}
        "walk": the chance that a walk from a patch, each step to one that it was made from or that was made
        from it, ends at a foreground token. "difference": the mean map of the foreground tokens minus that of
        the background; explains only these.
    refine : bool, default True
        Let the relevance flow between pixels of like colour, texture apart, up to edges and dark outlines, and
        hold it at the points; else the mask is as coarse as the patches.
    connected : bool, default True
        Keep only the connected parts that hold a foreground point (or a picked token).
    threshold : "otsu" or float
        Relevance above which a pixel is selected, 0 to 1; "otsu" is 0.5.

    Returns
    -------
    Selection

    Raises
    ------
    ValueError, TypeError, UltraError
        If nothing is picked, a place lies outside the image, the capture is of a text, or an option is wrong;
        an UltraError for a text, if the model shares no space with texts.

    Examples
    --------
    >>> import ultra_kit as uk
    >>> cap = uk.capture(uk.load("scenes"), uk.data.scene(3).image)
    >>> uk.select(cap, points=[(40, 40)], unwanted=[(2, 2)], layer=2).mask.shape
    (96, 96)
    """
    needs("select", Capture, (cap, *more), "cap = uk.capture(model, x), then select(cap, points=[(x, y)])")
    layout = cap.layout
    if layout.size is None:
        raise ValueError("select needs an image, this capture is of a text")
    picks = _picks(layout, points, unwanted, box, text)
    points, unwanted, box = picks["points"], picks["unwanted"], picks["box"]
    one_of("combine", combine, COMBINE)
    check_threshold(threshold)
    named = [] if text is None else [best_patch(cap, text)]
    picked = named + [layout.token_at(x, y) for x, y in points]
    out = [layout.token_at(x, y) for x, y in unwanted]
    if maps is None:
        few = combine == "difference" and box is None
        asked = np.unique([*picked, *out]) if few else None
        maps = clicked_maps(cap, asked, layer=layer, score=score, rule=rule, transform=transform)
    elif (layer, score, rule, transform) != (None,) * 4:
        raise ValueError("maps are made already: give layer, score, rule and transform to explain, not here")
    first, own = layout.n_prefix, Settings.of(maps.card.get("model", {}))
    wanted, ruled_out, coarse = patch_relevance(
        within_reach(_square(maps, layout, [*picked, *out]), layout.grid or (1, 1), own.reach),
        [t - first for t in picked],
        [t - first for t in out],
        _inside(layout, box),
        layout.grid or (1, 1),
        COMBINE[combine],
    )
    held = [*(layout.center_of(t) for t in named), *points]
    options = {"combine": combine, "refine": refine, "connected": connected}
    selection = Selection(
        mask=np.zeros(layout.size, bool),
        relevance=pixel_relevance(coarse, cap.input, held, unwanted, box, own if refine else None),
        tokens=np.array(sorted(wanted), np.int64) + first,
        unwanted_tokens=np.array(ruled_out, np.int64) + first,
        **picks,
        threshold=0.5,
        layout=layout,
        input=cap.input,
        card={**maps.card, "selection": picks | options},
    )
    if not (found := selection.recut(threshold=threshold)).mask.any():
        warnings.warn(NOTHING.format(found.threshold), stacklevel=2)
    return found


def clicked_maps(cap: Capture, tokens: Any = None, **asked: Any) -> ExplanationMaps:
    """The maps that `select` takes: where nothing is asked for, through the model's own W if that is its setting."""
    W = getattr(cap.model, "own_transform", None)
    if W is None or any(value is not None for value in asked.values()):
        return explain(cap, tokens=tokens, **asked)
    maps = explain(cap, tokens=tokens, transform=W)
    maps.card["explanation"]["transform"] = "own"
    return maps


def best_patch(cap: Capture, text: str) -> int:
    """The patch token, prefix tokens counted, that is most like a text together with the patches it attends to.

    Likeness is a scalar product in the space shared with texts. The patch's own counts `ALONE`, the rest is that
    of the others by its row of attention rollout: a patch that is like the text by chance stands alone.
    """
    model: Any = cap.model
    if not (hasattr(model, "encode_text") and hasattr(model, "project")):
        raise UltraError(
            f"a text needs a model that shares a space with texts, and {model.name!r} has none; "
            "use points or a box, or a model such as scenes, CLIP or SigLIP"
        )
    with plain_torch(), torch.no_grad():
        patches = model.project(cap.latents[-1].detach()[cap.layout.n_prefix :])
        like = (patches @ model.encode_text([text])[0].to(patches)).double().cpu().numpy()
    round_it = shares(rollout(cap).content) @ like
    return int((ALONE * like + (1 - ALONE) * round_it).argmax()) + cap.layout.n_prefix


def _picks(
    layout: Layout, points: Points, unwanted: Points, box: Box | None, text: str | None
) -> dict[str, Any]:
    """What is picked, checked."""
    picks = {name: _points(layout, p, name) for name, p in (("points", points), ("unwanted", unwanted))}
    if both := set(picks["points"]) & set(picks["unwanted"]):
        raise ValueError(f"a place is foreground or background, {both.pop()} is in points and in unwanted")
    if not picks["points"] and box is None and text is None:
        raise ValueError("nothing is picked: give points on the object, a box round it, or a text")
    return {**picks, "box": _box(layout, box), "text": text}


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
    """A box checked: four numbers that bound a part of the image."""
    if box is None:
        return None
    try:
        x0, y0, x1, y1 = (float(v) for v in box)
    except (TypeError, ValueError):
        raise TypeError(f"box must be (x0, y0, x1, y1), got {box!r}") from None
    height, width = layout.size or (0, 0)
    if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
        raise ValueError(
            f"box must be (x0, y0, x1, y1) with 0 <= x0 < x1 <= {width} and 0 <= y0 < y1 <= {height}, got {box}"
        )
    return x0, y0, x1, y1


def _square(maps: ExplanationMaps, layout: Layout, needed: Sequence[int]) -> np.ndarray:
    """Maps as (M, M) over the content positions; rows that were not explained are 0."""
    if maps.layout != layout:
        raise ValueError("maps must be of the same capture: their layout is another")
    lacking = sorted(set(needed) - set(maps.tokens.tolist()))
    if lacking:
        raise ValueError(f"maps must hold every picked token, {lacking[0]} is missing; explain all patches")
    rows = maps.tokens - layout.n_prefix
    values = np.zeros((layout.n_content, layout.n_content))
    values[rows[rows >= 0]] = maps.content[rows >= 0]
    return values


def _inside(layout: Layout, box: Box | None) -> np.ndarray | None:
    """Which patches have their middle in a box: bool of shape (M,); at least that at the box's own middle."""
    if box is None:
        return None
    middles = np.array([layout.center_of(int(t)) for t in layout.content])
    inside = within(middles[:, 0], middles[:, 1], box)
    inside[layout.token_at((box[0] + box[2]) / 2, (box[1] + box[3]) / 2) - layout.n_prefix] = True
    return inside
