"""What commands share: the app, the options, each declared once, and the loop over inputs.

A file of commands stands in ``cli/__init__.py``; what takes long to import is imported when a command runs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import typer

import ultra_kit as uk

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="See what the latent tokens of a Transformer mean. Writes PNG, NPZ and JSON for each input.",
)

_LAYER = "0 is the embedding, k the output of block k; negative from the end."
Images = Annotated[list[Path], typer.Argument(help="Image files.", metavar="IMAGE...", show_default=False)]
Model = Annotated[str, typer.Option(help="A bundled name, timm:NAME, or hf:REPO-OR-FOLDER.")]
Layer = Annotated[int, typer.Option(help=_LAYER)]
LayerOfTransform = Annotated[
    int | None, typer.Option(help=f"{_LAYER} The last by default, or that of the transform.")
]
Out = Annotated[Path, typer.Option(help="Folder to write to; it is made.")]
Score = Annotated[
    Literal["norm", "sum", "energy", "head"], typer.Option(help="What is explained of a latent token.")
]
Rule = Annotated[
    Literal["positive", "negative", "absolute"],
    typer.Option(help="Count what raises the score, lowers it, or both."),
]
Transform = Annotated[Path | None, typer.Option(help="W, a .safetensors file of train-transform.")]
Points = Annotated[
    list[str] | None, typer.Option(help="x,y in pixels: what lies there; repeatable.", metavar="X,Y")
]
Seed = Annotated[int, typer.Option(help="Of what is drawn by chance.")]


def stop(message: str) -> NoReturn:
    """Say what is wrong in one line and end with exit code 1."""
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(1)


@contextmanager
def stopping() -> Iterator[None]:
    """What goes wrong in the block is said in one line and ends with exit code 1."""
    try:
        yield
    except (uk.UltraError, ValueError, TypeError, OSError) as error:
        stop(one_line(error))


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


def load(name: str, modality: str = "image") -> uk.types.Backbone:
    """Load a model of the modality the command is for, or stop with a reason."""
    with stopping():
        model = uk.load(name)
    if model.modality != modality:
        kind, known = {"image": ("an image", "scenes"), "text": ("a text", "briefs")}[modality]
        stop(f"this command needs {kind} model, {name} is a {model.modality} model; try --model {known}")
    return model


def explaining(layer: int | None, score: str, rule: str, transform: Path | None) -> dict[str, Any]:
    """Options of `ultra_kit.explain`: W read from its file, its layer where none is asked for, else the last."""
    with stopping():
        w = uk.runs.Transform.load(transform) if transform else None
    own = w.layer if w else -1
    return {"layer": own if layer is None else layer, "score": score, "rule": rule, "transform": w}


def one_cut(**cut: Any) -> dict[str, Any]:
    """The way to cut that is given, if any; two stop the command."""
    given = {name: value for name, value in cut.items() if value is not None}
    if len(given) > 1:
        stop("--threshold and --n-segments exclude each other; give one")
    return given


def numbers(text: str, count: int, must: str) -> tuple[float, ...]:
    """So many numbers between commas, or stop with a reason."""
    try:
        found = tuple(map(float, text.split(",")))
    except ValueError:
        found = ()
    if len(found) != count:
        stop(f"{must} in pixels; got {text!r}")
    return found


def each(
    inputs: Iterable[Path], out: Path, kind: str, work: Callable[[Path], Any], what: str = "images"
) -> None:
    """Write what the work gives for each input: result (NPZ), facts (JSON), figure (PNG), a word for the terminal.

    An input that fails leaves the others alone and the exit code 1.
    """
    from ..types.whole_file import write_text

    paths, used, failed = list(inputs), set[str](), 0
    for number, path in enumerate(paths, 1):
        stem, again = f"{path.stem}-{kind}", 2
        while stem in used:
            stem, again = f"{path.stem}-{again}-{kind}", again + 1
        used.add(stem)
        base = out / stem
        try:
            result, facts, figure, said = work(path)
            uk.save(result, f"{base}.npz")
            write_text(f"{base}.json", json.dumps(facts, indent=1, default=str) + "\n")
            write_png(figure, Path(f"{base}.png"))
        except (uk.UltraError, ValueError, TypeError, OSError) as error:
            failed += 1
            typer.echo(f"[{number}/{len(paths)}] {path}: error: {one_line(error)}", err=True)
        else:
            typer.echo(f"[{number}/{len(paths)}] {path}: {said} in {base}.png, .npz and .json")
    if failed:
        stop(f"{failed} of {len(paths)} {what} failed")


def one_line(error: Exception) -> str:
    """An error's message without its line breaks."""
    return " ".join(str(error).split())


def write_png(figure: Any, path: Path) -> None:
    """Write a figure, whole."""
    from ..types.whole_file import whole_file

    with whole_file(path) as partial:
        figure.savefig(partial, bbox_inches="tight")
