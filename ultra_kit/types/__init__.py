"""The objects that travel through the workbench, and the errors. Each object is immutable and knows where it came from."""

from .backbone import AttentionStep, Backbone, Layout, Settings
from .errors import UltraError
from .objects import Capture, ExplanationMaps, Progress, Tokens

__all__ = [
    "AttentionStep",
    "Backbone",
    "Capture",
    "ExplanationMaps",
    "Layout",
    "Progress",
    "Settings",
    "Tokens",
    "UltraError",
]
