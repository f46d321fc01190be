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

from ..images.segmentation import Segmentation
from ..types import ExplanationMaps
from ..types.whole_file import write_text

# Views and figures are imported where they are used: a program that only saves and opens results needs none.


def _fragments() -> dict[type, Callable[[Any], str]]:
    """What has a page, and the function that makes its HTML; a new result needs a line here."""
    from matplotlib.figure import Figure
    from plotly.basedatatypes import BaseFigure

    from ..widgets.inline_pictures import plotly_div
    from ..widgets.view import View

    return {
        ExplanationMaps: _maps_fragment,
        Segmentation: _segments_fragment,
        View: lambda view: view.fragment(),
        Figure: _figure_fragment,
        BaseFigure: plotly_div,
    }


def export_html(obj: Any, path: str | os.PathLike[str], *, title: str | None = None) -> Path:
    """Write a view, a result, a figure or a notebook as one HTML file that needs neither network nor kernel.

    Parameters
    ----------
    obj : ExplanationMaps, Segmentation, a view, matplotlib or Plotly figure, or path of a notebook
        A notebook is shown with its stored outputs: formulae become MathML, Plotly figures stay interactive, widget
        state is left out.
    path : str or path-like
        The file to write; folders are made.
    title : str, optional
        Heading and window title.

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
    from ..widgets.view import View

    if isinstance(obj, (str, os.PathLike)):
        from .notebook_html import notebook_html

        return write_text(path, notebook_html(obj, title=title))
    known = _fragments()
    make = next((make for kind, make in known.items() if isinstance(obj, kind)), None)
    if make is None:
        raise TypeError(
            f"export_html takes {', '.join(kind.__name__ for kind in known)} or the path of a notebook, "
            f"got {type(obj).__name__}"
        )
    # The state of a view changes under the reader's hands, so its heading names the view alone.
    said = type(obj).__name__ if isinstance(obj, View) else repr(obj).splitlines()[0][:200]
    return write_text(path, page(make(obj), title=title or said))


def _maps_fragment(maps: ExplanationMaps) -> str:
    from ..widgets.token_explorer import TokenExplorer

    facts = {"Method": maps.method, "Score": maps.score, "Rule": maps.rule, "Layer": maps.layer}
    rows = (f"<tr><th>{name}</th><td>{html.escape(str(value))}</td></tr>" for name, value in facts.items())
    body = _text_maps(maps) if maps.layout.grid is None else TokenExplorer(maps).fragment()
    return f"<table>{''.join(rows)}</table>{body}{_card(maps.card)}"


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


def _segments_fragment(seg: Segmentation) -> str:
    from ..widgets.segment_explorer import SegmentExplorer

    return SegmentExplorer(seg).fragment() + _card(seg.card)


def _figure_fragment(figure: Any) -> str:
    from ..widgets.inline_pictures import data_address

    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=150, bbox_inches="tight")
    return f'<img class="uk-still" alt="Figure" src="{data_address(buffer.getvalue())}">'


def _card(card: Mapping[str, Any]) -> str:
    text = json.dumps(dict(card), indent=1, default=str, ensure_ascii=False)
    return f"<details><summary>Provenance</summary><pre>{html.escape(text)}</pre></details>" if card else ""
