"""What commands share: the app, the options, each declared once, and the loop over inputs.

A file of commands stands in ``cli/__init__.py``; what takes long to import is imported when a command runs.
"""

from __future__ import annotations

import json
import re
import warnings
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
Model = Annotated[
    str, typer.Option(help="dinov2, smollm2; scenes, photos, briefs; timm:NAME, hf:REPO-OR-FOLDER.")
]
Layer = Annotated[
    int | None, typer.Option(help=f"{_LAYER} That of the transform, or the model's own by default.")
]
Layers = Annotated[
    list[int] | None, typer.Option("--layer", help=f"{_LAYER} The model's own by default; repeatable.")
]
Out = Annotated[Path, typer.Option(help="Folder to write to; it is made.")]
Score = Annotated[
    Literal["norm", "sum", "energy", "head"] | None,
    typer.Option(help="What is explained of a latent token; the model's own by default."),
]
Rule = Annotated[
    Literal["positive", "negative", "absolute"] | None,
    typer.Option(help="Count what raises the score, lowers it, or both; the model's own by default."),
]
Metric = Annotated[
    Literal["cosine", "hellinger"] | None,
    typer.Option(help="Distance of two maps; the model's own by default."),
]
Transform = Annotated[Path | None, typer.Option(help="W, a .safetensors file of train-transform.")]
Share = Annotated[
    float | None,
    typer.Option(help="Take only this share of the patches; of segments they stand for the rest."),
]
Points = Annotated[
    list[str] | None, typer.Option(help="x,y in pixels: what lies there; repeatable.", metavar="X,Y")
]
Since = Annotated[int | None, typer.Option(help="Made from the tokens of this layer; -1 takes one block.")]
Seed = Annotated[int, typer.Option(help="Of what is drawn by chance.")]


def stop(message: str) -> NoReturn:
    """Say what is wrong in one line and end with exit code 1."""
    say(f"error: {message}", err=True)
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
        kind, known = {"image": ("an image", "dinov2"), "text": ("a text", "smollm2")}[modality]
        stop(f"this command needs {kind} model, {name} is for {model.modality}s; try --model {known}")
    return model


def said(**options: Any) -> dict[str, Any]:
    """The options that were given; what was not is left to the model's own settings."""
    return {name: value for name, value in options.items() if value is not None}


def transform_of(path: Path | None, layer: int | None) -> dict[str, Any]:
    """W read from its file, with its layer where none is asked for."""
    if path is None:
        return said(layer=layer)
    with stopping():
        w = uk.runs.Transform.load(path)
    return {"transform": w, "layer": w.layer if layer is None else layer}


def numbers(text: str, count: int, must: str) -> tuple[float, ...]:
    """So many numbers between commas, or stop with a reason."""
    try:
        found = tuple(map(float, text.split(",")))
    except ValueError:
        found = ()
    if len(found) != count:
        stop(f"{must} in pixels; got {text!r}")
    return found


def read_text(path: Path) -> str:
    """What is in a text file; a ValueError that says where an address, or another kind of file, belongs."""
    if str(path).startswith(("http:/", "https:/")):
        raise ValueError(f"a text must be a local file, got the address {str(path)!r}; download it first")
    if not path.is_file():
        there = "a folder; give its files" if path.is_dir() else "nothing there"
        raise ValueError(f"no text file at {str(path)!r}: {there}")
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError:
        raise ValueError("no text in UTF-8; images go to explain, segment and select") from None


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
            with warnings.catch_warnings(record=True) as noted:
                result, facts, figure, said = work(path)
            for note in noted:
                say(f"{path}: warning: {note.message}", err=True)
            uk.save(result, f"{base}.npz")
            write_text(f"{base}.json", json.dumps(facts, indent=1, default=str) + "\n")
            write_png(figure, Path(f"{base}.png"))
        except (uk.UltraError, ValueError, TypeError, OSError) as error:
            failed += 1
            say(f"[{number}/{len(paths)}] {path}: error: {one_line(error)}", err=True)
        else:
            say(f"[{number}/{len(paths)}] {path}: {said} in {base}.png, .npz and .json")
    if failed:
        stop(f"{failed} of {len(paths)} {what} failed")


def one_line(error: Exception) -> str:
    """An error's message without its line breaks."""
    return " ".join(str(error).split())


def say(text: str, *, err: bool = False) -> None:
    """A line for the terminal, in which a file's name can't move the cursor, change colours or the order, or end the line."""
    typer.echo(re.sub(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]", "\ufffd", text), err=err)


def write_png(figure: Any, path: Path) -> None:
    """Write a figure, whole."""
    from ..types.whole_file import whole_file

    with whole_file(path) as partial:
        figure.savefig(partial, bbox_inches="tight")
