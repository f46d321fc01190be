"""Matplotlib figures of maps, segments, scenes, texts and scores.

Every function returns the `matplotlib.figure.Figure` and shows or saves nothing: in a notebook the
figure appears once, as the value of the last line of a cell. Sizes are meant for a projector.
"""

from .maps import compare_methods, layer_strip, show_map, token_grid
from .objects import show_selection
from .perturbation import perturbation_curves
from .scores import score_table
from .segments import show_dendrogram, show_scene, show_segments
from .text import layer_words, sentence_matrix, show_evidence
from .training import loss_curve

__all__ = [
    "compare_methods",
    "layer_strip",
    "layer_words",
    "loss_curve",
    "perturbation_curves",
    "score_table",
    "sentence_matrix",
    "show_dendrogram",
    "show_evidence",
    "show_map",
    "show_scene",
    "show_segments",
    "show_selection",
    "token_grid",
]
