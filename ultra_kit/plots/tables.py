"""A table of scores as a chart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .style import FOCUS, PLAIN, REFERENCE, figure_of, panels, styled

_PAPER = {"facecolor": "white", "edgecolor": "none", "pad": 1.5, "alpha": 0.85}


@styled
def metric_table(
    scores: Any,
    *,
    chance: float | Mapping[str, float] | None = None,
    chance_label: str = "chance",
    focus: Sequence[str] = ("ultra",),
    ax: Axes | None = None,
) -> Figure:
    """Draw a score table as bars: a row a method, a panel a measure, a line for chance.

    Parameters
    ----------
    scores : mapping or pandas.DataFrame
        ``{method: score}``, ``{method: {measure: score}}``, or a data frame whose index holds the
        methods and whose columns are the measures. A missing or NaN score has no bar and reads
        "none".
    chance : float or mapping of str to float, optional
        Score of a method that knows nothing, for all measures or each: a dashed line.
    chance_label : str, default "chance"
        What the line is called, such as "floor" or "ceiling".
    focus : sequence of str, default ("ultra",)
        Beginnings of the names of the methods to colour, whatever their case.
    ax : matplotlib.axes.Axes, optional
        Where to draw, for one measure; a new figure by default.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If there is no score, or `ax` is given for several measures.

    Examples
    --------
    >>> figure = metric_table({"ULTra": {"AP": 0.6}, "random": {"AP": 0.2}}, chance=0.2)
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['0.60', '0.20']
    """
    table = _table(scores)
    measures = list(dict.fromkeys(m for row in table.values() for m in row))
    if not measures:
        raise ValueError("scores must hold at least one method and one measure, got none")
    if ax is not None and len(measures) > 1:
        raise ValueError(
            f"one ax can hold one measure, got {len(measures)}: {', '.join(measures)}; leave ax out"
        )
    levels = chance if isinstance(chance, Mapping) else dict.fromkeys(measures, chance)
    if ax is not None:
        _bars(ax, table, measures[0], levels.get(measures[0]), chance_label, focus)
        return figure_of(ax)
    longest = max(len(str(name)) for name in table)
    height = 1.6 + 0.48 * len(table)
    with panels(1, len(measures), panel=(3.9 + 0.12 * longest / len(measures), height)) as (figure, axes):
        for k, measure in enumerate(measures):
            _bars(axes[0, k], table, measure, levels.get(measure), chance_label, focus)
            if k:
                axes[0, k].tick_params(labelleft=False)
    return figure


def _table(scores: Any) -> dict[str, dict[str, float]]:
    """Turn any accepted form into method -> measure -> score."""
    if hasattr(scores, "to_dict") and hasattr(scores, "columns"):
        scores = scores.to_dict("index")
    return {
        str(name): dict(row) if isinstance(row, Mapping) else {"score": float(row)}
        for name, row in dict(scores).items()
    }


def _bars(
    ax: Axes,
    table: Mapping[str, Mapping[str, float]],
    measure: str,
    chance: float | None,
    chance_label: str,
    focus: Sequence[str],
) -> None:
    values = np.array([row.get(measure, np.nan) for row in table.values()], float)
    starts = tuple(f.lower() for f in focus)
    colours = [FOCUS if name.lower().startswith(starts) else PLAIN for name in table]
    ax.barh(np.arange(len(values)), np.nan_to_num(values), color=colours, height=0.72)
    top = float(np.nanmax([*values, chance or 0, 0]))
    for y, value in enumerate(values):
        text = "none" if np.isnan(value) else f"{value:.2f}"
        ax.text(max(np.nan_to_num(value), 0) + 0.02 * (top or 1), y, text, va="center", zorder=3, bbox=_PAPER)
    if chance is not None:
        ax.axvline(
            chance, color=REFERENCE, linestyle="--", linewidth=2.5, label=f"{chance_label} {chance:.2f}"
        )
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.08), frameon=False)
    ax.set_yticks(np.arange(len(values)), list(table))
    ax.invert_yaxis()
    ax.set_xlim(min(0.0, float(np.nanmin([*values, 0]))), (top or 1) * 1.22)
    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.set_title(measure)
    ax.spines[["top", "right"]].set_visible(False)
