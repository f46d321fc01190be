"""Synthetic worlds whose truth is known: scenes for vision models, briefs for language models."""

from .briefs import Brief, Facts, brief, facts_right
from .scenes import BACKGROUNDS, COLOURS, SHAPES, TEXTURES, Scene, SceneObject, scene

__all__ = [
    "BACKGROUNDS",
    "COLOURS",
    "SHAPES",
    "TEXTURES",
    "Brief",
    "Facts",
    "Scene",
    "SceneObject",
    "brief",
    "facts_right",
    "scene",
]
