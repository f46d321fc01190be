"""Covering, Rand index and variation of information against hand-worked values and slow references."""

import itertools
import math

import numpy as np
import pytest

from ultra_kit.metrics import region_metrics, region_summary

# Truth: a of 4 pixels, b of 2. Found: x of 3 (all in a), y of 3 (one in a, two in b).
TRUTH = np.array([[7, 7, 7, 7, 9, 9]])
FOUND = np.array([[1, 1, 1, 0, 0, 0]])


def covering(found, truths):
    return region_metrics([found], truths).covering[0]


def rand_index(found, truths):
    return region_metrics([found], truths).rand[0]


def variation_of_information(found, truths):
    return region_metrics([found], truths).information[0]


def test_covering_by_hand():
    # a: best overlap 3/4 (with x), b: 2/3 (with y); weighted 4 * 3/4 + 2 * 2/3 = 13/3 of 6 pixels.
    assert covering(FOUND, [TRUTH]) == pytest.approx(13 / 18)
    # The other way round: x lies best in a (3/4), y in b (2/3): (3 * 3/4 + 3 * 2/3) / 6.
    assert covering(TRUTH, [FOUND]) == pytest.approx(17 / 24)


def test_covering_of_two_annotators_pools_their_areas():
    # A second one who sees one region: best overlap 1/2, 6 pixels. (13/3 + 3) / 12.
    assert covering(FOUND, [TRUTH, np.zeros((1, 6), int)]) == pytest.approx((13 / 3 + 3) / 12)


def test_rand_index_counts_pairs():
    def pairs(found, truth):
        same = [
            (found[i] == found[j]) == (truth[i] == truth[j])
            for i, j in itertools.combinations(range(len(truth)), 2)
        ]
        return sum(same) / len(same)

    assert rand_index(FOUND, [TRUTH]) == pytest.approx(pairs(FOUND[0], TRUTH[0]))
    # By hand: 15 pairs; together in both aaa (3) and bb (1), apart in both 3 * 2 (x with b): 10 agree.
    assert rand_index(FOUND, [TRUTH]) == pytest.approx(10 / 15)
    rng = np.random.default_rng(0)
    found, truth = rng.integers(0, 4, (2, 5, 6))
    assert rand_index(found, [truth]) == pytest.approx(pairs(found.ravel(), truth.ravel()))


def test_variation_of_information_by_hand():
    # H(F|T) = 4/6 h(1/4), H(T|F) = 3/6 h(1/3).
    def h(p):
        return -p * math.log2(p) - (1 - p) * math.log2(1 - p)

    assert variation_of_information(FOUND, [TRUTH]) == pytest.approx(4 / 6 * h(1 / 4) + h(1 / 3) / 2)


def test_the_annotators_are_averaged():
    one = np.zeros((1, 6), int)
    assert rand_index(one, [one, TRUTH]) == pytest.approx((1 + 7 / 15) / 2)
    assert variation_of_information(one, [one, FOUND]) == pytest.approx((0 + 1) / 2)


def test_equal_segmentations_whatever_their_names():
    renamed = np.where(TRUTH == 7, -3, 50)
    scores = region_metrics([renamed], [TRUTH])
    assert (scores.covering[0], scores.rand[0], scores.information[0]) == (1, 1, 0)
    assert covering(FOUND == 1, [TRUTH == 7]) == covering(FOUND, [TRUTH])


def test_ods_ois_and_best_by_hand():
    # Image 1, 6 pixels: scales x3 (13/3 covered, see above) and one segment (4 * 4/6 + 2 * 2/6 = 10/3).
    first = region_metrics([FOUND, np.zeros((1, 6), int)], [TRUTH])
    # Image 2, 2 pixels, one true region: two segments cover 1, one segment 2.
    second = region_metrics([np.array([[0, 1]]), np.array([[0, 0]])], [np.array([[5, 5]])])
    found = region_summary([first, second])
    assert found["covering_ods"] == pytest.approx(max(13 / 3 + 1, 10 / 3 + 2) / 8)
    assert found["covering_ois"] == pytest.approx((13 / 3 + 2) / 8)
    assert found["covering_best"] == pytest.approx((4 * 3 / 4 + 2 * 2 / 3 + 2) / 8)
    # Rand: image 1 (10/15, 7/15), image 2 (0, 1).
    assert found["pri_ods"] == pytest.approx((7 / 15 + 1) / 2) and found["pri_scale"] == 1
    assert found["pri_ois"] == pytest.approx((10 / 15 + 1) / 2)
    vi = variation_of_information(FOUND, [TRUTH])
    entropy = variation_of_information(np.zeros((1, 6), int), [TRUTH])
    assert found["vi_ods"] == pytest.approx(min(vi + 1, entropy + 0) / 2)
    assert found["vi_ois"] == pytest.approx((min(vi, entropy) + 0) / 2)


def test_best_takes_another_scale_for_each_region():
    # Region a is whole at scale 0, b at scale 1; neither scale has both.
    truth = np.array([[1, 1, 2, 2]])
    scales = [np.array([[0, 0, 1, 2]]), np.array([[0, 1, 2, 2]])]
    found = region_summary([region_metrics(scales, [truth])])
    assert found["covering_best"] == 1
    assert found["covering_ods"] == found["covering_ois"] == pytest.approx(3 / 4)


def test_areas_are_pooled_not_averaged_over_images():
    small = region_metrics([np.array([[0, 1]])], [np.array([[5, 5]])])  # covering 1/2 of 2 pixels
    large = region_metrics([np.zeros((1, 8), int)], [np.zeros((1, 8), int)])  # 1 of 8 pixels
    assert region_summary([small, large])["covering_ods"] == pytest.approx(9 / 10)


def test_what_can_not_be_scored_is_refused():
    with pytest.raises(ValueError, match="all of one shape"):
        region_metrics([FOUND], [TRUTH[:, :5]])
    with pytest.raises(ValueError, match="at least one segmentation and one truth"):
        region_metrics([FOUND], [])
    two = region_metrics([FOUND, FOUND], [TRUTH])
    with pytest.raises(ValueError, match=r"\[1, 2\] scales in 2 images"):
        region_summary([two, region_metrics([FOUND], [TRUTH])])
