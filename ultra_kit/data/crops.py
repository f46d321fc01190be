"""How published protocols bring images and truths to the size that is scored."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from PIL import Image

from ..types import UltraError

Arrays = tuple[np.ndarray, tuple[np.ndarray, ...]]


def apply_crop(name: str, image: np.ndarray, truths: tuple[np.ndarray, ...]) -> Arrays:
    """Bring an image and its truths to the size at which a protocol scores them.

    Parameters
    ----------
    name : str
        One of `CROPS`.
    image : ndarray of shape (H, W, 3), uint8
    truths : tuple of ndarray of int, shape (H, W)
        Always resized to the nearest pixel.

    Returns
    -------
    image : ndarray of shape (h, w, 3), uint8
    truths : tuple of ndarray of int32
        At the image's new size, but for ``"diffcut128"``, which scores at 128 x 128.

    Raises
    ------
    ValueError
        For an unknown name, or a truth that does not have the image's size.

    Examples
    --------
    >>> image, truth = np.zeros((100, 200, 3), np.uint8), np.zeros((100, 200), int)
    >>> image, (truth,) = apply_crop("stego320", image, (truth,))
    >>> image.shape, truth.shape
    ((320, 320, 3), (320, 320))
    """
    check_crop(name)
    for truth in truths:
        if truth.shape != image.shape[:2]:
            raise ValueError(f"a truth must have its image's size {image.shape[:2]}, got {truth.shape}")
    return CROPS[name](image, tuple(t.astype(np.int32) for t in truths))


def check_crop(name: str) -> None:
    """Refuse a name that is not in `CROPS`.

    Parameters
    ----------
    name : str

    Raises
    ------
    ValueError
        With the names there are.
    """
    if name not in CROPS:
        raise ValueError(f"crop must be one of {', '.join(CROPS)}, got {name!r}")


def nearest(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize an array of labels by taking, for each new pixel, the one its centre falls into.

    Parameters
    ----------
    labels : ndarray of shape (H, W)
    size : tuple of int
        (h, w).

    Returns
    -------
    ndarray of shape (h, w)

    Examples
    --------
    >>> nearest(np.array([[1, 2, 3, 4]]), (1, 2))
    array([[2, 4]])
    """
    rows, columns = ((np.arange(m) * 2 + 1) * n // (2 * m) for n, m in zip(labels.shape, size, strict=True))
    return labels[rows[:, None], columns]


def _resize(image: np.ndarray, size: tuple[int, int], how: Image.Resampling) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize(size[::-1], how))


def _window(arrays: Arrays, top: int, left: int, side: int) -> Arrays:
    image, truths = arrays
    where = np.s_[top : top + side, left : left + side]
    return image[where], tuple(t[where] for t in truths)


def _full(image: np.ndarray, truths: tuple[np.ndarray, ...]) -> Arrays:
    return image, truths


def _shorter_side(
    image: np.ndarray, truths: tuple[np.ndarray, ...], *, side: int, how: Image.Resampling
) -> Arrays:
    """Shorter side to `side`, then the centre square, rounded as torchvision's CenterCrop does."""
    height, width = image.shape[:2]
    short = min(height, width)
    size = (int(side * height / short), int(side * width / short))
    top, left = (round((n - side) / 2) for n in size)
    resized = _resize(image, size, how), tuple(nearest(t, size) for t in truths)
    return _window(resized, top, left, side)


def _centre_square(
    image: np.ndarray,
    truths: tuple[np.ndarray, ...],
    *,
    side: int,
    less: int = 0,
    truth_side: int | None = None,
) -> Arrays:
    """The largest centre square (`less` pixels smaller), then resized: bilinear, truths to the nearest."""
    height, width = image.shape[:2]
    square = min(height, width) - less
    if square < 1:
        raise UltraError(f"the image must be larger than {less} pixels on each side, got {height} x {width}")
    image, truths = _window((image, truths), (height - square) // 2, (width - square) // 2, square)
    truths = tuple(nearest(t, (side, side)) for t in truths)
    if truth_side is not None:
        truths = tuple(nearest(t, (truth_side, truth_side)) for t in truths)
    return _resize(image, (side, side), Image.Resampling.BILINEAR), truths


def _squash(image: np.ndarray, truths: tuple[np.ndarray, ...], *, side: int) -> Arrays:
    size = (side, side)
    return _resize(image, size, Image.Resampling.NEAREST), tuple(nearest(t, size) for t in truths)


CROPS: dict[str, Callable[..., Arrays]] = {
    "full": _full,
    "stego320": partial(_shorter_side, side=320, how=Image.Resampling.NEAREST),
    "picie320": partial(_shorter_side, side=320, how=Image.Resampling.BILINEAR),
    "cause-voc320": partial(_squash, side=320),
    "diffseg512": partial(_centre_square, side=512),
    "diffcut128": partial(_centre_square, side=1024, less=1, truth_side=128),
    "clip224": partial(_shorter_side, side=224, how=Image.Resampling.BICUBIC),
}
"""Name -> what it does. "full": the original. "stego320" (STEGO, EAGLE, HP, PriMaPs): shorter side to
320, nearest for the image too, centre 320 x 320. "picie320": the same, image bilinear.
"cause-voc320": squashed to 320 x 320, nearest. "diffseg512": centre square, bilinear to 512 x 512.
"diffcut128": centre square less one pixel, bilinear to 1024 x 1024, scored at 128 x 128. "clip224":
shorter side to 224, bicubic, centre 224 x 224, what CLIP's own preprocessing shows the model."""
