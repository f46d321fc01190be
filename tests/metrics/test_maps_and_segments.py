"""Metrics against hand-worked values and the libraries' own, own position left out."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from ultra_kit.metrics.map_agreement import (
    average_precision,
    energy_inside,
    iou_at_otsu,
    pointing_game,
    prevalence,
)
from ultra_kit.metrics.segment_matching import grid_ceiling, hungarian_miou, patch_labels

MAP_METRICS = (average_precision, pointing_game, energy_inside, iou_at_otsu)


def row(values, own, truth):
    return np.array([values], float), np.array([own]), np.array([truth], bool)


def test_average_precision_by_hand():
    # Without position 0 the order is 3 (true), 1 (false), 2 (true), 4 (false): (1/1 + 2/3) / 2.
    got = average_precision(*row([9, 0.5, 0.4, 0.8, 0.1], 0, [1, 0, 1, 1, 0]))
    np.testing.assert_allclose(got, [5 / 6])


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 100_000), st.integers(1, 5))
def test_average_precision_equals_sklearn_also_at_ties(seed, levels):
    rng = np.random.default_rng(seed)
    values = rng.integers(0, levels, (4, 9)).astype(float)
    own, truth = rng.integers(0, 9, 4), rng.random((4, 9)) < 0.4
    got = average_precision(values, own, truth)
    for k in range(4):
        keep = np.arange(9) != own[k]
        if truth[k, keep].any():
            assert got[k] == pytest.approx(average_precision_score(truth[k, keep], values[k, keep]))
        else:
            assert np.isnan(got[k])


def test_pointing_game_by_hand():
    hit = row([9, 0.5, 0.8, 0.1], 0, [1, 0, 1, 0])
    miss = row([9, 0.9, 0.8, 0.1], 0, [1, 0, 1, 0])
    tie = row([9, 0.8, 0.8, 0.8], 0, [1, 0, 1, 0])
    assert [float(pointing_game(*r)[0]) for r in (hit, miss, tie)] == [1, 0, pytest.approx(1 / 3)]


def test_energy_by_hand():
    assert energy_inside(*row([9, 1, 2, 1], 0, [1, 0, 1, 0])).tolist() == [0.5]
    assert energy_inside(*row([9, 0, 0, 0], 0, [1, 0, 1, 0])).tolist() == [0]
    with pytest.raises(ValueError, match="non-negative values, got -1"):
        energy_inside(*row([9, -1, 0, 0], 0, [1, 0, 1, 0]))


def test_otsu_parts_low_from_high_without_the_own_spike():
    # Two groups, 0.0-0.1 and 1.0-1.2; a spike of 1000 left in would put all others below the threshold.
    got = iou_at_otsu(*row([1000, 1.0, 1.1, 0.0, 0.1, 1.2], 0, [1, 1, 1, 0, 1, 0]))
    assert got.tolist() == [0.5]  # found {1, 2, 5}, true {1, 2, 4}: 2 of 4
    assert iou_at_otsu(*row([5, 1, 1, 1], 0, [1, 1, 0, 0])).tolist() == [0]


@pytest.mark.parametrize("metric", MAP_METRICS)
@pytest.mark.parametrize("spike", [0.0, 0.45, 1e6])
def test_own_position_does_not_enter(metric, spike):
    rng = np.random.default_rng(0)
    values, own, truth = rng.random((6, 10)), np.arange(6), rng.random((6, 10)) < 0.5
    changed, flipped = values.copy(), truth.copy()
    changed[np.arange(6), own] = spike
    flipped[np.arange(6), own] ^= True
    np.testing.assert_array_equal(metric(values, own, truth), metric(changed, own, flipped))


@pytest.mark.parametrize("metric", MAP_METRICS)
def test_no_other_true_position_is_nan(metric):
    got = metric(
        np.ones((2, 4)) * [1, 2, 3, 4], np.array([1, 1]), np.array([[0, 1, 0, 0], [1, 1, 0, 0]], bool)
    )
    assert np.isnan(got).tolist() == [True, False]


def test_constant_maps_have_the_prevalence():
    own, truth = np.array([0, 3]), np.array([[1, 1, 0, 0, 0], [1, 1, 1, 1, 0]], bool)
    assert prevalence(own, truth).tolist() == [0.25, 0.75]
    for metric in (average_precision, pointing_game, energy_inside):
        np.testing.assert_allclose(metric(np.ones((2, 5)), own, truth), [0.25, 0.75])


@pytest.mark.parametrize("metric", MAP_METRICS)
def test_map_metrics_refuse_what_they_cannot_read(metric):
    values, own, truth = np.ones((2, 4)), np.array([0, 1]), np.ones((2, 4), bool)
    for bad, words in [
        ((values[:, :3], own, truth), r"\(2, 3\), \(2, 4\)"),
        ((values, own[:1], truth), "own"),
        ((values, own + 3, truth), r"0\.\.3 .* got 3\.\.4"),
        ((values, own - 1, truth), r"got -1\.\.0"),
        ((values, own, truth.astype(int)), "truth must be bool, got int64"),
        ((values * np.nan, own, truth), "finite"),
        ((values[:, :1], own * 0, truth[:, :1]), "two positions"),
    ]:
        with pytest.raises(ValueError, match=words):
            metric(*bad)


def test_overlaps_by_hand():
    truth = np.array([[0, 0, 0, 0, 7, 7]])
    found = np.array([[5, 5, 5, 3, 3, 3]])
    # IoU of 0: with 5 3/4, with 3 1/6; of 7: with 5 0, with 3 2/3.
    assert hungarian_miou(found, truth) == pytest.approx((3 / 4 + 2 / 3) / 2)
    one = np.zeros((1, 6), int)
    # One segment for two classes: 4/6 and 2/6 overlap; the second class stays alone.
    assert hungarian_miou(one, truth) == pytest.approx((4 / 6) / 2)
    assert hungarian_miou(found, truth, ignore=7) == pytest.approx(3 / 4)


def test_matching_maximises_overlap_over_all_pairings():
    rng = np.random.default_rng(1)
    for _ in range(10):
        truth, found = rng.integers(0, 4, (6, 6)), rng.integers(0, 4, (6, 6))
        iou = [
            [((truth == t) & (found == f)).sum() / ((truth == t) | (found == f)).sum() for f in range(4)]
            for t in range(4)
        ]
        best = max(sum(iou[t][f] for t, f in enumerate(p)) / 4 for p in itertools.permutations(range(4)))
        assert hungarian_miou(found, truth) == pytest.approx(best)


def test_names_of_segments_do_not_matter():
    rng = np.random.default_rng(2)
    truth, found = rng.integers(0, 3, (5, 7)), rng.integers(0, 5, (5, 7))
    renamed = np.array([40, -2, 9, 0, 1])[found]
    assert hungarian_miou(renamed, truth) == pytest.approx(hungarian_miou(found, truth))
    assert hungarian_miou(truth, truth) == 1


def test_label_metrics_refuse_what_they_cannot_read():
    with pytest.raises(ValueError, match="one shape"):
        hungarian_miou(np.zeros((2, 2), int), np.zeros((2, 3), int))
    with pytest.raises(ValueError, match="all 4 are to be ignored"):
        hungarian_miou(np.zeros((2, 2), int), np.zeros((2, 2), int), ignore=0)


def test_patch_labels_by_hand():
    instances = np.array(
        [
            [4, 4, 1, 1, 2],
            [4, 0, 1, 2, 2],
            [0, 0, 4, 4, 2],
        ]
    )
    # Columns 0-2 belong to the left patch (2 * 2 // 5 = 0), 3-4 to the right; rows 0-1 above (1 * 2 // 3 = 0).
    # Above left {4: 3, 0: 1, 1: 2}, above right {1: 1, 2: 3}, below left {0: 2, 4: 1}, below right {4: 1, 2: 1}: a tie.
    assert patch_labels(instances, (2, 2)).tolist() == [[4, 2], [0, 2]]


def test_patches_are_where_the_layout_says():
    from ultra_kit.types import Layout

    layout = Layout("image", n_prefix=1, grid=(3, 4), size=(10, 17))
    for token in layout.content:
        x, y = layout.center_of(int(token))
        mark = np.zeros((10, 17), int)
        mark[[[layout.token_at(c, r) == token for c in range(17)] for r in range(10)]] = 5
        assert np.flatnonzero(patch_labels(mark, (3, 4))).tolist() == [token - 1]
        assert mark[int(y), int(x)] == 5


def test_grid_ceiling_by_hand():
    instances = np.array([[0, 0, 3, 3], [0, 3, 3, 3]])
    # The left patch says 0: found 0 has 4 pixels of which 3 are true, 3/4; found 3 has 4 of 5: 4/5.
    assert grid_ceiling(instances, (1, 2)) == pytest.approx((3 / 4 + 4 / 5) / 2)
    assert grid_ceiling(instances, (2, 4)) == 1
    for grid in ((3, 1), (0, 2), (1, 5)):
        with pytest.raises(ValueError, match="2 x 4"):
            grid_ceiling(instances, grid)
