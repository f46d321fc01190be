"""`EmbeddingExplorer` in a real browser: points and colours, hover, lasso, moving, keys, fingers, inputs, files, hostile texts."""

import base64
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from browser_pages import HOSTILE, alive, answer
from matplotlib import colormaps
from matplotlib.path import Path as Polygon
from PIL import Image
from test_browser import control, written
from toys_embedding import image_embedding, many, text_embedding

import ultra_kit as uk
from ultra_kit.plots.atlas_figures import class_colours, place_colours
from ultra_kit.widgets import EmbeddingExplorer
from ultra_kit.widgets.embedding_page import most_alike, ways
from ultra_kit.widgets.view import colours

pytestmark = pytest.mark.browser

TRUTH = {"kind": np.array(["cat", "dog"])[np.arange(36) % 2], "depth": np.arange(36) / 35}


def state(page):
    page.wait_for_selector("[data-zoom][data-sheet]")
    page.wait_for_function(
        "window.waited === undefined ? (window.waited = 0, requestAnimationFrame(() => requestAnimationFrame(() => { window.waited = 1; })), false)"
        " : window.waited && (delete window.waited, true)"
    )
    return page.locator("[data-zoom]").evaluate("e => ({...e.dataset})")


def point_colours(way):
    """RGB (M, 3) in [0, 1] that a way to colour means."""
    counts = np.bincount(way.values[way.values >= 0], minlength=len(way.names))
    if way.kind == "classes":
        return np.array([*class_colours(counts), (0, 0, 0)])[way.values]
    table = colormaps["viridis"](np.arange(256))[:, :3]
    if way.kind == "place":
        table = place_colours(np.arange(256) // 16 / 15, np.arange(256) % 16 / 15)
    return table[way.values]


def opened(visit, tmp_path, view):
    page = visit(written(view, tmp_path / "x.html"))
    page.set_viewport_size({"width": 1100, "height": 1700})
    state(page)
    return page


def on_plane(page, points):
    """Where points of the embedding lie in the plane, in CSS pixels from its corner, (M, 2)."""
    now = state(page)
    box = page.locator(".uk-emb-plot").bounding_box()
    size = np.array([box["width"], box["height"]]) - 2  # without its border
    points = np.asarray(points, float)
    unit = (points - points.min(axis=0)) / np.ptp(points, axis=0).max()
    home = 0.9 * (size / np.ptp(unit, axis=0)).min()
    away = (unit - [float(now["x"]), float(now["y"])]) * home * float(now["zoom"])
    return size / 2 + away * [1, -1]


def on_screen(page, points):
    box = page.locator(".uk-emb-plot").bounding_box()
    return on_plane(page, points) + np.array([box["x"] + 1, box["y"] + 1])


def drawn(page, selector=".uk-emb-points"):
    """RGB of a canvas (h, w, 3)."""
    h, w, packed = page.locator(selector).evaluate(
        """c => {
          const { data } = c.getContext("2d").getImageData(0, 0, c.width, c.height);
          let text = "";
          for (let i = 0; i < data.length; i += 32768) text += String.fromCharCode(...data.subarray(i, i + 32768));
          return [c.height, c.width, btoa(text)]; }"""
    )
    return np.frombuffer(base64.b64decode(packed), np.uint8).reshape(h, w, 4)[..., :3].astype(int)


def at_points(page, emb):
    """The colours of the plane where the points lie."""
    x, y = np.rint(on_plane(page, emb.points)).astype(int).T
    return drawn(page)[y, x]


def drag(page, path, *, shift=False):
    if shift:
        page.keyboard.down("Shift")
    page.mouse.move(*path[0])
    page.mouse.down()
    for place in path[1:]:
        page.mouse.move(*place, steps=4)
    page.mouse.up()
    if shift:
        page.keyboard.up("Shift")


def lasso_round(page, emb, corners, **how):
    """Draw round a polygon given in the units of the points."""
    low, high = emb.points.min(axis=0), emb.points.max(axis=0)
    corners = np.asarray(corners, float)
    places = on_screen(page, np.concatenate([emb.points, corners]))[len(emb.points) :]
    assert (corners >= low - 0.4).all() and (corners <= high + 0.4).all()
    drag(page, [*places, places[0]], **how)


# --- points ---


@pytest.mark.parametrize("paint", ["cluster", "input", "position", "kind", "depth"])
def test_every_point_lies_where_it_should_in_the_colour_chosen(visit, tmp_path, paint):
    emb = image_embedding()
    page = opened(visit, tmp_path, EmbeddingExplorer(emb, truth=TRUTH))
    control(page, "Colour by").select_option(paint)
    assert state(page)["paint"] == paint
    way = ways(emb, TRUTH)[paint]
    expected = 255 * point_colours(way)
    known = way.values >= 0
    assert abs(at_points(page, emb) - expected)[known].max() <= 1
    assert np.ptp(at_points(page, emb)[~known], axis=1).max(initial=0) < 12, "noise is grey"
    assert known.all() == (paint != "cluster")
    middle = on_plane(page, emb.points)[[0, 1]].mean(axis=0).astype(int)
    assert (drawn(page)[middle[1], middle[0]] == 255).all(), "between them lies paper"


def test_the_first_colours_are_the_palette_and_the_legend_names_and_counts_them(visit, tmp_path):
    page = opened(visit, tmp_path, EmbeddingExplorer(image_embedding()))
    rows = page.locator(".uk-emb-class").all()
    assert [row.inner_text().split("\n") for row in rows] == [
        ["sky", "12"],
        ["1", "12"],
        ["tree", "8"],
        ["noise", "4"],
    ]
    shown = [row.locator("i").evaluate("e => getComputedStyle(e).backgroundColor") for row in rows]
    assert shown[:3] == ["rgb(0, 114, 178)", "rgb(230, 159, 0)", "rgb(0, 158, 115)"]
    rows[1].hover()
    colours_now = at_points(page, image_embedding())
    assert (colours_now[1] == [230, 159, 0]).all() and np.ptp(colours_now[0]) < 20, "the others stand back"
    page.mouse.move(0, 0)
    assert (at_points(page, image_embedding())[0] == [0, 114, 178]).all()


# --- hover and click ---


def test_under_the_pointer_is_the_patch_in_its_photograph_with_its_map(visit, tmp_path):
    emb = image_embedding()
    page = opened(visit, tmp_path, EmbeddingExplorer(emb))
    for i in (0, 15, 35):
        page.mouse.move(*on_screen(page, emb.points)[i])
        assert state(page)["looked"] == str(i)
        number, token = emb.source[i]
        row, column = divmod(int(token) - 1, 6)
        card = page.locator(".uk-emb-card")
        assert f"Patch in row {row}, column {column} of picture {number}.png" in card.inner_text()
        assert ["cluster “sky”", "noise", "noise"][(0, 15, 35).index(i)] in card.inner_text() or i == 15
        photo = drawn(page, ".uk-emb-card > .uk-emb-photo")
        high, wide = photo.shape[0] // 4, photo.shape[1] // 6
        middles = photo[high // 2 :: high, wide // 2 :: wide].reshape(24, 3)
        grey, lut = 0.6 * 60 * (number + 1), np.frombuffer(colours(), np.uint8).reshape(256, 3)
        assert abs(middles[8] - grey).max() <= 3, "darkened where the map says nothing"
        for patch, level in ((23, 255), (0, 128)):
            cover = 0.25 + 0.5 * level / 255
            assert abs(middles[patch] - (grey * (1 - cover) + cover * lut[level])).max() <= 4
        left, top = column * wide, row * high
        assert (photo[top + high // 2, left + wide - 1] > 240).all() or (
            photo[top + high // 2, left + 1] > 240
        ).all()
    page.mouse.move(0, 0)
    assert state(page)["looked"] == "-1"


def test_a_click_keeps_a_point_and_its_map_is_asked_of_python(visit, tmp_path, monkeypatch):
    emb = image_embedding()
    view = EmbeddingExplorer(emb, captures=[None] * 3)
    page = visit(alive(view, tmp_path / "x.html"))
    page.set_viewport_size({"width": 1100, "height": 1700})
    monkeypatch.setattr(
        view, "answer", lambda message: ({**message, "alike": [[35, 20]]}, [bytes([0, 255] * 12)])
    )
    page.mouse.click(*on_screen(page, emb.points)[10])
    page.mouse.move(0, 0)
    assert state(page)["pinned"] == state(page)["looked"] == "10"
    assert answer(page, view) == {"point": 10}
    photo = drawn(page, ".uk-emb-card > .uk-emb-photo")
    lut = np.frombuffer(colours(), np.uint8).reshape(256, 3)
    assert (
        abs(photo[photo.shape[0] // 8, photo.shape[1] // 4] - (0.25 * 0.6 * 60 + 0.75 * lut[255])).max() <= 4
    )
    assert page.locator(".uk-emb-like").evaluate_all("all => all.map((e) => e.dataset.point)") == ["35", "20"]
    page.mouse.click(*(on_screen(page, emb.points)[0] - 25))
    assert state(page)["pinned"] == "-1", "a click beside the points keeps none"


def test_under_the_pointer_is_the_word_in_its_sentence(visit, tmp_path):
    emb = text_embedding()
    page = opened(visit, tmp_path, EmbeddingExplorer(emb))
    page.mouse.move(*on_screen(page, emb.points)[4])
    card = page.locator(".uk-emb-card")
    assert card.locator("> .uk-subtitle").inner_text() == "“dog” in text 0"
    assert card.locator(".uk-emb-text").inner_text() == "The cat sat. The dog ran."
    assert card.locator("> .uk-emb-text .uk-emb-own").all_inner_texts() == ["dog"]
    shades = card.locator("> .uk-emb-text .uk-emb-word").evaluate_all(
        "all => all.map((e) => e.style.background)"
    )
    assert [bool(shade) for shade in shades] == [True] + 7 * [False], "the map is the first word"


@pytest.mark.parametrize("what", ["images", "texts"])
def test_the_most_alike_in_other_inputs_stand_beside_a_point_and_a_click_goes_to_one(visit, tmp_path, what):
    emb = image_embedding() if what == "images" else text_embedding()
    alike = most_alike(emb, np.arange(len(emb)))
    page = opened(visit, tmp_path, EmbeddingExplorer(emb))
    page.mouse.click(*on_screen(page, emb.points)[5])
    others = page.locator(".uk-emb-like")
    assert others.evaluate_all("all => all.map((e) => Number(e.dataset.point))") == alike[5].tolist()
    others.last.click()
    assert state(page)["pinned"] == str(alike[5][-1])
    if what == "texts":
        assert others.locator(".uk-emb-own").inner_text() == emb.inputs[0].word(
            int(emb.source[alike[alike[5][-1]][0], 1])
        )
        return
    photo = drawn(page, ".uk-emb-like:last-child .uk-emb-photo")
    high, wide = photo.shape[0] // 4, photo.shape[1] // 6
    last = alike[alike[5][-1]][-1]
    lut = np.frombuffer(colours(), np.uint8).reshape(256, 3)
    grey = 0.6 * 60 * (emb.source[last, 0] + 1)
    assert abs(photo[3 * high + high // 2, 5 * wide + wide // 2] - (0.25 * grey + 0.75 * lut[255])).max() <= 4


# --- selection ---


@pytest.mark.parametrize("by", ["shift", "button", "key"])
def test_a_lasso_selects_what_lies_in_it_and_says_the_line(visit, tmp_path, by):
    emb = image_embedding()
    view = EmbeddingExplorer(emb)
    page = opened(visit, tmp_path, view)
    corners = [(0.5, 0.5), (3.6, 0.4), (3.4, 2.6), (1.5, 1.5), (0.6, 3.5)]
    if by == "button":
        page.get_by_role("button", name="Lasso").click()
    elif by == "key":
        page.locator(".uk-emb-plot").focus()
        page.keyboard.press("l")
    before = state(page)
    lasso_round(page, emb, corners, shift=by == "shift")
    now = state(page)
    inside = np.flatnonzero(Polygon(corners).contains_points(emb.points))
    assert len(inside) > 4 and now["selected"] == str(len(inside))
    assert (now["x"], now["y"]) == (before["x"], before["y"]), "the plane stays"
    exec(now["code"], {"view": view, "emb": emb, "np": np})
    assert view.selected == inside.tolist()
    faint = at_points(page, emb)
    off = np.setdiff1d(np.arange(36), inside)
    expected = 255 * point_colours(ways(emb, {})["cluster"])
    on = inside[emb.labels[inside] >= 0]
    assert abs(faint[on] - expected[on]).max() <= 1 and np.ptp(faint[off], axis=1).max() < 20
    page.keyboard.press("Escape")
    assert state(page)["selected"] == "0" and state(page)["code"] == ""


def test_the_patches_selected_light_up_on_their_images(visit, tmp_path):
    emb = image_embedding()
    view = EmbeddingExplorer(emb)
    view.selected = [12, 13, 30]  # patches 0 and 2 of picture 1, patch 12 of picture 2
    page = opened(visit, tmp_path, view)
    assert state(page)["code"] == "view.selected = [12, 13, 30]"
    frames = page.locator(".uk-emb-frame")
    assert frames.evaluate_all("all => all.map((e) => e.dataset.input)") == ["1", "2"], "most patches first"
    assert page.locator("figcaption").all_inner_texts() == [
        "2 in picture 1.png",
        "1 in picture 2.png",
    ]  # a long name is cut, not the number
    for number, grey, lit in ((0, 120, {0, 2}), (1, 180, {12})):
        photo = drawn(page, f".uk-emb-item:nth-child({number + 1}) canvas")
        high, wide = photo.shape[0] // 4, photo.shape[1] // 6
        rgb = 255 * point_colours(ways(emb, {})["cluster"])
        for patch in range(24):
            colour = photo[(patch // 6) * high + high // 2, patch % 6 * wide + wide // 2]
            if patch in lit:
                point = 12 * (number + 1) + patch // 2
                assert abs(colour - (0.75 * grey + 0.25 * rgb[point])).max() <= 4
            else:
                assert abs(colour - 0.38 * grey).max() <= 4, "the rest is dark"


def test_a_click_on_a_patch_lights_up_its_point(visit, tmp_path):
    emb = image_embedding()
    page = opened(visit, tmp_path, EmbeddingExplorer(emb))
    frame = page.locator('.uk-emb-frame[data-input="2"]')
    box = frame.bounding_box()
    place = lambda patch: {  # noqa: E731
        "x": (patch % 6 + 0.5) * box["width"] / 6,
        "y": (patch // 6 + 0.5) * box["height"] / 4,
    }
    empty = drawn(page, ".uk-emb-over")
    frame.hover(position=place(16))
    assert state(page)["looked"] == "32"  # 24 + 16 / 2
    x, y = np.rint(on_plane(page, emb.points)[32]).astype(int)
    changed = np.argwhere(abs(drawn(page, ".uk-emb-over") - empty).max(axis=2) > 60)
    assert len(changed) and abs(changed - [y, x]).max() < 25, "a ring round its point, nothing else"
    frame.click(position=place(16))
    assert state(page)["pinned"] == "32"
    frame.click(position=place(17))
    assert state(page)["pinned"] == "-1", "this patch is none of the points"


def test_of_several_layers_a_patch_is_lit_by_each_of_its_points(visit, tmp_path):
    emb = image_embedding(layer=(2, 5), layers=np.repeat(np.int32([2, 5]), 18))
    source = np.tile(emb.source[:18], (2, 1))  # the same 18 tokens at both layers
    view = EmbeddingExplorer(replace(emb, source=source))
    view.selected = [20]  # the third token of picture 0, at layer 5
    page = opened(visit, tmp_path, view)
    photo = drawn(page, ".uk-emb-item canvas")
    high, wide = photo.shape[0] // 4, photo.shape[1] // 6
    grey = [photo[k // 6 * high + high // 2, k % 6 * wide + wide // 2].mean() for k in range(24)]
    assert np.flatnonzero(np.array(grey) > 1.5 * min(grey)).tolist() == [4]
    frame = page.locator('.uk-emb-frame[data-input="0"]')
    box = frame.bounding_box()
    frame.click(position={"x": 4.5 * box["width"] / 6, "y": box["height"] / 8})
    assert state(page)["pinned"] == "20"
    page.get_by_role("button", name="Clear").click()
    assert page.get_by_text("every patch in the colour of its first point").is_visible()


def test_a_click_on_a_word_lights_up_its_point_and_a_lasso_its_words(visit, tmp_path):
    emb = text_embedding()
    page = opened(visit, tmp_path, EmbeddingExplorer(emb))
    page.locator('.uk-emb-frame[data-input="1"] .uk-emb-word', has_text="cat").click()
    assert state(page)["pinned"] == "7"
    page.locator('.uk-emb-class[data-class="0"]').click()  # words of one letter
    assert page.locator(".uk-emb-lit").all_inner_texts() == ["A", "a"]
    assert page.locator(".uk-emb-frame").count() == 1


@pytest.mark.parametrize("width", [1100, 400])
@pytest.mark.parametrize("what", ["images", "texts"])
def test_what_is_shown_of_a_point_does_not_move_what_the_pointer_is_on(visit, tmp_path, what, width):
    long = tuple(f"{'word ' * 60} {i}" for i in range(8))
    emb = image_embedding() if what == "images" else text_embedding(long)
    page = opened(visit, tmp_path, EmbeddingExplorer(emb))
    page.set_viewport_size({"width": width, "height": 1700})
    state(page)
    frame = page.locator(".uk-emb-frame").first
    before = frame.bounding_box()
    place = {"x": 12, "y": 12}
    frame.hover(position=place)
    assert state(page)["looked"] == "0" and frame.bounding_box() == before
    frame.click(position=place)
    assert state(page)["pinned"] == "0" and frame.bounding_box() == before


@pytest.mark.parametrize("paint", ["cluster", "input", "kind"])
def test_a_click_in_the_legend_selects_a_class_and_says_the_line(visit, tmp_path, paint):
    emb = image_embedding()
    view = EmbeddingExplorer(emb, truth=TRUTH)
    page = opened(visit, tmp_path, view)
    control(page, "Colour by").select_option(paint)
    way = ways(emb, TRUTH)[paint]
    for k in [*range(len(way.names)), -1]:
        if not (way.values == k).any():
            continue
        page.locator(f'.uk-emb-class[data-class="{k}"]').click()
        exec(state(page)["code"], {"view": view, "emb": emb, "np": np, **TRUTH})
        assert view.selected == np.flatnonzero(way.values == k).tolist()
        assert state(page)["selected"] == str(len(view.selected))


# --- moving ---


def test_the_wheel_zooms_about_the_pointer_and_a_drag_moves_the_plane(visit, tmp_path):
    emb = image_embedding()
    page = opened(visit, tmp_path, EmbeddingExplorer(emb))
    before = on_screen(page, emb.points)
    x, y = np.rint(on_plane(page, emb.points)[9]).astype(int)
    page.mouse.move(*before[9])
    page.mouse.wheel(0, -100)
    after = on_screen(page, emb.points)
    assert float(state(page)["zoom"]) == pytest.approx(np.exp(0.4), rel=0.02)
    assert abs(after[9] - before[9]).max() < 0.5, "what was under the pointer stays there"
    assert (drawn(page)[y, x] == [0, 114, 178]).all()
    drag(page, [after[9], after[9] + [40, -25]])
    moved = on_screen(page, emb.points)
    assert abs(moved - after - [40, -25]).max() < 4
    assert state(page)["selected"] == "0" and state(page)["pinned"] == "-1", (
        "a drag keeps and selects nothing"
    )
    page.get_by_role("button", name="All").click()
    assert float(state(page)["zoom"]) == 1 and abs(on_screen(page, emb.points) - before).max() < 0.5


def test_close_by_every_point_is_its_patch(visit, tmp_path):
    emb = image_embedding()
    page = opened(visit, tmp_path, EmbeddingExplorer(emb))
    page.locator(".uk-emb-plot").focus()
    for _ in range(3):
        page.keyboard.press("+")
    x, y = on_plane(page, emb.points).T
    over = drawn(page, ".uk-emb-over")
    seen = [i for i in range(36) if 20 < x[i] < over.shape[1] - 20 and 20 < y[i] < over.shape[0] - 20]
    assert 0 < len(seen) < 36
    for i in seen:
        if i != int(state(page)["looked"]):
            assert abs(over[int(y[i]), int(x[i])] - 60 * (emb.source[i, 0] + 1)).max() <= 3


def test_keys(visit, tmp_path):
    emb = image_embedding()
    page = opened(visit, tmp_path, EmbeddingExplorer(emb))
    page.locator(".uk-emb-plot").focus()
    start = on_screen(page, emb.points)
    for key, (dx, dy) in {
        "ArrowRight": (-60, 0),
        "ArrowLeft": (60, 0),
        "ArrowUp": (0, 60),
        "ArrowDown": (0, -60),
    }.items():
        before = on_screen(page, emb.points)
        page.keyboard.press(key)
        assert abs(on_screen(page, emb.points) - before - [dx, dy]).max() < 0.5
    assert abs(on_screen(page, emb.points) - start).max() < 0.5
    page.keyboard.press("+")
    assert float(state(page)["zoom"]) == pytest.approx(1.5)
    middle = on_plane(page, emb.points) - [
        page.locator(".uk-emb-plot").evaluate(f"e => e.client{d} / 2") for d in ("Width", "Height")
    ]
    looked = int(state(page)["looked"])
    assert np.hypot(*middle[looked]) == pytest.approx(np.hypot(*middle.T).min(), abs=0.5)
    page.keyboard.press("Enter")
    assert state(page)["pinned"] == str(looked)
    page.keyboard.press("-")
    page.keyboard.press("-")
    assert float(state(page)["zoom"]) == pytest.approx(1 / 1.5)
    page.keyboard.press("0")
    assert float(state(page)["zoom"]) == 1
    page.keyboard.press("Escape")
    assert state(page)["pinned"] == "-1"


def test_tab_reaches_everything_and_shows_where_it_is(visit, tmp_path):
    page = opened(visit, tmp_path, EmbeddingExplorer(image_embedding()))
    reached = []
    page.locator(".uk-view select").focus()
    for _ in range(20):
        reached.append(
            page.evaluate(
                "(e => [e.className, e.textContent, getComputedStyle(e).outlineStyle])(document.activeElement)"
            )
        )
        page.keyboard.press("Tab")
    names = [" ".join(one[:2]) for one in reached]
    for wanted in ("Lasso", "All", "uk-emb-plot", "sky12", "noise4", "PNG", "SVG"):
        assert any(wanted in name for name in names), wanted
    assert sum("uk-emb-frame" in one[0] for one in reached) == 3
    assert all(one[2] == "solid" for one in reached[1:] if "uk-" in one[0])
    frame = page.locator('.uk-emb-frame[data-input="1"]')
    frame.focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowRight", "ArrowDown"):
        page.keyboard.press(key)
    assert state(page)["looked"] == "16"  # patch 8 of picture 1: the first press shows where the cursor is
    page.keyboard.press("Enter")
    assert state(page)["pinned"] == "16"


def test_fingers(browser, tmp_path):
    emb = image_embedding()
    context = browser.new_context(
        viewport={"width": 400, "height": 800}, has_touch=True, is_mobile=True, offline=True
    )
    page = context.new_page()
    page.wait_for_function = lambda script, *, arg=None: __import__("browser_pages").wait_until(
        page, script, arg
    )
    page.goto(written(EmbeddingExplorer(emb), tmp_path / "x.html").as_uri())
    state(page)
    page.locator(".uk-emb-plot").scroll_into_view_if_needed()
    touch = context.new_cdp_session(page)

    def fingers(kind, *places):
        points = [{"x": float(x), "y": float(y), "id": k} for k, (x, y) in enumerate(places)]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    start = on_screen(page, emb.points)
    page.touchscreen.tap(*(start[14] + 8))
    assert state(page)["pinned"] == "14", "a finger is broad"
    fingers("touchStart", start[14])
    fingers("touchMove", start[14] + [10, 8])
    fingers("touchMove", start[14] + [30, 20])
    fingers("touchEnd")
    moved = on_screen(page, emb.points)
    assert abs(moved - start - [30, 20]).max() < 6
    right = np.array([1, 0])
    a, b = moved[14] - 40 * right, moved[14] + 40 * right
    fingers("touchStart", a, b)
    for k in range(1, 5):
        fingers("touchMove", a - 10 * k * right, b + 10 * k * right)
    fingers("touchEnd")
    assert float(state(page)["zoom"]) == pytest.approx(2, rel=0.05)
    assert abs(on_screen(page, emb.points)[14] - moved[14]).max() < 3, "a pinch zooms about its middle"
    assert state(page)["selected"] == "0"
    page.get_by_role("button", name="All").tap()
    page.get_by_role("button", name="Lasso").tap()
    corners = on_screen(page, np.concatenate([emb.points, [[0.5, 0.5], [2.5, 0.5], [2.5, 2.5], [0.5, 2.5]]]))[
        36:
    ]
    fingers("touchStart", corners[0])
    for corner in corners[1:]:
        fingers("touchMove", corner)
    fingers("touchEnd")
    assert state(page)["selected"] == "4"
    context.close()


# --- pages and files ---


def test_the_page_of_ten_thousand_points_is_small_and_asks_for_nothing(visit, tmp_path):
    emb = many()
    path = uk.export_html(emb, tmp_path / "many.html")
    assert path.stat().st_size < 4_000_000
    page = visit(path)
    assert state(page)["points"] == "10000"
    i = 1234
    page.mouse.move(*on_screen(page, emb.points)[i])
    looked = int(state(page)["looked"])
    assert np.hypot(*(on_plane(page, emb.points)[looked] - on_plane(page, emb.points)[i])) < 3


def test_hostile_texts_are_shown_as_texts(visit, tmp_path):
    emb = text_embedding(tuple(HOSTILE))
    emb = type(emb)(**{**vars(emb), "names": tuple(HOSTILE[:4])})
    page = opened(
        visit, tmp_path, EmbeddingExplorer(emb, truth={HOSTILE[1]: np.array(HOSTILE * 50)[: len(emb)]})
    )
    for i in range(len(emb)):
        page.mouse.move(*on_screen(page, emb.points)[i])
        state(page)
    for paint in ("input", HOSTILE[1], "cluster"):
        control(page, "Colour by").select_option(paint)
        page.locator(".uk-emb-class").first.click()
        state(page)
    assert HOSTILE[0] in page.locator(".uk-emb-strip").inner_text() or page.locator(".uk-emb-frame").count()
    assert page.evaluate("window.pwned") is None
    assert page.locator(".uk-view script, .uk-view img").count() == 0


@pytest.mark.parametrize("kind", ["PNG", "SVG"])
def test_the_picture_saved_shows_points_and_legend(visit, tmp_path, kind):
    page = opened(visit, tmp_path, EmbeddingExplorer(image_embedding(names=("<b>&amp;", "", "tree"))))
    with page.expect_download() as download:
        page.get_by_text(kind, exact=True).click()
    path = Path(download.value.path())
    if kind == "SVG":
        texts = [node.text for node in ElementTree.parse(path).iter() if node.tag.endswith("text")]
        assert texts == ["36 tokens by cluster", "<b>&amp; (12)", "1 (12)", "tree (8)"]
        return
    picture = np.asarray(Image.open(path).convert("RGB")).astype(int)
    assert (abs(picture - [0, 114, 178]).max(axis=2) < 12).sum() > 1000


def test_by_night_the_points_lie_on_dark_paper(browser, tmp_path):
    emb = image_embedding()
    context = browser.new_context(color_scheme="dark", offline=True)
    page = context.new_page()
    page.wait_for_function = lambda script, *, arg=None: __import__("browser_pages").wait_until(
        page, script, arg
    )
    page.goto(written(EmbeddingExplorer(emb), tmp_path / "x.html").as_uri())
    state(page)
    assert drawn(page)[2, 2].max() < 50
    page.emulate_media(color_scheme="light")
    state(page)
    assert drawn(page)[2, 2].min() > 240, "and follow the reader's scheme"
    context.close()
