"""`EmbeddingExplorer` from Python: its state, what a page is told, what passes between page and kernel."""

from dataclasses import replace
from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
import traitlets
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib.path import Path
from toys_embedding import beside, image_embedding, text_embedding

import ultra_kit as uk
from ultra_kit.widgets import EmbeddingExplorer
from ultra_kit.widgets.embedding_page import most_alike, places, ways
from ultra_kit.widgets.map_books import quantise


def test_what_a_notebook_stores_is_html_picture_and_text():
    bundle = EmbeddingExplorer(image_embedding())._repr_mimebundle_()
    assert sorted(bundle) == ["image/png", "text/html", "text/plain"]
    assert bundle["text/plain"] == "EmbeddingExplorer(36 tokens of 3 inputs, by cluster, 0 selected)"
    assert bundle == EmbeddingExplorer(image_embedding())._repr_mimebundle_()
    page_data = EmbeddingExplorer(text_embedding()).data()
    assert page_data["sheet"] == b"" and page_data["inputs"][1]["words"][1] == [2, 5, [2]]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("selected", [3, 36], r"in 0\.\.35, got 36"),
        ("selected", [-1], "got -1"),
        ("selected", [1.5], "list of ints"),
        ("selected", [True], "list of ints"),
        ("selected", "abc", "list of ints"),
        ("selected", [[1, 2]], "list of ints"),
        ("pinned", 36, "pinned must be in -1..35"),
        ("paint", "colour", "one of 'cluster', 'input', 'position'"),
    ],
)
def test_impossible_state_is_refused(name, value, said):
    view = EmbeddingExplorer(image_embedding())
    before = getattr(view, name)
    with pytest.raises(traitlets.TraitError, match=said):
        setattr(view, name, value)
    assert getattr(view, name) == before


def test_a_selection_is_a_list_of_points_in_order():
    view = EmbeddingExplorer(image_embedding())
    view.selected = np.array([7, 3, 7])
    assert view.selected == [3, 7]
    assert view._emb.source[view.selected].tolist() == [[0, 7], [0, 15]]
    view.selected = np.flatnonzero(view._emb.labels == 99)
    assert view.selected == []


def test_what_is_no_embedding_or_does_not_fit_it_is_refused():
    emb = image_embedding()
    with pytest.raises(TypeError, match=r"EmbeddingExplorer needs Embedding, got list: emb = uk\.embed"):
        EmbeddingExplorer([emb])
    with pytest.raises(
        ValueError, match=r"truth must be one value for each of the 36 points, got an array of shape \(3,\)"
    ):
        EmbeddingExplorer(emb, truth=[1, 2, 3])
    with pytest.raises(ValueError, match="captures must be the 3 of the embedding, got 1"):
        EmbeddingExplorer(emb, captures=[None])
    with pytest.raises(ValueError, match="cluster is a way to colour already"):
        EmbeddingExplorer(emb, truth={"cluster": np.zeros(36)})


def test_what_stands_beside_must_be_another_atlas_of_the_same_tokens():
    emb = image_embedding()
    other = beside(emb)
    with pytest.raises(TypeError, match="EmbeddingExplorer needs Embedding, got list"):
        EmbeddingExplorer(emb, beside=[other])
    moved_source = replace(other, source=other.source[::-1])
    elsewhere = replace(other, inputs=other.inputs[::-1])
    for wrong in (moved_source, elsewhere, text_embedding()):
        with pytest.raises(ValueError, match="the same tokens of the same inputs in the same order, got Emb"):
            EmbeddingExplorer(emb, beside=wrong)
    with pytest.raises(
        ValueError, match="beside must be another atlas: of another layer, by, method or seed"
    ):
        EmbeddingExplorer(emb, beside=image_embedding())
    with pytest.raises(ValueError, match="cluster by map is a way to colour already"):
        EmbeddingExplorer(emb, beside=other, truth={"cluster by map": np.zeros(36)})
    with pytest.raises(traitlets.TraitError, match="moved must be one of False, got True"):
        EmbeddingExplorer(emb).moved = True
    titles = {
        ("by latent", "by map"): other,
        ("layer 7, by latent", "layer 3, by map"): replace(other, layer=3),
        ("umap", "pca"): replace(emb, method="pca"),
        ("seed 0", "seed 5"): replace(emb, seed=5),
    }
    for said, one in titles.items():
        assert EmbeddingExplorer(emb, beside=one).data()["titles"] == list(said)
    assert EmbeddingExplorer(emb).data()["titles"] == [""]


def test_the_still_picture_of_points_that_moved():
    emb = image_embedding()
    other = beside(emb)
    view = EmbeddingExplorer(emb, beside=other)
    for moved, paint in product((False, True), ("cluster", "cluster by map")):
        view.moved, view.paint = moved, paint
        labels = emb.labels if paint == "cluster" else other.labels
        dots = view.figure().axes[0].collections[0]
        order = np.argsort(labels >= 0, kind="stable")
        points = (other if moved else emb).points
        np.testing.assert_array_equal(dots.get_offsets().data, points[order])
        theirs = uk.plots.atlas(replace(emb, labels=labels)).axes[0].collections[0].get_facecolors()
        np.testing.assert_array_equal(dots.get_facecolors(), theirs)
    assert view.figure().axes[0].get_title().endswith("layer 7 by map")


@given(
    arrays(np.float32, (30, 2), elements=st.floats(-50, 50, width=32), fill=st.nothing()),
    arrays(
        float, (7, 2), elements=st.integers(-60, 60)
    ),  # a corner 1e-8 from a line says only how a library rounds
)
def test_a_lasso_holds_what_matplotlib_says_lies_in_a_polygon(points, polygon):
    emb = uk.atlas.Embedding(
        points, np.zeros(30, int), np.ones(30), np.zeros((30, 2), int), points, image_embedding().inputs
    )
    q, corner, step = places(points)
    assert abs(corner + step * q - points).max() <= 0.51 * step + 1e-5
    # Of a polygon that crosses itself both count the edges beside a point only where it is convex; its hull is.
    from scipy.spatial import ConvexHull, QhullError

    try:
        hull = ConvexHull(polygon)
    except QhullError:
        return
    corners, at = polygon[hull.vertices], corner + step * q
    found = np.isin(np.arange(30), EmbeddingExplorer(emb).inside(corners.tolist()))
    # On an edge, up to rounding, either answer is right: the hull's equations give the distances to its edges.
    sure = abs(at @ hull.equations[:, :2].T + hull.equations[:, 2]).min(axis=1) > 1e-6
    np.testing.assert_array_equal(found[sure], Path(corners).contains_points(at)[sure])


def test_a_lasso_may_have_a_hole_in_its_side():
    view = EmbeddingExplorer(image_embedding())  # points at 0..5 x 0..5
    u = [(-0.5, -0.5), (5.5, -0.5), (5.5, 1.5), (0.5, 1.5), (0.5, 3.5), (5.5, 3.5), (5.5, 5.5), (-0.5, 5.5)]
    where = {divmod(int(i), 6) for i in view.inside(u)}  # (row, column)
    assert where == {(r, c) for r in range(6) for c in range(6) if r in (0, 1, 4, 5) or c == 0}
    assert view.inside([]).tolist() == view.inside([(0, 0)]).tolist() == []


def test_ways_to_colour():
    emb = image_embedding()
    truth = {
        "kind": np.array(["cat", "dog"])[np.arange(36) % 2],
        "number": np.arange(36) % 3 - 1,
        "depth": np.where(np.arange(36) == 5, np.nan, np.arange(36) / 35),
        "inside": np.arange(36) < 4,
    }
    found = ways(emb, truth)
    assert list(found) == ["cluster", "input", "position", *truth]
    assert (
        found["cluster"].names == ["sky", "1", "tree"]
        and found["cluster"].values.tolist() == emb.labels.tolist()
    )
    assert found["input"].names[1] == "picture 1.png" and found["input"].values[12] == 1
    assert found["position"].values[:4].tolist() == [0, 6, 12, 5 * 16]  # columns 0, 2, 4 of 6; row 1 of 4
    assert found["kind"].names == ["cat", "dog"] and found["kind"].python == ["'cat'", "'dog'"]
    assert found["number"].names == ["0", "1"] and found["number"].values[:4].tolist() == [-1, 0, 1, -1]
    assert found["depth"].values[[0, 5, 35]].tolist() == [0, -1, 255] and found["depth"].scale == "0 to 1"
    assert found["inside"].python == ["False", "True"]
    for way in found.values():
        for name, python in zip(way.names, way.python, strict=True):
            chosen = eval(f"{way.code} == {python}", {"emb": emb, **truth})
            np.testing.assert_array_equal(chosen, way.values == way.names.index(name))


def test_several_layers_are_a_way_to_colour_and_one_is_none():
    emb = image_embedding(layer=(4, 8, 11), layers=np.repeat(np.int32([8, 4, 11]), 12))
    way = ways(emb, {})["layer"]
    assert way.names == ["layer 4", "layer 8", "layer 11"] and way.values[::12].tolist() == [1, 0, 2]
    for name, python in zip(way.names, way.python, strict=True):
        chosen = eval(f"{way.code} == {python}", {"emb": emb})
        np.testing.assert_array_equal(chosen, way.values == way.names.index(name))
    page = EmbeddingExplorer(emb).data()
    assert page["made"].startswith("Tokens of layers 4, 8, 11, placed by latent with umap. Maps")
    assert [paint["key"] for paint in page["paints"]] == ["cluster", "input", "position", "layer"]
    drawn = uk.plots.atlas(emb, colour="layer").axes[0].get_legend().legend_handles
    theirs = [np.rint(255 * handle.get_facecolor()[0, :3]).tolist() for handle in drawn]
    assert page["paints"][3]["colours"] == theirs
    view = EmbeddingExplorer(emb)
    view.paint = "layer"
    assert len(view.figure().axes[0].get_legend().get_texts()) == 3
    with pytest.raises(ValueError, match="layer is a way to colour already"):
        EmbeddingExplorer(emb, truth={"layer": np.zeros(36)})
    assert list(ways(image_embedding(), {"layer": np.zeros(36)})) == ["cluster", "input", "position", "layer"]


def test_most_alike_are_looked_for_in_the_same_layer():
    layers = np.tile(np.int32([2, 5]), 18)
    rng = np.random.default_rng(4)
    emb = image_embedding(layer=(2, 5), layers=layers, vectors=rng.normal(size=(36, 4)).astype(np.float16))
    alone = {k: np.flatnonzero(layers == k) for k in (2, 5)}
    found = most_alike(emb, np.arange(36))
    for layer, rows in alone.items():
        part = image_embedding()
        fields = {
            n: getattr(emb, n)[rows] for n in ("points", "labels", "probabilities", "source", "vectors")
        }
        part = replace(part, **fields, layer=layer, mapped=None)
        np.testing.assert_array_equal(found[rows], rows[most_alike(part, np.arange(len(rows)))])


def test_the_still_picture_shows_colours_and_selection():
    emb = image_embedding()
    truth = np.arange(36) / 35
    view = EmbeddingExplorer(emb, truth=truth)
    for paint, colour in {"cluster": "cluster", "position": "position", "truth": truth}.items():
        view.paint = paint
        theirs = uk.plots.atlas(emb, colour=colour).axes[0].collections[0].get_facecolors()
        dots = view.figure().axes[0].collections[0]
        np.testing.assert_array_equal(dots.get_facecolors(), theirs)
    view.selected = [0, 1]
    dots = view.figure().axes[0].collections[0]
    clear = dots.get_offsets().data[dots.get_alpha() > 0.5]
    assert clear.tolist() == [[0, 0], [1, 0]]


def test_page_and_kernel_follow_each_other(monkeypatch):
    view = EmbeddingExplorer(image_embedding())
    widget = view.live()
    widget.set_state({"selected": [5, 2], "pinned": 4})  # what a lasso and a click in the page send
    assert view.selected == widget.selected == [2, 5] and view.pinned == 4
    view.selected = view.inside([(-1, -1), (0.5, -1), (0.5, 9), (-1, 9)])
    assert widget.selected == [0, 6, 12, 18, 24, 30]
    sent = []
    monkeypatch.setattr(widget, "send", lambda content, buffers=None: sent.append(content))
    widget.set_state({"pinned": 99})
    assert widget.pinned == 4 and "pinned must be in -1..35" in sent[0]["error"]


def test_python_works_out_the_whole_map_of_a_point():
    model = uk.load("scenes")
    caps = [uk.capture(model, uk.data.scene(i).image) for i in range(2)]
    inputs = tuple(uk.atlas.PlacedInput(cap.layout, np.asarray(cap.input)) for cap in caps)
    source = np.int32([[0, 30], [1, 50]])
    points = np.float32([[0, 0], [1, 1]])
    emb = uk.atlas.Embedding(points, np.int32([0, 0]), np.ones(2, "f4"), source, points, inputs, layer=3)
    assert EmbeddingExplorer(emb).answer({"point": 1}) == ({"point": 1, "alike": [[0]]}, [])
    content, buffers = EmbeddingExplorer(emb, captures=caps).answer({"point": 1})
    row = uk.explain(caps[1], layer=3, tokens=[50]).without_own[0]
    assert content == {"point": 1, "alike": [[0]]}
    assert buffers == [quantise(row)[0].tobytes()]


def test_the_whole_map_of_a_point_is_of_its_layer():
    model = uk.load("scenes")
    caps = [uk.capture(model, uk.data.scene(i).image) for i in range(2)]
    emb = uk.embed(caps, layer=[2, 4], method="pca", tokens=4)
    view = EmbeddingExplorer(emb, captures=caps)
    for point in (0, 7, 15):
        (number, token), layer = emb.source[point].tolist(), int(emb.layers[point])
        row = uk.explain(caps[number], layer=layer, tokens=[token]).without_own[0]
        assert view.answer({"point": point})[1] == [quantise(row)[0].tobytes()]


def test_the_whole_map_of_a_word_is_of_words(monkeypatch):
    emb = text_embedding()
    row = np.float32([[4, 1, 0, 2, 0, 0]])
    monkeypatch.setattr(
        "ultra_kit.widgets.embedding_explorer.explain",
        lambda cap, layer, tokens: (
            SimpleNamespace(without_own=row) if (cap, tokens) == ("first", [3]) else None
        ),
    )
    _, buffers = EmbeddingExplorer(emb, captures=["first", "second"]).answer({"point": 2})
    words = [text for text in ("The", "cat", "sat", ".", "The", "dog", "ran", ".")]
    assert [w.text for w in emb.inputs[0].words] == words
    # The tokens are "The", "cat", "sat.", "The", "dog", "ran."; a full stop has no token of its own.
    assert np.frombuffer(buffers[0], np.uint8).tolist() == [255, 64, 0, 0, 128, 0, 0, 0]


def test_most_alike_are_those_of_other_inputs_with_the_largest_cosine(monkeypatch):
    rng = np.random.default_rng(3)
    emb = image_embedding()
    vectors = rng.normal(size=(36, 7))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)
    shuffled = rng.permutation(36)  # rows of an input need not follow each other
    made = {
        "wanted": {
            "layer": 7,
            "by": "latent",
            "since": None,
            "tokens": None,
            "seed": 0,
            "maps": True,
            "phrases": (),
        }
    }
    inputs = tuple(replace(one, sha256=str(i)) for i, one in enumerate(emb.inputs))
    emb = replace(
        emb,
        vectors=vectors,
        source=emb.source[shuffled],
        inputs=inputs,
        card={"embedding": made, "model": {"name": "x"}},
    )
    found = most_alike(emb, np.arange(36))
    assert found.shape == (36, 2)
    for row in range(36):
        theirs = uk.atlas.similar(emb, row, k=6, per_input=1)
        assert emb.source[found[row], 1].tolist() == theirs.tokens[1:].tolist()
        assert [emb.inputs[i] for i in emb.source[found[row], 0]] == list(theirs.inputs[1:])
    packed = EmbeddingExplorer(emb).data()["alike"]
    assert np.frombuffer(packed, np.uint16).reshape(36, 2).tolist() == found.tolist()
    monkeypatch.setattr("ultra_kit.widgets.embedding_page._MOST_PRODUCTS", 36 * 36 * 7 - 1)
    assert EmbeddingExplorer(emb).data()["alike"] == b"", "too many: Python is asked for a point"
    alone = replace(
        emb, source=np.stack([np.zeros(36, int), np.arange(36) % 24 + 1], 1), inputs=emb.inputs[:1]
    )
    assert most_alike(alone, np.arange(36)).shape == (36, 0)


def test_export_html_gives_the_view(tmp_path):
    text = uk.export_html(image_embedding(card={"model": {"name": "toy"}}), tmp_path / "x.html").read_text(
        "utf-8"
    )
    assert "36 tokens of 3 inputs by latent, toy" in text and "Provenance" in text and "makePlot" in text
