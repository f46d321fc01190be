"""Charts of figures: bars of metrics, curves of a training, curves of a perturbation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator

from .style import FOCUS, PAPER, PLAIN, REFERENCE, SEGMENT_COLOURS, in_focus, panels, styled

if TYPE_CHECKING:
    from ..runs.diagnosing import Diagnosis
    from ..runs.perturbing import Perturbation
    from ..runs.transform import Transform

_OTHERS = tuple(c for c in SEGMENT_COLOURS if c not in (FOCUS, "#F0E442"))  # yellow is lost on white
_DASHES = ("-", "--", "-.")
SIMILARITY = "cosine similarity of the latent\nto itself in the whole input"


@styled
def metric_table(
    scores: Any,
    *,
    chance: float | Mapping[str, float] | None = None,
    chance_label: str = "chance",
    focus: Sequence[str] = ("ultra",),
    ax: Axes | None = None,
) -> Figure:
    """Draw a table of metrics as bars: a row per method, a panel per metric, a line for chance.

    Parameters
    ----------
    scores : mapping or pandas.DataFrame
        ``{method: value}``, ``{method: {metric: value}}``, or a data frame with a row per method and a column per
        metric; not empty, and of one metric if `ax` is given. A missing or NaN value has no bar and reads "none".
    chance : float or mapping of str to float, optional
        Value of a method that knows nothing, for all metrics or each: a dashed line.
    chance_label : str
        What the line is called, such as "ceiling".

    Examples
    --------
    >>> figure = metric_table({"ULTra": {"AP": 0.6}, "random": {"AP": 0.2}}, chance=0.2)
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['0.60', '0.20']
    """
    if not isinstance(scores, pd.DataFrame):
        rows = [row if isinstance(row, Mapping) else {"score": row} for row in scores.values()]
        scores = pd.DataFrame(rows, list(scores))
    table = scores.astype(float).rename(index=str)
    if table.empty:
        raise ValueError("scores must hold at least one method and one measure, got none")
    if ax is not None and len(table.columns) > 1:
        raise ValueError(
            f"one ax can hold one measure, got {len(table.columns)}: {', '.join(table)}; leave ax out"
        )
    levels = chance if isinstance(chance, Mapping) else dict.fromkeys(table, chance)
    width = 3.9 + 0.12 * max(map(len, table.index)) / len(table.columns)
    figure, axes = panels(1, len(table.columns), panel=(width, 1.6 + 0.48 * len(table)), ax=ax)
    for k, (measure, values) in enumerate(table.items()):
        _bars(axes[0, k], values, in_focus(table.index, focus), levels.get(measure), chance_label)
        if k:
            axes[0, k].tick_params(labelleft=False)
    return figure


@styled
def loss_curve(w: Transform) -> Figure:
    """Draw the loss on the training and the held-out images, epoch by epoch; the kept epoch is marked.

    Parameters
    ----------
    w : Transform
        From `ultra_kit.train_transform`.
    """
    epochs = np.arange(len(w.loss))
    kept = int(w.loss[:, 1].argmin())
    figure, [[ax]] = panels(1, 1, panel=(7.5, 4.5))
    ax.plot(epochs, w.loss[:, 0], "o--", color=PLAIN, linewidth=2.5, label="training images")
    ax.plot(epochs, w.loss[:, 1], "o-", color=FOCUS, linewidth=3, label="held-out images")
    ax.plot(kept, w.loss[kept, 1], "o", color=FOCUS, markersize=16, markerfacecolor="none", label="kept")
    ax.set(xlabel="epoch", ylabel="self-consistency loss")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(frameon=False)
    ax.spines[["top", "right"]].set_visible(False)
    return figure


@styled
def show_diagnosis(found: Diagnosis) -> Figure:
    """Draw lengths, the first principal axis, and where attention and relevance lie, layer by layer.

    Parameters
    ----------
    found : Diagnosis
        From `ultra_kit.diagnose`.

    Examples
    --------
    >>> import ultra_kit as uk
    >>> cap = uk.capture(uk.load("scenes"), uk.data.scene(0).image)
    >>> show_diagnosis(uk.diagnose(cap, tokens=[30], layers=[3, 5])).axes[3].get_title()
    'relevance, own position left out'
    """
    colours = {"prefix": PLAIN, "sinks": FOCUS, "high": SEGMENT_COLOURS[2]}
    figure, axes = panels(2, 2, panel=(7.2, 4.4))
    layers = found.layers.rename(columns={"largest": "longest content token", "prefix norm": "prefix tokens"})
    layers[["longest content token", "prefix tokens"]].plot(
        ax=axes[0, 0], color=[SEGMENT_COLOURS[2], PLAIN], marker="o"
    )
    axes[0, 0].set(title="length, in medians of the content tokens", yscale="log")
    axes[0, 0].yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes[0, 0].yaxis.set_major_formatter("{x:g}")
    axes[0, 0].yaxis.set_minor_formatter("")
    axes[0, 0].axhline(3, color=REFERENCE, linestyle=":")
    layers[["axis", "axis without"]].plot(ax=axes[0, 1], color=[FOCUS, REFERENCE], marker="o", ylim=(0, 1.03))
    axes[0, 1].set_title("variance on the first axis, with and without them")
    for ax, name in zip(axes[1], ("attention", "relevance"), strict=True):
        part = layers[[f"{name} {kind}" for kind in colours]].dropna().set_axis(list(colours), axis=1)
        for kind, low in (part.cumsum(axis=1) - part).items():  # bars: nothing is known between layers
            ax.bar(part.index, part[kind], bottom=low, color=colours[str(kind)], label=kind)
        ax.set(xlabel="layer", ylim=(0, 1), xlim=(-0.5, len(layers) - 0.5))
        ax.set_title(f"{name}, own position left out")
    for ax in axes.flat:
        ax.legend(fontsize=12)
        ax.spines[["top", "right"]].set_visible(False)
        ax.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    return figure


@styled
def perturbation_curves(found: Mapping[str, Perturbation], *, focus: Sequence[str] = ("ultra",)) -> Figure:
    """Draw what becomes of latents as patches go or come: the mean of the tokens, a line per method.

    Parameters
    ----------
    found : mapping of str to Perturbation
        From `ultra_kit.runs.perturbing.measure_perturbation`, or one token's from `ultra_kit.runs.perturb`; not empty.

    Examples
    --------
    >>> import numpy as np
    >>> from ultra_kit.runs import Perturbation
    >>> curves = Perturbation(np.array([0.0, 1.0]), np.array([[1.0, 0.5]]), np.array([[0.5, 1.0]]), 4)
    >>> perturbation_curves({"ULTra": curves}).axes[0].get_legend().get_texts()[0].get_text()
    'ULTra  0.750'
    """
    if not found:
        raise ValueError("found must hold at least one method's curves, got none")
    panes = (
        ("deletion", "Deletion: low is good", "share taken away, most relevant first"),
        ("insertion", "Insertion: high is good", "share left in, most relevant first"),
    )
    figure, axes = panels(1, 2, panel=(7.2, 5.6))
    for ax, (name, title, label) in zip(axes[0], panes, strict=True):
        draw_curves(ax, found, name, focus)
        ax.set(title=title, xlabel=label)
    axes[0, 0].set_ylabel(SIMILARITY)
    low = min(ax.get_ylim()[0] for ax in axes[0])
    for ax in axes[0]:
        ax.set_ylim(low, 1.01)
    return figure


def draw_curves(ax: Axes, found: Mapping[str, Perturbation], name: str, focus: Sequence[str]) -> None:
    """The mean curves "deletion" or "insertion" of several methods on an axes, with the area under each."""
    bold = in_focus(found, focus)
    for k, (method, curves) in enumerate(found.items()):
        look: Any = {"color": _OTHERS[k % len(_OTHERS)], "linestyle": _DASHES[k % 3], "linewidth": 2.2}
        if bold[k]:
            look = {"color": FOCUS, "linestyle": _DASHES[sum(bold[:k]) % 3], "linewidth": 4, "zorder": 3}
        elif method.lower().startswith("random"):
            look = {"color": REFERENCE, "linestyle": ":", "linewidth": 2.2}
        mean = getattr(curves, name).mean(axis=0)
        ax.plot(curves.fractions, mean, label=f"{method}  {curves.areas[name]:.3f}", **look)
    ax.set_xlim(0, 1)
    ax.legend(title="area under the curve", frameon=False, fontsize=12, title_fontsize=12)
    ax.spines[["top", "right"]].set_visible(False)


def _bars(ax: Axes, values: pd.Series, bold: list[bool], chance: float | None, chance_label: str) -> None:
    """A bar per method of a metric, its value beside it, and a line for chance."""
    shown = values.fillna(0)
    ax.barh(np.arange(len(values)), shown, color=[FOCUS if b else PLAIN for b in bold], height=0.72)
    top = max(*shown, chance or 0, 0) or 1
    for y, value in enumerate(values):
        text = "none" if np.isnan(value) else f"{value:.2f}"
        ax.text(max(shown.iloc[y], 0) + 0.02 * top, y, text, va="center", zorder=3, bbox=PAPER)
    if chance is not None:
        label = f"{chance_label} {chance:.2f}"
        ax.axvline(chance, color=REFERENCE, linestyle="--", linewidth=2.5, label=label)
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.08), frameon=False)
    ax.set_yticks(np.arange(len(values)), values.index)
    ax.invert_yaxis()
    ax.set(title=values.name, xlim=(min(0.0, *shown), 1.22 * top))
    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.spines[["top", "right"]].set_visible(False)
