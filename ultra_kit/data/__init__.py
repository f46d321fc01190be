"""Data sets in their official layouts, worlds whose truth is known, and bundled photographs.

Nothing is downloaded. A reader gives a `Dataset` of images and truths; `scene` draws images and `brief` draws up reports with theirs.
"""

from .crops import CROPS
from .dataset import IGNORED, Dataset, Sample
from .drawn_reports import Brief, Facts, brief, facts_right
from .drawn_scenes import BACKGROUNDS, COLOURS, SHAPES, TEXTURES, Scene, SceneObject, scene
from .gallery import photograph, photographs
from .image_folder import Folder
from .official_layouts import BSDS500, Cityscapes27, COCOStuff27, PascalVOC2012, Potsdam3, Potsdam3Tiles

__all__ = [
    "BACKGROUNDS",
    "BSDS500",
    "Brief",
    "COCOStuff27",
    "COLOURS",
    "CROPS",
    "Cityscapes27",
    "Dataset",
    "Facts",
    "Folder",
    "IGNORED",
    "PascalVOC2012",
    "Potsdam3",
    "Potsdam3Tiles",
    "SHAPES",
    "Sample",
    "Scene",
    "SceneObject",
    "TEXTURES",
    "brief",
    "facts_right",
    "photograph",
    "photographs",
    "scene",
]
