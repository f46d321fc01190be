"""`TokenExplorer`: point at a patch and see what its latent token was made from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import traitlets

from ..types import Capture, ExplanationMaps
from .inline_pictures import image_bytes
from .token_maps import Book, Side, make_side
from .token_pages import pack, page_rows
from .view import View, colours

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Source = Capture | ExplanationMaps | Sequence[ExplanationMaps]


class TokenExplorer(View):
    """Point at a patch of an image: its token's map appears at once.

    Hover shows, a click or Enter keeps; sliders and lists change layer, score, head and scale. With two
    sources, two images or two models stand side by side, and the patch at the same place is shown in
    both. The token's own position is left out of every map: its cell shows the patch itself.

    Parameters
    ----------
    left : Capture, ExplanationMaps, or sequence of ExplanationMaps
        A capture is explained at all layers beforehand if that is little work (a small model) and the
        maps fit on a page; else a click in the live view explains one token. Several maps of one input offer
        their layers, scores and methods.
    right : the same, optional
        A second input or a second model.
    maps : ExplanationMaps, optional
        Maps of the left capture that are there already. They travel with the page also where the model
        is too large for all layers to be explained beforehand.
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
        shown = ["Input"] if right is None else ["Left", "Right"]
        shown = list(names) if names is not None else shown
        if len(shown) != len(sources):
            raise ValueError(f"names must be one a side ({len(sources)}), got {len(shown)}")
        self._sides = [make_side(s, n, scores, rules) for s, n in zip(sources, shown, strict=True)]
        first = self._sides[0]
        if maps is not None:
            first.add(maps)
        (h, w), start = first.layout.grid or (1, 1), first.layout.n_prefix
        pinned = start + (h // 2) * w + w // 2  # the middle of the image, if it is there
        kind = self.kinds[0]
        if not first.books:
            first.work_out(kind, max(self.layers), [pinned])
        layer = max(k for name, k in first.books if name == kind)
        tokens = first.books[kind, layer].maps.tokens
        super().__init__(pinned=int(tokens[abs(tokens - pinned).argmin()]), layer=layer, kind=kind)

    @property
    def layers(self) -> list[int]:
        """The layers on offer, in order."""
        asked = [range(1, s.capture.n_layers + 1) for s in self._sides if s.capture is not None]
        return sorted({k for s in self._sides for _, k in s.books} | {k for r in asked for k in r})

    @property
    def kinds(self) -> list[str]:
        """The ways of making a map on offer: method, score and rule."""
        return list(dict.fromkeys(k for s in self._sides for k in (*s.kinds, *(b for b, _ in s.books))))

    @property
    def maps(self) -> ExplanationMaps | None:
        """The maps of the side, kind and layer shown, as far as they are there."""
        book = self._sides[self.side].books.get((self.kind, self.layer))
        return None if book is None else book.maps

    @traitlets.validate("side", "layer", "kind", "head", "pinned")
    def _known(self, proposal: Any) -> Any:
        name, value = proposal["trait"].name, proposal["value"]
        if name == "pinned":
            top = self._sides[self.side].layout.n_tokens - 1
            allowed, text = 0 <= value <= top, f"a token in 0..{top}"
        else:
            options = {"side": range(len(self._sides)), "layer": self.layers, "kind": self.kinds}
            known = options.get(name, range(-1, self._n_heads + 1))
            allowed, text = value in known, f"one of {', '.join(map(str, known))}"
        if not allowed:
            raise traitlets.TraitError(f"{name} must be {text}, got {value!r}")
        return value

    @property
    def _n_heads(self) -> int:
        """H, where the maps can be split by head; else 0."""
        counts = [b.heads.shape[1] - 1 for s in self._sides for b in s.books.values() if b.heads is not None]
        return max(counts, default=0)

    def data(self) -> dict[str, Any]:
        """The maps, quantised, with the images; see `ultra_kit.widgets.token_pages.pack`."""
        images = {
            f"image{i}": image_bytes(np.asarray(side.input))
            for i, side in enumerate(self._sides)
            if side.input is not None
        }
        lists = {"layers": self.layers, "kinds": self.kinds, "n_heads": self._n_heads}
        return {**pack(self._sides, (self.kind, self.layer)), **images, **lists, "lut": colours()}

    def answer(self, message: dict[str, Any]) -> tuple[dict[str, Any], list[bytes]] | None:
        """Give the map of one token that the page has not, explained now if it has to be."""
        side = self._sides[int(message["side"])]
        kind, layer, token = str(message["kind"]), int(message["layer"]), int(message["token"])
        book = side.books.get((kind, layer))
        if book is None or token not in book.maps.tokens:
            book = side.work_out(kind, layer, [token])
        part = page_rows(book, with_heads=True, tokens=[token])
        row = {**part.about, "side": message["side"], "kind": kind, "layer": layer}
        return {"row": row}, [a.tobytes() for a in (part.levels, part.largest, part.prefix)]

    def figure(self) -> Figure:
        """Draw image and map of the pinned token, a row a side."""
        from ..plots.style import draw_input, mark_patch, panel_size, panels, place, styled

        @styled
        def draw() -> Figure:
            with panels(len(self._sides), 2, panel=panel_size(self._sides[0].layout, 5.0)) as (figure, axes):
                for row, side, token in zip(axes, self._sides, self._tokens(), strict=True):
                    draw_input(row[0], side.input, side.layout)
                    mark_patch(row[0], side.layout, token)
                    row[0].set_title(f"{side.name}, {place(side.layout, token)}"[:60])
                    self._draw_map(row[1], side, token)
            return figure

        return draw()

    def _draw_map(self, ax: Any, side: Side, token: int) -> None:
        from ..plots.map_figures import show_map

        book = side.books.get((self.kind, self.layer))
        row = np.flatnonzero(book.maps.tokens == token) if book is not None else np.zeros(0, int)
        if book is None or not len(row):
            ax.set_axis_off()
            ax.text(0.5, 0.5, "not worked out", ha="center", va="center", transform=ax.transAxes)
            return
        show_map(
            self._one(book, row), token, ax=ax, highest=self._shared_top() if self.scale == "shared" else None
        )
        head = {0: "", -1: ", past the heads"}.get(self.head, f", head {self.head}")
        ax.set_title(f"{self.kind}, layer {self.layer}{head}")

    def _one(self, book: Book, row: np.ndarray) -> ExplanationMaps:
        """The pinned token's map, or what of it came through a head."""
        m = book.maps
        values = m.values[row]
        if self.head and book.heads is not None:
            values = book.heads[row, max(self.head, 0)]
        return ExplanationMaps(
            values, m.tokens[row], m.layer, m.layout, m.method, m.score, m.rule, m.input, m.card
        )

    def _shared_top(self) -> float:
        books = [s.books.get((self.kind, self.layer)) for s in self._sides]
        return max(float(b.maps.without_own.max()) for b in books if b is not None)

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
