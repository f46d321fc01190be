"""`TokenExplorer` in a real browser: the last block at once, the whole map when it is there, values, marks, fingers."""

import re

import numpy as np
import pytest
from browser_pages import alive, answer
from test_browser import coloured, control, hover, maps_of, pixels, state, written

import ultra_kit as uk
from ultra_kit.widgets import token_books
from ultra_kit.widgets.map_books import Key

pytestmark = pytest.mark.browser

GRID = (12, 12)


@pytest.fixture(scope="module")
def cap():
    return uk.capture(uk.load("scenes"), uk.data.scene(0).image)


@pytest.fixture
def large(monkeypatch):
    """As with a model that is too large to be explained beforehand."""
    monkeypatch.setattr(token_books, "_MAX_ENTRIES", 0)


def row(view, token, layer, since):
    return view._sides[0].maps(Key(view.kind, layer, since=since), [token]).without_own[0]


def badge(page):
    return page.locator(".uk-badge").first.inner_text()


def test_under_the_pointer_is_the_last_block_until_the_whole_map_comes(
    visit, tmp_path, cap, large, monkeypatch
):
    monkeypatch.setattr(token_books, "_FILLED", 0)
    view = uk.widgets.TokenExplorer(cap)
    page = visit(alive(view, tmp_path / "t.html"))
    assert state(page)["since"] == "0" and badge(page) == "", "the token that is kept has its whole map"
    hover(page, 50, grid=GRID)
    assert state(page)["since"] == "4"
    np.testing.assert_array_equal(pixels(page), coloured(row(view, 54, 5, 4), GRID))
    assert badge(page) == "Last block alone; the whole map is on its way"
    assert "last block alone" in page.locator("figcaption").nth(1).inner_text()
    assert answer(page, view) == {"side": 0, "kind": view.kind, "layer": 5, "since": 0, "token": 54}
    np.testing.assert_array_equal(pixels(page), coloured(row(view, 54, 5, 0), GRID))
    assert state(page)["since"] == "0" and badge(page) == ""
    control(page, "Since layer").fill("2")
    assert answer(page, view)["since"] == 2  # of the patch pointed at, then of the one kept
    np.testing.assert_array_equal(pixels(page), coloured(row(view, 54, 5, 2), GRID))
    assert "since layer 2" in page.locator("figcaption").nth(1).inner_text()


def test_a_live_page_fills_in_one_question_at_a_time_until_it_is_stopped(visit, tmp_path, cap, large):
    view = uk.widgets.TokenExplorer(cap)
    page = visit(alive(view, tmp_path / "t.html"))
    line = page.locator(".uk-filling")
    assert "Whole maps of layer 5: 1 of 144 tokens" in line.inner_text()
    for there in (2, 3):
        assert answer(page, view) == {"side": 0, "kind": view.kind, "layer": 5, "since": 0}
        assert state(page)["there"] == str(there)
    assert re.search(r"3 of 144 tokens, about \d+ (s|min) left", line.inner_text())
    assert page.locator("progress").evaluate("e => [e.value, e.max]") == [3, 144]
    assert page.evaluate("window.sent.length") == 1
    hover(page, 99, grid=GRID)
    page.wait_for_timeout(300)
    assert page.evaluate("window.sent.length") == 1, (
        "the patch pointed at waits for the answer, and comes next"
    )
    answer(page, view)
    assert answer(page, view)["token"] == 103
    page.get_by_role("button", name="Stop").click()
    answer(page, view)
    page.wait_for_timeout(300)
    assert page.evaluate("window.sent.length") == 0, "stopped"
    page.get_by_role("button", name="Work out the rest").click()
    page.evaluate("listeners['msg:custom'].forEach((f) => f({ error: 'the kernel is out of memory' }, []))")
    page.wait_for_timeout(300)
    assert page.evaluate("window.sent.length") == 1, "an error ends it: it is not asked again"


def test_a_page_without_a_kernel_shows_how_the_kept_map_grows(visit, tmp_path, cap, large):
    view = uk.widgets.TokenExplorer(cap)
    view.layer, view.pinned = 4, 60
    page = visit(written(view, tmp_path / "t.html"))
    state(page)
    slider = control(page, "Since layer")
    assert slider.get_attribute("max") == "3"
    for since in (3, 2, 1, 0):
        slider.fill(str(since))
        np.testing.assert_array_equal(pixels(page), coloured(row(view, 60, 4, since), GRID))
        assert state(page)["since"] == str(since) and badge(page) == ""
    page.locator(".uk-pointed").focus()
    page.keyboard.press("]")
    assert state(page)["since"] == "1"
    hover(page, 100, grid=GRID)
    np.testing.assert_array_equal(pixels(page), coloured(row(view, 104, 4, 3), GRID))
    assert badge(page) == "Last block alone; the map since layer 1 of this token is not in this page"
    assert page.get_by_text("Not connected to Python").is_visible()
    page.keyboard.press("-")  # layer 3: since 1 is not here, nor for the token kept
    assert state(page)["layer"] == "3" and state(page)["since"] == "2"


def test_a_page_of_what_used_a_token_does_not_ask_what_it_was_made_from(visit, tmp_path):
    maps = maps_of()
    page = visit(written(uk.widgets.TokenExplorer(maps.used_by(5)), tmp_path / "used.html"))
    assert page.locator(".uk-title").first.inner_text() == "What used this token?"
    assert "made from the framed one" in page.locator(".uk-hint").first.inner_text()


def test_the_patch_kept_stays_marked_and_the_map_says_its_values(visit, tmp_path):
    maps = maps_of()
    page = visit(written(uk.widgets.TokenExplorer(maps), tmp_path / "maps.html"))
    hover(page, 7, click=True)
    assert not page.locator(".uk-kept").first.is_visible(), "one mark is enough where both are one patch"
    hover(page, 3)
    for mark, place in ((".uk-kept", (1, 2)), (".uk-marker:not(.uk-kept, .uk-probe)", (0, 3))):
        left, top = page.locator(mark).first.evaluate("e => [e.style.left, e.style.top].map(parseFloat)")
        assert (round(top * 3 / 100), round(left * 5 / 100)) == place
    reading = page.locator(".uk-reading")
    box = page.locator(".uk-picture").nth(1).bounding_box()
    page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + 0.5 * box["height"])  # row 1, column 4
    levels = np.floor(255 * maps.without_own[7].astype(float) / maps.without_own[7].max() + 0.5)
    value = levels[9] / 255 * maps.without_own[7].max()
    assert (
        reading.inner_text()
        == f"Row 1, column 4: {value:#.3g} = {round(100 * levels[9] / 255)}% of the largest"
    )
    assert page.locator(".uk-probe").first.is_visible()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.5 * box["height"])
    assert reading.inner_text() == "Row 1, column 2: the token's own place, left out"
    page.mouse.move(0, 0)
    assert not page.locator(".uk-probe").first.is_visible()


@pytest.mark.parametrize(("width", "scale"), [(400, 1), (600, 2)], ids=["400 px", "200 per cent"])
def test_a_finger_keeps_a_patch_and_reads_a_value_with_both_pictures_in_sight(
    browser, tmp_path, width, scale
):
    maps = maps_of()
    context = browser.new_context(
        viewport={"width": width, "height": 800}, device_scale_factor=scale, has_touch=True, offline=True
    )
    page = context.new_page()
    page.goto(written(uk.widgets.TokenExplorer(maps), tmp_path / "maps.html").as_uri())
    state(page)
    left, right = (page.locator(".uk-picture").nth(i).bounding_box() for i in (0, 1))
    assert left["x"] + left["width"] < right["x"] and abs(left["y"] - right["y"]) < 1, "side by side"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.touchscreen.tap(left["x"] + 0.5 * left["width"], left["y"] + 0.9 * left["height"])  # row 2, column 2
    assert state(page)["token"] == "13"
    np.testing.assert_array_equal(pixels(page), coloured(maps.without_own[12], (3, 5)))
    page.touchscreen.tap(right["x"] + 0.1 * right["width"], right["y"] + 0.1 * right["height"])
    assert page.locator(".uk-reading").inner_text().startswith("Row 0, column 0: ")
    context.close()


@pytest.mark.parametrize("several", [True, False])
def test_keys_that_do_nothing_are_not_listed(visit, tmp_path, several):
    maps = [maps_of(layer=3), maps_of(layer=3, since=1)] if several else maps_of(layer=3)
    page = visit(written(uk.widgets.TokenExplorer(maps), tmp_path / "t.html"))
    state(page)
    assert page.get_by_text("Since layer").is_visible() == several
    assert ("[ ] since" in page.locator(".uk-keys").inner_text()) == several
