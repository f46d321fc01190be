"""Opening images: any path, PIL image or array becomes (H, W, 3) uint8, or a clear error."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ..types import UltraError

MAX_PIXELS = 40_000_000
"""The largest image that is opened, in pixels: a larger one is refused before it is decoded."""

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000")
"""What is opened, whatever a file is called. None of them starts another program, as EPS would."""

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
"""Of files that a folder of images is read for."""

_A_TEXT = "; a text goes to a text model, load('smollm2')"


def open_image(x: Any) -> np.ndarray:
    """Read an image as the workbench keeps it.

    The orientation noted by a camera (EXIF) is applied, transparency is laid over white, 16-bit values
    are scaled to 8 bits, and CMYK, greyscale and palette images become RGB.

    Parameters
    ----------
    x : str, Path, PIL.Image.Image or ndarray
        A file, a PIL image, or an array of dtype uint8 and shape (H, W), (H, W, 1), (H, W, 3) or
        (H, W, 4), the last with transparency.

    Returns
    -------
    ndarray of shape (H, W, 3), uint8
        RGB in [0, 255], row 0 at the top. Always a copy.

    Raises
    ------
    ValueError
        For a missing, empty, truncated or foreign file, and an array of the wrong shape, dtype or values.
    TypeError
        If `x` is none of the above.
    UltraError
        For an image of more than 40 megapixels.

    Examples
    --------
    >>> import numpy as np
    >>> open_image(np.zeros((4, 6), np.uint8)).shape
    (4, 6, 3)
    """
    if isinstance(x, np.ndarray):
        return _from_array(x)
    if isinstance(x, Image.Image):
        return decode(x, "the PIL image")
    if isinstance(x, (str, os.PathLike)):
        return from_file(x)
    raise TypeError(
        f"an image must be a path, a PIL image or an (H, W, 3) uint8 array, got {type(x).__name__}"
        + ("; turn a tensor into an array with .numpy()" if hasattr(x, "numpy") else "")
    )


def image_files(folder: str | os.PathLike[str]) -> list[Path]:
    """The images in a folder and in those below it, in order of their paths; a ValueError if it is no folder."""
    if not Path(folder).is_dir():
        raise ValueError(f"images must be a list, or a folder of images; there is no folder {str(folder)!r}")
    return sorted(p for p in Path(folder).rglob("*") if p.suffix.lower() in SUFFIXES)


def from_file(x: str | os.PathLike, *, upright: bool = True) -> np.ndarray:
    """An image file as `open_image` gives it; without `upright` as it is stored, like the masks beside it."""
    if str(x).startswith(("http:/", "https:/")):  # a Path keeps one slash of two
        raise ValueError(f"an image must be a local file, got the address {str(x)!r}; download it first")
    path = regular_file(Path(x))
    try:
        with Image.open(path, formats=FORMATS) as image:
            return decode(image, repr(str(path)), upright)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _too_large(repr(str(path)), "far more") from None
    except UltraError:
        raise
    except UnidentifiedImageError:
        hint = _A_TEXT if path.suffix in (".txt", ".md") else ", whatever its name says"
        raise ValueError(f"{str(path)!r} is no image of {', '.join(FORMATS)}{hint}") from None
    except Exception as e:  # what a damaged header raises depends on the format
        named = repr(str(path)) in str(e)  # by `decode`
        raise ValueError(str(e) if named else f"{str(path)!r} can't be read: {e}") from e


def regular_file(path: Path) -> Path:
    """The same path; a ValueError unless a file with something in it is there: a pipe or a device may never end."""
    if not os.path.isfile(path):  # Path.is_file() raises where a long text is taken for a name
        there = f"nothing there{'' if path.suffix else _A_TEXT}"
        if os.path.exists(path):
            there = "a folder; give its files" if path.is_dir() else "a pipe or a device, give a regular file"
        raise ValueError(f"no image file at {str(path)[:200]!r}: {there}")
    if path.stat().st_size == 0:
        raise ValueError(f"{str(path)!r} is empty (0 bytes); save or download it again")
    return path


def _too_large(what: str, size: str) -> UltraError:
    return UltraError(
        f"{what} must have at most {MAX_PIXELS // 10**6} megapixels, got {size}; make it smaller first"
    )


def decode(image: Image.Image, what: str, upright: bool = True) -> np.ndarray:
    """An opened image as (H, W, 3) uint8; see `open_image`."""
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise _too_large(what, f"{width} x {height}")
    if width * height == 0:
        raise ValueError(f"{what} must have at least one pixel, got {width} x {height}")
    try:
        image.load()
    except Exception as e:  # such as SyntaxError for broken PNG chunks
        raise ValueError(f"{what} is damaged or truncated: {e}") from e
    if upright:
        with suppress(Exception):  # a damaged note of the orientation: shown as it is stored
            image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        return _from_sixteen_bits(np.asarray(image), what)
    if image.mode == "F":
        raise ValueError(f"{what} holds floats of unknown range; scale it to 0..255 and make it uint8")
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.array(image.convert("RGB"))


def _from_sixteen_bits(values: np.ndarray, what: str) -> np.ndarray:
    if values.min() < 0 or values.max() > 65535:
        raise ValueError(f"{what} must hold 8 or 16 bits per pixel, got {values.min()}..{values.max()}")
    grey = np.round(values / 257.0).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=-1)


def _from_array(x: np.ndarray) -> np.ndarray:
    if x.dtype != np.uint8:
        hint = ""
        if np.issubdtype(x.dtype, np.floating):
            bad = " with NaN or infinite values" if not np.isfinite(x).all() else ""
            to_bytes = "(255 * x)" if x.size and x.max() <= 1 else "bring it to 0..255, then x"
            hint = f"{bad}; {to_bytes}.astype(numpy.uint8)"
        raise ValueError(f"an image array must have dtype uint8, got {x.dtype}{hint}")
    if x.ndim not in (2, 3) or (x.ndim == 3 and x.shape[2] not in (1, 3, 4)) or 0 in x.shape:
        first = x.ndim == 3 and x.shape[0] in (1, 3, 4)
        hint = "; channels come last: x.transpose(1, 2, 0)" if first else ""
        raise ValueError(f"an image array must have shape (H, W) or (H, W, 1, 3 or 4), got {x.shape}{hint}")
    x = x[..., 0] if x.shape[2:] == (1,) else x
    return decode(Image.fromarray(np.ascontiguousarray(x)), "an image array")
