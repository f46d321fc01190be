"""Commands on many images: ``python -m ultra_kit evaluate folder my_images``, ``train-transform FOLDER``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

import ultra_kit as uk

from . import options
from .options import Layer, Metric, Model, Out, Rule, Score, Seed, Share, Transform, app, stop


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
    model: Model = "dinov2",
    split: Annotated[str | None, typer.Option(help="Part of the data set; the usual one by default.")] = None,
    crop: Annotated[str | None, typer.Option(help="A protocol's: full, stego320, diffseg512, ...")] = None,
    limit: Annotated[int | None, typer.Option(help="Only so many images, the first ones.", min=1)] = None,
    method: Annotated[
        Literal["ultra", "raw_attention", "rollout", "cosine"], typer.Option(help="Which maps are cut.")
    ] = "ultra",
    layer: Layer = None,
    score: Score = None,
    rule: Rule = None,
    transform: Transform = None,
    metric: Metric = None,
    threshold: Annotated[
        list[float] | None,
        typer.Option(help="Distance of the cut, the model's own by default; repeatable for bsds500."),
    ] = None,
    n_segments: Annotated[
        str | None, typer.Option(help='Number of segments, or "true" for the true number of classes.')
    ] = None,
    share: Share = None,
    jobs: Annotated[int, typer.Option(help="Processes; -1 for one per core.")] = 1,
    seed: Seed = 0,
    out: Out = Path("out"),
) -> None:
    """Measure segments on a data set, beside trivial baselines and a ceiling. Goes on where it was stopped."""
    from joblib import parallel_config

    number = None if n_segments is None else _number(n_segments)
    how = options.said(score=score, rule=rule, metric=metric, threshold=threshold or None, n_segments=number)
    how |= options.transform_of(transform, layer) | {"method": method, "seed": seed}
    how |= options.said(share=share)
    with options.stopping():
        data = _open(dataset, root, split, crop)[:limit]
        options.load(model)
        with parallel_config(backend="loky", n_jobs=jobs):
            found = uk.evaluate(model, data, out=out, **how)
    typer.echo(str(found))
    typer.echo(f"results.json, images.csv, worst/ and best/ in {out}")


@app.command("train-transform")
def train_transform(
    folder: Annotated[Path, typer.Argument(help="A folder of images; no label is read.", show_default=False)],
    model: Model = "dinov2",
    layer: Layer = None,
    rule: Rule = None,
    epochs: Annotated[int, typer.Option(help="Passes over the images at most; it stops early.")] = 4,
    seed: Seed = 0,
    out: Annotated[Path, typer.Option(help="File to write; its loss curve lies beside it.")] = Path(
        "transform.safetensors"
    ),
) -> None:
    """Train W, the matrix between a model and its maps, without labels, on a folder of images."""
    if out.suffix != ".safetensors":
        stop(f"--out must end with .safetensors, got {out}")
    how, curve = options.said(layer=layer, rule=rule), out.with_suffix(".png")
    with options.stopping():
        w = uk.train_transform(options.load(model), folder, epochs=epochs, seed=seed, **how)
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
