"""Whether the words that a map names matter to the model: comprehensiveness and sufficiency.

ERASER (DeYoung et al., 2020) takes away the words ranked first, or all others, and looks at what the model then makes of
its output. Here the output is the fixed summary, measured by its mean log-probability, and taking away is masking: no
other token changes its position.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from ..text.evidence_words import Evidence
from ..text.summarizing import Summary
from ..text.tracing import evidence
from ..types import UltraError
from .printed_tables import PrintedTable

FRACTIONS = (0.01, 0.05, 0.1, 0.2, 0.5)
_LOGITS_AT_ONCE = 2**27  # entries of the logits of one batch; 512 MB in float32


@dataclass(frozen=True, eq=False, repr=False)
class Faithfulness(PrintedTable):
    """How the summary's log-probability falls, in nats per token, for the map's ranking and for simpler ones."""

    measure: str
    curves: pd.DataFrame  # a row for each share of the document's words, a column for each ranking
    full: float  # mean log-probability with the whole document

    @property
    def means(self) -> dict[str, float]:
        """The mean over the shares (AOPC): high is good for comprehensiveness, low for sufficiency."""
        return self.curves.mean().to_dict()

    @property
    def _headline(self) -> str:
        return (
            f"{self.measure}: fall of the log-probability, nats per token, by share of the document's words"
        )

    @property
    def table(self) -> pd.DataFrame:
        """The curves, and their means."""
        return pd.concat([self.curves, self.curves.mean().to_frame("mean").T])


def comprehensiveness(
    s: Summary,
    ev: Evidence,
    *,
    word: int | None = None,
    fractions: Sequence[float] = FRACTIONS,
    n_random: int = 3,
    seed: int = 0,
) -> Faithfulness:
    """Take away the document words ranked first, and see how much less likely the summary is: high is good.

    The mean over the fractions of ``log p(summary | document) - log p(summary | document without the first words of
    the ranking)``, per token (ERASER with log-probabilities of a fixed output, this project's choice). Position 0 is
    never masked: a query that sees nothing averages everything.

    Parameters
    ----------
    s : Summary
    ev : Evidence
        Of `s` (else a ValueError); a word's rank is that of its column's sum, each row scaled to 1.
    word : int, optional
        Rank by one summary word's row, and measure that word alone.
    fractions : sequence of float
        Shares of the document's words, in (0, 1] (else a ValueError); at least one word is taken.
    n_random, seed : int
        How many random orders are averaged, and what they are drawn from.

    Returns
    -------
    Faithfulness
        Prints as a table; ``.means`` has the mean of each ranking: "evidence", "raw_attention" (of the same layer and
        positions), "recency" (last words first) and "random".

    Examples
    --------
    >>> import ultra_kit as uk
    >>> s = uk.summarize(uk.load("briefs", pretrained=False), "A flood struck Tiza.", summary="A flood.")
    >>> list(uk.comprehensiveness(s, uk.evidence(s)).means)
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
    """Keep only the document words ranked first: as `comprehensiveness`, but low is good.

    Parameters
    ----------
    s, ev, word, fractions, n_random, seed
        As for `comprehensiveness`.

    Returns
    -------
    Faithfulness

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
    shares = [float(f) for f in fractions]
    if not shares or not all(0 < f <= 1 for f in shares):
        raise ValueError(f"fractions must lie in (0, 1], got {shares}")
    if n_random < 1:
        raise ValueError(f"n_random must be at least 1, got {n_random}")
    if ev.document != s.document or ev.text != s.text:
        raise ValueError("the evidence must be of this summary; make it with evidence(s)")
    orders = _orders(s, ev, word, n_random, seed)
    ends = [max(1, math.ceil(f * len(s.document_words))) for f in shares]
    cut = [slice(end) if measure == "comprehensiveness" else slice(end, None) for end in ends]
    masks = [order[part] for _, order in orders for part in cut]
    found = _log_probabilities(s, [[], *masks], None if word is None else s.positions(word) + 1 - s.span[0])
    falls = (found[0] - found[1:]).reshape(len(orders), len(shares))
    every = pd.DataFrame(falls, index=[name for name, _ in orders], columns=shares)
    return Faithfulness(measure, every.groupby(level=0, sort=False).mean().T, float(found[0]))


def _orders(
    s: Summary, ev: Evidence, word: int | None, n_random: int, seed: int
) -> list[tuple[str, np.ndarray]]:
    """Document words from first to last, by each ranking."""
    rows = ev.rows.tolist() if word is None else [word]
    attention = evidence(s, layer=max(1, ev.layer), words=rows, at=ev.at, method="raw_attention")
    words = np.arange(len(s.document_words))
    rng = np.random.default_rng([seed, 0x6661])
    return [
        ("evidence", _ranking(ev, word)),
        ("raw_attention", _ranking(attention, word)),
        ("recency", words[::-1]),
        *(("random", rng.permutation(words)) for _ in range(n_random)),
    ]


def _ranking(ev: Evidence, word: int | None) -> np.ndarray:
    if word is not None:
        return np.argsort(-ev.row(word), kind="stable")
    return np.argsort(-ev.row_shares.sum(0), kind="stable")


def _log_probabilities(
    s: Summary, removed: Sequence[Sequence[int] | np.ndarray], tokens: np.ndarray | None
) -> np.ndarray:
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
    written = cap.inputs.get("decoder_input_ids", ids)
    first = s.span[0] if written is ids else 1
    target = torch.tensor(s.token_ids, device=ids.device)
    picked = slice(None) if tokens is None else torch.as_tensor(tokens, device=ids.device)
    batch = max(1, min(16, _LOGITS_AT_ONCE // (written.shape[1] * model.module.config.vocab_size)))
    out = []
    for part in mask.split(batch):
        inputs = {name: x.expand(len(part), -1) for name, x in cap.inputs.items()} | {"attention_mask": part}
        logits = model.logits(inputs)[:, first - 1 : first - 1 + len(target)].float()
        each = logits.log_softmax(-1).gather(2, target.expand(len(part), -1)[..., None])[..., 0]
        out.append(each[:, picked].mean(1).cpu().numpy())
    return np.concatenate(out)
