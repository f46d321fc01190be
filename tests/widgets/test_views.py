"""Views from Python: their state, what a notebook stores of them, and what passes between page and kernel."""

import base64
import json
from dataclasses import replace

import numpy as np
import pytest
import traitlets

import ultra_kit as uk
from ultra_kit.types import UltraError
from ultra_kit.widgets import page_host as pages
from ultra_kit.widgets.map_books import Key, quantise
from ultra_kit.widgets.segment_explorer import SegmentExplorer
from ultra_kit.widgets.token_explorer import TokenExplorer
from ultra_kit.widgets.view import View

LAYOUT = uk.types.Layout("image", n_prefix=1, grid=(3, 5), size=(60, 100))


def maps_of(tokens=None, *, layer=2, layout=LAYOUT, seed=0, **changes):
    tokens = layout.content if tokens is None else np.asarray(tokens)
    values = np.random.default_rng(seed + layer).random((len(tokens), layout.n_tokens), np.float32)
    options = {"input": np.full((*layout.size, 3), 90, np.uint8), **changes}
    return uk.types.ExplanationMaps(values, tokens, layer, layout, **options)


@pytest.fixture(scope="module")
def cap():
    return uk.capture(uk.load("scenes"), uk.data.scene(0).image)


# --- the base ---


def test_what_a_notebook_stores_is_html_picture_and_text():
    view = TokenExplorer(maps_of())
    bundle = view._repr_mimebundle_()
    assert sorted(bundle) == ["image/png", "text/html", "text/plain"]
    assert base64.b64decode(bundle["image/png"]).startswith(b"\x89PNG")
    assert bundle["text/plain"] == repr(view)
    assert bundle == TokenExplorer(maps_of())._repr_mimebundle_(), "the same view must give the same output"


def test_misspelt_and_impossible_state_is_refused():
    view = TokenExplorer([maps_of(), maps_of(layer=3)])
    with pytest.raises(AttributeError, match="no attribute 'layr'; its state is head, kind, layer, pinned"):
        view.layr = 2
    for name, value in {"layer": 4, "kind": "x", "pinned": 16, "side": 1, "head": 1, "scale": "both"}.items():
        before = getattr(view, name)
        with pytest.raises(traitlets.TraitError):
            setattr(view, name, value)
        assert getattr(view, name) == before
    view.layer, view.pinned, view.scale = 2, 0, "shared"
    assert repr(view) == "TokenExplorer(3x5 patches, layer 2, ULTra: norm, positive, pinned=0)"


def test_a_view_whose_names_clash_is_refused():
    class Clash(View):
        _name = "token"
        pinned = traitlets.Int().tag(state=True)

        def data(self):
            return {"pinned": 1}

        def figure(self):
            return None

    with pytest.raises(UltraError, match="share names: pinned"):
        Clash().fragment(with_still=False)

    class Taken(Clash):
        def data(self):
            return {"layout": 1}

    with pytest.raises(UltraError, match="names that widgets have: layout"):
        Taken().live()


def test_a_view_that_draws_nothing_cannot_be_made():
    class Half(View):
        def data(self):
            return {}

    with pytest.raises(TypeError, match="figure"):
        Half()


def test_pictures_are_files_of_the_state(tmp_path):
    view = TokenExplorer(maps_of())
    first = view.save_png(tmp_path / "new" / "a.png").read_bytes()
    view.pinned = 3
    assert first != view.save_png(tmp_path / "b.png").read_bytes()
    svg = view.save_svg(tmp_path / "c.svg").read_text("utf-8")
    assert "<svg" in svg and svg == view.save_svg(tmp_path / "d.svg").read_text("utf-8")
    with pytest.raises(UltraError, match="cannot write"):
        view.save_png(tmp_path / "b.png" / "x.png")


def test_page_and_kernel_follow_each_other(monkeypatch):
    view = TokenExplorer([maps_of(), maps_of(layer=3)])
    widget = view.live()
    assert view.live() is widget and widget.has_kernel is True
    assert widget._esm.endswith("export default { render };\n") and ".uk-view" in widget._css
    view.layer = 2
    assert widget.layer == 2
    widget.set_state({"side": 0, "pinned": 7})  # what a click in the page sends
    assert view.pinned == 7
    sent = []
    monkeypatch.setattr(widget, "send", lambda content, buffers=None: sent.append(content))
    widget.set_state({"layer": 99})
    assert (view.layer, widget.layer) == (2, 2)
    assert "layer must be one of 2, 3" in sent[0]["error"]


# --- TokenExplorer ---


def test_quantising_rounds_to_half_a_level():
    rows = np.random.default_rng(0).random((4, 50)) * np.array([[1e-6], [1], [3e5], [0]])
    levels, largest = quantise(rows)
    assert levels.dtype == np.uint8 and levels.max(axis=1).tolist() == [255, 255, 255, 0]
    error = abs(levels / 255 * largest[:, None] - rows).max(axis=1)
    assert (error <= rows.max(axis=1) / 510 * (1 + 1e-6)).all()


def test_sources_that_make_no_view_are_refused():
    other = uk.types.Layout("image", n_prefix=1, grid=(2, 2), size=(9, 9))
    text = uk.types.Layout("text", n_prefix=0, tokens=("a", "b"))
    words = uk.types.ExplanationMaps(np.ones((2, 2), np.float32), np.arange(2), 1, text)
    for source, error, words_said in [
        ([], ValueError, "at least one entry"),
        ([maps_of(), 3], TypeError, "ExplanationMaps or a Capture, got int"),
        (3, TypeError, "ExplanationMaps or a Capture, got int; call uk.explain"),
        ([maps_of(), maps_of(layout=other)], ValueError, "of one input"),
        ([maps_of(), maps_of(seed=1)], ValueError, "pass each once"),
        (words, ValueError, "use a SummaryExplorer for texts"),
    ]:
        with pytest.raises(error, match=words_said):
            TokenExplorer(source)
    with pytest.raises(ValueError, match=r"names must be one per side \(1\), got 2"):
        TokenExplorer(maps_of(), names=["a", "b"])


def test_maps_of_different_tokens_are_joined():
    late, early = maps_of([9, 4]), maps_of([1], seed=3)
    joined = TokenExplorer([late, early]).maps
    np.testing.assert_array_equal(joined.tokens, [1, 4, 9])
    np.testing.assert_array_equal(joined.values, np.stack([early.values[0], late.values[1], late.values[0]]))


def test_maps_of_a_model_too_large_travel_where_they_are_given(cap, monkeypatch):
    monkeypatch.setattr("ultra_kit.widgets.token_books._MAX_ENTRIES", 0)
    maps = uk.explain(cap, layer=3)
    view = TokenExplorer(cap, maps=maps)
    assert (view.layer, view.kind, len(view.maps)) == (3, "ULTra: norm, positive", 144)
    data = view.data()
    assert data["left_out"] == 0 and data["layers"] == [1, 2, 3, 4, 5]
    first, *quick = data["books"]
    assert (first["layer"], first["since"], len(first["rows"])) == (3, 0, 144), "what is shown stands first"
    assert {(b["layer"], b["since"], len(b["rows"])) for b in quick} == {(k, k - 1, 144) for k in range(1, 6)}
    np.testing.assert_array_equal(
        np.frombuffer(data["levels"], np.uint8)[: 144**2].reshape(144, 144), quantise(maps.without_own)[0]
    )
    with pytest.raises(ValueError, match="of the input of 'Input'"):
        TokenExplorer(cap, maps=maps_of())


def test_maps_since_a_layer_stand_beside_the_whole_ones_and_groups_are_refused():
    whole, last = maps_of(layer=3), maps_of(layer=3, since=2, seed=5)
    view = TokenExplorer([whole, last])
    assert view.kinds == ["ULTra: norm, positive"] and view.since == 0
    np.testing.assert_array_equal(view.maps.values, whole.values)
    view.since = 2
    np.testing.assert_array_equal(view.maps.values, last.values)
    assert repr(view) == "TokenExplorer(3x5 patches, layer 3 since 2, ULTra: norm, positive, pinned=8)"
    assert "layer 3 since 2" in view.figure().axes[1].get_title()
    assert TokenExplorer(last).since == 2
    with pytest.raises(traitlets.TraitError, match=r"since must be in 0\.\.2"):
        view.since = 3
    with pytest.raises(ValueError, match="maps of groups"):
        TokenExplorer(maps_of([3, 5], groups=((3, 4), (5,))))


def test_a_row_that_is_not_in_the_page_is_asked_of_the_kernel(cap, monkeypatch):
    monkeypatch.setattr("ultra_kit.widgets.token_books._MAX_ENTRIES", 0)
    view = TokenExplorer(cap, scores=("norm", "energy"))
    assert len(view.maps) == 1, "of whole maps nothing but that of the token shown is worked out beforehand"
    passes = []
    from ultra_kit.maps import engine

    real = engine.token_gradients
    monkeypatch.setattr(engine, "token_gradients", lambda *a: passes.append(1) or real(*a))
    content, buffers = view.answer({"side": 0, "kind": "ULTra: energy, positive", "layer": 2, "token": 60})
    assert len(passes) == 1, "one backward pass per click"
    assert (content["book"]["rows"], content["book"]["since"]) == ([60], 0) and content["book"]["widths"] == [
        6 * 144,
        2 + 4,
        4,
    ]
    expected = uk.explain(cap, layer=2, tokens=[60], score="energy")
    passes.clear()
    levels, largest = quantise(expected.without_own)
    got = np.frombuffer(buffers[0], np.uint8).reshape(6, 144)
    assert abs(got[0].astype(int) - levels[0]).max() <= 1
    np.testing.assert_allclose(np.frombuffer(buffers[1], "<f4")[0], largest[0], rtol=1e-5)
    np.testing.assert_allclose(np.frombuffer(buffers[2], "<f4"), expected.values[0, :4], rtol=1e-4, atol=1e-7)
    view.answer({"side": 0, "kind": "ULTra: energy, positive", "layer": 2, "token": 60})
    assert not passes, "kept: not worked out twice"
    with pytest.raises(ValueError, match="has no map of that token"):
        view.answer({"side": 0, "kind": "rollout", "layer": 2, "token": 60})


def test_a_capture_begins_with_the_models_own_settings():
    model = replace(uk.load("scenes"), settings=uk.types.Settings(layer=-2, rule="negative", since=-1))
    view = TokenExplorer(uk.capture(model, uk.data.scene(0).image))
    assert repr(view) == "TokenExplorer(12x12 patches, layer 4 since 3, ULTra: norm, negative, pinned=82)"
    assert len(view.maps) == 144


def test_over_one_block_all_tokens_are_there_at_once(cap, monkeypatch):
    monkeypatch.setattr("ultra_kit.widgets.token_books._MAX_ENTRIES", 0)
    view = TokenExplorer(cap)
    view.layer, view.since = 4, 3
    np.testing.assert_allclose(
        view.maps.values, uk.explain(cap, layer=4, since=3).values, rtol=1e-4, atol=1e-7
    )
    assert len(view.maps) == 144 and view.maps.since == 3
    view.layer = 2  # there is nothing since layer 3: the last block alone
    np.testing.assert_allclose(
        view.maps.values, uk.explain(cap, layer=2, since=1).values, rtol=1e-4, atol=1e-7
    )


def test_of_an_image_too_large_for_all_layers_the_first_is_there(cap, monkeypatch):
    monkeypatch.setattr("ultra_kit.widgets.token_books.MAX_BYTES", 144**2)
    sizes = {key: len(book.rows) for key, book in TokenExplorer(cap)._sides[0].books.items()}
    assert sizes == {Key("ULTra: norm, positive", 5): 1, Key("ULTra: norm, positive", 5, since=4): 144}


def test_a_page_holds_the_token_shown_since_every_layer(cap, monkeypatch):
    monkeypatch.setattr("ultra_kit.widgets.token_books._MAX_ENTRIES", 0)
    view = TokenExplorer(cap)
    view.layer, view.pinned = 4, 60
    view.fragment(with_still=False)
    books = view._sides[0].books
    assert {key.since for key, book in books.items() if key.layer == 4 and 60 in book.rows} == {0, 1, 2, 3}
    for since in (1, 2):
        np.testing.assert_allclose(
            books[Key(view.kind, 4, since=since)].only([60]).parts["values"],
            uk.explain(cap, layer=4, since=since, tokens=[60]).values,
            rtol=1e-4,
            atol=1e-7,
        )


def test_the_kernel_fills_in_a_few_at_a_time(cap, monkeypatch):
    monkeypatch.setattr("ultra_kit.widgets.token_books._MAX_ENTRIES", 40 * 20 * 2 * 4 * 148**2)
    view = TokenExplorer(cap)  # far too much to do beforehand
    ask = {"side": 0, "kind": view.kind, "layer": 2, "since": 0}
    seen = []
    while rows := view.answer(ask)[0]["book"]["rows"]:
        seen.append(rows)
    assert [len(rows) for rows in seen] == [20] * 7 + [4], "all once, then none: the page stops asking"
    assert [row for rows in seen for row in rows] == cap.layout.content.tolist()
    (book,) = (b for key, b in view._sides[0].books.items() if key == Key(view.kind, 2))
    np.testing.assert_allclose(book.parts["values"], uk.explain(cap, layer=2).values, rtol=1e-4, atol=1e-7)


def test_an_error_of_the_kernel_reaches_the_page(monkeypatch):
    widget = TokenExplorer(maps_of([3])).live()
    sent = []
    monkeypatch.setattr(widget, "send", lambda content, buffers=None: sent.append(content))
    widget._handle_custom_msg({"side": 0, "kind": "ULTra: norm, positive", "layer": 2, "token": 4}, [])
    assert "'Input' has no map of that token" in sent[0]["error"]


def test_maps_that_do_not_fit_are_left_out_and_counted(monkeypatch):
    monkeypatch.setattr("ultra_kit.widgets.token_books.MAX_BYTES", 40)  # 15 a map: two fit
    view = TokenExplorer([maps_of(), maps_of(layer=3)])
    view.layer = 2
    data = view.data()
    assert data["left_out"] == 28 and len(data["levels"]) == 30
    books = {book["layer"]: book["rows"] for book in data["books"]}
    assert books == {2: [1, 2]}, "what is shown stays"


# --- SegmentExplorer ---


def blocks():
    side = np.arange(15) % 5 // 2
    values = (side[:, None] == side) + 0.5 * np.random.default_rng(0).random((15, 15))
    values = np.concatenate([np.ones((15, 1)), values], axis=1).astype(np.float32)
    return uk.types.ExplanationMaps(values, LAYOUT.content, 2, LAYOUT, input=np.zeros((60, 100, 3), np.uint8))


def test_the_segmentation_is_that_of_the_state():
    seg = uk.segment(blocks(), n_segments=4)
    view = SegmentExplorer(seg)
    np.testing.assert_array_equal(view.labels, seg.labels)
    view.merge(0, 3)
    np.testing.assert_array_equal(view.labels, seg.merge(0, 3).labels)
    view.rename(0, "ends")
    view.threshold = 10
    assert view.segmentation.n_segments == 1 and view.segment_names == ["ends"]
    view.threshold = 0
    assert len(view.segment_names) == 14, "the merge outlives the move"
    for _ in range(3):
        view.undo()
    np.testing.assert_array_equal(SegmentExplorer(seg).labels, seg.labels)
    assert view.merges == [] and view.names == [] and view.history == []


def test_masks_and_json_of_segments(tmp_path):
    view = SegmentExplorer(uk.segment(blocks(), n_segments=3))
    view.rename(1, "the middle")
    masks = np.stack([uk.images.from_rle(rle) for rle in view.to_rle()])
    np.testing.assert_array_equal(masks.argmax(axis=0), view.labels)
    assert (masks.sum(axis=0) == 1).all()
    found = json.loads(view.save_json(tmp_path / "x" / "s.json").read_text("utf-8"))
    assert [s["name"] for s in found["segments"]] == ["segment 0", "the middle", "segment 2"]
    assert sum(s["share"] for s in found["segments"]) == pytest.approx(1)
    assert sorted(t for s in found["segments"] for t in s["tokens"]) == list(range(1, 16))


@pytest.mark.parametrize(
    ("metric", "name"), [("cosine", "cosine distance"), ("hellinger", "squared Hellinger distance")]
)
def test_the_distance_of_a_threshold_has_its_name(metric, name):
    view = SegmentExplorer(uk.segment(blocks(), n_segments=3, metric=metric))
    assert view.data()["distance"] == name
    assert f"{name} of maps" in [ax.get_ylabel() for ax in view.figure().axes]


def test_segments_refuse_what_cannot_be(tmp_path):
    with pytest.raises(TypeError, match="takes a Segmentation, got int"):
        SegmentExplorer(3)
    view = SegmentExplorer(uk.segment(blocks(), n_segments=3))
    for name, value in {"threshold": -1, "merges": [[1, 99]], "names": [[1, 2]], "chosen": ["a"]}.items():
        with pytest.raises(traitlets.TraitError):
            setattr(view, name, value)
    with pytest.raises(ValueError, match="two or more different segments"):
        view.merge(0, 7)
    with pytest.raises(ValueError, match=r"segment must be in 0\.\.2"):
        view.rename(3, "x")
    with pytest.raises(UltraError, match="cannot write"):
        view.save_json(tmp_path)
    assert view.history == []


# --- files ---


def test_a_page_of_a_vit_b_16_is_below_two_megabytes(tmp_path):
    layout = uk.types.Layout("image", n_prefix=1, grid=(14, 14), size=(768, 1024))
    image = (
        np.random.default_rng(0).integers(0, 255, (24, 32, 3)).repeat(32, 0).repeat(32, 1).astype(np.uint8)
    )
    layers = [maps_of(layer=k, layout=layout, input=image) for k in range(1, 13)]  # noise: the worst to pack
    page = uk.export_html(TokenExplorer(layers), tmp_path / "x.html")
    assert page.stat().st_size < 2_000_000
    assert uk.export_html(uk.segment(layers[0], n_segments=5), tmp_path / "y.html").stat().st_size < 2_000_000


@pytest.mark.parametrize("name", ["token", "segment"])
def test_scripts_are_one_module_that_imports_nothing(name):
    source = pages.view_script(name)
    assert pages._inline(source).endswith("return { render };\n")
    assert "http://" not in source and "https://" not in source


# --- workbench ---


def test_a_workbench_opens_without_waiting_for_all_whole_maps(monkeypatch):
    from ultra_kit.maps import engine

    monkeypatch.setattr("ultra_kit.widgets.token_books._MAX_ENTRIES", 0)
    passes, real = [], engine.token_gradients
    monkeypatch.setattr(engine, "token_gradients", lambda *a: passes.append(1) or real(*a))
    image = uk.data.scene(0).image
    bench = uk.widgets.workbench("scenes", image, layer=4)
    bench.fragment(with_still=False)
    assert len(passes) <= 1 + 3, "the token shown at the model's own layer, and since every layer at this one"
    last = uk.explain(bench["Tokens"]._sides[0].capture, layer=4, since=3)
    np.testing.assert_allclose(bench["Objects"]._maps.values, last.values, rtol=1e-4, atol=1e-7)
    for tab in ("Segments", "Objects"):
        assert (
            bench[tab].data()["made"]
            == "ULTra: norm, positive, layer 4, since layer 3 (the last block alone)"
        )
    whole = uk.widgets.workbench("scenes", image, layer=4, since=0)
    assert whole["Segments"].data()["made"] == "ULTra: norm, positive, layer 4"
    assert len(whole["Tokens"].maps) == 144


def test_a_workbench_of_a_small_model_has_the_whole_maps_and_a_large_image_no_selector(monkeypatch):
    image = uk.data.scene(0).image
    bench = uk.widgets.workbench("scenes", image)
    assert bench["Objects"].data()["made"] == "ULTra: norm, positive, layer 5"
    monkeypatch.setattr("ultra_kit.widgets.tabs.MOST", 143)
    assert list(uk.widgets.workbench("scenes", image).views) == ["Tokens", "Segments"]
