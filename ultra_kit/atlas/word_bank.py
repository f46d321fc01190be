"""Latents of words in sentences, after which the latents of another text are named."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..models.attention import outputs_of
from ..models.fetching import cache_folder
from ..models.loading import data_folder
from ..text.words import split_words, with_tokens
from ..types import Progress, UltraError
from ..types.progress import reporting
from ..types.provenance import sha256
from ..types.whole_file import whole_file

_AT_ONCE = 32
_PER_WORD = 12
"""Places that are kept of one word, the first of the corpus: no more of "the" than of "river"."""


def sentences() -> tuple[str, ...]:
    """The corpus that travels with the package, a sentence each: some 900 words of every kind in two contexts and more.

    Returns
    -------
    tuple of str
        ``data/words/README.md`` says what they are.

    Examples
    --------
    >>> sentences()[0]
    'In the zoo the children saw the bat beside the zebra in its cage.'
    """
    return tuple((data_folder() / "words" / "sentences.txt").read_text("utf-8").splitlines())


@dataclass(frozen=True, eq=False)
class WordBank:
    """Words of texts and their latents at a layer: M entries.

    `units` (M, D), float16, are the latents less their `mean` (D,), each of length 1; `words` (M,) are indices into
    `names`, `text` (M,) says which text.
    """

    units: np.ndarray
    mean: np.ndarray
    words: np.ndarray
    text: np.ndarray
    names: tuple[str, ...]

    def likeness(self, latents: np.ndarray) -> np.ndarray:
        """Cosine of latents (T, D), less the mean, with all entries: (T, M)."""
        return unit(latents - self.mean) @ self.units.astype(np.float32).T


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows of length 1; a row of zeros stays."""
    length = np.linalg.norm(rows, axis=-1, keepdims=True)
    return rows / np.where(length > 0, length, 1)


def word_banks(
    model: Any, layers: Sequence[int], texts: Sequence[str], progress: bool | Progress | None = None
) -> dict[int, WordBank]:
    """The latents of the words of texts at layers 1..L, from the user's cache; those it lacks by one forward pass.

    A word stands for itself with its last token, where the model has read all of it. The first position of a text
    without prefix is left out: it is the sink of causal models, like no other.
    """
    if not (places := _places(model, texts)):
        raise ValueError(
            f"among must hold at least one text with a word after its first token, got {list(texts)!r:.80}"
        )
    names = tuple(dict.fromkeys(word for word, *_ in places))
    number = {name: k for k, name in enumerate(names)}
    words = np.array([number[word] for word, *_ in places])
    text, token = (np.array([p[k] for p in places]) for k in (1, 2))
    weights, corpus = model.card()["weights_sha256"], sha256(["\n".join(texts)])
    paths = {k: cache_folder() / "words" / f"{weights[:16]}-{corpus[:16]}-{k}.npz" for k in layers}
    found: dict[int, WordBank] = {}
    for layer, path in paths.items():
        # Damage raises anything.
        with suppress(Exception), np.load(path) as held:
            if len(held["units"]) == len(words):
                found[layer] = WordBank(held["units"], held["mean"], words, text, names)
    if not (missing := [k for k in paths if k not in found]):
        return found
    rows = np.zeros((0, 0, 0), np.float32)
    with reporting(progress, len(texts), f"read sentences up to layer {max(missing)}", "sentences") as report:
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        for start in range(0, len(order), _AT_ONCE):
            some = order[start : start + _AT_ONCE]
            read = _latents(model, [texts[i] for i in some], missing)
            rows = rows if rows.size else np.zeros((len(missing), len(places), read.shape[-1]), np.float32)
            for k, i in enumerate(some):
                rows[:, text == i] = read[:, k, token[text == i]]
            report(len(some))
    for layer, z in zip(missing, rows, strict=True):
        mean = z.mean(0)
        found[layer] = WordBank(unit(z - mean).astype(np.float16), mean, words, text, names)
        with (
            suppress(UltraError),
            whole_file(paths[layer]) as partial,
        ):  # a cache that can't be written stops nobody
            np.savez(partial, units=found[layer].units, mean=mean)
    return found


def _places(model: Any, texts: Sequence[str]) -> list[tuple[str, int, int]]:
    """(word, number of its text, its last token) of the words of texts."""
    found, seen = [], dict[str, int]()
    for k, text in enumerate(texts):
        read = model.tokenizer(text, return_offsets_mapping=True)
        for word in with_tokens(split_words(text), read["offset_mapping"]):
            name = word.text.casefold()
            if (
                word.tokens
                and word.tokens[-1] > 0
                and any(map(str.isalnum, name))
                and seen.get(name, 0) < _PER_WORD
            ):
                seen[name] = seen.get(name, 0) + 1
                found.append((name, k, word.tokens[-1]))
    return found


def _latents(model: Any, texts: list[str], layers: Sequence[int]) -> np.ndarray:
    """Raw outputs (layers, B, N, D) of blocks for several texts at once; what is behind a shorter text means nothing."""
    ids = [torch.tensor(model.tokenizer(text)["input_ids"]) for text in texts]
    device = next(model.module.parameters()).device
    padded, mask = (
        torch.nn.utils.rnn.pad_sequence(some, batch_first=True).to(device)
        for some in (ids, [torch.ones_like(i) for i in ids])
    )
    call = model.call({"input_ids": padded, "attention_mask": mask})
    with torch.no_grad():
        out = outputs_of(model.module, call, model.block_names, max(layers))
    return torch.stack([out[k - 1] for k in layers]).float().cpu().numpy()
