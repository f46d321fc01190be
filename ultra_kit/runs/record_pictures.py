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
    """Show an image, its truth and the found segments, in this order from left to right.

    Parameters
    ----------
    sample : Sample
    labels : ndarray of int, shape (h, w)
        Found segments, at the truth's size.

    Returns
    -------
    PIL.Image.Image
        A found segment has the colour of the true one that it is matched with (one to one, most
        pixels); grey if it is left over. Black: ignored. The first person's map if there are
        several.

    Examples
    --------
    >>> sample = Sample("a", np.zeros((2, 3, 3), np.uint8), (np.array([[0, 0, 1]] * 2),))
    >>> side_by_side(sample, np.array([[4, 4, 4]] * 2)).size
    (17, 2)
    """
    (names, truth), (found_names, found) = distinct(sample.truths[0]), distinct(labels)
    both = contingency(truth, found)
    true_colours = np.array([_colour(int(n)) for n in names], np.uint8)
    rows, columns = linear_sum_assignment(both * (names >= 0)[:, None], maximize=True)
    found_colours = np.full((len(found_names), 3), _GREY, np.uint8)
    for row, column in zip(rows, columns, strict=True):
        if both[row, column] and names[row] >= 0:
            found_colours[column] = true_colours[row]
    shape = sample.image.shape[:2]
    panels = [
        sample.image,
        nearest_rgb(true_colours[truth], shape),
        nearest_rgb(found_colours[found], shape),
    ]
    gap = np.full((shape[0], 4, 3), 255, np.uint8)
    return Image.fromarray(np.hstack([panels[0], gap, panels[1], gap, panels[2]]))


def nearest_rgb(image: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Resize a coloured label map without mixing its colours.

    Parameters
    ----------
    image : ndarray of shape (H, W, 3), uint8
    size : tuple of int
        (h, w).

    Returns
    -------
    ndarray of shape (h, w, 3), uint8

    Examples
    --------
    >>> nearest_rgb(np.zeros((2, 2, 3), np.uint8), (4, 4)).shape
    (4, 4, 3)
    """
    index = nearest(np.arange(image.shape[0] * image.shape[1]).reshape(image.shape[:2]), (size[0], size[1]))
    return image.reshape(-1, 3)[index]


def _colour(number: int) -> tuple[int, ...]:
    """A colour for a class: the first one pale, as it often is the ground, then hues a golden ratio apart."""
    if number < 0:
        return (0, 0, 0)
    if number == 0:
        return (232, 226, 208)
    # Eight steps later a hue nearly comes back: then it is paler and darker.
    saturation, value = ((0.75, 0.9), (0.4, 0.7))[number // 8 % 2]
    return tuple(round(255 * v) for v in colorsys.hsv_to_rgb(number * 0.618034 % 1, saturation, value))
