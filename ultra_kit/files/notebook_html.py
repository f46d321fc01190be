"""An executed notebook as one HTML file: pictures and text as stored, formulae and Plotly offline."""

from __future__ import annotations

import html
import os
import re
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

import nbformat
from jinja2 import pass_context
from latex2mathml.converter import convert as to_mathml
from nbconvert.exporters import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

from ..types import UltraError
from ..widgets.inline_pictures import plotly_div
from ..widgets.page_host import CSP

_TERMS: dict[str, str] = tomllib.loads(files(__package__).joinpath("glossary.toml").read_text("utf-8"))
_TERM = re.compile(
    rf"\b(?:{'|'.join(sorted(map(re.escape, _TERMS), key=len, reverse=True))})s?\b"
)  # the longer first
_TAG = re.compile(r"(<[^>]+>)")
# Where a word stands for itself or a click has another meaning.
_PLAIN = re.compile(r"</?(?:code|pre|a|abbr|h[1-6]|math|summary|script|style)\b")
_PLOTLY = "application/vnd.plotly.v1+json"
# Code is looked for first, so that a dollar sign in it starts no formula.
_CODE_OR_MATH = re.compile(
    r"(?P<code>^(?P<fence>```+|~~~+).*?^(?P=fence)|(?P<tick>`+)(?!`).*?(?<!`)(?P=tick)(?!`))"
    r"|\$\$(?P<display>.+?)\$\$"
    r"|(?<![\\$\w])\$(?P<inline>[^\s$](?:[^$\n]*?[^\s$\\])?)\$(?![\w$])"
    r"|(?P<dollar>\\?\$)",
    re.DOTALL | re.MULTILINE,
)


def notebook_html(path: str | os.PathLike[str], *, title: str | None = None) -> str:
    """A complete page of a notebook with its stored outputs; its first heading is the window's title by default."""
    source = Path(path)
    try:
        notebook = nbformat.read(source, as_version=4)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, nbformat.ValidationError) as error:
        raise UltraError(f"cannot read {source} as a notebook: {error}") from None
    notebook.metadata.pop("widgets", None)
    notebook.metadata["title"] = title or _heading(notebook) or source.stem
    _make_outputs_static(notebook)
    template = files(__package__).joinpath("notebook_page.html").read_text("utf-8")
    resources = {"metadata": {"name": source.stem, "path": str(source.parent)}, "csp": CSP}
    body, _ = _OfflineExporter(raw_template=template).from_notebook_node(notebook, resources=resources)
    return body


def _heading(notebook: Any) -> str:
    """The first heading, as plain text."""
    for cell in notebook.cells:
        found = re.search(r"^#+ +(.+)$", cell.source, re.MULTILINE) if cell.cell_type == "markdown" else None
        if found:
            return re.sub(r"[*`$\\]", "", found[1]).strip()
    return ""


def _make_outputs_static(notebook: Any) -> None:
    """Drop live widgets and bare scripts; turn Plotly's JSON into HTML, with the library before the first."""
    has_library = False
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            for mime in ("application/vnd.jupyter.widget-view+json", "application/javascript"):
                data.pop(mime, None)
            figure = data.pop(_PLOTLY, None)
            if figure is not None:
                plot = {"data": figure.get("data", []), "layout": figure.get("layout", {})}
                data["text/html"] = plotly_div(plot, with_library=not has_library)
                has_library = True


class _Renderer(IPythonRenderer):
    """nbconvert's renderer, leaving HTML as written: parsing it in pieces would close a <details> at once."""

    def block_html(self, html: str) -> str:
        return html

    def inline_html(self, html: str) -> str:
        return html


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
            formulae.append(to_mathml(formula, display="block" if block else "inline"))
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
        text = explained(text, self._seen)
        in_tags = re.sub(r"<[^<>]*ukformula[^<>]*>", lambda m: re.sub(r"ukformula\d+x", "", m[0]), text)
        return re.sub(r"ukformula(\d+)x", lambda m: formulae[int(m[1])], in_tags)


def explained(text: str, seen: set[str]) -> str:
    """HTML in which each word of the glossary that is not in `seen` has its meaning under the pointer, once; they are added.

    >>> explained("<p>A map, a map and <code>layer</code></p>", set())
    '<p>A <abbr title="How much each piece of the input counts for one latent token: what that token was made from.">map</abbr>, a map and <code>layer</code></p>'
    """

    def meant(found: re.Match[str]) -> str:
        term = found[0] if found[0] in _TERMS else found[0][:-1]
        if term in seen:
            return found[0]
        seen.add(term)
        return f'<abbr title="{html.escape(_TERMS[term])}">{found[0]}</abbr>'

    plain, parts = 0, _TAG.split(text)
    for k, part in enumerate(parts):
        if k % 2:
            if _PLAIN.match(part):
                plain += -1 if part[1] == "/" else 1
        elif not plain:
            parts[k] = _TERM.sub(meant, part)
    return "".join(parts)
