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
    """Draw the document with one summary word's evidence shaded, and the summary beside it.

    Parameters
    ----------
    ev : Evidence
    word : int, optional
        Index of a summary word, one of ``ev.rows``; by default the one with the strongest evidence.
    columns : int, default 58
        Characters in a line of the document.

    Returns
    -------
    matplotlib.figure.Figure
        The document's axes, the summary's, and that of the colour bar.

    Raises
    ------
    ValueError
        If the word was not explained.

    Examples
    --------
    >>> import ultra_kit as uk
    >>> s = uk.summarize(uk.load("briefs", pretrained=False), "A flood struck Tiza.", summary="The flood.")
    >>> figure = show_evidence(uk.evidence(s), 1)
    >>> figure.axes[1].get_title()
    'summary'
    """
    word = int(ev.rows[ev.matrix.max(1).argmax()]) if word is None else word
    row = ev.row(word)
    document, summary = split_words(ev.document), split_words(ev.text)
    narrow = max(22, columns // 2)
    left, right = flow(document, ev.document, columns), flow(summary, ev.text, narrow)
    lines = 1 + max(at[-1][0] if at else 0 for at in (left, right))
    width, height = (columns + narrow + 10) * CELL, lines * LINE + 0.9
    figure = plt.figure(figsize=(width, height))
    try:
        x, y, tall = 2 * CELL / width, 0.25 / height, lines * LINE / height
        first = figure.add_axes((x, y, columns * CELL / width, tall))
        second = figure.add_axes(((columns + 5) * CELL / width, y, narrow * CELL / width, tall))
        top = float(row.max()) or 1.0
        write(first, document, left, columns, lines, row / top)
        write(second, summary, right, narrow, lines, None, chosen=word)
        first.set_title(f"where “{ev.words[word]}” comes from (layer {ev.layer})", parse_math=False)
        second.set_title("summary")
        shades = mpl.cm.ScalarMappable(
            mpl.colors.Normalize(0, top),
            mpl.colors.ListedColormap(COLOURS(np.linspace(0, DEEPEST, 128))),
        )
        edge = (columns + 6 + narrow) * CELL / width
        figure.colorbar(shades, cax=figure.add_axes((edge, y, 0.8 * CELL / width, tall)))
    finally:
        plt.close(figure)
    return figure


@styled
def layer_words(evidences: Sequence[Evidence], word: int, *, n: int = 24) -> Figure:
    """Draw one summary word's evidence layer by layer: a row a layer, a column a document word.

    Parameters
    ----------
    evidences : sequence of Evidence
        Of one summary at several layers.
    word : int
        Index of the summary word.
    n : int, default 24
        The document words that are strongest in any layer, in the order of the document. Each row is
        scaled to its own largest value.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If there is no evidence, or it is of several summaries.

    Examples
    --------
    >>> import ultra_kit as uk
    >>> s = uk.summarize(uk.load("briefs", pretrained=False), "A flood struck Tiza.", summary="The flood.")
    >>> figure = layer_words([uk.evidence(s, layer=k) for k in (1, 2)], 1)
    >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
    ['layer 1', 'layer 2']
    """
    if not evidences or len({(e.document, e.text) for e in evidences}) > 1:
        raise ValueError("evidences must be at least one, all of the same summary")
    rows = np.stack([e.row(word) for e in evidences])
    tops = rows.max(1, keepdims=True)
    rows = np.divide(rows, tops, out=np.zeros_like(rows), where=tops > 0)
    shown = np.sort(np.argsort(-rows.max(0), kind="stable")[:n])
    words = [evidences[0].document_words[i] for i in shown]
    with panels(1, 1, panel=(2.4 + 0.42 * len(shown), 1.9 + 0.42 * len(rows))) as (figure, axes):
        ax = axes[0, 0]
        _matrix(
            ax,
            rows[:, shown],
            words,
            [f"layer {e.layer}" for e in evidences],
            f"where “{evidences[0].words[word]}” comes from, layer by layer (each row's largest value is darkest)",
        )
    return figure


@styled
def sentence_matrix(ev: Evidence) -> Figure:
    """Draw how much each summary sentence takes from each document sentence; every row sums to 1.

    Parameters
    ----------
    ev : Evidence

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> import ultra_kit as uk
    >>> s = uk.summarize(uk.load("briefs", pretrained=False), "A flood struck. It left.", summary="The flood.")
    >>> sentence_matrix(uk.evidence(s)).axes[0].images[0].get_array().shape
    (1, 2)
    """
    mass = ev.sentence_matrix
    total = mass.sum(1, keepdims=True)
    mass = np.divide(mass, total, out=np.zeros_like(mass), where=total > 0)
    document, summary = split_words(ev.document), split_words(ev.text)
    columns = [_shortened(document, ev.document, bounds) for bounds in ev.document_sentences]
    rows = [_shortened(summary, ev.text, bounds) for bounds in ev.sentences]
    with panels(1, 1, panel=(4.6 + 0.6 * len(columns), 3.4 + 0.55 * len(rows))) as (figure, axes):
        _matrix(axes[0, 0], mass, columns, rows, "per cent of each summary sentence, by document sentence")
        for (i, j), share in np.ndenumerate(mass):
            deep = share > 0.6 * mass.max()
            axes[0, 0].text(
                j, i, f"{100 * share:.0f}", ha="center", va="center", color="white" if deep else "black"
            )
    return figure


def _matrix(ax: Axes, values: np.ndarray, columns: list[str], rows: list[str], title: str) -> None:
    ax.imshow(values, cmap="YlOrBr", vmin=0, vmax=max(float(values.max()), 1e-12), aspect="auto")
    ax.set_xticks(range(len(columns)), columns, rotation=60, ha="right", parse_math=False)
    ax.set_yticks(range(len(rows)), rows, parse_math=False)
    ax.set_title(title, parse_math=False)


def _shortened(words: Sequence[Word], text: str, bounds: tuple[int, int], longest: int = 30) -> str:
    said = " ".join(text[words[bounds[0]].start : words[bounds[1] - 1].end].split())
    return said if len(said) <= longest else said[: longest - 1] + "…"
