"""Matplotlib figures of maps, segments, scenes, texts and scores.

Every function returns the `matplotlib.figure.Figure` and shows or saves nothing: in a notebook the
figure appears once, as the value of the last line of a cell. Sizes are meant for a projector.
"""

from .loss_curves import loss_curve
from .map_figures import compare_methods, layer_strip, show_map, token_grid
from .perturbation_figures import perturbation_curves
from .segment_figures import show_dendrogram, show_scene, show_segments
from .selection_figures import show_selection
from .tables import metric_table
from .text_figures import layer_words, sentence_matrix, show_evidence

__all__ = [
    "compare_methods",
    "layer_strip",
    "layer_words",
    "loss_curve",
    "perturbation_curves",
    "metric_table",
    "sentence_matrix",
    "show_dendrogram",
    "show_evidence",
    "show_map",
    "show_scene",
    "show_segments",
    "show_selection",
    "token_grid",
]
