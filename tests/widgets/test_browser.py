"""Exported pages in a real browser: what is drawn, what is asked for, and what does not run."""

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import nbformat
import numpy as np
import playwright.sync_api
import pytest
from browser_pages import HOSTILE, alive, answer
from matplotlib import colormaps
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

import ultra_kit as uk
from ultra_kit.maps.heads import head_shares
from ultra_kit.plots.style import SEGMENT_COLOURS
from ultra_kit.widgets import token_books
from ultra_kit.widgets.map_books import Key
from ultra_kit.widgets.page_host import page as make_page
from ultra_kit.widgets.token_books import book_of

pytestmark = pytest.mark.browser


def layout_of(grid=(3, 5), n_prefix=1):
    return uk.types.Layout("image", n_prefix=n_prefix, grid=grid, size=(20 * grid[0], 20 * grid[1]))


def maps_of(tokens=None, *, grid=(3, 5), layer=2, seed=1, **changes):
    """Random maps, one prefix token; the image is noise too."""
    layout = layout_of(grid)
    tokens = layout.content if tokens is None else np.asarray(tokens)
    values = np.random.default_rng(seed + layer).random((len(tokens), layout.n_tokens), np.float32)
    image = np.random.default_rng(2).integers(0, 255, (*layout.size, 3), np.uint8)
    return uk.types.ExplanationMaps(values, tokens, layer, layout, input=image, **changes)


def pixels(page, selector=".uk-map", number=0):
    """RGB of every cell of a canvas: (h, w, 3)."""
    data = (
        page.locator(selector)
        .nth(number)
        .evaluate(
            """c => [c.height, c.width, ...c.getContext("2d").getImageData(0, 0, c.width, c.height).data]"""
        )
    )
    return np.array(data[2:], np.uint8).reshape(data[0], data[1], 4)[..., :3]


def coloured(row, grid, highest=None):
    """What a row of values looks like on a scale that ends at `highest`, by default its own largest."""
    levels = np.floor(255 * row.astype(float) / (highest or row.max()) + 0.5).astype(int)
    return colormaps["inferno"](np.arange(256), bytes=True)[levels][:, :3].reshape(*grid, 3)


def hover(page, patch, *, grid=(3, 5), side=0, click=False):
    pointed = page.locator(".uk-pointed").nth(side)
    pointed.scroll_into_view_if_needed()
    box = pointed.bounding_box()
    row, column = divmod(patch, grid[1])
    x, y = (
        box["x"] + (column + 0.5) * box["width"] / grid[1],
        box["y"] + (row + 0.5) * box["height"] / grid[0],
    )
    page.mouse.move(x, y)
    if click:
        page.mouse.click(x, y)


def state(page):
    """What the view says that it shows."""
    page.wait_for_selector("[data-token], [data-segments]")
    return page.locator("[data-token], [data-segments]").first.evaluate("e => ({...e.dataset})")


def control(page, label):
    name = page.locator(".uk-label", has_text=re.compile(f"^{label}$"))
    return page.locator(".uk-control", has=name).locator("input, select")


def written(view, path):
    """The page of a view without its still picture, which takes the longest to draw."""
    path.write_text(make_page(view.fragment(with_still=False), title="x"), "utf-8")
    return path


# --- TokenExplorer ---


@pytest.mark.parametrize("grid", [(3, 5), (4, 4), (6, 2)], ids=str)
def test_the_map_under_the_pointer_is_the_row_of_the_array(visit, tmp_path, grid):
    maps = maps_of(grid=grid)
    page = visit(written(uk.widgets.TokenExplorer(maps), tmp_path / "maps.html"))
    state(page)
    for patch in (0, grid[1] - 1, grid[1], grid[0] * grid[1] - 1):
        hover(page, patch, grid=grid)
        assert state(page)["token"] == str(patch + 1)
        np.testing.assert_array_equal(pixels(page), coloured(maps.without_own[patch], grid))
        caption = page.locator(".uk-caption").inner_text()
        assert f"Patch in row {patch // grid[1]}, column {patch % grid[1]}, token {patch + 1}" in caption
        assert f"{maps.without_own[patch].max():.3g}" in caption


def test_a_click_keeps_a_map_and_keys_move_it(visit, tmp_path):
    maps = maps_of([3, 4, 9])  # patches 2, 3 and 8, which is below 3
    page = visit(written(uk.widgets.TokenExplorer(maps), tmp_path / "maps.html"))
    hover(page, 2, click=True)
    hover(page, 14)
    assert "this token's map is not in this file" in page.locator(".uk-caption").inner_text()
    page.mouse.move(0, 0)
    assert state(page)["token"] == "3"
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    assert state(page)["token"] == "9"
    np.testing.assert_array_equal(pixels(page), coloured(maps.without_own[2], (3, 5)))
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowLeft")
    assert state(page)["token"] == "3"
    hover(page, 3)
    page.keyboard.press("Enter")  # keeps what the pointer is on
    page.mouse.move(0, 0)
    assert state(page)["token"] == "4"


def test_layers_kinds_and_scale(visit, tmp_path):
    by = {
        (k, s): maps_of(layer=k, seed=10 * i, score=s)
        for k in (1, 3, 4)
        for i, s in enumerate(("norm", "energy"))
    }
    by[3, "norm"].values[:] *= 7
    page = visit(written(uk.widgets.TokenExplorer(list(by.values())), tmp_path / "maps.html"))
    hover(page, 4, click=True)
    np.testing.assert_array_equal(pixels(page), coloured(by[4, "norm"].without_own[4], (3, 5)))
    page.keyboard.press("-")
    assert state(page)["layer"] == "3"
    np.testing.assert_array_equal(pixels(page), coloured(by[3, "norm"].without_own[4], (3, 5)))
    assert page.locator(".uk-end").inner_text() == f"{by[3, 'norm'].without_own[4].max():.3g}"
    page.keyboard.press("m")
    np.testing.assert_array_equal(pixels(page), coloured(by[3, "energy"].without_own[4], (3, 5)))
    control(page, "Layer").fill("0")
    assert state(page)["layer"] == "1"
    control(page, "Map").select_option("ULTra: norm, positive")
    control(page, "Colours").select_option("shared")
    maps = by[1, "norm"].without_own
    top = maps.max()
    # From levels of the map's own scale: rounded twice, so one level more or less.
    low, high = (
        coloured(maps[4] - 1.01 * top / 255, (3, 5), top),
        coloured(maps[4] + 1.01 * top / 255, (3, 5), top),
    )
    between = (
        np.maximum(low, high).astype(int) + 1 >= pixels(page),
        np.minimum(low, high).astype(int) - 1 <= pixels(page),
    )
    assert all(side.mean() > 0.9 for side in between)
    assert page.locator(".uk-end").inner_text() == f"{top:.3g}"


def test_two_models_show_the_same_place(visit, tmp_path):
    left, right = maps_of(grid=(3, 5)), maps_of(grid=(6, 10), seed=5)
    view = uk.widgets.TokenExplorer(left, right, names=["coarse", "fine"])
    page = visit(written(view, tmp_path / "two.html"))
    hover(page, 7, click=True)  # (1, 2) of 3 x 5 has its centre in (3, 5) of 6 x 10
    np.testing.assert_array_equal(pixels(page, number=0), coloured(left.without_own[7], (3, 5)))
    np.testing.assert_array_equal(pixels(page, number=1), coloured(right.without_own[35], (6, 10)))
    hover(page, 22, grid=(6, 10), side=1, click=True)  # (2, 2) lies in (1, 1)
    page.mouse.move(0, 0)
    assert state(page)["side"] == "1"
    np.testing.assert_array_equal(pixels(page, number=1), coloured(right.without_own[22], (6, 10)))
    np.testing.assert_array_equal(pixels(page, number=0), coloured(left.without_own[6], (3, 5)))


def test_heads_and_prefix_tokens(visit, tmp_path):
    cap = uk.capture(uk.load("scenes"), uk.data.scene(0).image)
    view = uk.widgets.TokenExplorer([uk.explain(cap, layer=2, tokens=[50, 51])])
    shares = head_shares(cap, layer=2, tokens=[50, 51])
    view._sides[0].books[Key("ULTra: norm, positive", 2)] = book_of(view.maps, shares)
    view.pinned = 51
    page = visit(written(view, tmp_path / "heads.html"))
    state(page)
    for head, row in ((1, 1), (3, 3), (-1, 0)):
        control(page, "Through").select_option(str(head))
        part = uk.types.ExplanationMaps(shares[:, row], view.maps.tokens, 2, cap.layout).without_own[1]
        np.testing.assert_array_equal(pixels(page), coloured(part, (12, 12)))
    chips = page.locator(".uk-chip")
    assert not chips.first.is_visible()
    page.locator(".uk-pointed").focus()
    page.keyboard.press("p")
    assert chips.count() == cap.layout.n_prefix and chips.first.is_visible()
    assert chips.nth(1).get_attribute("title") == f"relevance {view.maps.values[1, 1]:#.3g}"


def test_a_page_with_a_kernel_asks_for_a_map_it_lacks(visit, tmp_path, monkeypatch):
    monkeypatch.setattr(token_books, "_MAX_ENTRIES", 0)
    monkeypatch.setattr(token_books, "_FILLED", 0)
    cap = uk.capture(uk.load("scenes"), uk.data.scene(0).image)
    view = uk.widgets.TokenExplorer(cap)
    page = visit(alive(view, tmp_path / "t.html"))
    hover(page, 50, grid=(12, 12), click=True)
    page.mouse.move(0, 0)
    assert answer(page, view) == {"side": 0, "kind": view.kind, "layer": 5, "since": 0, "token": 54}
    row = view._sides[0].maps(Key(view.kind, 5), [54])
    np.testing.assert_array_equal(pixels(page), coloured(row.without_own[0], (12, 12)))
    assert f"{row.without_own.max():#.3g}" in page.locator(".uk-caption").inner_text()
    page.evaluate("model.set('layer', 2)")  # as Python would
    assert answer(page, view) == {"side": 0, "kind": view.kind, "layer": 2, "since": 0, "token": 54}
    page.locator(".uk-pointed").click(position={"x": 2, "y": 2})
    page.evaluate("listeners['msg:custom'].forEach((f) => f({ error: 'no such map' }, []))")
    assert page.locator(".uk-caption").inner_text() == "no such map"


# --- SegmentExplorer ---


def blocks_of(grid=(4, 6), seed=0):
    """Maps that form a tree worth cutting: noise on top of six blocks."""
    rng = np.random.default_rng(seed)
    layout = layout_of(grid)
    block = (np.arange(grid[0])[:, None] // 2 * 3 + np.arange(grid[1])[None] // 2).ravel()
    values = (block[:, None] == block) + 0.8 * rng.random((len(block), len(block)))
    values = np.concatenate([rng.random((len(block), 1)), values], axis=1).astype(np.float32)
    image = rng.integers(0, 255, (*layout.size, 3), np.uint8)
    return uk.types.ExplanationMaps(values, layout.content, 3, layout, input=image)


def segment_pixels(page):
    """Segment of every pixel shown, as far as eight colours tell."""
    palette = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in SEGMENT_COLOURS])
    return (pixels(page, ".uk-labels")[:, :, None] == palette).all(-1).argmax(-1)


def set_threshold(page, value):
    control(page, "Threshold").evaluate(
        """(input, value) => { input.value = value; for (const kind of ["input", "change"]) input.dispatchEvent(new Event(kind)); }""",
        value,
    )


@pytest.mark.parametrize("grid", [(4, 6), (7, 3), (5, 5)], ids=str)
def test_the_cut_in_the_page_is_that_of_recut(visit, tmp_path, grid):
    seg = uk.segment(blocks_of(grid), threshold=0.2)
    page = visit(written(uk.widgets.SegmentExplorer(seg), tmp_path / "seg.html"))
    for threshold in (0.2, 0.0, 0.05, 0.1, 0.15, 0.25, 0.3, 0.5):
        set_threshold(page, threshold)
        shown = float(state(page)["threshold"])  # the slider's own rounding, if any
        assert shown == pytest.approx(threshold, abs=1e-9) or threshold > seg.linkage[:, 2].max()
        again = seg.recut(threshold=shown)
        assert state(page)["segments"] == str(again.n_segments)
        np.testing.assert_array_equal(segment_pixels(page), again.labels % 8)


def test_merge_name_undo_and_take_away(visit, tmp_path):
    seg = uk.segment(blocks_of(), n_segments=5)
    view = uk.widgets.SegmentExplorer(seg)
    page = visit(written(view, tmp_path / "seg.html"))
    centre = lambda k: int(np.flatnonzero((seg.labels == k).reshape(4, 20, 6, 20)[:, 10, :, 10].ravel())[0])  # noqa: E731
    for k in (1, 3):
        hover(page, centre(k), grid=(4, 6), click=True)
        assert state(page)["focus"] == str(k)
        mean = seg.maps[seg.clusters == k].mean(axis=0).ravel()
        np.testing.assert_array_equal(pixels(page, ".uk-map:not(.uk-labels)"), coloured(mean, (4, 6)))
        assert f"{(seg.clusters == k).sum()} token" in page.locator(".uk-caption").inner_text()
    assert state(page)["chosen"] == "1 3"
    page.get_by_role("button", name="Merge marked").click()
    view.merge(1, 3)
    np.testing.assert_array_equal(segment_pixels(page), view.labels)
    page.locator(".uk-name").nth(1).fill(HOSTILE[0])
    page.keyboard.press("Tab")
    view.rename(1, HOSTILE[0])
    for label, name in (("RLE", "to_rle"), ("JSON", None)):
        with page.expect_download() as download:
            page.get_by_text(label, exact=True).click()
        found = json.loads(Path(download.value.path()).read_text("utf-8"))
        assert found == (
            view.to_rle() if name else json.loads(view.save_json(tmp_path / "x.json").read_text())
        )
    page.get_by_role("button", name="Undo").click()
    assert page.locator(".uk-name").nth(1).input_value() == "segment 1"
    page.locator(".uk-pointed").focus()
    page.keyboard.press("u")
    np.testing.assert_array_equal(segment_pixels(page), seg.labels)
    assert page.get_by_role("button", name="Undo").is_disabled()
    assert page.evaluate("window.pwned") is None


def test_the_tree_and_the_keys_move_the_cut(visit, tmp_path):
    seg = uk.segment(blocks_of(), n_segments=6)
    page = visit(written(uk.widgets.SegmentExplorer(seg), tmp_path / "seg.html"))
    page.locator(".uk-pointed").focus()
    for key, count in (("+", 5), ("+", 4), ("-", 5)):
        page.keyboard.press(key)
        assert state(page)["segments"] == str(count)
        np.testing.assert_array_equal(segment_pixels(page), seg.recut(n_segments=count).labels)
    page.locator(".uk-tree").scroll_into_view_if_needed()
    box = page.locator(".uk-tree").bounding_box()
    page.mouse.move(box["x"] + 300, box["y"] + box["height"] - 8)
    page.mouse.down()
    page.mouse.move(box["x"] + 300, box["y"] + 2, steps=3)
    assert state(page)["segments"] == "1"
    page.mouse.up()
    page.keyboard.press("u")  # a drag is one step
    assert state(page)["segments"] == "5"


# --- files, frames, and text that is text ---


@pytest.mark.parametrize("kind", ["PNG", "SVG"])
def test_a_picture_of_the_state_can_be_taken_away(visit, tmp_path, kind):
    view = uk.widgets.TokenExplorer(maps_of(), names=["<b>&amp;"])
    page = visit(written(view, tmp_path / "x.html"))
    state(page)
    with page.expect_download() as download:
        page.get_by_text(kind, exact=True).click()
    path = Path(download.value.path())
    if kind == "SVG":
        texts = [node.text for node in ElementTree.parse(path).iter() if node.tag.endswith("text")]
        assert "<b>&amp;" in texts and any("own scale" in text for text in texts)
        return
    picture = np.asarray(Image.open(path).convert("RGB")).astype(int)
    middle = picture[2 * 40 : 2 * 250, 2 * 400 : 2 * 760]  # the map beside the image
    assert picture.shape[1] == 2 * 780 and middle.std() > 20


def test_what_a_notebook_stores_lives_in_a_frame_and_is_a_picture_without_scripts(browser, tmp_path):
    view = uk.widgets.TokenExplorer(maps_of())
    bundle = view._repr_mimebundle_()
    assert sorted(bundle) == ["image/png", "text/html", "text/plain"]
    twice = f"<!DOCTYPE html><body>{bundle['text/html']}{bundle['text/html']}"
    (tmp_path / "x.html").write_text(twice, "utf-8")
    page = browser.new_page()
    page.set_default_timeout(120_000)
    page.goto((tmp_path / "x.html").as_uri())
    page.wait_for_function("document.querySelectorAll('iframe').length === 2")
    for frame in page.frames[1:]:
        frame.wait_for_selector("[data-token]")
        frame.locator(".uk-pointed").hover(position={"x": 10, "y": 10})
        frame.wait_for_selector("[data-token='1']")
        np.testing.assert_array_equal(pixels(frame), coloured(view.maps.without_own[0], (3, 5)))
        for reach in ("parent.document.title", "localStorage.length", "document.cookie"):
            with pytest.raises(playwright.sync_api.Error, match=r"SecurityError|Blocked a frame"):
                frame.evaluate(reach)
    page.wait_for_function("[...document.querySelectorAll('iframe')].every(f => f.offsetHeight > 500)")
    page.close()
    context = browser.new_context(java_script_enabled=False)
    still = context.new_page()
    still.goto((tmp_path / "x.html").as_uri())
    assert still.locator("iframe").count() == 0
    assert still.locator("img").first.bounding_box()["height"] > 100
    context.close()


@pytest.mark.parametrize("label", HOSTILE, ids=["script", "img", "comment", "separator", "rtl", "long"])
def test_hostile_names_are_text_in_views(visit, tmp_path, label):
    tokens = uk.widgets.TokenExplorer(maps_of(card={"note": label}), names=[label])
    segments = uk.widgets.SegmentExplorer(uk.segment(blocks_of()))
    segments.rename(0, label)
    page = visit(uk.export_html(tokens, tmp_path / "t.html", title=label))
    state(page)
    assert page.locator("figcaption").first.evaluate("e => e.textContent") == label
    assert page.evaluate("window.pwned") is None
    written(segments, tmp_path / "u.html")
    cell = new_code_cell(
        "x", execution_count=1, outputs=[new_output("display_data", tokens._repr_mimebundle_())]
    )
    nbformat.write(new_notebook(cells=[cell]), tmp_path / "n.ipynb")
    uk.export_html(tmp_path / "n.ipynb", tmp_path / "n.html")
    for name in ("u.html", "n.html"):
        other = page.context.new_page()
        other.goto((tmp_path / name).as_uri())
        other.wait_for_selector("[data-segments], iframe")
        if name == "u.html":
            assert other.locator(".uk-name").first.input_value() == label.replace("\n", "")
        else:
            other.frames[1].wait_for_selector("[data-token]")
            assert other.frames[1].locator("figcaption").first.evaluate("e => e.textContent") == label
        assert [frame.evaluate("window.pwned") for frame in other.frames] == [None] * len(other.frames)
        other.close()


@pytest.mark.parametrize("label", HOSTILE, ids=["script", "img", "comment", "separator", "rtl", "long"])
def test_hostile_labels_are_text(visit, tmp_path, label):
    layout = uk.types.Layout("text", n_prefix=0, tokens=("plain", label))
    maps = uk.types.ExplanationMaps(
        np.ones((2, 2), np.float32), np.arange(2), 1, layout, card={"note": label}
    )
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
