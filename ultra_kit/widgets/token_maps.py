"""What a `TokenExplorer` shows: the maps of one input by kind and layer, and how they are packed for a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..heads import head_shares
from ..types import Capture, ExplanationMaps, Layout

_MAX_BYTES = 3_000_000
"""Bytes of maps that a page carries, one byte a value, before they are deflated to about half."""

_MAX_ENTRIES = 1_000_000_000
"""Attention gradients up to which the maps of a capture are all worked out beforehand: some ten seconds of
one core. Counted, not timed, so that the same call gives the same view on every machine."""


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


@dataclass(frozen=True, eq=False)
class Book:
    """The maps of one kind at one layer; `heads` splits them (`ultra_kit.heads.head_shares`) or is None."""

    maps: ExplanationMaps
    heads: np.ndarray | None = None

    def variants(self, *, with_heads: bool) -> np.ndarray:
        """The maps over the content, own positions replaced: (T, V, n), V = 1, or 2 + H with the heads.

        The first is the whole map, the next what came through heads 1..H, the last what passed them by.
        """
        whole = self.maps.without_own[:, None]
        if self.heads is None or not with_heads:
            return whole
        ordered = np.concatenate([self.heads[:, 1:], self.heads[:, :1]], axis=1)
        parts = [_without_own(self.maps, ordered[:, v]) for v in range(ordered.shape[1])]
        return np.concatenate([whole, np.stack(parts, axis=1)], axis=1)


def _without_own(maps: ExplanationMaps, values: np.ndarray) -> np.ndarray:
    return ExplanationMaps(values, maps.tokens, maps.layer, maps.layout).without_own


@dataclass(frozen=True, eq=False)
class Side:
    """One input under one model, with the maps that are there.

    Attributes
    ----------
    name : str
    layout : Layout
    input : ndarray or None
    books : dict
        (kind, layer) to `Book`; grows when a capture is asked for more.
    capture : Capture or None
        Whom to ask.
    kinds : dict
        What a kind stands for: its name to (score, rule).
    """

    name: str
    layout: Layout
    input: Any
    books: dict[tuple[str, int], Book]
    capture: Capture | None = None
    kinds: dict[str, tuple[str, str]] = field(default_factory=dict)

    def work_out(self, kind: str, layer: int, tokens: Sequence[int] | np.ndarray | None) -> Book:
        """Explain tokens of the capture, one backward pass a token, and keep their maps."""
        if self.capture is None or kind not in self.kinds:
            raise ValueError(f"{self.name!r} has no map of that token; pass a capture, or maps of all tokens")
        score, rule = self.kinds[kind]
        index = self.capture.token_indices(tokens)
        shares = head_shares(self.capture, layer=layer, tokens=index, score=score, rule=rule)
        made = {"method": "ultra", "layer": layer, "score": score, "rule": rule}
        maps = ExplanationMaps(
            shares.sum(axis=1),
            index,
            layer,
            self.layout,
            score=score,
            rule=rule,
            input=self.input,
            card={**self.capture.card, "explanation": made},
        )
        found = Book(maps, shares if layer else None)
        self.books[kind, layer] = _joined(self.books.get((kind, layer)), found)
        return found


def _joined(old: Book | None, new: Book) -> Book:
    """Both books as one; of a token in both the new map counts."""
    if old is None:
        return new
    kept = ~np.isin(old.maps.tokens, new.maps.tokens)
    values = np.concatenate([old.maps.values[kept], new.maps.values])
    tokens = np.concatenate([old.maps.tokens[kept], new.maps.tokens])
    m = new.maps
    maps = ExplanationMaps(values, tokens, m.layer, m.layout, m.method, m.score, m.rule, m.input, m.card)
    both = old.heads is not None and new.heads is not None
    return Book(maps, np.concatenate([old.heads[kept], new.heads]) if both else None)  # type: ignore[index,list-item]


def kind_of(maps: ExplanationMaps) -> str:
    """Name how maps were made, for a reader: ``"ULTra: norm, positive"`` or ``"rollout"``.

    Parameters
    ----------
    maps : ExplanationMaps

    Returns
    -------
    str

    Examples
    --------
    >>> import numpy as np
    >>> from ultra_kit.types import ExplanationMaps, Layout
    >>> layout = Layout("image", n_prefix=0, grid=(1, 2), size=(8, 16))
    >>> kind_of(ExplanationMaps(np.eye(2, dtype="float32"), np.arange(2), 3, layout))
    'ULTra: norm, positive'
    """
    if maps.method != "ultra":
        return maps.method.replace("_", " ")
    return f"ULTra: {maps.score}, {maps.rule}"


def make_side(
    source: Capture | ExplanationMaps | Sequence[ExplanationMaps],
    name: str,
    scores: Sequence[str],
    rules: Sequence[str],
) -> Side:
    """Read what a `TokenExplorer` was given for one side.

    Parameters
    ----------
    source : Capture, ExplanationMaps or sequence of ExplanationMaps
    name : str
        Shown above the pictures.
    scores, rules : sequence of str
        What is offered of a capture.

    Returns
    -------
    Side

    Raises
    ------
    TypeError
        If the source is something else.
    ValueError
        If it is of a text, empty, or of several inputs.
    """
    if isinstance(source, Capture):
        kinds = {f"ULTra: {s}, {r}": (s, r) for s in scores for r in rules}
        side = Side(name, _image_layout(source.layout), source.input, {}, source, kinds)
        _work_out_all(side)
        return side
    found = [source] if isinstance(source, ExplanationMaps) else list(source)
    if not found:
        raise ValueError("a sequence of maps must hold at least one entry, got none")
    for maps in found:
        if not isinstance(maps, ExplanationMaps):
            raise TypeError(f"maps must be ExplanationMaps or a Capture, got {type(maps).__name__}")
    layout = _image_layout(found[0].layout)
    if any(m.layout != layout for m in found):
        raise ValueError("the maps of one side must be of one input; pass the other input as `right`")
    books = {(kind_of(m), m.layer): Book(m) for m in found}
    if len(books) < len(found):
        raise ValueError("two entries have the same method, score, rule and layer; pass each once")
    return Side(name, layout, found[0].input, books)


def _image_layout(layout: Layout) -> Layout:
    if layout.grid is None or layout.size is None:
        raise ValueError("a TokenExplorer shows maps of images, got a text; use a SummaryExplorer for texts")
    return layout


def _work_out_all(side: Side) -> None:
    """Explain every content token at every layer, if that is little work and fits on a page."""
    cap = side.capture
    if cap is None:
        return
    layers = range(1, cap.n_layers + 1)
    size = len(side.kinds) * len(layers) * side.layout.n_content**2
    # A backward pass from layer k runs through the blocks up to k.
    entries = sum(s.weights.numel() for k in layers for s in cap.steps if s.layer <= k)
    if size > _MAX_BYTES or len(side.kinds) * entries * side.layout.n_content > _MAX_ENTRIES:
        return
    for kind in side.kinds:
        for layer in layers:
            side.work_out(kind, layer, None)


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
    room = _MAX_BYTES
    parts, left_out = [], 0
    for book in books:
        part = page_rows(book, with_heads=sum(sizes) <= _MAX_BYTES, at_most=room)
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
