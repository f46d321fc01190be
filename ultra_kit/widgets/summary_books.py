"""The books of a `SummaryExplorer`: the evidence of one summary by kind and layer, and a page's form of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..text.evidence_words import Evidence
from ..text.summarizing import Summary
from ..text.tracing import EVIDENCE_METHODS, evidence
from ..text.words import split_words
from ..types import Settings
from .map_books import AGAINST, Book, Form, Key, Shelf, given, gradients, pack

_MAX_BYTES = 1_500_000
"""Bytes of evidence that a page carries, four per value."""

_MAX_ENTRIES = 300_000_000
"""Attention gradients that are worked out beforehand, some ten seconds of one core; see `token_books`."""

_SHARES = ("document", "summary", "sinks", "prompt")
_FORWARD = ("raw_attention", "rollout", "cosine", "string_search")  # methods that take no backward pass

Source = Summary | Evidence | Sequence[Evidence]


def book_of(ev: Evidence) -> Book:
    """The book of evidence."""
    return Book(ev, ev.rows, {"matrix": ev.matrix, **ev.shares})


def evidence_of(book: Book) -> Evidence:
    """The evidence that a book holds."""
    shares = {name: book.parts[name] for name in book.about.shares}
    return replace(book.about, matrix=book.parts["matrix"], rows=book.rows, shares=shares)


class SummaryShelf(Shelf):
    """The evidence of one summary: `words` are those that can be explained, `first` any of it, for the texts."""

    def __init__(self, source: Source, scores: Sequence[str] | None, baselines: Sequence[str]) -> None:
        self.summary = source if isinstance(source, Summary) else None
        if isinstance(source, Summary):
            own = Settings.of(source.capture.model)
            super().__init__(
                source.capture, _offered((own.score, "norm") if scores is None else scores, baselines)
            )
            self.words = [i for i, w in enumerate(source.words) if w.tokens]
            self.begin = Key(next(iter(self.offered)), max(1, source.capture.layer_index(own.layer)))
            self._work_out_little(source)
            self.first: Evidence = self.books[self.begin].about
            return
        found = given(source, Evidence, "Summary", "uk.evidence or uk.summarize")
        super().__init__(None, {})
        if len({(ev.document, ev.text) for ev in found}) > 1:
            raise ValueError("the evidence must be of one summary of one document")
        self.keep_given(map(book_of, found))
        self.first = found[0]
        self.begin = min(self.books, key=lambda key: bool(key.contrast))
        self.words = sorted({int(w) for ev in found for w in ev.rows})

    def make(self, key: Key, rows: list[int]) -> Book:
        """Find the evidence of summary words."""
        if self.summary is None or (key.kind not in self.offered and not key.contrast):
            raise ValueError("that evidence is not there; make the view from the Summary to ask for more")
        how = self.offered.get(key.kind, {"score": "logprob", "contrast": key.contrast})
        if key.contrast:
            how = how | {"rule": "negative" if key.kind == AGAINST else "positive"}
        return book_of(evidence(self.summary, layer=key.layer, words=rows, progress=False, **how))

    def _work_out_little(self, s: Summary) -> None:
        """Work out beforehand what is little work, and first what the view begins with: its long words at least."""
        room, last = _MAX_ENTRIES, s.capture.n_layers
        # A backward pass through the weights costs, per weight and token, about what 1/500 of an attention's entry does.
        weights = (
            sum(p.numel() for p in s.capture.model.module.parameters()) * s.capture.layout.n_tokens // 500
        )
        # The layer to begin with, the last, the middle, the quarters, then the rest, from above.
        few = [self.begin.layer, last, (last + 1) // 2, (last + 3) // 4, (3 * last + 3) // 4]
        for layer in dict.fromkeys([*few, *range(last, 0, -1)]):
            for kind, how in self.offered.items():
                cost = gradients(s.capture, layer) + weights * layer // last
                each = 0 if how.get("method") in _FORWARD else cost
                words, key = self.words, Key(kind, layer)
                if each * sum(len(s.words[i].tokens) for i in words) > max(0, room):
                    if key != self.begin:
                        continue
                    longest = sorted(words, key=lambda i: -len(s.words[i].text))
                    words = sorted(longest[: max(1, room // each)])
                room -= each * sum(len(s.words[i].tokens) for i in words)
                self.work_out(key, words)


def _offered(scores: Sequence[str], baselines: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Kinds to arguments of `evidence`."""
    unknown = [name for name in baselines if name not in EVIDENCE_METHODS]
    if unknown or not scores:
        raise ValueError(
            f"scores must hold at least one, and baselines be of {', '.join(EVIDENCE_METHODS)}; got {list(scores)}, {unknown}"
        )
    kinds: dict[str, dict[str, Any]] = {
        f"ULTra: {score}, positive": {"score": score, "rule": "positive"} for score in scores
    }
    return kinds | {name.replace("_", " "): {"method": name} for name in baselines}


def page_form(shelf: SummaryShelf, key: Key, book: Book) -> Form:
    """What a page is told of evidence, its coverage if it is complete; its matrix (S, D) and `_SHARES` (S, 4), float32."""
    whole = set(shelf.words) <= set(book.rows.tolist())
    cover = evidence_of(book).coverage() if whole and not key.contrast else None
    coverage = {} if cover is None else {"unused": list(cover.unused), "weak": list(cover.weak)}
    places = np.stack([book.parts[name] for name in _SHARES], axis=1)
    return {**key._asdict(), **coverage}, {
        "matrix": np.ascontiguousarray(book.parts["matrix"], "<f4"),
        "places": places.astype("<f4"),
    }


def pack_evidence(shelf: SummaryShelf, shown: Sequence[Key]) -> dict[str, Any]:
    """Everything a page needs of the evidence."""
    return pack(shelf.books, shown, lambda key, book: page_form(shelf, key, book), _MAX_BYTES, split=False)


def pieces(text: str, sentences: Sequence[tuple[int, int]]) -> list[dict[str, Any]]:
    """Cut a text into sentences, bounds in its words, that a page can put together again to the same characters.

    ``pairs`` are what stands before each word and the word; ``tail`` stands after the last.

    >>> pieces("A b. C", [(0, 3), (3, 4)])[0]
    {'first': 0, 'pairs': [['', 'A'], [' ', 'b'], ['', '.']], 'tail': ' '}
    """
    words = split_words(text)
    out = []
    for k, (a, b) in enumerate(sentences):
        ends = [words[a - 1].end if k else 0, *(w.end for w in words[a:b])]
        pairs = [[text[e : w.start], w.text] for e, w in zip(ends, words[a:b], strict=False)]
        if k:
            pairs[0][0] = ""  # the tail of the sentence before
        tail = text[words[b - 1].end : words[b].start if b < len(words) else len(text)]
        out.append({"first": a, "pairs": pairs, "tail": tail})
    return out
