"""Whether the words that a map names matter to the model: comprehensiveness and sufficiency.

ERASER (DeYoung et al., 2020) takes away the words ranked first, or all others, and looks what the
model then makes of its output. Here the output is the fixed summary, measured by its mean
log-probability, and taking away is masking: no other token changes its position.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..text.evidence_words import Evidence
from ..text.summarizing import Summary
from ..text.tracing import evidence
from ..types import UltraError

FRACTIONS = (0.01, 0.05, 0.1, 0.2, 0.5)
_LOGITS_AT_ONCE = 2**27
"""Entries of the logits of one batch; 512 MB in float32."""


@dataclass(frozen=True, eq=False, repr=False)
class Faithfulness:
    """How the summary's log-probability falls, for the map's ranking and for simpler ones.

    Attributes
    ----------
    measure : {"comprehensiveness", "sufficiency"}
    fractions : tuple of float
        Shares of the document's words.
    curves : dict of str to ndarray of shape (len(fractions),)
        For each ranking the fall of the mean log-probability, in nats a token.
    full : float
        Mean log-probability with the whole document.
    """

    measure: str
    fractions: tuple[float, ...]
    curves: dict[str, np.ndarray]
    full: float

    @property
    def scores(self) -> dict[str, float]:
        """The mean over the fractions (AOPC): high is good for comprehensiveness, low for sufficiency."""
        return {name: float(curve.mean()) for name, curve in self.curves.items()}

    def __repr__(self) -> str:
        said = ", ".join(f"{name} {value:.3f}" for name, value in self.scores.items())
        return f"Faithfulness({self.measure}, nats a token: {said})"


def comprehensiveness(
    s: Summary,
    ev: Evidence,
    *,
    word: int | None = None,
    fractions: Sequence[float] = FRACTIONS,
    n_random: int = 3,
    seed: int = 0,
) -> Faithfulness:
    """Take away the document words ranked first, and see how much less likely the summary is.

    The mean over the fractions of ``log p(summary | document) - log p(summary | document without the
    first words of the ranking)``, per token (ERASER with log-probabilities of a fixed output, this
    project's choice). Position 0 is never masked: a query that sees nothing averages everything.

    Parameters
    ----------
    s : Summary
    ev : Evidence
        Of `s`; a word's rank is that of its column's sum, each row scaled to 1.
    word : int, optional
        Rank by one summary word's row, and measure that word alone.
    fractions : sequence of float
        In (0, 1]; at least one word is taken.
    n_random : int
        Random orders that are averaged.
    seed : int

    Returns
    -------
    Faithfulness
        Rankings "evidence", "raw_attention" (of the same layer and positions), "recency" (last words
        first) and "random".

    Raises
    ------
    ValueError
        For a fraction outside (0, 1], or evidence of another summary.

    Examples
    --------
    >>> import ultra_kit as uk
    >>> s = uk.summarize(uk.load("briefs", pretrained=False), "A flood struck Tiza.", summary="A flood.")
    >>> list(uk.comprehensiveness(s, uk.evidence(s)).scores)
    ['evidence', 'raw_attention', 'recency', 'random']
    """
    return _measure(s, ev, "comprehensiveness", word, fractions, n_random, seed)


def sufficiency(
    s: Summary,
    ev: Evidence,
    *,
    word: int | None = None,
    fractions: Sequence[float] = FRACTIONS,
    n_random: int = 3,
    seed: int = 0,
) -> Faithfulness:
    """Keep only the document words ranked first, and see how much less likely the summary is.

    The mean over the fractions of ``log p(summary | document) - log p(summary | first words only)``, per
    token. Everything else is as for `comprehensiveness`; low is good.

    Parameters
    ----------
    s, ev, word, fractions, n_random, seed
        As for `comprehensiveness`.

    Returns
    -------
    Faithfulness

    Raises
    ------
    ValueError
        As for `comprehensiveness`.

    Examples
    --------
    >>> import ultra_kit as uk
    >>> s = uk.summarize(uk.load("briefs", pretrained=False), "A flood struck Tiza.", summary="A flood.")
    >>> uk.sufficiency(s, uk.evidence(s)).measure
    'sufficiency'
    """
    return _measure(s, ev, "sufficiency", word, fractions, n_random, seed)


def _measure(
    s: Summary,
    ev: Evidence,
    measure: str,
    word: int | None,
    fractions: Sequence[float],
    n_random: int,
    seed: int,
) -> Faithfulness:
    fractions = tuple(float(f) for f in fractions)
    if not fractions or not all(0 < f <= 1 for f in fractions):
        raise ValueError(f"fractions must lie in (0, 1], got {fractions}")
    if n_random < 1:
        raise ValueError(f"n_random must be at least 1, got {n_random}")
    if ev.document != s.document or ev.text != s.text:
        raise ValueError("the evidence must be of this summary; make it with evidence(s)")
    orders = _orders(s, ev, word, n_random, seed)
    n = len(s.document_words)
    taken = [max(1, math.ceil(f * n)) for f in fractions]
    masks = [[]] + [
        (order[:k] if measure == "comprehensiveness" else order[k:]).tolist()
        for every in orders.values()
        for order in every
        for k in taken
    ]
    found = _log_probabilities(s, masks, None if word is None else s.positions(word) + 1 - s.span[0])
    full, falls = float(found[0]), found[0] - found[1:]
    curves, at = {}, 0
    for name, every in orders.items():
        part = falls[at : at + len(every) * len(taken)].reshape(len(every), len(taken))
        curves[name] = part.mean(0)
        at += part.size
    return Faithfulness(measure, fractions, curves, full)


def _orders(
    s: Summary, ev: Evidence, word: int | None, n_random: int, seed: int
) -> dict[str, list[np.ndarray]]:
    rows = ev.rows.tolist() if word is None else [word]
    attention = evidence(s, layer=max(1, ev.layer), words=rows, at=ev.at, method="raw_attention")
    n = len(s.document_words)
    rng = np.random.default_rng([seed, 0x6661])
    return {
        "evidence": [_ranking(ev, word)],
        "raw_attention": [_ranking(attention, word)],
        "recency": [np.arange(n)[::-1]],
        "random": [rng.permutation(n) for _ in range(n_random)],
    }


def _ranking(ev: Evidence, word: int | None) -> np.ndarray:
    if word is not None:
        return np.argsort(-ev.row(word), kind="stable")
    total = ev.matrix.sum(1, keepdims=True)
    share = np.divide(ev.matrix, total, out=np.zeros_like(ev.matrix), where=total > 0)
    return np.argsort(-share.sum(0), kind="stable")


def _log_probabilities(s: Summary, removed: list[list[int]], tokens: np.ndarray | None) -> np.ndarray:
    """Mean log-probability of the summary's tokens (or some of them), with document words masked: (M,)."""
    cap = s.capture
    model: Any = cap.model
    if not hasattr(model, "logits"):
        raise UltraError(f"{type(model).__name__} can't be run with masked words: it has no logits()")
    ids = cap.inputs["input_ids"]
    mask = ids.new_ones(len(removed), ids.shape[1])
    for row, words in enumerate(removed):
        mask[row, [p for w in words for p in s.document_words[w].tokens]] = 0
    mask[:, 0] = 1
    decoder = cap.inputs.get("decoder_input_ids")
    first = 1 if decoder is not None else s.span[0]
    target = torch.tensor(s.token_ids, device=ids.device)
    picked = slice(None) if tokens is None else torch.as_tensor(tokens, device=ids.device)
    length = ids.shape[1] if decoder is None else decoder.shape[1]
    batch = max(1, min(16, _LOGITS_AT_ONCE // (length * model.module.config.vocab_size)))
    out = []
    for part in mask.split(batch):
        inputs = {"input_ids": ids.expand(len(part), -1), "attention_mask": part}
        if decoder is not None:
            inputs["decoder_input_ids"] = decoder.expand(len(part), -1)
        logits = model.logits(inputs)[:, first - 1 : first - 1 + len(target)].float()
        each = logits.log_softmax(-1).gather(2, target.expand(len(part), -1)[..., None])[..., 0]
        out.append(each[:, picked].mean(1).cpu().numpy())
    return np.concatenate(out)
