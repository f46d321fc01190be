"""The page that hosts views: one HTML document that asks for nothing from the network, which its policy forbids too.

Text from data reaches it only through `html.escape`, `script_json` or, in the views, ``textContent``.
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
from typing import Any

from .inline_pictures import data_address

CSP = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; "
    "font-src data:; connect-src 'none'; form-action 'none'; base-uri 'none'"
)
"""Policy of every exported page: inline script and pictures, nothing from anywhere else."""


def script_json(value: Any) -> str:
    r"""JSON that is safe inside a ``<script>`` element, which it cannot close; a ValueError for NaN and infinity.

    >>> script_json("</script>")
    '"\\u003c/script\\u003e"'
    """
    text = json.dumps(value, ensure_ascii=True, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def page(fragment: str, *, title: str, heading: bool = True) -> str:
    """Put a fragment of HTML into a complete document; the title is escaped here, and shown above unless told not to."""
    style = _text("page.css") + _text("views.css")
    top = f"<h1>{html.escape(title)}</h1>\n" if heading else ""
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta http-equiv="Content-Security-Policy" content="{CSP}">'
        f'<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{style}</style></head>\n"
        f"<body>{top}{fragment}\n</body></html>\n"
    )


def framed(fragment: str, *, title: str, still: bytes, height: int) -> str:
    """What a notebook stores of a view: a PNG, brought to life in a frame of `height` pixels where scripts may run."""
    script = f"<script>{_text('page_height.js')}</script>"
    document = page(fragment + script, title=title, heading=False)
    name = "uk" + uuid.uuid5(uuid.NAMESPACE_OID, document).hex[:12]  # the same view gives the same text
    return (
        f'<div id="{name}"><img alt="{html.escape(title)}" style="max-width:100%" '
        f'src="{data_address(still)}"></div>\n{framed_script(name, title, height, document)}'
    )


def framed_script(name: str, title: str, height: int, document: str) -> str:
    """What puts a page into a frame of its own, in place of the picture that lies under a name."""
    arguments = ", ".join(map(script_json, (name, title, height, document)))
    return f"<script>{_text('page_frame.js').rstrip()}({arguments});</script>"


def view(name: str, state: Mapping[str, Any], *, still: str = "") -> str:
    """The fragment of a view: script, HTML for readers without scripts, and state: JSON-able, or bytes (a DataView)."""
    plain = {k: v for k, v in state.items() if not isinstance(v, bytes)}
    binary = {k: _pack(v) for k, v in state.items() if isinstance(v, bytes)}
    define = f"function () {{\n{_inline(view_script(name))}}}"
    arguments = f"{script_json(plain)}, {script_json(binary)}, {define}"
    return (
        f"<style>{_own_style(name)}</style><div>{still}</div>\n"
        f'<script>"use strict";\n{_text("page_model.js").rstrip()}({arguments});</script>'
    )


def view_script(name: str) -> str:
    """The script of a view as one ES module: ``common.js``, then ``name_*.js`` in order, then ``name.js``."""
    own = sorted(f.name for f in files(__package__).iterdir() if re.fullmatch(rf"{name}_\w+\.js", f.name))
    return "\n".join(map(_text, ["common.js", *own, f"{name}.js"]))


def view_style(name: str) -> str:
    """The style sheet of a view: the common one, then the view's own if there is one."""
    return _text("views.css") + _own_style(name)


def _own_style(name: str) -> str:
    return _text(f"{name}.css") if files(__package__).joinpath(f"{name}.css").is_file() else ""


def _text(name: str) -> str:
    return files(__package__).joinpath(name).read_text("utf-8")


def _pack(data: bytes) -> tuple[str, bool]:
    """Bytes as base64, and whether they were deflated first, which is done where it helps."""
    small = zlib.compress(data, 9)
    deflated = len(small) < len(data)
    return base64.b64encode(small if deflated else data).decode(), deflated


def _inline(source: str) -> str:
    """An ES module of ours as the body of a function."""
    body, ends = re.subn(r"(?m)^export default \{ render \};\s*\Z", "return { render };\n", source)
    if ends != 1 or re.search(r"(?m)^\s*(import|export)\b", body) or re.search(r"</script|<!--", body, re.I):
        raise ValueError(
            "a view must import nothing, hold no </script or <!--, and end with 'export default { render };'"
        )
    return body
