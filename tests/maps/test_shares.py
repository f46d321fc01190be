"""A share of the tokens: which ones, the same rows, and segments of the whole image from them."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toys_captures import attention_stack

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
