"""What was found: which words of a document are behind each word of a summary, and what was not used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False, repr=False)
class Evidence:
    """How much of each summary word comes from each document word; made by `evidence`.

    Attributes
    ----------
    matrix : ndarray of shape (S, D), float32
        Relevance of document word d for summary word `rows[s]`, put together from the tokens of both. Rows are not on
        one scale (the log-probability of a sure word has a small gradient): compare words by `row_shares`.
    rows : ndarray of shape (S,), int64
        Which summary words.
    shares : dict of str to ndarray of shape (S,)
        Where the mass of each row's map lies, its own positions left out: "document", "prompt", "sinks"
        (special tokens) and "summary" (what was written before); sums to 1, or 0 for a map without mass.
    document_words, words, document_sentences, sentences, document, text
        As in `Summary`; words as str.
    layer, method, score, rule, at, contrast, card
        As asked for, "none" where the method has no such thing; the card says all of it, and what of it was the
        model's own setting.
    """

    matrix: np.ndarray
    rows: np.ndarray
    shares: dict[str, np.ndarray]
    document_words: tuple[str, ...]
    words: tuple[str, ...]
    document_sentences: tuple[tuple[int, int], ...]
    sentences: tuple[tuple[int, int], ...]
    layer: int
    method: str
    score: str
    rule: str
    at: str
    contrast: str | None
    document: str
    text: str
    card: Mapping[str, Any] = field(default_factory=dict)

    @property
    def cut(self) -> bool:
        """Whether the summary stops only because the model had no tokens left."""
        return bool(self.card.get("summary", {}).get("cut"))

    @property
    def row_shares(self) -> np.ndarray:
        """`matrix` with each row scaled to the sum 1, or 0 where it holds nothing: words on one scale, (S, D)."""
        total = self.matrix.sum(1, keepdims=True)
        return np.divide(self.matrix, total, out=np.zeros_like(self.matrix), where=total > 0)

    @property
    def by_sentence(self) -> np.ndarray:
        """Summed over the words of each document sentence: (S, document sentences)."""
        return np.stack([self.matrix[:, a:b].sum(1) for a, b in self.document_sentences], axis=1)

    @property
    def sentence_matrix(self) -> np.ndarray:
        """`row_shares`, every word counting alike, summed over both sides' sentences: (summary's, document's)."""
        rows = replace(self, matrix=self.row_shares).by_sentence
        return np.stack([rows[(self.rows >= a) & (self.rows < b)].sum(0) for a, b in self.sentences])

    def row(self, word: int) -> np.ndarray:
        """Relevance (D,) of the document words for a summary word, given by its index into `words`."""
        found = np.flatnonzero(self.rows == word)
        if not len(found):
            few = f"{len(self.rows)} explained ones (.rows), {self.rows.min()} to {self.rows.max()}"
            raise ValueError(f"word must be the index of one of the {few}, got {word!r}")
        return self.matrix[found[0]]

    def top(self, word: int, n: int = 5) -> list[tuple[int, str, float]]:
        """The n strongest document words for a summary word: (index, word, relevance)."""
        row = self.row(word)
        best = np.argsort(-row, kind="stable")[:n]
        return [(int(i), self.document_words[i], float(row[i])) for i in best]

    def coverage(self, *, lift: float = 2.0, weak: float = 0.25) -> Coverage:
        """Say which document sentences no summary word used, and which words have weak support.

        This project's reading: a word uses a sentence whose share of the word's mass on the document is at least
        `lift` times its share of the document's words, or the largest of all. A word's support is the document's share
        of its whole map, however sure the model was of it; weak is at most `weak` times the median.
        """
        share = replace(self, matrix=self.row_shares).by_sentence
        sizes = np.array([b - a for a, b in self.document_sentences]) / max(1, len(self.document_words))
        uses = (share >= lift * sizes) | ((share == share.max(1, keepdims=True)) & (share > 0))
        real = np.array([any(c.isalnum() for c in self.words[w]) for w in self.rows], dtype=bool)
        support = self.shares["document"]
        least = weak * float(np.median(support[real])) if real.any() else 0.0
        return Coverage(
            unused=tuple(int(k) for k in np.flatnonzero(~uses[real].any(0))),
            weak=tuple(int(self.rows[i]) for i in np.flatnonzero(real & (support <= least))),
            uses=uses,
            support=support,
        )

    def __repr__(self) -> str:
        own = self.card.get("summary", {}).get("own_settings")
        notes = [f"own {' and '.join(own)}"] * bool(own) + ["summary cut"] * self.cut
        how = ", ".join([f"layer {self.layer}", self.method, self.score, self.rule, self.at, *notes])
        return f"Evidence({self.matrix.shape[0]} summary x {self.matrix.shape[1]} document words, {how})"


@dataclass(frozen=True, eq=False, repr=False)
class Coverage:
    """What of a document a summary used; made by `Evidence.coverage`.

    Attributes
    ----------
    unused, weak : tuple of int
        Document sentences that no summary word uses; summary words with weak support.
    uses, support : ndarray of shape (S, document sentences), bool, and (S,)
        Which words use which sentences; the document's share of each word's map.
    """

    unused: tuple[int, ...]
    weak: tuple[int, ...]
    uses: np.ndarray
    support: np.ndarray

    def __repr__(self) -> str:
        words, sentences = self.uses.shape
        return f"Coverage({len(self.unused)} of {sentences} sentences unused, {len(self.weak)} of {words} words weak)"
