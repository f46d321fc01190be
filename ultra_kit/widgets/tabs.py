"""`workbench`: the views of one input as tabs of one view."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import traitlets

from ..images.clustering import segment
from ..maps.explanation import explain
from ..maps.forward_pass import capture
from ..models.loading import load
from ..text.summarizing import summarize
from ..types import Settings
from .object_selector import MOST, ObjectSelector
from .page_host import view
from .segment_explorer import SegmentExplorer
from .summary_explorer import SummaryExplorer
from .token_explorer import TokenExplorer
from .view import View, must_be_one_of

if TYPE_CHECKING:
    from ipywidgets import Tab
    from matplotlib.figure import Figure


class Workbench(View):
    """Views as tabs; made by `workbench`, or of any views.

    Parameters
    ----------
    views : mapping of str to View
        Titles and views, in the order of the tabs. Their state is theirs: ``bench["Tokens"].pinned``.

    Attributes
    ----------
    tab : int
        Number of the tab shown.

    Raises
    ------
    TypeError, ValueError
        If something is no view, or there is none.
    """

    _name = "workbench"
    _height = 900
    heading = "Workbench"

    tab = traitlets.Int(0).tag(state=True)

    def __init__(self, views: Mapping[str, View]) -> None:
        if not isinstance(views, Mapping):
            raise TypeError(f"views must map titles to views, got {type(views).__name__}")
        for title, one in views.items():
            if not isinstance(title, str) or not isinstance(one, View):
                raise TypeError(f"views must map titles to views, got {title!r}: {type(one).__name__}")
        if not views:
            raise ValueError("views must hold at least one view, got none")
        self._views = dict(views)
        super().__init__()

    @property
    def views(self) -> dict[str, View]:
        """The views by their titles."""
        return dict(self._views)

    def __getitem__(self, title: str) -> View:
        if title not in self._views:
            raise KeyError(f"no tab {title!r}; there are {', '.join(self._views)}")
        return self._views[title]

    @traitlets.validate("tab")
    def _there(self, proposal: Any) -> Any:
        return must_be_one_of(proposal, range(len(self._views)))

    def data(self) -> dict[str, Any]:
        """The titles; the views bring their own."""
        return {"titles": list(self._views)}

    def fragment(self, *, with_still: bool = True) -> str:
        """HTML of the tabs and of the views in them."""
        # Written without `hidden`: where scripts do not run, the views' stills stand one below the other.
        parts = [one.fragment(with_still=with_still) for one in self._views.values()]
        tabs = (f'<div class="uk-tab">{part}</div>' for part in parts)
        bar = view(self._name, {**self.data(), **self.state, "has_kernel": False})
        return f'<div class="uk-workbench">{"".join(tabs)}{bar}</div>'

    def live(self) -> Tab:  # type: ignore[override]
        """Connect the views to the running kernel, as tabs whose number is linked with `tab`."""
        if not hasattr(self, "_live"):
            from ipywidgets import Tab

            made = Tab([one.live() for one in self._views.values()], titles=list(self._views))
            made.selected_index = self.tab
            traitlets.link((self, "tab"), (made, "selected_index"))
            self._live = made
        return self._live

    def figure(self) -> Figure:
        """Draw the view of the tab shown."""
        return list(self._views.values())[self.tab].figure()

    def __repr__(self) -> str:
        return f"Workbench({', '.join(self._views)})"


def workbench(model: Any, input: Any, *, layer: int | None = None, since: int | None = None) -> Workbench:
    """Open the views of one input as tabs: tokens, segments and objects of an image, the summary of a text.

    It opens at once: where the maps of all tokens are much work, segments and objects are made from those over the last
    block alone, which they say, and the live view of the tokens works out the whole maps one after the other.

    Parameters
    ----------
    model : str, nn.Module or backbone
        As for `ultra_kit.load`; for a text a model that can write a summary.
    input : image or str
        As for `ultra_kit.capture`; a document is summarised first.
    layer : int
        What the views begin with: 1..L, or negative from the end (else a ValueError); by default the model's own.
    since : int, optional
        As for `ultra_kit.explain`: makes all maps of an image since that layer first, 0 the whole ones, whatever it takes.

    Returns
    -------
    Workbench

    Examples
    --------
    >>> import ultra_kit as uk
    >>> uk.widgets.workbench("scenes", uk.data.scene(0).image, layer=4)
    Workbench(Tokens, Segments, Objects)
    """
    backbone = load(model)
    if backbone.modality == "text":
        summary = SummaryExplorer(s := summarize(backbone, input))
        if layer is not None:
            summary.layer = s.capture.layer_index(layer)
        return Workbench({"Summary": summary})
    cap = capture(backbone, input)
    number = cap.layer_index(Settings.of(backbone).layer if layer is None else layer)
    if number == 0:
        raise ValueError("layer must be 1 or more: at layer 0 every token is made from itself alone")
    tokens = TokenExplorer(cap, maps=None if since is None else explain(cap, layer=number, since=since))
    tokens.layer = number
    maps = tokens.maps
    if maps is None or len(maps) < cap.layout.n_content:
        maps = explain(cap, layer=number, since=-1)
    views = {"Tokens": tokens, "Segments": SegmentExplorer(segment(maps))}
    if cap.layout.n_content <= MOST:
        own = layer is None and Settings.of(backbone).transform
        views["Objects"] = ObjectSelector(cap, maps=None if own else maps)
    return Workbench(views)
