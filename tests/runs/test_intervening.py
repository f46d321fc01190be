"""What is left of latents and readings without some positions: worked by hand, and against inputs painted over or masked."""

import numpy as np
import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from toys_models import loud_briefs, mixed

import ultra_kit as uk
from ultra_kit.maps.explanation import make_maps
from ultra_kit.runs import perturb


@pytest.fixture
def cap():
    return mixed()


@pytest.fixture(scope="module")
def classifier():
    """A tiny classifier of random weights, in float64, an image for it, and the patches painted over."""
    torch.manual_seed(3)
    module = VisionTransformer(img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=2, num_classes=7)
    for p in module.parameters():
        if p.ndim > 1:
            torch.nn.init.normal_(p, std=0.2)
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    painted = image.copy()
    for p in (2, 5, 11):
        painted[p // 4 * 8 : p // 4 * 8 + 8, p % 4 * 8 : p % 4 * 8 + 8] = image.mean(axis=(0, 1)).round()
    return uk.load(module.double().eval()), image, painted


@pytest.fixture(scope="module")
def text():
    return uk.capture(loud_briefs(), "The flood damaged 112 houses on Monday.")


def test_worked_by_hand(cap):
    found = uk.intervene(cap, remove=[3], token=0, n_random=2)
    # (1, 2, 2, 4) has length 5; without patch 3 it is (1, 2, 2, 0), of length 3, and has moved by 4.
    np.testing.assert_allclose(found.cosine[0], 4 * [0.6], rtol=1e-6)
    np.testing.assert_allclose(found.distance[0], 4 * [0.8], rtol=1e-6)
    without = {1: 21**0.5 / 5, 2: 21**0.5 / 5, 3: 0.6}  # random removals: never the watched token's own patch
    for gone, row in zip(found.gone[1:], found.cosine[1:], strict=True):
        (position,) = np.flatnonzero(gone)
        assert row[0] == pytest.approx(without[position])
    assert found.removed.tolist() == [3]
    assert found.table.loc["token 0", "distance"] == pytest.approx(0.8)
    assert found.reading.empty
    assert repr(found).startswith(
        "Intervention: without 1 of 4 patches, layer 1: token 0 (row 0, column 0) keeps a cosine of 0.60 to itself"
    )
    assert "<th>cosine, random</th>" in found._repr_html_()


def test_to_keep_is_to_remove_the_others(cap):
    keep, remove = uk.intervene(cap, keep=[3], token=0), uk.intervene(cap, remove=[1, 2], token=0)
    np.testing.assert_array_equal(keep.gone[0], remove.gone[0])
    np.testing.assert_allclose(keep.cosine[0, 0], 17**0.5 / 5, rtol=1e-6)  # (1, 0, 0, 4)
    assert "all but those kept" in repr(keep)


def test_own_position_stays_and_others_are_those_that_stayed(cap):
    found = uk.intervene(cap, remove=[0, 2, 3], token=0)
    assert found.removed.tolist() == [2, 3]
    found.cosine[0, 1] = 0.25  # the one other token that stayed
    assert found.table.loc["other tokens, mean", "cosine"] == pytest.approx(0.25)


def test_it_is_one_point_of_the_deletion_curve(cap):
    maps = make_maps(cap, np.array([[9.0, 1, 2, 3]]), np.array([0]), 1, method="by hand")
    curve = perturb(cap, maps, fractions=(0, 2 / 3, 1)).deletion
    found = uk.intervene(cap, remove=maps.top(0, 0.5), token=0)
    assert found.removed.tolist() == [2, 3]
    assert found.cosine[0, 0] == pytest.approx(curve[0, 1])


def test_patches_painted_over_give_the_same_latents_and_logits(classifier):
    model, image, painted = classifier
    cap = uk.capture(model, image)
    found = uk.intervene(cap, remove=[3, 6, 12], layer=1)
    a, b = cap.tokens(1), uk.capture(model, painted).tokens(1)
    length = np.linalg.norm(a, axis=1)
    np.testing.assert_allclose(found.distance[0], np.linalg.norm(b - a, axis=1) / length, atol=1e-5)
    cosine = (a * b).sum(1) / length / np.linalg.norm(b, axis=1)
    np.testing.assert_allclose(found.cosine[0], cosine, atol=1e-5)
    with torch.no_grad():
        before, after = (model.module(model.prepare(x)[0]["pixel_values"])[0] for x in (image, painted))
    assert found.kind == "class"
    for number, row in found.reading.iterrows():
        assert row["before"] == pytest.approx(before[number].item(), abs=1e-5)
        assert row["after"] == pytest.approx(after[number].item(), abs=1e-5)
    assert found.reading.index[0] == int(before.argmax()) and int(after.argmax()) in found.reading.index


def test_what_is_read_is_said_in_its_own_words():
    scenes, drawn = uk.load("scenes"), uk.data.scene(0)
    phrases = ["a red star", "a blue ring"]
    cap = uk.capture(scenes.zero_shot(phrases), drawn.image)
    found = uk.intervene(cap, remove=[31, 43], token=30, n_random=1)
    assert found.kind == "phrase" and set(found.reading.index) == set(phrases)
    said = cap.model.head(cap.latents[-1][30].detach()).numpy()
    for phrase, value in zip(phrases, said, strict=True):
        assert found.reading.loc[phrase, "before"] == pytest.approx(value, abs=1e-5)
    assert "phrase 'a " in found.sentence
    plain = uk.intervene(uk.capture(scenes, drawn.image), remove=[31, 43], token=30, n_random=1)
    assert plain.kind == "prototype" and "class" not in plain.sentence
    labels = [uk.plots.show_intervention(one).axes[2].get_xlabel() for one in (found, plain)]
    assert labels == ["cosine similarity to the phrase", "logit"]


def test_masked_tokens_give_what_the_model_makes_of_the_mask(text):
    gone, at = [2, 3], 5
    ids = text.inputs["input_ids"]
    mask = torch.ones_like(ids)
    mask[0, gone] = 0
    found = uk.intervene(text, remove=gone, token=at, layer=2, n_random=1)
    masked = uk.capture(text.model, {"input_ids": ids, "attention_mask": mask})
    a, b = text.tokens(2), masked.tokens(2)
    np.testing.assert_allclose(
        found.distance[0], np.linalg.norm(b - a, axis=1) / np.linalg.norm(a, axis=1), atol=1e-5
    )
    np.testing.assert_allclose(found.distance[0, :2], 0, atol=1e-6)  # nothing before is touched
    assert found.distance[0, at] > 1e-3
    with torch.no_grad():
        says = text.model.module(input_ids=ids, attention_mask=mask).logits[0, at].softmax(-1)
    best = text.model.strings([int(says.argmax())])[0]
    assert found.kind == "next token"
    assert found.reading.loc[best, "after"] == pytest.approx(says.max().item(), rel=1e-5)


def test_pieces_of_the_same_text_are_told_apart(text, monkeypatch):
    monkeypatch.setattr(type(text.model), "strings", lambda self, ids: ("?",) * len(ids))
    found = uk.intervene(text, remove=[2], token=4, n_random=1)
    assert len(found.reading) > 1 and "next token '?' from" in found.sentence
    assert uk.plots.show_intervention(found)


def test_random_tokens_are_among_those_that_the_token_sees(text):
    found = uk.intervene(text, remove=[2], token=4, n_random=20)
    drawn = {int(p) for row in found.gone[1:] for p in np.flatnonzero(row)}
    assert drawn == {1, 2, 3}  # not position 0, not its own, none behind it


def test_deletion_of_a_text_counts_what_the_token_sees(text):
    maps = make_maps(text, np.arange(text.layout.n_tokens)[None], np.array([4]), 2, method="by hand")
    curve = perturb(text, maps, fractions=(0, 1 / 3, 1)).deletion[0]
    for point, gone in ((1, [3]), (2, [1, 2, 3])):  # 3 of the tokens 1..3 is named first
        found = uk.intervene(text, remove=gone, token=4, layer=2, n_random=1)
        assert curve[point] == pytest.approx(found.cosine[0, 4], abs=1e-6)


def test_decoder_tokens_are_masked_too():
    import transformers as tf

    torch.manual_seed(0)
    tokenizer = uk.load("briefs", pretrained=False).tokenizer
    config = tf.T5Config(
        vocab_size=len(tokenizer), d_model=24, d_kv=6, d_ff=40, num_layers=2, num_heads=4,
        decoder_start_token_id=0, pad_token_id=0, eos_token_id=1,
    )  # fmt: skip
    model = uk.load(tf.T5ForConditionalGeneration(config).eval(), transform=tokenizer)
    cap = uk.capture(model, {"input_ids": [5, 6, 7, 8], "decoder_input_ids": [0, 9, 10, 11]})
    found = uk.intervene(cap, remove=[2, 5], token=7, n_random=1)
    masks = {"attention_mask": [1, 1, 0, 1], "decoder_attention_mask": [1, 0, 1, 1]}
    masked = uk.capture(model, {"input_ids": [5, 6, 7, 8], "decoder_input_ids": [0, 9, 10, 11], **masks})
    a, b = cap.tokens(-1), masked.tokens(-1)
    np.testing.assert_allclose(
        found.distance[0], np.linalg.norm(b - a, axis=1) / np.linalg.norm(a, axis=1), atol=1e-4
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "one of remove= and keep="),
        ({"remove": [1], "keep": [2]}, "one of remove= and keep="),
        ({"remove": [0], "token": 0}, "nothing is taken away"),
        ({"remove": [4]}, "tokens must be in 0..3"),
        ({"remove": [1], "n_random": 0}, "n_random must be at least 1"),
        ({"remove": [1], "token": 9}, "token must be in 0..3"),
        ({"remove": [1], "seed": -1}, "seed must be at least 0"),
    ],
)
def test_refusals(cap, options, message):
    with pytest.raises(ValueError, match=message):
        uk.intervene(cap, **options)


@pytest.mark.filterwarnings("error")
def test_where_all_others_are_gone_nothing_is_said_of_them(cap):
    alone = uk.intervene(cap, remove=[0, 1, 2, 3], token=3)
    assert alone.table.loc["other tokens, mean"].isna().all() and alone.table.loc["token 3"].notna().all()
    assert "nan" not in alone.sentence and "token 3" in alone.sentence
    assert "the mean of the others keeps" in uk.intervene(cap, remove=[1]).sentence


def test_refuses_prefix_tokens_and_what_is_no_capture(classifier):
    cap = uk.capture(*classifier[:2])
    with pytest.raises(ValueError, match="prefix token 0"):
        uk.intervene(cap, remove=[0, 1])
    with pytest.raises(TypeError, match="intervene needs Capture"):
        uk.intervene(uk.explain(cap, layer=1, tokens=[1]), remove=[1])


def test_leaves_the_model_as_it_was(classifier):
    model, image, _ = classifier
    cap = uk.capture(model, image)
    before = cap.tokens(-1).copy()
    uk.intervene(cap, remove=[3])
    np.testing.assert_array_equal(uk.capture(model, image).tokens(-1), before)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.module.modules())


def test_figures_show_what_was_taken_away(cap, text):
    found = uk.intervene(cap, remove=[2, 3], token=0)
    left, middle, right = uk.plots.show_intervention(found).axes[:3]
    assert left.get_title() == "without 2 of 4 patches" and len(left.patches) == 4  # and the outline, twice
    shown = middle.images[0].get_array()
    np.testing.assert_allclose(shown.filled(-1).ravel()[:2], 1 - found.cosine[0, :2], rtol=1e-6)
    assert shown.mask.ravel().tolist() == [False, False, True, True]
    assert [b.get_width() for b in right.containers[0]] == pytest.approx(
        1 - found.table["cosine"].to_numpy(), rel=1e-6
    )
    struck = uk.intervene(text, remove=[2, 3], token=5)
    figure = uk.plots.show_intervention(struck)
    assert len(figure.axes[0].lines) == 2 and len(figure.axes) == 2
    bottom, top = figure.axes[0].get_ylim()
    assert bottom - top >= 10, "a text of one line is not drawn as high as the panel beside it"
    assert figure.axes[1].get_xlabel() == "probability of the next token"


def test_a_map_stands_beside_its_own_deletion(text):
    maps = uk.explain(text, layer=2, tokens=[4, 5])
    curves = perturb(text, maps, fractions=(0, 0.5, 1))
    left, right = uk.plots.map_and_deletion(maps, {"ULTra": curves}, 5).axes
    assert left.get_title() == "token 5, layer 2"
    np.testing.assert_array_equal(right.lines[0].get_ydata(), curves.deletion[1])
