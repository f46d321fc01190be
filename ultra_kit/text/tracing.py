"""From the maps of a summary's tokens to evidence: the tokens of the words on both sides put together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..maps import baselines
from ..maps.explanation import explain, make_maps
from ..maps.scores import emitted_upstream
from ..types import ExplanationMaps, Progress, Settings
from ..types.checks import needs, one_of, whole_numbers
from ..types.torch_modes import plain_torch
from .evidence_words import Evidence
from .summarizing import Summary, read_together
from .tokenizing import plain_ids

_SCORED = ("ultra", "gradient_x_input", "integrated_gradients")
_LIKENESSES = ("cosine", "random_map", "string_search")
"""Methods whose values are no parts of a whole: averaged, not summed, over the tokens of a word."""
EVIDENCE_METHODS = (*_SCORED, "raw_attention", "rollout", *_LIKENESSES)


@plain_torch()
def evidence(
    s: Summary,
    *more: Any,
    layer: int | None = None,
    score: str | None = None,
    rule: str | None = None,
    at: str = "emits",
    words: int | Sequence[int] | None = None,
    contrast: str | None = None,
    method: str = "ultra",
    progress: bool | Progress | None = None,
    **options: Any,
) -> Evidence:
    """Say from which document words each summary word was made: the maps of its tokens, summed over tokens of both.

    Values that are no parts of a whole (cosine, random map) are averaged over the tokens of a word, else a word of
    many tokens would win.

    Parameters
    ----------
    s : Summary
    layer, rule, progress
        As for `ultra_kit.explain`; what is left at None here and in `score` is the model's own setting.
    score : {"norm", "sum", "energy", "head", "logprob"}
        What is in the latent, or ("logprob") why this word, as for `ultra_kit.explain`.
    at : {"emits", "holds"}
        Which position stands for a token: the one that predicts it, or the one where it is read.
    words : int or sequence of int, optional
        Summary words; all by default.
    contrast : str, optional
        "Why this word rather than that": the log-probability of the word less that of `contrast`. The token in which
        they part is explained by the difference of the two; from there on each word's tokens by their own, in their own
        text. The rule "negative" gives what speaks for `contrast`. Needs one word and the score "logprob".
    method, **options
        "ultra"; a function of `ultra_kit.baselines`, and what else that takes, such as ``chunk_size``; or
        "string_search": 1 where the document has the same word, in capitals or not.

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
    spoken, cap, scored = [i for i, w in enumerate(s.words) if w.tokens], s.capture, method in _SCORED
    rows = whole_numbers("words", spoken if words is None else words, len(s.words))
    own, given = Settings.of(cap.model), {"layer": layer, "score": score, "rule": rule}
    unsaid = [name for name, value in given.items() if value is None and (scored or name == "layer")]
    number = cap.layer_index(own.layer if layer is None else layer)
    score = "none" if not scored else score or (own.score if contrast is None else "logprob")
    rule = (rule or own.rule) if scored else "none"
    if score == "logprob" and at != "emits":
        raise ValueError("score 'logprob' is of a position that emits: at must be 'emits', or score another")
    places = [s.positions(int(w), at=at) for w in rows]
    if not any(map(len, places)):
        raise ValueError("the words must have a token of their own, these have none")
    how = {"layer": number, **options} | ({"rule": rule, "progress": progress} if scored else {})
    if contrast is None:
        maps = _maps(s, rows, places, method, how | ({"score": score} if scored else {}))
        members = np.split(np.arange(len(maps)), np.cumsum([len(p) for p in places])[:-1])
        by_word = _by_word(_without_own(maps), members, method)
    elif score == "logprob" and len(rows) == 1 and method == "ultra":
        maps, by_word = _contrast(s, int(rows[0]), contrast, how)
    else:
        raise ValueError(f"contrast needs score='logprob' and one word, got {score!r} and {len(rows)} words")
    made = {name: getattr(s, name) for name in ("prompt", "chat", "written_by", "cut", "token_ids")}
    return Evidence(
        matrix=_by_word(by_word.T, [list(w.tokens) for w in s.document_words], method).T.astype(np.float32),
        rows=rows,
        shares=_shares(s, by_word),
        document_words=tuple(w.text for w in s.document_words),
        words=tuple(w.text for w in s.words),
        layer=number,
        method=method,
        score=score,
        rule=rule,
        at=at,
        contrast=contrast,
        card={**maps.card, "summary": {"at": at, "contrast": contrast, "own_settings": unsaid, **made}},
        **{name: getattr(s, name) for name in ("document_sentences", "sentences", "document", "text")},
    )


def _maps(s: Summary, rows: np.ndarray, places: Any, method: str, how: dict[str, Any]) -> ExplanationMaps:
    """The maps of the tokens of words, one after the other."""
    tokens = np.concatenate(places)
    if method != "string_search":
        make = explain if method == "ultra" else getattr(baselines, method)
        return make(s.capture, tokens=tokens, **how)
    values = np.zeros((len(tokens), s.capture.layout.n_tokens))
    for row, word in zip(values, np.repeat(rows, [len(p) for p in places]), strict=True):
        same = [w.tokens for w in s.document_words if w.text.casefold() == s.words[word].text.casefold()]
        row[[p for found in same for p in found]] = 1
    return make_maps(s.capture, values, tokens, how["layer"], method=method)


def _contrast(s: Summary, word: int, other: str, how: dict[str, Any]) -> tuple[ExplanationMaps, np.ndarray]:
    """Maps of the token in which a word and another part, and the row (1, N) of the whole contrast."""
    cap, start, last = s.capture, s.span[0], s.words[word].tokens[-1]
    model: Any = cap.model
    # A space may be a token that belongs to no word, and with another word it may be none.
    first = max([start, *(p + 1 for w in s.words[:word] for p in w.tokens)])
    said = model.tokenizer.decode(s.token_ids[first - start : last + 1 - start])
    mine = s.token_ids[first - start :]
    theirs = plain_ids(model.tokenizer, said[: len(said) - len(said.lstrip())] + other)
    step = next((k for k, (a, b) in enumerate(zip(mine, theirs, strict=False)) if a != b), None)
    if step is None or first + step > last + 1:
        raise ValueError(f"contrast must differ from {s.words[word].text!r} in a token, got {other!r}")
    fork = np.array([first + step - 1])
    maps = explain(cap, tokens=fork, towards=emitted_upstream(cap, how["layer"], fork, theirs[step]), **how)
    after, row = int(fork[0]) + 1, _without_own(maps)
    rest = [(cap, last, how["rule"])]
    if step + 1 < len(theirs):
        ids = [*s.token_ids[: first - start], *theirs]
        text = read_together(model, s.document, ids, prompt=s.prompt, chat=s.chat)
        rule = {"positive": "negative", "negative": "positive"}.get(how["rule"], how["rule"])
        rest.append((text.capture, start + len(ids) - 1, rule))
    for capture, end, rule in rest:
        if after < end:
            more = explain(capture, tokens=np.arange(after, end), score="logprob", **how | {"rule": rule})
            row[:, :after] += more.values[:, :after].sum(0)
    return maps, row


def _without_own(maps: ExplanationMaps) -> np.ndarray:
    """The maps with 0 at each token's own position, where they say nothing of the model: (T, N), float64."""
    values = maps.values.astype(np.float64)
    values[np.arange(len(values)), maps.tokens] = 0
    return values


def _by_word(values: np.ndarray, members: Sequence[Any], method: str) -> np.ndarray:
    """Rows of tokens put together to rows of words, whose `members` they are."""
    out = np.stack([values[tokens].sum(axis=0) for tokens in members])
    sizes = [max(1, len(tokens)) for tokens in members]
    return out / np.array(sizes)[:, None] if method in _LIKENESSES else out


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
