"""`EmbeddingExplorer`: tens of thousands of tokens on a plane, and where each comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import traitlets

from ..atlas import Embedding
from ..maps.explanation import explain
from ..types import Capture
from ..types.checks import needs, whole_numbers
from ..types.wording import counted, layers_said
from .embedding_page import apart, most_alike, page_of, places, ways
from .map_books import quantise
from .view import View, colours, must_be_one_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class EmbeddingExplorer(View):
    """Every token of an `Embedding` as a point: hover shows its patch or word with its map, a lasso selects.

    The patches of the points selected light up on their images, and a click on a patch or word lights up its point.
    A page holds all of it, points rounded to 1/65535 of the width, maps to their strongest positions.

    Parameters
    ----------
    emb : Embedding
        From `ultra_kit.embed`.
    beside : Embedding, optional
        Another of the same tokens, such as ``uk.embed(captures, by="map")``: the page shows the most alike of both side by
        side, and its points glide from one atlas to the other.
    truth : array of shape (M,), or mapping of str to such arrays, optional
        Further ways to colour: text, whole numbers (-1 for none) or bools are classes, floats run from low to high.
    captures : sequence of Capture, optional
        Those of ``emb.inputs``, in order: the live view then works out the whole map of the point that is kept.

    Attributes
    ----------
    paint : str
        What the colours mean: "cluster", "input", "position", "layer" (of several), "truth", a name of the mapping, or the clusters of `beside`,
        such as "cluster by map".
    moved : bool
        Whether the points stand where `beside` has them.
    selected : list of int
        The points selected, as indices into the embedding, in order.
    pinned : int
        The point that is kept, or -1.

    Raises
    ------
    TypeError, ValueError
        If `emb` is no Embedding, or an array, the captures or `beside` do not belong to it.

    Examples
    --------
    >>> import ultra_kit as uk
    >>> emb = uk.embed([uk.data.scene(0).image], model="scenes", method="pca")
    >>> view = uk.widgets.EmbeddingExplorer(emb)
    >>> view.selected = view.inside([(-9, -9), (9, -9), (9, 9), (-9, 9)])
    >>> view
    EmbeddingExplorer(144 tokens of 1 input, by cluster, 144 selected)
    """

    _name = "embedding"
    _height = 1000
    heading = "Many tokens at once, and where each comes from"

    paint = traitlets.Unicode("cluster").tag(state=True)
    moved = traitlets.Bool(False).tag(state=True)
    selected = traitlets.Any([]).tag(state=True)
    pinned = traitlets.Int(-1).tag(state=True)

    def __init__(
        self,
        emb: Embedding,
        *,
        beside: Embedding | None = None,
        truth: Any = None,
        captures: Sequence[Capture] | None = None,
    ) -> None:
        self._atlases: tuple[Embedding, ...] = (emb,) if beside is None else (emb, beside)
        for one in self._atlases:
            needs("EmbeddingExplorer", Embedding, (one,), "emb = uk.embed(inputs)")
        if captures is not None and len(captures) != len(emb.inputs):
            raise ValueError(f"captures must be the {len(emb.inputs)} of the embedding, got {len(captures)}")
        truth = {} if truth is None else truth if isinstance(truth, Mapping) else {"truth": truth}
        self._emb, self._truth, self._captures = emb, truth, captures
        self._titles = apart(*self._atlases)
        self._ways = ways(emb, truth, **dict(zip(self._titles[1:], self._atlases[1:], strict=True)))
        super().__init__()

    @traitlets.validate("paint", "pinned", "moved")
    def _known(self, proposal: Any) -> Any:
        moved = [False, True][: len(self._atlases)]
        known = {"paint": list(self._ways), "pinned": range(-1, len(self._emb)), "moved": moved}
        return must_be_one_of(proposal, known[proposal["trait"].name])

    @traitlets.validate("selected")
    def _points(self, proposal: Any) -> list[int]:
        value = proposal["value"]
        try:
            index = whole_numbers("selected", value, len(self._emb)) if np.size(value) else np.zeros(0)
        except (TypeError, ValueError) as error:
            raise traitlets.TraitError(str(error)) from error
        return np.unique(index).astype(int).tolist()

    def inside(self, polygon: Sequence[tuple[float, float]]) -> np.ndarray:
        """The points in a polygon, as the page draws them: where `beside` has them if they are `moved`.

        Parameters
        ----------
        polygon : sequence of (x, y)
            Its corners, in the units of the points.

        Returns
        -------
        ndarray of shape (K,), int64
            Indices into the embedding, in order.
        """
        q, corner, step = places(self._atlases[self.moved].points)
        x, y = (corner + step * q.astype(np.float64)).T
        odd = np.zeros(len(x), bool)
        for (x0, y0), (x1, y1) in zip(polygon, [*polygon[1:], *polygon[:1]], strict=True):
            if y0 != y1:
                odd ^= ((y0 > y) != (y1 > y)) & (x < (x1 - x0) * (y - y0) / (y1 - y0) + x0)
        return np.flatnonzero(odd)

    @cached_property
    def _page(self) -> dict[str, Any]:
        """What no trait changes: the most alike of all points take seconds."""
        return {**page_of(self._atlases, self._ways), "titles": self._titles}

    def data(self) -> dict[str, Any]:
        """The points, their colours and their inputs."""
        made = [f"of {layers_said(e.layer)}, placed by {e.by} with {e.method}" for e in self._atlases]
        said = f"Tokens {'; beside '.join(made)}. Maps are of {layers_said(self._emb.layer)}."
        shared = {"lut": colours(), "ramp": colours("viridis"), "made": said}
        return {**self._page, **shared}

    def answer(self, message: dict[str, Any]) -> tuple[dict[str, Any], list[bytes]] | None:
        """Give the points most alike in other inputs, and with captures the whole map: levels of the patches or words."""
        point = int(message["point"])
        alike = [most_alike(one, np.array([point]))[0].tolist() for one in self._atlases]
        content, buffers = {"point": point, "alike": alike}, []
        if self._captures is not None:
            number, token = self._emb.source[point].tolist()
            layer = int(self._emb.layers[point])
            row = explain(self._captures[number], layer=layer, tokens=[token]).without_own[0]
            one = self._emb.inputs[number]
            if one.layout.grid is None:
                first = one.layout.n_prefix
                row = np.array([max((row[t - first] for t in w.tokens), default=0) for w in one.words])
            buffers.append(quantise(row)[0].tobytes())
        return content, buffers

    def figure(self) -> Figure:
        """Draw the points in the colours shown, those selected before the others."""
        from ..plots import atlas

        at = self._atlases[self.moved]
        other = self.paint == f"cluster {self._titles[-1]}"
        of, paint = (self._atlases[1], "cluster") if other else (self._emb, self.paint)
        shown = replace(of, points=at.points, layer=at.layer, layers=at.layers, by=at.by)
        return atlas(shown, colour=self._truth.get(paint, paint), selected=self.selected)

    def __repr__(self) -> str:
        of = f"{len(self._emb)} tokens of {counted(len(self._emb.inputs), 'input')}"
        return f"EmbeddingExplorer({of}, by {self.paint}, {len(self.selected)} selected)"
