"""Commands on data sets: ``python -m ultra_kit evaluate folder my_images``."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

import ultra_kit as uk

from .options import Layer, Model, Out, Rule, Score, app, load, one_line, stop


class DatasetName(StrEnum):
    """What `evaluate` calls the loaders."""

    coco = "coco-stuff-27"
    cityscapes = "cityscapes-27"
    voc = "voc-2012"
    potsdam = "potsdam-3"
    tiles = "potsdam-3-tiles"
    bsds = "bsds500"
    folder = "folder"


@app.command()
def evaluate(
    dataset: Annotated[DatasetName, typer.Argument(help="Which layout the data have.", show_default=False)],
    root: Annotated[Path, typer.Argument(help="Folder of the data.", show_default=False)],
    model: Model = "scenes",
    split: Annotated[str | None, typer.Option(help="Part of the data set; the usual one by default.")] = None,
    crop: Annotated[
        str | None, typer.Option(help="How a protocol cuts images: full, stego320, diffseg512, ...")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Only so many images, the first ones.", min=1)] = None,
    method: Annotated[
        Literal["ultra", "raw_attention", "rollout", "cosine"], typer.Option(help="Which maps are cut.")
    ] = "ultra",
    layer: Layer = -1,
    score: Score = "norm",
    rule: Rule = "positive",
    transform: Annotated[
        Path | None, typer.Option(help="A matrix W, as train-transform writes it.", show_default=False)
    ] = None,
    threshold: Annotated[
        list[float] | None,
        typer.Option(help="Cosine distance of the cut, 0.25 by default; repeatable for bsds500."),
    ] = None,
    n_segments: Annotated[
        str | None, typer.Option(help='Number of segments, or "true" for the true number of classes.')
    ] = None,
    jobs: Annotated[int, typer.Option(help="Processes; -1 for one a core.")] = 1,
    seed: Annotated[int, typer.Option(help="Of the k-means runs.")] = 0,
    out: Out = Path("out"),
) -> None:
    """Score segments on a data set, floors and ceiling beside them. Goes on where it was stopped."""
    from joblib import parallel_config

    if threshold and n_segments is not None:
        stop("--threshold and --n-segments exclude each other; give one")
    load(model)
    cut: dict[str, Any] = {}
    if n_segments is not None:
        cut["n_segments"] = n_segments if n_segments == "true" else _whole(n_segments)
    elif threshold:
        cut["threshold"] = threshold
    try:
        data = _open(dataset, root, split, crop)[:limit]
        with parallel_config(backend="loky", n_jobs=jobs):
            found = uk.evaluate(
                model,
                data,
                out=out,
                layer=layer,
                score=score,
                rule=rule,
                transform=None if transform is None else uk.maps.Transform.load(transform),
                method=method,
                seed=seed,
                **cut,
            )
    except (uk.UltraError, ValueError, TypeError, OSError) as error:
        stop(one_line(error))
    typer.echo(str(found))
    typer.echo(f"results.json, images.csv, worst/ and best/ in {out}")


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        stop(f'--n-segments must be a whole number or "true", got {text!r}')


def _open(name: DatasetName, root: Path, split: str | None, crop: str | None) -> Any:
    datasets = uk.data
    loaders: dict[DatasetName, Callable[..., Any]] = {
        DatasetName.coco: datasets.COCOStuff27,
        DatasetName.cityscapes: datasets.Cityscapes27,
        DatasetName.voc: datasets.PascalVOC2012,
        DatasetName.potsdam: datasets.Potsdam3,
        DatasetName.tiles: datasets.Potsdam3Tiles,
        DatasetName.bsds: datasets.BSDS500,
        DatasetName.folder: datasets.Folder,
    }
    if split is not None and name is DatasetName.folder:
        stop("a folder has no splits; point to the folder of one")
    if crop is not None and name is DatasetName.bsds:
        stop("bsds500 is scored at its own size; leave --crop out")
    given = {"split": split, "crop": crop}
    return loaders[name](root, **{key: value for key, value in given.items() if value is not None})
