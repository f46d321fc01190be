"""The books of a `TokenExplorer`: the maps of one input by kind and layer, whole and by head, and a page's form of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from ..maps.heads import head_shares
from ..types import Capture, ExplanationMaps, Layout, Settings
from .map_books import Book, Form, Key, Shelf, given, gradients, key_of, pack, quantise

MAX_BYTES = 3_000_000
"""Bytes of maps that a page carries, one per value, before they are deflated to about half."""

_MAX_ENTRIES = 1_000_000_000
"""Attention gradients up to which the maps of a capture are all worked out beforehand: some ten seconds of
one core. Counted, not timed, so that the same call gives the same view on every machine."""

_FILLED = 400  # patches up to which a live page asks for one map after the other until all are there

Source = Capture | ExplanationMaps | Sequence[ExplanationMaps]


def book_of(maps: ExplanationMaps, heads: np.ndarray | None = None) -> Book:
    """The book of maps, with their `head_shares` if they are known."""
    parts = {"values": maps.values} if heads is None else {"values": maps.values, "heads": heads}
    return Book(maps, maps.tokens, parts)


class Side(Shelf):
    """One input under one model: its name, layout and pixels, and its books."""

    def __init__(
        self, source: Source, name: str, scores: Sequence[str] | None, rules: Sequence[str] | None
    ) -> None:
        self.name = name
        if isinstance(source, Capture):
            own = Settings.of(source.model)
            scores, rules = scores or [own.score], rules or [own.rule]
            kinds = {f"ULTra: {s}, {r}": {"score": s, "rule": r} for s in scores for r in rules}
            super().__init__(source, kinds)
            self.layout, self.input = _image_layout(source.layout), source.input
            self._work_out_all(source)
            number = source.layer_index(own.layer)
            self.start = Key(next(iter(kinds)), number, since=own.since % number)
            if self.closed and self.layout.n_content**2 <= MAX_BYTES:  # however many layers there are
                self.work_out(self.start._replace(since=number - 1), self.layout.content)
            return
        found = given(source, ExplanationMaps, "Capture", "uk.explain or uk.capture")
        super().__init__(None, {})
        self.layout, self.input = _image_layout(found[0].layout), found[0].input
        if any(maps.layout != self.layout for maps in found):
            raise ValueError("the maps of one side must be of one input; pass the other input as `right`")
        self.keep_given(map(book_of, found))
        kind = self.kinds[0]
        self.start = max((k for k in self.books if k.kind == kind), key=lambda k: (k.layer, -k.since))

    def add(self, maps: ExplanationMaps) -> None:
        """Keep maps of this input; those of the same kind and layer that are there already stay."""
        if maps.layout != self.layout:
            raise ValueError(
                f"maps must be of the input of {self.name!r}; explain the capture that the view was given"
            )
        self.books.setdefault(key_of(maps), book_of(maps))

    def makes(self, key: Key) -> bool:
        """Whether maps of that key can be made here."""
        return key.kind in self.offered and key.layer in self.layers

    def make(self, key: Key, rows: list[int]) -> Book:
        """Explain tokens of the capture."""
        if self.capture is None or not self.makes(key):
            raise ValueError(f"{self.name!r} has no map of that token; pass a capture, or maps of all tokens")
        how = {**self.offered[key.kind], "layer": key.layer, "since": key.since}
        shares = head_shares(self.capture, tokens=rows, **how)
        card = {**self.capture.card, "explanation": {"method": "ultra", **how}}
        tokens, values = np.array(rows, np.int64), shares.sum(axis=1)
        maps = ExplanationMaps(values, tokens, layout=self.layout, **how, input=self.input, card=card)
        return book_of(maps, shares if key.layer else None)

    @property
    def closed(self) -> bool:
        """Whether the maps of one block alone have a closed form: those of all tokens come at once."""
        return self.capture is not None and all(step.values is not None for step in self.capture.steps)

    def next_rows(self, key: Key) -> list[int]:
        """The next tokens without a map of that key, about as many as take a second."""
        missing = self.lacking(key, self.layout.content)
        if self.capture is None or (self.closed and key.since == key.layer - 1):
            return missing
        return missing[: max(1, _MAX_ENTRIES // (40 * gradients(self.capture, key.layer)))]

    def maps(self, key: Key, tokens: Sequence[int] | None = None, *, head: int = 0) -> ExplanationMaps | None:
        """The maps of a key, all or of some tokens: whole, or what came through a head (-1: past the heads)."""
        book = self.books.get(key)
        if book is None:
            return None
        book = book if tokens is None else book.only(tokens)
        values = book.parts["values"]
        if head and "heads" in book.parts:
            values = book.parts["heads"][:, max(head, 0)]
        return replace(book.about, values=values, tokens=book.rows)

    def _work_out_all(self, cap: Capture) -> None:
        """Explain every content token at every layer if that is little work and fits on a page: since 0, and over one block.

        The maps of one block alone are little work where they have a closed form, whatever the model's size.
        """
        n, layers = self.layout.n_content, range(1, cap.n_layers + 1)
        work = len(self.offered) * n * sum(gradients(cap, layer) for layer in layers)
        for kind in self.offered if len(self.offered) * len(layers) * n**2 <= MAX_BYTES else ():
            for layer in layers:
                if work <= _MAX_ENTRIES:
                    self.work_out(Key(kind, layer), self.layout.content)
                if work <= _MAX_ENTRIES or self.closed:
                    self.work_out(Key(kind, layer, since=layer - 1), self.layout.content)


def _image_layout(layout: Layout) -> Layout:
    if layout.grid is None or layout.size is None:
        raise ValueError("a TokenExplorer shows maps of images, got a text; use a SummaryExplorer for texts")
    return layout


def page_form(key: tuple[int, Key], book: Book, *, with_heads: bool = True) -> Form:
    """What a page is told of a side's book, and its parts: levels (T, V, n), largest (T, V), prefix_values (T, P).

    Of V = 1, or 2 + H with the heads, variants the first is the whole map, the next heads 1..H, the last past them.
    """
    values, heads, m = book.parts["values"], book.parts.get("heads"), book.about
    variants = [values]
    if with_heads and heads is not None:
        variants += [heads[:, h] for h in (*range(1, heads.shape[1]), 0)]
    rows = [ExplanationMaps(v, book.rows, m.layer, m.layout).without_own for v in variants]
    levels, largest = quantise(np.stack(rows, axis=1))
    prefix = values[:, : m.layout.n_prefix].astype("<f4")
    parts = {"levels": levels, "largest": largest, "prefix_values": prefix}
    return {"side": key[0], **key[1]._asdict()}, parts


def pack_sides(sides: Sequence[Side], shown: Key) -> dict[str, Any]:
    """Everything a page needs of the maps; without the shares of the heads where they do not all fit with them."""
    books = {(s, key): book for s, side in enumerate(sides) for key, book in side.books.items()}
    first = [(s, shown) for s in range(len(sides))]
    packed = pack(books, first, page_form, MAX_BYTES, split=True)
    if packed["left_out"]:
        packed = pack(books, first, partial(page_form, with_heads=False), MAX_BYTES, split=True)
    about = [
        {
            "name": side.name,
            "n_prefix": side.layout.n_prefix,
            "grid": side.layout.grid,
            "size": side.layout.size,
            "makes": [kind for kind in side.kinds if side.makes(Key(kind, 1))],
            "fills": side.layout.n_content <= _FILLED,
        }
        for side in sides
    ]
    return {"sides": about, **packed}
