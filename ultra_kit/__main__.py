"""The command line: ``python -m ultra_kit explain cat.jpg --point 120,80``."""

from .cli import app

if __name__ == "__main__":
    app(prog_name="python -m ultra_kit")
