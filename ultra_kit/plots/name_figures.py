"""Figures of names: under each token of a text, or beside its patch, what it is like."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ..atlas.naming import Names
from .style import draw_input, mark_patch, panel_size, panels, patch_box, styled
from .text_lines import CELL, COLOURS, DEEPEST, LINE

_WIDEST = 18


@styled
def show_names(names: Names, *, columns: int = 84) -> Figure:
    """Draw what latent tokens are like: names under each token of a text, or each patch marked and named in the image.

    Of a text the names stand under their token, the nearest on top, the darker the nearer; of an image the nearest name
    stands at its patch.

    Parameters
    ----------
    names : Names
    columns : int
        Characters in a line of a text.

    Examples
    --------
    >>> import ultra_kit as uk
    >>> cap = uk.capture(uk.load("scenes"), uk.data.scene(0).image)
    >>> show_names(uk.name(cap, tokens=[20], among=["a red star", "a blue ring"])).axes[0].get_title()
    'names by phrases, layer 5'
    """
    title = f"names by {names.by}, layer {names.layer}"
    if names.layout.grid is not None:
        figure, [[ax]] = panels(1, 1, panel=panel_size(names.layout, 8))
        draw_input(ax, names.input, names.layout)
        for token, found in zip(names.tokens, names.found, strict=True):
            mark_patch(ax, names.layout, int(token))
            (x, y), width, height = patch_box(names.layout, int(token))
            paper = {"facecolor": "white", "edgecolor": "none", "pad": 1.5, "alpha": 0.85}
            ax.text(
                x + width / 2, y + 1.1 * height, found[0].text, ha="center", va="top", fontsize=12, bbox=paper
            )
        ax.set_title(title)
        return figure
    cells = [
        [names.layout.place_of(int(token)), *(name.text for name in found)]
        for token, found in zip(names.tokens, names.found, strict=True)
    ]
    widths = [min(_WIDEST, max(map(len, texts))) + 2 for texts in cells]
    places, line, at = [], 0, 0
    for width in widths:
        if at and at + width > columns:
            line, at = line + 1, 0
        places.append((line, at))
        at += width
    deep = max(map(len, cells)) + 0.7
    across = max(x + width for (_, x), width in zip(places, widths, strict=True))
    figure = plt.figure(figsize=(across * CELL + 0.4, (line + 1) * deep * LINE + 0.6))
    plt.close(figure)
    ax = figure.add_axes((0.02, 0.02, 0.96, 0.93 - 0.3 / figure.get_figheight()))
    ax.set(xlim=(0, across), ylim=((line + 1) * deep, 0), title=title)
    ax.axis("off")
    top = max((abs(name.likeness) for found in names.found for name in found), default=1) or 1
    for texts, found, width, (row, x) in zip(cells, names.found, widths, places, strict=True):
        shades = [0.0, *np.clip([name.likeness / top for name in found], 0, 1)]
        for k, (text, shade) in enumerate(zip(texts, shades, strict=True)):
            if shade:
                box = Rectangle(
                    (x - 0.3, row * deep + k), width - 0.9, 0.94, color=COLOURS(DEEPEST * shade), linewidth=0
                )
                ax.add_patch(box)
            shown = text if len(text) <= _WIDEST else text[: _WIDEST - 1] + "…"
            weight = "normal" if k else "bold"
            ax.text(
                x,
                row * deep + k + 0.5,
                shown,
                family="monospace",
                fontsize=13,
                va="center",
                weight=weight,
                parse_math=False,
            )
    return figure
