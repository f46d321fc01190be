"""Clicks without a hand: look where the mask is most wrong, click there, ask again; the same for every method."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_edt

from .masks import checked_masks, mask_iou

Point = tuple[int, int]

MAX_CLICKS = 20
"""Clicks after which a method has failed, as in the published comparisons."""


@dataclass(frozen=True)
class Clicks:
    """What happened, click by click; made by `simulate_clicks`.

    `points` has where each fell, (x, y) in pixels, `wanted` True for a foreground and False for a background
    point, `ious` the overlap of the mask with the truth after it, in [0, 1].
    """

    points: tuple[Point, ...]
    wanted: tuple[bool, ...]
    ious: tuple[float, ...]

    def after(self, n: int) -> float:
        """Overlap after the n-th click, counted from 1 (else a ValueError); a run that ended keeps its last one."""
        if n < 1:
            raise ValueError(f"clicks are counted from 1, got {n}")
        return self.ious[min(n, len(self.ious)) - 1]

    def needed(self, target: float, max_clicks: int = MAX_CLICKS) -> int:
        """Clicks until the overlap first reaches `target` (NoC), `max_clicks` if it never does."""
        reached = (n for n, iou in enumerate(self.ious[:max_clicks], 1) if iou >= target)
        return next(reached, max_clicks)


def next_click(
    mask: np.ndarray, truth: np.ndarray, *, clicked: Sequence[Point] = (), ignore: np.ndarray | None = None
) -> tuple[Point, bool] | None:
    """Where a patient user would click next: deepest inside the larger error.

    The rules of RITM (Sofiiuk and others, 2021): exact Euclidean distance to the nearest pixel that is
    not in the error, the image's border included; the first in raster order among equals; a tie between
    what is missing and what is too much gives a background point.

    Parameters
    ----------
    mask, truth : ndarray of bool, shape (H, W)
        The mask so far (empty before the first click) and the object; other shapes are a ValueError.
    clicked : sequence of (x, y)
        Pixels that are not clicked again.
    ignore : ndarray of bool, shape (H, W), optional
        Pixels that count as neither right nor wrong.

    Returns
    -------
    tuple of ((x, y), bool), or None
        The point, and True if the object was missed there, False if the mask spilt over. None if
        no pixel is wrong, or only such as were clicked.

    Examples
    --------
    >>> truth = np.zeros((5, 5), bool)
    >>> truth[1:4, 1:4] = True
    >>> next_click(np.zeros((5, 5), bool), truth)
    ((2, 2), True)
    """
    mask, truth, counted = checked_masks(np.asarray(mask, bool), np.asarray(truth, bool), ignore)
    missing = _depth(truth & ~mask & counted, clicked)
    too_much = _depth(~truth & mask & counted, clicked)
    wanted = bool(missing.max() > too_much.max())
    depth = missing if wanted else too_much
    if depth.max() <= 0:
        return None
    y, x = np.unravel_index(depth.argmax(), depth.shape)
    return (int(x), int(y)), wanted


def simulate_clicks(
    predict: Callable[[Sequence[Point], Sequence[Point]], np.ndarray],
    truth: np.ndarray,
    *,
    max_clicks: int = MAX_CLICKS,
    target: float | None = None,
    ignore: np.ndarray | None = None,
) -> Clicks:
    """Click on an object until its mask is good enough, or `max_clicks` are spent.

    Parameters
    ----------
    predict : callable
        ``predict(wanted, unwanted)`` takes foreground and background points (x, y) and gives a
        mask, bool of shape (H, W).
    truth, ignore : ndarray of bool, shape (H, W)
        As for `next_click`; a truth without a pixel to click on is a ValueError.
    max_clicks : int, default 20
    target : float, optional
        Stop once the overlap reaches it; by default only when nothing is wrong any more.

    Returns
    -------
    Clicks

    Examples
    --------
    >>> truth = np.array([[False] * 4, [True] * 4, [True] * 4])
    >>> def rows(wanted, unwanted):  # a method that takes the whole row of each foreground point
    ...     return np.isin(np.arange(3), [y for _, y in wanted])[:, None] & np.ones(4, bool)
    >>> simulate_clicks(rows, truth).ious
    (0.5, 1.0)
    """
    mask = np.zeros(np.shape(truth), bool)
    if max_clicks < 1:
        raise ValueError(f"max_clicks must be at least 1, got {max_clicks}")
    if next_click(mask, truth, ignore=ignore) is None:
        raise ValueError("truth must have at least one pixel to click on, got none that is not ignored")
    points: dict[Point, bool] = {}
    ious: list[float] = []
    while len(points) < max_clicks and (click := next_click(mask, truth, clicked=[*points], ignore=ignore)):
        points[click[0]] = click[1]
        wanted, unwanted = ([p for p, sign in points.items() if sign is side] for side in (True, False))
        mask = np.asarray(predict(wanted, unwanted), bool)
        ious.append(mask_iou(mask, np.asarray(truth, bool), ignored=ignore))
        if target is not None and ious[-1] >= target:
            break
    return Clicks(tuple(points), tuple(points.values()), tuple(ious))


def _depth(error: np.ndarray, clicked: Sequence[Point]) -> np.ndarray:
    """Distance of every pixel of an error to its edge; the image's border is an edge, clicked pixels are 0."""
    if error.ndim != 2 or not error.size:
        raise ValueError(f"masks must be of one shape (H, W) with at least one pixel, got {error.shape}")
    depth = distance_transform_edt(np.pad(error, 1))[1:-1, 1:-1]
    for x, y in clicked:
        depth[y, x] = 0
    return depth
