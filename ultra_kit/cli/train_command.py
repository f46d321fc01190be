"""Commands that learn something: ``python -m ultra_kit train-transform FOLDER``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import ultra_kit as uk

from .options import Layer, Model, Rule, app, load, one_line, stop, write_png

_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"}


@app.command("train-transform")
def train_transform(
    folder: Annotated[Path, typer.Argument(help="A folder of images; no label is read.", show_default=False)],
    model: Model = "scenes",
    layer: Layer = -1,
    rule: Rule = "positive",
    epochs: Annotated[int, typer.Option(help="Passes over the images at most; it stops early.")] = 4,
    seed: Annotated[int, typer.Option(help="Orders the images.")] = 0,
    out: Annotated[Path, typer.Option(help="File to write; its loss curve lies beside it.")] = Path(
        "transform.safetensors"
    ),
) -> None:
    """Train W, the matrix between a model and its maps, without labels, on a folder of images."""
    if out.suffix != ".safetensors":
        stop(f"--out must end with .safetensors, got {out}")
    if not folder.is_dir():
        stop(f"there is no folder {folder}")
    images = sorted(p for p in folder.rglob("*") if p.suffix.lower() in _SUFFIXES)
    if len(images) < 2:
        stop(f"{folder} must hold at least two images, found {len(images)}")
    backbone = load(model)
    try:
        w = uk.train_transform(
            backbone,
            images,
            layer=layer,
            rule=rule,
            epochs=epochs,
            seed=seed,
        )
        w.save(out)
        write_png(uk.plots.loss_curve(w), out.with_suffix(""))
    except (uk.UltraError, ValueError, TypeError, OSError) as error:
        stop(one_line(error))
    typer.echo(f"{w} in {out}, its loss curve in {out.with_suffix('.png')}")
