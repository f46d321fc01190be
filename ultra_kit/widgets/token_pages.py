"""How the maps of a `TokenExplorer` are packed for a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .token_maps import MAX_BYTES, Book, Side


def pack(sides: Sequence[Side], first: tuple[str, int]) -> dict[str, Any]:
    """Everything a page needs of the maps: a description, and three arrays as bytes.

    Above three million values the shares of the heads are left out, then the last maps.

    Parameters
    ----------
    sides : sequence of Side
    first : tuple of str and int
        Kind and layer that are shown first, and left out last.

    Returns
    -------
    dict
        ``sides``, JSON-able; ``left_out``, the number of maps that did not fit; ``levels``, uint8 of
        every map; ``largest`` and ``prefix_values``, float32: the largest value of every map, and
        every whole map's values at the prefix tokens.
    """
    order = [(s, key) for s, side in enumerate(sides) for key in side.books]
    order.sort(key=lambda entry: entry[1] != first)
    books = [sides[s].books[key] for s, key in order]
    sizes = [book.variants(with_heads=True).size for book in books]
    room = MAX_BYTES
    parts, left_out = [], 0
    for book in books:
        part = page_rows(book, with_heads=sum(sizes) <= MAX_BYTES, at_most=room)
        room -= part.levels.size
        left_out += len(book.maps) - len(part.tokens)
        parts.append(part)
    return {
        "sides": [_about(side, s, order, parts) for s, side in enumerate(sides)],
        "left_out": left_out,
        "levels": b"".join(p.levels.tobytes() for p in parts),
        "largest": b"".join(p.largest.tobytes() for p in parts),
        "prefix_values": b"".join(p.prefix.tobytes() for p in parts),
    }


def _about(
    side: Side, number: int, order: Sequence[tuple[int, tuple[str, int]]], parts: Sequence[PageRows]
) -> dict[str, Any]:
    """One side for the page, with its books and where their arrays start."""
    books = []
    start = first = prefix = 0
    for (s, (kind, layer)), part in zip(order, parts, strict=True):
        if s == number:
            place = {"kind": kind, "layer": layer, "start": start, "first": first, "prefix": prefix}
            books.append({**place, **part.about})
        start, first, prefix = start + part.levels.size, first + part.largest.size, prefix + part.prefix.size
    return {
        "name": side.name,
        "grid": list(side.layout.grid or ()),
        "size": list(side.layout.size or ()),
        "n_prefix": side.layout.n_prefix,
        "books": books,
    }


@dataclass(frozen=True, eq=False)
class PageRows:
    """Maps of one book for a page.

    Attributes
    ----------
    tokens : list of int
    levels : ndarray of shape (T, V, n), uint8
    largest : ndarray of shape (T, V), float32
    prefix : ndarray of shape (T, P), float32
    """

    tokens: list[int]
    levels: np.ndarray
    largest: np.ndarray
    prefix: np.ndarray

    @property
    def about(self) -> dict[str, Any]:
        """Which tokens, and how many variants of each."""
        return {"tokens": self.tokens, "variants": self.levels.shape[1]}


def page_rows(
    book: Book, *, with_heads: bool, tokens: Sequence[int] | None = None, at_most: int | None = None
) -> PageRows:
    """Quantise one book, or some of its tokens, for a page.

    Parameters
    ----------
    book : Book
    with_heads : bool
        Also the shares of the heads, if they are there.
    tokens : sequence of int, optional
        Which; all by default.
    at_most : int, optional
        Values that may travel; tokens beyond that are left out.

    Returns
    -------
    PageRows
    """
    parts, maps = book.variants(with_heads=with_heads), book.maps
    _, v, n = parts.shape
    rows = np.arange(len(maps)) if tokens is None else np.flatnonzero(np.isin(maps.tokens, tokens))
    if at_most is not None:
        rows = rows[: at_most // (v * n)]
    levels, largest = quantise(parts[rows].reshape(-1, n))
    return PageRows(
        tokens=maps.tokens[rows].tolist(),
        levels=levels.reshape(-1, v, n),
        largest=largest.reshape(-1, v).astype("<f4"),
        prefix=maps.values[rows, : maps.layout.n_prefix].astype("<f4"),
    )


def quantise(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Round rows to 256 levels: 0 is 0, 255 the largest value of the row.

    Parameters
    ----------
    rows : ndarray of shape (M, n)
        Non-negative.

    Returns
    -------
    levels : ndarray of shape (M, n), uint8
        ``levels / 255 * largest`` is within ``largest / 510`` of the row.
    largest : ndarray of shape (M,), float32

    Examples
    --------
    >>> import numpy as np
    >>> levels, largest = quantise(np.array([[0, 1, 4.0], [0, 0, 0]]))
    >>> levels.tolist(), largest.tolist()
    ([[0, 64, 255], [0, 0, 0]], [4.0, 0.0])
    """
    rows = np.asarray(rows, np.float64)
    largest = rows.max(axis=1)
    share = rows / np.where(largest > 0, largest, 1)[:, None]
    return np.floor(255 * share + 0.5).astype(np.uint8), largest.astype(np.float32)
