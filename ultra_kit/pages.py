"""The frame of every exported page: one HTML document that asks for nothing from the network.

Text from data reaches a page only through `html.escape`, `script_json` or, in the views,
``textContent``; a content security policy in every page forbids the network besides.
"""

from __future__ import annotations

import base64
import html
import json
import re
import uuid
from collections.abc import Mapping
from importlib.resources import files
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

CSP = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; "
    "font-src data:; connect-src 'none'; form-action 'none'; base-uri 'none'"
)
"""Policy of every exported page: inline script and pictures, nothing from anywhere else."""

# The widget model of a page: what a view asks of its host, without a kernel behind it.
_MODEL_JS = """
function makeModel(state) {
  const listeners = {};
  return {
    get: (key) => state[key],
    set: (key, value) => {
      if (state[key] === value) return;
      state[key] = value;
      (listeners["change:" + key] || []).slice().forEach((listener) => listener());
    },
    on: (event, listener) => { (listeners[event] = listeners[event] || []).push(listener); },
    off: (event, listener) => { listeners[event] = (listeners[event] || []).filter((l) => l !== listener); },
    save_changes: () => {},
    send: () => {},
  };
}
function fromBase64(text) {
  const raw = atob(text);
  const view = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) view[i] = raw.charCodeAt(i);
  return new DataView(view.buffer);
}
"""


def script_json(value: Any) -> str:
    r"""JSON that is safe inside a ``<script>`` element: it cannot close the element.

    Parameters
    ----------
    value : JSON-able

    Returns
    -------
    str
        ASCII, with ``<``, ``>`` and ``&`` as escapes.

    Raises
    ------
    ValueError
        If a number is NaN or infinite.

    Examples
    --------
    >>> script_json("</script>")
    '"\\u003c/script\\u003e"'
    """
    text = json.dumps(value, ensure_ascii=True, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def page(fragment: str, *, title: str) -> str:
    """Put a fragment into a complete HTML document.

    Parameters
    ----------
    fragment : str
        HTML of the body; its text is escaped already.
    title : str
        Plain text; escaped here.

    Returns
    -------
    str
        With the policy `CSP` right after ``<head>`` and the style sheet inside.

    Examples
    --------
    >>> "<title>a &lt; b</title>" in page("<p>hello</p>", title="a < b")
    True
    """
    style = files(__package__).joinpath("widgets/page.css").read_text("utf-8")
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta http-equiv="Content-Security-Policy" content="{CSP}">'
        f'<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{style}</style></head>\n"
        f"<body><h1>{html.escape(title)}</h1>\n{fragment}\n</body></html>\n"
    )


def view(script: str, state: Mapping[str, Any], *, still: str = "") -> str:
    """Make the fragment of an interactive view: its script, its state, and a still for readers without scripts.

    Parameters
    ----------
    script : str
        Name of a file in ``widgets/``: import-free, its last line ``export default { render };``.
    state : mapping
        The model's keys: JSON-able values, and ``bytes``, which arrive as a DataView.
    still : str
        HTML shown where scripts do not run.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        If the script imports something or does not end as it must.

    Examples
    --------
    >>> "makeModel" in view("maps.js", {"grid": [2, 2]})
    True
    """
    plain = {k: v for k, v in state.items() if not isinstance(v, bytes)}
    binary = {k: base64.b64encode(v).decode() for k, v in state.items() if isinstance(v, bytes)}
    body = _inline(files(__package__).joinpath("widgets", script).read_text("utf-8"))
    name = "uk" + uuid.uuid5(uuid.NAMESPACE_OID, script + script_json([plain, binary])).hex[:12]
    return (
        f'<div id="{name}">{still}</div>\n<script>(function () {{\n"use strict";{_MODEL_JS}'
        f"const state = {script_json(plain)};\n"
        f"for (const [key, text] of Object.entries({script_json(binary)})) state[key] = fromBase64(text);\n"
        f'const el = document.getElementById("{name}");\nel.replaceChildren();\n'
        f"const {{ render }} = (function () {{\n{body}}})();\nrender({{ model: makeModel(state), el }});\n}})();</script>"
    )


def _inline(source: str) -> str:
    """An ES module of ours as the body of a function."""
    body, ends = re.subn(r"(?m)^export default \{ render \};\s*\Z", "return { render };\n", source)
    if ends != 1 or re.search(r"(?m)^\s*(import|export)\b", body) or re.search(r"</script|<!--", body, re.I):
        raise ValueError(
            "a view must import nothing, hold no </script or <!--, and end with 'export default { render };'"
        )
    return body


def png_bytes(image: np.ndarray) -> bytes:
    """An image as PNG.

    Parameters
    ----------
    image : ndarray of shape (H, W, 3), uint8

    Returns
    -------
    bytes

    Examples
    --------
    >>> import numpy as np
    >>> png_bytes(np.zeros((2, 2, 3), np.uint8))[1:4]
    b'PNG'
    """
    buffer = BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(buffer, "PNG")
    return buffer.getvalue()


def plotly_div(figure: Any, *, with_library: bool = True) -> str:
    """HTML of a Plotly figure that asks for nothing from the network.

    Parameters
    ----------
    figure : plotly.graph_objects.Figure or dict
    with_library : bool, default True
        Put plotly.js (about 5 MB) before it; once a page is enough.

    Returns
    -------
    str

    Examples
    --------
    >>> "plotly" in plotly_div({"data": []}, with_library=False).lower()
    True
    """
    from plotly import io

    return io.to_html(
        figure, include_plotlyjs=with_library, full_html=False, include_mathjax=False, validate=False
    )
