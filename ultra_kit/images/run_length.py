"""Masks as COCO run-length codes: what annotation tools and COCO's own scoring read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


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
        raise ValueError(
            f"mask must hold only 0 and 1, got {array.dtype} with others; compare it first (x > 0)"
        )
    flat = array.astype(np.int8).ravel(order="F")
    edges = np.flatnonzero(np.diff(flat, prepend=0))  # prepending 0 makes the first run one of zeros
    counts = np.diff(edges, prepend=0, append=flat.size).tolist()
    return {"size": list(array.shape), "counts": _to_text(counts) if compressed else counts}


def from_rle(rle: Mapping[str, Any]) -> np.ndarray:
    """Decode a mask from COCO's run-length format, compressed or not.

    Parameters
    ----------
    rle : mapping
        With ``size`` [H, W] and ``counts``, a list of int, or COCO's ASCII code as str or bytes.
        ValueError if a count is negative or they do not add up to H * W.

    Returns
    -------
    ndarray of shape (H, W), bool

    Examples
    --------
    >>> from_rle({"size": [1, 2], "counts": [1, 1]})
    array([[False,  True]])
    """
    height, width = rle["size"]
    counts = rle["counts"]
    if isinstance(counts, (str, bytes)):
        counts = _from_text(counts if isinstance(counts, bytes) else counts.encode("ascii"))
    runs = np.asarray(counts, np.int64)
    if (runs < 0).any() or runs.sum() != height * width:
        raise ValueError(
            f"counts must be non-negative and add up to {height} x {width} = {height * width}, "
            f"got {runs.sum()} in {len(runs)} runs; the mask is damaged or of another size"
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
    return counts
