"""Commands on images: ``python -m ultra_kit explain cat.jpg --point 120,80``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

import ultra_kit as uk

from .options import (
    Images,
    Model,
    Out,
    Rule,
    Score,
    Transform,
    app,
    at_layer,
    each,
    load,
    load_transform,
    stop,
    write_json,
    write_png,
)

if TYPE_CHECKING:
    from ..types import ExplanationMaps

LAYER = (
    "0 is the embedding, k the output of block k; negative from the end. The last, or that of the transform."
)


@app.command()
def explain(
    images: Images,
    model: Model = "scenes",
    layer: Annotated[int | None, typer.Option(help=LAYER)] = None,
    token: Annotated[
        list[int] | None, typer.Option(help="Token to explain, prefix tokens counted; repeatable.")
    ] = None,
    point: Annotated[
        list[str] | None, typer.Option(help="x,y in pixels: the patch there; repeatable.", metavar="X,Y")
    ] = None,
    score: Score = "norm",
    rule: Rule = "positive",
    transform: Transform = None,
    out: Out = Path("out"),
) -> None:
    """Explain latent tokens of images: what was each made from? All patches if none is named."""
    points = [_point(text) for text in point or []]
    backbone, w = load(model), load_transform(transform)
    how: dict[str, Any] = {"layer": at_layer(layer, w), "score": score, "rule": rule, "transform": w}

    def work(image: Path, base: Path) -> str:
        cap = uk.capture(backbone, image)
        tokens = [*(token or []), *(cap.layout.token_at(x, y) for x, y in points)]
        maps = uk.explain(cap, tokens=list(dict.fromkeys(tokens)) or None, **how)
        uk.save(maps, base.with_name(f"{base.name}.npz"))
        write_json(_maps_summary(maps, image), base)
        write_png(uk.plots.show_map(maps) if len(maps) == 1 else uk.plots.token_grid(maps), base)
        return f"{len(maps)} maps"

    each(images, out, "maps", work)


@app.command()
def segment(
    images: Images,
    model: Model = "scenes",
    layer: Annotated[int | None, typer.Option(help=LAYER)] = None,
    threshold: Annotated[float | None, typer.Option(help="Distance of the cut; 0.25 by default.")] = None,
    n_segments: Annotated[
        int | None, typer.Option(help="Number of segments, in place of a threshold.")
    ] = None,
    metric: Annotated[Literal["cosine", "hellinger"], typer.Option(help="Distance of two maps.")] = "cosine",
    score: Score = "norm",
    rule: Rule = "positive",
    transform: Transform = None,
    out: Out = Path("out"),
) -> None:
    """Segment images: patches whose explanation maps look alike belong together."""
    if threshold is not None and n_segments is not None:
        stop("--threshold and --n-segments exclude each other; give one")
    cut: dict[str, Any] = {"threshold": threshold, "n_segments": n_segments}
    cut = {key: value for key, value in cut.items() if value is not None}
    backbone, w = load(model), load_transform(transform)
    how: dict[str, Any] = {"layer": at_layer(layer, w), "score": score, "rule": rule, "transform": w}

    def work(image: Path, base: Path) -> str:
        seg = uk.segment(uk.explain(uk.capture(backbone, image), **how), metric=metric, **cut)
        uk.save(seg, base.with_name(f"{base.name}.npz"))
        segments = [
            {"segment": k, "area": float(share), "mask": uk.images.to_rle(seg.mask(k), compressed=True)}
            for k, share in enumerate(seg.shares)
        ]
        write_json({"image": image.name, "size": seg.layout.size, "segments": segments}, base)
        write_png(uk.plots.show_segments(seg), base)
        return f"{seg.n_segments} segments"

    each(images, out, "segments", work)


def _point(text: str) -> tuple[float, float]:
    try:
        x, y = map(float, text.split(","))
    except ValueError:
        stop(f"--point must be x,y in pixels, such as 120,80; got {text!r}")
    return x, y


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
