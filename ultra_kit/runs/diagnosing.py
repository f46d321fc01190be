"""What a conclusion about latents may rest on unseen: prefix tokens, attention sinks and tokens of high norm."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..maps.explanation import explain
from ..maps.planning import finite
from ..types import Capture, Progress, Settings, Tokens
from ..types.progress import reporting
from ..types.wording import counted
from .printed_tables import PrintedTable

SINK = 0.3
"""Mean attention of the other tokens from which on a position is a sink (Gu et al., 2025, there for each head)."""
HIGH = 3.0
"""Norm, in medians of the layer's content tokens, from which on a token is of high norm; this project's choice."""
_SPREAD = 8  # tokens explained where nothing is said
_HALF = 0.5  # shares from which on a conclusion rests on such positions
KINDS = ("prefix", "sinks", "high")
_FIGURES = ["norm", "largest", "prefix norm", "high norm", "axis", "axis without"]
_FIGURES += [f"{name} {kind}" for name in ("attention", "relevance") for kind in KINDS] + ["top"]


@dataclass(frozen=True, eq=False, repr=False)
class Diagnosis(PrintedTable):
    """Norms, attention and relevance per layer, with and without prefix tokens, sinks and high norms; prints as a table.

    Attributes
    ----------
    layers : pandas.DataFrame
        A row for each layer 0..L, means over the captures. "norm": median norm of the content tokens; in units of it
        "largest" of them and "prefix norm"; "high norm": share of the content tokens over 3 medians. "axis": share of
        the variance of all latents along their first principal axis, "axis without": without such positions.
        "attention ..." and "relevance ...": share that lies on "prefix" tokens, other "sinks", and other tokens of "high" norm;
        "top": share of the explained tokens whose strongest position is one of these. Own positions are left out; NaN where
        nothing was explained.
    flagged : tuple of dict
        For each capture its positions by kind: "prefix", "sinks" and "high", the last two in any layer.
    warnings : tuple of str
        In words: which conclusions would rest on such positions, and at which layers.
    model : str
    """

    layers: pd.DataFrame
    flagged: tuple[dict[str, np.ndarray], ...]
    warnings: tuple[str, ...]
    model: str

    @property
    def table(self) -> pd.DataFrame:
        """What is printed: `layers`."""
        return self.layers

    @property
    def _headline(self) -> str:
        each = {kind: np.mean([len(f[kind]) for f in self.flagged]) for kind in KINDS}
        each["both"] = np.mean([np.isin(f["sinks"], f["prefix"]).sum() for f in self.flagged])
        said = "{prefix:.3g} prefix tokens, {sinks:.3g} sinks ({both:.3g} of them prefix), {high:.3g} content tokens of high norm"
        head = f"Diagnosis({self.model!r}, {counted(len(self.flagged), 'input')}, each with {said.format(**each)})"
        lines = [f"Warning: {text}" for text in self.warnings]
        return "\n".join([head, *(lines or ["No warning: no figure below passes its bar."])])


def diagnose(
    captures: Capture | Sequence[Capture],
    *,
    tokens: Tokens = None,
    layers: int | Sequence[int] | None = None,
    progress: bool | Progress | None = None,
) -> Diagnosis:
    """Say how much of norms, attention and relevance lies on prefix tokens, sinks and tokens of high norm, per layer.

    A *sink* is a position to which all other tokens give, by the mean of heads and of tokens, over 0.3 of their attention in
    some block: first tokens draw attention whatever they say (Xiao et al., "Efficient Streaming Language Models with Attention
    Sinks", arXiv 2309.17453; the number is that of Gu et al., "When Attention Sink Emerges in Language Models", arXiv
    2410.10781, there for each head). A token is of *high norm* where its latent is over 3 times as long as the median
    content token of some layer: large vision models keep global information in such patches (Darcet et al., "Vision
    Transformers Need Registers", arXiv 2309.16588, who cut by eye, at 150 for DINOv2-g).

    Parameters
    ----------
    captures : Capture or sequence of Capture
        Of one model (else a ValueError).
    tokens : int, sequence of int, or float, optional
        Those explained, by the model's own score and rule; by default eight, spread evenly.
    layers : int or sequence of int, optional
        Where they are explained; by default at the model's own layer and five others, of an empty list nowhere.
    progress : bool or callable, optional
        As for `ultra_kit.explain`.

    Returns
    -------
    Diagnosis

    Examples
    --------
    >>> import ultra_kit as uk
    >>> cap = uk.capture(uk.load("scenes"), uk.data.scene(0).image)
    >>> found = uk.diagnose(cap, tokens=[30], layers=[3])
    >>> found.table.shape, found.flagged[0]["prefix"].tolist()
    ((6, 13), [0, 1, 2, 3])
    """
    given = list(captures) if isinstance(captures, Iterable) else [captures]
    if not given or any(not isinstance(cap, Capture) for cap in given):
        raise TypeError("diagnose needs captures: cap = uk.capture(model, x), then diagnose(cap)")
    if len({(cap.model.name, cap.n_layers) for cap in given}) > 1:
        raise ValueError("the captures must be of one model; diagnose those of another by themselves")
    own = Settings.of(given[0].model).layer
    spread = [own, *np.linspace(1, given[0].n_layers, 5).round().astype(int)]
    at = {given[0].layer_index(n) for n in (spread if layers is None else np.atleast_1d(layers))}
    flagged = tuple(map(_flag, given))
    with reporting(progress, len(given) * len(at), "diagnose", "maps of a layer") as report:
        few = [min(1.0, _SPREAD / c.layout.n_content) if tokens is None else tokens for c in given]
        frames = [_table(*one, at, report) for one in zip(given, flagged, few, strict=True)]
    table = pd.concat(frames).groupby(level=0).mean()
    return Diagnosis(table, flagged, tuple(_warnings(table)), given[0].model.name)


def _received(attention: np.ndarray) -> np.ndarray:
    """The attention that each position gets of the other tokens, over their number: (N, N) to (N,)."""
    return (attention.sum(0) - np.diag(attention)) / max(len(attention) - 1, 1)


def _flag(cap: Capture) -> dict[str, np.ndarray]:
    """The positions of each kind."""
    n, first = cap.layout.n_tokens, cap.layout.n_prefix
    sinks, high = np.zeros(n, bool), np.zeros(n, bool)
    for layer in range(cap.n_layers + 1):
        norms = finite(cap, layer).float().norm(dim=1).cpu().numpy()
        high |= norms > HIGH * np.median(norms[first:])
        if layer:
            sinks |= _received(cap.attention(layer).mean(0)) > SINK
    high[:first] = False
    return {"prefix": np.arange(first), "sinks": np.flatnonzero(sinks), "high": np.flatnonzero(high)}


def _table(
    cap: Capture, flagged: dict[str, np.ndarray], tokens: Tokens, at: set[int], report: Callable[[int], Any]
) -> pd.DataFrame:
    """The figures of one capture."""
    first, rows = cap.layout.n_prefix, []
    kinds = np.full(cap.layout.n_tokens, "", object)  # each position is of one kind, the prefix before all
    for kind in reversed(KINDS):
        kinds[flagged[kind]] = kind
    special = kinds != ""
    for layer in range(cap.n_layers + 1):
        z, row = cap.tokens(layer), dict.fromkeys(_FIGURES, np.nan)
        norms = np.linalg.norm(z, axis=1)
        middle = np.median(norms[first:])
        content, prefix = norms[first:] / max(middle, 1e-30), norms[:first] / max(middle, 1e-30)
        row |= {"norm": middle, "largest": content.max(), "high norm": (content > HIGH).mean()}
        row |= {"axis": _first_axis(z), "axis without": _first_axis(z[~special])}
        row["prefix norm"] = prefix.mean() if first else np.nan
        masses = {"attention": _received(cap.attention(layer).mean(0))} if layer else {}
        if layer in at:
            maps = explain(cap, layer=layer, tokens=tokens, since=0, progress=False)
            values = maps.values.copy()
            values[np.arange(len(maps)), maps.tokens] = 0
            masses["relevance"] = (values / np.maximum(values.sum(1, keepdims=True), 1e-30)).mean(0)
            row["top"] = special[values.argmax(1)].mean()
            report(1)
        for name, mass in masses.items():
            row |= {f"{name} {kind}": mass[kinds == kind].sum() / max(mass.sum(), 1e-30) for kind in KINDS}
        rows.append(row)
    return pd.DataFrame(rows, index=pd.RangeIndex(len(rows), name="layer"))


def _first_axis(z: np.ndarray) -> float:
    """The share of the variance of latents (N, D) along their first principal axis; 0 where they do not vary."""
    if len(z) < 2:
        return 0.0
    variances = np.linalg.svd(z.astype(np.float64) - z.mean(0), compute_uv=False) ** 2
    return float(variances[0] / max(variances.sum(), 1e-30))


_TEXTS = (
    "over half of the attention goes to such positions: raw attention shows them",
    "over half of the relevance lies on them: read maps by maps.content",
    "the strongest position of most maps is one of them: leave them out before you name one",
    "the first principal axis of all latents is theirs: cluster without them",
    "some content tokens are over 3 medians long: means and distances rest on them",
)


def _warnings(table: pd.DataFrame) -> list[str]:
    """What would rest on such positions, and where."""
    halves = [table.filter(like=f"{name} ").sum(axis=1) for name in ("attention", "relevance")]
    halves += [table["top"], table["axis"] - table["axis without"]]
    where = [*(figure > _HALF for figure in halves), table["high norm"] > 0]
    return [f"{_layers(there)}: {text}." for there, text in zip(where, _TEXTS, strict=True) if there.any()]


def _layers(where: pd.Series) -> str:
    """Layers in words, such as "layers 3, 5 to 7"."""
    runs = np.split(numbers := np.flatnonzero(where), np.flatnonzero(np.diff(numbers) > 1) + 1)
    said = ", ".join(f"{run[0]} to {run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
    return f"layer{'s' * (len(numbers) > 1)} {said}"
