"""Commands on texts: ``python -m ultra_kit summarize report.txt``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

import ultra_kit as uk

from . import options
from .options import Layer, Model, Out, Rule, app


@app.command()
def summarize(
    files: Annotated[
        list[Path], typer.Argument(help="Text files, UTF-8.", metavar="FILE...", show_default=False)
    ],
    model: Model = "smollm2",
    layer: Layer = None,
    summary: Annotated[Path | None, typer.Option(help="A file with your own summary.")] = None,
    max_new_tokens: Annotated[int, typer.Option(help="Most tokens of a summary.")] = 80,
    beams: Annotated[int, typer.Option(help="Beams of the search; 1 is greedy.")] = 1,
    repetition_penalty: Annotated[float, typer.Option(help="Above 1: less of what is said already.")] = 1.0,
    score: Annotated[
        Literal["norm", "sum", "energy", "logprob"] | None,
        typer.Option(help="What is explained: the latent, or why this word was written."),
    ] = None,
    rule: Rule = None,
    out: Out = Path("out"),
) -> None:
    """Summarise texts, and say from which words of the document each word of the summary was made."""
    backbone = options.load(model, "text")
    how: dict[str, Any] = {"max_new_tokens": max_new_tokens, "num_beams": beams}
    how["repetition_penalty"] = repetition_penalty

    def work(file: Path) -> Any:
        own = None if summary is None else options.read_text(summary).strip()
        s = uk.summarize(backbone, options.read_text(file), summary=own, **how)
        ev = uk.evidence(s, **options.said(layer=layer, score=score, rule=rule))
        return ev, {"file": file.name} | _facts(ev), uk.plots.show_evidence(ev), f"{len(s.words)} words"

    options.each(files, out, "summary", work, "files")


def _facts(ev: uk.text.Evidence) -> dict[str, Any]:
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
        "summary": ev.text,
        "words": rows,
        "unused_sentences": covered.unused,
        "weak_words": covered.weak,
        "card": dict(ev.card),
    }
