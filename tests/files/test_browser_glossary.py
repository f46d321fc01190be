"""Words of the glossary on the page of a notebook, in a real browser: under the pointer, by keys, on a telephone, in print."""

import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_markdown_cell, new_notebook
from PIL import Image

import ultra_kit as uk
from ultra_kit.files.notebook_html import _TERMS

pytestmark = pytest.mark.browser

TEXT = """# The thing

One **map** of a token and words and words and words and words and words and words and words and here a latent token that stands
somewhere in the line.

- chance, and last a patch
"""
SHOWN = ["map", "token", "latent token", "chance", "patch"]


@pytest.fixture
def page(visit, tmp_path):
    nbformat.write(new_notebook(cells=[new_markdown_cell(TEXT)]), tmp_path / "x.ipynb")
    page = visit(uk.export_html(tmp_path / "x.ipynb", tmp_path / "x.html"))
    assert page.locator("abbr").all_inner_texts() == SHOWN
    return page


def meaning(page, number):
    """What stands below a word: its text, or None while it is not shown."""
    return (
        page.locator("abbr")
        .nth(number)
        .evaluate(
            """e => { const style = getComputedStyle(e, "::after");
                  return style.display === "block" ? JSON.parse(style.content) : null; }"""
        )
    )


def seen(path):
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("by", ["pointer", "keys"])
def test_a_word_says_what_it_means(page, tmp_path, by, width):
    page.set_viewport_size({"width": width, "height": 600})
    page.mouse.move(0, 0)
    page.screenshot(path=tmp_path / "without.png")
    bare = seen(tmp_path / "without.png")
    for k, word in enumerate(SHOWN):
        assert meaning(page, k) is None
        if by == "pointer":
            box = page.locator("abbr").nth(k).bounding_box()
            page.mouse.move(box["x"] + 4, box["y"] + box["height"] / 2)
        else:
            page.keyboard.press("Tab")
            while page.evaluate("document.activeElement.tagName") != "ABBR":
                page.keyboard.press("Tab")  # links of the page itself
            box = page.locator("abbr").nth(k).bounding_box()
        assert meaning(page, k) == _TERMS[word]
        page.screenshot(path=tmp_path / "with.png")
        rows, columns = np.nonzero(abs(seen(tmp_path / "with.png") - bare).max(axis=2) > 8)
        below = rows > box["y"] + box["height"] + 2
        assert np.ptp(rows[below]) > 25 and np.ptp(columns[below]) > 150, "and it is seen, below its line"
        assert columns.max() < width - 5 and columns.min() > 5, "within the page"
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.keyboard.press("Tab")
    page.mouse.move(0, 0)
    assert [meaning(page, k) for k in range(len(SHOWN))] == [None] * len(SHOWN)


def test_in_print_the_meaning_stands_behind_the_word(page):
    page.emulate_media(media="print")
    after = page.locator("abbr").evaluate_all(
        """all => all.map((e) => { const { content, position, display } = getComputedStyle(e, "::after");
                                   return [JSON.parse(content), position, display]; })"""
    )
    assert after == [[f" ({_TERMS[word]})", "static", "inline"] for word in SHOWN]
