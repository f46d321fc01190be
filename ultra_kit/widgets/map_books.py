"""Maps by key: given, made beforehand or on demand, and packed for a page within a limit; the one store of the views."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np

from ..text.evidence_words import Evidence
from ..types import Capture, ExplanationMaps

Parts = dict[str, np.ndarray]
"""Arrays by name, each with one entry per row."""
Form = tuple[dict[str, Any], Parts]
"""What a page is told of a book, JSON-able, and its parts."""
K = TypeVar("K")


AGAINST = "against"
"""The kind of a contrast's other side: what speaks for the word that was not written."""


class Key(NamedTuple):
    """What maps are: how they were made, of which layer and since which; a contrast has no kind, or `AGAINST`."""

    kind: str
    layer: int
    contrast: str = ""
    since: int = 0


def key_of(maps: ExplanationMaps | Evidence) -> Key:
    """Name how maps were made, for a reader: ``("ULTra: norm, positive", 4)`` or ``("raw attention", 4)``."""
    contrast = getattr(maps, "contrast", None)
    if contrast is not None:
        return Key(AGAINST if maps.rule == "negative" else "", maps.layer, contrast)
    if getattr(maps, "groups", None) is not None:
        raise ValueError(
            "a view shows maps of single tokens, got maps of groups; draw them with uk.plots.show_map"
        )
    return Key(_kind(maps.method, maps.score, maps.rule), maps.layer, since=getattr(maps, "since", 0))


def _kind(method: str, score: str, rule: str) -> str:
    return f"ULTra: {score}, {rule}" if method == "ultra" else method.replace("_", " ")


def made_how(card: Mapping[str, Any]) -> str:
    """What maps were made how, for a reader, from their card: "ULTra: norm, positive, layer 10", or "" if it is silent."""
    if (made := card.get("explanation")) is None:
        return ""
    since = made.get("since", 0)
    alone = " (the last block alone)" if since == made["layer"] - 1 else ""
    end = f", since layer {since}{alone}" if since else ""
    end += ", through the model's own W" if made.get("transform") == "own" else ""
    return f"{_kind(made['method'], made['score'], made['rule'])}, layer {made['layer']}{end}"


@dataclass(frozen=True, eq=False)
class Book:
    """Maps of one key: `about` tells what they are, `rows` (T,) whose (tokens or words), `parts` holds their numbers."""

    about: Any
    rows: np.ndarray
    parts: Parts

    def only(self, rows: Iterable[int]) -> Book:
        """The maps of some rows."""
        at = np.flatnonzero(np.isin(self.rows, list(rows)))
        return Book(self.about, self.rows[at], {name: part[at] for name, part in self.parts.items()})

    def joined(self, new: Book) -> Book:
        """Both, in the order of their rows, with the parts that both have."""
        rows = np.concatenate([self.rows, new.rows])
        order = np.argsort(rows)
        both = {n: np.concatenate([self.parts[n], new.parts[n]]) for n in self.parts if n in new.parts}
        return Book(new.about, rows[order], {name: part[order] for name, part in both.items()})


class Shelf(ABC):
    """The books of one input; `offered` maps each kind that can be made of `capture` to its arguments."""

    def __init__(self, capture: Capture | None, offered: Mapping[str, dict[str, Any]]) -> None:
        self.capture = capture
        self.offered = offered
        self.books: dict[Key, Book] = {}

    @abstractmethod
    def make(self, key: Key, rows: list[int]) -> Book:
        """Work out maps that are not there; a ValueError where they cannot be."""

    @property
    def layers(self) -> set[int]:
        """The layers that are there or can be made."""
        made = range(1, self.capture.n_layers + 1) if self.capture is not None else ()
        return {key.layer for key in self.books} | {*made}

    @property
    def kinds(self) -> list[str]:
        """The kinds that are there or can be made."""
        return list(
            dict.fromkeys(
                k for k in [*self.offered, *(key.kind for key in self.books if not key.contrast)] if k
            )
        )

    def keep(self, key: Key, book: Book) -> None:
        """Add a book to those of its key, of which it must repeat no row."""
        self.books[key] = self.books[key].joined(book) if key in self.books else book

    def keep_given(self, books: Iterable[Book]) -> None:
        """Add the books that a user gave; a ValueError if one repeats another."""
        for book in books:
            key = key_of(book.about)
            if len(self.lacking(key, book.rows)) < len(book.rows):
                raise ValueError("two entries have one method, score, rule, layer and since; pass each once")
            self.keep(key, book)

    def lacking(self, key: Key, rows: Iterable[int]) -> list[int]:
        """Which of the rows have no map of that key."""
        known = set(self.books[key].rows.tolist()) if key in self.books else set()
        return [int(row) for row in rows if int(row) not in known]

    def work_out(self, key: Key, rows: Iterable[int]) -> Book:
        """Make what is lacking and keep it; returns what was made, or the whole book if nothing was."""
        missing = self.lacking(key, rows)
        if not missing:
            return self.books[key]
        made = self.make(key, missing)
        self.keep(key, made)
        return made


def given(source: Any, kind: type, maker: str, call: str) -> list[Any]:
    """Check what a view was given in place of a `maker`: one or several of `kind`."""
    found = list(source) if isinstance(source, (list, tuple)) else [source]
    if not found:
        raise ValueError(f"a sequence of {kind.__name__} must hold at least one entry, got none")
    for one in found:
        if not isinstance(one, kind):
            raise TypeError(
                f"the source must be {kind.__name__} or a {maker}, got {type(one).__name__}; call {call} first"
            )
    return found


def gradients(cap: Capture, layer: int) -> int:
    """Attention gradients of one backward pass from a layer, which runs through the blocks up to it."""
    return sum(step.weights.numel() for step in cap.steps if step.layer <= layer)


def entry(about: Mapping[str, Any], rows: np.ndarray, parts: Parts) -> dict[str, Any]:
    """A book as pages know it: whose maps, and how many numbers of each part belong to one."""
    widths = [int(np.prod(part.shape[1:])) for part in parts.values()]
    return {**about, "rows": rows.tolist(), "widths": widths}


def answer_of(form: Form, rows: np.ndarray) -> tuple[dict[str, Any], list[bytes]]:
    """A book as a live page receives it: the entry, and the bytes of its parts."""
    about, parts = form
    return {"book": entry(about, rows, parts)}, [part.tobytes() for part in parts.values()]


def pack(
    books: Mapping[K, Book],
    shown: Container[K],
    form: Callable[[K, Book], Form],
    most: int,
    *,
    split: bool,
) -> dict[str, Any]:
    """Books for a page, those in `shown` first: entries, parts one after the other, and how many were ``left_out``.

    Of a book's parts the first counts against `most` bytes. What does not fit is left out: single maps if `split`, else
    whole books, but not the first of them.
    """
    room, left_out = most, 0
    entries: list[dict[str, Any]] = []
    packed: dict[str, list[bytes]] = {}
    for key in sorted(books, key=lambda key: key not in shown):
        about, parts = form(key, books[key])
        rows = books[key].rows
        size = max(1, next(iter(parts.values()))[:1].nbytes)
        n = min(len(rows), room // size)
        if not split and n < len(rows):
            n = 0 if entries else len(rows)
        left_out += len(rows) - n if split else int(n == 0)
        if n:
            room -= n * size
            entries.append(entry(about, rows[:n], parts))
            for name, part in parts.items():
                packed.setdefault(name, []).append(part[:n].tobytes())
    return {"books": entries, "left_out": left_out, **{n: b"".join(found) for n, found in packed.items()}}


def quantise(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Round non-negative rows (..., n) to 256 levels, uint8: 0 is 0, 255 the largest of the row (...,), float32.

    >>> levels, largest = quantise(np.array([[0, 1, 4.0], [0, 0, 0]]))
    >>> levels.tolist(), largest.tolist()
    ([[0, 64, 255], [0, 0, 0]], [4.0, 0.0])
    """
    rows = np.asarray(rows, np.float64)
    largest = rows.max(axis=-1, initial=0)
    share = rows / np.where(largest > 0, largest, 1)[..., None]
    return np.floor(255 * share + 0.5).astype(np.uint8), largest.astype("<f4")
