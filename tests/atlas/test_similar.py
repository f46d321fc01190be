"""What is like a token in other inputs, and which clusters recur: against loops over captures, and by hand."""

import numpy as np
import pytest

import ultra_kit as uk
from ultra_kit.atlas import Embedding, PlacedInput
from ultra_kit.types import Layout


@pytest.fixture(scope="module")
def caps():
    model = uk.load("scenes")
    return [uk.capture(model, uk.data.scene(seed).image) for seed in range(4)]


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def by_hand(caps, asked, token, layer, k, per_input):
    """(likeness, capture, token) of the nearest, one after the other."""
    z = unit(caps[asked].tokens(layer)[token])
    every = [
        (float(unit(cap.tokens(layer)[i]) @ z), n, i)
        for n, cap in enumerate(caps)
        if n != asked
        for i in range(cap.layout.n_prefix, cap.layout.n_tokens)
    ]
    found = []
    for entry in sorted(every, reverse=True):
        if sum(n == entry[1] for _, n, _ in found) < per_input and len(found) < k:
            found.append(entry)
    return found


@pytest.mark.parametrize(("k", "per_input"), [(5, 2), (4, 1), (9, 9)])
def test_nearest_tokens_of_other_inputs(caps, k, per_input):
    found = uk.atlas.similar(caps[1], 40, among=caps, layer=3, k=k, per_input=per_input)
    true = by_hand(caps, 1, 40, 3, k, per_input)
    assert found.tokens.tolist() == [40, *(i for *_, i in true)]
    hashes = [cap.card["input_sha256"] for cap in caps]
    assert [hashes.index(placed.sha256) for placed in found.inputs] == [1, *(n for _, n, _ in true)]
    np.testing.assert_allclose(found.likeness, [1, *(s for s, *_ in true)], atol=2e-3)


def test_each_comes_with_its_map(caps):
    found = uk.atlas.similar(caps[0], 40, among=caps[1:], layer=3, k=2)
    for placed, token, row in zip(found.inputs, found.tokens, found.maps, strict=True):
        (cap,) = (c for c in caps if c.card["input_sha256"] == placed.sha256)
        (true,) = uk.explain(cap, layer=3, tokens=[int(token)]).without_own
        np.testing.assert_allclose(row, true / true.max(), rtol=1e-5)


def test_by_map_near_is_what_was_made_from_the_same(caps):
    found = uk.atlas.similar(caps[0], 40, among=caps[1:], by="map", layer=2, k=3)
    emb = uk.embed(caps, by="map", layer=2, method="pca")
    (row,) = np.flatnonzero((emb.source == [0, 40]).all(1))
    near = emb.vectors.astype(np.float32) @ emb.vectors[row].astype(np.float32)
    near[emb.source[:, 0] == 0] = -1
    assert emb.source[near.argmax(), 1] == found.tokens[1]
    assert found.likeness[1] == pytest.approx(near.max(), abs=1e-5)


def test_an_embedding_is_looked_through_itself_or_from_a_capture(caps):
    emb = uk.embed(caps, layer=3, method="pca", maps=True, since=-1)
    (row,) = np.flatnonzero((emb.source == [1, 40]).all(1))
    inside = uk.atlas.similar(emb, int(row), k=5)
    true = by_hand(caps, 1, 40, 3, 5, 2)
    assert inside.tokens.tolist() == [40, *(i for *_, i in true)]
    outside = uk.atlas.similar(caps[1], 40, among=emb, k=5)
    assert outside.tokens.tolist() == inside.tokens.tolist()
    for found in (inside, outside):
        kept = found.maps[1]
        (cap,) = (c for c in caps if c.card["input_sha256"] == found.inputs[1].sha256)
        (values,) = uk.explain(cap, layer=3, tokens=[int(found.tokens[1])], since=-1).without_own
        strongest = np.argsort(-kept, kind="stable")[:5]
        np.testing.assert_allclose(kept[strongest], (values / values.max())[strongest], atol=1e-4)
        assert (kept > 0).sum() <= 16
    assert not uk.atlas.similar(uk.embed(caps, layer=3, method="pca"), 0).maps


def test_one_capture_is_enough_to_look_in(caps):
    one, listed = (uk.atlas.similar(caps[0], 40, among=x, layer=3, k=2) for x in (caps[1], [caps[1]]))
    assert one.table.equals(listed.table)


def test_words_find_words_of_other_texts():
    lm = uk.load("briefs")
    texts = ["The fire reached Selby.", "The flood reached Norby.", "On Monday the storm began."]
    caps = [uk.capture(lm, text) for text in texts]
    found = uk.atlas.similar(caps[0], 4, among=caps, layer=2, k=1)
    assert found.table["what"].tolist() == ["Selby", "Norby"]
    assert found.table["token"].tolist() == [4, 4]
    with pytest.raises(ValueError, match="patches of images; for words see"):
        uk.plots.show_similar(found)


def test_what_cannot_be_is_refused_in_words(caps):
    emb = uk.embed(caps[:2], layer=3, method="pca")
    for options, error, said in (
        ({}, TypeError, "a capture with among="),
        ({"among": [caps[0]]}, ValueError, "another input than the one asked about"),
        ({"among": caps, "k": 0}, ValueError, "k must be at least 1"),
        ({"among": caps, "by": "colour"}, ValueError, "by must be one of latent, map"),
        ({"among": []}, ValueError, "among must hold captures of other inputs"),
        ({"among": 5}, TypeError, "captures; got int"),
    ):
        with pytest.raises(error, match=said):
            uk.atlas.similar(caps[0], 40, **options)
    for source in (emb, caps, "cat.jpg"):
        with pytest.raises(TypeError, match="an embedding alone"):
            uk.atlas.similar(source, 4, among=caps)
    with pytest.raises(ValueError, match=r"in 0\.\.287, a row of the embedding, got 288"):
        uk.atlas.similar(emb, 288)
    with pytest.raises(ValueError, match=r"token must be in 4\.\.147, a content position, got 0"):
        uk.atlas.similar(caps[0], 0, among=caps)
    photos = uk.capture(uk.load("photos", pretrained=False), caps[0].input)
    with pytest.raises(ValueError, match=r"needs tokens of scenes layer 3, .*got photos layer"):
        uk.atlas.similar(photos, 40, among=emb)


def made():
    """Four pictures of 1 x 3 patches: cluster 0 in all, 1 in two, 2 in one of them."""
    labels = np.int32([0, 1, -1, 0, 1, 2, 0, 0, -1, 0, -1, -1])
    vectors = np.zeros((12, 2), np.float16)
    vectors[labels == 0] = [1, 0]
    vectors[labels == 1] = [[1, 0], [0, 1]]
    vectors[labels == 2] = [0, 1]
    picture = PlacedInput(Layout("image", 1, grid=(1, 3), size=(2, 6)), np.full((2, 6, 3), 200, np.uint8))
    return Embedding(
        points=np.zeros((12, 2), np.float32),
        labels=labels,
        probabilities=np.ones(12, np.float32),
        source=np.int32([[n, 1 + i] for n in range(4) for i in range(3)]),
        vectors=vectors,
        inputs=(picture,) * 4,
        layer=2,
        names=("", "", ""),
    )


def test_parts_that_recur_by_hand():
    table = uk.atlas.recurring(made(), share=0.5)
    assert table.index.tolist() == [0, 1]
    assert table["share of inputs"].tolist() == [1, 0.5] and table["tokens per input"].tolist() == [1.25, 1]
    np.testing.assert_allclose(table["likeness"], [1, 0.5**0.5], atol=1e-6)
    assert uk.atlas.recurring(made(), share=0.25).index.tolist()[2:] == [1]  # 0 and 2 are equally alike
    with pytest.raises(ValueError, match="share must be above 0"):
        uk.atlas.recurring(made(), share=0)
    with pytest.raises(TypeError, match="recurring needs Embedding, got str"):
        uk.atlas.recurring("cat.jpg")


def test_a_row_of_the_contact_sheet_lights_the_patches_of_its_cluster():
    figure = uk.plots.show_parts(made(), rows=1, columns=4)
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["100% of pictures", "", "", ""]
    lit = [ax.images[-1].get_array()[..., 3] > 0 for ax in figure.axes]
    widths = sorted(mask[0].sum() // 2 for mask in lit)
    assert widths == [1, 1, 1, 2]
    with pytest.raises(ValueError, match="no cluster is in a share"):
        uk.plots.show_parts(Embedding(**{**vars(made()), "labels": np.full(12, -1, np.int32)}), share=1.0)


def test_the_contact_sheet_shows_each_token_above_its_map(caps):
    found = uk.atlas.similar(caps[0], 40, among=caps, k=3)
    figure = uk.plots.show_similar(found, columns=2)
    axes = [ax for ax in figure.axes if ax.images]
    assert len(figure.axes) == 8 and len(axes) == 8
    assert [ax.get_title() for ax in figure.axes[:2]] == ["asked", f"{found.likeness[1]:.2f}"]
    np.testing.assert_allclose(np.asarray(figure.axes[2].images[1].get_array()).ravel(), found.maps[0])
    assert len([ax for ax in uk.plots.show_similar(found, columns=3).axes if ax.images]) == 8


def test_in_an_atlas_of_several_layers_only_the_layer_asked_about_is_looked_through(caps):
    several = uk.embed(caps, layer=[2, 4], method="pca")
    one = uk.embed(caps, layer=4, method="pca")
    (row,) = np.flatnonzero((several.source == [1, 40]).all(1) & (several.layers == 4))
    (alone,) = np.flatnonzero((one.source == [1, 40]).all(1))
    for found in (
        uk.atlas.similar(several, int(row), k=7),
        uk.atlas.similar(caps[1], 40, among=several, layer=4, k=7),
    ):
        true = uk.atlas.similar(one, int(alone), k=7)
        assert found.layer == 4 and found.tokens.tolist() == true.tokens.tolist()
        np.testing.assert_array_equal(found.likeness, true.likeness)
    with pytest.raises(ValueError, match="layer must be one of 2, 4, got None"):
        uk.atlas.similar(caps[1], 40, among=several)
