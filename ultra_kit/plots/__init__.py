"""Matplotlib figures of maps, segments, selections, scenes, texts, atlases and metrics.

Every function returns the `matplotlib.figure.Figure` and shows or saves nothing: in a notebook the
figure appears once, as the value of the last line of a cell. Sizes are meant for a projector.

>>> import ultra_kit as uk
>>> drawn = uk.data.scene(3)
>>> cap = uk.capture(uk.load("scenes"), drawn.image)
>>> maps = uk.baselines.raw_attention(cap)
>>> several = [uk.plots.show_scene(drawn), uk.plots.token_grid(maps, [30, 31]), uk.plots.layer_strip(cap, 30)]
>>> both = uk.plots.compare_methods([maps, uk.baselines.cosine(cap)], 30)
>>> tree = uk.plots.show_dendrogram(uk.segment(maps))
"""

from .atlas_figures import atlas, atlas_hover, exemplar_cards
from .charts import loss_curve, metric_table, perturbation_curves, show_diagnosis
from .map_figures import compare_methods, layer_strip, show_map, token_grid
from .name_figures import show_names
from .segment_figures import show_dendrogram, show_scene, show_segments
from .selection_figures import show_selection
from .similar_figures import show_parts, show_similar
from .text_figures import layer_words, sentence_matrix, show_evidence
from .what_if_figures import map_and_deletion, show_intervention

__all__ = [
    "atlas",
    "atlas_hover",
    "compare_methods",
    "exemplar_cards",
    "layer_strip",
    "layer_words",
    "loss_curve",
    "map_and_deletion",
    "perturbation_curves",
    "metric_table",
    "sentence_matrix",
    "show_dendrogram",
    "show_diagnosis",
    "show_evidence",
    "show_intervention",
    "show_map",
    "show_names",
    "show_parts",
    "show_scene",
    "show_segments",
    "show_selection",
    "show_similar",
    "token_grid",
]
