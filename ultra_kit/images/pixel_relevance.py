"""From what is picked to the relevance of every pixel: the steps of `select`, first on patches, then on pixels.

Maps here are (M, M): row i is the map of patch i over the M patches, non-negative. Patches are content indices.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image
from scipy import sparse
from scipy.ndimage import grey_closing, label
from scipy.sparse.csgraph import laplacian
from scipy.sparse.linalg import cg
from scipy.spatial.distance import cdist
from skimage.filters import threshold_otsu
from skimage.restoration import denoise_tv_chambolle

from ..types import Settings
from ..types.grids import bicubic

Points = Sequence[tuple[float, float]]
Box = tuple[float, float, float, float]
Patches = Sequence[int]
Size = tuple[int, int]
Combine = Callable[[np.ndarray, Patches, Patches], np.ndarray]

SURVIVAL = 0.9
"""Share of the walkers that a step of `walk` keeps."""

FLATNESS = 0.25
"""`flatten`: how much variation counts against the likeness to the image."""

THICKEST = 5
"""`dark_lines`: pixels across which a line is none any more."""

SLACK = 1e-3
"""`smooth`: the weakest link of two pixels; how fast the others fall and what else it takes are a model's `Settings`."""

LONGEST = 160
"""Longer side, in pixels, at which a mask is worked out; a larger image is shrunk for it."""


def shares(maps: np.ndarray) -> np.ndarray:
    """How each map is shared out among the other patches: diagonal 0, rows of sum 1, a row of zeros stays."""
    p = np.array(maps, np.float64)
    np.fill_diagonal(p, 0)
    total = p.sum(axis=1, keepdims=True)
    return p / np.where(total > 0, total, 1)


def within_reach(maps: np.ndarray, grid: Size, reach: float) -> np.ndarray:
    """Maps (M, M) that fade with the distance of patches: a Gaussian of sigma `reach` times the grid's mean side; 0 for none."""
    if not reach:
        return maps
    places = np.stack(np.divmod(np.arange(len(maps)), grid[1]), axis=1) / (reach * np.sqrt(len(maps)))
    return np.asarray(maps * np.exp(-cdist(places, places, "sqeuclidean") / 2))


def links(maps: np.ndarray) -> np.ndarray:
    """How much two patches were made of each other: the mean of `shares` in both directions, shared out again."""
    p = shares(maps)
    return shares((p + p.T) / 2)


def walk(maps: np.ndarray, wanted: Patches, unwanted: Patches) -> np.ndarray:
    """Chance (M,) that a walk over the links from a patch ends at a wanted one; 0 at unwanted ones.

    Each step follows `links` and keeps `SURVIVAL` of the walkers, up to a picked patch (Grady, "Random Walks for
    Image Segmentation", 2006, on tokens instead of pixels: this project's choice). A wanted patch, where that
    chance is always 1, has the chance to come back to one, or the largest of the others' if that is higher.
    """
    step = SURVIVAL * links(maps)
    back = step.copy()
    wanted = sorted(set(wanted))
    ends = np.zeros(len(step))
    ends[wanted] = 1
    step[sorted({*wanted, *unwanted})] = 0
    found = np.linalg.solve(np.eye(len(step)) - step, ends).clip(0, 1)
    others = np.delete(found, wanted).max(initial=0)
    found[wanted] = np.maximum(back[wanted] @ found, others)
    return found


def difference(maps: np.ndarray, wanted: Patches, unwanted: Patches) -> np.ndarray:
    """Mean map (M,) of the wanted patches minus that of the unwanted, each first scaled to a largest value of 1."""
    unwanted = sorted(set(unwanted) - set(wanted))
    scaled = np.array(maps, np.float64)
    np.fill_diagonal(scaled, 0)
    largest = scaled.max(axis=1, keepdims=True)
    scaled /= np.where(largest > 0, largest, 1)
    np.fill_diagonal(scaled, 1)  # a patch counts for itself as much as the strongest other
    beside = scaled[unwanted].mean(axis=0) if unwanted else 0
    found = (scaled[list(wanted)].mean(axis=0) - beside).clip(0)
    found[unwanted] = 0
    return found


COMBINE: dict[str, Combine] = {"walk": walk, "difference": difference}
"""How the maps of several patches become one relevance."""


def new_parts(
    maps: np.ndarray, wanted: Patches, unwanted: Patches, grid: Size, combine: Combine
) -> list[int]:
    """The first wanted patch, and each further one with none round it that those before it lift over Otsu's threshold.

    A point there corrects an outline: its patch holds a piece of another thing too, and must not bring that in.
    """
    found = list(wanted[:1])
    for patch in wanted[1:]:
        reached = odds(combine(maps, found, unwanted)).reshape(grid)
        y, x = divmod(patch, grid[1])
        if reached[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2].max() < 0.5:
            found.append(patch)
    return found


def staying(maps: np.ndarray, inside: np.ndarray) -> list[int]:
    """The patches in a box, a bool (M,), whose links stay there: their share is above Otsu's threshold."""
    stay = (links(maps) * inside).sum(axis=1)[inside]
    at = np.flatnonzero(inside)
    kept = at[stay > otsu(stay)]
    return (kept if kept.size else at).tolist()


def patch_relevance(
    maps: np.ndarray,
    picked: Patches,
    unwanted: Patches,
    inside: np.ndarray | None,
    grid: Size,
    combine: Combine,
) -> tuple[list[int], list[int], np.ndarray]:
    """Which patches count as wanted and which as unwanted, and the relevance (h, w) of all; `inside` is the box."""
    wanted, out = new_parts(maps, picked, unwanted, grid, combine), set(unwanted)
    if inside is not None:
        wanted = wanted or staying(maps, inside)
        out |= set(np.flatnonzero(~inside).tolist())
    ruled_out = sorted(out - set(wanted))
    return wanted, ruled_out, combine(maps, wanted, ruled_out).reshape(grid)


def pixel_relevance(
    coarse: np.ndarray,
    image: np.ndarray,
    points: Points,
    unwanted: Points,
    box: Box | None,
    own: Settings | None,
) -> np.ndarray:
    """Relevance (H, W) of the pixels of an image (H, W, 3) from that of its patches: 0 to 1, one half at Otsu's threshold.

    Refined as the settings `own` say; None for not at all.
    """
    full = image.shape[:2]
    size = working_size(full)
    across, down = size[1] / full[1], size[0] / full[0]
    values = odds(bicubic(coarse, size))
    radius = (own or Settings()).radius
    ruled_out = near_points(size, [(x * across, y * down) for x, y in unwanted], radius)
    y, x = np.mgrid[: size[0], : size[1]] + 0.5
    outside = np.zeros(size, bool) if box is None else ~within(x / across, y / down, box)
    values[outside] = 0
    if own is not None:
        held = near_points(size, [(x * across, y * down) for x, y in points], radius)
        values = smooth(looks(image, size), values, held, ruled_out, own)
        if box is not None:  # what flowed out of it is missing: one half at Otsu's threshold again
            values[~outside] = odds(values[~outside])
    values[ruled_out | outside] = 0
    return (values if size == full else bicubic(values, full).clip(0, 1)).astype(np.float32)


def within(x: np.ndarray, y: np.ndarray, box: Box) -> np.ndarray:
    """Which places (x, y) lie in a box."""
    return (x >= box[0]) & (x < box[2]) & (y >= box[1]) & (y < box[3])


def working_size(size: Size) -> Size:
    """Size at which a mask of an image of (height, width) is worked out: no side over `LONGEST`."""
    share = min(1.0, LONGEST / max(size))
    return max(1, round(size[0] * share)), max(1, round(size[1] * share))


def looks(image: np.ndarray, size: Size) -> np.ndarray:
    """What tells a pixel from its neighbour: `flatten` and `dark_lines` of an image at a size, (h, w, 4), uint8."""
    if image.shape[:2] != tuple(size):
        whole = Image.fromarray(np.ascontiguousarray(image))
        image = np.asarray(whole.resize(size[::-1], Image.Resampling.BOX))
    return np.concatenate([flatten(image), dark_lines(image)[..., None]], axis=-1)


def flatten(image: np.ndarray) -> np.ndarray:
    """An image (H, W, 3), uint8, without its texture, which bounds no object: total variation (Chambolle, 2004).

    Of square roots of the values, so that dark colours are told apart as well as bright ones.
    """
    flat = denoise_tv_chambolle(np.sqrt(np.asarray(image) / 255), weight=FLATNESS, channel_axis=-1)
    return (flat * 255).round().astype(np.uint8)


def dark_lines(image: np.ndarray) -> np.ndarray:
    """How much darker than on both sides an image is, (H, W), uint8: outlines, which `flatten` would lose.

    The black top-hat by `THICKEST` pixels of the square root of the brightest colour.
    """
    bright = np.sqrt(np.asarray(image).max(axis=-1) / 255)
    lines = grey_closing(bright, (THICKEST, THICKEST)) - bright
    return (lines.clip(0, 1) * 255).round().astype(np.uint8)


def otsu(values: np.ndarray) -> float:
    """Otsu's threshold, half-way between the means of its two classes; the largest value if all are equal."""
    values = np.asarray(values, np.float64)
    if np.ptp(values) <= 1e-9 * np.abs(values).max():
        return float(values.max())
    # Across a gap every threshold is as good, and a histogram gives the lowest one, which rounding exceeds.
    above = values > threshold_otsu(values)
    return float(values[above].mean() + values[~above].mean()) / 2


def odds(values: np.ndarray) -> np.ndarray:
    """``v / (v + otsu)``: non-negative values in 0..1, one half at `otsu`, so that a sharp peak does not outweigh.

    Values that are all alike have no two classes: all 1, or 0 where they are.
    """
    values = np.asarray(values, np.float64)
    top = values.max(initial=0)
    if not top > values.min(initial=top) + 1e-9 * top:
        return np.full(values.shape, float(top > 0))
    return values / (values + otsu(values))


def smooth(
    seen: np.ndarray, values: np.ndarray, held: np.ndarray, ruled_out: np.ndarray, own: Settings
) -> np.ndarray:
    """Let values (H, W) in 0..1 flow between pixels that look alike, and not across edges; no label is used.

    Minimises ``sum_ij w_ij (x_i - x_j)^2 + sum_i g_i (x_i - v_i)^2`` over neighbouring pixels, with
    ``w_ij = exp(-beta |c_i - c_j|^2) + SLACK`` for c = `seen` / 255, (H, W, C) (Grady, "Multilabel Random Walker
    Image Segmentation Using Prior Models", 2005). g is gamma, and 1 where points say v: 1 or 0 (bool (H, W)).
    """
    value, pull = np.array(values, np.float64), np.full(values.shape, own.gamma)
    value[held], value[ruled_out] = 1, 0
    pull[held | ruled_out] = 1
    matrix = _laplacian(seen, own.beta) + sparse.diags(pull.ravel())
    start = (value * pull).ravel()
    solved, _ = cg(
        matrix, start, x0=value.ravel(), rtol=1e-6, maxiter=800, M=sparse.diags(1 / matrix.diagonal())
    )
    return solved.reshape(values.shape).clip(0, 1)


def _laplacian(seen: np.ndarray, beta: float) -> sparse.csr_array:
    """Laplacian of the pixels of an image, each linked to its four neighbours as `smooth` says."""
    colours, (height, width) = np.asarray(seen, np.float64) / 255, seen.shape[:2]
    index = np.arange(height * width).reshape(height, width)
    link = sparse.csr_array((index.size, index.size))
    for a, b in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
        weight = np.exp(-beta * ((colours[a] - colours[b]) ** 2).sum(axis=-1)) + SLACK
        ends = index[a].ravel(), index[b].ravel()
        link = link + sparse.coo_array((weight.ravel(), ends), shape=link.shape)
    return laplacian(link + link.T)


def near_points(size: tuple[int, ...], points: Points, radius: float) -> np.ndarray:
    """Which pixels, bool of shape (H, W), lie within `radius` of the pixel of a point (x, y)."""
    y, x = np.ogrid[: size[0], : size[1]]
    found = np.zeros(size, bool)
    for u, v in points:
        found |= (x - int(u)) ** 2 + (y - int(v)) ** 2 <= radius**2
    return found


def connected_part(mask: np.ndarray, points: Points) -> np.ndarray:
    """The parts of a mask that hold a point (x, y); the whole mask if none does."""
    parts, _ = label(mask)
    held = {int(parts[int(y), int(x)]) for x, y in points} - {0}
    return np.isin(parts, sorted(held)) if held else mask
