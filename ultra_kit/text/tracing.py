"""From the maps of a summary's tokens to evidence: sums over the tokens of the words on both sides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ..maps import baselines
from ..maps.engine import Upstream, token_gradients
from ..maps.explanation import explain
from ..types import ExplanationMaps, Progress, UltraError
from .evidence_words import Evidence
from .summarizing import Summary
from .words import Word

EVIDENCE_METHODS = (
    "ultra",
    "raw_attention",
    "rollout",
    "cosine",
    "gradient_x_input",
    "integrated_gradients",
    "random_map",
)
_SCORED = ("ultra", "gradient_x_input", "integrated_gradients")


def evidence(
    s: Summary,
    *,
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
    """Say from which document words each summary word was made.

    The maps of a word's tokens (`ultra_kit.explain`) are summed, then their columns to document words.

    Parameters
    ----------
    s : Summary
    layer : int
        0..L or negative from the end.
    score : {"norm", "sum", "energy", "head", "logprob"}
        What is in the latent, as for `ultra_kit.explain`; or why this word: the log-probability of the
        emitted token, as it depends on this position's latent through the blocks above `layer`.
    rule : {"positive", "negative", "absolute"}
    at : {"emits", "holds"}
        Which position stands for a token: the one that predicts it, or the one where it is read.
    words : int or sequence of int, optional
        Summary words; all by default.
    contrast : str, optional
        "Why this word rather than that": the log-probability of the word less that of `contrast`, at
        the first token in which they differ. Needs one word and the score "logprob".
    method : str
        "ultra", or a function of `ultra_kit.baselines`.
    progress : bool or callable, optional
    **options
        Passed on to the method, such as ``chunk_size`` or, for "random_map", ``seed``.

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
    >>> ev = uk.evidence(s, words=[1], score="logprob")
    >>> ev.matrix.shape
    (1, 5)
    """
    if method not in EVIDENCE_METHODS:
        raise ValueError(f"method must be one of {', '.join(EVIDENCE_METHODS)}, got {method!r}")
    rows = _word_indices(s, words)
    cap, number = s.capture, s.capture.layer_index(layer)
    places = [s.positions(int(w), at=at) for w in rows]
    chosen, other = places, None
    if contrast is not None:
        if score != "logprob" or len(rows) != 1:
            raise ValueError(
                f"contrast needs score='logprob' and one word, got score={score!r} and {len(rows)} words"
            )
        step, other = _contrast(s, int(rows[0]), contrast)
        chosen = [places[0][step : step + 1]]
    if score == "logprob" and at != "emits":
        raise ValueError("score 'logprob' explains the position that emits a token: at must be 'emits'")
    tokens = np.concatenate(chosen)
    if not len(tokens):
        raise ValueError("the words must have a token of their own, these have none")
    arguments: dict[str, Any] = {"layer": number, "tokens": tokens, **options}
    if method in _SCORED:
        arguments |= {"rule": rule, "progress": progress}
        if score == "logprob":
            arguments["towards"] = _logprob_upstream(s, number, tokens, other)
        else:
            arguments["score"] = score
    maps = explain(cap, **arguments) if method == "ultra" else getattr(baselines, method)(cap, **arguments)
    scored = method in _SCORED
    owner = np.repeat(np.arange(len(rows)), [len(p) for p in chosen])
    return Evidence(
        matrix=_by_word(maps, owner, len(rows), s.document_words),
        rows=rows,
        shares=_shares(s, maps, owner, len(rows)),
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
    rows = np.atleast_1d(np.asarray(words))
    if rows.ndim != 1 or not rows.size or not np.issubdtype(rows.dtype, np.integer):
        raise TypeError(f"words must be an int or a list of ints, got {words!r}")
    if rows.min() < 0 or rows.max() >= len(s.words):
        raise ValueError(f"words must be in 0..{len(s.words) - 1}, got {rows.tolist()}")
    return rows.astype(np.int64)


def _contrast(s: Summary, word: int, other: str) -> tuple[int, int]:
    """The number of the word's first token in which the other word differs, and the other's token there."""
    tokenizer = s.capture.model.tokenizer  # type: ignore[attr-defined]
    first = s.span[0]
    mine = [s.token_ids[p - first] for p in s.words[word].tokens]
    begins = tokenizer.convert_ids_to_tokens(mine[:1])[0].startswith(("Ġ", " "))
    theirs = tokenizer(f" {other}" if begins else other, add_special_tokens=False, split_special_tokens=True)[
        "input_ids"
    ]
    if not mine or not theirs:
        raise ValueError(f"contrast must be a word with tokens of its own, got {other!r}")
    for step, (a, b) in enumerate(zip(mine, theirs, strict=False)):
        if a != b:
            return step, b
    raise ValueError(
        f"contrast must differ from {s.words[word].text!r} in one of its tokens, got {other!r}, which begins or goes on "
        "with the same ones"
    )


def _logprob_upstream(s: Summary, layer: int, positions: np.ndarray, other: int | None) -> torch.Tensor:
    """The gradient of the emitted tokens' log-probability by their positions' latents of a layer: (T, D)."""
    cap = s.capture
    where = torch.as_tensor(positions, device=cap.latents[-1].device)
    ids = torch.tensor(
        [s.token_ids[p + 1 - s.span[0]] for p in positions.tolist()], device=cap.latents[-1].device
    )
    z = cap.latents[-1][where].detach().requires_grad_()
    with torch.inference_mode(False), torch.enable_grad():
        logits = cap.model.head(z)
        if logits is None:
            raise UltraError(f"score 'logprob' needs a language-model head, {cap.model.name!r} has none")
        rows = torch.arange(len(ids), device=z.device)
        f = logits[rows, ids] - (
            logits.logsumexp(-1) if other is None else logits[rows, torch.full_like(ids, other)]
        )
        (upstream,) = torch.autograd.grad(f.sum(), z)
    if layer == cap.n_layers:
        return upstream
    found = []
    for k in range(len(positions)):
        arrived = Upstream(cap.latents[-1], upstream[k : k + 1])
        (g,) = token_gradients([arrived], [cap.latents[layer]], where[k : k + 1])
        if g is None:
            raise UltraError(f"the last layer does not depend on layer {layer} in the capture's graph")
        found.append(g[0, where[k]])
    return torch.stack(found)


def _by_word(maps: ExplanationMaps, owner: np.ndarray, n: int, words: Sequence[Word]) -> np.ndarray:
    rows = np.zeros((n, maps.values.shape[1]), np.float32)
    np.add.at(rows, owner, maps.values)
    return np.stack([rows[:, list(w.tokens)].sum(1) for w in words], axis=1).astype(np.float32)


def _shares(s: Summary, maps: ExplanationMaps, owner: np.ndarray, n: int) -> dict[str, np.ndarray]:
    values = maps.values.astype(np.float64)
    values[np.arange(len(values)), maps.tokens] = 0
    rows = np.zeros((n, values.shape[1]))
    np.add.at(rows, owner, values)
    kind = np.full(rows.shape[1], "prompt", dtype=object)
    kind[slice(*s.document_span)] = "document"
    kind[slice(*s.span)] = "summary"
    kind[s.sinks] = "sinks"
    total = rows.sum(1)
    return {
        name: np.divide(rows[:, kind == name].sum(1), total, out=np.zeros(n), where=total > 0)
        for name in ("document", "prompt", "sinks", "summary")
    }
