"""Data sets with ground truth in their official layouts, read from where the user keeps them.

Nothing is downloaded. Every loader gives a `Dataset`, whose samples have an image and one truth (or
the truths of several people), -1 where no score counts.
"""

from .base import IGNORED, Dataset, Sample
from .bsds import BSDS500
from .crops import CROPS

__all__ = ["CROPS", "IGNORED", "BSDS500", "Dataset", "Sample"]
