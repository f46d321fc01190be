"""Scores of single objects against hand-worked values."""

import numpy as np
import pytest

from ultra_kit.metrics.masks import box_around, box_iou, corloc, mask_iou, max_f_beta


def test_mask_iou_by_hand():
    mask = np.array([[1, 1, 1, 0]], bool)
    truth = np.array([[0, 1, 1, 1]], bool)
    assert mask_iou(mask, truth) == 0.5
    assert mask_iou(mask, truth, ignored=np.array([[1, 0, 0, 0]], bool)) == pytest.approx(2 / 3)
    assert mask_iou(mask & False, truth & False) == 1
    with pytest.raises(ValueError, match="must be bool"):
        mask_iou(mask.astype(int), truth)


def test_max_f_beta_by_hand():
    # Cuts: above 0 all four (P 1/2, R 1), above 0.2 three (P 2/3, R 1), above 0.5 two (P 1/2, R 1/2),
    # above 0.7 one (P 1, R 1/2). F of P, R is 1.3 P R / (0.3 P + R).
    values = np.array([[0.9, 0.6, 0.3, 0.1]])
    truth = np.array([[1, 0, 1, 0]], bool)
    by_hand = max(
        1.3 * p * r / (0.3 * p + r) for p, r in [(1 / 2, 1), (2 / 3, 1), (1 / 2, 1 / 2), (1, 1 / 2)]
    )
    assert max_f_beta(values, truth) == pytest.approx(by_hand)
    assert by_hand == pytest.approx(1.3 * 0.5 / 0.8)
    assert max_f_beta(values, truth, beta2=1) == pytest.approx(2 * (2 / 3) / (5 / 3))
    assert max_f_beta(np.zeros((1, 4)), truth) == 0
    # 0.2 is the threshold 51/255 itself, and does not exceed it: both pixels or none.
    tied = max_f_beta(np.array([[0.2, 0.2]]), np.array([[True, False]]))
    assert tied == pytest.approx(1.3 * 0.5 / (0.3 * 0.5 + 1))
    for bad in (values * 2, values - 1):
        with pytest.raises(ValueError, match=r"values in \[0, 1\]"):
            max_f_beta(bad, truth)


def test_boxes_by_hand():
    mask = np.zeros((5, 8), bool)
    mask[1, 6] = mask[3, 2] = True
    assert box_around(mask) == (2, 1, 7, 4)
    with pytest.raises(ValueError, match="empty"):
        box_around(mask & False)
    assert box_iou((0, 0, 4, 2), (2, 1, 6, 3)) == pytest.approx(2 / 14)
    assert box_iou((0, 0, 2, 2), (2, 0, 4, 2)) == 0  # they touch
    assert box_iou((0, 0, 1, 1), (5, 5, 6, 6)) == 0  # apart on both axes: two negatives are no area
    with pytest.raises(ValueError, match="x0 < x1"):
        box_iou((3, 0, 3, 2), (0, 0, 1, 1))


def test_corloc_by_hand():
    box = (0, 0, 2, 2)
    truths = [[(0, 0, 2, 1)], [(0, 0, 1, 1), (0, 0, 2, 2)], [(1, 0, 3, 2)], []]
    # Overlaps 1/2 (a hit: the threshold is included), 1 (its second box), 1/3, none.
    assert corloc([box] * 4, truths) == 0.5
    assert corloc([box] * 4, truths, threshold=0.3) == 0.75
    with pytest.raises(ValueError, match="4 and 3"):
        corloc([box] * 4, truths[:3])
