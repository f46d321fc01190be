"""What all figures share: sizes, colours, how an image lies on an axes, and parts of their docstrings."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from inspect import cleandoc, signature
from typing import Any, ParamSpec, TypeVar

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from ..types import Layout

# Behind colour bars of maps: about what a darkened image is.
GROUND = "#303030"
# Okabe and Ito's palette for colour-blind eyes; further segments repeat it, told apart by number.
SEGMENT_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#6A3D9A")
# Of a bar or curve to look at, of the other bars, and of a reference line.
FOCUS, PLAIN, REFERENCE = "#D55E00", "#7A9CB8", "#222222"
# Behind words that stand on a figure.
PAPER = {"facecolor": "white", "edgecolor": "none", "pad": 1.5, "alpha": 0.85}
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
# Parameters that mean the same in every figure; `styled` puts them into the docstrings.
_SHARED = {
    "ax": "ax : matplotlib.axes.Axes, optional\n    Where to draw; a new figure by default.",
    "smooth": "smooth : bool\n    Resize bicubically to the image, rather than draw one square per patch.",
    "scale": 'scale : {"own", "shared"}\n'
    "    Each panel's colours run from 0 to its own largest value, or to the largest of all panels.",
    "focus": "focus : sequence of str\n    Beginnings of the names of the methods to draw in colour, in any case.",
}
_RETURNS = "\n\nReturns\n-------\nmatplotlib.figure.Figure"

P = ParamSpec("P")
R = TypeVar("R")

# Control characters and halves of characters.
_UNPRINTABLE = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]"
# What a figure may be of, so that another result is refused in words.
_RESULTS = ("ExplanationMaps", "Segmentation", "Selection", "Evidence", "Names", "Embedding")


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """Draw with this project's sizes, leaving matplotlib's settings as they were; complete the docstring (`_SHARED`)."""
    kind = next((p.annotation for p in signature(draw).parameters.values()), None)

    @wraps(draw)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        if args and kind in _RESULTS and type(args[0]).__name__ != kind:
            raise TypeError(f"{draw.__name__} needs {kind}, got {type(args[0]).__name__}")
        with mpl.rc_context(STYLE):  # type: ignore[arg-type]
            drawn = draw(*args, **kwargs)
        return plain(drawn) if isinstance(drawn, Figure) else drawn  # type: ignore[return-value]

    if "Parameters\n" in (doc := cleandoc(draw.__doc__ or "")):
        head, *rest = re.split(r"(?=\n\n(?:Raises|Examples)\n-)", doc, maxsplit=1)
        shared = ("\n" + _SHARED[name] for name in signature(draw).parameters if name in _SHARED)
        wrapper.__doc__ = "".join([head, *shared, _RETURNS, *rest])
    return wrapper


def plain(figure: Figure) -> Figure:
    """The figure, its texts drawn as they are: no formulas, and nothing that an SVG, which is XML, can't hold."""
    for text in figure.findobj(Text):
        said = text.get_text()  # type: ignore[attr-defined]
        text.set_text(re.sub(_UNPRINTABLE, "\ufffd", said))  # type: ignore[attr-defined]
        if "$" in said and "mathdefault" not in said:  # a text of the user's, no tick's number
            text.set_parse_math(False)  # type: ignore[attr-defined]
    for axis in figure.findobj(Axis):
        words = [label.get_text() for label in axis.get_ticklabels()]  # type: ignore[attr-defined]
        if re.search(_UNPRINTABLE, "".join(words)):  # drawing writes them anew, from the list given
            shown = [re.sub(_UNPRINTABLE, "\ufffd", word) for word in words]
            axis.set_ticks(axis.get_majorticklocs(), shown)  # type: ignore[attr-defined]
    return figure


def panels(
    rows: int, columns: int, *, panel: tuple[float, float], ax: Axes | None = None
) -> tuple[Figure, np.ndarray]:
    """A figure of (width, height) inches per panel and its (rows, columns) array of axes; or those of a given `ax`.

    Made by pyplot, so that notebooks can show it, and closed there at once, so that they show it only once.
    """
    if ax is not None:
        if (given := ax.get_figure(root=True)) is None:
            raise ValueError("ax must belong to a figure, got an axes without one")
        return given, np.array([[ax]])
    size = (columns * panel[0], rows * panel[1])
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    plt.close(figure)
    return figure, axes


def map_colours(over_image: bool) -> ListedColormap:
    """The colours of a map: even steps of lightness, for grey prints and colour-blind eyes too.

    Over an image the low end is nearly clear, so that the darkened image shows where the map is low.
    """
    table = mpl.colormaps["inferno"](np.linspace(0, 1, 256))
    if over_image:
        table[:, 3] = np.linspace(0.1, 0.97, 256) ** 0.6
    return ListedColormap(table)


def in_focus(names: Iterable[str], focus: Sequence[str]) -> list[bool]:
    """Which names begin as one of `focus` does, in any case."""
    starts = tuple(f.lower() for f in focus)
    return [name.lower().startswith(starts) for name in names]


def extent(layout: Layout) -> tuple[float, float, float, float]:
    """Left, right, bottom, top of the image in pixels of the original, for `Axes.imshow`."""
    height, width = layout.size or layout.grid or (1, 1)
    return 0, width, height, 0


def panel_size(layout: Layout, width: float) -> tuple[float, float]:
    """Width and height in inches of a panel for an image, with room for a title."""
    _, across, down, _ = extent(layout)
    return width, width * min(max(down / across, 0.3), 2.0) + 0.4


def draw_input(ax: Axes, image: Any, layout: Layout, *, tone: str = "colour") -> None:
    """Put the original image, if it was kept, on an axes without ticks: in "colour", or in "dark" or "pale" greys."""
    left, right, bottom, top = extent(layout)
    ax.set(xticks=[], yticks=[], xlim=(left, right), ylim=(bottom, top), aspect="equal")
    if image is None:
        return
    shown = np.asarray(image)
    if tone != "colour":
        grey = (20 if tone == "dark" else 100) + 0.45 * (shown[..., :3] @ np.array([0.299, 0.587, 0.114]))
        shown = np.repeat(grey[..., None], 3, axis=2).astype(np.uint8)
    ax.imshow(shown, extent=extent(layout))


def patch_box(layout: Layout, token: int) -> tuple[tuple[float, float], float, float]:
    """Upper left corner (x, y), width and height of a patch token's cell, in pixels of the original."""
    (h, w), (height, width) = layout.grid or (1, 1), layout.size or (1, 1)
    row, column = divmod(token - layout.n_prefix, w)
    return (column * width / w, row * height / h), width / w, height / h


def mark_patch(ax: Axes, layout: Layout, token: int, *, image: Any = None) -> None:
    """Outline the cell of a patch token, white on black to show on any ground; with `image` the cell shows the patch."""
    if layout.grid is None or layout.size is None or token < layout.n_prefix:
        return
    for colour, line in (("black", 4.5), ("white", 2.0)):
        box = patch_box(layout, token)
        cell = Rectangle(*box, fill=False, edgecolor=colour, linewidth=line, zorder=3, clip_on=False)
        ax.add_patch(cell).set_label(f"token {token}")
    if image is not None:  # whatever colour a map has there is meaningless
        ax.imshow(np.asarray(image), extent=extent(layout), zorder=2).set_clip_path(cell)


def outline(ax: Axes, mask: np.ndarray, *strokes: tuple[str, float]) -> None:
    """Draw the border of a mask of shape (H, W), one contour per (colour, width); nothing where it has none."""
    if min(mask.shape) > 1 and mask.any() and not mask.all():
        x, y = (np.arange(n) + 0.5 for n in mask.shape[::-1])
        for colour, width in strokes:
            ax.contour(x, y, mask, levels=[0.5], colors=colour, linewidths=width)
