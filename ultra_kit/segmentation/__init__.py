"""Unsupervised segments from explanation maps: tokens whose maps look alike belong together."""

from .cluster import METHODS, METRICS, segment
from .result import Segmentation

__all__ = ["METHODS", "METRICS", "Segmentation", "segment"]
