"""Words of a text laid out in lines and written on an axes, shaded; drawn as they stand, never as a formula."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import cache

import matplotlib as mpl
import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from ..text.words import Word
from .style import FOCUS

CELL = 0.602 * 13 / 72
"""Width in inches of a column: of a character of the texts' fixed-width font."""
LINE = 1.55 * 13 / 72
"""Height in inches of a line of text."""
COLOURS = mpl.colormaps["YlOrBr"]
"""Shades of words, of which those up to `DEEPEST` are used."""
DEEPEST = 0.62
"""Black text is read on every shade up to this one."""

_FONT = {"fontsize": 13, "parse_math": False, "va": "center"}
_OTHER_SCRIPTS = (
    "DejaVu Sans",
    "Noto Sans Mono CJK JP",
    "Noto Sans CJK JP",
    "Noto Emoji",
    "WenQuanYi Zen Hei",
    "Hiragino Sans",
    "Yu Gothic",
    "Microsoft YaHei",
    "Arial Unicode MS",
)
"""Where characters are looked for that the fixed-width font has not."""


def flow(words: Sequence[Word], text: str, columns: int) -> list[tuple[int, int, int]]:
    """Break a text into lines: where each word comes to stand; the spaces are the text's own, as one.

    Parameters
    ----------
    words : sequence of Word
        Of `text`, in order.
    text : str
    columns : int
        Of a line.

    Returns
    -------
    list of (line, column, width)
        Of each word, counted from 0; the width in columns.

    Examples
    --------
    >>> from ultra_kit.text import split_words
    >>> flow(split_words("Rain fell."), "Rain fell.", 6)
    [(0, 0, 4), (1, 0, 4), (1, 4, 1)]
    """
    out: list[tuple[int, int, int]] = []
    line, at, end = 0, 0, 0
    for word in words:
        between = text[end : word.start]
        if "\n" in between and out:
            line, at = line + 1, 0
        width, gap = min(_cells(word.text), columns), 1 if between and at else 0
        # A point or comma at the end of a full line hangs over its edge, rather than to begin the next.
        hangs = not between and width == 1 and not word.text.isalnum()
        if at and at + gap + width > columns + hangs:
            line, at, gap = line + 1, 0, 0
        out.append((line, at + gap, width))
        at, end = at + gap + width, word.end
    return out


def write(
    ax: Axes,
    words: Sequence[Word],
    places: list[tuple[int, int, int]],
    columns: int,
    lines: int,
    shades: np.ndarray | None,
    *,
    chosen: int | None = None,
) -> None:
    """Write words on an axes, each at its place, from the side on which their script begins.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Its frame and ticks are taken away.
    words : sequence of Word
    places : list of (line, column, width)
        From `flow`.
    columns, lines : int
        Of the axes.
    shades : ndarray of shape (words,) or None
        In [0, 1]: how deep each word is shaded; None for no shades.
    chosen : int, optional
        Index of a word that is framed.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from ultra_kit.text import split_words
    >>> words, ax = split_words("Rain fell."), Figure().add_subplot()
    >>> write(ax, words, flow(words, "Rain fell.", 20), 20, 1, None)
    >>> [text.get_text() for text in ax.texts]
    ['Rain', 'fell', '.']
    """
    ax.set(xlim=(0, columns), ylim=(lines, 0))
    ax.axis("off")
    leftwards = _runs_left(words)
    for i, (word, (line, column, width)) in enumerate(zip(words, places, strict=True)):
        if leftwards:
            column = columns - column - width
        if shades is not None and shades[i] > 0.02:  # less could not be seen, but for its edges
            colour = COLOURS(DEEPEST * float(shades[i]))
            ax.add_patch(
                Rectangle((column - 0.15, line + 0.06), width + 0.3, 0.88, color=colour, linewidth=0)
            )
        if i == chosen:
            box = (column - 0.25, line + 0.04)
            ax.add_patch(Rectangle(box, width + 0.5, 0.92, fill=False, edgecolor=FOCUS, linewidth=2.5))
        ax.text(column, line + 0.52, _cut(word.text, columns), family=_families(), **_FONT)  # type: ignore[arg-type]


@cache
def _families() -> list[str]:
    installed = {font.name for font in font_manager.fontManager.ttflist}
    return ["monospace", *(name for name in _OTHER_SCRIPTS if name in installed)]


def _runs_left(words: Sequence[Word]) -> bool:
    """Whether the first letter of a text is of a script that is written to the left."""
    ways = (unicodedata.bidirectional(c) for w in words for c in w.text)
    return next((way for way in ways if way in ("L", "R", "AL")), "L") != "L"


def _cut(text: str, columns: int) -> str:
    """A word that is longer than a line, cut to it."""
    if _cells(text) <= columns:
        return text
    while _cells(text) >= columns:
        text = text[:-1]
    return text + "…"


def _cells(text: str) -> int:
    """Columns of a fixed-width font that a text takes: wide characters two, accents none."""
    wide = {"W": 2, "F": 2}
    return sum(
        0
        if unicodedata.combining(c) or unicodedata.category(c) in ("Cf", "Mn")
        else wide.get(unicodedata.east_asian_width(c), 1)
        for c in text
    )
