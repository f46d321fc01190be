"""The slides of a notebook: one at a time, by keys, without a network, views alive; nothing of a hostile notebook runs."""

import re
import runpy
import sys
from pathlib import Path

import nbformat
import pytest
from browser_pages import wait_until
from nbformat.v4 import new_markdown_cell, new_notebook, new_raw_cell
from test_hostile_notebooks import AWAY, HTML, RUN, shown
from toys_selection import MAPS

import ultra_kit as uk
from ultra_kit.files.notebook_html import notebook_html

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def slides(folder, *cells):
    """The slides of some cells, as a file."""
    nbformat.write(new_notebook(cells=list(cells)), folder / "nb.ipynb")
    (folder / "nb.html").write_text(notebook_html(folder / "nb.ipynb", slides=True), "utf-8")
    return folder / "nb.html"


def now(page):
    """The count, and the texts of the slides that are seen."""
    seen = [s.inner_text().split("\n")[0] for s in page.locator("main > section").all() if s.is_visible()]
    return page.locator(".uk-count").inner_text(), seen


def taught(folder):
    """Five slides: a heading, another in the same cell, a figure, what it says, an answer."""
    answer = shown(**{"text/plain": "42"})
    answer.metadata["tags"] = ["answer"]
    cells = [
        new_markdown_cell("# First\n\ntext\n\n## Second\n\nmore"),
        shown(**{"image/png": PIXEL}),
        new_markdown_cell("What it says.\n\n### A small heading cuts nothing"),
        shown(**{"text/plain": "a word stays with the text"}),
        answer,
    ]
    return slides(folder, *cells)


@pytest.mark.browser
def test_one_slide_at_a_time_by_keys_and_edges(visit, tmp_path):
    page = visit(taught(tmp_path))
    wait_until(page, "!!document.querySelector('.uk-now')")
    texts = [s.text_content() for s in page.locator("main > section").all()]
    for text, part in zip(texts, ("text", "more", "code", "small heading", "An answer"), strict=True):
        assert part in text
    assert "a word stays" in texts[3] and page.locator("main > section img").count() == 1
    assert now(page) == ("1 / 5", ["First"])
    steps = [
        ("ArrowRight", 2),
        (" ", 3),
        ("PageDown", 4),
        ("ArrowLeft", 3),
        ("PageUp", 2),
        ("Shift+ ", 1),
        ("ArrowLeft", 1),
        ("End", 5),
        ("ArrowRight", 5),
        ("Home", 1),
        ("Control+ArrowRight", 1),
    ]
    for key, slide in steps:
        page.keyboard.press(key)
        assert now(page) == (f"{slide} / 5", ["First" if slide == 1 else "Second"]), key
    page.mouse.click(page.viewport_size["width"] - 5, 300)
    assert now(page)[0] == "2 / 5"
    page.mouse.click(5, 300)
    assert now(page)[0] == "1 / 5"
    page.keyboard.press("Escape")
    assert len(now(page)[1]) == 5
    page.locator("main > section").nth(3).click()
    assert now(page) == ("4 / 5", ["Second"])
    page.keyboard.press("c")
    assert [d.evaluate("d => d.open") for d in page.locator(".uk-now details.uk-code").all()] == [True]
    page.emulate_media(media="print")
    assert len(now(page)[1]) == 5
    breaks = page.locator("main > section").evaluate_all(
        "all => all.map(s => getComputedStyle(s).breakAfter)"
    )
    assert breaks == ["page"] * 4 + ["auto"]


@pytest.mark.browser
def test_a_swipe_turns_the_slide(browser, tmp_path):
    context = browser.new_context(offline=True, has_touch=True)
    page = context.new_page()
    page.goto(taught(tmp_path).as_uri())
    swipe = """([from, to]) => ["touchstart", "touchend"].forEach((kind, i) => {
      const touch = new Touch({ identifier: 1, target: document.body, clientX: i ? to : from, clientY: 200 });
      document.body.dispatchEvent(new TouchEvent(kind, { bubbles: true, touches: i ? [] : [touch], changedTouches: [touch] })); })"""
    page.evaluate(swipe, [500, 200])
    assert now(page)[0] == "2 / 5"
    page.evaluate(swipe, [200, 230])  # a tap that trembles
    assert now(page)[0] == "2 / 5"
    page.evaluate(swipe, [200, 500])
    assert now(page)[0] == "1 / 5"
    context.close()


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_view_in_a_slide_reacts(browser, tmp_path, scheme):
    stored = uk.widgets.TokenExplorer(MAPS)._repr_mimebundle_()
    cells = [new_markdown_cell("# First"), shown(**{"text/html": stored["text/html"]})]
    context = browser.new_context(offline=True, color_scheme=scheme)
    page, asked = context.new_page(), []
    page.on("request", lambda r: asked.append(r.url))
    page.goto(slides(tmp_path, *cells).as_uri())
    page.keyboard.press("ArrowRight")
    frame = page.frame_locator(".uk-now iframe")
    pointed = frame.locator(".uk-pointed").first
    pointed.wait_for()
    page.wait_for_timeout(500)  # until the frame has its size
    rows, columns = MAPS.layout.grid
    for patch in (0, columns + 1):
        row, column = divmod(patch, columns)
        # Playwright leaves out that the slide magnifies the frame.
        x, y, w, h = pointed.evaluate(
            "e => (({ x, y, width, height }) => [x, y, width, height])(e.getBoundingClientRect())"
        )
        left, top, zoom = page.locator(".uk-now iframe").evaluate(
            "f => (({ x, y }) => [x, y, +f.style.zoom])(f.getBoundingClientRect())"
        )
        assert zoom > 1
        page.mouse.move(
            left + zoom * (x + (column + 0.5) * w / columns), top + zoom * (y + (row + 0.5) * h / rows)
        )
        frame.locator(f'[data-token="{patch + MAPS.layout.n_prefix}"]').first.wait_for(timeout=10_000)
    paper = frame.locator(".uk-view").evaluate("e => getComputedStyle(e).backgroundColor")
    assert (int(re.findall(r"\d+", paper)[0]) < 80) == (scheme == "dark")
    assert [u for u in asked if not u.startswith(("data:", "blob:", "about:"))] == [page.url.split("#")[0]]
    context.close()


@pytest.mark.browser
def test_what_is_long_is_made_smaller_then_scrolls(visit, tmp_path):
    cells = [new_markdown_cell(f"# {n} words\n\n" + "word " * n) for n in (20, 200, 5000)]
    page = visit(slides(tmp_path, *cells))
    wait_until(page, "!!document.querySelector('.uk-now')")
    sizes, tall = page.evaluate(
        """(() => { const all = [...document.querySelectorAll("main > section")];
          return [all.map((s) => +s.style.getPropertyValue("--uk-fit")), all.map((s) => s.scrollHeight > s.clientHeight + 1)]; })()"""
    )
    assert sizes[0] == 1 > sizes[1] > sizes[2] >= 0.5 and tall == [False, False, True]
    page.keyboard.press("End")
    page.keyboard.press("ArrowUp")  # scrolls, as it can
    assert now(page)[0] == "3 / 3"


@pytest.mark.browser
def test_nothing_of_a_hostile_notebook_runs(browser, tmp_path):
    names = "".join(
        f'<img name="{n}" src=x>' for n in ("body", "createElement", "querySelector", "addEventListener")
    )
    clobber = (
        f'<img id="main"><form id="uk-now"><input name="children"></form>{names}</div></div></section></main>'
    )
    cells = [new_markdown_cell(f"# text\n\n{html}") for html in (*HTML, clobber)]
    cells += [shown(**{"text/html": html}) for html in HTML]
    cells += [new_raw_cell(html, metadata={"raw_mimetype": "text/html"}) for html in HTML]
    cells.append(new_markdown_cell(f"[link](javascript:{RUN})\n\n# the end"))
    target = slides(tmp_path, *cells)
    page, asked, held_back = browser.new_page(), [], []
    try:
        page.add_init_script(
            "addEventListener('message', (e) => { if (e.data === 'pwned') window.pwned = 2; })"
        )
        page.on("request", lambda r: asked.append(r.url))
        page.on("requestfailed", lambda r: held_back.append(r.url) if r.failure == "csp" else None)
        page.goto(target.as_uri())
        wait_until(
            page,
            "() => Element.prototype.matches && !!Document.prototype.querySelector.call(document, '.uk-now')",
        )
        page.keyboard.press("End")
        page.wait_for_timeout(600)
        assert page.evaluate("window.pwned === undefined")
        assert page.url.split("#")[0] == target.as_uri()
        assert page.locator("main > section").last.inner_text().startswith("the end")
        assert page.locator("main > section").last.is_visible()
        own = target.as_uri()
        outside = [u for u in asked if not u.startswith(("data:", "blob:", "about:")) and u != own]
        assert sorted(outside) == sorted(held_back) and AWAY.split("/away")[0] not in "".join(
            set(outside) - set(held_back)
        )
    finally:
        page.close()


@pytest.mark.browser
def test_the_command_makes_small_files_of_the_stored_notebooks(visit, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["run.py", "--out", str(tmp_path / "slides"), "--slides"])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(NOTEBOOKS / "run.py"), run_name="__main__")
    assert end.value.code == 0
    made = sorted((tmp_path / "slides").iterdir())
    assert [p.stem for p in made] == [p.stem for p in sorted(NOTEBOOKS.glob("*.ipynb"))]
    assert max(p.stat().st_size for p in made) < 4_000_000
    page = visit(made[0])
    wait_until(page, "!!document.querySelector('.uk-now')")
    assert page.locator("main > section").count() > 10 and page.locator("main > section iframe").count() == 2
