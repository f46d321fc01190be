"""Metrics of single objects against hand-worked values."""

import numpy as np
import pytest

from ultra_kit.metrics import box_around, mask_iou


def test_mask_iou_by_hand():
    mask = np.array([[1, 1, 1, 0]], bool)
    truth = np.array([[0, 1, 1, 1]], bool)
    assert mask_iou(mask, truth) == 0.5
    assert mask_iou(mask, truth, ignored=np.array([[1, 0, 0, 0]], bool)) == pytest.approx(2 / 3)
    assert mask_iou(mask & False, truth & False) == 1
    assert mask_iou(mask, truth, ignored=mask | truth) == 1
    with pytest.raises(ValueError, match="must be bool"):
        mask_iou(mask.astype(int), truth)
    with pytest.raises(ValueError, match=r"one shape.* \(1, 3\) for what is ignored"):
        mask_iou(mask, truth, ignored=truth[:, :3])


def test_boxes_by_hand():
    mask = np.zeros((5, 8), bool)
    mask[1, 6] = mask[3, 2] = True
    assert box_around(mask) == (2, 1, 7, 4)
    with pytest.raises(ValueError, match="empty"):
        box_around(mask & False)
