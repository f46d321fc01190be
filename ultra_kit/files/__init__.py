"""Results as files: saved with their provenance card, opened without running anything, verified by making them again, exported as one page."""

from .exporting import export_html
from .storage import open, save
from .verification import Verification, verify

__all__ = [
    "Verification",
    "export_html",
    "open",
    "save",
    "verify",
]
