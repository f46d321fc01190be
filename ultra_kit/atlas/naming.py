"""Names for latent tokens: words or phrases that say what a token is like at a layer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from ..maps.planning import finite
from ..maps.scores import read_by_head
from ..models.text_image_backbone import TextAligned
from ..types import Capture, Layout, Progress, Tokens, UltraError
from ..types.checks import needs, one_of, whole_number
from ..types.wording import counted
from .embedding import Embedding
from .similar_tokens import Similar, similar, unplaced
from .word_bank import sentences, word_banks

_DEPTH = 1 / 3
"""Where latents are named by their like when no layer is said, as a share of the blocks."""
_LOOKED_AT = 20
"""How many tokens of the vocabulary are looked at for each name that is asked for: some are pieces, or one word twice."""


class Name(NamedTuple):
    """A name: the word, phrase or place, how near it is (a cosine, or the head's probability), its sentence or its patch."""

    text: str
    likeness: float
    sentence: str = ""
    patch: np.ndarray | None = None


@dataclass(frozen=True, eq=False, repr=False)
class Names:
    """What latent tokens are like, in words, the nearest first; made by `ultra_kit.name`.

    Attributes
    ----------
    tokens : ndarray of shape (T,), int64
        Positions, prefix tokens counted.
    found : tuple of tuple of Name
        For each token its names, the nearest first.
    layer : int
    by : {"latents", "head", "phrases", "patches"}
    layout, input, card
        Of the capture; the card says how the names were found.
    """

    tokens: np.ndarray
    found: tuple[tuple[Name, ...], ...]
    layer: int
    by: str
    layout: Layout
    input: Any = None
    card: Mapping[str, Any] = field(default_factory=dict)

    @property
    def table(self) -> pd.DataFrame:
        """A row for each name: token, what stands there, rank from 1, name, likeness, sentence."""
        rows = [
            (int(token), self.layout.place_of(int(token)), rank, *name[:3])
            for token, names in zip(self.tokens, self.found, strict=True)
            for rank, name in enumerate(names, 1)
        ]
        return pd.DataFrame(rows, columns=["token", "stands there", "rank", "name", "likeness", "sentence"])

    def of(self, token: int) -> tuple[str, ...]:
        """The names of a token as plain texts; a ValueError if it was not named."""
        if len(row := np.flatnonzero(self.tokens == token)) == 0:
            raise ValueError(f"token must be one of the named, {self.tokens.tolist()}, got {token}")
        return tuple(name.text for name in self.found[row[0]])

    def _repr_html_(self) -> str:
        wide = self.table.pivot(index=["token", "stands there"], columns="rank", values="name")
        return f"<p>names by {self.by}, layer {self.layer}</p>{wide.to_html()}"

    def __repr__(self) -> str:
        shown = [f"{self.layout.place_of(int(t))}: {', '.join(self.of(t)[:3])}" for t in self.tokens[:4]]
        more = "; ..." if len(self.tokens) > 4 else ""
        head = f"{counted(len(self.tokens), 'token')}, layer {self.layer}, by {self.by}"
        return f"Names({head}; {'; '.join(shown)}{more})"


def name(
    cap: Capture,
    *more: Any,
    layer: int | None = None,
    tokens: Tokens = None,
    by: str | None = None,
    among: Sequence[str] | Sequence[Capture] | Embedding | None = None,
    k: int = 5,
    progress: bool | Progress | None = None,
) -> Names:
    """Name latent tokens: say in words, or show by patches of other images, what each of them is like at a layer.

    "latents": the words whose own latents, read in other sentences, are the nearest at the same layer (the idea of
    LatentLens, ICML 2026; here a small corpus that travels with the package, `ultra_kit.atlas.sentences`). "head": the
    words that the model would write if this were its last layer (logit lens, nostalgebraist 2020). "phrases": the
    nearest of phrases given, for image models with a text tower. "patches": those of other images that are the most like
    it (`ultra_kit.atlas.similar`), where a model has no words.

    The latents are compared by cosine after the mean of the corpus is taken away. They are made once for a model and a
    layer and kept in the user's cache (SmolLM2: half a minute on one core, 6 MB). The first token of a text without prefix
    is the sink of causal models; what it is said to be like means nothing.

    Parameters
    ----------
    cap : Capture
        Of a causal language model, a text encoder, or an image model.
    layer : int, optional
        1..L or negative from the end, 0 too for the head. By default a third of the blocks for "latents" (chosen on 20 sentences with
        SmolLM2, ``benchmarks/bench_names.py``), else the last.
    tokens : int, sequence of int or float, optional
        Positions, prefix tokens counted, or a share of them; every content position by default.
    by : {"latents", "head", "phrases", "patches"}, optional
        By default "latents" for a text; for an image "patches" where `among` holds captures, else "phrases".
    among : sequence of str or Capture, or Embedding, optional
        Sentences whose words are the names, in place of the corpus; of an image model, which needs it, the phrases, or the
        captures of other images (an embedding of theirs, which has a layer of its own).
    k : int
        Names for each token, at least 1; no two are the same word, in capitals or not.
    progress : bool or callable, optional
        As for `ultra_kit.explain`, while sentences are read.

    Returns
    -------
    Names

    Raises
    ------
    ValueError, TypeError
        For an option that cannot be.
    UltraError
        If the model has no such names: an encoder-decoder, a model without a tokenizer or a head, phrases for an image model without
        a text tower, a model that does not know the words of the corpus.

    Examples
    --------
    >>> import ultra_kit as uk
    >>> cap = uk.capture(uk.load("scenes"), uk.data.scene(0).image)
    >>> uk.name(cap, tokens=[20], among=["a red star", "a blue ring"], k=1).table.shape
    (1, 6)
    """
    needs("name", Capture, (cap, *more), "cap = uk.capture(model, x), then name(cap)")
    image = cap.layout.modality == "image"
    pool: Any = () if among is None else [among] if isinstance(among, Capture) else among
    others = isinstance(pool, Embedding) or any(isinstance(x, Capture) for x in pool)
    by = by or (("patches" if others else "phrases") if image else "latents")
    one_of("by", by, ("phrases", "patches") if image else ("latents", "head"))
    whole_number("k", k, 1)
    words = not others and not isinstance(pool, str) and all(isinstance(t, str) and t.strip() for t in pool)
    if not (others if by == "patches" else words):
        what = "captures of other images" if by == "patches" else "texts, none of them empty"
        raise TypeError(f"among must be a list of {what}, got {among!r:.80}")
    given: Sequence[str] | None = None if among is None else pool
    default = max(1, round(_DEPTH * cap.n_layers)) if by == "latents" else -1
    number, index = cap.layer_index(default if layer is None else layer), cap.token_indices(tokens)
    z = finite(cap, number)[torch.as_tensor(index)]
    orders: Iterable[Iterable[Any]]
    if by == "patches":
        pool = pool if isinstance(pool, Embedding) else unplaced(list(pool), number, "latent", progress)
        number = pool.layer if isinstance(pool.layer, int) else number
        near = (similar(cap, t, among=pool, k=k, layer=number) for t in index.tolist())
        orders = map(_patches, near)
    elif image:
        orders = _phrases(cap, z, number, given)
    else:
        _refuse(cap.model, by, number, given)
        texts = sentences() if given is None else given
        orders = _by_head(cap, z, k) if by == "head" else _by_latents(cap, z, number, texts, progress)
    found = tuple(_first(order, k) for order in orders)
    made = {"by": by, "layer": number, "k": k, "among": "own corpus" if given is None else len(given)}
    return Names(index, found, number, by, cap.layout, cap.input, {**cap.card, "names": made})


def _refuse(model: Any, by: str, layer: int, among: Sequence[str] | None) -> None:
    """Say why a text model's latents have no names of a kind."""
    if model.kind == "encoder-decoder":
        raise UltraError(
            f"name reads causal models and encoders, {model.name!r} is an encoder-decoder, whose two token sequences "
            "have no layer in common; use uk.embed or uk.explain"
        )
    if not getattr(model.tokenizer, "is_fast", False):
        raise UltraError(f"name needs a fast tokenizer, {model.name!r} has none: load(module, transform=...)")
    if by == "latents":
        if layer == 0:
            raise ValueError(
                "layer must be at least 1 for by='latents': layer 0 holds the word alone, no matter where it stands"
            )
        doubt = getattr(model, "doubt", None)
        if among is None and doubt and (said := doubt(" ".join(sentences()))):
            raise UltraError(
                f"the corpus of names is no text for this model ({said}); pass among=sentences that it knows"
            )


def _by_latents(
    cap: Capture, z: torch.Tensor, layer: int, texts: Sequence[str], progress: Any
) -> Iterator[Any]:
    """The words of the corpus whose latents are the nearest, each at its nearest place."""
    bank = word_banks(cap.model, [layer], texts, progress)[layer]
    for row in bank.likeness(z.float().cpu().numpy()):
        order = np.argsort(-row).tolist()
        yield ((bank.names[bank.words[i]], min(float(row[i]), 1.0), texts[bank.text[i]]) for i in order)


def _by_head(cap: Capture, z: torch.Tensor, k: int) -> Iterator[Any]:
    """The words that the model's own head says to latents (T, D)."""
    model: Any = cap.model
    with torch.no_grad():
        logits = read_by_head(cap, z)
    if logits.shape[-1] < len(model.tokenizer) // 2:
        said = f"the head of {model.name!r} says {logits.shape[-1]} classes, no words; use by='latents'"
        raise UltraError(said)
    top = logits.softmax(-1).topk(min(_LOOKED_AT * k, logits.shape[-1]))
    for ids, shares in zip(top.indices.tolist(), top.values.tolist(), strict=True):
        yield ((word.strip(), p) for word, p in zip(model.strings(ids), shares, strict=True))


def _phrases(cap: Capture, z: torch.Tensor, layer: int, among: Sequence[str] | None) -> Iterator[Any]:
    """The nearest phrases of an image model with a text tower."""
    model: Any = cap.model
    if not isinstance(model, TextAligned):
        raise UltraError(
            f"{model.name!r} has no text tower, so that its patches have no names in words; among=captures of other "
            "images names each by the patches most like it there (uk.atlas.similar)"
        )
    if among is None or not len(among):
        raise ValueError(
            f"among must hold the phrases to choose from, such as ['a red star', 'a blue ring'], got {among}"
        )
    if layer != cap.n_layers:
        raise ValueError(
            f"layer must be the last, {cap.n_layers}, whose latents share a space with phrases, got {layer}"
        )
    with torch.no_grad():
        near = torch.nn.functional.normalize(model.project(z), dim=-1) @ model.encode_text(among).T
    for row in near.float().cpu().numpy():
        yield ((among[i], float(row[i])) for i in np.argsort(-row))


def _patches(found: Similar) -> Iterator[Any]:
    """The patches most like one: where each lies, how like it is, and how it looks."""
    for row, placed in list(zip(found.table.itertuples(), found.inputs, strict=True))[1:]:
        yield f"{row.what} of {row.input}", row.likeness, "", placed.patch(row.token)


def _first(names: Iterable[Any], k: int) -> tuple[Name, ...]:
    """The first k names of an order that are words, no two the same."""
    found: dict[str, Name] = {}
    for text, *rest in names:
        if any(map(str.isalnum, text)) and text.casefold() not in found:
            found[text.casefold()] = Name(text, *rest)
            if len(found) == k:
                break
    return tuple(found.values())
