"""Whole runs: a model over a data set (`evaluate`) or over scenes and reports whose truth is known, tests of what a map claims by taking inputs away, and the matrix W trained on a set of images."""

from .diagnosing import Diagnosis, diagnose
from .evaluating import evaluate
from .evaluation import Evaluation
from .faithfulness import comprehensiveness, sufficiency
from .intervening import Intervention, intervene
from .perturbing import Perturbation, perturb
from .semantic_classes import cluster_segments, describe_segments
from .transform import Transform
from .transform_training import train_transform

__all__ = [
    "Diagnosis",
    "Evaluation",
    "Intervention",
    "Perturbation",
    "Transform",
    "cluster_segments",
    "comprehensiveness",
    "describe_segments",
    "diagnose",
    "evaluate",
    "intervene",
    "perturb",
    "sufficiency",
    "train_transform",
]
