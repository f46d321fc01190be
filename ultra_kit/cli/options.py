"""What every command shares: the app itself, its options, and the loop over the inputs.

A new group of commands is a file of this folder that decorates functions with ``@app.command()`` and
stands in the list of ``cli/__init__.py``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer

import ultra_kit as uk

from ..types.whole_file import whole_file, write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..types import Backbone

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="See what the latent tokens of a Transformer mean. Writes PNG, NPZ and JSON for each input.",
)

Images = Annotated[list[Path], typer.Argument(help="Image files.", metavar="IMAGE...", show_default=False)]
Model = Annotated[str, typer.Option(help="A bundled name, timm:NAME, or hf:REPO-OR-FOLDER.")]
Layer = Annotated[
    int, typer.Option(help="0 is the embedding, k the output of block k; negative from the end.")
]
Out = Annotated[Path, typer.Option(help="Folder to write to; it is made.")]
Score = Annotated[
    Literal["norm", "sum", "energy", "head"], typer.Option(help="What is explained of a latent token.")
]
Rule = Annotated[
    Literal["positive", "negative", "absolute"],
    typer.Option(help="Count what raises the score, lowers it, or both."),
]
Transform = Annotated[
    Path | None, typer.Option(help="W, a .safetensors file of the command train-transform.")
]


def stop(message: str) -> NoReturn:
    """Say what is wrong in one line and end with exit code 1."""
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(1)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"ultra_kit {uk.__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


def load(name: str, modality: str = "image") -> Backbone:
    """Load a model of the modality the command is for, or stop with a reason."""
    try:
        model = uk.load(name)
    except (uk.UltraError, ValueError, TypeError, OSError) as error:
        stop(one_line(error))
    if model.modality != modality:
        kinds = {"image": "an image model", "text": "a text model"}
        known = {"image": "scenes", "text": "briefs"}[modality]
        stop(f"this command needs {kinds[modality]}, {name} is a {model.modality} model; try --model {known}")
    return model


def load_transform(path: Path | None) -> uk.maps.Transform | None:
    """Read W from a file, if one is named, or stop with a reason."""
    try:
        return uk.maps.Transform.load(path) if path else None
    except (uk.UltraError, ValueError, OSError) as error:
        stop(one_line(error))


def at_layer(layer: int | None, w: uk.maps.Transform | None) -> int:
    """The layer asked for, or else the one that W was trained at, or else the last."""
    if layer is not None:
        return layer
    return w.layer if w else -1


def each(
    images: Iterable[Path], out: Path, kind: str, work: Callable[[Path, Path], str], what: str = "images"
) -> None:
    """Do the work on every input; one that fails leaves the others alone and the exit code 1."""
    paths, used, failed = list(images), set[str](), 0
    for number, image in enumerate(paths, 1):
        stem, again = f"{image.stem}-{kind}", 2
        while stem in used:
            stem, again = f"{image.stem}-{again}-{kind}", again + 1
        used.add(stem)
        try:
            said = work(image, out / stem)
        except (uk.UltraError, ValueError, TypeError, OSError) as error:
            failed += 1
            typer.echo(f"[{number}/{len(paths)}] {image}: error: {one_line(error)}", err=True)
        else:
            typer.echo(f"[{number}/{len(paths)}] {image}: {said} in {out / stem}.png, .npz and .json")
    if failed:
        stop(f"{failed} of {len(paths)} {what} failed")


def one_line(error: Exception) -> str:
    """An error's message without its line breaks."""
    return " ".join(str(error).split())


def write_json(content: dict[str, Any], base: Path) -> None:
    """Write ``base.json``."""
    write_text(base.with_name(f"{base.name}.json"), json.dumps(content, indent=1, default=str) + "\n")


def write_png(figure: Figure, base: Path) -> None:
    """Write ``base.png``."""
    with whole_file(base.with_name(f"{base.name}.png")) as partial:
        figure.savefig(partial, bbox_inches="tight")
