"""Scores on scenes: a method that knows the truth scores one, a spike at the own position scores chance."""

import numpy as np
import pytest

import ultra_kit as uk
from ultra_kit.data.drawn_scenes import scene
from ultra_kit.maps.explanation import make_maps
from ultra_kit.runs import synthetic_truth as validation

SEEDS = [5, 6, 9]


@pytest.fixture(scope="module")
def model():
    return uk.load("scenes", pretrained=False)


def knowing(cap, tokens):
    """Maps that are the truth, by a slow count of the pixels of each patch."""
    (s,) = [s for s in map(scene, SEEDS) if np.array_equal(s.image, cap.input)]
    label = np.zeros(144, int)
    for i in range(144):
        block = s.instances[i // 12 * 8 : i // 12 * 8 + 8, i % 12 * 8 : i % 12 * 8 + 8]
        label[i] = np.bincount(block.ravel()).argmax()
    values = np.zeros((len(tokens), cap.layout.n_tokens))
    for t, token in enumerate(tokens):
        values[t, 4:] = label == label[token - 4]
    return make_maps(cap, values, tokens, 1, method="truth")


def spike(cap, tokens):
    """Nothing but the own position."""
    return make_maps(cap, np.eye(cap.layout.n_tokens)[tokens], tokens, 1, method="spike")


def test_truth_scores_one_and_the_own_position_counts_for_nothing(model):
    scores = validation.measure_maps(model, {"truth": knowing, "spike": spike}, SEEDS, progress=False)
    assert scores["truth"] == pytest.approx({"AP": 1, "pointing": 1, "energy": 1})
    assert scores["spike"]["AP"] == pytest.approx(scores["chance"]["AP"])
    assert 0.03 < scores["chance"]["AP"] < 0.3


def test_true_maps_give_the_true_segments(model):
    found = validation.measure_segments(model, {"truth": knowing, "spike": spike}, SEEDS, progress=False)
    for metric in ("cosine", "hellinger"):
        ceiling = found["ceiling"][metric]
        assert found["truth"][metric] > 0.8 * ceiling
        assert found["spike"][metric] < 0.5 * ceiling < ceiling <= 1


def test_tokens_of_small_objects_are_left_out():
    s = scene(5)
    own, truth = validation.object_tokens(s, (12, 12))
    assert (truth.sum(axis=1) >= 4).all() and truth[np.arange(len(own)), own].all()
    few, _ = validation.object_tokens(s, (12, 12), per_object=1)
    assert set(few) <= set(own) and len(few) == len({tuple(row) for row in truth})
    assert len(validation.object_tokens(s, (12, 12), smallest=145)[0]) == 0


def test_refuses_scenes_without_objects_of_four_patches(model):
    with pytest.raises(ValueError, match="got none"):
        validation.measure_maps(model, {}, [], progress=False)
