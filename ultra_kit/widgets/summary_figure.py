"""The picture of a `SummaryExplorer`: the summary, and the document shaded, a panel per kind of evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..plots.style import styled
from ..plots.text_lines import CELL, COLOURS, DEEPEST, LINE, flow, write
from ..text.evidence_words import Evidence
from ..text.words import Word, split_words

_COLUMNS = 56  # characters in a line of the picture's texts
_LINES = 70  # lines of the picture, at most
_UNUSED = "#0072B2"

Flowed = tuple[list[Word], list[tuple[int, int, int]]]


@dataclass(frozen=True, eq=False)
class Panel:
    """A document under one kind of evidence: relevance (D,), None if it was not worked out, and unused sentences."""

    title: str
    row: np.ndarray | None
    unused: Sequence[int]


@styled
def draw_summary(ev: Evidence, chosen: Sequence[int], panels: Sequence[Panel], *, coverage: bool) -> Figure:
    """Draw the texts of evidence with the chosen summary words framed."""
    columns = _COLUMNS * len(panels)
    said, written = _flowed(ev.text, columns), _flowed(ev.document, _COLUMNS)
    across = (len(panels) * (_COLUMNS + 4) - 2) * CELL
    tops = [1 + places[-1][0] for _, places in (said, written)]
    height = sum(tops) * LINE + 1.75
    figure = Figure(figsize=(across, height))
    ax = figure.add_axes((0, 1 - (0.4 + tops[0] * LINE) / height, 1, tops[0] * LINE / height))
    write(ax, *said, columns + 4 * (len(panels) - 1) + 2, tops[0], None, chosen=chosen)
    note = "; blue line: document sentences that no summary word used" if coverage else ""
    cut = " (cut: no tokens were left)" if ev.cut else ""
    ax.set_title(f"Summary{cut}; framed: the chosen words{note}", loc="left")
    for k, panel in enumerate(panels):
        left, wide = k * (_COLUMNS + 4) * CELL / across, (_COLUMNS + 2) * CELL / across
        ax = figure.add_axes((left, 0.75 / height, wide, tops[1] * LINE / height))
        bar = figure.add_axes((left + 0.05 * wide, 0.45 / height, 0.6 * wide, 0.16 / height))
        _draw_document(ax, bar, written, tops[1], panel, ev.document_sentences)
    return figure


def _draw_document(
    ax: Axes, bar: Axes, flowed: Flowed, lines: int, panel: Panel, sentences: Sequence[tuple[int, int]]
) -> None:
    words, places = flowed
    top = 0.0 if panel.row is None else float(panel.row.max())
    depths = np.zeros(len(words)) if panel.row is None or top <= 0 else panel.row[: len(words)] / top
    write(ax, words, places, _COLUMNS + 2, lines, depths)
    for k in panel.unused:
        for line, column, width in places[slice(*sentences[k])]:
            ax.plot([column, column + width], [line + 0.97] * 2, color=_UNUSED, linewidth=2.5)
    title = panel.title + ("" if panel.row is not None else ": not worked out")
    ax.set_title(title[:_COLUMNS], loc="left", parse_math=False)
    bar.imshow(np.frombuffer(shades(), np.uint8).reshape(1, 256, 3), aspect="auto", extent=(0, 1, 0, 1))
    bar.set_yticks([])
    bar.set_xticks([0, 1], ["0", f"{top:.3g}"])
    bar.text(1.08, 0.5, "relevance (no unit)", va="center", transform=bar.transAxes)


def _flowed(text: str, columns: int) -> Flowed:
    """The words of a text, shortened to fit, and their places, as many as the picture has lines for."""
    words = [w if len(w.text) <= 30 else w._replace(text=w.text[:29] + "…") for w in split_words(text)]
    places = flow(words, text, columns)
    shown = sum(line < _LINES for line, _, _ in places)
    return words[:shown], places[:shown]


def shades() -> bytes:
    """The colours of the texts, 256 x RGB: white, then those of `ultra_kit.plots`, on which black is read."""
    table = COLOURS(np.linspace(0, DEEPEST, 256), bytes=True)[:, :3].copy()
    table[0] = 255
    return table.tobytes()
