"""Figures of what becomes of a token when the positions that its map names are taken away."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ..text.words import Word
from ..types import ExplanationMaps, Layout
from . import style
from .charts import SIMILARITY, draw_curves
from .map_figures import show_map
from .text_lines import CELL, LINE, flow, write

if TYPE_CHECKING:
    from ..runs.intervening import Intervention
    from ..runs.perturbing import Perturbation

_COLUMNS = 64  # characters in a line of a text
_LINES = 13  # at least: as many as the panel beside needs


@style.styled
def map_and_deletion(
    maps: ExplanationMaps, found: Mapping[str, Perturbation], token: int | None = None
) -> Figure:
    """Draw a token's map, and beside it what becomes of that very token as the positions it names go.

    Parameters
    ----------
    maps : ExplanationMaps
        Of an image or a text.
    found : mapping of str to Perturbation
        By name, from `ultra_kit.runs.perturb`: that of these maps first, with a row for each; others, such as that of
        a random map, of the same token (their mean if they have several rows).
    token : int, optional
        One of ``maps.tokens``; the first by default.

    Examples
    --------
    >>> import ultra_kit as uk
    >>> cap = uk.capture(uk.load("scenes"), uk.data.scene(0).image)
    >>> maps, noise = uk.explain(cap, layer=3, tokens=[30]), uk.baselines.random_map(cap, layer=3, tokens=[30])
    >>> curves = {"ULTra": uk.runs.perturb(cap, maps), "random": uk.runs.perturb(cap, noise)}
    >>> map_and_deletion(maps, curves).axes[1].get_xlabel()
    'share taken away, most relevant first'
    """
    row = maps.row_of(int(maps.tokens[0]) if token is None else token)
    token, first = int(maps.tokens[row]), next(iter(found))
    one = {**found, first: replace(found[first], deletion=found[first].deletion[[row]])}
    figure, [[left, right]] = style.panels(1, 2, panel=_panel(maps.layout))
    if maps.layout.grid is None:
        values = maps.without_own[row]
        _draw_tokens(left, maps.layout, np.maximum(values, 0) / (values.max() or 1), token, [])
        left.set_title(f"token {token}, layer {maps.layer}")
    else:
        show_map(maps, token, ax=left)
    draw_curves(right, one, "deletion", [first])
    right.set(title="the same token as they go", xlabel="share taken away, most relevant first")
    right.set_ylabel(SIMILARITY)
    return figure


@style.styled
def show_intervention(found: Intervention) -> Figure:
    """Draw what was taken away, how far each token moved, and what the model says, before and after.

    Parameters
    ----------
    found : Intervention
        From `ultra_kit.intervene`.

    Examples
    --------
    >>> import ultra_kit as uk
    >>> cap = uk.capture(uk.load("scenes"), uk.data.scene(0).image)
    >>> show_intervention(uk.intervene(cap, remove=[30, 31], token=40)).axes[0].get_title()
    'without 2 of 144 patches'
    """
    layout, gone = found.layout, found.removed
    figure, axes = style.panels(1, 2 if layout.grid is None else 3, panel=_panel(layout))
    first, second = axes[0, :2]
    moved = np.where(found.gone[0], np.nan, np.maximum(1 - found.cosine[0], 0))[layout.n_prefix :]
    top = float(np.nanmax(moved, initial=0)) or 1.0
    if layout.grid is None:
        _draw_tokens(first, layout, np.nan_to_num(moved / top), found.token, gone)
        first.set_title(f"without {len(gone)} of {layout.n_content} tokens: how far each moved")
    else:
        style.draw_input(first, found.input, layout)
        colour = np.asarray(found.input).mean(axis=(0, 1)) / 255
        for box in (style.patch_box(layout, position) for position in gone):
            first.add_patch(Rectangle(*box, color=colour))
        style.draw_input(second, None, layout)
        second.set_facecolor("#808080")  # of what was taken away
        image = second.imshow(
            moved.reshape(layout.grid), "inferno", vmin=0, vmax=top, extent=style.extent(layout)
        )
        bar = figure.colorbar(image, cax=second.inset_axes((1.03, 0, 0.05, 1)))
        bar.set_label("1 - cosine similarity")
        first.set_title(f"without {len(gone)} of {layout.n_content} patches")
        second.set_title(f"how far each token moved, layer {found.layer}")
        for ax in (first, second):
            style.mark_patch(ax, layout, -1 if found.token is None else found.token)
    _draw_reading(axes[0, -1], found)
    return figure


def _panel(layout: Layout) -> tuple[float, float]:
    """Inches of a panel of an image, or of a text in its lines."""
    if layout.grid is not None:
        return style.panel_size(layout, 6.4)
    *_, lines = _laid_out(layout)
    return _COLUMNS * CELL, lines * LINE + 0.8


def _laid_out(layout: Layout) -> tuple[list[Word], list[tuple[int, int, int]], int]:
    """The content tokens of a text as words, their places, and the number of lines there is room for."""
    shown = [token.strip() for token in (layout.tokens or ())[layout.n_prefix :]]
    ends = np.cumsum([len(token) + 1 for token in shown]) - 1
    words = [Word(token, end - len(token), end) for token, end in zip(shown, ends, strict=True)]
    places = flow(words, " ".join(shown), _COLUMNS)
    return words, places, max([_LINES, *(1 + line for line, *_ in places)])


def _draw_tokens(
    ax: Axes, layout: Layout, shades: np.ndarray, token: int | None, gone: Iterable[int]
) -> None:
    """The tokens of a text, shaded, one framed and those that are gone struck through."""
    words, places, lines = _laid_out(layout)
    chosen = [] if token is None else [token - layout.n_prefix]
    write(ax, words, places, _COLUMNS, lines, shades, chosen=chosen)
    for line, column, width in (places[position - layout.n_prefix] for position in gone):
        ax.plot([column, column + width], [line + 0.5] * 2, color=style.REFERENCE, linewidth=1.5)


def _draw_reading(ax: Axes, found: Intervention) -> None:
    """What the model says before and after as bars; where it has no head how far the watched token and the others moved."""
    said = {"": "1 - cosine similarity", "phrase": "cosine similarity to the phrase"}
    default = f"probability of the {found.kind}" if found.layout.grid is None else "logit"
    names = {"before": "before", "after": "without them", "random": "without random ones"}
    table = found.reading
    if table.empty:
        table = 1 - found.table[["cosine", "cosine, random"]].set_axis(["after", "random"], axis=1)
    else:
        table = table.rename(repr)
    colours = {"before": style.PLAIN, "after": style.FOCUS, "random": "#BBBBBB"}
    table.rename(columns=names).plot.barh(ax=ax, width=0.8, color=[colours[str(name)] for name in table])
    ax.invert_yaxis()
    plt.setp(ax.get_yticklabels(), parse_math=False)
    ax.set(xlabel=said.get(found.kind, default), ylabel="", title="before and after")
    if found.token is not None and found.kind:
        ax.set_title(f"read at {found.layout.place_of(found.token)}", parse_math=False)
    ax.legend(frameon=False, fontsize=12)
    ax.spines[["top", "right"]].set_visible(False)
