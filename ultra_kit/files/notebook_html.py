"""An executed notebook as one HTML file: pictures and text as stored, formulae and Plotly offline."""

from __future__ import annotations

import html
import json
import os
import re
import tomllib
from base64 import b64encode
from contextlib import suppress
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

import nbformat
from jinja2 import pass_context
from latex2mathml.converter import convert as to_mathml
from nbconvert.exporters import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from PIL import Image

from ..models.open_image import FORMATS, regular_file
from ..types import UltraError
from ..types.provenance import sha256
from ..widgets.inline_pictures import plotly_div
from ..widgets.page_host import CSP, framed_script

_TERMS: dict[str, str] = tomllib.loads(files(__package__).joinpath("glossary.toml").read_text("utf-8"))
_TERM = re.compile(
    rf"\b(?:{'|'.join(sorted(map(re.escape, _TERMS), key=len, reverse=True))})s?\b"
)  # the longer first
_TAG = re.compile(r"(<[^>]+>)")
# Where a word stands for itself or a click has another meaning.
_PLAIN = re.compile(r"</?(?:code|pre|a|abbr|h[1-6]|math|summary|script|style)\b")
_PLOTLY = "application/vnd.plotly.v1+json"
# Kinds of outputs that reach the page; of each its text is made harmless here, or escaped by nbconvert.
_SHOWN = {
    *("text/html", "text/markdown", "text/latex", "text/plain", "image/svg+xml", "image/png", "image/jpeg")
}
_LEADS_AWAY = re.compile(
    r"<(?=/?(?:meta|base|form|iframe|frame|frameset|object|embed|link|portal)\b)", re.IGNORECASE
)
_VIEW = re.compile(r'<script>.*\((?P<arguments>"uk[0-9a-f]{12}", .*)\);</script>\s*$', re.DOTALL)
# Code is looked for first, so that a dollar sign in it starts no formula.
_CODE_OR_MATH = re.compile(
    r"(?P<code>^(?P<fence>```+|~~~+).*?^(?P=fence)|(?P<tick>`+)(?!`).*?(?<!`)(?P=tick)(?!`))"
    r"|\$\$(?P<display>.+?)\$\$"
    r"|(?<![\\$\w])\$(?P<inline>[^\s$](?:[^$\n]*?[^\s$\\])?)\$(?![\w$])"
    r"|(?P<dollar>\\?\$)",
    re.DOTALL | re.MULTILINE,
)


def notebook_html(path: str | os.PathLike[str], *, title: str | None = None, slides: bool = False) -> str:
    """A complete page of a notebook with its stored outputs; its first heading is the window's title by default.

    With `slides` the page shows itself cut into slides, at its larger headings and its figures.
    """
    source = Path(path)
    try:
        notebook = nbformat.read(source, as_version=4)
    except Exception as error:  # what is wrong in a notebook may be anything
        raise UltraError(f"cannot read {source} as a notebook: {error}") from None
    # No text of the notebook can hold its own hash: scripts without this mark are not ours and do not run.
    nonce = sha256([json.dumps(notebook, sort_keys=True, default=str)])[:24]
    template, cutter = (
        files(__package__).joinpath(f"notebook_{name}.html").read_text("utf-8") for name in ("page", "slides")
    )
    policy = CSP.replace("script-src 'unsafe-inline'", f"script-src 'nonce-{nonce}'")
    resources = {"metadata": {"name": source.stem, "path": str(source.parent)}, "csp": policy}
    if slides:
        resources["slides"] = cutter.replace("<script>", f'<script nonce="{nonce}">')
    try:
        notebook.metadata.pop("widgets", None)
        notebook.metadata["title"] = title or _heading(notebook) or source.stem
        _make_outputs_static(notebook, nonce)
        return _OfflineExporter(raw_template=template).from_notebook_node(notebook, resources=resources)[0]
    except Exception as error:  # a notebook of another kind may raise anything, also in its templates
        raise UltraError(f"cannot show {source} as a page: {error!r}") from None


def _heading(notebook: Any) -> str:
    """The first heading, as plain text."""
    for cell in notebook.cells:
        found = re.search(r"^#+ +(.+)$", cell.source, re.MULTILINE) if cell.cell_type == "markdown" else None
        if found:
            return re.sub(r"[*`$\\]", "", found[1]).strip()
    return ""


def _harmless(text: str) -> str:
    """HTML of a notebook without what leads elsewhere: as text. Its scripts are held back by the page's policy."""
    return _LEADS_AWAY.sub("&lt;", text)


def _revived(text: str, nonce: str) -> str:
    """HTML of an output, harmless, but for a stored view: that comes alive in its frame, which reaches nothing round it."""
    found = _VIEW.search(text)
    try:
        name, title, height, document = json.loads(f"[{found['arguments'] if found else ''}]")
    except ValueError:
        return _harmless(text)
    inside = framed_script(name, title, height, document.replace("<script", f'<script nonce="{nonce}"'))
    return _harmless(text[: text.index("<script")]) + inside.replace(
        "<script>", f'<script nonce="{nonce}">', 1
    )


def _make_outputs_static(notebook: Any, nonce: str) -> None:
    """Keep what a page shows, so no live widgets and scripts; turn Plotly's JSON into HTML, with the library before the first."""
    has_library = False
    for cell in notebook.cells:
        if cell.cell_type == "raw":
            cell.source = _harmless(cell.source)
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            figure = data.pop(_PLOTLY, None)
            for mime in data.keys() - _SHOWN:
                del data[mime]
            for mime, change in (("text/html", partial(_revived, nonce=nonce)), ("image/svg+xml", _harmless)):
                if mime in data:
                    data[mime] = change("".join(data[mime]))
            if figure is not None:
                plot = {"data": figure.get("data", []), "layout": figure.get("layout", {})}
                drawn = plotly_div(plot, with_library=not has_library)
                data["text/html"] = re.sub(r"<script\b(?= type|>)", f'<script nonce="{nonce}"', drawn)
                has_library = True


class _Renderer(IPythonRenderer):
    """nbconvert's renderer, leaving HTML as written: parsing it in pieces would close a <details> at once."""

    def block_html(self, html: str) -> str:
        return html

    def inline_html(self, html: str) -> str:
        return html

    def _embed_image_or_attachment(self, src: str) -> str:
        """An attached picture, or one that lies in the notebook's own folder, as data; else the address, which shows nothing."""
        if src.startswith("attachment:"):
            return super()._embed_image_or_attachment(src) if src[11:] in self.attachments else ""
        path, folder = Path(self.path, src), Path(self.path)
        with suppress(Exception):  # no file, no picture, or no path at all
            if path.resolve() == folder.resolve() / src and path.resolve().is_relative_to(folder.resolve()):
                with Image.open(regular_file(path), formats=FORMATS) as picture:
                    kind = picture.get_format_mimetype()
                return f"data:{kind};base64,{b64encode(path.read_bytes()).decode()}"
        return src


class _OfflineExporter(HTMLExporter):
    """nbconvert's exporter with formulae rendered to MathML, which browsers draw without a library.

    Each word of the glossary is explained under the pointer, where the notebook first uses it.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._seen: set[str] = set()

    @pass_context
    def markdown2html(self, context: Any, source: str) -> str:
        formulae: list[str] = []

        def hide(match: re.Match[str]) -> str:
            if match["code"]:
                return match[0]
            if match["dollar"]:
                return "&#36;"  # else nbconvert would look for a formula of its own from here on
            block = match["display"] is not None
            formula = match["display"] or match["inline"]
            try:
                formulae.append(to_mathml(formula, display="block" if block else "inline"))
            except Exception:  # whatever its parser stumbles over: the formula as it was written
                formulae.append(f"<code>{html.escape(match[0])}</code>")
            return f"ukformula{len(formulae) - 1}x"

        # Markdown would take the underscores and stars of a formula for its own.
        renderer = _Renderer(
            escape=False,
            attachments=context.get("cell", {}).get("attachments", {}),
            embed_images=True,
            path=context["resources"]["metadata"]["path"],
            anchor_link_text="",
            exclude_anchor_links=True,
        )
        text = MarkdownWithMath(renderer=renderer).render(_CODE_OR_MATH.sub(hide, source))
        text = explained(_harmless(text), self._seen)
        in_tags = re.sub(r"<[^<>]*ukformula[^<>]*>", lambda m: re.sub(r"ukformula\d+x", "", m[0]), text)
        return re.sub(r"ukformula(\d+)x", lambda m: formulae[int(m[1])], in_tags)


def explained(text: str, seen: set[str]) -> str:
    """HTML in which each word of the glossary that is not in `seen` has its meaning under the pointer, once; they are added.

    >>> explained("<p>A map, a map and <code>layer</code></p>", set())
    '<p>A <abbr data-means="How much each piece of the input counts for one latent token: what that token was made from." tabindex="0">map</abbr>, a map and <code>layer</code></p>'
    """

    def meant(found: re.Match[str]) -> str:
        term = found[0] if found[0] in _TERMS else found[0][:-1]
        if term in seen:
            return found[0]
        seen.add(term)
        return f'<abbr data-means="{html.escape(_TERMS[term])}" tabindex="0">{found[0]}</abbr>'

    plain, parts = 0, _TAG.split(text)
    for k, part in enumerate(parts):
        if k % 2:
            if _PLAIN.match(part):
                plain += -1 if part[1] == "/" else 1
        elif not plain:
            parts[k] = _TERM.sub(meant, part)
    return "".join(parts)
