"""The tokens of other inputs that are most like one token, and clusters of tokens that most inputs have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from ..maps.explanation import explain
from ..types import Capture, Progress
from ..types.checks import needs, one_of, whole_number
from ..types.wording import counted
from .collecting import Wanted, collect
from .embedding import Embedding, fields_of
from .placed_input import PlacedInput


@dataclass(frozen=True, eq=False, repr=False)
class Similar:
    """A token, and the tokens of other inputs that are most like it, the nearest first; made by `similar`.

    Attributes
    ----------
    inputs : tuple of K + 1 PlacedInput
        Of the token asked about, then of the found ones; an input may come several times.
    tokens : ndarray of shape (K + 1,), int64
        Positions in them, prefix tokens counted; the one asked about first.
    likeness : ndarray of shape (K + 1,), float32
        Cosines of the vectors; 1 for the first.
    maps : tuple of K + 1 ndarrays of shape (n_content,), float32, or ()
        What each token was made from, the own position left out, the largest entry 1; none where no map was kept.
    layer : int
    by : {"latent", "map"}
    card : dict
        Provenance, JSON-able.
    """

    inputs: tuple[PlacedInput, ...]
    tokens: np.ndarray
    likeness: np.ndarray
    maps: tuple[np.ndarray, ...]
    layer: int
    by: str
    card: Mapping[str, Any] = field(default_factory=dict)

    @property
    def table(self) -> pd.DataFrame:
        """A row for each token, the one asked about first: input, token, place or word, likeness."""
        places = [
            placed.word(t) if placed.text else placed.layout.place_of(t)
            for placed, t in zip(self.inputs, self.tokens.tolist(), strict=True)
        ]
        names = [placed.name or placed.sha256[:8] for placed in self.inputs]
        return pd.DataFrame({"input": names, "token": self.tokens, "what": places, "likeness": self.likeness})

    def __repr__(self) -> str:
        near = f", likeness {self.likeness[1]:.2f} to {self.likeness[-1]:.2f}" if len(self.tokens) > 1 else ""
        others = len({id(placed) for placed in self.inputs[1:]})
        found = f"{counted(len(self.tokens) - 1, 'token')} of {counted(others, 'input')}"
        return f"Similar({found}, layer {self.layer} by {self.by}{near})"


def similar(
    source: Capture | Embedding,
    token: int,
    *,
    among: Sequence[Capture] | Embedding | None = None,
    by: str = "latent",
    layer: int | None = None,
    k: int = 12,
    per_input: int = 2,
    progress: bool | Progress | None = None,
) -> Similar:
    """Find the tokens most like one in other inputs, each with its map: the eyes of other faces for an eye.

    By "latent" those whose latents point the same way; by "map" those that were made from the same (as in
    `ultra_kit.embed`).

    Parameters
    ----------
    source : Capture or Embedding
    token : int
        A position of the capture, prefix tokens counted; of an embedding one of its rows.
    among : sequence of Capture, or Embedding
        Where to look; what has the same input is left out. An embedding as `source` is looked through itself.
    by, layer : as in `ultra_kit.embed`
        For captures; those of an embedding are its own. In one of several layers only the layer of the row asked about is
        looked through; a capture as `source` then needs `layer`, one of them.
    k, per_input : int
        How many at most, in all and of one input.
    progress : bool or callable, optional
        As in `ultra_kit.explain`, over the captures.

    Returns
    -------
    Similar
        With maps for captures, and for an embedding that was made with ``maps=True``.

    Raises
    ------
    ValueError, TypeError, UltraError
        For options that cannot be, or when there is no other input.

    Examples
    --------
    >>> import ultra_kit as uk
    >>> caps = [uk.capture(uk.load("scenes"), uk.data.scene(seed).image) for seed in range(3)]
    >>> found = uk.atlas.similar(caps[0], 40, among=caps, k=4)
    >>> found.tokens.shape, len(found.maps)
    ((5,), 5)
    """
    whole_number("k", k, 1)
    whole_number("per_input", per_input, 1)
    if isinstance(source, Embedding) == (among is not None) or not isinstance(source, (Capture, Embedding)):
        raise TypeError("similar takes a capture with among=captures or an embedding, or an embedding alone")
    captures = None
    if isinstance(source, Capture) and not isinstance(among, Embedding):
        captures = list(among) if isinstance(among, Iterable) else [among]
        if not captures:
            raise ValueError("among must hold captures of other inputs, got none")
    pool: Any = (
        (source if among is None else among) if captures is None else unplaced(captures, layer, by, progress)
    )
    asked, row = _asked(source, token, pool, layer)
    number, token = asked.source[row].tolist()
    mine = asked.inputs[number]
    near = pool.vectors.astype(np.float32) @ asked.vectors[row].astype(np.float32)
    left = {n: per_input for n, placed in enumerate(pool.inputs) if placed.sha256 != mine.sha256}
    chosen: list[int] = []
    order = np.argsort(-near, kind="stable")
    for found in order[pool.layers[order] == asked.layers[row]].tolist():
        if left.get(where := int(pool.source[found, 0]), 0) and len(chosen) < k:
            left[where] -= 1
            chosen.append(found)
    if not chosen:
        raise ValueError("among must hold another input than the one asked about, got none")
    there = pool.source[chosen].tolist()
    maps: list[np.ndarray] = []
    if captures is not None and isinstance(source, Capture):
        pairs = [(source, token), *((captures[n], t) for n, t in there)]
        maps = [explain(cap, layer=layer, tokens=[t], progress=False).without_own[0] for cap, t in pairs]
    elif pool.mapped is not None:
        maps = [_kept(asked, row), *(_kept(pool, found) for found in chosen)]
    return Similar(
        inputs=(mine, *(pool.inputs[n] for n, _ in there)),
        tokens=np.array([token, *(t for _, t in there)], np.int64),
        likeness=np.minimum([1, *near[chosen]], 1, dtype=np.float32),
        maps=tuple(m / max(m.max(), np.float32(1e-30)) for m in maps),
        layer=int(asked.layers[row]),
        by=pool.by,
        card={**pool.card, "similar": {"k": k, "per_input": per_input}},
    )


def _asked(
    source: Capture | Embedding, token: int, pool: Embedding, layer: int | None
) -> tuple[Embedding, int]:
    """The token asked about as a row of an embedding, at a layer of those that are looked through."""
    if isinstance(source, Embedding):
        return source, whole_number("token", token, 0, len(source) - 1, ", a row of the embedding")
    first, last = source.layout.content[[0, -1]].tolist()
    row = whole_number("token", token, first, last, ", a content position") - first
    wanted = {**pool.card["embedding"]["wanted"], "tokens": None}  # all of its tokens, in order
    asked = replace(pool, card={**pool.card, "embedding": {"wanted": wanted}}).place(source)
    if isinstance(pool.layer, tuple):
        one_of("layer", layer, pool.layer)
        row += int(np.argmax(asked.layers == layer))
    return asked, row


def unplaced(captures: list[Any], layer: int | None, by: str, progress: bool | Progress | None) -> Embedding:
    """All tokens of captures, not placed and not clustered: only looked through."""
    wanted = Wanted(layer, by, None, None, 0, False, ())
    rows = collect(captures, None, wanted, progress)
    fields = fields_of(rows)
    fields |= {"points": np.zeros((m := len(fields["vectors"]), 2), np.float32)}
    fields |= {"labels": np.full(m, -1, np.int32), "probabilities": np.zeros(m, np.float32)}
    card = {**rows[0][0].card, "embedding": {"wanted": vars(wanted)}}
    return Embedding(**fields, by=by, card=card)


def _kept(emb: Embedding, row: int) -> np.ndarray:
    """What an embedding keeps of the map of a token, over the content positions."""
    where, weights = emb.mapped or ((), ())
    layout = emb.inputs[emb.source[row, 0]].layout
    out = np.zeros(layout.n_tokens, np.float32)
    out[where[row]] = weights[row]
    return out[layout.n_prefix :]


def recurring(emb: Embedding, *, share: float = 0.5) -> pd.DataFrame:
    """Say which clusters most inputs have: the parts that recur.

    Parameters
    ----------
    emb : Embedding
    share : float
        In (0, 1]: the least share of the inputs.

    Returns
    -------
    pandas.DataFrame
        A row for each such cluster, by its number, the most alike first: its name, the share of inputs that have it,
        tokens per input that has it, and how alike they are, the mean cosine with their mean.

    Examples
    --------
    >>> import ultra_kit as uk
    >>> scenes = [uk.data.scene(seed).image for seed in range(4)]
    >>> emb = uk.embed(scenes, model="scenes", method="pca", tokens=0.25)
    >>> list(recurring(emb).columns)
    ['name', 'share of inputs', 'tokens per input', 'likeness']
    """
    needs("recurring", Embedding, (emb,), "emb = uk.embed(inputs)")
    if not 0 < share <= 1:
        raise ValueError(f"share must be above 0 and at most 1, got {share}")
    counts = np.zeros((emb.n_clusters, len(emb.inputs)), int)
    there = emb.labels >= 0
    np.add.at(counts, (emb.labels[there], emb.source[there, 0]), 1)
    has = (counts > 0).sum(1)
    # The length of the mean of unit vectors is their mean cosine with it.
    total = np.zeros((emb.n_clusters, emb.vectors.shape[1]))
    np.add.at(total, emb.labels[there], emb.vectors[there])
    alike = np.linalg.norm(total, axis=1) / np.maximum(counts.sum(1), 1)
    columns = {"name": emb.names, "share of inputs": has / len(emb.inputs)}
    columns |= {"tokens per input": counts.sum(1) / np.maximum(has, 1), "likeness": alike}
    table = pd.DataFrame(columns).rename_axis("cluster")
    return table[table["share of inputs"] >= share].sort_values("likeness", ascending=False)
