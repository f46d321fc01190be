"""From the relevance of patches to a mask of pixels: steps of `ultra_kit.select`, each a function of arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image
from scipy import sparse
from scipy.ndimage import grey_closing, label
from scipy.sparse.linalg import cg
from skimage.filters import threshold_otsu
from skimage.restoration import denoise_tv_chambolle

FLATNESS = 0.25
"""`flatten`: how much variation counts against the likeness to the image."""

THICKEST = 5
"""`dark_lines`: pixels across which a line is still a line."""

BETA, GAMMA, SLACK = 100.0, 0.0015, 1e-3
"""`smooth`: how fast a difference of colours cuts a link, the pull of a pixel's own value, the weakest link."""

RADIUS = 1
"""Pixels round a point that `smooth` holds at what the point says."""

LONGEST = 160
"""Longer side, in pixels, at which a mask is worked out; a larger image is shrunk for it."""


def working_size(size: tuple[int, int]) -> tuple[int, int]:
    """Size at which a mask of an image of (height, width) is worked out.

    Parameters
    ----------
    size : tuple of int

    Returns
    -------
    tuple of int
        The image's own, or one whose longer side is `LONGEST`.

    Examples
    --------
    >>> working_size((96, 96)), working_size((640, 480))
    ((96, 96), (160, 120))
    """
    share = min(1.0, LONGEST / max(size))
    return max(1, round(size[0] * share)), max(1, round(size[1] * share))


def shrink(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """An image at a size, by the mean of the pixels that fall together.

    Parameters
    ----------
    image : ndarray of shape (H, W, 3), uint8
    size : tuple of int
        (height, width).

    Returns
    -------
    ndarray of shape (height, width, 3), uint8
    """
    if image.shape[:2] == tuple(size):
        return image
    resized = Image.fromarray(np.ascontiguousarray(image)).resize(size[::-1], Image.Resampling.BOX)
    return np.asarray(resized)


def flatten(image: np.ndarray) -> np.ndarray:
    """Take the texture out of an image and leave its edges.

    Minimises the total variation plus the squared difference to the image (Chambolle, 2004, as in
    `skimage.restoration.denoise_tv_chambolle`, weight `FLATNESS`): stripes and spots are no edges of an
    object. Values are square roots of the image's, so that dark colours are told apart as well as bright
    ones.

    Parameters
    ----------
    image : ndarray of shape (H, W, 3), uint8

    Returns
    -------
    ndarray of shape (H, W, 3), uint8

    Examples
    --------
    Thin stripes on the left half vanish, the edge in the middle stays:

    >>> image = np.full((16, 16, 3), 200, np.uint8)
    >>> image[:, :8] = np.where(np.arange(8) % 2, 40, 20)[:, None]
    >>> flat = flatten(image).astype(int)
    >>> int(np.ptp(flat[:, 1:7])) < 20, int((flat[:, 8] - flat[:, 7]).min()) > 60
    (True, True)
    """
    flat = denoise_tv_chambolle(np.sqrt(np.asarray(image) / 255), weight=FLATNESS, channel_axis=-1)
    return (flat * 255).round().astype(np.uint8)


def dark_lines(image: np.ndarray) -> np.ndarray:
    """How much darker than on both of its sides an image is: outlines, as `flatten` would lose them.

    Morphological closing by a square of `THICKEST` pixels minus the image (the black top-hat), of the
    square root of the brightest colour.

    Parameters
    ----------
    image : ndarray of shape (H, W, 3), uint8

    Returns
    -------
    ndarray of shape (H, W), uint8

    Examples
    --------
    >>> image = np.full((7, 7, 3), 255, np.uint8)
    >>> image[:, 3] = 0
    >>> dark_lines(image)[3]
    array([  0,   0,   0, 255,   0,   0,   0], dtype=uint8)
    """
    bright = np.sqrt(np.asarray(image).max(axis=-1) / 255)
    lines = grey_closing(bright, (THICKEST, THICKEST)) - bright
    return (lines.clip(0, 1) * 255).round().astype(np.uint8)


def looks(image: np.ndarray) -> np.ndarray:
    """What tells a pixel from its neighbour: `flatten` and `dark_lines`, (H, W, 4), uint8.

    Parameters
    ----------
    image : ndarray of shape (H, W, 3), uint8

    Returns
    -------
    ndarray of shape (H, W, 4), uint8
    """
    return np.concatenate([flatten(image), dark_lines(image)[..., None]], axis=-1)


def otsu(values: np.ndarray) -> float:
    """Otsu's threshold, half-way between the means of its two classes.

    For values without gaps that is where Otsu's optimum lies. Where there is a gap every value in
    it is as good, and a histogram gives the lowest one, which a hair above the lower class exceeds.

    Parameters
    ----------
    values : ndarray

    Returns
    -------
    float
        The largest value if all are equal but for rounding.

    Examples
    --------
    >>> otsu(np.array([0.0, 0.0, 2.0, 2.0]))
    1.0
    """
    values = np.asarray(values, np.float64)
    if np.ptp(values) <= 1e-9 * np.abs(values).max():
        return float(values.max())
    above = values > threshold_otsu(values)
    return float(values[above].mean() + values[~above].mean()) / 2


def odds(values: np.ndarray) -> np.ndarray:
    """Put values on a scale on which `otsu` is one half: ``v / (v + t)``.

    Parameters
    ----------
    values : ndarray
        Non-negative.

    Returns
    -------
    ndarray, float64
        In [0, 1); zeros stay 0. The order is kept, and a sharp peak no longer outweighs the rest.

    Examples
    --------
    >>> odds(np.array([0.0, 0.0, 3.0, 3.0])).round(2)
    array([0.  , 0.  , 0.67, 0.67])
    """
    values = np.asarray(values, np.float64)
    if values.max() <= 0:
        return np.zeros(values.shape)
    return values / (values + otsu(values))


def smooth(
    seen: np.ndarray, values: np.ndarray, wanted: Sequence[tuple[float, float]], held_out: np.ndarray
) -> np.ndarray:
    """Let values flow between pixels that look alike, and not across edges; no label is used.

    Minimises ``sum_ij w_ij (x_i - x_j)^2 + sum_i g_i (x_i - v_i)^2`` over neighbouring pixels, with
    ``w_ij = exp(-BETA |c_i - c_j|^2) + SLACK`` for colours c in [0, 1] (Grady, "Multilabel Random
    Walker Image Segmentation Using Prior Models", 2005). g_i is `GAMMA`, and 1 near a point.

    Parameters
    ----------
    seen : ndarray of shape (H, W, C), uint8
        c of every pixel: colours, or `looks`.
    values : ndarray of shape (H, W)
        v, in [0, 1].
    wanted : sequence of (x, y)
        Pixels round which v is 1 (within `RADIUS`).
    held_out : ndarray of bool, shape (H, W)
        Where v is 0: round unwanted points.

    Returns
    -------
    ndarray of shape (H, W), float64
        In [0, 1].

    Examples
    --------
    What is missing in a patch of one colour is filled, and nothing crosses the edge:

    >>> image = np.zeros((8, 8, 3), np.uint8)
    >>> image[:, 4:] = 255
    >>> values = np.zeros((8, 8))
    >>> values[:6, :4] = 1
    >>> found = smooth(image, values, [], np.zeros((8, 8), bool))
    >>> bool(found[:, :4].min() > 0.5), bool(found[:, 4:].max() < 0.5)
    (True, True)
    """
    value, pull = np.array(values, np.float64), np.full(values.shape, GAMMA)
    near = near_points(values.shape, wanted)
    value[near], value[held_out] = 1, 0
    pull[near | held_out] = 1
    matrix = _laplacian(seen) + sparse.diags(pull.ravel())
    start = (value * pull).ravel()
    solved, _ = cg(
        matrix, start, x0=value.ravel(), rtol=1e-6, maxiter=800, M=sparse.diags(1 / matrix.diagonal())
    )
    return solved.reshape(values.shape).clip(0, 1)


def near_points(size: tuple[int, ...], points: Sequence[tuple[float, float]]) -> np.ndarray:
    """Which pixels lie within `RADIUS` of the pixel of a point.

    Parameters
    ----------
    size : tuple of int
        (H, W).
    points : sequence of (x, y)

    Returns
    -------
    ndarray of bool, shape (H, W)
    """
    y, x = np.ogrid[: size[0], : size[1]]
    found = np.zeros(size, bool)
    for u, v in points:
        found |= (x - int(u)) ** 2 + (y - int(v)) ** 2 <= RADIUS**2
    return found


def connected_part(mask: np.ndarray, points: Sequence[tuple[float, float]]) -> np.ndarray:
    """The parts of a mask that hold a point; the whole mask if none does.

    Parameters
    ----------
    mask : ndarray of bool, shape (H, W)
    points : sequence of (x, y)

    Returns
    -------
    ndarray of bool, shape (H, W)

    Examples
    --------
    >>> connected_part(np.array([[True, False, True]]), [(2.5, 0)])
    array([[False, False,  True]])
    """
    parts, _ = label(mask)
    held = {int(parts[int(y), int(x)]) for x, y in points} - {0}
    return np.isin(parts, sorted(held)) if held else mask


def _laplacian(seen: np.ndarray) -> sparse.csr_array:
    """Laplacian of the pixels of an image, each linked to its four neighbours."""
    colours, index = (
        np.asarray(seen, np.float64) / 255,
        np.arange(seen[..., 0].size).reshape(seen.shape[:2]),
    )
    ends, weights = [], []
    for a, b in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
        apart = ((colours[a] - colours[b]) ** 2).sum(axis=-1)
        ends.append((index[a].ravel(), index[b].ravel()))
        weights.append((np.exp(-BETA * apart) + SLACK).ravel())
    i, j = (np.concatenate(part) for part in zip(*ends, strict=True))
    w = np.concatenate(weights)
    link = sparse.coo_array((w, (i, j)), shape=(index.size, index.size))
    both = (link + link.T).tocsr()
    return (sparse.diags_array(np.asarray(both.sum(axis=1)).ravel()) - both).tocsr()
