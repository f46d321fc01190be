"""What a `TokenExplorer` shows: the maps of one input by kind and layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..maps.heads import head_shares
from ..types import Capture, ExplanationMaps, Layout

MAX_BYTES = 3_000_000
"""Bytes of maps that a page carries, one byte a value, before they are deflated to about half."""

_MAX_ENTRIES = 1_000_000_000
"""Attention gradients up to which the maps of a capture are all worked out beforehand: some ten seconds of
one core. Counted, not timed, so that the same call gives the same view on every machine."""


@dataclass(frozen=True, eq=False)
class Book:
    """The maps of one kind at one layer; `heads` splits them (`ultra_kit.maps.head_shares`) or is None."""

    maps: ExplanationMaps
    heads: np.ndarray | None = None

    def variants(self, *, with_heads: bool) -> np.ndarray:
        """The maps over the content, own positions replaced: (T, V, n), V = 1, or 2 + H with the heads.

        The first is the whole map, the next what came through heads 1..H, the last what passed them by.
        """
        whole = self.maps.without_own[:, None]
        if self.heads is None or not with_heads:
            return whole
        ordered = np.concatenate([self.heads[:, 1:], self.heads[:, :1]], axis=1)
        parts = [_without_own(self.maps, ordered[:, v]) for v in range(ordered.shape[1])]
        return np.concatenate([whole, np.stack(parts, axis=1)], axis=1)


def _without_own(maps: ExplanationMaps, values: np.ndarray) -> np.ndarray:
    return ExplanationMaps(values, maps.tokens, maps.layer, maps.layout).without_own


@dataclass(frozen=True, eq=False)
class Side:
    """One input under one model, with the maps that are there.

    Attributes
    ----------
    name : str
    layout : Layout
    input : ndarray or None
    books : dict
        (kind, layer) to `Book`; grows when a capture is asked for more.
    capture : Capture or None
        Whom to ask.
    kinds : dict
        What a kind stands for: its name to (score, rule).
    """

    name: str
    layout: Layout
    input: Any
    books: dict[tuple[str, int], Book]
    capture: Capture | None = None
    kinds: dict[str, tuple[str, str]] = field(default_factory=dict)

    def add(self, maps: ExplanationMaps) -> None:
        """Keep maps of this input; those of the same kind and layer that are there already stay."""
        if maps.layout != self.layout:
            raise ValueError(
                f"maps must be of the input of {self.name!r}; explain the capture that the view was given"
            )
        self.books.setdefault((kind_of(maps), maps.layer), Book(maps))

    def work_out(self, kind: str, layer: int, tokens: Sequence[int] | np.ndarray | None) -> Book:
        """Explain tokens of the capture, one backward pass a token, and keep their maps."""
        if self.capture is None or kind not in self.kinds:
            raise ValueError(f"{self.name!r} has no map of that token; pass a capture, or maps of all tokens")
        score, rule = self.kinds[kind]
        index = self.capture.token_indices(tokens)
        shares = head_shares(self.capture, layer=layer, tokens=index, score=score, rule=rule)
        made = {"method": "ultra", "layer": layer, "score": score, "rule": rule}
        maps = ExplanationMaps(
            shares.sum(axis=1),
            index,
            layer,
            self.layout,
            score=score,
            rule=rule,
            input=self.input,
            card={**self.capture.card, "explanation": made},
        )
        found = Book(maps, shares if layer else None)
        self.books[kind, layer] = _joined(self.books.get((kind, layer)), found)
        return found


def _joined(old: Book | None, new: Book) -> Book:
    """Both books as one; of a token in both the new map counts."""
    if old is None:
        return new
    kept = ~np.isin(old.maps.tokens, new.maps.tokens)
    values = np.concatenate([old.maps.values[kept], new.maps.values])
    tokens = np.concatenate([old.maps.tokens[kept], new.maps.tokens])
    m = new.maps
    maps = ExplanationMaps(values, tokens, m.layer, m.layout, m.method, m.score, m.rule, m.input, m.card)
    both = old.heads is not None and new.heads is not None
    return Book(maps, np.concatenate([old.heads[kept], new.heads]) if both else None)  # type: ignore[index,list-item]


def kind_of(maps: ExplanationMaps) -> str:
    """Name how maps were made, for a reader: ``"ULTra: norm, positive"`` or ``"rollout"``.

    Parameters
    ----------
    maps : ExplanationMaps

    Returns
    -------
    str

    Examples
    --------
    >>> import numpy as np
    >>> from ultra_kit.types import ExplanationMaps, Layout
    >>> layout = Layout("image", n_prefix=0, grid=(1, 2), size=(8, 16))
    >>> kind_of(ExplanationMaps(np.eye(2, dtype="float32"), np.arange(2), 3, layout))
    'ULTra: norm, positive'
    """
    if maps.method != "ultra":
        return maps.method.replace("_", " ")
    return f"ULTra: {maps.score}, {maps.rule}"


def make_side(
    source: Capture | ExplanationMaps | Sequence[ExplanationMaps],
    name: str,
    scores: Sequence[str],
    rules: Sequence[str],
) -> Side:
    """Read what a `TokenExplorer` was given for one side.

    Parameters
    ----------
    source : Capture, ExplanationMaps or sequence of ExplanationMaps
    name : str
        Shown above the pictures.
    scores, rules : sequence of str
        What is offered of a capture.

    Returns
    -------
    Side

    Raises
    ------
    TypeError
        If the source is something else.
    ValueError
        If it is of a text, empty, or of several inputs.
    """
    if isinstance(source, Capture):
        kinds = {f"ULTra: {s}, {r}": (s, r) for s in scores for r in rules}
        side = Side(name, _image_layout(source.layout), source.input, {}, source, kinds)
        _work_out_all(side)
        return side
    found: list[Any] = list(source) if isinstance(source, (list, tuple)) else [source]
    if not found:
        raise ValueError("a sequence of maps must hold at least one entry, got none")
    for maps in found:
        if not isinstance(maps, ExplanationMaps):
            raise TypeError(
                f"maps must be ExplanationMaps or a Capture, got {type(maps).__name__}; "
                "call uk.explain or uk.capture first"
            )
    layout = _image_layout(found[0].layout)
    if any(m.layout != layout for m in found):
        raise ValueError("the maps of one side must be of one input; pass the other input as `right`")
    books = {(kind_of(m), m.layer): Book(m) for m in found}
    if len(books) < len(found):
        raise ValueError("two entries have the same method, score, rule and layer; pass each once")
    return Side(name, layout, found[0].input, books)


def _image_layout(layout: Layout) -> Layout:
    if layout.grid is None or layout.size is None:
        raise ValueError("a TokenExplorer shows maps of images, got a text; use a SummaryExplorer for texts")
    return layout


def _work_out_all(side: Side) -> None:
    """Explain every content token at every layer, if that is little work and fits on a page."""
    cap = side.capture
    if cap is None:
        return
    layers = range(1, cap.n_layers + 1)
    size = len(side.kinds) * len(layers) * side.layout.n_content**2
    # A backward pass from layer k runs through the blocks up to k.
    entries = sum(s.weights.numel() for k in layers for s in cap.steps if s.layer <= k)
    if size > MAX_BYTES or len(side.kinds) * entries * side.layout.n_content > _MAX_ENTRIES:
        return
    for kind in side.kinds:
        for layer in layers:
            side.work_out(kind, layer, None)
