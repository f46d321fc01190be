"""Whole runs: a model over a data set (`evaluate`), over worlds whose truth is known, and tests of what a map claims by taking the inputs away."""

from .evaluating import evaluate
from .evaluation import Evaluation
from .faithfulness import comprehensiveness, sufficiency
from .perturbing import Perturbation, perturb
from .semantic_classes import cluster_segments, describe_segments

__all__ = [
    "Evaluation",
    "Perturbation",
    "cluster_segments",
    "comprehensiveness",
    "describe_segments",
    "evaluate",
    "perturb",
    "sufficiency",
]
