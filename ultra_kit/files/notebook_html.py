"""An executed notebook as one HTML file: pictures and text as stored, formulae and Plotly offline."""

from __future__ import annotations

import os
import re
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
    """nbconvert's exporter with formulae rendered to MathML, which browsers draw without a library."""

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
        in_tags = re.sub(r"<[^<>]*ukformula[^<>]*>", lambda m: re.sub(r"ukformula\d+x", "", m[0]), text)
        return re.sub(r"ukformula(\d+)x", lambda m: formulae[int(m[1])], in_tags)
