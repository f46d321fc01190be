"""Deletion and insertion curves of several methods in one figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from .style import FOCUS, REFERENCE, SEGMENT_COLOURS, panels, styled

if TYPE_CHECKING:
    from ..runs.perturbing import Perturbation

_OTHERS = tuple(c for c in SEGMENT_COLOURS if c not in (FOCUS, "#F0E442"))  # yellow is lost on white
_DASHES = ("-", "--", "-.", ":")


@styled
def perturbation_curves(
    found: Mapping[str, Perturbation],
    *,
    focus: Sequence[str] = ("ultra",),
) -> Figure:
    """Draw what becomes of latents as patches go or come: a line a method, the area in the legend.

    Parameters
    ----------
    found : mapping of str to Perturbation
        From `ultra_kit.runs.perturbing.measure_perturbation`, or one token's from `perturb`.
    focus : sequence of str, default ("ultra",)
        Beginnings of the names of the methods to draw bold, whatever their case.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If there is no curve.

    Examples
    --------
    >>> import numpy as np
    >>> from ultra_kit.runs import Perturbation
    >>> curve = Perturbation(np.array([0.0, 1.0]), np.array([[1.0, 0.5]]), np.array([[0.5, 1.0]]), 4)
    >>> [ax.get_title() for ax in perturbation_curves({"ULTra": curve}).axes]
    ['Deletion: low is good', 'Insertion: high is good']
    """
    if not found:
        raise ValueError("found must hold at least one method's curves, got none")
    panes = (
        ("deletion", "Deletion: low is good", "share taken away, most relevant first"),
        ("insertion", "Insertion: high is good", "share left in, most relevant first"),
    )
    starts = tuple(f.lower() for f in focus)
    with panels(1, 2, panel=(7.2, 5.6)) as (figure, axes):
        for ax, (name, title, label) in zip(axes[0], panes, strict=True):
            for number, (method, curves) in enumerate(found.items()):
                bold = method.lower().startswith(starts)
                order = sum(m.lower().startswith(starts) for m in list(found)[:number])
                random = method.lower().startswith("random")
                colour = FOCUS if bold else REFERENCE if random else _OTHERS[number % len(_OTHERS)]
                dashes = ":" if random else _DASHES[number % 3]
                ax.plot(
                    curves.fractions,
                    getattr(curves, name).mean(axis=0),
                    color=colour,
                    linestyle=_DASHES[order % 3] if bold else dashes,
                    linewidth=4 if bold else 2.2,
                    zorder=3 if bold else 2,
                    label=f"{method}  {curves.scores[name]:.3f}",
                )
            ax.set(title=title, xlabel=label, xlim=(0, 1))
            ax.legend(title="area under the curve", frameon=False, fontsize=12, title_fontsize=12)
            ax.spines[["top", "right"]].set_visible(False)
        axes[0, 0].set_ylabel("cosine similarity of the latent\nto itself in the whole image")
        low = min(ax.get_ylim()[0] for ax in axes[0])
        for ax in axes[0]:
            ax.set_ylim(low, 1.01)
    return figure
