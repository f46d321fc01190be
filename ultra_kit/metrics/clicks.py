"""Clicks without a hand: the number of points a method needs until its mask is right.

The protocol of interactive segmentation: look where the mask is most wrong, click there, ask again.
It has no randomness, so that two methods are asked in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_edt

from .masks import mask_iou

Point = tuple[int, int]
Predict = Callable[[Sequence[Point], Sequence[Point]], np.ndarray]
"""Called as ``predict(wanted, unwanted)`` with points (x, y); gives a mask, bool of shape (H, W)."""

MAX_CLICKS = 20
"""Clicks after which a method has failed, as in the published comparisons."""


@dataclass(frozen=True)
class Clicks:
    """What happened, click by click; made by `simulate`.

    Attributes
    ----------
    points : tuple of (x, y)
        Where each click fell, in pixels.
    wanted : tuple of bool
        Whether the click said "this" (True) or "not this".
    ious : tuple of float
        Overlap of the mask after each click with the truth, in [0, 1].
    """

    points: tuple[Point, ...]
    wanted: tuple[bool, ...]
    ious: tuple[float, ...]

    def after(self, n: int) -> float:
        """Overlap after the n-th click, counted from 1; a run that ended earlier keeps its last one.

        Raises
        ------
        ValueError
            If n is below 1.
        """
        if n < 1:
            raise ValueError(f"clicks are counted from 1, got {n}")
        return self.ious[min(n, len(self.ious)) - 1]

    def needed(self, target: float, max_clicks: int = MAX_CLICKS) -> int:
        """Clicks until the overlap first reaches `target` (NoC), `max_clicks` if it never does."""
        reached = [n for n, iou in enumerate(self.ious[:max_clicks], 1) if iou >= target]
        return reached[0] if reached else max_clicks


def next_click(
    mask: np.ndarray, truth: np.ndarray, *, clicked: Sequence[Point] = (), ignore: np.ndarray | None = None
) -> tuple[Point, bool] | None:
    """Where a patient user would click next: deepest inside the larger error.

    Parameters
    ----------
    mask, truth : ndarray of bool, shape (H, W)
        The mask so far (empty before the first click) and the object.
    clicked : sequence of (x, y)
        Pixels that were clicked already; they are not clicked again.
    ignore : ndarray of bool, shape (H, W), optional
        Pixels that count as neither right nor wrong.

    Returns
    -------
    point : (x, y)
    wanted : bool
        True if the object was missed there, False if the mask spilt over.
        The result as a whole is None if no pixel is wrong, or only such as were clicked.

    Raises
    ------
    ValueError
        If the shapes disagree.

    Notes
    -----
    The rules of RITM (Sofiiuk and others, 2021): exact Euclidean distance to the nearest pixel
    that is not in the error, the image's border included; the deepest point over all parts of the
    error; the first in raster order among equals; a tie between what is missing and what is too
    much gives an unwanted click.

    Examples
    --------
    >>> truth = np.zeros((3, 5), bool)
    >>> truth[:, 1:4] = True
    >>> next_click(np.zeros((3, 5), bool), truth)
    ((2, 1), True)
    """
    mask, truth, counted = _masks(mask, truth, ignore)
    missing = _depth(truth & ~mask & counted, clicked)
    too_much = _depth(~truth & mask & counted, clicked)
    wanted = bool(missing.max() > too_much.max())
    depth = missing if wanted else too_much
    if depth.max() <= 0:
        return None
    y, x = np.unravel_index(depth.argmax(), depth.shape)
    return (int(x), int(y)), wanted


def simulate(
    predict: Predict,
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
        ``predict(wanted, unwanted)`` gives a mask, bool of shape (H, W).
    truth : ndarray of bool, shape (H, W)
        The object, at least one pixel.
    max_clicks : int, default 20
    target : float, optional
        Stop once the overlap reaches it; by default all clicks are made, unless nothing is wrong
        any more.
    ignore : ndarray of bool, shape (H, W), optional
        Pixels that count as neither right nor wrong.

    Returns
    -------
    Clicks

    Raises
    ------
    ValueError
        If the truth is empty, or `max_clicks` below 1.

    Examples
    --------
    A method that takes the whole row of each wanted point:

    >>> truth = np.array([[False] * 4, [True] * 4, [True] * 4])
    >>> def rows(wanted, unwanted):
    ...     return np.isin(np.arange(3), [y for _, y in wanted])[:, None] & np.ones(4, bool)
    >>> simulate(rows, truth).ious
    (0.5, 1.0)
    """
    truth = np.asarray(truth, bool)
    if max_clicks < 1:
        raise ValueError(f"max_clicks must be at least 1, got {max_clicks}")
    if not _masks(truth, truth, ignore)[1].any():
        raise ValueError("truth must have at least one pixel to click on, got an empty mask")
    points: list[Point] = []
    signs: list[bool] = []
    ious: list[float] = []
    mask = np.zeros_like(truth)
    while len(points) < max_clicks:
        click = next_click(mask, truth, clicked=points, ignore=ignore)
        if click is None:
            break
        points.append(click[0])
        signs.append(click[1])
        split = [[p for p, s in zip(points, signs, strict=True) if s is sign] for sign in (True, False)]
        mask = np.asarray(predict(*split), bool)
        ious.append(mask_iou(mask, truth, ignored=ignore))
        if target is not None and ious[-1] >= target:
            break
    return Clicks(tuple(points), tuple(signs), tuple(ious))


def _depth(error: np.ndarray, clicked: Sequence[Point]) -> np.ndarray:
    """Distance of every pixel of an error to its edge; the image's border is an edge, clicked pixels are 0."""
    depth = distance_transform_edt(np.pad(error, 1))[1:-1, 1:-1]
    for x, y in clicked:
        depth[y, x] = 0
    return depth


def _masks(
    mask: np.ndarray, truth: np.ndarray, ignore: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Both masks and the pixels that count, as bool of one shape."""
    mask, truth = np.asarray(mask, bool), np.asarray(truth, bool)
    counted = np.ones(truth.shape, bool) if ignore is None else ~np.asarray(ignore, bool)
    if not mask.shape == truth.shape == counted.shape or mask.ndim != 2 or not mask.size:
        raise ValueError(
            f"masks must have one shape (H, W), got {mask.shape}, {truth.shape} and {counted.shape} for ignore"
        )
    return mask, truth, counted
