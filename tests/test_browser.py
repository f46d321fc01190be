"""Exported pages in a real browser: what is drawn, what is asked for, and what does not run."""

from pathlib import Path

import nbformat
import numpy as np
import pytest
from matplotlib import colormaps
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

import ultra_kit as uk

pytestmark = pytest.mark.browser

LAYOUT = uk.Layout("image", n_prefix=1, grid=(3, 5), size=(60, 100))
HOSTILE = [
    "</script><script>window.pwned = 1</script>",
    '<img src=x onerror="window.pwned = 1">',
    "<!-- <script>",
    "line\u2028separator",
    "\u202eשלום\u202c",
    "long " + "x" * 10_000,
]


def maps_of(tokens):
    values = np.random.default_rng(1).random((len(tokens), 16), np.float32)
    image = np.random.default_rng(2).integers(0, 255, (60, 100, 3), np.uint8)
    return uk.ExplanationMaps(values, np.asarray(tokens), 2, LAYOUT, input=image, card={"labels": HOSTILE})


@pytest.fixture
def visit(browser):
    """Opens a file; afterwards nothing may have been asked of the network, and nothing have gone wrong."""
    context = browser.new_context(offline=True)
    page = context.new_page()
    page.set_default_timeout(120_000)  # a busy machine is slow, not wrong
    requests, problems = [], []
    page.on("request", lambda r: requests.append(r.url))
    page.on("pageerror", lambda e: problems.append(str(e)))
    page.on("console", lambda m: problems.append(m.text) if m.type in ("error", "warning") else None)

    def visit(path: Path):
        page.goto(path.as_uri())
        return page

    yield visit
    context.close()
    outside = [url for url in requests if not url.startswith(("file:", "data:", "blob:"))]
    assert outside == []
    assert len([url for url in requests if url.startswith("file:")]) == 1
    own = [text for text in problems if "willReadFrequently" in text]  # the test's own reading of a canvas
    assert [text for text in problems if text not in own] == []


def pixels(page):
    """RGB of every cell of the map's canvas."""
    data = page.evaluate(
        """() => { const c = document.querySelector(".uk-map");
        return [c.height, c.width, ...c.getContext("2d").getImageData(0, 0, c.width, c.height).data]; }"""
    )
    return np.array(data[2:], np.uint8).reshape(data[0], data[1], 4)[..., :3]


def expected(maps, row):
    values = maps.without_own[row]
    levels = np.floor(255 * values.astype(float) / values.max() + 0.5).astype(int)
    return (colormaps["magma"](np.arange(256), bytes=True)[levels][:, :3]).reshape(3, 5, 3)


def hover(page, patch, *, click=False):
    box = page.locator(".uk-picture").first.bounding_box()
    x, y = box["x"] + (patch % 5 + 0.5) * box["width"] / 5, box["y"] + (patch // 5 + 0.5) * box["height"] / 3
    page.mouse.move(x, y)
    if click:
        page.mouse.click(x, y)


def test_the_map_under_the_mouse_is_the_row_of_the_array(visit, tmp_path):
    maps = maps_of(np.arange(1, 16))
    page = visit(uk.export_html(maps, tmp_path / "maps.html"))
    for patch in (0, 4, 7, 14):
        hover(page, patch)
        page.wait_for_function(f"document.querySelector('[data-row]').dataset.row === '{patch}'")
        np.testing.assert_array_equal(pixels(page), expected(maps, patch))
        assert (
            f"Patch {patch}, row {patch // 5}, column {patch % 5}" in page.locator(".uk-caption").inner_text()
        )


def test_a_click_keeps_a_map_and_arrows_move_it(visit, tmp_path):
    maps = maps_of([3, 4, 9])  # patches 2, 3 and 8, which is below 3
    page = visit(uk.export_html(maps, tmp_path / "maps.html"))
    row = lambda: page.locator("[data-row]").get_attribute("data-row")  # noqa: E731
    assert row() == "1"
    hover(page, 2, click=True)
    assert row() == "0"
    hover(page, 14)  # not explained: nothing changes
    assert row() == "0"
    page.mouse.move(0, 0)
    assert row() == "0"
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    assert row() == "2"
    np.testing.assert_array_equal(pixels(page), expected(maps, 2))


@pytest.mark.parametrize("label", HOSTILE, ids=["script", "img", "comment", "separator", "rtl", "long"])
def test_hostile_labels_are_text(visit, tmp_path, label):
    layout = uk.Layout("text", n_prefix=0, tokens=("plain", label))
    maps = uk.ExplanationMaps(np.ones((2, 2), np.float32), np.arange(2), 1, layout, card={"note": label})
    page = visit(uk.export_html(maps, tmp_path / "x.html", title=label))
    assert page.evaluate("window.pwned") is None
    assert page.locator(".uk-text span").nth(1).evaluate("e => e.textContent") == label
    assert page.locator("h1").evaluate("e => e.textContent") == label
    assert page.locator("script, img").count() == 0


def test_the_check_for_hostile_labels_can_fail(browser, tmp_path):
    path = tmp_path / "naive.html"
    for label in HOSTILE[:2]:
        path.write_text(f"<body><p>{label}</p>")
        page = browser.new_page()
        page.goto(path.as_uri())
        page.wait_for_function("window.pwned === 1", timeout=5000)
        page.close()


def test_the_policy_stops_a_request(browser, tmp_path):
    from ultra_kit.pages import page as make_page

    path = tmp_path / "x.html"
    path.write_text(
        make_page(
            "<script>fetch('https://example.org').catch(() => { window.stopped = 1; });</script>", title="x"
        )
    )
    page = browser.new_page()
    violations = []
    page.on("console", lambda m: violations.append(m.text))
    page.goto(path.as_uri())
    page.wait_for_function("window.stopped === 1", timeout=5000)
    assert any("Content Security Policy" in text for text in violations)
    page.close()


def test_segments_and_figures_show(visit, tmp_path):
    page = visit(uk.export_html(uk.segment(maps_of(np.arange(1, 16))), tmp_path / "seg.html"))
    assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 100)")
    assert page.locator("table").count() == 2


def test_a_notebook_shows_formulae_plots_and_folded_answers(visit, tmp_path):
    text = "# Title $S_i$\n\n$$C^{(b)} = I + \\frac{1}{H} \\sum_h A_h$$\n\n<details><summary>Answer</summary>\n\nfolded\n\n</details>"
    plot = {"data": [{"z": [[1, 2], [3, 4]], "type": "heatmap"}], "layout": {"title": {"text": HOSTILE[0]}}}
    outputs = [new_output("display_data", {"application/vnd.plotly.v1+json": plot})]
    notebook = new_notebook(cells=[new_markdown_cell(text), new_code_cell("x", outputs=outputs)])
    nbformat.write(notebook, tmp_path / "nb.ipynb")
    page = visit(uk.export_html(tmp_path / "nb.ipynb", tmp_path / "nb.html"))
    page.wait_for_selector(".js-plotly-plot .main-svg")
    assert page.evaluate("window.pwned") is None
    fraction = page.locator("math mfrac").bounding_box()
    assert fraction["height"] > 15  # drawn as a fraction, not as "1H" on one line
    answer = page.get_by_text("folded")
    assert not answer.is_visible()
    page.get_by_text("Answer").click()
    assert answer.is_visible()
