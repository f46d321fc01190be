"""`ObjectSelector` in a real browser: clicks, a box, the slider and the keyboard give Python's mask."""

import json

import numpy as np
import pytest
from browser_pages import HOSTILE
from toys_selection import CAP, LAYOUT, MAPS, PARTS

import ultra_kit as uk
from ultra_kit.types import ExplanationMaps

pytestmark = pytest.mark.browser


def blurred_maps(levels=None):
    """Maps that are not all or nothing: near patches of the same part count more.

    `levels` rounds them as they travel: to 1/levels of the square root of each one's largest.
    """
    y, x = np.divmod(np.arange(24), 6)
    near = np.exp(-((y[:, None] - y) ** 2 + (x[:, None] - x) ** 2) / 6)
    label = PARTS.ravel()
    values = np.zeros((24, 25), np.float32)
    values[:, 1:] = near * ((label[:, None] == label) + 0.3) * (1 - np.eye(24))
    if levels:
        largest = values.max(axis=1, keepdims=True)
        values = np.rint(levels * np.sqrt(values / largest)).astype(np.float32) ** 2
    return ExplanationMaps(values, LAYOUT.content, 1, LAYOUT, input=CAP.input, card=MAPS.card)


@pytest.fixture
def view():
    """Its maps are round already, so the page and Python work on the same numbers."""
    return uk.widgets.ObjectSelector(CAP, maps=blurred_maps(255), prompts=["bar", "object"])


@pytest.fixture
def page(visit, view, tmp_path):
    page = visit(uk.export_html(view, tmp_path / "view.html"))
    page.locator("[data-picks]").wait_for(state="attached")
    return page


def picks(page):
    return json.loads(page.locator("[data-picks]").get_attribute("data-picks"))


def wait_for(page, wanted=(), unwanted=(), box=(), prompt=""):
    text = json.dumps(
        [list(map(list, wanted)), list(map(list, unwanted)), list(box), prompt],
        separators=(",", ":"),
        ensure_ascii=False,
    )
    page.wait_for_function("t => document.querySelector('[data-picks]').dataset.picks === t", arg=text)


def place(page, x, y):
    """Screen position of a point of the image, which is 48 x 32."""
    box = page.locator(".uk-pointed").bounding_box()
    return box["x"] + x / 48 * box["width"], box["y"] + y / 32 * box["height"]


def alpha_free(page):
    """The mask as drawn: what is not under the veil."""
    data = page.evaluate(
        """() => { const c = document.querySelector(".uk-mask");
        return [c.height, c.width, ...c.getContext("2d").getImageData(0, 0, c.width, c.height).data]; }"""
    )
    return np.array(data[2:], np.uint8).reshape(data[0], data[1], 4)[..., 3] != 175


def check(page, view):
    """The page's mask and line of code are those of Python for the page's own picks."""
    view.wanted, view.unwanted, view.box, view.prompt = picks(page)
    view.threshold = float(page.locator("[data-threshold]").get_attribute("data-threshold"))
    sel = view.selection
    doubtful = abs(sel.relevance - sel.threshold) < 1e-4  # what the solvers' last digits may turn
    drawn = alpha_free(page)
    assert doubtful.mean() < 0.01 and 0 < sel.share < 1
    np.testing.assert_array_equal(drawn | doubtful, sel.mask | doubtful)
    assert page.locator(".uk-code").inner_text() == sel.code
    return sel


def test_a_click_selects_and_another_rules_out(page, view):
    page.mouse.click(*place(page, 13, 20))
    page.wait_for_function("JSON.parse(document.querySelector('[data-picks]').dataset.picks)[0].length === 1")
    (x, y) = picks(page)[0][0]
    assert abs(x - 13) < 0.3 and abs(y - 20) < 0.3
    first = check(page, view)
    assert first.mask[20, 13]
    page.keyboard.down("Shift")
    page.mouse.click(*place(page, 20, 4))
    page.keyboard.up("Shift")
    page.wait_for_function("JSON.parse(document.querySelector('[data-picks]').dataset.picks)[1].length === 1")
    assert not check(page, view).mask[4, 20]


def test_a_point_beside_the_mask_and_a_point_far_off(page, view):
    for number, at in enumerate([(13, 20), (24.5, 3), (36, 20)], 1):
        page.mouse.click(*place(page, *at))
        page.wait_for_function(
            f"JSON.parse(document.querySelector('[data-picks]').dataset.picks)[0].length === {number}"
        )
        if number < 3:
            check(page, view)
    page.keyboard.down("Shift")
    page.mouse.click(*place(page, 3, 16))
    page.keyboard.up("Shift")
    page.wait_for_function("JSON.parse(document.querySelector('[data-picks]').dataset.picks)[1].length === 1")
    assert len(check(page, view).tokens) == 2  # the second point lies beside what the first had selected


@pytest.mark.parametrize(("levels", "apart"), [(255, 1), (None, 3)], ids=["round maps", "any maps"])
def test_the_relevance_is_that_of_python(visit, tmp_path, levels, apart):
    view = uk.widgets.ObjectSelector(CAP, maps=blurred_maps(levels))
    page = visit(uk.export_html(view, tmp_path / "view.html"))
    page.locator("[data-picks]").wait_for(state="attached")
    page.mouse.click(*place(page, 13, 20))
    page.wait_for_function("JSON.parse(document.querySelector('[data-picks]').dataset.picks)[0].length === 1")
    view.wanted = picks(page)[0]
    data = page.evaluate(
        """() => { const c = document.querySelector(".uk-relevance");
        return [...c.getContext("2d").getImageData(0, 0, c.width, c.height).data]; }"""
    )
    drawn = np.array(data, np.int64).reshape(32, 48, 4)[..., :3]
    lut = np.frombuffer(view.data()["lut"], np.uint8).reshape(256, 3).astype(np.int64)
    level = np.abs(drawn[:, :, None] - lut).sum(-1).argmin(-1)
    assert np.abs(level - 255 * view.selection.relevance).max() < apart


def test_a_drag_draws_a_box(page, view):
    page.mouse.move(*place(page, 1, 1))
    page.mouse.down()
    page.mouse.move(*place(page, 15, 15), steps=3)
    page.mouse.move(*place(page, 31, 31))
    page.mouse.up()
    page.wait_for_function("JSON.parse(document.querySelector('[data-picks]').dataset.picks)[2].length === 4")
    assert np.abs(np.array(picks(page)[2]) - [1, 1, 31, 31]).max() < 0.3
    check(page, view)


def test_the_slider_moves_the_cut(page, view):
    page.mouse.click(*place(page, 13, 20))
    page.wait_for_function("JSON.parse(document.querySelector('[data-picks]').dataset.picks)[0].length === 1")
    before = check(page, view).share
    page.locator("input[type=range]").fill("0.8")
    page.wait_for_function("document.querySelector('[data-threshold]').dataset.threshold === '0.8'")
    assert check(page, view).share < before


def test_keys_point_rule_out_undo_and_start_again(page, view):
    page.locator(".uk-pointed").focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")  # the cross starts at patch (2, 3) and is now on (1, 2)
    wait_for(page, wanted=[(20, 12)])
    check(page, view)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("x")
    wait_for(page, wanted=[(20, 12)], unwanted=[(28, 12)])
    check(page, view)
    page.keyboard.press("u")
    wait_for(page, wanted=[(20, 12)])
    page.keyboard.press("r")
    wait_for(page)
    assert page.locator(".uk-code").inner_text() == ""
    page.keyboard.press("u")
    wait_for(page, wanted=[(20, 12)])


def test_a_prompt_that_was_prepared(page, view):
    page.locator("select").nth(1).select_option("bar")
    wait_for(page, prompt="bar")
    sel = check(page, view)
    assert sel.mask[16, 36] and not sel.mask[16, 12]


@pytest.mark.parametrize("prompt", HOSTILE, ids=["script", "img", "comment", "separator", "rtl", "long"])
def test_hostile_prompts_are_text(visit, tmp_path, view, prompt):
    view._prompts = {prompt: 3}
    page = visit(uk.export_html(view, tmp_path / "view.html"))
    page.locator("select").nth(1).select_option(index=1)
    wait_for(page, prompt=prompt)
    assert page.evaluate("window.pwned") is None
    assert prompt[:6] in page.locator(".uk-code").evaluate("e => e.textContent") or not prompt.isascii()


def caption(page):
    return page.locator(".uk-caption").inner_text()


def drag(page, start, end):
    page.mouse.move(*place(page, *start))
    page.mouse.down()
    page.mouse.move(*place(page, *end), steps=3)
    page.mouse.up()


def test_a_double_click_adds_one_point(page):
    page.mouse.dblclick(*place(page, 13, 20))
    page.wait_for_timeout(100)
    assert len(picks(page)[0]) == 1
    page.mouse.dblclick(*place(page, 16, 20))  # another place
    page.wait_for_timeout(100)
    assert len(picks(page)[0]) == 2


def test_the_later_word_on_a_place_holds(page, view):
    page.mouse.click(*place(page, 13, 20))
    page.mouse.click(*place(page, 36, 20))
    page.wait_for_function("JSON.parse(document.querySelector('[data-picks]').dataset.picks)[0].length === 2")
    page.keyboard.down("Shift")
    page.mouse.click(*place(page, 36, 20))
    page.keyboard.up("Shift")
    page.wait_for_function("JSON.parse(document.querySelector('[data-picks]').dataset.picks)[1].length === 1")
    assert len(picks(page)[0]) == 1
    assert not check(page, view).mask[20, 36]


def test_a_box_round_the_whole_image_selects_it(page, view):
    view.box = [0, 0, 48, 32]
    page.mouse.move(*place(page, 0.05, 0.05))
    page.mouse.down()
    page.mouse.move(*place(page, 47.9, 31.9), steps=3)
    page.mouse.up()
    page.wait_for_function("JSON.parse(document.querySelector('[data-picks]').dataset.picks)[2].length === 4")
    assert alpha_free(page).all() and view.selection.mask.all()


def test_points_outside_a_later_box_are_pale_and_said_to_have_no_effect(page, view):
    page.mouse.click(*place(page, 13, 20))
    page.mouse.click(*place(page, 40, 28))
    page.keyboard.down("Shift")
    page.mouse.click(*place(page, 45, 2))
    page.keyboard.up("Shift")
    drag(page, (1, 1), (31, 31))
    page.wait_for_function("JSON.parse(document.querySelector('[data-picks]').dataset.picks)[2].length === 4")
    pale = [
        (float(mark.evaluate("e => getComputedStyle(e).opacity")) < 0.6)
        for mark in page.locator(".uk-mark").all()
    ]
    assert pale == [False, True, True]
    assert "2 points outside the box have no effect" in caption(page)
    check(page, view)
    before = view.selection.mask
    view.wanted, view.unwanted = view.wanted[:1], []
    np.testing.assert_array_equal(view.selection.mask, before, "what the page says is so")


def test_an_empty_selection_says_why(page):
    drag(page, (1, 1), (15, 15))
    page.wait_for_function("JSON.parse(document.querySelector('[data-picks]').dataset.picks)[2].length === 4")
    page.locator("input[type=range]").fill("1")
    assert "Nothing is selected: the largest relevance in the box is 0." in caption(page)
    assert "Lower the threshold, or click on the object itself." in caption(page)
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Start again").click()
    page.keyboard.down("Shift")
    page.mouse.click(*place(page, 20, 4))
    page.keyboard.up("Shift")
    page.wait_for_function("JSON.parse(document.querySelector('[data-picks]').dataset.picks)[1].length === 1")
    assert "Only what does not belong is picked" in caption(page)


def test_a_page_without_a_kernel_says_so(page):
    assert "Not connected to Python" in page.locator(".uk-alone").inner_text()


def test_a_finger_points_and_rules_out(browser, view, tmp_path):
    context = browser.new_context(viewport={"width": 400, "height": 800}, has_touch=True, offline=True)
    page = context.new_page()
    page.goto(uk.export_html(view, tmp_path / "view.html").as_uri())
    page.locator("[data-picks]").wait_for(state="attached")
    page.touchscreen.tap(*place(page, 13, 20))
    page.locator("select").first.select_option("unwanted")
    page.touchscreen.tap(*place(page, 20, 4))
    page.wait_for_timeout(200)
    (wanted,), (unwanted,) = picks(page)[:2]
    assert abs(np.array([wanted, unwanted]) - [(13, 20), (20, 4)]).max() < 0.5
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    context.close()
