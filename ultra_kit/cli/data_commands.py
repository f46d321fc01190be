"""Commands on many images: ``python -m ultra_kit evaluate folder my_images``, ``train-transform FOLDER``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

import ultra_kit as uk

from . import options
from .options import Layer, LayerOfTransform, Model, Out, Rule, Score, Seed, Transform, app, stop

_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"}


class Layouts(StrEnum):
    """A loader's name in `ultra_kit.data`, and what the command calls it."""

    COCOStuff27 = "coco-stuff-27"
    Cityscapes27 = "cityscapes-27"
    PascalVOC2012 = "voc-2012"
    Potsdam3 = "potsdam-3"
    Potsdam3Tiles = "potsdam-3-tiles"
    BSDS500 = "bsds500"
    Folder = "folder"


@app.command()
def evaluate(
    dataset: Annotated[Layouts, typer.Argument(help="Which layout the data have.", show_default=False)],
    root: Annotated[Path, typer.Argument(help="Folder of the data.", show_default=False)],
    model: Model = "scenes",
    split: Annotated[str | None, typer.Option(help="Part of the data set; the usual one by default.")] = None,
    crop: Annotated[str | None, typer.Option(help="A protocol's: full, stego320, diffseg512, ...")] = None,
    limit: Annotated[int | None, typer.Option(help="Only so many images, the first ones.", min=1)] = None,
    method: Annotated[
        Literal["ultra", "raw_attention", "rollout", "cosine"], typer.Option(help="Which maps are cut.")
    ] = "ultra",
    layer: LayerOfTransform = None,
    score: Score = "norm",
    rule: Rule = "positive",
    transform: Transform = None,
    threshold: Annotated[
        list[float] | None,
        typer.Option(help="Cosine distance of the cut, 0.25 by default; repeatable for bsds500."),
    ] = None,
    n_segments: Annotated[
        str | None, typer.Option(help='Number of segments, or "true" for the true number of classes.')
    ] = None,
    jobs: Annotated[int, typer.Option(help="Processes; -1 for one per core.")] = 1,
    seed: Seed = 0,
    out: Out = Path("out"),
) -> None:
    """Measure segments on a data set, beside trivial baselines and a ceiling. Goes on where it was stopped."""
    from joblib import parallel_config

    number = None if n_segments is None else _number(n_segments)
    cut = options.one_cut(threshold=threshold or None, n_segments=number)
    options.load(model)
    how = options.explaining(layer, score, rule, transform) | {"method": method, "seed": seed} | cut
    with options.stopping():
        data = _open(dataset, root, split, crop)[:limit]
        with parallel_config(backend="loky", n_jobs=jobs):
            found = uk.evaluate(model, data, out=out, **how)
    typer.echo(str(found))
    typer.echo(f"results.json, images.csv, worst/ and best/ in {out}")


@app.command("train-transform")
def train_transform(
    folder: Annotated[Path, typer.Argument(help="A folder of images; no label is read.", show_default=False)],
    model: Model = "scenes",
    layer: Layer = -1,
    rule: Rule = "positive",
    epochs: Annotated[int, typer.Option(help="Passes over the images at most; it stops early.")] = 4,
    seed: Seed = 0,
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
    backbone, curve = options.load(model), out.with_suffix(".png")
    with options.stopping():
        w = uk.train_transform(backbone, images, layer=layer, rule=rule, epochs=epochs, seed=seed)
        w.save(out)
        options.write_png(uk.plots.loss_curve(w), curve)
    typer.echo(f"{w} in {out}, its loss curve in {curve}")


def _number(text: str) -> int | str:
    try:
        return text if text == "true" else int(text)
    except ValueError:
        stop(f'--n-segments must be a whole number or "true", got {text!r}')


def _open(layout: Layouts, root: Path, split: str | None, crop: str | None) -> Any:
    if split is not None and layout is Layouts.Folder:
        stop("a folder has no splits; point to the folder of one")
    if crop is not None and layout is Layouts.BSDS500:
        stop("bsds500 is scored at its own size; leave --crop out")
    given = {"split": split, "crop": crop}
    named = {name: value for name, value in given.items() if value is not None}
    return getattr(uk.data, layout.name)(root, **named)
