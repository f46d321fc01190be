"""Synthetic worlds whose truth is known: scenes for vision models."""

from .scenes import BACKGROUNDS, COLOURS, SHAPES, TEXTURES, Scene, SceneObject, scene

__all__ = ["BACKGROUNDS", "COLOURS", "SHAPES", "TEXTURES", "Scene", "SceneObject", "scene"]
