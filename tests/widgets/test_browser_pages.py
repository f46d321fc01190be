"""Pages by night, on paper and on a telephone."""

import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from test_browser import blocks_of, maps_of, written
from toys_embedding import beside, image_embedding, text_embedding
from toys_selection import CAP, MAPS
from toys_text import evidence_of

import ultra_kit as uk
from ultra_kit.widgets.summary_explorer import SummaryExplorer
from ultra_kit.widgets.tabs import Workbench

pytestmark = pytest.mark.browser

VIEWS = {
    "token": lambda: uk.widgets.TokenExplorer(maps_of(), maps_of(grid=(6, 10), seed=5)),
    "segment": lambda: uk.widgets.SegmentExplorer(uk.segment(blocks_of(), threshold=0.05)),
    "object": lambda: uk.widgets.ObjectSelector(CAP, maps=MAPS, prompts=["bar"]),
    "summary": lambda: SummaryExplorer(evidence_of()),
    "embedding": lambda: uk.widgets.EmbeddingExplorer(image_embedding()),
    "embedding beside another": lambda: uk.widgets.EmbeddingExplorer(
        image_embedding(), beside=beside(image_embedding())
    ),
    "embedding of texts": lambda: uk.widgets.EmbeddingExplorer(text_embedding()),
    "workbench": lambda: Workbench({"Tokens": VIEWS["token"](), "Segments": VIEWS["segment"]()}),
}


@pytest.fixture
def opened(browser):
    """Opens a file in a context of its own: a width, a scheme of colours."""
    contexts = []

    def opened(path, **how):
        contexts.append(browser.new_context(offline=True, **how))
        page = contexts[-1].new_page()
        page.goto(path.as_uri())
        page.wait_for_selector(".uk-title, iframe, [role=tab], .jp-Cell")
        return page

    yield opened
    for context in contexts:
        context.close()


def luminance(text):
    """Of a colour as the browser gives it, as WCAG 2 defines it."""
    rgb = np.array([float(v) for v in text[text.index("(") + 1 : -1].split(",")[:3]]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def ink_and_paper(page, selector):
    found = page.locator(selector).first.evaluate(
        "e => [getComputedStyle(e).color, getComputedStyle(e.closest('.uk-view')).backgroundColor]"
    )
    return tuple(map(luminance, found))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["token", "segment", "object", "summary", "embedding"])
def test_text_stands_out_by_day_and_by_night(opened, tmp_path, name, scheme):
    page = opened(written(VIEWS[name](), tmp_path / "x.html"), color_scheme=scheme)
    for selector in (".uk-title", ".uk-hint", ".uk-caption, .uk-sum-text", ".uk-note", ".uk-button:enabled"):
        low, high = sorted(ink_and_paper(page, selector))
        assert (high + 0.05) / (low + 0.05) > 6, selector
    assert (ink_and_paper(page, ".uk-title")[1] < 0.05) == (scheme == "dark")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_strongest_shade_of_a_summary_can_be_read_by_day_and_by_night(opened, tmp_path, scheme):
    page = opened(written(VIEWS["summary"](), tmp_path / "x.html"), color_scheme=scheme)
    spans = page.locator(".uk-sum-panel .uk-sum-word")
    both = spans.evaluate_all(
        "es => es.map((e) => [getComputedStyle(e).color, getComputedStyle(e).backgroundColor])"
    )
    shaded = [
        tuple(map(luminance, pair))
        for pair, e in zip(both, spans.all(), strict=True)
        if e.get_attribute("style")
    ]
    assert len(shaded) > 1
    for pair in shaded:
        assert (max(pair) + 0.05) / (min(pair) + 0.05) > 4.5
    strongest = max(shaded, key=lambda pair: abs(pair[1] - (0.01 if scheme == "dark" else 1)))
    assert (strongest[1] > strongest[0]) == (scheme == "light")


def test_the_tree_is_drawn_in_the_ink_of_the_theme_and_black_on_paper(opened, tmp_path):
    page = opened(written(VIEWS["segment"](), tmp_path / "x.html"), color_scheme="dark")
    darkest, brightest = (
        f"""() => {{ const c = document.querySelector(".uk-tree");
        const p = c.getContext("2d").getImageData(0, 0, 60, c.height).data; let found = {start};
        for (let i = 0; i < p.length; i += 4) if (p[i + 3] > 250) found = Math.{pick}(found, p[i]);
        return found; }}"""
        for pick, start in (("min", 255), ("max", 0))
    )
    assert page.evaluate(brightest) > 200, "the numbers at the axis are light by night"
    page.emulate_media(media="print", color_scheme="dark")
    page.wait_for_timeout(200)
    assert page.evaluate(darkest) < 60, "and dark on paper"


def test_the_tree_keeps_the_size_of_its_lines_when_the_page_is_made_wider_or_narrower(opened, tmp_path):
    page = opened(written(VIEWS["segment"](), tmp_path / "x.html"), viewport={"width": 400, "height": 800})
    for width in (400, 1280, 400):
        page.set_viewport_size({"width": width, "height": 800})
        page.wait_for_timeout(200)
        pixels, shown, inked = page.locator(".uk-tree").evaluate(
            """(c) => [c.width, c.clientWidth,
            c.getContext("2d").getImageData(0, 0, c.width, c.height).data.some((value) => value > 0)]"""
        )
        assert 1.1 < pixels / shown < 2.2, "numbers of 22 pixels are 10 to 20 high on the page"
        assert inked


@pytest.mark.parametrize(("theme", "night"), [("true", False), ("false", True)])
def test_a_frame_in_a_notebook_follows_the_theme_of_jupyterlab(opened, tmp_path, theme, night):
    stored = VIEWS["segment"]()._repr_mimebundle_()["text/html"]
    path = tmp_path / "cell.html"
    path.write_text(
        f'<!DOCTYPE html><meta charset="utf-8"><body data-jp-theme-light="{theme}">{stored}', "utf-8"
    )
    page = opened(path, color_scheme="light" if night else "dark")  # the reader's system says the other
    frame = page.frame_locator("iframe")
    frame.locator(".uk-title").wait_for()
    paper = frame.locator(".uk-view").evaluate("e => getComputedStyle(e).backgroundColor")
    assert (luminance(paper) < 0.05) == night


@pytest.mark.parametrize("name", VIEWS)
def test_nothing_lies_beside_a_page_of_400_pixels(opened, tmp_path, name):
    page = opened(written(VIEWS[name](), tmp_path / "x.html"), viewport={"width": 400, "height": 800})
    page.wait_for_timeout(200)
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    for control in page.locator(".uk-view button:visible, .uk-view input:visible, .uk-picture:visible").all():
        box = control.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 400


@pytest.mark.parametrize("width", [400, 1200])
def test_the_letters_of_a_figure_can_be_read_on_a_telephone_where_it_scrolls(browser, tmp_path, width):
    found = uk.diagnose(uk.capture(uk.load("scenes"), uk.data.scene(0).image), tokens=[30], layers=[3])
    path = uk.export_html(found, tmp_path / "x.html")
    page = browser.new_page(viewport={"width": width, "height": 800})
    page.goto(path.as_uri())
    high = (
        page.locator("img.uk-still").bounding_box()["width"] / uk.plots.show_diagnosis(found).get_figwidth()
    )
    assert high * 15 / 72 > 11, "a letter of 15 points"
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.emulate_media(media="print")
    assert page.locator("img.uk-still").bounding_box()["width"] <= width
    page.close()


def test_the_page_of_a_summary_keeps_the_paragraphs_of_its_document(browser, tmp_path):
    words = "The flood came at night.\n\n  The bridge broke.\nNobody was hurt."
    path = uk.export_html(uk.summarize(uk.load("briefs"), words, max_new_tokens=2), tmp_path / "x.html")
    page = browser.new_page()
    page.goto(path.as_uri())
    found = page.locator(".uk-text", has_text="bridge")
    assert found.evaluate("e => e.innerText") == words
    found.evaluate("e => { window.seen = document.createRange(); seen.selectNodeContents(e); }")
    lines = page.evaluate("new Set([...seen.getClientRects()].map((r) => Math.round(r.top))).size")
    assert lines >= 3, "each of them a line of its own"
    page.close()


def test_on_paper_pictures_are_whole_and_lists_are_not_cut(opened, tmp_path):
    page = opened(written(VIEWS["segment"](), tmp_path / "x.html"), color_scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    assert ink_and_paper(page, ".uk-title")[1] == 1, "white paper"
    for selector in (".uk-panel", ".uk-picture", ".uk-tree"):
        assert page.locator(selector).first.evaluate("e => getComputedStyle(e).breakInside") == "avoid"
    assert not page.locator(".uk-controls").first.is_visible()
    rows = page.locator(".uk-row").all()
    assert len(rows) > 12
    cut = page.locator(".uk-list").evaluate(
        "e => [e.scrollHeight - e.clientHeight, getComputedStyle(e).overflowY]"
    )
    assert cut == [0, "visible"]


def test_on_paper_a_notebook_shows_the_picture_in_place_of_the_frame(opened, tmp_path):
    path = tmp_path / "cell.html"
    stored = VIEWS["token"]()._repr_mimebundle_()["text/html"]
    path.write_text(f'<!DOCTYPE html><meta charset="utf-8">{stored}', "utf-8")
    page = opened(path)
    page.frame_locator("iframe").locator(".uk-title").wait_for()
    shown = lambda: [page.locator(f"body > div > {tag}").is_visible() for tag in ("img", "iframe")]  # noqa: E731
    assert shown() == [False, True]
    page.emulate_media(media="print")
    assert shown() == [True, False]


def test_on_paper_the_code_of_a_notebook_is_wrapped(opened, tmp_path):
    line = "found = " + " + ".join(f"number_{i}" for i in range(40))
    nbformat.write(new_notebook(cells=[new_code_cell(line)]), tmp_path / "nb.ipynb")
    uk.export_html(tmp_path / "nb.ipynb", tmp_path / "nb.html")
    page = opened(tmp_path / "nb.html", viewport={"width": 700, "height": 900})
    code = page.locator(".highlight pre")
    assert code.bounding_box()["height"] < 40, "on the screen it is one long line"
    page.emulate_media(media="print")
    assert code.bounding_box()["height"] > 60
    right = code.locator("span").last.bounding_box()
    assert right["x"] + right["width"] < 700
