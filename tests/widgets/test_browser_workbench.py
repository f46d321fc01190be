"""`Workbench` in a real browser: tabs by mouse and keyboard, views that work in them, one file."""

import numpy as np
import pytest
from browser_pages import HOSTILE, expected_shades, summary_shades, summary_word, wait_for_summary
from toys_text import evidence_of

import ultra_kit as uk
from ultra_kit.widgets.segment_explorer import SegmentExplorer
from ultra_kit.widgets.summary_explorer import SummaryExplorer
from ultra_kit.widgets.tabs import Workbench
from ultra_kit.widgets.token_explorer import TokenExplorer

pytestmark = pytest.mark.browser

LAYOUT = uk.types.Layout("image", n_prefix=1, grid=(3, 5), size=(60, 100))


@pytest.fixture(scope="module")
def views():
    random = np.random.default_rng(1)
    image = random.integers(0, 255, (60, 100, 3), np.uint8)
    maps = uk.types.ExplanationMaps(
        random.random((15, 16), np.float32), np.arange(1, 16), 2, LAYOUT, input=image
    )
    text = SummaryExplorer(evidence_of())
    text.chosen = [1]
    return {"Tokens": TokenExplorer(maps), "Segments": SegmentExplorer(uk.segment(maps)), "Summary": text}


def shown(page):
    """The titles of the panels that are seen."""
    panels = page.locator(".uk-tab").all()
    return [panel.get_attribute("aria-label") for panel in panels if panel.is_visible()]


def wait_for_tab(page, number):
    page.wait_for_function(f"document.querySelector('[data-tab]').dataset.tab === '{number}'")


def test_tabs_show_one_view_each(visit, tmp_path, views):
    page = visit(uk.export_html(Workbench(views), tmp_path / "w.html"))
    wait_for_tab(page, 0)
    assert shown(page) == ["Tokens"]
    tabs = page.get_by_role("tab")
    assert tabs.all_inner_texts() == ["Tokens", "Segments", "Summary"]
    assert tabs.first.bounding_box()["y"] < page.locator(".uk-tab").first.bounding_box()["y"]
    tabs.nth(2).click()
    wait_for_tab(page, 2)
    assert shown(page) == ["Summary"]
    assert page.locator("[role=tab][aria-selected=true]").inner_text() == "Summary"
    page.keyboard.press("ArrowLeft")
    wait_for_tab(page, 1)
    assert shown(page) == ["Segments"]
    page.keyboard.press("End")
    page.keyboard.press("ArrowRight")  # there is no further one
    wait_for_tab(page, 2)
    page.keyboard.press("Home")
    wait_for_tab(page, 0)
    assert shown(page) == ["Tokens"]


def test_views_work_in_their_tabs(visit, tmp_path, views):
    bench = Workbench(views)
    bench.tab = 2
    page = visit(uk.export_html(bench, tmp_path / "w.html"))
    wait_for_tab(page, 2)
    summary_word(page, 3).hover()
    wait_for_summary(page, chosen="3")
    assert summary_shades(page) == expected_shades(evidence_of(), [3])
    page.get_by_role("tab", name="Tokens").click()
    wait_for_tab(page, 0)
    box = page.locator(".uk-tab").first.locator(".uk-picture").first.bounding_box()
    page.mouse.click(box["x"] + 0.9 * box["width"], box["y"] + 0.5 * box["height"])  # row 1, column 4
    page.wait_for_function("document.querySelector('[data-token]').dataset.token === '10'")
    page.get_by_role("tab", name="Summary").click()
    wait_for_summary(page, chosen="1")  # each view has a state of its own


@pytest.mark.parametrize("title", HOSTILE[:3], ids=["script", "img", "comment"])
def test_titles_are_text(visit, tmp_path, views, title):
    page = visit(uk.export_html(Workbench({title: views["Summary"]}), tmp_path / "w.html"))
    wait_for_tab(page, 0)
    assert page.evaluate("window.pwned") is None
    assert page.get_by_role("tab").evaluate("e => e.textContent") == title


def test_a_notebook_keeps_it_alive_in_a_frame(visit, tmp_path, views):
    stored = Workbench(views)._repr_mimebundle_()
    assert set(stored) == {"text/html", "image/png", "text/plain"}
    assert stored["text/plain"] == "Workbench(Tokens, Segments, Summary)"
    path = tmp_path / "cell.html"
    path.write_text(f"<!DOCTYPE html><meta charset='utf-8'>{stored['text/html']}", "utf-8")
    frame = visit(path).frame_locator("iframe")
    frame.get_by_role("tab", name="Segments").click()
    frame.locator("[data-tab='1']").wait_for(state="attached")
    assert frame.locator(".uk-tab").nth(1).is_visible() and not frame.locator(".uk-tab").nth(0).is_visible()


def test_without_scripts_every_view_has_its_picture(browser, tmp_path, views):
    path = uk.export_html(Workbench(views), tmp_path / "w.html")
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(path.as_uri())
    images = page.locator(".uk-tab img.uk-still").all()
    assert len(images) == 3 and all(image.is_visible() for image in images)
    context.close()
