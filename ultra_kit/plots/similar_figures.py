"""Contact sheets: the tokens most like one, each with its map, and the parts that recur through many pictures."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..atlas.embedding import Embedding
from ..atlas.placed_input import PlacedInput
from ..atlas.similar_tokens import Similar, recurring
from ..types.checks import whole_number
from ..types.grids import cell_grid
from ..types.wording import layers_said
from .style import draw_input, extent, map_colours, mark_patch, panels, styled


@styled
def show_similar(found: Similar, *, columns: int = 7) -> Figure:
    """Draw a token and those most like it as a contact sheet: each in its picture, and below what it was made from.

    The first is the one asked about. The maps are on scales of their own.

    Parameters
    ----------
    found : Similar
        Of images.
    columns : int
        Pictures in a row.

    Examples
    --------
    >>> import ultra_kit as uk
    >>> caps = [uk.capture(uk.load("scenes"), uk.data.scene(seed).image) for seed in range(3)]
    >>> figure = show_similar(uk.atlas.similar(caps[0], 40, among=caps, k=2))
    >>> [ax.get_title() for ax in figure.axes[:3]]
    ['asked', '0.54', '0.54']
    """
    if found.inputs[0].picture is None:
        raise ValueError("show_similar needs patches of images; for words see Similar.table")
    columns = min(whole_number("columns", columns, 1), len(found.tokens))
    deep = 2 if found.maps else 1
    blocks = -(-len(found.tokens) // columns)
    figure, axes = panels(blocks * deep, columns, panel=(1.75, 1.85))
    for ax in axes.flat:
        ax.set_axis_off()
    for i, (placed, token) in enumerate(zip(found.inputs, found.tokens.tolist(), strict=True)):
        block, column = divmod(i, columns)
        ax = axes[block * deep, column]
        draw_input(ax, placed.picture, placed.layout)
        mark_patch(ax, placed.layout, token)
        ax.set_title(f"{found.likeness[i]:.2f}" if i else "asked", fontsize=13)
        if found.maps:
            below = axes[block * deep + 1, column]
            _lay(below, placed, found.maps[i])
            mark_patch(below, placed.layout, token)
    figure.suptitle(f"most like it by {found.by}, layer {found.layer}", fontsize=15)
    return figure


@styled
def show_parts(emb: Embedding, *, share: float = 0.5, rows: int = 6, columns: int = 8) -> Figure:
    """Draw the parts that recur through many pictures: a row for each cluster that most of them have, its patches lit.

    The commonest first (`ultra_kit.atlas.recurring`); a row shows the pictures in which the cluster is surest.

    Parameters
    ----------
    emb : Embedding
        Of images, with several tokens of each.
    share : float
        The least share of the pictures that must have a cluster.
    rows : int
    columns : int
        Parts, and pictures of each, at most.

    Examples
    --------
    >>> import ultra_kit as uk
    >>> emb = uk.embed([uk.data.scene(seed).image for seed in range(4)], model="scenes", method="pca")
    >>> len(show_parts(emb, rows=1, columns=3).axes)
    3
    """
    if not emb.inputs or emb.inputs[0].picture is None:
        raise ValueError("show_parts needs an embedding of images")
    table = recurring(emb, share=share).head(whole_number("rows", rows, 1))
    if table.empty:
        raise ValueError(
            f"no cluster is in a share of {share} of the inputs; ask for a smaller share, or embed more tokens"
        )
    columns = min(whole_number("columns", columns, 1), len(emb.inputs))
    figure, axes = panels(len(table), columns, panel=(1.6, 1.75))
    for line, (cluster, part) in zip(axes, table.iterrows(), strict=True):
        for ax in line:
            ax.set_axis_off()
        shown = list(dict.fromkeys(emb.source[emb.exemplars(int(cluster), len(emb)), 0].tolist()))[:columns]
        for ax, number in zip(line, shown, strict=False):
            there = (emb.labels == cluster) & (emb.source[:, 0] == number)
            placed = emb.inputs[number]
            lit = np.zeros(placed.layout.n_tokens, np.float32)
            lit[emb.source[there, 1]] = 1
            _light(ax, placed, lit[placed.layout.n_prefix :])
        name = f"{part['name']}, " if part["name"] else ""
        line[0].set_title(f"{name}{part['share of inputs']:.0%} of pictures", fontsize=13, loc="left")
    figure.suptitle(f"parts that recur, by {emb.by}, {layers_said(emb.layer)}", fontsize=15)
    return figure


def _lay(ax: Axes, placed: PlacedInput, values: np.ndarray) -> None:
    """Lay a map of the patches over the darkened picture."""
    draw_input(ax, placed.picture, placed.layout, tone="dark")
    shown = values.reshape(placed.layout.grid or (1, -1))
    ax.imshow(
        shown, cmap=map_colours(True), vmin=0, vmax=1, extent=extent(placed.layout), interpolation="nearest"
    )


def _light(ax: Axes, placed: PlacedInput, lit: np.ndarray) -> None:
    """Draw a picture in colour where patches are lit, darkened elsewhere."""
    if placed.picture is None or placed.layout.grid is None:
        return
    draw_input(ax, placed.picture, placed.layout, tone="dark")
    there = lit[cell_grid(placed.picture.shape[:2], placed.layout.grid)] > 0
    shown = np.dstack([placed.picture, np.where(there, 255, 0).astype(np.uint8)])
    ax.imshow(shown, extent=extent(placed.layout))
