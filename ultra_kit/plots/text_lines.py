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

# Width in inches of a column (a character of the texts' fixed-width font), and height of a line.
CELL, LINE = 0.602 * 13 / 72, 1.55 * 13 / 72
# Shades of words; black text is read on every one up to `DEEPEST`.
COLOURS, DEEPEST = mpl.colormaps["YlOrBr"], 0.62

_FONT = {"fontsize": 13, "parse_math": False, "va": "center"}
# Where characters are looked for that the fixed-width font has not.
_OTHER_SCRIPTS = (
    "DejaVu Sans, Noto Sans Mono CJK JP, Noto Sans CJK JP, Noto Emoji, WenQuanYi Zen Hei, Hiragino Sans, Yu Gothic, "
    "Microsoft YaHei, Arial Unicode MS"
)


def flow(words: Sequence[Word], text: str, columns: int) -> list[tuple[int, int, int]]:
    """Line, column and width in columns of each word of a text in lines of `columns`; its spaces are shown as one.

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
    chosen: Sequence[int] = (),
) -> None:
    """Write words at their places of `flow`, from the side on which their script begins, on an axes of so many cells.

    `shades` (words,) in [0, 1] says how deep each word is shaded, `chosen` which are framed.
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
        if i in chosen:
            box = (column - 0.25, line + 0.04)
            ax.add_patch(Rectangle(box, width + 0.5, 0.92, fill=False, edgecolor=FOCUS, linewidth=2.5))
        ax.text(column, line + 0.52, _cut(word.text, columns), family=_families(), **_FONT)  # type: ignore[arg-type]


@cache
def _families() -> list[str]:
    installed = set(font_manager.get_font_names())
    return ["monospace", *(name for name in _OTHER_SCRIPTS.split(", ") if name in installed)]


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
    shown = [c for c in text if not (unicodedata.combining(c) or unicodedata.category(c) in ("Cf", "Mn"))]
    return len(shown) + sum(unicodedata.east_asian_width(c) in ("W", "F") for c in shown)
