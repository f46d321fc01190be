"""Figures of segments, the tree they were cut from, and scenes with their truth."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from scipy.cluster.hierarchy import dendrogram
from scipy.ndimage import distance_transform_edt

from ..data.drawn_scenes import Scene
from ..images.segmentation import Segmentation
from ..types import Layout
from ..types.wording import counted
from .style import REFERENCE, SEGMENT_COLOURS, draw_input, extent, outline, panel_size, panels, styled

_LEGEND_ROWS = 10
_LEAVES = 60


@styled
def show_segments(seg: Segmentation, *, ax: Axes | None = None, tree: bool = False) -> Figure:
    """Draw the segments over the image: coloured, outlined, numbered, with a legend of their areas.

    Parameters
    ----------
    seg : Segmentation
    tree : bool
        Draw `show_dendrogram` beside it; not into a given `ax`.

    Examples
    --------
    >>> import ultra_kit as uk
    >>> maps = uk.baselines.rollout(uk.capture(uk.load("scenes"), uk.data.scene(0).image))
    >>> [ax.get_title() for ax in show_segments(uk.segment(maps, n_segments=3), tree=True).axes]
    ['3 segments', 'cut at 0.26: 3 segments']
    """
    if ax is not None and tree:
        raise ValueError("one ax cannot hold the tree too, got ax and tree=True; show_dendrogram on another")
    figure, axes = panels(1, 1 + tree, panel=(7.0, 5.4), ax=ax)
    _draw_segments(axes[0, 0], seg)
    if tree:
        _draw_tree(axes[0, 1], seg)
    return figure


@styled
def show_dendrogram(seg: Segmentation, *, ax: Axes | None = None) -> Figure:
    """Draw the tree of the tokens' maps, and a line where it was cut (`Segmentation.cut_height`).

    Parameters
    ----------
    seg : Segmentation
        The branches below the cut take the colours of `show_segments`; of a large tree the last 60 merges are drawn.
    """
    figure, axes = panels(1, 1, panel=(7.0, 5.6), ax=ax)
    _draw_tree(axes[0, 0], seg)
    return figure


@styled
def show_scene(scene: Scene) -> Figure:
    """Draw a synthetic scene, its objects' true masks, and its caption.

    Parameters
    ----------
    scene : Scene
    """
    height, width = scene.instances.shape
    layout = Layout("image", n_prefix=0, grid=(height, width), size=(height, width))
    figure, [[image, truth]] = panels(1, 2, panel=panel_size(layout, 5.6))
    draw_input(image, scene.image, layout)
    image.set_title("image")
    draw_input(truth, scene.image, layout, tone="pale")
    names = dict(enumerate(scene.phrases, 1))
    _draw_regions(truth, scene.instances, layout, names)
    truth.set_title("truth")
    figure.suptitle(textwrap.fill(scene.caption, 80))
    return figure


def _draw_segments(ax: Axes, seg: Segmentation) -> None:
    draw_input(ax, seg.input, seg.layout, tone="pale")
    names = {k: f"{share:.0%}".replace("%", " %") for k, share in enumerate(seg.shares)}
    listed = sorted(np.argsort(-seg.shares, kind="stable")[:_LEGEND_ROWS].tolist())
    _draw_regions(ax, seg.labels, seg.layout, names, listed)
    ax.set_title(counted(seg.n_segments, "segment"))


def _draw_regions(
    ax: Axes, labels: np.ndarray, layout: Layout, names: Mapping[int, str], listed: list[int] | None = None
) -> None:
    """Colour, outline and number the named regions of (H, W) labels, with a legend of those to be listed, or all."""
    colours = np.zeros((*labels.shape, 4))
    for k in names:
        mask = labels == k
        if not mask.any():
            continue
        colours[mask] = to_rgba(_colour(k), 0.5)
        outline(ax, mask, ("black", 2))
        # The number stands at the region's innermost pixel; the image's edge counts as its border.
        inner = distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
        row, column = np.unravel_index(inner.argmax(), inner.shape)
        box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "black"}
        ax.text(column + 0.5, row + 0.5, str(k), ha="center", va="center", fontweight="bold", bbox=box)
    ax.imshow(colours, extent=extent(layout), interpolation="nearest")
    shown = list(names) if listed is None else listed
    handles = [Patch(facecolor=_colour(k), edgecolor="black", label=f"{k}: {names[k]}") for k in shown]
    if len(shown) < len(names):
        handles.append(Patch(facecolor="none", label=f"and {len(names) - len(shown)} smaller"))
    ax.legend(handles=handles, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)


def _draw_tree(ax: Axes, seg: Segmentation) -> None:
    ax.set_ylabel(f"{seg.distance} of maps")
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
        link_color_func=lambda node: _colour(int(owner[node])),
        ax=ax,
    )
    cut = seg.cut_height
    ax.axhline(cut, color=REFERENCE, linestyle="--", linewidth=2.5)
    ax.set_title(f"cut at {cut:.2g}: {counted(seg.n_segments, 'segment')}")
    # Leaves stand at 5, 15, 25, ...; each segment's number goes below the middle of its leaves, where there is room.
    leaves = owner[np.array(drawn["leaves"])]
    middles = [
        (10 * float(np.flatnonzero(leaves == k).mean()) + 5, k) for k in np.unique(leaves[leaves >= 0])
    ]
    ticks: list[tuple[float, int]] = []
    for at, k in sorted(middles):
        if not ticks or at - ticks[-1][0] >= 0.04 * 10 * len(leaves):
            ticks.append((at, k))
    ax.set_xticks([at for at, _ in ticks], [str(k) for _, k in ticks])
    ax.set(xlabel="segment", ylim=(0, max(1.05 * seg.linkage[:, 2].max(), 1.2 * cut, 1e-6)))
    for line in ax.collections:
        line.set_linewidth(2)
    ax.spines[["top", "right"]].set_visible(False)


def _owners(seg: Segmentation) -> np.ndarray:
    """Segment of every node of the tree, -1 above the cut: leaves first, as SciPy numbers them."""
    leaves = seg.clusters[~np.isin(seg.tokens, seg.constant)]
    owner = np.concatenate([leaves, np.full(len(seg.linkage), -1)])
    for k, (a, b) in enumerate(seg.linkage[:, :2].astype(int), len(leaves)):
        owner[k] = owner[a] if owner[a] == owner[b] else -1
    return owner


def _colour(segment: int) -> str:
    return "#888888" if segment < 0 else SEGMENT_COLOURS[segment % len(SEGMENT_COLOURS)]
