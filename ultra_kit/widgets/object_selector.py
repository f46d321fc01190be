"""`ObjectSelector`: point at an object, draw a box round it or name it; the mask follows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import traitlets

from ..images import pixel_relevance as masks
from ..images.selecting import best_patch, clicked_maps, select
from ..images.selection import Selection
from ..types import Capture, ExplanationMaps, Settings
from ..types.checks import needs
from .inline_pictures import image_bytes
from .map_books import made_how, quantise
from .view import View, colours

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 1200  # patches whose maps, a byte an entry, are still a page of two megabytes


class ObjectSelector(View):
    """Select an object by foreground and background points, a box or a text; the mask follows at once.

    The maps of all patches travel with the page, which repeats the steps of `ultra_kit.select` on values rounded to 1/255
    of the square root of each map's largest. Every selection is written out as a line of Python.

    Parameters
    ----------
    cap : Capture
        Of an image of at most 1200 patches.
    maps : ExplanationMaps, optional
        Maps of all patches, in place of `layer`, `score` and `rule`, which are as for `ultra_kit.explain`.
    prompts : sequence of str
        Texts on offer where no kernel runs; the live view takes any.

    Attributes
    ----------
    wanted, unwanted : list of [x, y]
        Foreground and background points, in pixels of the original image.
    box, prompt : list of 4 float, str
        [x0, y0, x1, y1] and a text; empty for none.
    threshold, history : float, list
        Relevance of the cut, 0 to 1; earlier picks, for undo.

    Raises
    ------
    ValueError, UltraError
        If the capture is of a text or too large, or there are prompts and the model shares no space with texts.

    Examples
    --------
    >>> import ultra_kit as uk
    >>> cap = uk.capture(uk.load("scenes"), uk.data.scene(3).image)
    >>> view = uk.widgets.ObjectSelector(cap, maps=uk.baselines.rollout(cap))
    >>> view.wanted = [[40, 40]]
    >>> mask = view.selection.mask
    """

    _name = "object"
    _height = 640
    heading = "Pick an object: its mask, and the relevance of every pixel"

    wanted: traitlets.List[Any] = traitlets.List().tag(state=True)
    unwanted: traitlets.List[Any] = traitlets.List().tag(state=True)
    box: traitlets.List[Any] = traitlets.List().tag(state=True)
    prompt = traitlets.Unicode().tag(state=True)
    threshold = traitlets.Float(0.5, min=0, max=1).tag(state=True)
    history: traitlets.List[Any] = traitlets.List().tag(state=True)

    def __init__(
        self,
        cap: Capture,
        *,
        maps: ExplanationMaps | None = None,
        layer: int | None = None,
        score: str | None = None,
        rule: str | None = None,
        prompts: Sequence[str] = (),
    ) -> None:
        needs("ObjectSelector", Capture, (cap,), "capture first, then ObjectSelector(cap, maps=maps)")
        if cap.layout.grid is None:
            raise ValueError("ObjectSelector needs a capture of an image, this one is of a text")
        if cap.layout.n_content > MOST:
            raise ValueError(
                f"ObjectSelector takes at most {MOST} patches, got {cap.layout.n_content}; shrink the image"
            )
        if maps is not None and not isinstance(maps, ExplanationMaps):
            raise TypeError(f"maps must be ExplanationMaps, got {type(maps).__name__}; call uk.explain")
        if isinstance(prompts, str):
            raise TypeError(f"prompts must be several texts, got {prompts!r} alone; pass [{prompts!r}]")
        self._capture = cap
        self._maps = maps if maps is not None else clicked_maps(cap, layer=layer, score=score, rule=rule)
        self._prompts = {text: best_patch(cap, text) - cap.layout.n_prefix for text in prompts}
        super().__init__()

    @property
    def selection(self) -> Selection | None:
        """What is selected now; None if nothing is picked."""
        if not (self.wanted or self.box or self.prompt):
            return None
        return select(
            self._capture,
            points=[(x, y) for x, y in self.wanted],
            unwanted=[(x, y) for x, y in self.unwanted],
            box=tuple(self.box) if self.box else None,
            text=self.prompt or None,
            maps=self._maps,
            threshold="otsu" if self.threshold == 0.5 else self.threshold,
        )

    @traitlets.validate("wanted", "unwanted")
    def _inside(self, proposal: Any) -> Any:
        try:
            points = [[float(x), float(y)] for x, y in proposal["value"]]
            for x, y in points:
                self._capture.layout.token_at(x, y)
        except (TypeError, ValueError) as error:
            raise traitlets.TraitError(f"{proposal['trait'].name} must be points (x, y): {error}") from None
        return points

    @traitlets.validate("box")
    def _real_box(self, proposal: Any) -> Any:
        try:
            value = [float(v) for v in proposal["value"]]
        except (TypeError, ValueError) as error:
            raise traitlets.TraitError(f"box must hold numbers: {error}") from None
        height, width = self._capture.layout.size or (0, 0)
        if value and not (
            len(value) == 4 and 0 <= value[0] < value[2] <= width and 0 <= value[1] < value[3] <= height
        ):
            raise traitlets.TraitError(f"box must be empty or [x0, y0, x1, y1] in the image, got {value}")
        return value

    def data(self) -> dict[str, Any]:
        """The maps, quantised, the image, and the numbers that the steps of a selection use."""
        layout, size = self._capture.layout, masks.working_size(self._capture.layout.size or (1, 1))
        values = np.zeros((layout.n_content, layout.n_content))
        values[self._maps.tokens - layout.n_prefix] = self._maps.content
        own = Settings.of(self._maps.card.get("model", {}))
        values = masks.within_reach(values, layout.grid or (1, 1), own.reach)
        np.fill_diagonal(values, 0)
        tail = select(self._capture, points=[(0, 0)], maps=self._maps).code.partition("points=[(0, 0)]")[2]
        return {
            "grid": list(layout.grid or ()),
            "size": list(layout.size or ()),
            "working": list(size),
            "image": image_bytes(self._capture.input),
            "looks": masks.looks(self._capture.input, size).tobytes(),
            "levels": quantise(np.sqrt(values))[0].tobytes(),
            "lut": colours(),
            "made": made_how(self._maps.card),
            "prompts": [[text, place] for text, place in self._prompts.items()],
            "takes_text": hasattr(self._capture.model, "encode_text"),
            "code_end": tail,
            "numbers": {"survival": masks.SURVIVAL, "slack": masks.SLACK}
            | {name: getattr(own, name) for name in ("beta", "gamma", "radius")},
        }

    def answer(self, message: dict[str, Any]) -> tuple[dict[str, Any], list[bytes]] | None:
        """The patch of a text that the live page asks for."""
        text = str(message["text"])
        return {"place": [text, best_patch(self._capture, text) - self._capture.layout.n_prefix]}, []

    def figure(self) -> Figure:
        """What is picked, the relevance and the mask; the image alone if nothing is."""
        from ..plots.selection_figures import show_selection
        from ..plots.style import draw_input, panel_size, panels

        found = self.selection
        if found is not None:
            return show_selection(found)
        figure, axes = panels(1, 1, panel=panel_size(self._capture.layout, 5.0))
        draw_input(axes[0, 0], self._capture.input, self._capture.layout)
        axes[0, 0].set_title("Nothing is picked yet")
        return figure

    def __repr__(self) -> str:
        return f"ObjectSelector({self.selection or 'nothing picked'})"
