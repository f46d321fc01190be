"""The world of scenes: what it promises about its truth."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from ultra_kit.data.drawn_scenes import _INSIDE, BACKGROUNDS, COLOURS, SHAPES, TEXTURES, scene


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31))
def test_truth_agrees_with_itself(seed):
    s = scene(seed)
    assert s.image.dtype == np.uint8 and s.image.shape == (96, 96, 3)
    assert 1 <= len(s.objects) <= 5
    assert sorted(np.unique(s.instances)) == list(range(len(s.objects) + 1))
    for k, o in enumerate(s.objects):
        inside = s.instances == k + 1
        assert inside.sum() == o.area >= 150
        assert set(s.classes[inside]) == {1 + SHAPES.index(o.shape)}
        assert o.phrase in s.caption
        assert o.colour in COLOURS and o.texture in TEXTURES
    assert set(s.classes[s.instances == 0]) == {0}
    assert s.background.split()[1] in BACKGROUNDS and s.caption.endswith(s.background)


def test_same_seed_same_scene_other_seed_other_scene():
    a, b, c = scene(3), scene(3), scene(4)
    assert np.array_equal(a.image, b.image) and np.array_equal(a.instances, b.instances)
    assert a.objects == b.objects
    assert not np.array_equal(a.image, c.image)


def test_non_square_and_number_of_objects():
    s = scene(11, size=(80, 128), n_objects=1)
    assert s.image.shape == (80, 128, 3) and len(s.objects) == 1


@pytest.mark.parametrize("kwargs", [{"size": (32, 96)}, {"n_objects": 0}, {"n_objects": 6}])
def test_refuses_what_it_cannot_compose(kwargs):
    with pytest.raises(ValueError, match="got"):
        scene(0, **kwargs)


def test_shapes_by_hand():
    # One point that lies inside and one that lies outside each shape, from its definition.
    points = {
        "circle": ((0.0, 0.9), (0.8, 0.8)),
        "square": ((0.7, 0.7), (0.0, 0.9)),
        "triangle": ((0.0, 0.0), (0.7, -0.5)),
        "star": ((0.0, 0.0), (0.0, 0.9)),
        "cross": ((0.9, 0.0), (0.6, 0.6)),
        "ring": ((0.75, 0.0), (0.0, 0.0)),
        "crescent": ((-0.6, 0.0), (0.5, 0.0)),
        "heart": ((0.0, 0.0), (0.0, 0.95)),
    }
    assert set(points) == set(SHAPES)
    for shape, (inside, outside) in points.items():
        assert _INSIDE[shape](*np.array(inside)[:, None])[0], shape
        assert not _INSIDE[shape](*np.array(outside)[:, None])[0], shape


def test_every_word_occurs():
    objects = [o for k in range(120) for o in scene(k).objects]
    assert {o.shape for o in objects} == set(SHAPES)
    assert {o.texture for o in objects} == set(TEXTURES)
    assert {o.colour for o in objects} == set(COLOURS)


def test_colour_alone_does_not_find_the_object():
    """Similarity of mean patch colours stays under 0.45 average precision, own position left out."""
    scores = []
    for seed in range(60):
        s = scene(seed)
        cells = s.image.reshape(12, 8, 12, 8, 3).mean(axis=(1, 3)).reshape(144, 3)
        blocks = s.instances.reshape(12, 8, 12, 8).swapaxes(1, 2).reshape(144, 64)
        label = np.array([np.bincount(b).argmax() for b in blocks])
        for k in range(1, len(s.objects) + 1):
            for i in np.flatnonzero(label == k)[::3]:
                others = np.arange(144) != i
                truth = (label == k)[others]
                if truth.sum() >= 3:
                    distance = np.linalg.norm(cells[others] - cells[i], axis=1)
                    scores.append(average_precision_score(truth, -distance))
    assert len(scores) > 500
    assert 0.2 < np.mean(scores) < 0.45
