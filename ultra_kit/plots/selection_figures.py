"""Figures of a selected object."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MultipleLocator

from ..images.selection import Selection
from .style import GROUND, draw_input, extent, map_colours, panel_size, panels, styled

WANTED, UNWANTED, OUTLINE = "#56B4E9", "#E69F00", "#F0E442"
"""Blue and orange of Okabe and Ito's palette, told apart by sign too (+ and x); the outline is yellow on black."""


@styled
def show_selection(sel: Selection) -> Figure:
    """Draw what was pointed at, the relevance, and the mask, side by side.

    Parameters
    ----------
    sel : Selection
        Wanted points are blue crosses (+), unwanted ones orange (x), a box is dashed, the patches
        that were picked are outlined. The line in the colour bar is the threshold.

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> import ultra_kit as uk
    >>> cap = uk.capture(uk.load("scenes"), uk.data.scene(3).image)
    >>> sel = uk.select(cap, points=[(40, 40)], layer=1, combine="difference")
    >>> [ax.get_title() for ax in show_selection(sel).axes[:2]]
    ['Picked: 1 wanted', 'Relevance']
    """
    width, height = panel_size(sel.layout, 5.0)
    with panels(1, 3, panel=(width, height + 0.3)) as (figure, axes):
        picked, shown, result = axes[0]
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
        _draw_mask(result, sel)
        result.set_title(f"Mask: {sel.share:.0%} of the image")
    return figure


def _picked(sel: Selection) -> str:
    words = [f"{len(sel.points)} wanted"] if sel.points else []
    words += [f"{len(sel.unwanted)} unwanted"] if sel.unwanted else []
    words += ["box"] if sel.box else []
    words += [f"“{sel.text}”"] if sel.text else []
    text = ", ".join(words)
    return text if len(text) <= 34 else text[:33] + "…"


def _mark(ax: Axes, sel: Selection) -> None:
    """Points, box, and the patches that were picked without a point."""
    for points, mark, colour in ((sel.points, "+", WANTED), (sel.unwanted, "x", UNWANTED)):
        x, y = np.array(points).reshape(-1, 2).T
        ax.scatter(x, y, s=260, marker=mark, color="black", linewidths=7, zorder=4)
        ax.scatter(x, y, s=260, marker=mark, color=colour, linewidths=3.5, zorder=5)
    if sel.box is not None:
        x0, y0, x1, y1 = sel.box
        for colour, line, style in (("black", 5.0, "-"), (WANTED, 2.5, "--")):
            ax.add_patch(
                Rectangle(
                    (x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=colour, linewidth=line, linestyle=style
                )
            )
    if not sel.points and sel.layout.grid is not None:
        (h, w), (height, width) = sel.layout.grid, sel.layout.size or (1, 1)
        for token in sel.tokens:
            u, v = sel.layout.center_of(int(token))
            corner = (u - width / w / 2, v - height / h / 2)
            ax.add_patch(
                Rectangle(corner, width / w, height / h, fill=False, edgecolor="white", linewidth=1.5)
            )


def _draw_mask(ax: Axes, sel: Selection) -> None:
    """The image, paled outside the mask, with the mask's outline."""
    veil = np.ones((*sel.mask.shape, 4))
    veil[..., 3] = np.where(sel.mask, 0, 0.72)
    ax.imshow(veil, extent=extent(sel.layout), zorder=2)
    if not 0 < sel.share < 1:
        return
    height, width = sel.mask.shape
    x, y = np.arange(width) + 0.5, np.arange(height) + 0.5
    for colour, line in (("black", 4.5), (OUTLINE, 2.0)):
        ax.contour(x, y, sel.mask.astype(float), levels=[0.5], colors=[colour], linewidths=[line], zorder=3)
