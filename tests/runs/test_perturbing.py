"""Deletion and insertion against curves worked by hand, and against images painted over."""

import numpy as np
import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from toys_models import mixed

import ultra_kit as uk
from ultra_kit.maps.explanation import make_maps
from ultra_kit.runs.perturbing import measure_perturbation, perturb

THIRDS = (0, 1 / 3, 2 / 3, 1)


@pytest.fixture
def cap():
    return mixed()


def maps_of(cap, *rows, tokens=(0,)):
    return make_maps(cap, np.array(rows, float), np.array(tokens), 1, method="by hand")


def test_curves_worked_by_hand(cap):
    found = perturb(cap, maps_of(cap, [9, 1, 2, 3]), fractions=THIRDS)
    # (1, 2, 2, 4) has length 5. Without patch 3: (1, 2, 2, 0), 9 / 15. Without 2 and 3: 1 / sqrt 5.
    np.testing.assert_allclose(found.deletion, [[1, 0.6, 0.2 * 5**0.5, 0.2]], rtol=1e-6)
    # Patch 3 alone beside the own one: (1, 0, 0, 4), sqrt 17 / 5; with patch 2: sqrt 21 / 5.
    np.testing.assert_allclose(found.insertion, [[0.2, 17**0.5 / 5, 21**0.5 / 5, 1]], rtol=1e-6)
    assert found.areas["deletion"] == pytest.approx((0.5 + 0.6 + 0.2 * 5**0.5 + 0.1) / 3, rel=1e-6)
    assert found.table.loc[1 / 3].tolist() == pytest.approx([0.6, 17**0.5 / 5])
    assert repr(found).startswith(
        "Perturbation(1 token, layer 1, area under the curve: deletion 0.549, insertion"
    )
    assert "<th>insertion</th>" in found._repr_html_()


def test_insertion_is_negative_perturbation_read_backwards(cap):
    found = perturb(cap, maps_of(cap, [0, 1, 2, 3]), fractions=THIRDS)
    least_first = perturb(cap, maps_of(cap, [0, 3, 2, 1]), fractions=THIRDS)
    np.testing.assert_allclose(found.insertion[:, ::-1], least_first.deletion)


def test_own_patch_stays_whatever_its_relevance(cap):
    high = perturb(cap, maps_of(cap, [1, 2, 3, 99], tokens=[3]), fractions=THIRDS)
    low = perturb(cap, maps_of(cap, [1, 2, 3, 0], tokens=[3]), fractions=THIRDS)
    np.testing.assert_array_equal(high.deletion, low.deletion)
    assert high.deletion[0, -1] == pytest.approx(0.8)  # (0, 0, 0, 4) against (1, 2, 2, 4)


def test_ties_are_drawn_from_the_seed(cap):
    flat = maps_of(cap, [1, 1, 1, 1])
    curves = [perturb(cap, flat, fractions=THIRDS, seed=seed).deletion.tobytes() for seed in range(12)]
    assert curves[0] == perturb(cap, flat, fractions=THIRDS, seed=0).deletion.tobytes()
    # Patches 1 and 2 weigh the same; 3 may go first, second or last.
    assert len(set(curves)) == 3


@pytest.mark.parametrize("batch_size", [1, 5])
def test_a_patch_taken_away_is_a_patch_painted_over(batch_size):
    torch.manual_seed(3)
    module = VisionTransformer(
        img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=2, num_classes=0
    ).eval()
    model = uk.load(module)
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    cap = uk.capture(model, image)
    maps = uk.explain(cap, layer=2, tokens=[3, 9])
    found = perturb(cap, maps, fractions=(0, 0.4, 1), batch_size=batch_size)
    colour = image.mean(axis=(0, 1)).round().astype(np.uint8)
    for t, token in enumerate([3, 9]):
        order = [p for p in np.argsort(-maps.content[t]) if p != token - 1]
        painted = image.copy()
        for p in order[:6]:  # 0.4 of the 15 other patches
            painted[p // 4 * 8 : p // 4 * 8 + 8, p % 4 * 8 : p % 4 * 8 + 8] = colour
        a, b = cap.tokens(2)[token], uk.capture(model, painted).tokens(2)[token]
        assert found.deletion[t, 1] == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b), abs=1e-5)


def test_methods_meet_the_same_tokens_of_the_same_images():
    model = uk.load("scenes", pretrained=False)
    images = [uk.data.scene(seed).image for seed in (1, 2)]
    asked = []

    def first(cap, tokens):
        asked.append(tokens.tolist())
        return uk.baselines.raw_attention(cap, layer=2, tokens=tokens)

    def second(cap, tokens):
        asked.append(tokens.tolist())
        return uk.baselines.rollout(cap, layer=2, tokens=tokens)

    found = measure_perturbation(
        model, {"a": first, "b": second}, images, per_image=3, fractions=(0, 0.5, 1), progress=False
    )
    assert asked[0] == asked[1] and asked[2] == asked[3] and asked[0] != asked[2]
    assert found["a"].deletion.shape == found["b"].insertion.shape == (6, 3)
    np.testing.assert_array_equal(found["a"].deletion[:, [0, 2]], found["b"].deletion[:, [0, 2]])
    with pytest.raises(ValueError, match="one layer"):
        measure_perturbation(
            model, {"a": first, "c": uk.baselines.rollout}, images, per_image=1, progress=False
        )
    with pytest.raises(ValueError, match="must be an image"):
        measure_perturbation(model, {"a": first}, [], progress=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fractions": (0, 0.5)}, "ascend from 0 to 1"),
        ({"fractions": (0, 0.5, 0.5, 1)}, "ascend from 0 to 1"),
        ({"batch_size": 0}, "batch_size"),
    ],
)
def test_refuses_options_out_of_range(cap, change, message):
    with pytest.raises(ValueError, match=message):
        perturb(cap, maps_of(cap, [0, 1, 2, 3]), **change)


def test_refuses_prefix_tokens_and_layer_0():
    cap = uk.capture(uk.load("scenes", pretrained=False), uk.data.scene(1).image)
    for layer, token in ((0, 30), (2, 1)):
        with pytest.raises(ValueError, match="content tokens of layer 1"):
            perturb(cap, uk.baselines.rollout(cap, layer=layer, tokens=[token]))
