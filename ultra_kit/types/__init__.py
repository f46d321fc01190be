"""The objects that travel through the workbench, and the errors. Each object is immutable and knows where it came from."""

from .objects import (
    AttentionStep,
    Backbone,
    Capture,
    ExplanationMaps,
    Layout,
    Progress,
    Settings,
    Tokens,
    UltraError,
)

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
