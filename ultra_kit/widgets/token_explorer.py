"""`TokenExplorer`: point at a patch and see what its latent token was made from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, cast

import traitlets

from ..maps.baselines import random_map
from ..runs.intervening import Intervention, intervene
from ..runs.perturbing import Perturbation, perturb
from ..types import Capture, ExplanationMaps, Layout
from .inline_pictures import image_bytes
from .map_books import Key, answer_of, key_of
from .token_books import Side, Source, pack_sides, page_form
from .view import View, colours, must_be_one_of, what_if

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class TokenExplorer(View):
    """Point at a patch of an image: its token's map appears at once.

    Hover shows, a click or Enter keeps. Two images or two models stand side by side, with the patch at the same place
    in both. The token's own position is left out: its cell shows the patch itself. Where a token's whole map is not
    there, its map over the last block alone stands in for it, and says so.

    Parameters
    ----------
    left, right : Capture, ExplanationMaps, or sequence of ExplanationMaps
        A capture is explained at all layers beforehand if that is little work (a small model) and the maps fit on a
        page; else over the last block of each layer, which takes a moment, and the live view works out the whole maps
        one after the other, that under the pointer first. Several maps of one input offer what they are.
    maps : ExplanationMaps, optional
        Maps of the left capture that are there already: they travel with the page whatever the model's size.
    names, scores, rules : sequence of str
        What stands above the sides, and what is offered of a capture (the model's own settings, if nothing is said);
        see `ultra_kit.explain`.

    Attributes
    ----------
    side, pinned : int
        0 or 1, and the token of that side that is kept, prefix tokens counted.
    layer, since, kind, head : int, int, str, int
        Which map: of ``layers`` and ``kinds``, among the tokens of layer `since` (or those right below `layer`, if that is
        lower); whole (0), through head h of that block, or past the heads (-1).
    scale, prefix : {"own", "shared"}, bool
        Colours up to the map's own largest value or the layer's, and whether the prefix tokens are shown.

    Raises
    ------
    TypeError, ValueError
        If a source is no such thing, is of a text or empty, or mixes inputs.

    Examples
    --------
    >>> import ultra_kit as uk
    >>> cap = uk.capture(uk.load("scenes"), uk.data.scene(0).image)
    >>> view = uk.widgets.TokenExplorer(uk.explain(cap, layer=4, tokens=[30, 31]))
    >>> view.pinned = 31
    >>> view
    TokenExplorer(12x12 patches, layer 4, ULTra: norm, positive, pinned=31)
    """

    _name = "token"
    _height = 640
    heading = "What each token of an image was made from"

    pinned = traitlets.Int().tag(state=True)
    side = traitlets.Int(0).tag(state=True)
    layer = traitlets.Int().tag(state=True)
    since = traitlets.Int(0).tag(state=True)
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
        scores: Sequence[str] | None = None,
        rules: Sequence[str] | None = None,
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
        shown = first.start if maps is None else key_of(maps)
        if first.makes(shown):
            first.work_out(shown, [pinned])
        tokens = first.books[shown].rows
        pinned = int(tokens[abs(tokens - pinned).argmin()])
        super().__init__(pinned=pinned, layer=shown.layer, since=shown.since, kind=shown.kind)

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
    def _layers(self) -> str:
        return f"{self.layer} since {self._key.since}" if self._key.since else str(self.layer)

    @property
    def _key(self) -> Key:
        return Key(self.kind, self.layer, since=max(0, min(self.since, self.layer - 1)))

    @traitlets.validate("side", "layer", "since", "kind", "head", "pinned")
    def _known(self, proposal: Any) -> Any:
        known = {
            "side": range(len(self._sides)),
            "layer": self.layers,
            "since": range(max(1, *self.layers, 1)),
            "kind": self.kinds,
            "head": range(-1, self._n_heads + 1),
            "pinned": range(self._sides[self.side].layout.n_tokens),
        }
        return must_be_one_of(proposal, known[proposal["trait"].name])

    @property
    def _n_heads(self) -> int:
        """H, where the maps can be split by head; else 0."""
        books = [book for side in self._sides for book in side.books.values() if "heads" in book.parts]
        return max((book.parts["heads"].shape[1] - 1 for book in books), default=0)

    def fragment(self, *, with_still: bool = True) -> str:
        """HTML of the view; a page holds the token shown since every layer, where there is a capture."""
        self._work_out_shown(range(self.layer))
        return super().fragment(with_still=with_still)

    def _work_out_shown(self, sinces: Iterable[int] = ()) -> None:
        """Make the maps of the token that is kept, at the layer shown, where they can be made."""
        own, key = self._sides[self.side].layout, self._key
        for side in self._sides:
            if side.makes(key):
                for since in {key.since, *sinces}:
                    side.work_out(key._replace(since=since), [_counterpart(own, side.layout, self.pinned)])

    def data(self) -> dict[str, Any]:
        """The maps, quantised, with the images."""
        self._work_out_shown()
        images = {f"image{i}": image_bytes(s.input) for i, s in enumerate(self._sides) if s.input is not None}
        lists = {"layers": self.layers, "kinds": self.kinds, "n_heads": self._n_heads}
        return {**pack_sides(self._sides, self._key), **images, **lists, "lut": colours()}

    def what_if(self, share: float = 0.1, *, token: int | None = None, keep: bool = False) -> Intervention:
        """What becomes of a token, by default the pinned one, without the patches that the map shown names (`ultra_kit.intervene`).

        With `keep` nothing but these stays. `share` is that of the other patches. A ValueError where the view was given maps,
        not a capture.
        """
        token = self.pinned if token is None else token
        cap, maps = self._map_of(token)
        named: dict[str, Any] = {"keep" if keep else "remove": maps.top(token, share)}
        return intervene(cap, token=token, layer=maps.layer, **named)

    def deletion(self, *, token: int | None = None) -> tuple[ExplanationMaps, dict[str, Perturbation]]:
        """The map shown of a token, by default the pinned one, and what becomes of that token as the patches it names go.

        Beside it stands the same in an order by chance: what `ultra_kit.plots.map_and_deletion` draws. A ValueError where the
        view was given maps, not a capture.
        """
        token = self.pinned if token is None else token
        cap, maps = self._map_of(token)
        orders = {"this map": maps, "by chance": random_map(cap, layer=maps.layer, tokens=[token])}
        return maps, {name: perturb(cap, order) for name, order in orders.items()}

    def _map_of(self, token: int) -> tuple[Capture, ExplanationMaps]:
        """The map shown of a token, worked out if it isn't there, and the capture that it is of."""
        side = self._sides[self.side]
        if side.capture is None:
            raise ValueError("to take patches away the view needs a capture: TokenExplorer(cap)")
        side.work_out(self._key, [token])
        return side.capture, cast(ExplanationMaps, side.maps(self._key, [token]))

    def answer(self, message: dict[str, Any]) -> tuple[dict[str, Any], list[bytes]] | None:
        """Give the map of one token that the page has not, explained now if it has to be; without a token the next few."""
        if "what_if" in message:
            return self._what_becomes(int(message["what_if"]), message)
        number, token = int(message["side"]), message.get("token")
        key = Key(str(message["kind"]), int(message["layer"]), since=int(message.get("since", 0)))
        side = self._sides[number]
        rows = side.next_rows(key) if token is None else [int(token)]
        book = side.work_out(key, rows).only(rows)
        return answer_of(page_form((number, key), book), book.rows)

    def _what_becomes(self, token: int, message: dict[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
        """The answer to a page that asks what becomes of a token without, or with only, the patches that its map names."""
        from ..plots import map_and_deletion, show_intervention

        if message.get("curve"):
            maps, found = self.deletion(token=token)
            mine, chance = (p.areas["deletion"] for p in found.values())
            said = f"area under the curve {mine:.3f}, by chance {chance:.3f}; the lower, the more the token rests on what its map names"
            return what_if(said, map_and_deletion(maps, found))
        one = self.what_if(token=token, keep=bool(message.get("keep")))
        return what_if(one.sentence, show_intervention(one))

    def figure(self) -> Figure:
        """Draw image and map of the pinned token, a row per side."""
        from ..plots import style
        from ..plots.map_figures import show_map

        self._work_out_shown()
        there = [maps for side in self._sides if (maps := side.maps(self._key)) is not None]
        top = max((float(m.without_own.max()) for m in there), default=0) if self.scale == "shared" else None
        own = self._sides[self.side].layout
        head = {0: "", -1: ", past the heads"}.get(self.head, f", head {self.head}")

        @style.styled
        def draw() -> Figure:
            panel = style.panel_size(self._sides[0].layout, 5.0)
            figure, axes = style.panels(len(self._sides), 2, panel=panel)
            for (left, right), side in zip(axes, self._sides, strict=True):
                token = _counterpart(own, side.layout, self.pinned)
                style.draw_input(left, side.input, side.layout)
                style.mark_patch(left, side.layout, token)
                left.set_title(f"{side.name}, {side.layout.place_of(token)}"[:60])
                maps = side.maps(self._key, [token], head=self.head)
                if maps is None or not len(maps):
                    right.set_axis_off()
                    centred = {"ha": "center", "va": "center", "transform": right.transAxes}
                    right.text(0.5, 0.5, "not worked out", **centred)
                    continue
                show_map(maps, token, ax=right, highest=top)
                right.set_title(f"{self.kind}, layer {self._layers}{head}")
            return figure

        return draw()

    def __repr__(self) -> str:
        grids = " and ".join("{}x{}".format(*(s.layout.grid or (0, 0))) for s in self._sides)
        return f"TokenExplorer({grids} patches, layer {self._layers}, {self.kind}, pinned={self.pinned})"


def _counterpart(own: Layout, other: Layout, token: int) -> int:
    """The token of another side at the same place."""
    if own is other or token < own.n_prefix:
        return min(token, other.n_tokens - 1)
    (x, y), (height, width) = own.center_of(token), own.size or (1, 1)
    h, w = other.size or (1, 1)
    return other.token_at(x / width * w, y / height * h)
