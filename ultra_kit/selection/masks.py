"""From the maps of picked tokens to a mask: the steps of `ultra_kit.select`, each a function of arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from scipy import sparse
from scipy.ndimage import label
from scipy.sparse.linalg import cg
from skimage.filters import threshold_otsu
from skimage.restoration import denoise_tv_chambolle

SURVIVAL = 0.9
"""Share of the walkers that a step of `walk` keeps."""

FLATNESS = 0.15
"""`flatten`: how much variation counts against the likeness to the image."""

BETA, GAMMA, SLACK = 100.0, 0.0015, 1e-3
"""`smooth`: how fast a difference of colours cuts a link, the pull of a pixel's own value, the weakest link."""

RADIUS = 2
"""Pixels round a point that `smooth` holds at what the point says."""

LONGEST = 160
"""Longer side, in pixels, at which a mask is worked out; a larger image is shrunk for it."""


def links(maps: np.ndarray) -> np.ndarray:
    """Links between tokens: how much two were made of each other.

    Parameters
    ----------
    maps : ndarray of shape (M, M)
        Non-negative; row i is the map of token i over the M content positions.

    Returns
    -------
    ndarray of shape (M, M), float64
        Own positions 0; rows scaled to sum 1, the mean of both directions, scaled again. A token
        without links has a row of zeros.

    Examples
    --------
    >>> links(np.array([[9.0, 1.0, 1.0], [1.0, 9.0, 0.0], [0.0, 0.0, 9.0]])).round(2)
    array([[0.  , 0.75, 0.25],
           [1.  , 0.  , 0.  ],
           [1.  , 0.  , 0.  ]])
    """
    p = np.array(maps, np.float64)
    np.fill_diagonal(p, 0)
    p = _rows_to_one(p)
    return _rows_to_one((p + p.T) / 2)


def walk(maps: np.ndarray, wanted: Sequence[int], unwanted: Sequence[int]) -> np.ndarray:
    """Chance that a walk over the links from a token ends at a wanted one.

    Every step goes to another token in proportion to `links`; one walk in ten ends nowhere at each
    step (`SURVIVAL`), the others go on until they meet a picked token. So tokens that are linked to
    a wanted one through others count too, and what lies behind an unwanted one is cut off. (This
    project's choice; the absorbing random walk is that of Grady, "Random Walks for Image
    Segmentation", 2006, on tokens instead of pixels.)

    Parameters
    ----------
    maps : ndarray of shape (M, M)
        As in `links`.
    wanted, unwanted : sequence of int
        Content indices; a token in both counts for neither.

    Returns
    -------
    ndarray of shape (M,), float64
        In [0, 1], 0 at unwanted tokens. At wanted tokens, where the chance is 1 whatever the model
        says, the chance to come back to one of them, or the largest of the other tokens' if that is
        higher.

    Examples
    --------
    Token 1 goes to token 0 in nine walks of ten; token 2 sets out for token 3 three times of four:

    >>> maps = np.array([[0, 1, 0, 0], [1, 0, 0, 0], [1, 0, 0, 1], [0, 0, 1, 0]], float)
    >>> walk(maps, wanted=[0], unwanted=[3]).round(2)
    array([0.9 , 0.9 , 0.22, 0.  ])
    """
    step = SURVIVAL * links(maps)
    back = step.copy()
    wanted, unwanted = sorted(set(wanted) - set(unwanted)), sorted(set(unwanted) - set(wanted))
    ends = np.zeros(len(step))
    ends[wanted] = 1
    step[wanted + unwanted] = 0
    found = np.linalg.solve(np.eye(len(step)) - step, ends).clip(0, 1)
    others = np.delete(found, wanted).max(initial=0)
    found[wanted] = np.maximum(back[wanted] @ found, others)
    return found


def difference(maps: np.ndarray, wanted: Sequence[int], unwanted: Sequence[int]) -> np.ndarray:
    """Mean map of the wanted tokens minus that of the unwanted ones, where it is above 0.

    Parameters
    ----------
    maps, wanted, unwanted
        As in `walk`.

    Returns
    -------
    ndarray of shape (M,), float64
        Each map is first scaled to a largest value of 1, its own position, which takes that largest
        value too, left out.

    Examples
    --------
    >>> maps = np.array([[9, 4, 2, 0], [0, 9, 0, 0], [0, 0, 9, 0], [0, 0, 5, 9]], float)
    >>> difference(maps, wanted=[0], unwanted=[3])
    array([1., 1., 0., 0.])
    """
    scaled = np.array(maps, np.float64)
    np.fill_diagonal(scaled, 0)
    largest = scaled.max(axis=1, keepdims=True)
    scaled /= np.where(largest > 0, largest, 1)
    np.fill_diagonal(scaled, 1)
    found = scaled[list(wanted)].mean(axis=0)
    if len(unwanted):
        found = (found - scaled[list(unwanted)].mean(axis=0)).clip(0)
    found[list(unwanted)] = 0
    return found


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
    object.

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
    >>> image[:, :8] = np.where(np.arange(8) % 2, 40, 0)[:, None]
    >>> flat = flatten(image).astype(int)
    >>> int(np.ptp(flat[:, 1:7])) < 20, int((flat[:, 8] - flat[:, 7]).min()) > 100
    (True, True)
    """
    flat = denoise_tv_chambolle(image, weight=FLATNESS, channel_axis=-1)
    return (flat * 255).round().astype(np.uint8)


def resize(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize an array (h, w) to a size, bicubic as in PyTorch, clipped at zero.

    Parameters
    ----------
    values : ndarray of shape (h, w)
    size : tuple of int
        (height, width).

    Returns
    -------
    ndarray of shape (height, width), float64
    """
    grid = torch.from_numpy(np.asarray(values, np.float64))[None, None]
    resized = torch.nn.functional.interpolate(grid, size=tuple(size), mode="bicubic", align_corners=False)
    return resized[0, 0].clamp_min(0).numpy()


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
    image: np.ndarray, values: np.ndarray, wanted: Sequence[tuple[float, float]], held_out: np.ndarray
) -> np.ndarray:
    """Let values flow between pixels of like colour, and not across edges; no label is used.

    Minimises ``sum_ij w_ij (x_i - x_j)^2 + sum_i g_i (x_i - v_i)^2`` over neighbouring pixels, with
    ``w_ij = exp(-BETA |c_i - c_j|^2) + SLACK`` for colours in [0, 1] (Grady, "Multilabel Random
    Walker Image Segmentation Using Prior Models", 2005). g_i is `GAMMA`, and 1 near a point.

    Parameters
    ----------
    image : ndarray of shape (H, W, 3), uint8
    values : ndarray of shape (H, W)
        v, in [0, 1].
    wanted : sequence of (x, y)
        Pixels of `image` round which v is 1 (within `RADIUS`).
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
    matrix = _laplacian(image) + sparse.diags(pull.ravel())
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


def _rows_to_one(p: np.ndarray) -> np.ndarray:
    total = p.sum(axis=1, keepdims=True)
    return p / np.where(total > 0, total, 1)


def _laplacian(image: np.ndarray) -> sparse.csr_array:
    """Laplacian of the pixels of an image, each linked to its four neighbours."""
    colours, index = (
        np.asarray(image, np.float64) / 255,
        np.arange(image[..., 0].size).reshape(image.shape[:2]),
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
