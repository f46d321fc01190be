"""From the maps of a summary's tokens to evidence: sums over the tokens of the words on both sides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ..maps import baselines
from ..maps.engine import Upstream, token_gradients
from ..maps.explanation import explain
from ..maps.scores import Score
from ..types import Progress, UltraError
from ..types.checks import needs, one_of, whole_numbers
from .evidence_words import Evidence
from .summarizing import Summary, next_token_logits
from .tokenizing import plain_ids

_SCORED = ("ultra", "gradient_x_input", "integrated_gradients")
EVIDENCE_METHODS = (*_SCORED, "raw_attention", "rollout", "cosine", "random_map")


def evidence(
    s: Summary,
    *more: Any,
    layer: int = -1,
    score: str = "norm",
    rule: str = "positive",
    at: str = "emits",
    words: int | Sequence[int] | None = None,
    contrast: str | None = None,
    method: str = "ultra",
    progress: bool | Progress | None = None,
    **options: Any,
) -> Evidence:
    """Say from which document words each summary word was made: the maps of its tokens, summed over tokens of both.

    Parameters
    ----------
    s : Summary
    layer, rule, progress
        As for `ultra_kit.explain`.
    score : {"norm", "sum", "energy", "head", "logprob"}
        What is in the latent, as for `ultra_kit.explain`; or why this word: the log-probability of the
        emitted token, as it depends on this position's latent through the blocks above `layer`.
    at : {"emits", "holds"}
        Which position stands for a token: the one that predicts it, or the one where it is read.
    words : int or sequence of int, optional
        Summary words; all by default.
    contrast : str, optional
        "Why this word rather than that": the log-probability of the word less that of `contrast`, at
        the first token in which they differ. Needs one word and the score "logprob".
    method, **options
        "ultra" or a function of `ultra_kit.baselines`, and what else that takes, such as ``chunk_size``.

    Returns
    -------
    Evidence

    Raises
    ------
    ValueError, TypeError
        For a score, place, word or method that there is not.

    Examples
    --------
    >>> import ultra_kit as uk
    >>> model = uk.load("briefs", pretrained=False)
    >>> s = uk.summarize(model, "A flood struck Tiza.", summary="The flood struck.")
    >>> uk.evidence(s, words=[1], score="logprob").matrix.shape
    (1, 5)
    """
    needs("evidence", Summary, (s, *more), "s = uk.summarize(model, document), then evidence(s)")
    one_of("method", method, EVIDENCE_METHODS)
    rows = _word_indices(s, words)
    cap, number = s.capture, s.capture.layer_index(layer)
    places, other = [s.positions(int(w), at=at) for w in rows], None
    if score == "logprob" and at != "emits":
        raise ValueError("score 'logprob' explains the position that emits a token: at must be 'emits'")
    if not any(map(len, places)):
        raise ValueError("the words must have a token of their own, these have none")
    if contrast is not None:
        if score != "logprob" or len(rows) != 1:
            raise ValueError(
                f"contrast needs score='logprob' and one word, got {score!r} and {len(rows)} words"
            )
        step, other = _contrast(s, int(rows[0]), contrast)
        places = [places[0][step : step + 1]]
    tokens = np.concatenate(places)
    arguments: dict[str, Any] = {"layer": number, "tokens": tokens, **options}
    scored = method in _SCORED
    if scored:
        arguments |= {"rule": rule, "progress": progress}
        if score == "logprob":
            arguments["towards"] = _logprob_upstream(s, number, tokens, other)
        else:
            arguments["score"] = score
    maps = explain(cap, **arguments) if method == "ultra" else getattr(baselines, method)(cap, **arguments)
    others = maps.values.astype(np.float64)
    others[np.arange(len(tokens)), tokens] = 0
    summed = _by_word(maps.values, places)
    return Evidence(
        matrix=np.stack([summed[:, list(w.tokens)].sum(1) for w in s.document_words], axis=1),
        rows=rows,
        shares=_shares(s, _by_word(others, places)),
        document_words=tuple(w.text for w in s.document_words),
        words=tuple(w.text for w in s.words),
        document_sentences=s.document_sentences,
        sentences=s.sentences,
        layer=number,
        method=method,
        score=score if scored else "none",
        rule=rule if scored else "none",
        at=at,
        contrast=contrast,
        document=s.document,
        text=s.text,
        card={**maps.card, "summary": {"at": at, "contrast": contrast, "written_by": s.written_by}},
    )


def _word_indices(s: Summary, words: int | Sequence[int] | None) -> np.ndarray:
    if words is None:
        return np.array([i for i, w in enumerate(s.words) if w.tokens], dtype=np.int64)
    return whole_numbers("words", words, len(s.words))


def _contrast(s: Summary, word: int, other: str) -> tuple[int, int]:
    """The number of the word's first token in which the other word differs, and the other's token there."""
    tokenizer = s.capture.model.tokenizer  # type: ignore[attr-defined]
    mine = [s.token_ids[p - s.span[0]] for p in s.words[word].tokens]
    begins = tokenizer.convert_ids_to_tokens(mine[:1])[0].startswith(("Ġ", " "))
    theirs = plain_ids(tokenizer, f" {other}" if begins else other)
    for step, (a, b) in enumerate(zip(mine, theirs, strict=False)):
        if a != b:
            return step, b
    raise ValueError(f"contrast must differ from {s.words[word].text!r} in one of its tokens, got {other!r}")


def _logprob_upstream(s: Summary, layer: int, positions: np.ndarray, other: int | None) -> torch.Tensor:
    """The gradient of the emitted tokens' log-probability by their positions' latents of a layer: (T, D)."""
    cap = s.capture
    last, inputs = cap.latents[-1], [cap.latents[layer]]
    where = torch.as_tensor(positions, device=last.device)
    ids = torch.tensor(s.token_ids, device=last.device)[where + 1 - s.span[0]]

    def log_probability(z: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        logits = next_token_logits(cap, z)
        return logits[rows, ids] - (logits.logsumexp(-1) if other is None else logits[rows, other])

    with torch.inference_mode(False):
        upstream = Score("logprob", log_probability).upstream(last[where], torch.arange(len(where)).to(where))
    if layer == cap.n_layers:
        return upstream
    found = []
    for k in range(len(positions)):
        (g,) = token_gradients([Upstream(last, upstream[k : k + 1])], inputs, where[k : k + 1])
        if g is None:
            raise UltraError(f"the last layer does not depend on layer {layer} in the capture's graph")
        found.append(g[0, where[k]])
    return torch.stack(found)


def _by_word(values: np.ndarray, places: Sequence[np.ndarray]) -> np.ndarray:
    """Rows of tokens, those of each word in turn, summed over the tokens of a word."""
    ends = np.cumsum([len(p) for p in places])
    return np.stack([part.sum(axis=0) for part in np.split(values, ends[:-1])])


def _shares(s: Summary, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Where the mass of rows over all positions lies; see `Evidence.shares`."""
    kind = np.full(rows.shape[1], "prompt", dtype=object)
    kind[slice(*s.document_span)] = "document"
    kind[slice(*s.span)] = "summary"
    kind[s.sinks] = "sinks"
    total = rows.sum(axis=1)
    return {
        name: rows[:, kind == name].sum(axis=1) / np.where(total > 0, total, 1)
        for name in ("document", "prompt", "sinks", "summary")
    }
