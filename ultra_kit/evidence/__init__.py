"""What each word of a summary was made from: the words of the document behind it."""

from .result import Coverage, Evidence
from .trace import METHODS, evidence

__all__ = ["METHODS", "Coverage", "Evidence", "evidence"]
