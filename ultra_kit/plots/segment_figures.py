"""Figures of segments, the tree they were cut from, and scenes with their truth."""

from __future__ import annotations

import textwrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from scipy.cluster.hierarchy import dendrogram
from scipy.ndimage import distance_transform_edt

from ..data.drawn_scenes import Scene
from ..images.segmentation import Segmentation
from ..types import Layout
from .style import REFERENCE, SEGMENT_COLOURS, draw_input, extent, figure_of, panel_size, panels, styled

_LEGEND_ROWS = 10
_LEAVES = 60


@styled
def show_segments(seg: Segmentation, *, ax: Axes | None = None, tree: bool = False) -> Figure:
    """Draw the segments over the image: coloured, outlined, numbered, with a legend of their areas.

    Parameters
    ----------
    seg : Segmentation
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.
    tree : bool, default False
        Draw `show_dendrogram` beside it (in a new figure).

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If both `ax` and `tree` are given.

    Examples
    --------
    >>> import numpy as np
    >>> from ultra_kit import segment
    >>> from ultra_kit.types import ExplanationMaps, Layout
    >>> side = np.arange(8) % 4 // 2
    >>> values = (side[:, None] == side).astype("float32")
    >>> layout = Layout("image", n_prefix=0, grid=(2, 4), size=(16, 32))
    >>> seg = segment(ExplanationMaps(values, np.arange(8), -1, layout))
    >>> [text.get_text() for text in show_segments(seg).axes[0].get_legend().get_texts()]
    ['0: 50 %', '1: 50 %']
    """
    if ax is not None and tree:
        raise ValueError(
            "one ax cannot hold the tree too, got ax and tree=True; call show_dendrogram on another"
        )
    if ax is not None:
        _draw_segments(ax, seg)
        return figure_of(ax)
    with panels(1, 2 if tree else 1, panel=(7.0, 5.4)) as (figure, axes):
        _draw_segments(axes[0, 0], seg)
        if tree:
            _draw_tree(axes[0, 1], seg)
    return figure


@styled
def show_dendrogram(seg: Segmentation, *, ax: Axes | None = None) -> Figure:
    """Draw the tree of the tokens' maps and the line at which it was cut.

    Parameters
    ----------
    seg : Segmentation
        The branches below the cut take the colours of `show_segments`; of a large tree the last
        60 merges are drawn.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> import numpy as np
    >>> from ultra_kit import segment
    >>> from ultra_kit.types import ExplanationMaps, Layout
    >>> side = np.arange(8) % 4 // 2
    >>> values = (side[:, None] == side).astype("float32")
    >>> layout = Layout("image", n_prefix=0, grid=(2, 4), size=(16, 32))
    >>> seg = segment(ExplanationMaps(values, np.arange(8), -1, layout))
    >>> show_dendrogram(seg).axes[0].get_title()
    'cut at 0.25: 2 segments'
    """
    if ax is not None:
        _draw_tree(ax, seg)
        return figure_of(ax)
    with panels(1, 1, panel=(7.0, 5.6)) as (figure, axes):
        _draw_tree(axes[0, 0], seg)
    return figure


@styled
def show_scene(scene: Scene) -> Figure:
    """Draw a synthetic scene, its objects' true masks, and its caption.

    Parameters
    ----------
    scene : Scene

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> from ultra_kit.data import scene
    >>> [ax.get_title() for ax in show_scene(scene(7)).axes]
    ['image', 'truth']
    """
    height, width = scene.instances.shape
    layout = Layout("image", n_prefix=0, grid=(height, width), size=(height, width))
    with panels(1, 2, panel=panel_size(layout, 5.6)) as (figure, axes):
        draw_input(axes[0, 0], scene.image, layout)
        axes[0, 0].set_title("image")
        draw_input(axes[0, 1], scene.image, layout, tone="pale")
        names = {k + 1: phrase for k, phrase in enumerate(scene.phrases)}
        _draw_regions(axes[0, 1], scene.instances, layout, list(names))
        axes[0, 1].set_title("truth")
        axes[0, 1].legend(
            handles=[
                Patch(facecolor=_colour(k), edgecolor="black", label=f"{k}: {n}") for k, n in names.items()
            ],
            loc="center left",
            bbox_to_anchor=(1.0, 0.5),
            frameon=False,
        )
        figure.suptitle(textwrap.fill(scene.caption, 80))
    return figure


def _draw_segments(ax: Axes, seg: Segmentation) -> None:
    draw_input(ax, seg.input, seg.layout, tone="pale")
    _draw_regions(ax, seg.labels, seg.layout, list(range(seg.n_segments)))
    shares = seg.shares
    listed = np.argsort(-shares, kind="stable")[:_LEGEND_ROWS]
    handles = [
        Patch(facecolor=_colour(k), edgecolor="black", label=f"{k}: {shares[k]:.0%}".replace("%", " %"))
        for k in sorted(listed)
    ]
    if seg.n_segments > _LEGEND_ROWS:
        handles.append(Patch(facecolor="none", label=f"and {seg.n_segments - _LEGEND_ROWS} smaller"))
    ax.legend(handles=handles, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    ax.set_title(f"{seg.n_segments} segment{'s' * (seg.n_segments != 1)}")


def _draw_regions(ax: Axes, labels: np.ndarray, layout: Layout, shown: list[int]) -> None:
    """Colour, outline and number the regions of a label map."""
    height, width = labels.shape
    colours = np.zeros((*labels.shape, 4))
    x, y = np.arange(width) + 0.5, np.arange(height) + 0.5
    for k in shown:
        mask = labels == k
        colours[mask] = (*_colour(k), 0.5)
    ax.imshow(colours, extent=extent(layout), interpolation="nearest")
    for k in shown:
        mask = labels == k
        if not mask.any():
            continue
        if not mask.all() and min(labels.shape) > 1:
            ax.contour(x, y, mask, levels=[0.5], colors="black", linewidths=2)
        # The number stands at the region's innermost pixel; the image's edge counts as its border.
        inner = distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
        row, column = np.unravel_index(inner.argmax(), inner.shape)
        ax.text(
            column + 0.5,
            row + 0.5,
            str(k),
            ha="center",
            va="center",
            fontweight="bold",
            bbox={"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "black"},
        )


def _draw_tree(ax: Axes, seg: Segmentation) -> None:
    ax.set_ylabel("cosine distance of maps")
    if len(seg.linkage) == 0:
        ax.set_title("no tree: fewer than two maps with contrast")
        ax.set_axis_off()
        return
    owner = _owners(seg)
    drawn = dendrogram(
        seg.linkage,
        p=max(_LEAVES, seg.n_segments),
        truncate_mode="lastp",
        no_labels=True,
        link_color_func=lambda node: _hex(int(owner[node])),
        ax=ax,
    )
    cut = seg.cut_height
    ax.axhline(cut, color=REFERENCE, linestyle="--", linewidth=2.5)
    ax.set_title(f"cut at {cut:.2g}: {seg.n_segments} segment{'s' * (seg.n_segments != 1)}")
    # Leaves stand at 5, 15, 25, ...; each segment's number goes below the middle of its leaves.
    leaves = owner[np.array(drawn["leaves"])]
    found = [k for k in range(seg.n_segments) if (leaves == k).any()]
    middle = {k: 10 * float(np.flatnonzero(leaves == k).mean()) + 5 for k in found}
    ticks = _apart(middle, 0.04 * 10 * len(leaves))
    ax.set_xticks([middle[k] for k in ticks], [str(k) for k in ticks])
    ax.set_xlabel("segment")
    ax.set_ylim(0, max(1.05 * seg.linkage[:, 2].max(), 1.2 * cut, 1e-6))
    for line in ax.collections:
        line.set_linewidth(2)
    ax.spines[["top", "right"]].set_visible(False)


def _apart(middle: dict[int, float], gap: float) -> list[int]:
    """Segments whose numbers fit beside each other, from the left."""
    kept: list[int] = []
    for k in sorted(middle, key=middle.__getitem__):
        if not kept or middle[k] - middle[kept[-1]] >= gap:
            kept.append(k)
    return kept


def _owners(seg: Segmentation) -> np.ndarray:
    """Segment of every node of the tree, -1 above the cut: leaves first, as SciPy numbers them."""
    leaves = seg.clusters[~np.isin(seg.tokens, seg.constant)]
    owner = np.concatenate([leaves, np.full(len(seg.linkage), -1)])
    for k, (a, b) in enumerate(seg.linkage[:, :2].astype(int)):
        owner[len(leaves) + k] = owner[a] if owner[a] == owner[b] else -1
    return owner


def _colour(k: int) -> tuple[float, float, float]:
    return to_rgb(SEGMENT_COLOURS[k % len(SEGMENT_COLOURS)])


def _hex(segment: int) -> str:
    return "#888888" if segment < 0 else SEGMENT_COLOURS[segment % len(SEGMENT_COLOURS)]
