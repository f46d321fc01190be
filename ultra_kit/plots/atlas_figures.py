"""Figures of an atlas: its points coloured, and cards of the tokens that stand for its clusters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

from ..types.checks import whole_number
from ..types.wording import counted, layers_said
from .style import SEGMENT_COLOURS, panels, styled

if TYPE_CHECKING:
    from ..atlas import Embedding

_NOISE = (0.8, 0.8, 0.8)
_SHOWN = 20  # clusters that carry a name or a patch


@styled
def atlas(
    emb: Embedding,
    *,
    colour: str | Sequence[Any] | np.ndarray = "cluster",
    selected: Sequence[int] = (),
    ax: Axes | None = None,
) -> Figure:
    """Draw an atlas: a point for each token, and in the largest clusters their names or the patches that stand for them.

    Parameters
    ----------
    emb : Embedding
    colour : {"cluster", "input", "layer", "position"} or array of shape (M,)
        "position" runs over an image, left to right from blue to orange and top to bottom from light to dark, or from
        the start of a text to its end; "layer" from dark to light with depth. An array of floats is a scale; of anything else
        classes with a legend, such as the truth.
    selected : sequence of int
        Points to stand out from the others; none does by default.

    Examples
    --------
    >>> import ultra_kit as uk
    >>> emb = uk.embed([uk.data.scene(0).image], model="scenes", method="pca")
    >>> atlas(emb, colour="position").axes[0].get_title()
    '144 tokens of 1 input, layer 5 by latent'
    """
    figure, [[axes]] = panels(1, 1, panel=(11, 9), ax=ax)
    colours, legend = _colours(emb, colour)
    size = float(np.clip(20_000 / len(emb), 2, 40))
    order = np.argsort(emb.labels >= 0, kind="stable")  # noise at the back
    alpha = np.full(len(emb), 0.12 if len(selected) else 0.8)
    alpha[list(selected)] = 0.9
    how: dict[str, Any] = {"s": size, "linewidths": 0, "rasterized": True}
    axes.scatter(*emb.points[order].T, c=colours[order], alpha=alpha[order], **how)
    for name, shade in legend.items():
        axes.scatter([], [], color=shade, s=60, label=name)
    if legend:
        axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    axes.set(xticks=[], yticks=[], title=_title(emb), aspect="equal")
    axes.set_adjustable("datalim")
    axes.spines[:].set_color("#cccccc")
    axes.get_figure(root=True).draw_without_rendering()  # now every place is known
    _mark_clusters(axes, emb, colours)
    return figure


def _mark_clusters(axes: Axes, emb: Embedding, colours: np.ndarray) -> None:
    """The largest clusters' names, above or below their points, or patches; what would cover another is left out."""
    counts = np.bincount(emb.labels[emb.labels >= 0], minlength=emb.n_clusters)
    taken: list[Bbox] = []
    for cluster in np.argsort(-counts, kind="stable").tolist():
        middle = np.median(emb.points[emb.labels == cluster], axis=0)
        marks: list[AnnotationBbox | Annotation] = []
        if emb.names and emb.names[cluster]:
            box = {"facecolor": "white", "edgecolor": "none", "pad": 1.5, "alpha": 0.8}
            how: dict[str, Any] = {"textcoords": "offset points", "ha": "center", "fontsize": 12, "bbox": box}
            for above, side in ((7, "bottom"), (-7, "top")):
                marks.append(axes.annotate(emb.names[cluster], middle, (0, above), va=side, **how))
        elif counts[cluster] and (patch := emb.patch(int(emb.exemplars(cluster, 1)[0]))) is not None:
            shade = np.median(colours[emb.labels == cluster], axis=0)
            style = {"edgecolor": shade, "linewidth": 2}
            picture = OffsetImage(patch, zoom=40 / max(patch.shape[:2]))
            marks.append(AnnotationBbox(picture, middle, pad=0.1, bboxprops=style))
            axes.add_artist(marks[0])
        free = [mark for mark in marks if not mark.get_window_extent().count_overlaps(taken)]
        for mark in marks:
            if mark not in free[:1]:
                mark.remove()
        taken += [mark.get_window_extent() for mark in free[:1]]
        if len(taken) == _SHOWN:
            return


@styled
def exemplar_cards(emb: Embedding, clusters: Sequence[int] | None = None, *, n: int = 8) -> Figure:
    """Draw the tokens that stand for clusters of an atlas of images: a row of patches for each.

    Parameters
    ----------
    emb : Embedding
    clusters : sequence of int, optional
        The 8 largest by default.
    n : int
        Patches in a row; each is shown with the patches around it.

    Examples
    --------
    >>> import ultra_kit as uk
    >>> emb = uk.embed([uk.data.scene(i).image for i in range(2)], model="scenes", method="pca")
    >>> len(exemplar_cards(emb, [-1], n=3).axes)
    3
    """
    if any(placed.picture is None for placed in emb.inputs):
        raise ValueError("exemplar_cards needs an atlas of images; the clusters of texts have names")
    whole_number("n", n, 1)
    counts = np.bincount(emb.labels[emb.labels >= 0], minlength=emb.n_clusters)
    chosen = np.argsort(-counts, kind="stable")[:8] if clusters is None else np.asarray(clusters)
    figure, axes = panels(max(len(chosen), 1), n, panel=(1.3, 1.35))
    for row, cluster in zip(axes, chosen.tolist(), strict=False):
        found = emb.exemplars(cluster, n)
        row[0].set_ylabel(f"noise {sum(emb.labels < 0)}" if cluster < 0 else f"{cluster}: {counts[cluster]}")
        for ax, token in zip(row, found, strict=False):
            ax.imshow(emb.patch(int(token)))
    for ax in axes.ravel():
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
    return figure


def atlas_hover(emb: Embedding, *, colour: str | Sequence[Any] | np.ndarray = "cluster") -> Any:
    """Draw an atlas with Plotly: under the pointer a token says its input, its place or word, and its cluster.

    Parameters
    ----------
    emb : Embedding
    colour : as in `ultra_kit.plots.atlas`

    Returns
    -------
    plotly.graph_objects.Figure

    Examples
    --------
    >>> import ultra_kit as uk
    >>> emb = uk.embed([uk.data.scene(0).image], model="scenes", method="pca")
    >>> atlas_hover(emb).data[0].hovertext[0].split("<br>")[:2]
    ['input 0', 'row 0, column 0']
    """
    import plotly.graph_objects as go

    colours, _ = _colours(emb, colour)
    shades = [f"rgb({r},{g},{b})" for r, g, b in np.round(255 * colours).astype(int)]
    said = []
    for row, (number, token) in enumerate(emb.source.tolist()):
        label = int(emb.labels[row])
        placed = emb.inputs[number]
        where = placed.word(token) if placed.text else placed.layout.place_of(token)
        named = f" {emb.names[label]}" if 0 <= label < len(emb.names) else ""
        cluster = f"cluster {label}{named}" if label >= 0 else "noise"
        deep = f"<br>layer {emb.layers[row]}" if isinstance(emb.layer, tuple) else ""
        said.append(f"{placed.name or f'input {number}'}<br>{where}{deep}<br>{cluster}")
    x, y = emb.points.T
    marker = {"color": shades, "size": 5}
    marks = go.Scattergl(x=x, y=y, mode="markers", marker=marker, hovertext=said, hoverinfo="text")
    hidden = {"visible": False}
    layout = {"title": _title(emb), "template": "plotly_white", "xaxis": hidden, "width": 900, "height": 750}
    return go.Figure(marks, {**layout, "yaxis": {**hidden, "scaleanchor": "x"}})


def _title(emb: Embedding) -> str:
    return f"{len(emb)} tokens of {counted(len(emb.inputs), 'input')}, {layers_said(emb.layer)} by {emb.by}"


def _colours(emb: Embedding, colour: Any) -> tuple[np.ndarray, dict[str, Any]]:
    """A colour (M, 3) for each token, and the legend."""
    if isinstance(colour, str) and colour == "position":
        return _by_position(emb), {}
    if isinstance(colour, str) and colour == "layer":
        known, index = np.unique(emb.layers, return_inverse=True)
        shades = layer_colours(len(known))
        return shades[index], dict(zip((f"layer {k}" for k in known), shades, strict=True))
    if isinstance(colour, str):
        if colour not in ("cluster", "input"):
            raise ValueError(f"colour must be cluster, input, layer, position or an array, got {colour!r}")
        index = emb.labels if colour == "cluster" else emb.source[:, 0]
        return _of_classes(index, 0), {"noise": _NOISE} if (index < 0).any() else {}
    values = np.asarray(colour)
    if values.shape != (len(emb),):
        raise ValueError(f"colour must have one entry for each of {len(emb)} tokens, got {values.shape}")
    if np.issubdtype(values.dtype, np.floating):
        scaled = (values - values.min()) / max(np.ptp(values), 1e-30)
        return mpl.colormaps["viridis"](scaled)[:, :3], {}
    known, index = np.unique(values, return_inverse=True)
    shades = class_colours(np.bincount(index, minlength=len(known)))
    return shades[index], dict(zip(map(str, known[:30]), shades, strict=False))


def layer_colours(n: int) -> np.ndarray:
    """A colour (n, 3) for each of n layers, from dark to light; the lightest is still seen on white."""
    return np.asarray(mpl.colormaps["viridis"](np.linspace(0, 0.9, n))[:, :3])


def class_colours(counts: np.ndarray) -> np.ndarray:
    """A colour (n, 3) for each of n classes: the eight that are told apart by eye for the largest, then lighter and darker."""
    rank = np.argsort(np.argsort(-np.asarray(counts), kind="stable"))
    base = np.array([to_rgb(c) for c in SEGMENT_COLOURS])[rank % len(SEGMENT_COLOURS)]
    light = np.array([0, 0.45, -0.4])[rank // len(SEGMENT_COLOURS) % 3]
    return _lighter(base, light[:, None])


def place_colours(rows: Any, columns: Any) -> np.ndarray:
    """The colour (n, 3) of places in [0, 1]: from left to right blue to orange, from top to bottom light to dark."""
    across, down = np.asarray(columns, float)[:, None], np.asarray(rows, float)[:, None]
    blue, orange = np.array(to_rgb(SEGMENT_COLOURS[0])), np.array(to_rgb(SEGMENT_COLOURS[1]))
    return _lighter(blue + (orange - blue) * across, 0.45 - 0.9 * down)


def _lighter(rgb: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Colours mixed with white, or with black where `share` is below 0."""
    return rgb + (np.where(share > 0, 1.0, 0.0) - rgb) * np.abs(share)


def _of_classes(index: np.ndarray, n: int) -> np.ndarray:
    """The colour (M, 3) of class numbers; grey below 0."""
    known = class_colours(np.bincount(index[index >= 0], minlength=n))
    return np.array([*known, _NOISE])[np.where(index < 0, len(known), index)]


def positions(emb: Embedding) -> np.ndarray:
    """Where each token stands in its input: row and column (M, 2) in [0, 1], of a text row 0; below 0 for prefix tokens."""
    found = []
    for number, token in emb.source.tolist():
        layout = emb.inputs[number].layout
        h, w = layout.grid or (1, layout.n_content)
        row, column = divmod(token - layout.n_prefix, w)
        found.append((row / max(h - 1, 1), column / max(w - 1, 1)) if row >= 0 else (-1, -1))
    return np.array(found, float).reshape(-1, 2)


def _by_position(emb: Embedding) -> np.ndarray:
    rows, columns = positions(emb).T
    if all(placed.layout.grid for placed in emb.inputs):
        return np.where(rows[:, None] < 0, _NOISE, place_colours(rows, columns))
    return np.asarray(mpl.colormaps["viridis"](columns)[:, :3])
