"""Figures of explanation maps over their image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from ..types import Capture, ExplanationMaps
from .style import (
    GROUND,
    draw_input,
    extent,
    figure_of,
    map_colours,
    mark_patch,
    panel_size,
    panels,
    place,
    styled,
)

Scale = Literal["own", "shared"]


@styled
def show_map(
    maps: ExplanationMaps,
    token: int | None = None,
    *,
    ax: Axes | None = None,
    smooth: bool = False,
    highest: float | None = None,
) -> Figure:
    """Draw one token's map over the image, with a colour bar; its own patch is outlined.

    The outlined cell shows the patch itself, in place of the spike that is always there
    (`ExplanationMaps.without_own`).

    Parameters
    ----------
    maps : ExplanationMaps
        Of an image.
    token : int, optional
        One of ``maps.tokens``; the first by default.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.
    smooth : bool, default False
        Resize bicubically to the image in place of one square a patch.
    highest : float, optional
        Value of the lightest colour, to compare figures; the map's own largest by default. The
        darkest is 0.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If the maps are of a text, or hold no map of the token.

    Examples
    --------
    >>> import numpy as np
    >>> from ultra_kit.types import ExplanationMaps, Layout
    >>> layout = Layout("image", n_prefix=0, grid=(2, 4), size=(16, 32))
    >>> maps = ExplanationMaps(np.eye(8, dtype="float32"), np.arange(8), 3, layout)
    >>> show_map(maps, 5).axes[0].get_title()
    'patch (1, 1), layer 3'
    """
    token = int(maps.tokens[0]) if token is None else token
    if ax is None:
        with panels(1, 1, panel=panel_size(maps.layout, 6.4)) as (figure, axes):
            _map_with_bar(axes[0, 0], maps, token, smooth, highest)
        return figure
    _map_with_bar(ax, maps, token, smooth, highest)
    return figure_of(ax)


@styled
def layer_strip(
    source: Capture | Sequence[ExplanationMaps],
    token: int,
    *,
    scale: Scale = "own",
    smooth: bool = False,
    **options: Any,
) -> Figure:
    """Draw the same token's map at one layer after the other, after the image.

    Parameters
    ----------
    source : Capture or sequence of ExplanationMaps
        One entry a layer; of a capture, every layer from 1 on is explained.
    token : int
        Must be in every ``maps.tokens``.
    scale : {"own", "shared"}
        Each panel's colours run from 0 to its own largest value, or to the largest of all panels.
    smooth : bool, default False
        As in `show_map`.
    **options
        Passed to `ultra_kit.explain` if `source` is a capture.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        As `show_map`, or if the sequence is empty or `scale` is unknown.

    Examples
    --------
    >>> import numpy as np
    >>> from ultra_kit.types import ExplanationMaps, Layout
    >>> layout = Layout("image", n_prefix=0, grid=(2, 4), size=(16, 32))
    >>> maps = [ExplanationMaps(np.eye(8, dtype="float32"), np.arange(8), k, layout) for k in (1, 2)]
    >>> [ax.get_title() for ax in layer_strip(maps, 5).axes[:3]]
    ['patch (1, 1)', 'layer 1', 'layer 2']
    """
    if isinstance(source, Capture):
        from ..maps.explanation import explain

        layers = range(1, source.n_layers + 1)
        found = [explain(source, layer=k, tokens=[token], **options) for k in layers]
    else:
        found = list(source)
    return _strip(found, token, [f"layer {m.layer}" for m in found], scale, smooth)


@styled
def compare_methods(
    maps: Sequence[ExplanationMaps],
    token: int,
    *,
    names: Sequence[str] | None = None,
    smooth: bool = False,
) -> Figure:
    """Draw the same token's map by several methods side by side, after the image.

    Each panel has its own scale: the methods' values have different units.

    Parameters
    ----------
    maps : sequence of ExplanationMaps
    token : int
        Must be in every ``maps.tokens``.
    names : sequence of str, optional
        Titles; by default the method, with its rule where several maps are by one method.
    smooth : bool, default False
        As in `show_map`.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        As `show_map`, or if there are no maps or not as many names as maps.

    Examples
    --------
    >>> import numpy as np
    >>> from ultra_kit.types import ExplanationMaps, Layout
    >>> layout = Layout("image", n_prefix=0, grid=(2, 4), size=(16, 32))
    >>> made = dict(values=np.eye(8, dtype="float32"), tokens=np.arange(8), layer=3, layout=layout)
    >>> figure = compare_methods([ExplanationMaps(**made), ExplanationMaps(**made, method="cosine")], 5)
    >>> [ax.get_title() for ax in figure.axes[:3]]
    ['patch (1, 1)', 'ultra', 'cosine']
    """
    methods = [m.method for m in maps]
    if names is None:
        names = [m.method if methods.count(m.method) == 1 else f"{m.method}, {m.rule}" for m in maps]
    if len(names) != len(maps):
        raise ValueError(f"names must be one a map ({len(maps)}), got {len(names)}")
    return _strip(list(maps), token, [n.replace("_", " ") for n in names], "own", smooth)


@styled
def token_grid(
    maps: ExplanationMaps,
    tokens: Sequence[int] | None = None,
    *,
    columns: int = 4,
    scale: Scale = "own",
    smooth: bool = False,
) -> Figure:
    """Draw the maps of several tokens as small multiples, each with its own patch outlined.

    Parameters
    ----------
    maps : ExplanationMaps
    tokens : sequence of int, optional
        From ``maps.tokens``; by default up to 12 spread evenly over them.
    columns : int, default 4
    scale : {"own", "shared"}
        As in `layer_strip`.
    smooth : bool, default False
        As in `show_map`.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        As `show_map`, or if no token is given, `columns` is below 1 or `scale` is unknown.

    Examples
    --------
    >>> import numpy as np
    >>> from ultra_kit.types import ExplanationMaps, Layout
    >>> layout = Layout("image", n_prefix=0, grid=(2, 4), size=(16, 32))
    >>> maps = ExplanationMaps(np.eye(8, dtype="float32"), np.arange(8), 3, layout)
    >>> [ax.get_title() for ax in token_grid(maps, [0, 5]).axes[:2]]
    ['patch (0, 0)', 'patch (1, 1)']
    """
    if tokens is None:
        tokens = maps.tokens[np.linspace(0, len(maps) - 1, min(12, len(maps))).round().astype(int)].tolist()
    if len(tokens) == 0 or columns < 1:
        raise ValueError(
            f"tokens must name at least one token and columns be at least 1, got {tokens} and {columns}"
        )
    columns = min(columns, len(tokens))
    rows = -(-len(tokens) // columns)
    highest = _highest([maps] * len(tokens), tokens, scale, smooth)
    with panels(rows, columns, panel=panel_size(maps.layout, 3.2)) as (figure, axes):
        for ax, token, top in zip(axes.flat, tokens, highest, strict=False):
            image = _draw_map(ax, maps, token, smooth, top)
            ax.set_title(place(maps.layout, token))
        for ax in axes.flat[len(tokens) :]:
            ax.set_axis_off()
        figure.suptitle(f"layer {maps.layer}, {maps.method} ({maps.rule}), {_scale_text(scale)}")
        _bar(figure, image, axes, scale)
    return figure


def _strip(
    maps: list[ExplanationMaps], token: int, titles: Sequence[str], scale: Scale, smooth: bool
) -> Figure:
    """Draw the image and then one panel a map, in rows of at most five."""
    if not maps:
        raise ValueError("maps must hold at least one entry, got none")
    rows = -(-(len(maps) + 1) // 5)
    columns = -(-(len(maps) + 1) // rows)
    highest = _highest(maps, [token] * len(maps), scale, smooth)
    with panels(rows, columns, panel=panel_size(maps[0].layout, 3.2)) as (figure, axes):
        flat = list(axes.flat)
        draw_input(flat[0], maps[0].input, maps[0].layout)
        mark_patch(flat[0], maps[0].layout, token)
        flat[0].set_title(place(maps[0].layout, token))
        for ax, entry, title, top in zip(flat[1:], maps, titles, highest, strict=False):
            image = _draw_map(ax, entry, token, smooth, top)
            ax.set_title(title)
        for ax in flat[len(maps) + 1 :]:
            ax.set_axis_off()
        figure.suptitle(f"maps of one token, {_scale_text(scale)}")
        _bar(figure, image, axes, scale)
    return figure


def _map_with_bar(ax: Axes, maps: ExplanationMaps, token: int, smooth: bool, highest: float | None) -> None:
    own = highest is None
    top = _highest([maps], [token], "own", smooth)[0] if highest is None else highest
    image = _draw_map(ax, maps, token, smooth, top)
    ax.set_title(f"{place(maps.layout, token)}, layer {maps.layer}")
    bar = figure_of(ax).colorbar(image, cax=ax.inset_axes((1.03, 0, 0.05, 1)))
    bar.ax.set_facecolor(GROUND)
    bar.set_label(f"{maps.method} ({maps.rule}), {'own' if own else 'given'} scale")


def _draw_map(ax: Axes, maps: ExplanationMaps, token: int, smooth: bool, highest: float) -> AxesImage:
    """Lay one map over the image, in grey, on an axes."""
    draw_input(ax, maps.input, maps.layout, tone="dark")
    image = ax.imshow(
        _image(maps, token, smooth),
        cmap=map_colours(maps.input is not None),
        vmin=0,
        vmax=highest if highest > 0 else 1,
        extent=extent(maps.layout),
        interpolation="nearest",
    )
    mark_patch(ax, maps.layout, token, image=maps.input)
    return image


def _image(maps: ExplanationMaps, token: int, smooth: bool) -> np.ndarray:
    """Map of one token at the grid's size, or at the image's if smooth."""
    rows = np.flatnonzero(maps.tokens == token)
    if len(rows) == 0:
        raise ValueError(
            f"maps must hold token {token}, got maps of {len(maps)} tokens from {maps.tokens.min()} to "
            f"{maps.tokens.max()}; explain that token too"
        )
    one = ExplanationMaps(maps.values[rows[:1]], maps.tokens[rows[:1]], maps.layer, maps.layout)
    return one.images(maps.layout.size if smooth else None)[0]


def _highest(
    maps: Sequence[ExplanationMaps], tokens: Sequence[int], scale: Scale, smooth: bool
) -> list[float]:
    """Value of the lightest colour in each panel."""
    if scale not in ("own", "shared"):
        raise ValueError(f"scale must be 'own' or 'shared', got {scale!r}")
    tops = [float(_image(m, t, smooth).max()) for m, t in zip(maps, tokens, strict=True)]
    return [max(tops)] * len(tops) if scale == "shared" else tops


def _scale_text(scale: Scale) -> str:
    return "each panel on its own scale" if scale == "own" else "one scale for all panels"


def _bar(figure: Figure, image: AxesImage, axes: np.ndarray, scale: Scale) -> None:
    """Add one colour bar for all panels: in values if they share a scale, else in shares of each."""
    bar = figure.colorbar(image, ax=axes, fraction=0.03, pad=0.02, aspect=25, shrink=0.9)
    bar.ax.set_facecolor(GROUND)
    if scale == "own":
        low, high = image.get_clim()
        bar.set_ticks([low, high], labels=["0", "largest"])
