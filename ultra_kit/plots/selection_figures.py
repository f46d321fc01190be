"""Figures of a selected object."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MultipleLocator

from ..images.selection import Selection
from .style import GROUND, draw_input, extent, map_colours, outline, panel_size, panels, patch_box, styled

# Blue and orange of Okabe and Ito's palette, told apart by sign too (+ and x); the outline is yellow on black.
_FOREGROUND, _BACKGROUND, _OUTLINE = "#56B4E9", "#E69F00", "#F0E442"


@styled
def show_selection(sel: Selection) -> Figure:
    """Draw what was pointed at, the relevance, and the mask, side by side.

    Parameters
    ----------
    sel : Selection
        Foreground points are blue crosses (+), background points orange (x), a box is dashed, patches that were
        picked without a point are outlined. The line in the colour bar is the threshold.

    Examples
    --------
    >>> import ultra_kit as uk
    >>> sel = uk.select(uk.capture(uk.load("scenes"), uk.data.scene(3).image), points=[(40, 40)], layer=1)
    >>> [ax.get_title() for ax in show_selection(sel).axes[:2]]
    ['Picked: 1 foreground', 'Relevance']
    """
    width, height = panel_size(sel.layout, 5.0)
    figure, [[picked, shown, result]] = panels(1, 3, panel=(width, height + 0.3))
    draw_input(picked, sel.input, sel.layout)
    _mark(picked, sel)
    picked.set_title(f"Picked: {_picked(sel)}")
    draw_input(shown, sel.input, sel.layout, tone="dark")
    layer = shown.imshow(sel.relevance, extent=extent(sel.layout), cmap=map_colours(True), vmin=0, vmax=1)
    shown.set_title("Relevance")
    bar = figure.colorbar(layer, ax=shown, fraction=0.045, pad=0.02)
    bar.ax.set_facecolor(GROUND)
    bar.ax.yaxis.set_major_locator(MultipleLocator(0.25))
    bar.ax.axhline(sel.threshold, color="white", linewidth=5)
    bar.ax.axhline(sel.threshold, color="black", linewidth=2.5)
    draw_input(result, sel.input, sel.layout)
    veil = np.ones((*sel.mask.shape, 4))  # pales what is outside the mask
    veil[..., 3] = np.where(sel.mask, 0, 0.72)
    result.imshow(veil, extent=extent(sel.layout))
    outline(result, sel.mask, ("black", 4.5), (_OUTLINE, 2.0))
    result.set_title(f"Mask: {sel.share:.0%} of the image")
    return figure


def _picked(sel: Selection) -> str:
    words = [f"{len(sel.points)} foreground"] if sel.points else []
    words += [f"{len(sel.unwanted)} background"] if sel.unwanted else []
    words += ["box"] if sel.box else []
    words += [f"“{sel.text}”"] if sel.text else []
    text = ", ".join(words)
    return text if len(text) <= 34 else text[:33] + "…"


def _mark(ax: Axes, sel: Selection) -> None:
    """Points, box, and the patches that were picked without a point."""
    for points, mark, colour in ((sel.points, "+", _FOREGROUND), (sel.unwanted, "x", _BACKGROUND)):
        x, y = np.array(points).reshape(-1, 2).T
        ax.scatter(x, y, s=260, marker=mark, color="black", linewidths=7, zorder=4)
        ax.scatter(x, y, s=260, marker=mark, color=colour, linewidths=3.5, zorder=5)
    boxes = []
    if sel.box is not None:
        x0, y0, x1, y1 = sel.box
        box = ((x0, y0), x1 - x0, y1 - y0)
        boxes += [(box, "black", 5.0, "-"), (box, _FOREGROUND, 2.5, "--")]
    if not sel.points:
        boxes += [(patch_box(sel.layout, int(token)), "white", 1.5, "-") for token in sel.tokens]
    for box, colour, width, style in boxes:
        ax.add_patch(Rectangle(*box, fill=False, edgecolor=colour, linewidth=width, linestyle=style))
