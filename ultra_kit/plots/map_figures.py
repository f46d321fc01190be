"""Figures of explanation maps over their image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from ..types import Capture, ExplanationMaps
from .style import GROUND, draw_input, extent, map_colours, mark_patch, panel_size, panels, styled

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
    """Draw one token's map over the image, with a colour bar; a ValueError for maps of a text.

    Its own patch is outlined, and shown instead of the spike that is always there (`ExplanationMaps.without_own`).

    Parameters
    ----------
    maps : ExplanationMaps
    token : int, optional
        One of ``maps.tokens``; the first by default.
    highest : float, optional
        Value of the lightest colour, to compare figures; the map's own largest by default. The darkest is 0.

    Examples
    --------
    >>> import ultra_kit as uk
    >>> maps = uk.explain(uk.capture(uk.load("scenes"), uk.data.scene(0).image), layer=3, tokens=[20])
    >>> show_map(maps).axes[0].get_title()
    'row 1, column 4, layer 3'
    """
    token = int(maps.tokens[0]) if token is None else token
    figure, [[ax]] = panels(1, 1, panel=panel_size(maps.layout, 6.4), ax=ax)
    image = _draw_map(ax, maps, token, smooth, highest)
    used = "what used " * maps.method.startswith("used_by")
    ax.set_title(f"{used}{maps.layout.place_of(token)}, {_layer_of(maps)}")
    bar = figure.colorbar(image, cax=ax.inset_axes((1.03, 0, 0.05, 1)))
    bar.ax.set_facecolor(GROUND)
    bar.set_label(f"{maps.method} ({maps.rule}), {'own' if highest is None else 'given'} scale")
    return figure


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
        At least one entry per layer; of a capture, every layer from 1 on is explained.
    token : int
        Must be in every ``maps.tokens``.
    **options
        Passed to `ultra_kit.explain` if `source` is a capture.
    """
    if isinstance(source, Capture):
        from ..maps.explanation import explain

        layers = range(1, source.n_layers + 1)
        source = [explain(source, layer=k, tokens=[token], **options) for k in layers]
    return _strip(source, token, [_layer_of(m) for m in source], scale, smooth)


@styled
def compare_methods(
    maps: Sequence[ExplanationMaps],
    token: int,
    *,
    names: Sequence[str] | None = None,
    smooth: bool = False,
) -> Figure:
    """Draw the same token's map by several methods, after the image, each on its own scale: their units differ.

    Parameters
    ----------
    maps : sequence of ExplanationMaps
        At least one.
    token : int
        Must be in every ``maps.tokens``.
    names : sequence of str, optional
        One title per entry; by default the method, with its rule where several maps are by one method.
    """
    methods = [m.method for m in maps]
    if names is None:
        names = [m.method if methods.count(m.method) == 1 else f"{m.method}, {m.rule}" for m in maps]
    if len(names) != len(maps):
        raise ValueError(f"names must be one per map ({len(maps)}), got {len(names)}")
    return _strip(maps, token, [n.replace("_", " ") for n in names], "own", smooth)


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
        At least one of ``maps.tokens``; by default up to 12 spread evenly over them.
    columns : int
        At least 1.
    """
    if tokens is None:
        tokens = maps.tokens[np.linspace(0, len(maps) - 1, min(12, len(maps))).round().astype(int)].tolist()
    if len(tokens) == 0 or columns < 1:
        raise ValueError(
            f"tokens must name at least one token and columns be at least 1, got {tokens} and {columns}"
        )
    shown = [(maps, token, maps.layout.place_of(token)) for token in tokens]
    heading = f"{_layer_of(maps)}, {maps.method} ({maps.rule})"
    return _multiples(shown, min(columns, len(shown)), scale, smooth, heading)


def _strip(
    maps: Sequence[ExplanationMaps], token: int, titles: Sequence[str], scale: Scale, smooth: bool
) -> Figure:
    """Draw the image and then one panel per map, in balanced rows of at most five."""
    if not maps:
        raise ValueError("maps must hold at least one entry, got none")
    rows = -(-(len(maps) + 1) // 5)
    shown = [(m, token, title) for m, title in zip(maps, titles, strict=True)]
    columns = -(-(len(maps) + 1) // rows)
    return _multiples(shown, columns, scale, smooth, "maps of one token", with_input=True)


def _multiples(
    shown: list[tuple[ExplanationMaps, int, str]],
    columns: int,
    scale: Scale,
    smooth: bool,
    heading: str,
    *,
    with_input: bool = False,
) -> Figure:
    """Draw a panel per (maps, token, title), the image before them if asked, and one colour bar for all.

    The bar is in values if the panels share a scale, else in shares of each panel's largest.
    """
    if scale not in ("own", "shared"):
        raise ValueError(f"scale must be 'own' or 'shared', got {scale!r}")
    first, token, _ = shown[0]
    count = len(shown) + with_input
    width = min(max(10.4 / columns, 3.2), 6.4)  # few panels fill the page too
    figure, axes = panels(-(-count // columns), columns, panel=panel_size(first.layout, width))
    if with_input:
        draw_input(axes[0, 0], first.input, first.layout)
        mark_patch(axes[0, 0], first.layout, token)
        axes[0, 0].set_title(first.layout.place_of(token))
    images = []
    for ax, (maps, token, title) in zip(axes.flat[with_input:], shown, strict=False):
        images.append(_draw_map(ax, maps, token, smooth, None))
        ax.set_title(title)
    for ax in axes.flat[count:]:
        ax.set_axis_off()
    if scale == "shared":
        top = max(float(np.asarray(image.get_array()).max()) for image in images)
        for image in images:
            image.set_clim(0, top if top > 0 else 1)
    said = "each panel on its own scale" if scale == "own" else "one scale for all panels"
    figure.suptitle(f"{heading}, {said}")
    bar = figure.colorbar(images[-1], ax=axes, fraction=0.03, pad=0.02, aspect=25, shrink=0.9)
    bar.ax.set_facecolor(GROUND)
    if scale == "own":
        bar.set_ticks(images[-1].get_clim(), labels=["0", "largest"])
    return figure


def _layer_of(maps: ExplanationMaps) -> str:
    return f"layer {maps.layer}" + (f" since {maps.since}" if maps.since else "")


def _draw_map(ax: Axes, maps: ExplanationMaps, token: int, smooth: bool, highest: float | None) -> AxesImage:
    """Lay a token's map over the image, in grey, at the grid's size or, smooth, at the image's."""
    rows = [maps.row_of(token)]
    groups = maps.groups and tuple(maps.groups[row] for row in rows)
    one = replace(maps, values=maps.values[rows], tokens=maps.tokens[rows], groups=groups)
    values = one.images(maps.layout.size if smooth else None)[0]
    top = float(values.max()) if highest is None else highest
    draw_input(ax, maps.input, maps.layout, tone="dark")
    image = ax.imshow(
        values,
        cmap=map_colours(maps.input is not None),
        vmin=0,
        vmax=top if top > 0 else 1,
        extent=extent(maps.layout),
        interpolation="nearest",
    )
    mark_patch(ax, maps.layout, token, image=maps.input)
    return image
