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
import zlib
from collections.abc import Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from .inline_pictures import data_address

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
async function unpack(text, deflated) {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  if (!deflated) return new DataView(bytes.buffer);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new DataView(await new Response(stream).arrayBuffer());
}
"""

# A frame tells the page round it how high it is; it may do nothing else there.
_HEIGHT_JS = """<script>
new ResizeObserver(() => {
  parent.postMessage({ ukHeight: document.documentElement.offsetHeight }, "*");
}).observe(document.documentElement);
</script>"""


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


def page(fragment: str, *, title: str, heading: bool = True) -> str:
    """Put a fragment into a complete HTML document.

    Parameters
    ----------
    fragment : str
        HTML of the body; its text is escaped already.
    title : str
        Plain text; escaped here.
    heading : bool, default True
        Show the title above the fragment, not only in the window's bar.

    Returns
    -------
    str
        With the policy `CSP` right after ``<head>`` and the style sheets inside.

    Examples
    --------
    >>> "<title>a &lt; b</title>" in page("<p>hello</p>", title="a < b")
    True
    """
    style = _text("page.css") + _text("views.css")
    top = f"<h1>{html.escape(title)}</h1>\n" if heading else ""
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta http-equiv="Content-Security-Policy" content="{CSP}">'
        f'<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{style}</style></head>\n"
        f"<body>{top}{fragment}\n</body></html>\n"
    )


def framed(fragment: str, *, title: str, still: bytes, height: int) -> str:
    """Make the HTML that a notebook stores of a view: a picture, which a trusted notebook brings to life.

    The view runs in a sandboxed frame: it reaches neither the notebook round it nor the network.
    Where scripts do not run (an untrusted notebook), the picture stays.

    Parameters
    ----------
    fragment : str
        From `view`.
    title : str
        Plain text that names the view; escaped here.
    still : bytes
        PNG of the view.
    height : int
        Pixels of the frame until the view says how high it is.

    Returns
    -------
    str

    Examples
    --------
    >>> 'sandbox", "allow-scripts' in framed("<p>hello</p>", title="hello", still=b"", height=100)
    True
    """
    document = page(fragment + _HEIGHT_JS, title=title, heading=False)
    name = "uk" + uuid.uuid5(uuid.NAMESPACE_OID, document).hex[:12]  # the same view gives the same text
    return (
        f'<div id="{name}"><img alt="{html.escape(title)}" style="max-width:100%" '
        f'src="{data_address(still)}"></div>\n<script>(function () {{\n'
        f"""const host = [...document.querySelectorAll('[id="{name}"]')].find((h) => !h.dataset.live);\n"""
        "if (!host) return;\n"
        'host.dataset.live = "1";\n'
        'const frame = document.createElement("iframe");\n'
        'frame.setAttribute("sandbox", "allow-scripts allow-downloads");\n'
        f"frame.title = {script_json(title)};\n"
        f'frame.style.cssText = "width:100%;height:{int(height)}px;border:0;background:#fff";\n'
        f"frame.srcdoc = {script_json(document)};\n"
        'window.addEventListener("message", (event) => {\n'
        "  const high = event.source === frame.contentWindow && event.data && event.data.ukHeight;\n"
        '  if (typeof high === "number") frame.style.height = Math.min(high, 4000) + "px";\n'
        "});\nhost.replaceChildren(frame);\n})();</script>"
    )


def view(name: str, state: Mapping[str, Any], *, still: str = "") -> str:
    """Make the fragment of an interactive view: its script, its state, and a still for readers without scripts.

    Parameters
    ----------
    name : str
        Of a view, as for `view_script`.
    state : mapping
        The model's keys: JSON-able values, and ``bytes``, which arrive as a DataView (and travel
        deflated).
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
    >>> "makeModel" in view("token", {"sides": []})
    True
    """
    plain = {k: v for k, v in state.items() if not isinstance(v, bytes)}
    binary = {k: _pack(v) for k, v in state.items() if isinstance(v, bytes)}
    return (
        f"<style>{_own_style(name)}</style><div>{still}</div>\n<script>(async function () {{\n"
        f'"use strict";\nconst el = document.currentScript.previousElementSibling;{_MODEL_JS}'
        f"const state = {script_json(plain)};\n"
        f"for (const [key, packed] of Object.entries({script_json(binary)})) state[key] = await unpack(...packed);\n"
        f"el.replaceChildren();\n"
        f"const {{ render }} = (function () {{\n{_inline(view_script(name))}}})();\n"
        "render({ model: makeModel(state), el });\n})();</script>"
    )


def view_script(name: str) -> str:
    """The script of a view as one ES module: the helpers of ``common.js``, then the view's own files.

    Those are ``name_*.js``, in the order of their names, and ``name.js``.

    Parameters
    ----------
    name : str
        Of a file in ``widgets/`` without its ending, such as ``"token"``.

    Returns
    -------
    str
        Import-free, its last line ``export default { render };``.

    Examples
    --------
    >>> view_script("token").splitlines()[-1]
    'export default { render };'
    """
    own = sorted(f.name for f in files(__package__).iterdir() if re.fullmatch(rf"{name}_\w+\.js", f.name))
    return "\n".join(map(_text, ["common.js", *own, f"{name}.js"]))


def view_style(name: str) -> str:
    """The style sheet of a view: the common one, then the view's own if there is one.

    Parameters
    ----------
    name : str
        As for `view_script`.

    Returns
    -------
    str

    Examples
    --------
    >>> ".uk-view" in view_style("token")
    True
    """
    return _text("views.css") + _own_style(name)


def _own_style(name: str) -> str:
    return _text(f"{name}.css") if _file(f"{name}.css").is_file() else ""


def _file(name: str) -> Traversable:
    return files(__package__).joinpath(name)


def _text(name: str) -> str:
    return _file(name).read_text("utf-8")


def _pack(data: bytes) -> list[Any]:
    """Bytes as base64, and whether they were deflated first, which is done where it helps."""
    small = zlib.compress(data, 9)
    deflated = len(small) < len(data)
    return [base64.b64encode(small if deflated else data).decode(), deflated]


def _inline(source: str) -> str:
    """An ES module of ours as the body of a function."""
    body, ends = re.subn(r"(?m)^export default \{ render \};\s*\Z", "return { render };\n", source)
    if ends != 1 or re.search(r"(?m)^\s*(import|export)\b", body) or re.search(r"</script|<!--", body, re.I):
        raise ValueError(
            "a view must import nothing, hold no </script or <!--, and end with 'export default { render };'"
        )
    return body
