"""Commands on images: ``python -m ultra_kit explain cat.jpg --point 120,80``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

import ultra_kit as uk

from . import options
from .options import Images, Layer, Metric, Model, Out, Points, Rule, Score, Share, Transform, app


@app.command()
def explain(
    images: Images,
    model: Model = "dinov2",
    layer: Layer = None,
    token: Annotated[list[int] | None, typer.Option(help="Prefix tokens counted; repeatable.")] = None,
    point: Points = None,
    score: Score = None,
    rule: Rule = None,
    since: options.Since = None,
    transform: Transform = None,
    out: Out = Path("out"),
) -> None:
    """Explain latent tokens of images: what was each made from? All patches if none is named."""
    points = [options.numbers(text, 2, "--point must be x,y") for text in point or []]
    how = options.said(score=score, rule=rule, since=since) | options.transform_of(transform, layer)
    backbone = options.load(model)

    def work(image: Path) -> Any:
        cap = uk.capture(backbone, image)
        tokens = [*(token or []), *(cap.layout.token_at(x, y) for x, y in points)]
        maps = uk.explain(cap, tokens=list(dict.fromkeys(tokens)) or None, **how)
        figure = uk.plots.show_map(maps) if len(maps) == 1 else uk.plots.token_grid(maps)
        return maps, {"image": image.name} | _facts(maps), figure, f"{len(maps)} maps"

    options.each(images, out, "maps", work)


@app.command()
def segment(
    images: Images,
    model: Model = "dinov2",
    layer: Layer = None,
    threshold: Annotated[
        float | None, typer.Option(help="Distance of the cut; the model's own by default.")
    ] = None,
    n_segments: Annotated[int | None, typer.Option(help="Their number, in place of a threshold.")] = None,
    metric: Metric = None,
    score: Score = None,
    rule: Rule = None,
    transform: Transform = None,
    share: Share = None,
    out: Out = Path("out"),
) -> None:
    """Segment images: patches whose explanation maps look alike belong together."""
    how = options.said(score=score, rule=rule, share=share) | options.transform_of(transform, layer)
    make = uk.explain if share is None else uk.maps.explain_share
    if threshold is not None and n_segments is not None:
        options.stop("give either --threshold or --n-segments")  # before the work
    cut = options.said(metric=metric, threshold=threshold, n_segments=n_segments)
    backbone = options.load(model)

    def work(image: Path) -> Any:
        seg = uk.segment(make(uk.capture(backbone, image), **how), **cut)
        segments = [
            {"segment": k, "area": float(share), "mask": uk.images.to_rle(seg.mask(k), compressed=True)}
            for k, share in enumerate(seg.shares)
        ]
        facts = {"image": image.name, "size": seg.layout.size, "segments": segments}
        return seg, facts, uk.plots.show_segments(seg), f"{seg.n_segments} segments"

    options.each(images, out, "segments", work)


@app.command()
def select(
    images: Images,
    model: Model = "dinov2",
    point: Points = None,
    unwanted: Annotated[
        list[str] | None, typer.Option(help="x,y in pixels: not on the object; repeatable.", metavar="X,Y")
    ] = None,
    box: Annotated[
        str | None, typer.Option(help="x0,y0,x1,y1 in pixels: round the object.", metavar="X0,Y0,X1,Y1")
    ] = None,
    text: Annotated[str | None, typer.Option(help="What the object is, in words.")] = None,
    threshold: Annotated[float | None, typer.Option(help="Cut, 0 to 1; Otsu's (0.5) by default.")] = None,
    layer: Layer = None,
    score: Score = None,
    rule: Rule = None,
    out: Out = Path("out"),
) -> None:
    """Select an object of each image by points, a box or a text."""
    picked: dict[str, Any] = {
        "points": [options.numbers(p, 2, "--point must be x,y") for p in point or []],
        "unwanted": [options.numbers(p, 2, "--unwanted must be x,y") for p in unwanted or []],
        "box": None if box is None else options.numbers(box, 4, "--box must be x0,y0,x1,y1"),
        "text": text,
        "threshold": "otsu" if threshold is None else threshold,
    }
    backbone, how = options.load(model), options.said(layer=layer, score=score, rule=rule)

    def work(image: Path) -> Any:
        sel = uk.select(uk.capture(backbone, image), **how, **picked)
        facts = {
            "image": image.name,
            "size": sel.layout.size,
            "area": sel.share,
            "mask": sel.to_rle(compressed=True),
            "threshold": sel.threshold,
            "code": sel.code,
            "card": dict(sel.card),
        }
        return sel, facts, uk.plots.show_selection(sel), f"{sel.share:.0%} of the image"

    options.each(images, out, "selection", work)


@app.command()
def embed(
    images: Annotated[list[Path], typer.Argument(help="A folder, or image files.", metavar="FOLDER")],
    model: Model = "dinov2",
    layer: options.Layers = None,
    by: Annotated[Literal["latent", "map"], typer.Option(help="What makes two tokens alike.")] = "latent",
    since: options.Since = None,
    share: Share = None,
    maps: Annotated[bool, typer.Option(help="Keep what each token was made from.")] = False,
    seed: options.Seed = 0,
    out: Out = Path("out"),
) -> None:
    """Place the tokens of many images in one atlas, and find their clusters: atlas.html, .npz and .png."""
    how = options.said(layer=layer, since=since, tokens=share) | {"by": by, "maps": maps, "seed": seed}
    backbone = options.load(model)
    with options.stopping():
        emb = uk.embed(images[0] if len(images) == 1 else images, backbone, **how)
        out.mkdir(parents=True, exist_ok=True)
        uk.save(emb, out / "atlas.npz")
        options.write_png(uk.plots.atlas(emb), out / "atlas.png")
        uk.export_html(emb, out / "atlas.html")
    options.say(f"{emb} in {out / 'atlas.html'}, .npz and .png")


def _facts(maps: uk.types.ExplanationMaps) -> dict[str, Any]:
    """The facts of the maps, and the five strongest patches of each, its own left out."""
    layout, first, rows = maps.layout, maps.layout.n_prefix, []
    for token, row in zip(maps.tokens.tolist(), maps.without_own, strict=True):
        order = row.argsort(kind="stable")[::-1] + first
        best = order[order != token][:5].tolist()
        strongest = [
            {"token": i, "center": layout.center_of(i), "value": float(row[i - first])} for i in best
        ]
        center = layout.center_of(token) if token >= first else None
        rows.append({"token": token, "center": center, "strongest": strongest})
    return {
        **{name: getattr(maps, name) for name in ("method", "score", "rule", "since", "layer")},
        "grid": layout.grid,
        "size": layout.size,
        "maps": rows,
        "card": dict(maps.card),
    }
