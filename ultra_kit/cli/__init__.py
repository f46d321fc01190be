"""The command line, one file a group of commands; the order below is the order of ``--help``."""

from . import images as images
from . import text as text
from .common import app as app

__all__ = ["app"]
