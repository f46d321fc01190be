"""Figures of evidence in texts; whatever a text holds is drawn as it stands, never as a formula."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..text.evidence_words import Evidence
from ..text.words import Word, split_words
from .style import panels, styled
from .text_lines import CELL, COLOURS, DEEPEST, LINE, flow, write


@styled
def show_evidence(ev: Evidence, word: int | None = None, *, columns: int = 58) -> Figure:
    """Draw the document with one summary word's evidence shaded, the summary beside it, and a colour bar.

    Parameters
    ----------
    ev : Evidence
    word : int, optional
        Index of an explained summary word, one of ``ev.rows``; by default the one with the strongest evidence.
    columns : int
        Characters in a line of the document.

    Examples
    --------
    >>> import ultra_kit as uk
    >>> s = uk.summarize(uk.load("briefs", pretrained=False), "A flood struck Tiza.", summary="The flood.")
    >>> show_evidence(uk.evidence(s, layer=4), 1).axes[0].get_title()
    'where “flood” comes from (layer 4)'
    """
    word = int(ev.rows[ev.matrix.max(1).argmax()]) if word is None else word
    row = ev.row(word)
    document, summary = split_words(ev.document), split_words(ev.text)
    narrow = max(22, columns // 2)
    left, right = flow(document, ev.document, columns), flow(summary, ev.text, narrow)
    lines = 1 + max(at[-1][0] if at else 0 for at in (left, right))
    width, height = (columns + narrow + 10) * CELL, lines * LINE + 0.9
    figure = plt.figure(figsize=(width, height))
    plt.close(figure)

    def part(start: float, across: float) -> Axes:
        """Axes over all lines, from a column on."""
        box = (start * CELL / width, 0.25 / height, across * CELL / width, lines * LINE / height)
        return figure.add_axes(box)

    first, second = part(2, columns), part(columns + 5, narrow)
    top = float(row.max()) or 1.0
    write(first, document, left, columns, lines, row / top)
    write(second, summary, right, narrow, lines, None, chosen=[word])
    first.set_title(f"where “{ev.words[word]}” comes from (layer {ev.layer})", parse_math=False)
    second.set_title("summary")
    shades = mpl.colors.ListedColormap(COLOURS(np.linspace(0, DEEPEST, 128)))
    scale = mpl.cm.ScalarMappable(mpl.colors.Normalize(0, top), shades)
    figure.colorbar(scale, cax=part(columns + 6 + narrow, 0.8))
    return figure


@styled
def layer_words(evidences: Sequence[Evidence], word: int, *, n: int = 24) -> Figure:
    """Draw one summary word's evidence: a row per layer, scaled to its own largest value, a column per document word.

    Parameters
    ----------
    evidences : sequence of Evidence
        At least one, all of one summary.
    word : int
        Index of an explained summary word.
    n : int
        The document words that are strongest in any layer, in the order of the document.
    """
    if not evidences or len({(e.document, e.text) for e in evidences}) > 1:
        raise ValueError("evidences must be at least one, all of the same summary")
    rows = np.stack([e.row(word) for e in evidences])
    rows = _divided(rows, rows.max(1, keepdims=True))
    shown = np.sort(np.argsort(-rows.max(0), kind="stable")[:n])
    words = [evidences[0].document_words[i] for i in shown]
    layers = [f"layer {e.layer}" for e in evidences]
    said = (
        f"where “{evidences[0].words[word]}” comes from, layer by layer (each row's largest value is darkest)"
    )
    figure, [[ax]] = panels(1, 1, panel=(2.4 + 0.42 * len(shown), 1.9 + 0.42 * len(rows)))
    _matrix(ax, rows[:, shown], words, layers, said)
    return figure


@styled
def sentence_matrix(ev: Evidence) -> Figure:
    """Draw how much each summary sentence takes from each document sentence; every row sums to 1.

    Parameters
    ----------
    ev : Evidence
    """
    mass = _divided(ev.sentence_matrix, ev.sentence_matrix.sum(1, keepdims=True))
    document, summary = split_words(ev.document), split_words(ev.text)
    columns = [_shortened(document, ev.document, bounds) for bounds in ev.document_sentences]
    rows = [_shortened(summary, ev.text, bounds) for bounds in ev.sentences]
    figure, [[ax]] = panels(1, 1, panel=(4.6 + 0.6 * len(columns), 3.4 + 0.55 * len(rows)))
    _matrix(ax, mass, columns, rows, "per cent of each summary sentence, by document sentence")
    for (i, j), share in np.ndenumerate(mass):
        colour = "white" if share > 0.6 * mass.max() else "black"
        ax.text(j, i, f"{100 * share:.0f}", ha="center", va="center", color=colour)
    return figure


def _divided(rows: np.ndarray, by: np.ndarray) -> np.ndarray:
    """Rows divided by one number each; 0 where that is 0."""
    return np.divide(rows, by, out=np.zeros_like(rows), where=by > 0)


def _matrix(ax: Axes, values: np.ndarray, columns: list[str], rows: list[str], title: str) -> None:
    ax.imshow(values, cmap="YlOrBr", vmin=0, vmax=max(float(values.max()), 1e-12), aspect="auto")
    ax.set_xticks(range(len(columns)), columns, rotation=60, ha="right", parse_math=False)
    ax.set_yticks(range(len(rows)), rows, parse_math=False)
    ax.set_title(title, parse_math=False)


def _shortened(words: Sequence[Word], text: str, bounds: tuple[int, int]) -> str:
    """A sentence, given by its first word and the one after its last, in at most 30 characters."""
    said = " ".join(text[words[bounds[0]].start : words[bounds[1] - 1].end].split())
    return said if len(said) <= 30 else said[:29] + "…"
