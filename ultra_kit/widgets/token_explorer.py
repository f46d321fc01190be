"""`TokenExplorer`: point at a patch and see what its latent token was made from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import traitlets

from ..types import ExplanationMaps
from .inline_pictures import image_bytes
from .map_books import Key, answer_of
from .token_books import Side, Source, pack_sides, page_form
from .view import View, colours, must_be_one_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class TokenExplorer(View):
    """Point at a patch of an image: its token's map appears at once.

    Hover shows, a click or Enter keeps. With two sources, two images or two models stand side by side, and the
    patch at the same place is shown in both. The token's own position is left out of every map: its cell shows the
    patch itself.

    Parameters
    ----------
    left : Capture, ExplanationMaps, or sequence of ExplanationMaps
        A capture is explained at all layers beforehand if that is little work (a small model) and the maps fit on a
        page; else a click in the live view explains one token. Several maps of one input offer what they are.
    right : the same, optional
        A second input or a second model.
    maps : ExplanationMaps, optional
        Maps of the left capture that are there already: they travel with the page whatever the model's size.
    names : sequence of str, optional
        What stands above the sides.
    scores, rules : sequence of str
        What is offered of a capture; see `ultra_kit.explain`.

    Attributes
    ----------
    pinned : int
        The token that is kept, prefix tokens counted.
    side : int
        0 or 1: whose token it is.
    layer : int
    kind : str
        Method, score and rule: one of ``kinds``.
    head : int
        0 the whole map; h what came through head h of block `layer`; -1 what passed the heads by.
    scale : {"own", "shared"}
        Colours from 0 to the map's own largest value, or to the largest of the layer, both sides.
    prefix : bool
        Whether the prefix tokens are shown.

    Raises
    ------
    TypeError, ValueError
        If a source is no such thing, is of a text or empty, or mixes inputs.

    Examples
    --------
    >>> import numpy as np
    >>> import ultra_kit as uk
    >>> layout = uk.types.Layout("image", n_prefix=1, grid=(2, 3), size=(16, 24))
    >>> maps = uk.types.ExplanationMaps(np.eye(7, dtype="float32")[1:], np.arange(1, 7), 4, layout)
    >>> view = uk.widgets.TokenExplorer(maps)
    >>> view.pinned = 2
    >>> view
    TokenExplorer(2x3 patches, layer 4, ULTra: norm, positive, pinned=2)
    """

    _name = "token"
    _height = 640

    pinned = traitlets.Int().tag(state=True)
    side = traitlets.Int(0).tag(state=True)
    layer = traitlets.Int().tag(state=True)
    kind = traitlets.Unicode().tag(state=True)
    head = traitlets.Int(0).tag(state=True)
    scale = traitlets.Enum(["own", "shared"], "own").tag(state=True)
    prefix = traitlets.Bool(False).tag(state=True)

    def __init__(
        self,
        left: Source,
        right: Source | None = None,
        *,
        maps: ExplanationMaps | None = None,
        names: Sequence[str] | None = None,
        scores: Sequence[str] = ("norm",),
        rules: Sequence[str] = ("positive",),
    ) -> None:
        sources = [left] if right is None else [left, right]
        if names is None:
            names = ["Input"] if right is None else ["Left", "Right"]
        if len(names) != len(sources):
            raise ValueError(f"names must be one per side ({len(sources)}), got {len(names)}")
        self._sides = [Side(s, n, scores, rules) for s, n in zip(sources, names, strict=True)]
        first = self._sides[0]
        if maps is not None:
            first.add(maps)
        (h, w), start = first.layout.grid or (1, 1), first.layout.n_prefix
        pinned = start + (h // 2) * w + w // 2  # the middle of the image, if it is there
        kind = self.kinds[0]
        if not first.books:
            first.work_out(Key(kind, max(self.layers)), [pinned])
        layer = max(key.layer for key in first.books if key.kind == kind)
        tokens = first.books[Key(kind, layer)].rows
        super().__init__(pinned=int(tokens[abs(tokens - pinned).argmin()]), layer=layer, kind=kind)

    @property
    def layers(self) -> list[int]:
        """The layers on offer, in order."""
        return sorted({layer for side in self._sides for layer in side.layers})

    @property
    def kinds(self) -> list[str]:
        """The ways of making a map on offer: method, score and rule."""
        return list(dict.fromkeys(kind for side in self._sides for kind in side.kinds))

    @property
    def maps(self) -> ExplanationMaps | None:
        """The maps of the side, kind and layer shown, as far as they are there."""
        return self._sides[self.side].maps(self._key)

    @property
    def _key(self) -> Key:
        return Key(self.kind, self.layer)

    @traitlets.validate("side", "layer", "kind", "head", "pinned")
    def _known(self, proposal: Any) -> Any:
        name, value = proposal["trait"].name, proposal["value"]
        if name == "pinned":
            top = self._sides[self.side].layout.n_tokens - 1
            if not 0 <= value <= top:
                raise traitlets.TraitError(f"pinned must be a token in 0..{top}, got {value!r}")
            return value
        heads = range(-1, self._n_heads + 1)
        known = {"side": range(len(self._sides)), "layer": self.layers, "kind": self.kinds, "head": heads}
        return must_be_one_of(name, value, known[name])

    @property
    def _n_heads(self) -> int:
        """H, where the maps can be split by head; else 0."""
        books = [book for side in self._sides for book in side.books.values() if "heads" in book.parts]
        return max((book.parts["heads"].shape[1] - 1 for book in books), default=0)

    def data(self) -> dict[str, Any]:
        """The maps, quantised, with the images."""
        images = {
            f"image{i}": image_bytes(np.asarray(side.input))
            for i, side in enumerate(self._sides)
            if side.input is not None
        }
        lists = {"layers": self.layers, "kinds": self.kinds, "n_heads": self._n_heads}
        return {**pack_sides(self._sides, self._key), **images, **lists, "lut": colours()}

    def answer(self, message: dict[str, Any]) -> tuple[dict[str, Any], list[bytes]] | None:
        """Give the map of one token that the page has not, explained now if it has to be."""
        number, token = int(message["side"]), int(message["token"])
        key = Key(str(message["kind"]), int(message["layer"]))
        book = self._sides[number].work_out(key, [token]).only([token])
        about, parts = page_form(key, book, side=number)
        return answer_of(about, book.rows, parts)

    def figure(self) -> Figure:
        """Draw image and map of the pinned token, a row a side."""
        from ..plots import style
        from ..plots.map_figures import show_map

        top = self._shared_top() if self.scale == "shared" else None
        head = {0: "", -1: ", past the heads"}.get(self.head, f", head {self.head}")

        @style.styled
        def draw() -> Figure:
            panel = style.panel_size(self._sides[0].layout, 5.0)
            figure, axes = style.panels(len(self._sides), 2, panel=panel)
            for (left, right), side, token in zip(axes, self._sides, self._tokens(), strict=True):
                style.draw_input(left, side.input, side.layout)
                style.mark_patch(left, side.layout, token)
                left.set_title(f"{side.name}, {style.place(side.layout, token)}"[:60])
                maps = side.maps(self._key, [token], head=self.head)
                if maps is None or not len(maps):
                    right.set_axis_off()
                    centred = {"ha": "center", "va": "center", "transform": right.transAxes}
                    right.text(0.5, 0.5, "not worked out", **centred)
                    continue
                show_map(maps, token, ax=right, highest=top)
                right.set_title(f"{self.kind}, layer {self.layer}{head}")
            return figure

        return draw()

    def _shared_top(self) -> float:
        found = [side.maps(self._key) for side in self._sides]
        return max((float(maps.without_own.max()) for maps in found if maps is not None), default=0.0)

    def _tokens(self) -> list[int]:
        """The pinned token on every side: on the other side the patch at the same place."""
        own = self._sides[self.side].layout
        out = []
        for layout in (side.layout for side in self._sides):
            if layout is own or self.pinned < own.n_prefix:
                out.append(min(self.pinned, layout.n_tokens - 1))
                continue
            (x, y), (height, width) = own.center_of(self.pinned), own.size or (1, 1)
            h, w = layout.size or (1, 1)
            out.append(layout.token_at(x / width * w, y / height * h))
        return out

    def __repr__(self) -> str:
        grids = " and ".join("{}x{}".format(*(s.layout.grid or (0, 0))) for s in self._sides)
        return f"TokenExplorer({grids} patches, layer {self.layer}, {self.kind}, pinned={self.pinned})"
