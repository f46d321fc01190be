"""What every view is: a result that does not change, a state that does, and the hosts it is shown in."""

from __future__ import annotations

import os
from abc import ABCMeta, abstractmethod
from base64 import b64encode
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import traitlets

from ..types import UltraError
from ..types.whole_file import whole_file
from .inline_pictures import data_address
from .page_host import framed, view, view_script, view_style

if TYPE_CHECKING:
    from anywidget import AnyWidget
    from matplotlib.figure import Figure


_STILL_DPI = 60


class _ViewType(traitlets.MetaHasTraits, ABCMeta):
    """The class of classes of views: traits as in traitlets, and what a view must define."""


class View(traitlets.HasTraits, metaclass=_ViewType):
    """Base of all views: a subclass defines `data` and `figure`; ``README.md`` in this folder says how to add one."""

    _name: ClassVar[str]
    _height: ClassVar[int] = 560
    heading: ClassVar[str] = ""  # of its page; the name of the class where it is empty

    @abstractmethod
    def data(self) -> dict[str, Any]:
        """What the page needs and never changes: JSON-able values and bytes, by name."""

    @abstractmethod
    def figure(self) -> Figure:
        """Draw the current state as a matplotlib figure."""

    def answer(self, message: dict[str, Any]) -> tuple[dict[str, Any], list[bytes]] | None:
        """Answer what the live page asks for: content and buffers, or None for no answer."""
        return None

    @property
    def state(self) -> dict[str, Any]:
        """What the user can change, by name; each is an attribute that can be set."""
        return {name: getattr(self, name) for name in sorted(self.traits(state=True))}

    def live(self) -> AnyWidget:
        """Connect the view to the running kernel: clicks set its attributes, which redraw it. Not stored in notebooks."""
        if not hasattr(self, "_live"):
            self._live = _make_live(self)
        return self._live

    def fragment(self, *, with_still: bool = True) -> str:
        """HTML of the view for a page, without a frame: script, state, and a picture for readers without scripts."""
        still = f'<img class="uk-still" alt="" src="{data_address(self._still())}">' if with_still else ""
        return view(self._name, {**self._constant(), **self.state, "has_kernel": False}, still=still)

    def _still(self) -> bytes:
        from ..plots.style import plain

        return _png(plain(self.figure()))

    def _constant(self) -> dict[str, Any]:
        """`data`, whose names must not be those of the state: the page has one model for both."""
        found = self.data()
        both = sorted({*found, "has_kernel"} & {*self.state})
        if both:
            raise UltraError(f"data() and the state of {type(self).__name__} share names: {', '.join(both)}")
        return found

    def save_png(self, path: str | os.PathLike[str]) -> Path:
        """Write the current state as a PNG; returns where it lies."""
        return self._save(path, "png")

    def save_svg(self, path: str | os.PathLike[str]) -> Path:
        """Write the current state as an SVG; returns where it lies."""
        return self._save(path, "svg")

    def _save(self, path: str | os.PathLike[str], kind: str) -> Path:
        import matplotlib

        from ..plots.style import plain

        # No date and no random names inside: the same state gives the same file.
        options: dict[str, Any] = {"metadata": {"Date": None}} if kind == "svg" else {"dpi": 150}
        with whole_file(path) as partial, matplotlib.rc_context({"svg.hashsalt": self._name}):
            plain(self.figure()).savefig(partial, format=kind, bbox_inches="tight", **options)
        return Path(path)

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        still, text, body = self._still(), repr(self), self.fragment(with_still=False)
        return {
            "text/html": framed(body, title=text, still=still, height=self._height),
            "image/png": b64encode(still).decode(),
            "text/plain": text,
        }

    def __setattr__(self, name: str, value: Any) -> None:
        # A misspelt name would otherwise be taken in silence.
        if not name.startswith("_") and not hasattr(type(self), name):
            raise AttributeError(
                f"{type(self).__name__} has no attribute {name!r}; its state is {', '.join(self.state)}"
            )
        super().__setattr__(name, value)

    def __repr__(self) -> str:
        state = ", ".join(f"{name}={value!r}" for name, value in self.state.items())
        return f"{type(self).__name__}({state})"


def _make_live(owner: View) -> AnyWidget:
    """A widget with a synced trait for every entry of data and state, those of the state linked to the view's."""
    from anywidget import AnyWidget

    constant = {**owner._constant(), "has_kernel": True}
    traits = {name: traitlets.Any().tag(sync=True) for name in (*constant, *owner.state)}
    taken = sorted(name for name in traits if hasattr(AnyWidget, name))
    if taken:
        raise UltraError(f"{type(owner).__name__} uses names that widgets have: {', '.join(taken)}")
    # anywidget tells styles apart by the name of the class.
    parts = {"_esm": view_script(owner._name), "_css": view_style(owner._name), "__module__": __name__}
    widget = type(f"Live_{owner._name}", (AnyWidget,), {**traits, **parts})(**constant, **owner.state)

    def from_page(event: Any) -> None:
        try:
            setattr(owner, event.name, event.new)
        except traitlets.TraitError as error:
            widget.send({"error": str(error)})
        setattr(widget, event.name, getattr(owner, event.name))  # refused or put right, the page follows

    names = list(owner.state)
    owner.observe(lambda event: setattr(widget, event.name, event.new), names)
    widget.observe(from_page, names)

    def asked(_: AnyWidget, content: Any, buffers: Any) -> None:
        try:
            answer = owner.answer(content)
        except (UltraError, ValueError, TypeError) as error:
            answer = ({"error": str(error)}, [])
        if answer is not None:
            widget.send(*answer)

    widget.on_msg(asked)
    return widget


def what_if(sentence: str, figure: Figure) -> tuple[dict[str, Any], list[bytes]]:
    """The answer to a page that takes away what a map names: what became of it in words, and as a picture."""
    return {"what_if": sentence}, [_png(figure)]


def _png(figure: Figure) -> bytes:
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=_STILL_DPI, bbox_inches="tight")
    return buffer.getvalue()


def colours(name: str = "inferno") -> bytes:
    """The colours of a map, from 0 to its largest value, or of another scale: 256 x RGB, those of `ultra_kit.plots`."""
    import matplotlib

    return matplotlib.colormaps[name](np.arange(256), bytes=True)[:, :3].tobytes()


def must_be_one_of(proposal: Any, known: Sequence[Any]) -> Any:
    """The value proposed for a trait; a TraitError unless it is one of the known."""
    name, value = proposal["trait"].name, proposal["value"]
    if value not in known:
        text = f"one of {', '.join(map(repr, known))}"
        if isinstance(known, range):
            text = f"in {known[0]}..{known[-1]}"
        raise traitlets.TraitError(f"{name} must be {text}, got {value!r}")
    return value
