"""Views, results, figures and notebooks as one HTML file each: no network, no kernel, still interactive."""

from __future__ import annotations

import html
import json
import os
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from ..atlas import Embedding, Names, Similar
from ..images.segmentation import Segmentation
from ..images.selection import Selection
from ..text.evidence_words import Evidence
from ..text.summarizing import Summary
from ..types import ExplanationMaps
from ..types.whole_file import write_text
from .page_titles import title_of

# Views and figures are imported where they are used: a program that only saves and opens results needs none.


def _pages() -> dict[type, Callable[[Any], str]]:
    """What has a page, and the function that makes its HTML; a new result needs a line here, and one in `page_titles`."""
    from matplotlib.figure import Figure
    from plotly.basedatatypes import BaseFigure

    from ..plots import (
        perturbation_curves,
        show_diagnosis,
        show_intervention,
        show_names,
        show_selection,
        show_similar,
    )
    from ..runs import Diagnosis, Evaluation, Intervention, Perturbation
    from ..widgets.embedding_explorer import EmbeddingExplorer
    from ..widgets.inline_pictures import plotly_div
    from ..widgets.summary_explorer import SummaryExplorer
    from ..widgets.view import View

    return {
        ExplanationMaps: _maps,
        Segmentation: _segments,
        Selection: lambda sel: _figure(show_selection(sel)) + _said({"Code": sel.code}) + _card(sel.card),
        Names: lambda names: _figure(show_names(names)) + _wide(names.table.to_html()) + _card(names.card),
        Similar: lambda near: (
            (
                _figure(show_similar(near)) if near.inputs[0].picture is not None else ""
            )  # words are in the table
            + _wide(near.table.to_html())
            + _card(near.card)
        ),
        Evidence: lambda ev: SummaryExplorer(ev).fragment() + _card(ev.card),
        Summary: _summary,
        Embedding: lambda emb: EmbeddingExplorer(emb).fragment() + _card(emb.card),
        Evaluation: lambda found: _wide(found._repr_html_() + found.ranked().to_html()) + _card(found.card),
        Perturbation: lambda p: _figure(perturbation_curves({"ULTra": p})) + _wide(p.table.to_html()),
        Intervention: lambda found: _figure(show_intervention(found)) + _wide(found._repr_html_()),
        Diagnosis: lambda found: _figure(show_diagnosis(found)) + _wide(found._repr_html_()),
        View: lambda view: view.fragment(),
        Figure: _figure,
        BaseFigure: plotly_div,
    }


def export_html(obj: Any, path: str | os.PathLike[str], *, title: str | None = None) -> Path:
    """Write a view, a result, a figure or a notebook as one HTML file that needs neither network nor kernel.

    Parameters
    ----------
    obj : any result, a view, matplotlib or Plotly figure, or path of a notebook
        Maps, segments, evidence and embeddings become views, other results a picture, a table or a text, each with
        its provenance.
        A notebook is shown with its stored outputs: formulae become MathML, Plotly figures stay interactive, widget
        state is left out.
    path : str or path-like
        The file to write; folders are made.
    title : str, optional
        Heading and window title; by default it says what is shown.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    TypeError, UltraError
        If there is no page for such an object; the notebook cannot be read or the file not be written.

    Examples
    --------
    >>> import tempfile
    >>> import ultra_kit as uk
    >>> maps = uk.explain(uk.capture(uk.load("scenes"), uk.data.scene(0).image), tokens=[20, 30])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     "Provenance" in uk.export_html(maps, f"{folder}/maps.html").read_text("utf-8")
    True
    """
    from ..widgets.page_host import page

    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"export_html(result, path): the path comes second, got {type(path).__name__} there")
    if isinstance(obj, (str, os.PathLike)):
        from .notebook_html import notebook_html

        return write_text(path, notebook_html(obj, title=title))
    known = _pages()
    found = next((kind for kind in known if isinstance(obj, kind)), None)
    if found is None:
        raise TypeError(
            f"export_html takes {', '.join(kind.__name__ for kind in known)} or the path of a notebook, "
            f"got {type(obj).__name__}"
        )
    return write_text(path, page(known[found](obj), title=title or title_of(found.__name__, obj)))


def _maps(maps: ExplanationMaps) -> str:
    from ..plots import token_grid
    from ..widgets.token_explorer import TokenExplorer

    if maps.layout.grid is None:
        body = _text_maps(maps)
    else:  # a view shows single tokens
        body = TokenExplorer(maps).fragment() if maps.groups is None else _figure(token_grid(maps))
    said = {"Method": maps.method, "Score": maps.score, "Rule": maps.rule, "Layer": maps.layer}
    return _said(said) + body + _card(maps.card)


def _text_maps(maps: ExplanationMaps) -> str:
    """Each token's text, shaded by its map."""
    from matplotlib import colormaps

    table = colormaps["Oranges"](np.arange(256), bytes=True)[:, :3]
    tokens = maps.layout.tokens or ()
    lines = []
    for token, row in zip(maps.tokens, maps.without_own, strict=True):
        # Up to 150: black text stays readable.
        levels = np.round(150 * row / max(row.max(), 1e-30)).astype(int)
        spans = (
            f'<span style="background:rgb({",".join(map(str, colour))})">{html.escape(name)}</span>'
            for name, colour in zip(tokens[maps.layout.n_prefix :], table[levels], strict=True)
        )
        heading = f"<h2>Token {token}: {html.escape(tokens[token])}</h2>"
        lines.append(f'{heading}<p class="uk-text">{" ".join(spans)}</p>')
    return "".join(lines)


def _segments(seg: Segmentation) -> str:
    from ..widgets.segment_explorer import SegmentExplorer

    return SegmentExplorer(seg).fragment() + _card(seg.card)


def _summary(s: Summary) -> str:
    texts = {f"Summary, by the {s.written_by}": s.text, "Document": s.document}
    parts = (f'<h2>{name}</h2><p class="uk-text">{html.escape(text)}</p>' for name, text in texts.items())
    return "".join(parts) + _card(s.capture.card)


def _wide(text: str) -> str:
    return f'<div style="overflow-x:auto">{text}</div>'


def _said(facts: Mapping[str, Any]) -> str:
    return f"<p>{' · '.join(f'<b>{name}</b> {html.escape(str(value))}' for name, value in facts.items())}</p>"


def _figure(figure: Any) -> str:
    from ..widgets.inline_pictures import data_address

    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=150, bbox_inches="tight")
    address, least = data_address(buffer.getvalue()), 53 * figure.get_figwidth()  # letters of 11 pixels
    return _wide(f'<img class="uk-still" alt="Figure" style="--uk-least: {least:.0f}px" src="{address}">')


def _card(card: Mapping[str, Any]) -> str:
    text = json.dumps(dict(card), indent=1, default=str, ensure_ascii=False)
    return f"<details><summary>Provenance</summary><pre>{html.escape(text)}</pre></details>" if card else ""
