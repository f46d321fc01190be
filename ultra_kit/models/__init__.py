"""What a model is: its layout, its attention made explicit for one forward pass, its latents. `load` makes one, `check` says what it supports; the model itself is left as it was."""

from .checking import Report, check
from .loading import data_folder, load
from .open_image import open_image
from .text_image_backbone import TextAligned

__all__ = ["Report", "TextAligned", "check", "data_folder", "load", "open_image"]
