"""Masks as COCO run-length codes: what annotation tools and COCO's own scoring read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..types.checks import whole_number

MAX_PIXELS = 2**28
_POLYGON = "; a polygon has to be drawn first: PIL.ImageDraw.Draw(image).polygon, then to_rle"


def to_rle(mask: np.ndarray, *, compressed: bool = False) -> dict[str, Any]:
    """Encode a mask in COCO's run-length format (https://cocodataset.org/#format-data).

    Parameters
    ----------
    mask : ndarray of shape (H, W), bool
        ValueError if it has another shape, is empty, or holds anything but 0 and 1.
    compressed : bool, default False
        COCO's ASCII code of the counts in place of the list of counts.

    Returns
    -------
    dict
        ``size`` [H, W] and ``counts``: lengths of alternating runs of 0 and 1, column by column, 0 first.

    Examples
    --------
    >>> to_rle([[False, True], [True, True]])
    {'size': [2, 2], 'counts': [1, 3]}
    """
    array = np.asarray(mask)
    if array.ndim != 2 or array.size == 0:
        raise ValueError(f"mask must have shape (height, width), both at least 1, got {array.shape}")
    if array.dtype != bool and not np.isin(array, (0, 1)).all():
        raise ValueError(f"mask must hold only 0 and 1, got {array.dtype} with others; first compare (x > 0)")
    flat = array.astype(np.int8).ravel(order="F")
    edges = np.flatnonzero(np.diff(flat, prepend=0))  # prepending 0 makes the first run one of zeros
    counts = np.diff(edges, prepend=0, append=flat.size).tolist()
    return {"size": list(array.shape), "counts": _to_text(counts) if compressed else counts}


def from_rle(rle: Mapping[str, Any]) -> np.ndarray:
    """Decode a mask from COCO's run-length format, compressed or not.

    Parameters
    ----------
    rle : mapping
        With ``size`` [H, W] and ``counts``, a list of int, or COCO's ASCII code as str or bytes. A TypeError or
        ValueError for anything else (polygons), sizes of more than 2^28 pixels, and counts that are negative or do not
        add up to H * W.

    Returns
    -------
    ndarray of shape (H, W), bool

    Examples
    --------
    >>> from_rle({"size": [1, 2], "counts": [1, 1]})
    array([[False,  True]])
    """
    if not isinstance(rle, Mapping) or not {"size", "counts"} <= rle.keys():
        raise TypeError(
            f"a run-length code is a mapping with size and counts, got {type(rle).__name__}{_POLYGON}"
        )
    try:
        height, width = (whole_number("a side of size", n, 1, MAX_PIXELS) for n in rle["size"])
    except (TypeError, ValueError) as error:
        raise ValueError(f"size must be [height, width], got {rle['size']!r} ({error})") from None
    counts = rle["counts"]
    if isinstance(counts, (str, bytes)):
        counts = _from_text(counts if isinstance(counts, bytes) else counts.encode("utf-8"))
    elif not isinstance(counts, (list, tuple, np.ndarray)) or not all(
        isinstance(n, (int, np.integer)) and not isinstance(n, bool) for n in counts
    ):
        raise ValueError(f"counts must be whole numbers, or a text of them{_POLYGON}")
    runs = [int(n) for n in counts]  # without an end: sums of int64 come round to any number
    if height * width > MAX_PIXELS or min(runs, default=0) < 0 or sum(runs) != height * width:
        raise ValueError(
            f"counts must be non-negative and add up to {height} x {width} = {height * width}, at most {MAX_PIXELS}, got "
            f"{sum(runs):.6g} in {len(runs)} runs; the mask is damaged or of another size"
        )
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return flat.reshape((height, width), order="F")


def _to_text(counts: list[int]) -> str:
    """COCO's code: each count less the one two before it (from the fourth on), 5 bits a character."""
    out = []
    for i, count in enumerate(counts):
        x = count - (counts[i - 2] if i > 2 else 0)
        more = True
        while more:
            bits = x & 0x1F
            x >>= 5
            more = x != (-1 if bits & 0x10 else 0)
            out.append(chr(48 + (bits | 0x20 * more)))
    return "".join(out)


def _from_text(code: bytes) -> list[int]:
    counts: list[int] = []
    x = shift = 0
    for byte in code:
        bits = byte - 48
        if not 0 <= bits < 64:
            raise ValueError(f"counts must be COCO's code, made of the characters 0 to o, got {chr(byte)!r}")
        x |= (bits & 0x1F) << shift
        shift += 5
        if not bits & 0x20:
            if bits & 0x10:
                x -= 1 << shift
            counts.append(x + (counts[-2] if len(counts) > 2 else 0))
            x = shift = 0
        elif shift > 60:
            raise ValueError("counts must be COCO's code, and one of them takes more than 64 bits")
    if shift:
        raise ValueError("counts must be COCO's code, and the last of them is cut off")
    return counts
