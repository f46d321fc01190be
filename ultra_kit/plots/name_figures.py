"""Figures of names: under each token of a text, or beside its patch, what it is like."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ..atlas.naming import Names
from ..atlas.placed_input import PlacedInput
from .style import PAPER, draw_input, mark_patch, panel_size, panels, patch_box, styled
from .text_lines import CELL, COLOURS, DEEPEST, LINE

_WIDEST = 18


@styled
def show_names(names: Names, *, columns: int = 84) -> Figure:
    """Draw what latent tokens are like: names under each token of a text, or each patch marked and named in the image.

    Of a text the names stand under their token, the nearest on top, the darker the nearer; of an image the nearest name
    stands at its patch. Names that are patches stand in a row behind the token's own, the likeness above each.

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
    if names.by == "patches":
        return _exemplars(names, title)
    if names.layout.grid is not None:
        figure, [[ax]] = panels(1, 1, panel=panel_size(names.layout, 8))
        draw_input(ax, names.input, names.layout)
        for token in names.tokens.tolist():
            mark_patch(ax, names.layout, token)
            (x, y), width, height = patch_box(names.layout, token)
            at = x + width / 2, y + 1.1 * height
            ax.text(*at, names.of(token)[0], ha="center", va="top", fontsize=12, bbox=PAPER)
        ax.set_title(title)
        return figure
    cells = [[names.layout.place_of(t), *names.of(t)] for t in names.tokens.tolist()]
    widths = [min(_WIDEST, max(map(len, texts))) + 2 for texts in cells]
    places, line, used = [], 0, 0
    for width in widths:
        if used and used + width > columns:
            line, used = line + 1, 0
        places.append((line, used))
        used += width
    deep = max(map(len, cells)) + 0.7
    across, down = max(x + width for (_, x), width in zip(places, widths, strict=True)), (line + 1) * deep
    figure, [[ax]] = panels(1, 1, panel=(across * CELL + 0.4, down * LINE + 0.6))
    ax.set(xlim=(0, across), ylim=(down, 0), title=title)
    ax.axis("off")
    top = max((abs(name.likeness) for found in names.found for name in found), default=1) or 1
    font: dict[str, Any] = {"family": "monospace", "fontsize": 13, "va": "center", "parse_math": False}
    for texts, found, width, (row, x) in zip(cells, names.found, widths, places, strict=True):
        for k, text in enumerate(texts):
            y = row * deep + k
            if k:
                colour = COLOURS(DEEPEST * max(found[k - 1].likeness / top, 0))
                ax.add_patch(Rectangle((x - 0.3, y), width - 0.9, 0.94, color=colour, linewidth=0))
            shown = text if len(text) <= _WIDEST else f"{text[: _WIDEST - 1]}…"
            ax.text(x, y + 0.5, shown, weight="normal" if k else "bold", **font)
    return figure


def _exemplars(names: Names, title: str) -> Figure:
    """A row for each token: its own patch, and those it is named by."""
    placed = PlacedInput(names.layout, names.input)
    figure, axes = panels(len(names.tokens), 1 + max(map(len, names.found)), panel=(1.5, 1.6))
    for line, token, found in zip(axes, names.tokens.tolist(), names.found, strict=True):
        line[0].set_title(names.layout.place_of(token), fontsize=11)
        line[0].imshow(placed.patch(token))
        for ax, name in zip(line[1:], found, strict=False):
            ax.set_title(f"{name.likeness:.2f}", fontsize=11)
            ax.imshow(name.patch)
    for ax in axes.flat:
        ax.set_axis_off()
    figure.suptitle(title, fontsize=13)
    return figure
