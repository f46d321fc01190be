"""What if the patches or words that a map names were not there: the tokens, and what the model says, before and after."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pandas as pd
import torch

from ..maps.planning import finite, place
from ..types import Capture, Layout, Tokens
from ..types.checks import needs, whole_number
from ..types.torch_modes import plain_torch
from .perturbing import latents_without, removable
from .printed_tables import PrintedTable

_TOP = 5  # entries of the reading that are kept on each side
_EVENTS = ["before", "after", "random"]


@dataclass(frozen=True, eq=False, repr=False)
class Intervention(PrintedTable):
    """What became of a layer's N latents without some positions, and without as many random ones; prints as a table.

    Attributes
    ----------
    gone : ndarray of shape (1 + R, N), bool
        What was taken away: in row 0 the positions asked for, in each other row as many drawn by chance.
    token, layer : int or None, int
        The token watched, and whose latents are compared.
    cosine, distance : ndarray of shape (1 + R, N), float32
        Cosine similarity of each latent to itself in the whole input, and how far it moved as a share of its length.
    reading : pandas.DataFrame
        What the model's head reads "before", "after" and, on the mean, without "random" positions: of a text the
        probabilities of the tokens that are likeliest (`kind` says of what), of an image the largest logits, by number of
        the class (of bundled models: of the prototype) or by phrase of ``zero_shot``; empty if the model has no head.
    kind : str
        What the reading is of.
    kept : bool
        Whether the positions taken away are all but those that were named.
    layout, input
        Of the capture.
    """

    gone: np.ndarray
    token: int | None
    layer: int
    cosine: np.ndarray
    distance: np.ndarray
    reading: pd.DataFrame
    kind: str
    kept: bool
    layout: Layout
    input: Any = None

    @property
    def removed(self) -> np.ndarray:
        """The positions taken away, prefix tokens counted: int64 of shape (M,)."""
        return np.flatnonzero(self.gone[0])

    @property
    def table(self) -> pd.DataFrame:
        """The watched token, and the mean of the other content tokens that stayed; the mean of the random removals beside."""
        others, own = ~self.gone, np.zeros_like(self.gone)
        others[:, : self.layout.n_prefix] = False
        if self.token is not None:
            others[:, self.token], own[:, self.token] = False, True
        columns = {}
        for name in ("cosine", "distance"):
            means = [np.ma.masked_array(getattr(self, name), ~where).mean(axis=1) for where in (own, others)]
            columns[name] = [np.ma.filled(mean[0], np.nan) for mean in means]
            columns[f"{name}, random"] = [np.ma.filled(mean[1:].mean(), np.nan) for mean in means]
        table = pd.DataFrame(columns, index=[f"token {self.token}", "other tokens, mean"], dtype=float)
        return table if self.token is not None else table.iloc[1:]

    @property
    def _headline(self) -> str:
        return f"Intervention: {self.sentence}"

    @property
    def sentence(self) -> str:
        """What became of the watched token, of the others and of what the model says first, in words."""
        what = "patches" if self.layout.modality == "image" else "tokens"
        who = [] if self.token is None else [f"token {self.token} ({self.layout.place_of(self.token)})"]
        said = [
            f"{name} keeps a cosine of {row['cosine']:.2f} to itself (without random ones {row['cosine, random']:.2f})"
            for name, (_, row) in zip([*who, "the mean of the others"], self.table.iterrows(), strict=True)
            if not np.isnan(row["cosine"])  # all the others are gone
        ]
        for at in dict.fromkeys(self.reading[when].argmax() for when in _EVENTS[:2] if len(self.reading)):
            steps = "from {:.3g} to {:.3g} (without random ones {:.3g})".format(*self.reading.iloc[at])
            said.append(f"{self.kind} {self.reading.index.tolist()[at]!r} {steps}")
        kept = ", all but those kept" * self.kept
        return f"without {len(self.removed)} of {self.layout.n_content} {what}{kept}, layer {self.layer}: {'; '.join(said)}"


@plain_torch()
def intervene(
    cap: Capture,
    *more: Any,
    remove: Tokens = None,
    keep: Tokens = None,
    token: int | None = None,
    layer: int | None = None,
    n_random: int = 5,
    seed: int = 0,
) -> Intervention:
    """Take away the patches or words that a map names, or all others, run the model again, and compare.

    Taking away is that of `ultra_kit.runs.perturb`: a patch gets the layer-0 token of a blank image of the mean colour, a
    token of a text is masked for all others. Beside it as many positions drawn by chance are taken away: what moves a
    token no more than these do was not what it was made from.

    Parameters
    ----------
    cap : Capture
        Of a model that can run its blocks from other embeddings (else an UltraError).
    remove, keep : int, sequence of int, or float
        Positions, prefix tokens counted, such as ``maps.top(token, 0.1)``; one of the two. Prefix tokens, position 0 of a
        text and `token` always stay.
    token : int, optional
        The token watched. Its reading is what the model's head says at it: of a causal model the next token, of a
        classifier the logits if it is the class token. By default that of the last token of a text, of the class token
        of an image (the first prefix token), or the mean over the patches where there is none.
    layer : int, optional
        Whose latents are compared; the model's own where nothing is said.
    n_random, seed : int
        How many random removals, at least 1, and what they are drawn from: among what `token` can see.

    Returns
    -------
    Intervention

    Raises
    ------
    ValueError, TypeError
        Unless one of `remove` and `keep` is given, and something is taken away.

    Examples
    --------
    >>> import ultra_kit as uk
    >>> cap = uk.capture(uk.load("scenes"), uk.data.scene(0).image)
    >>> maps = uk.explain(cap, layer=3, tokens=[30])
    >>> found = uk.intervene(cap, remove=maps.top(30, 0.1), token=30, layer=3)
    >>> bool(found.cosine[0, 30] < found.cosine[1:, 30].mean())
    True
    """
    needs("intervene", Capture, (cap, *more), "cap = uk.capture(model, x), then intervene(cap, remove=...)")
    if (remove is None) == (keep is None):
        raise ValueError("intervene needs one of remove= and keep=: positions, such as maps.top(token, 0.1)")
    number, _ = place(cap, layer, None)
    whole_number("n_random", n_random, 1)
    whole_number("seed", seed, 0)
    own = -1 if token is None else whole_number("token", token, 0, cap.layout.n_tokens - 1)
    can, free = removable(cap), removable(cap, token)
    named = cap.token_indices(keep if remove is None else remove)
    if remove is not None and (named < cap.layout.n_prefix).any():
        raise ValueError(f"remove must be of content positions, got the prefix token {named.min()}")
    removed = np.setdiff1d(np.setdiff1d(free, named) if remove is None else np.intersect1d(named, can), [own])
    if not len(removed):
        raise ValueError(
            "nothing is taken away: name more than the token itself, prefix tokens and a text's position 0"
        )
    rng = np.random.default_rng([seed, 0x6977])
    gone = np.zeros((1 + n_random, cap.layout.n_tokens), bool)
    gone[0, removed] = True
    for row in gone[1:]:
        row[rng.choice(free, min(len(removed), len(free)), replace=False)] = True
    runs = {k: torch.stack([finite(cap, k), *latents_without(cap, gone, k)]) for k in {number, cap.n_layers}}
    full, after = runs[number][:1].double(), runs[number][1:].double()
    moved = (after - full).norm(dim=-1) / full.norm(dim=-1).clamp_min(1e-30)
    found = [torch.cosine_similarity(after, full, dim=-1), moved]
    cosine, distance = (x.float().cpu().numpy() for x in found)
    reading, kind = _read(cap, runs[cap.n_layers], token)
    return Intervention(
        gone, token, number, cosine, distance, reading, kind, remove is None, cap.layout, cap.input
    )


@torch.no_grad()
def _read(cap: Capture, last: torch.Tensor, token: int | None) -> tuple[pd.DataFrame, str]:
    """The largest entries of what the head says to last-layer latents: whole, without the removed, without random ones."""
    layout, model, is_text = cap.layout, cast(Any, cap.model), cap.layout.modality == "text"
    default = [layout.n_tokens - 1] if is_text else [0] if layout.n_prefix else layout.content
    at = default if token is None else [token]
    if model.head(last[0][at]) is None:
        return pd.DataFrame(columns=_EVENTS), ""
    said = torch.stack([model.head(z[at]).float().mean(0) for z in last])
    writes = getattr(model, "kind", "encoder") != "encoder"
    facts = getattr(model, "facts", {})
    seen = "phrase" if "zero_shot" in facts else facts.get("head", "class")
    kind = ("next token" if writes else "token") if is_text else seen
    said = said.softmax(-1) if is_text else said
    before, after = said[:2]
    ids = torch.cat([v.topk(min(_TOP, len(v))).indices for v in (before, after)]).unique(sorted=False)
    columns = torch.stack([before, after, said[2:].mean(0)], dim=1)[ids].cpu().numpy()
    known = facts.get("zero_shot", range(before.shape[-1]))
    names = model.strings(ids.tolist()) if is_text else [known[i] for i in ids.tolist()]
    table = pd.DataFrame(columns, index=pd.Index(names, name=kind), columns=_EVENTS)
    return table.sort_values("before", ascending=False), kind
