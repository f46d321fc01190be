"""The command line, one file for each group of commands; the order below is the order of ``--help``."""
# ruff: isort: skip_file

from .options import app as app
from . import image_commands as image_commands
from . import summarize_command as summarize_command
from . import data_commands as data_commands
from . import fetch_command as fetch_command

__all__ = ["app"]
