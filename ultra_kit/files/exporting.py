"""Views, results, figures and notebooks as one HTML file each: no network, no kernel, still interactive.

`export_html` picks the *fragment* (HTML of one result) and puts `ultra_kit.widgets.page_host.page` round it. A new
result needs a function that returns a fragment, and a line in `_FRAGMENTS`.
"""

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
from ..widgets.inline_pictures import data_address, plotly_div
from ..widgets.page_host import page
from ..widgets.segment_explorer import SegmentExplorer
from ..widgets.token_explorer import TokenExplorer
from ..widgets.view import View


def export_html(obj: Any, path: str | os.PathLike[str], *, title: str | None = None) -> Path:
    """Write a view, a result, a figure or a notebook as one HTML file that needs neither network nor kernel.

    Parameters
    ----------
    obj : ExplanationMaps, Segmentation, a view, matplotlib or Plotly figure, or path of a notebook
        A notebook is shown with its stored outputs: formulae become MathML, Plotly figures stay
        interactive (their library is put into the file once), widget state is left out.
    path : str or path-like
        The file to write; folders are made.
    title : str, optional
        Heading and window title.

    Returns
    -------
    pathlib.Path
        Where it lies.

    Raises
    ------
    TypeError
        If there is no page for such an object.
    UltraError
        If the notebook cannot be read or the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> import ultra_kit as uk
    >>> layout = uk.types.Layout("text", n_prefix=0, tokens=("a", "<b>"))
    >>> maps = uk.types.ExplanationMaps(np.eye(2, dtype="float32"), np.arange(2), 0, layout, input="a<b>")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     "&lt;b&gt;" in uk.export_html(maps, f"{folder}/maps.html").read_text("utf-8")
    True
    """
    if isinstance(obj, (str, os.PathLike)):
        from .notebook_html import notebook_html

        text = notebook_html(obj, title=title)
    else:
        make = next((make for known, make in _FRAGMENTS.items() if _is(obj, known)), None)
        if make is None:
            raise TypeError(
                f"export_html takes {', '.join(name.rpartition('.')[2] for name in _FRAGMENTS)} or the path of a "
                f"notebook, got {type(obj).__name__}"
            )
        text = page(make(obj), title=title or _title(obj))
    return write_text(path, text)


def _title(obj: Any) -> str:
    # The state of a view changes under the reader's hands, so its heading names the view alone.
    return type(obj).__name__ if isinstance(obj, View) else repr(obj).splitlines()[0][:200]


def _is(obj: Any, name: str) -> bool:
    """Whether an object's class, or one above it, has a name; spares importing the plot libraries."""
    return any(f"{base.__module__}.{base.__qualname__}" == name for base in type(obj).__mro__)


def _facts(rows: Mapping[str, Any]) -> str:
    cells = (f"<tr><th>{html.escape(k)}</th><td>{html.escape(str(v))}</td></tr>" for k, v in rows.items())
    return f"<table>{''.join(cells)}</table>"


def _card(card: Mapping[str, Any]) -> str:
    text = json.dumps(dict(card), indent=1, default=str, ensure_ascii=False)
    return f"<details><summary>Provenance</summary><pre>{html.escape(text)}</pre></details>" if card else ""


def _maps_fragment(maps: ExplanationMaps) -> str:
    facts = {"Method": maps.method, "Score": maps.score, "Rule": maps.rule, "Layer": maps.layer}
    body = _text_maps(maps) if maps.layout.grid is None else TokenExplorer(maps).fragment()
    return _facts(facts) + body + _card(maps.card)


def _text_maps(maps: ExplanationMaps) -> str:
    """Each token's text, shaded by its map."""
    import matplotlib

    lut, names = (
        matplotlib.colormaps["Oranges"](np.arange(256), bytes=True)[:, :3],
        (maps.layout.tokens or ())[maps.layout.n_prefix :],
    )
    lines = []
    for token, row in zip(maps.tokens, maps.without_own, strict=True):
        levels = np.round(150 * row / max(row.max(), 1e-30)).astype(
            int
        )  # up to 150: black text stays readable
        spans = (
            f'<span style="background:rgb({",".join(map(str, lut[level]))})">{html.escape(name)}</span>'
            for name, level in zip(names, levels, strict=True)
        )
        own = (maps.layout.tokens or ())[token]
        lines.append(f'<h2>Token {token}: {html.escape(own)}</h2><p class="uk-text">{" ".join(spans)}</p>')
    return "".join(lines)


def _segments_fragment(seg: Segmentation) -> str:
    return SegmentExplorer(seg).fragment() + _card(seg.card)


def _matplotlib_fragment(figure: Any) -> str:
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=150, bbox_inches="tight")
    return f'<img class="uk-still" alt="Figure" src="{data_address(buffer.getvalue())}">'


def _view_fragment(view: View) -> str:
    return view.fragment()


_FRAGMENTS: dict[str, Callable[[Any], str]] = {
    "ultra_kit.types.objects.ExplanationMaps": _maps_fragment,
    "ultra_kit.images.segmentation.Segmentation": _segments_fragment,
    "ultra_kit.widgets.view.View": _view_fragment,
    "matplotlib.figure.Figure": _matplotlib_fragment,
    "plotly.basedatatypes.BaseFigure": plotly_div,
}
