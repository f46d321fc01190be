"""The page of a notebook that somebody sent: nothing of it runs, leads elsewhere, or reads files beside it."""

import base64
import os

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output, new_raw_cell
from PIL import Image

import ultra_kit as uk

RUN = "window.pwned = 1; (parent || window).postMessage('pwned', '*')"
AWAY = "http://127.0.0.1:9/away"
HTML = [
    f"<script>{RUN}</script>",
    f"<script nonce>{RUN}</script>",
    f"<SCRIPT type=module>{RUN}</SCRIPT>",
    f'<img src=x onerror="{RUN}">',
    f'<svg onload="{RUN}"><script>{RUN}</script></svg>',
    f'<details open ontoggle="{RUN}">x</details>',
    f'<iframe srcdoc="<script>{RUN}</script>"></iframe>',
    f'<iframe src="{AWAY}"></iframe>',
    f'<meta http-equiv="refresh" content="0;url={AWAY}">',
    f'<MeTa/http-equiv=refresh content="0;url={AWAY}">',
    f'<base href="{AWAY}">',
    f'<form action="{AWAY}"><input autofocus onfocus="{RUN}"></form><script>document.forms[0].submit()</script>',
    f'<object data="{AWAY}"></object><embed src="{AWAY}">',
    f'<link rel=stylesheet href="{AWAY}"><link rel=prefetch href="{AWAY}">',
    f'<style>@import "{AWAY}"; body {{ background: url({AWAY}) }}</style>',
    f"<script>location = '{AWAY}'</script>",
    f'<div id="uk000000000000"></div><script>(function () {{ {RUN} }})("uk000000000000", 1);</script>',
]


def notebook(folder, *cells):
    path = folder / "nb.ipynb"
    nbformat.write(new_notebook(cells=list(cells)), path)
    return path


def shown(**data):
    return new_code_cell("x", outputs=[new_output("display_data", data)])


@pytest.mark.browser
def test_nothing_runs_and_nothing_leads_elsewhere(browser, tmp_path):
    cells = [new_markdown_cell(f"text {html}") for html in HTML]
    cells += [shown(**{"text/html": html}) for html in HTML]
    cells += [shown(**{"text/markdown": html}) for html in HTML]
    cells += [
        shown(**{"image/svg+xml": f"<svg xmlns='http://www.w3.org/2000/svg'>{html}</svg>"}) for html in HTML
    ]
    cells += [new_raw_cell(html, metadata={"raw_mimetype": "text/html"}) for html in HTML]
    for mime in (
        "text/vnd.mermaid",
        "application/javascript",
        "text/javascript",
        "text/latex",
        "application/x",
    ):
        cells += [shown(**{mime: html}) for html in HTML]
    forged = "window.parent.pwned = 1; top.location = 'x'"
    cells.append(
        shown(
            **{
                "text/html": f'<script>(0)("uk000000000001", "t", 50, "<html><script>{forged}<\\/script></html>");</script>'
            }
        )
    )
    cells.append(new_markdown_cell(f"[link](javascript:{RUN})\n\n# the end"))
    target = uk.export_html(notebook(tmp_path, *cells), tmp_path / "a.html")
    page, asked, held_back, said = browser.new_page(), [], [], []
    try:
        page.add_init_script(
            "window.addEventListener('message', (e) => { if (e.data === 'pwned') window.pwned = 2; })"
        )
        page.on("request", lambda request: asked.append(request.url))
        page.on(
            "requestfailed",
            lambda request: held_back.append(request.url) if request.failure == "csp" else None,
        )
        page.on("dialog", lambda dialog: said.append(dialog.message))
        page.goto(target.as_uri())
        page.wait_for_timeout(600)
        assert page.evaluate("window.pwned === undefined")
        assert page.url == target.as_uri() and page.get_by_role("heading", name="the end").count() == 1
        outside = [
            u for u in asked if not u.startswith(("data:", "blob:", "about:")) and u != target.as_uri()
        ]
        assert sorted(outside) == sorted(held_back) and said == []  # the policy lets none of them out
    finally:
        page.close()


def test_only_pictures_of_the_notebooks_own_folder_are_embedded(tmp_path):
    folder = tmp_path / "nb"
    folder.mkdir()
    (folder / ".env").write_text("SECRET=hunter2")
    (folder / "fake.png").write_text("SECRET=hunter3")
    picture = Image.new("RGB", (3, 2), "red")
    for place in (tmp_path / "outside.png", folder / "inside.png"):
        picture.save(place)
    (folder / "deeper").mkdir()
    picture.save(folder / "deeper/too.png")
    os.symlink(tmp_path / "outside.png", folder / "link.png")
    os.symlink(tmp_path, folder / "up")
    names = (
        ".env",
        "fake.png",
        "../outside.png",
        "link.png",
        "up/outside.png",
        str(tmp_path / "outside.png"),
        "a\0b",
        "inside.png",
        "deeper/too.png",
    )
    cells = [new_markdown_cell(f"![p]({name})") for name in names]
    text = uk.export_html(notebook(folder, *cells), tmp_path / "a.html").read_text("utf-8")
    held = base64.b64encode((folder / "inside.png").read_bytes()).decode()
    assert text.count(f"data:image/png;base64,{held}") == 2
    for secret in ("SECRET=hunter2", "SECRET=hunter3"):
        assert base64.b64encode(secret.encode()).decode() not in text


@pytest.mark.parametrize(
    "text", [r"$\frac{$", "$_$", "$$\\begin{x$$", "![x](attachment:nope.png)", "$\\sqrt[$"]
)
def test_what_does_not_parse_is_text(text, tmp_path):
    page = uk.export_html(
        notebook(tmp_path, new_markdown_cell(f"before {text} after")), tmp_path / "a.html"
    ).read_text("utf-8")
    assert "before" in page and "after" in page
    if text.startswith("$"):
        assert text.replace("&", "&amp;") in page or "<math" in page


def _one_output(data):
    return (
        '{"nbformat": 4, "nbformat_minor": 4, "metadata": {}, "cells": [{"cell_type": "code", "metadata": {}, '
        '"source": "x", "execution_count": null, "outputs": [{"output_type": "display_data", "metadata": {}, '
        f'"data": {data}}}]}}]}}'
    )


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "3",
        '{"cells": 3}',
        '{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{}]}',
        *map(
            _one_output,
            (
                '{"text/html": "<script>(0)(\\"uk000000000001\\", {}, [2], 7);</script>"}',
                '{"application/vnd.plotly.v1+json": [1]}',
                '{"text/html": 7}',
            ),
        ),
        "[" * 10**5,
    ],
)
def test_what_is_no_notebook_is_named(content, tmp_path):
    (tmp_path / "n.ipynb").write_text(content)
    with pytest.raises(uk.UltraError, match=r"n\.ipynb"):
        uk.export_html(tmp_path / "n.ipynb", tmp_path / "a.html")
