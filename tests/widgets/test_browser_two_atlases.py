"""An `EmbeddingExplorer` with another atlas of the same tokens beside it, in a real browser: likes side by side, points that move."""

import numpy as np
import pytest
from browser_pages import alive, answer
from matplotlib.path import Path as Polygon
from test_browser import control, written
from test_browser_embedding import (
    at_points,
    drawn,
    lasso_round,
    on_plane,
    on_screen,
    opened,
    point_colours,
    state,
)
from toys_embedding import beside, image_embedding, many, text_embedding

from ultra_kit.widgets import EmbeddingExplorer
from ultra_kit.widgets.embedding_page import ways
from ultra_kit.widgets.view import colours

pytestmark = pytest.mark.browser


def likes(page, column):
    found = page.locator(".uk-emb-column").nth(column).locator(".uk-emb-like")
    return found.evaluate_all("all => all.map((e) => Number(e.dataset.point))")


def nearest(emb, i):
    """By hand: of each other input the token with the largest dot product, the largest first."""
    near = emb.vectors.astype(float) @ emb.vectors[i].astype(float)
    numbers = emb.source[:, 0]
    best = [max(np.flatnonzero(numbers == n), key=lambda j: near[j]) for n in set(numbers) - {numbers[i]}]
    return sorted(best, key=lambda j: -near[j])


def arrived(page, moved):
    page.wait_for_function(
        "m => document.querySelector('[data-moved]').dataset.moved === m", arg=str(moved).lower()
    )
    return state(page)


@pytest.mark.parametrize("what", ["images", "texts"])
def test_the_most_alike_by_both_stand_side_by_side(visit, tmp_path, what):
    emb = image_embedding() if what == "images" else text_embedding()
    emb = beside(emb, 9) if what == "images" else emb
    emb = type(emb)(
        **{
            **vars(emb),
            "by": "latent",
            "mapped": image_embedding().mapped if what == "images" else emb.mapped,
        }
    )
    other = beside(emb)
    page = opened(visit, tmp_path, EmbeddingExplorer(emb, beside=other))
    page.mouse.click(*on_screen(page, emb.points)[3])
    assert state(page)["pinned"] == "3"
    assert page.locator(".uk-emb-others > .uk-subtitle").inner_text() == f"Most alike in other {what}"
    assert page.locator(".uk-emb-column > .uk-subtitle").all_inner_texts() == ["by latent", "by map"]
    assert likes(page, 0) == nearest(emb, 3) and likes(page, 1) == nearest(other, 3)
    assert likes(page, 0) != likes(page, 1)
    boxes = [page.locator(".uk-emb-column").nth(k).bounding_box() for k in (0, 1)]
    assert boxes[0]["y"] == boxes[1]["y"] and boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"]
    last = page.locator(".uk-emb-column").nth(1).locator(".uk-emb-like").last
    if what == "images":
        j = likes(page, 1)[-1]
        photo = drawn(page, ".uk-emb-column:last-child .uk-emb-like:last-child .uk-emb-photo")
        high, wide = photo.shape[0] // 4, photo.shape[1] // 6
        grey = 60 * (emb.source[j, 0] + 1)
        row, column = divmod(int(emb.source[j, 1]) - 1, 6)
        corner = photo[-high // 2 if row < 2 else high // 2, -wide // 2 if column < 3 else wide // 2]
        assert (corner == grey).all(), "in the corner furthest from it its patch in large, as it is"
        if (row < 2) == (column < 3):  # then the two corners of the map stand clear
            return
        lut = np.frombuffer(colours(), np.uint8).reshape(256, 3)
        assert abs(photo[-high // 2, -wide // 2] - (0.25 * 0.6 * grey + 0.75 * lut[255])).max() <= 4
    else:
        assert last.locator(".uk-emb-own").count() == 1
    last.click()
    assert state(page)["pinned"] == str(nearest(other, 3)[-1])


@pytest.mark.parametrize("by", ["button", "key"])
def test_points_move_to_the_other_atlas_and_back_and_keep_what_was_chosen(visit, tmp_path, by):
    emb = image_embedding()
    other = beside(emb)
    view = EmbeddingExplorer(emb, beside=other)
    view.selected, view.pinned = [3, 4, 20], 4
    page = opened(visit, tmp_path, view)
    shades = 255 * point_colours(ways(emb, {})["cluster"])

    def go(moved):
        if by == "button":
            page.get_by_role("button", name=["by latent", "by map"][moved], exact=True).click()
        else:
            page.locator(".uk-emb-plot").focus()
            page.keyboard.press("m")
        page.wait_for_function("() => document.querySelector('[data-moved]').dataset.moved === 'on the way'")
        return arrived(page, moved)

    def there(points):
        at = at_points(page, type(emb)(**{**vars(emb), "points": points}))
        covered = np.hypot(*(on_plane(page, points)[:, None] - on_plane(page, points)[4]).T)[0] < 30
        for i in (3, 20):
            assert covered[i] or abs(at[i] - shades[i]).max() <= 1, (
                "in the colour it had, where it stands there"
            )

    for moved, points in ((True, other.points), (False, emb.points)):
        now = go(moved)
        assert (now["selected"], now["pinned"], now["zoom"]) == ("3", "4", "1")
        there(points)
        pressed = page.locator("[aria-pressed=true]").all_inner_texts()
        assert pressed == [["by latent", "by map"][moved]]
    page.mouse.move(*on_screen(page, emb.points)[30])
    assert state(page)["looked"] == "30"


def test_a_lasso_and_the_colours_of_the_other_atlas(visit, tmp_path):
    emb = image_embedding()
    other = beside(emb)
    view = EmbeddingExplorer(emb, beside=other)
    view.moved = True
    page = opened(visit, tmp_path, view)
    assert arrived(page, True)["looked"] == "-1"
    control(page, "Colour by").select_option("cluster by map")
    known = other.labels >= 0
    expected = 255 * point_colours(ways(emb, {}, **{"by map": other})["cluster by map"])
    assert abs(at_points(page, other)[known] - expected[known]).max() <= 1
    page.locator('.uk-emb-class[data-class="2"]').click()
    line = state(page)["code"]
    exec(line, {"view": view, "beside": other, "np": np})
    assert view.selected == np.flatnonzero(other.labels == 2).tolist()
    low = other.points.min(axis=0)
    corners = low + np.array([[0.5, 0.5], [9, 1], [8, 13], [1, 10]])
    lasso_round(page, other, corners, shift=True)
    inside = np.flatnonzero(Polygon(corners).contains_points(other.points))
    now = state(page)
    assert len(inside) > 3 and now["selected"] == str(len(inside))
    assert now["code"].startswith("view.moved = True; view.selected = ")
    view.moved = False
    exec(now["code"], {"view": view})
    assert view.moved and view.selected == inside.tolist()


def test_python_moves_the_points_of_a_live_page_and_answers_for_both(visit, tmp_path, monkeypatch):
    monkeypatch.setattr("ultra_kit.widgets.embedding_page._MOST_PRODUCTS", 0)  # a page that holds no likes
    emb = image_embedding()
    other = beside(emb)
    view = EmbeddingExplorer(emb, beside=other)
    page = visit(alive(view, tmp_path / "x.html"))
    page.set_viewport_size({"width": 1100, "height": 1700})
    page.mouse.click(*on_screen(page, emb.points)[8])
    assert likes(page, 0) == []
    answer(page, view)
    assert likes(page, 0) == nearest(emb, 8) and likes(page, 1) == nearest(other, 8)
    page.evaluate("window.model.set('moved', true)")
    arrived(page, True)
    page.mouse.move(*on_screen(page, other.points)[30])
    assert state(page)["looked"] == "30"


def test_readers_who_want_no_motion_see_none(visit, tmp_path):
    emb = image_embedding()
    page = opened(visit, tmp_path, EmbeddingExplorer(emb, beside=beside(emb)))
    page.emulate_media(reduced_motion="reduce")
    seen = page.evaluate(
        """async () => {
          [...document.querySelectorAll("button")].find((b) => b.textContent === "by map").click();
          const seen = [];
          for (let k = 0; k < 6; k++) {
            await new Promise(requestAnimationFrame);
            seen.push(document.querySelector("[data-moved]").dataset.moved);
          }
          return seen; }"""
    )
    assert "on the way" not in seen and seen[-1] == "true"


def test_an_atlas_alone_speaks_of_no_other(visit, tmp_path):
    page = opened(visit, tmp_path, EmbeddingExplorer(image_embedding()))
    assert (
        page.get_by_text("Placed", exact=True).count() == 0
        and "other atlas" not in page.content().split("</script>")[-1]
    )
    page.locator(".uk-emb-plot").focus()
    page.keyboard.press("m")
    assert state(page)["moved"] == "false"


def test_the_page_of_ten_thousand_points_in_two_atlases_is_small(tmp_path):
    emb = many()
    path = written(EmbeddingExplorer(emb, beside=beside(emb)), tmp_path / "x.html")
    assert path.stat().st_size < 4_000_000
