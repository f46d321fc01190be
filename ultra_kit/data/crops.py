"""How published protocols bring images and truths to the size that is scored."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from PIL import Image

from ..types import UltraError

Arrays = tuple[np.ndarray, tuple[np.ndarray, ...]]
"""An image, uint8 of shape (H, W, 3), and its truths, each int32 of shape (H, W)."""


def apply_crop(name: str, image: np.ndarray, truths: tuple[np.ndarray, ...]) -> Arrays:
    """Bring an image and its truths to the size at which the protocol of a name in `CROPS` scores them."""
    check_crop(name)
    for truth in truths:
        if truth.shape != image.shape[:2]:
            raise ValueError(f"a truth must have its image's size {image.shape[:2]}, got {truth.shape}")
    return CROPS[name]((image, tuple(t.astype(np.int32) for t in truths)))


def check_crop(name: str) -> None:
    """Refuse a name that is not in `CROPS`, with the names there are."""
    if name not in CROPS:
        raise ValueError(f"crop must be one of {', '.join(CROPS)}, got {name!r}")


def nearest(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize labels (H, W) to (h, w): each new pixel takes the one that its centre falls into.

    >>> nearest(np.array([[1, 2, 3, 4]]), (1, 2))
    array([[2, 4]])
    """
    rows, columns = ((np.arange(m) * 2 + 1) * n // (2 * m) for n, m in zip(labels.shape, size, strict=True))
    return labels[rows[:, None], columns]


def _resized(arrays: Arrays, size: tuple[int, int], how: Image.Resampling) -> Arrays:
    image, truths = arrays
    return np.asarray(Image.fromarray(image).resize(size[::-1], how)), tuple(nearest(t, size) for t in truths)


def _window(arrays: Arrays, top: int, left: int, side: int) -> Arrays:
    image, truths = arrays
    where = np.s_[top : top + side, left : left + side]
    return image[where], tuple(t[where] for t in truths)


def _shorter_side(arrays: Arrays, *, side: int, how: Image.Resampling) -> Arrays:
    """Shorter side to `side`, then the centre square, rounded as torchvision's CenterCrop does."""
    height, width = arrays[0].shape[:2]
    short = min(height, width)
    size = (int(side * height / short), int(side * width / short))
    top, left = (round((n - side) / 2) for n in size)
    return _window(_resized(arrays, size, how), top, left, side)


def _centre_square(arrays: Arrays, *, side: int, less: int = 0) -> Arrays:
    """The largest centre square (`less` pixels smaller), then bilinear to `side`."""
    height, width = arrays[0].shape[:2]
    square = min(height, width) - less
    if square < 1:
        raise UltraError(f"the image must be larger than {less} pixels on each side, got {height} x {width}")
    centre = _window(arrays, (height - square) // 2, (width - square) // 2, square)
    return _resized(centre, (side, side), Image.Resampling.BILINEAR)


def _diffcut(arrays: Arrays) -> Arrays:
    image, truths = _centre_square(arrays, side=1024, less=1)
    return image, tuple(nearest(t, (128, 128)) for t in truths)


CROPS: dict[str, Callable[[Arrays], Arrays]] = {
    "full": lambda arrays: arrays,
    "stego320": partial(_shorter_side, side=320, how=Image.Resampling.NEAREST),
    "picie320": partial(_shorter_side, side=320, how=Image.Resampling.BILINEAR),
    "cause-voc320": partial(_resized, size=(320, 320), how=Image.Resampling.NEAREST),
    "diffseg512": partial(_centre_square, side=512),
    "diffcut128": _diffcut,
    "clip224": partial(_shorter_side, side=224, how=Image.Resampling.BICUBIC),
}
"""Name -> what it does. "full": the original. "stego320" (STEGO, EAGLE, HP, PriMaPs): shorter side to
320, nearest for the image too, centre 320 x 320. "picie320": the same, image bilinear.
"cause-voc320": squashed to 320 x 320, nearest. "diffseg512": centre square, bilinear to 512 x 512.
"diffcut128": centre square less one pixel, bilinear to 1024 x 1024, scored at 128 x 128. "clip224":
shorter side to 224, bicubic, centre 224 x 224, what CLIP's own preprocessing shows the model."""
