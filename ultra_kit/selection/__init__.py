"""Object selection: point at it, draw a box round it, or say what it is."""

from .result import Selection
from .select import select

__all__ = ["Selection", "select"]
