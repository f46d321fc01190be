"""A share of the tokens: which ones, the same rows, and segments of the whole image from them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toys_captures import attention_stack, make_capture

import ultra_kit as uk
from ultra_kit.types import ExplanationMaps, Layout


def test_by_hand():
    # Two rows of three: the middles of 2 x 2 cells in a grid of 4 x 6, behind one prefix token.
    assert Layout("image", 1, grid=(4, 6)).spread(0.25).tolist() == [8, 10, 12, 20, 22, 24]
    assert Layout("text", 2, tokens=tuple("ab0123456789")).spread(0.3).tolist() == [3, 7, 10]
    assert Layout("image", 0, grid=(5, 5)).spread(1e-9).tolist() == [12]


@settings(deadline=None)
@given(h=st.integers(1, 40), w=st.integers(1, 40), share=st.floats(0.001, 1))
def test_evenly(h, w, share):
    layout = Layout("image", 3, grid=(h, w))
    found = layout.spread(share)
    assert (np.diff(found) > 0).all() and found[0] >= 3 and found[-1] < layout.n_tokens
    y, x = np.divmod(found - 3, w)
    for at, n in ((np.unique(y), h), (np.unique(x), w)):
        # Neighbours are as far apart as the ends of the middle ones' cells, up to a patch.
        gaps = np.diff(at, prepend=-at[0] - 1, append=2 * n - 1 - at[-1])
        assert np.ptp(gaps) <= 2
    assert len(found) == len(np.unique(y)) * len(np.unique(x))
    if h > 3 and w > 3 and h * w * share > 9:
        assert len(found) == pytest.approx(h * w * share, rel=0.34)


def test_all_of_them_and_none():
    layout = Layout("image", 1, grid=(3, 7))
    np.testing.assert_array_equal(layout.spread(1.0), layout.content)
    cap = attention_stack(n=6, seed=3)
    np.testing.assert_array_equal(cap.token_indices(None), cap.layout.content)
    for share in (0.0, -0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match="a share of the tokens must be above 0 and at most 1"):
            uk.explain(cap, tokens=share)


def test_rows_are_those_of_all():
    cap = uk.capture(uk.load("scenes", pretrained=False), uk.data.scene(0).image)
    part, every = (uk.explain(cap, layer=2, since=1, tokens=t) for t in (0.2, None))
    assert len(part) == 30 == len(uk.plan(cap, layer=2, since=1, tokens=0.2).tokens)
    np.testing.assert_allclose(part.values, every.values[part.tokens - cap.layout.n_prefix], atol=1e-6)
    same = uk.baselines.rollout(cap, layer=2, tokens=0.2)
    np.testing.assert_array_equal(same.tokens, part.tokens)


def block_maps(seed=0):
    """Maps of tokens of three bands of a grid, each looking at its band, with a little noise."""
    layout = Layout("image", 1, grid=(12, 10), size=(60, 50))
    band = np.repeat([0, 1, 2], 4).repeat(10)
    noise = np.random.default_rng(seed).random((120, 120))
    values = np.pad((band[:, None] == band) + 0.05 * noise, ((0, 0), (1, 0))).astype(np.float32)
    return ExplanationMaps(values, layout.content, 3, layout), band.reshape(12, 10)


def test_every_pixel_chooses():
    maps, band = block_maps()
    index = maps.layout.spread(0.2)
    few = uk.segment(replace(maps, values=maps.values[index - 1], tokens=index), threshold=0.25)
    assert few.n_segments == 3 and len(few.tokens) == 25 and few.labels.shape == (60, 50)
    middles = few.labels.reshape(12, 5, 10, 5)[:, 2, :, 2]
    np.testing.assert_array_equal(middles, band)
    np.testing.assert_array_equal(middles, uk.segment(maps, threshold=0.25).labels[2::5, 2::5])


def test_groups_are_refused():
    maps, _ = block_maps()
    groups = replace(maps, groups=tuple((int(t),) for t in maps.tokens))
    with pytest.raises(ValueError, match="maps of groups; explain tokens"):
        uk.segment(groups, n_segments=2)


def six_tokens():
    """A prefix token and a grid of 1 x 6: three latents along one axis, three along another, of different lengths."""
    z = np.array([[9, 9], [1, 0], [5, 0.2], [1, 0.1], [0, 2], [0.1, 1], [0, 7.0]])
    return make_capture([torch.tensor(z)], [], prefix=1)


def test_medoids_by_hand():
    cap = six_tokens()
    # Two centres, of the directions of tokens 1 to 3 and 4 to 6: the one in the middle of each is the nearest.
    unit = np.array([[1, 0], [1, 0.04], [1, 0.1]]) / np.sqrt(1 + np.array([[0], [0.04], [0.1]]) ** 2)
    middle = np.linalg.norm(unit - unit.mean(axis=0), axis=1).argmin()
    first, second = uk.maps.medoids(cap, 0.34, layer=0)
    assert first == 1 + middle == 2
    assert second in (4, 6)  # of one direction, and nearer to the mean than 5
    assert uk.maps.medoids(cap, 1.0, layer=0).tolist() == [1, 2, 3, 4, 5]  # 6 has the direction of 4


def test_every_other_token_takes_the_map_of_the_nearest():
    cap = six_tokens()
    values = np.array([[0.5, 0.1, 1, 0.3, 0, 0, 0.2], [0.5, 0, 0, 0, 0.4, 1, 0.6]], np.float32)
    card = {"explanation": {"score": "norm"}}
    few = ExplanationMaps(values, np.array([2, 5]), 0, cap.layout, card=card)
    every = uk.maps.complete(few, cap)
    # Tokens 1 and 3 take the map of 2, 4 and 6 that of 5; the spike stays with 2 and 5 alone.
    by_2, by_5 = [0.5, 0.1, 0.3, 0.3, 0, 0, 0.2], [0.5, 0, 0, 0, 0.4, 0.6, 0.6]
    np.testing.assert_allclose(every.values, [by_2, values[0], by_2, by_5, values[1], by_5])
    np.testing.assert_array_equal(every.tokens, cap.layout.content)
    assert every.card["explanation"] == {"score": "norm", "explained": [2, 5]} and few.card == card


def test_of_latents_alike_the_near_one_stands():
    cap = make_capture([torch.ones(8, 3)], [], grid=(2, 4))
    few = ExplanationMaps(np.eye(8, dtype=np.float32)[[0, 7]] + 0.1, np.array([0, 7]), 0, cap.layout)
    few = replace(few, values=few.values + np.array([[0], [1]], np.float32), card={"explanation": {}})
    found = uk.maps.complete(few, cap).values.min(axis=1)
    # Rows count 1/2, columns 1/4: of the first row the first three, of the second none but the first is nearer to 0.
    near_0 = [True, True, True, False, True, False, False, False]
    np.testing.assert_array_equal(found < 1, near_0)


@pytest.mark.parametrize("change", [{"tokens": np.array([0])}, {"groups": ((2, 3),)}])
def test_what_cannot_be_completed(change):
    cap = six_tokens()
    maps = ExplanationMaps(np.ones((1, 7), np.float32), np.array([2]), 0, cap.layout)
    with pytest.raises(ValueError, match="complete needs maps of single patch tokens"):
        uk.maps.complete(replace(maps, **change), cap)
