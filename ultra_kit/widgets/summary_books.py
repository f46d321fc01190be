"""What a `SummaryExplorer` shows: the evidence of one summary by kind and layer, and how a page carries it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..text.evidence_words import Evidence
from ..text.summarizing import Summary
from ..text.tracing import EVIDENCE_METHODS, evidence
from ..text.words import split_words

_MAX_BYTES = 1_500_000
"""Bytes of evidence that a page carries, four a value."""

_MAX_ENTRIES = 300_000_000
"""Attention gradients that are worked out beforehand: some ten seconds of one core. Counted, not timed,
so that the same call gives the same view on every machine."""

SHARES = ("document", "summary", "sinks", "prompt")

Key = tuple[str, int, str]
"""Kind, layer and contrast of evidence; a contrast's kind is empty."""


def key_of(ev: Evidence) -> Key:
    """Kind, layer and contrast of evidence, as views name them.

    Parameters
    ----------
    ev : Evidence

    Returns
    -------
    tuple of str, int and str

    Examples
    --------
    >>> import ultra_kit as uk
    >>> s = uk.summarize(uk.load("briefs", pretrained=False), "A flood struck Tiza.", summary="The flood.")
    >>> key_of(uk.evidence(s, layer=2, method="raw_attention"))
    ('raw attention', 2, '')
    """
    if ev.contrast is not None:
        return "", ev.layer, ev.contrast
    kind = f"ULTra: {ev.score}, {ev.rule}" if ev.method == "ultra" else ev.method.replace("_", " ")
    return kind, ev.layer, ""


@dataclass(frozen=True, eq=False)
class Shelf:
    """Evidence of one summary, with whom to ask for more.

    Attributes
    ----------
    first : Evidence
        Any of it: the texts, their words and sentences.
    books : dict
        `Key` to `Evidence`; grows when the summary is asked for more.
    summary : Summary or None
        Whom to ask.
    kinds : dict
        What can be asked for: the name of a kind to arguments of `ultra_kit.evidence`.
    """

    first: Evidence
    books: dict[Key, Evidence]
    summary: Summary | None = None
    kinds: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def words(self) -> list[int]:
        """The summary words that can be explained, in order."""
        if self.summary is not None:
            return [i for i, w in enumerate(self.summary.words) if w.tokens]
        return sorted({int(w) for ev in self.books.values() for w in ev.rows})

    def lacking(self, key: Key, words: Iterable[int]) -> list[int]:
        """Which of the words have no evidence of that key."""
        book = self.books.get(key)
        known = set() if book is None else set(book.rows.tolist())
        return [w for w in words if w not in known]

    def work_out(self, key: Key, words: Sequence[int]) -> Evidence:
        """Find evidence of a key, and work out what of it is lacking for some words."""
        wanted = self.lacking(key, words)
        if wanted:
            kind, layer, contrast = key
            if self.summary is None or (kind not in self.kinds and not contrast):
                raise ValueError("that evidence is not there; make the view from the Summary to ask for more")
            arguments = {"score": "logprob", "contrast": contrast} if contrast else self.kinds[kind]
            made = evidence(self.summary, layer=layer, words=wanted, progress=False, **arguments)
            self.books[key] = _joined(self.books.get(key), made)
        return self.books[key]


def _joined(old: Evidence | None, new: Evidence) -> Evidence:
    if old is None:
        return new
    rows = np.concatenate([old.rows, new.rows])
    order = np.argsort(rows)
    shares = {k: np.concatenate([old.shares[k], new.shares[k]])[order] for k in new.shares}
    return replace(
        new, matrix=np.concatenate([old.matrix, new.matrix])[order], rows=rows[order], shares=shares
    )


def make_shelf(
    source: Summary | Evidence | Sequence[Evidence], scores: Sequence[str], baselines: Sequence[str]
) -> Shelf:
    """Read what a `SummaryExplorer` was given.

    Parameters
    ----------
    source : Summary, Evidence or sequence of Evidence
    scores, baselines : sequence of str
        What is offered of a summary.

    Returns
    -------
    Shelf

    Raises
    ------
    TypeError
        If the source is something else.
    ValueError
        If it is empty or of several summaries, or for a baseline that there is not.
    """
    if isinstance(source, Summary):
        return _shelf_of(source, scores, baselines)
    found: list[Any] = list(source) if isinstance(source, (list, tuple)) else [source]
    if not found:
        raise ValueError("a sequence of evidence must hold at least one entry, got none")
    for ev in found:
        if not isinstance(ev, Evidence):
            raise TypeError(f"SummaryExplorer takes a Summary or Evidence, got {type(ev).__name__}")
    if len({(ev.document, ev.text) for ev in found}) > 1:
        raise ValueError("the evidence must be of one summary of one document")
    books: dict[Key, Evidence] = {}
    for ev in found:
        old = books.get(key_of(ev))
        if old is not None and set(old.rows.tolist()) & set(ev.rows.tolist()):
            raise ValueError("two entries have the same method, score, rule and layer; pass each once")
        books[key_of(ev)] = _joined(old, ev)
    return Shelf(found[0], books)


def _shelf_of(s: Summary, scores: Sequence[str], baselines: Sequence[str]) -> Shelf:
    unknown = [name for name in baselines if name not in EVIDENCE_METHODS]
    if unknown or not scores:
        raise ValueError(
            f"scores must hold at least one, and baselines be of {', '.join(EVIDENCE_METHODS)}; got {list(scores)}, {unknown}"
        )
    kinds: dict[str, dict[str, Any]] = {f"ULTra: {score}, positive": {"score": score} for score in scores}
    kinds |= {name.replace("_", " "): {"method": name} for name in baselines}
    last = s.capture.n_layers
    words = [i for i, w in enumerate(s.words) if w.tokens]
    n_tokens = sum(len(s.words[i].tokens) for i in words)
    books: dict[Key, Evidence] = {}
    room = _MAX_ENTRIES
    for layer in _from_the_last(last):
        # A backward pass from a layer runs through the blocks up to it; the forward methods cost nothing.
        cost = n_tokens * sum(step.weights.numel() for step in s.capture.steps if step.layer <= layer)
        for kind, arguments in kinds.items():
            price = 0 if arguments.get("method") in ("raw_attention", "rollout", "cosine") else cost
            if price <= room:
                room -= price
                books[kind, layer, ""] = evidence(s, layer=layer, progress=False, **arguments)
    key = (next(iter(kinds)), last, "")
    if key not in books:
        real = [i for i in words if any(c.isalnum() for c in s.words[i].text)] or words
        books[key] = evidence(s, layer=last, words=real[:1], progress=False, **kinds[key[0]])
    return Shelf(books[key], books, s, kinds)


def _from_the_last(n: int) -> list[int]:
    """Layers 1..n: the last, the middle, the quarters, then the rest, from above."""
    order = [n, (n + 1) // 2, (n + 3) // 4, (3 * n + 3) // 4, *range(n, 0, -1)]
    return list(dict.fromkeys(order))


def pieces(text: str, sentences: Sequence[tuple[int, int]]) -> list[dict[str, Any]]:
    """Cut a text into sentences and words that a page can put together again to the same characters.

    Parameters
    ----------
    text : str
    sentences : sequence of (int, int)
        Bounds in the words of `ultra_kit.text.split_words`.

    Returns
    -------
    list of dict
        ``first``, the index of the first word; ``pairs``, of what stands before each word and the word;
        ``tail``, what stands after the last.

    Examples
    --------
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


def about(key: Key, book: Evidence, words: Sequence[int]) -> dict[str, Any]:
    """Describe evidence for a page, all of it that is JSON; see `values` for the numbers.

    Parameters
    ----------
    key : tuple of str, int and str
    book : Evidence
    words : sequence of int
        The summary words that can be explained: coverage is told when all of them are.

    Returns
    -------
    dict
    """
    whole = set(words) <= set(book.rows.tolist())
    cover = book.coverage() if whole and not key[2] else None
    return {
        "kind": key[0],
        "layer": key[1],
        "contrast": key[2],
        "rows": book.rows.tolist(),
        "shares": np.stack([book.shares[k] for k in SHARES], axis=1).round(6).tolist(),
        "unused": None if cover is None else list(cover.unused),
        "weak": None if cover is None else list(cover.weak),
    }


def values(book: Evidence) -> bytes:
    """Give the matrix as float32, little-endian.

    Parameters
    ----------
    book : Evidence

    Returns
    -------
    bytes
    """
    return np.ascontiguousarray(book.matrix, "<f4").tobytes()


def pack(shelf: Shelf, first: Sequence[Key]) -> dict[str, Any]:
    """Everything a page needs of the evidence, up to its budget.

    Parameters
    ----------
    shelf : Shelf
    first : sequence of tuple of str, int and str
        What is shown first, and left out last.

    Returns
    -------
    dict
        ``books``, JSON-able; ``matrix``, their numbers one after the other; ``left_out``, how many
        did not fit.
    """
    order = sorted(shelf.books, key=lambda key: key not in first)
    room = _MAX_BYTES
    kept: list[Key] = []
    for key in order:
        if shelf.books[key].matrix.size * 4 <= room or not kept:
            room -= shelf.books[key].matrix.size * 4
            kept.append(key)
    return {
        "books": [about(key, shelf.books[key], shelf.words) for key in kept],
        "matrix": b"".join(values(shelf.books[key]) for key in kept),
        "left_out": len(order) - len(kept),
    }
