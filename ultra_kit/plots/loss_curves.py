"""The loss curve of a trained matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .style import FOCUS, PLAIN, panels, styled

if TYPE_CHECKING:
    from ..maps.transform import Transform


@styled
def loss_curve(w: Transform) -> Figure:
    """Draw the loss on the training and the held-out images, epoch by epoch; the kept epoch is marked.

    Parameters
    ----------
    w : Transform
        From `ultra_kit.train_transform`.

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> import numpy as np
    >>> import ultra_kit as uk
    >>> w = uk.maps.Transform(np.eye(2), 4, np.array([[np.nan, 3.0], [2.9, 2.8]], "float32"))
    >>> loss_curve(w).axes[0].get_xlabel()
    'epoch'
    """
    epochs = np.arange(len(w.loss))
    kept = int(w.loss[:, 1].argmin())
    with panels(1, 1, panel=(7.5, 4.5)) as (figure, axes):
        ax = axes[0, 0]
        ax.plot(epochs, w.loss[:, 0], "o--", color=PLAIN, linewidth=2.5, label="training images")
        ax.plot(epochs, w.loss[:, 1], "o-", color=FOCUS, linewidth=3, label="held-out images")
        ax.plot(kept, w.loss[kept, 1], "o", color=FOCUS, markersize=16, markerfacecolor="none", label="kept")
        ax.set(xlabel="epoch", ylabel="self-consistency loss")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.legend(frameon=False)
        ax.spines[["top", "right"]].set_visible(False)
    return figure
