"""The command line, one file a group of commands; the order below is the order of ``--help``."""

from . import images as images
from . import measuring as measuring
from . import selection as selection
from . import text as text
from . import training as training
from .common import app as app

__all__ = ["app"]
