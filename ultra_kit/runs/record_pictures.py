"""Pictures of the worst and the best images: the image, the truth, what was found."""

from __future__ import annotations

import colorsys

import numpy as np
from PIL import Image
from scipy.optimize import linear_sum_assignment

from ..data.crops import nearest
from ..data.dataset import Sample
from ..metrics.contingency import contingency, distinct

_GREY = (150, 150, 150)


def side_by_side(sample: Sample, labels: np.ndarray) -> Image.Image:
    """An image, its truth and the found segments (h, w), of the truth's size, from left to right.

    A found segment has the colour of the true one that it is matched with (one to one, most pixels), grey if it is
    left over; black is ignored. With several annotators the truth is the first one's.
    """
    (names, truth), (_, found) = distinct(sample.truths[0]), distinct(labels)
    both = contingency(truth, found) * (names >= 0)[:, None]
    rows, columns = linear_sum_assignment(both, maximize=True)
    matched = both[rows, columns] > 0
    true_colours = np.array([_colour(int(n)) for n in names], np.uint8)
    found_colours = np.full((both.shape[1], 3), _GREY, np.uint8)
    found_colours[columns[matched]] = true_colours[rows[matched]]
    shape = sample.image.shape[:2]
    gap = np.full((shape[0], 4, 3), 255, np.uint8)
    panels = [sample.image]
    for colours, index in ((true_colours, truth), (found_colours, found)):
        panels += [gap, colours[nearest(index, shape)]]
    return Image.fromarray(np.hstack(panels))


def _colour(number: int) -> tuple[int, ...]:
    """A colour for a class: the first one pale, as it often is the ground, then hues a golden ratio apart."""
    if number <= 0:
        return (232, 226, 208) if number == 0 else (0, 0, 0)
    # Eight steps later a hue nearly comes back: then it is paler and darker.
    saturation, value = ((0.75, 0.9), (0.4, 0.7))[number // 8 % 2]
    return tuple(round(255 * v) for v in colorsys.hsv_to_rgb(number * 0.618034 % 1, saturation, value))
