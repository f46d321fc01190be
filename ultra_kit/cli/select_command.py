"""Select an object: ``python -m ultra_kit select cat.jpg --point 120,80``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import ultra_kit as uk

from .options import Images, Layer, Model, Out, Rule, Score, app, each, load, stop, write_json, write_png


@app.command()
def select(
    images: Images,
    model: Model = "scenes",
    point: Annotated[
        list[str] | None,
        typer.Option(help="x,y in pixels: on the object; repeatable.", metavar="X,Y", show_default=False),
    ] = None,
    unwanted: Annotated[
        list[str] | None,
        typer.Option(help="x,y in pixels: not on the object; repeatable.", metavar="X,Y", show_default=False),
    ] = None,
    box: Annotated[
        str | None, typer.Option(help="x0,y0,x1,y1 in pixels: round the object.", metavar="X0,Y0,X1,Y1")
    ] = None,
    text: Annotated[str | None, typer.Option(help="What the object is, in words.")] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Relevance of the cut, 0 to 1; Otsu's (0.5) by default.")
    ] = None,
    layer: Layer = -1,
    score: Score = "norm",
    rule: Rule = "positive",
    out: Out = Path("out"),
) -> None:
    """Select an object of each image by points, a box or a text."""
    points = [numbers(p, 2, "--point must be x,y") for p in point or []]
    beside = [numbers(p, 2, "--unwanted must be x,y") for p in unwanted or []]
    corners = None if box is None else numbers(box, 4, "--box must be x0,y0,x1,y1")
    backbone = load(model)

    def work(image: Path, base: Path) -> str:
        sel = uk.select(
            uk.capture(backbone, image),
            points=points,
            unwanted=beside,
            box=corners,
            text=text,
            layer=layer,
            score=score,
            rule=rule,
            threshold="otsu" if threshold is None else threshold,
        )
        uk.save(sel, base.with_name(f"{base.name}.npz"))
        content = {
            "image": image.name,
            "size": sel.layout.size,
            "area": sel.share,
            "mask": sel.to_rle(compressed=True),
            "threshold": sel.threshold,
            "code": sel.code,
            "card": dict(sel.card),
        }
        write_json(content, base)
        write_png(uk.plots.show_selection(sel), base)
        return f"{sel.share:.0%} of the image"

    each(images, out, "selection", work)


def numbers(text: str, count: int, must: str) -> tuple[float, ...]:
    """So many numbers between commas, or stop with a reason."""
    try:
        found = tuple(map(float, text.split(",")))
    except ValueError:
        found = ()
    if len(found) != count:
        stop(f"{must} in pixels; got {text!r}")
    return found
