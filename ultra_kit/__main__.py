"""The command line: ``python -m ultra_kit explain cat.jpg --point 120,80``.

A new command is a function with ``@app.command()`` that hands its work on one input to `_each`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer

import ultra_kit as uk

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .evidence import Evidence
    from .types import Backbone, ExplanationMaps

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


def _stop(message: str) -> NoReturn:
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


@app.command()
def explain(
    images: Images,
    model: Model = "scenes",
    layer: Layer = -1,
    token: Annotated[
        list[int] | None, typer.Option(help="Token to explain, prefix tokens counted; repeatable.")
    ] = None,
    point: Annotated[
        list[str] | None, typer.Option(help="x,y in pixels: the patch there; repeatable.", metavar="X,Y")
    ] = None,
    score: Score = "norm",
    rule: Rule = "positive",
    out: Out = Path("out"),
) -> None:
    """Explain latent tokens of images: what was each made from? All patches if none is named."""
    points = [_point(text) for text in point or []]
    backbone = _load(model)

    def work(image: Path, base: Path) -> str:
        cap = uk.capture(backbone, image)
        tokens = [*(token or []), *(cap.layout.token_at(x, y) for x, y in points)]
        maps = uk.explain(
            cap, layer=layer, tokens=list(dict.fromkeys(tokens)) or None, score=score, rule=rule
        )
        uk.save(maps, base.with_name(f"{base.name}.npz"))
        _write_json(_maps_summary(maps, image), base)
        _write_png(uk.plots.show_map(maps) if len(maps) == 1 else uk.plots.token_grid(maps), base)
        return f"{len(maps)} maps"

    _each(images, out, "maps", work)


@app.command()
def segment(
    images: Images,
    model: Model = "scenes",
    layer: Layer = -1,
    threshold: Annotated[
        float | None, typer.Option(help="Cosine distance of the cut; 0.25 by default.")
    ] = None,
    n_segments: Annotated[
        int | None, typer.Option(help="Number of segments, in place of a threshold.")
    ] = None,
    score: Score = "norm",
    rule: Rule = "positive",
    out: Out = Path("out"),
) -> None:
    """Segment images: patches whose explanation maps look alike belong together."""
    if threshold is not None and n_segments is not None:
        _stop("--threshold and --n-segments exclude each other; give one")
    cut: dict[str, Any] = {"threshold": threshold, "n_segments": n_segments}
    cut = {key: value for key, value in cut.items() if value is not None}
    backbone = _load(model)

    def work(image: Path, base: Path) -> str:
        maps = uk.explain(uk.capture(backbone, image), layer=layer, score=score, rule=rule)
        seg = uk.segment(maps, **cut)
        uk.save(seg, base.with_name(f"{base.name}.npz"))
        segments = [
            {"segment": k, "area": float(share), "mask": uk.to_rle(seg.mask(k), compressed=True)}
            for k, share in enumerate(seg.shares)
        ]
        _write_json({"image": image.name, "size": seg.layout.size, "segments": segments}, base)
        _write_png(uk.plots.show_segments(seg), base)
        return f"{seg.n_segments} segments"

    _each(images, out, "segments", work)


@app.command()
def summarize(
    files: Annotated[
        list[Path], typer.Argument(help="Text files, UTF-8.", metavar="FILE...", show_default=False)
    ],
    model: Model = "briefs",
    layer: Layer = -1,
    summary: Annotated[
        Path | None, typer.Option(help="A file with your own summary in place of the model's.")
    ] = None,
    max_new_tokens: Annotated[int, typer.Option(help="Most tokens of a summary.")] = 80,
    beams: Annotated[int, typer.Option(help="Beams of the search; 1 is greedy.")] = 1,
    score: Annotated[
        Literal["norm", "sum", "energy", "logprob"],
        typer.Option(help="What is explained: the latent, or why this word was written."),
    ] = "norm",
    rule: Rule = "positive",
    out: Out = Path("out"),
) -> None:
    """Summarise texts, and say from which words of the document each word of the summary was made."""
    backbone = _load(model, "text")

    def work(file: Path, base: Path) -> str:
        own = None if summary is None else summary.read_text("utf-8").strip()
        s = uk.summarize(
            backbone,
            file.read_text("utf-8"),
            summary=own,
            max_new_tokens=max_new_tokens,
            num_beams=beams,
        )
        ev = uk.evidence(s, layer=layer, score=score, rule=rule)
        uk.save(ev, base.with_name(f"{base.name}.npz"))
        _write_json(_evidence_summary(ev, file), base)
        _write_png(uk.plots.show_evidence(ev), base)
        return f"{len(s.words)} words"

    _each(files, out, "summary", work, "files")


def _load(name: str, modality: str = "image") -> Backbone:
    try:
        model = uk.load(name)
    except (uk.UltraError, ValueError, TypeError, OSError) as error:
        _stop(_one_line(error))
    if model.modality != modality:
        kinds = {"image": "an image model", "text": "a text model"}
        known = {"image": "scenes", "text": "briefs"}[modality]
        _stop(
            f"this command needs {kinds[modality]}, {name} is a {model.modality} model; try --model {known}"
        )
    return model


def _point(text: str) -> tuple[float, float]:
    try:
        x, y = map(float, text.split(","))
    except ValueError:
        _stop(f"--point must be x,y in pixels, such as 120,80; got {text!r}")
    return x, y


def _each(
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
            typer.echo(f"[{number}/{len(paths)}] {image}: error: {_one_line(error)}", err=True)
        else:
            typer.echo(f"[{number}/{len(paths)}] {image}: {said} in {out / stem}.png, .npz and .json")
    if failed:
        _stop(f"{failed} of {len(paths)} {what} failed")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _evidence_summary(ev: Evidence, file: Path) -> dict[str, Any]:
    """The summary, the five strongest document words of each of its words, and what it left out."""
    covered = ev.coverage()
    names = ("index", "word", "value")
    rows = [
        {
            "word": ev.words[w],
            "evidence": [dict(zip(names, found, strict=True)) for found in ev.top(int(w))],
            "shares": {name: float(share[i]) for name, share in ev.shares.items()},
        }
        for i, w in enumerate(ev.rows)
    ]
    return {
        "file": file.name,
        "summary": ev.text,
        "words": rows,
        "unused_sentences": covered.unused,
        "weak_words": covered.weak,
        "card": dict(ev.card),
    }


def _maps_summary(maps: ExplanationMaps, image: Path) -> dict[str, Any]:
    """The facts of the maps, and the five strongest patches of each, its own left out."""
    layout, rows = maps.layout, []
    for token, row in zip(maps.tokens.tolist(), maps.without_own, strict=True):
        order = row.argsort(kind="stable")[::-1]
        best = order[order != token - layout.n_prefix][:5]
        strongest = [
            {
                "token": int(i) + layout.n_prefix,
                "center": layout.center_of(int(i) + layout.n_prefix),
                "value": float(row[i]),
            }
            for i in best
        ]
        center = layout.center_of(token) if token >= layout.n_prefix else None
        rows.append({"token": token, "center": center, "strongest": strongest})
    facts = {"method": maps.method, "score": maps.score, "rule": maps.rule, "layer": maps.layer}
    return {
        "image": image.name,
        **facts,
        "grid": layout.grid,
        "size": layout.size,
        "maps": rows,
        "card": dict(maps.card),
    }


def _write_json(content: dict[str, Any], base: Path) -> None:
    base.with_name(f"{base.name}.json").write_text(json.dumps(content, indent=1, default=str) + "\n", "utf-8")


def _write_png(figure: Figure, base: Path) -> None:
    figure.savefig(base.with_name(f"{base.name}.png"), bbox_inches="tight")


if __name__ == "__main__":
    app(prog_name="python -m ultra_kit")
