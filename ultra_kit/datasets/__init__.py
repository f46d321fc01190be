"""Data sets with ground truth in their official layouts, read from where the user keeps them.

Nothing is downloaded. Every loader gives a `Dataset`, whose samples have an image and one truth (or
the truths of several people), -1 where no score counts.
"""

from .base import IGNORED, Dataset, Sample
from .bsds import BSDS500
from .cityscapes import Cityscapes27
from .coco import COCOStuff27
from .crops import CROPS
from .folder import Folder
from .potsdam import Potsdam3, Potsdam3Tiles
from .voc import PascalVOC2012

__all__ = [
    "CROPS",
    "IGNORED",
    "BSDS500",
    "COCOStuff27",
    "Cityscapes27",
    "Dataset",
    "Folder",
    "PascalVOC2012",
    "Potsdam3",
    "Potsdam3Tiles",
    "Sample",
]
