"""What all figures share: sizes, colours, and how an image lies on an axes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Rectangle

from ..types import Layout

GROUND = "#303030"
"""Behind colour bars of maps: about what a darkened image is."""


def map_colours(over_image: bool) -> ListedColormap:
    """Return the colours of a map: even steps of lightness, so they read in grey and by colour-blind eyes.

    Over an image the low end is nearly clear, so that the darkened image shows where the map is low.
    """
    table = mpl.colormaps["inferno"](np.linspace(0, 1, 256))
    if over_image:
        table[:, 3] = np.linspace(0.1, 0.97, 256) ** 0.6
    return ListedColormap(table)


SEGMENT_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#6A3D9A")
"""Okabe and Ito's palette for colour-blind eyes; further segments repeat it, told apart by number."""

FOCUS, PLAIN, REFERENCE = "#D55E00", "#7A9CB8", "#222222"
"""Colours of a bar to look at, of the other bars, and of a reference line."""

STYLE = {
    "font.size": 15,
    "axes.titlesize": 16,
    "axes.labelsize": 15,
    "xtick.labelsize": 14,
    "ytick.labelsize": 14,
    "legend.fontsize": 14,
    "figure.titlesize": 18,
    "figure.dpi": 80,
    "savefig.dpi": 120,
}

P = ParamSpec("P")
R = TypeVar("R")


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """Draw with this project's sizes and leave matplotlib's settings as they were."""

    @wraps(draw)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        with mpl.rc_context(STYLE):  # type: ignore[arg-type]
            return draw(*args, **kwargs)

    return wrapper


@contextmanager
def panels(rows: int, columns: int, *, panel: tuple[float, float]) -> Iterator[tuple[Figure, np.ndarray]]:
    """Make a figure of (width, height) inches a panel and its (rows, columns) array of axes.

    The figure is made by pyplot, so that notebooks know how to show it, and closed there
    afterwards, so that they show it once and pyplot does not keep it.
    """
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(columns * panel[0], rows * panel[1]),
        squeeze=False,
        layout="constrained",
    )
    try:
        yield figure, axes
    finally:
        plt.close(figure)


def figure_of(ax: Axes) -> Figure:
    """Return the whole figure that holds an axes, also from within a subfigure."""
    figure: Figure | SubFigure | None = ax.figure
    while isinstance(figure, SubFigure):
        figure = figure.figure
    if figure is None:
        raise ValueError("ax must belong to a figure, got an axes without one")
    return figure


def extent(layout: Layout) -> tuple[float, float, float, float]:
    """Left, right, bottom, top of the image in pixels of the original, for `Axes.imshow`."""
    height, width = layout.size or layout.grid or (1, 1)
    return 0, width, height, 0


def panel_size(layout: Layout, width: float) -> tuple[float, float]:
    """Width and height in inches of a panel for an image, with room for a title."""
    _, across, down, _ = extent(layout)
    return width, width * min(max(down / across, 0.3), 2.0) + 0.4


def draw_input(ax: Axes, image: Any, layout: Layout, *, tone: str = "colour") -> None:
    """Put the original image on an axes without ticks; nothing but the frame if it was not kept.

    `tone` is "colour", or "dark" or "pale" for the greys that what is laid over it can be seen on.
    """
    ax.set_xticks([])
    ax.set_yticks([])
    left, right, bottom, top = extent(layout)
    ax.set(xlim=(left, right), ylim=(bottom, top), aspect="equal")
    if image is None:
        return
    shown = np.asarray(image)
    if tone != "colour":
        grey = (20 if tone == "dark" else 100) + 0.45 * (shown[..., :3] @ np.array([0.299, 0.587, 0.114]))
        shown = np.repeat(grey[..., None], 3, axis=2).astype(np.uint8)
    ax.imshow(shown, extent=extent(layout))


def mark_patch(ax: Axes, layout: Layout, token: int, *, image: Any = None) -> None:
    """Outline the cell of a patch token, white on black so that it shows on any ground.

    With `image`, the cell shows the patch itself: whatever colour a map has there is meaningless.
    """
    if layout.grid is None or layout.size is None or token < layout.n_prefix:
        return
    (h, w), (height, width) = layout.grid, layout.size
    row, column = divmod(token - layout.n_prefix, w)
    corner, cell = (column * width / w, row * height / h), (width / w, height / h)
    for colour, line in (("black", 4.5), ("white", 2.0)):
        box = Rectangle(corner, *cell, fill=False, edgecolor=colour, linewidth=line, zorder=3, clip_on=False)
        box.set_label(f"token {token}")
        ax.add_patch(box)
    if image is not None:
        ax.imshow(np.asarray(image), extent=extent(layout), zorder=2).set_clip_path(box)


def place(layout: Layout, token: int) -> str:
    """Name a token by its place: ``"patch (4, 7)"`` (row, column) or ``"prefix token 0"``."""
    if layout.grid is None or token < layout.n_prefix:
        return f"prefix token {token}" if token < layout.n_prefix else f"token {token}"
    row, column = divmod(token - layout.n_prefix, layout.grid[1])
    return f"patch ({row}, {column})"
