"""Commands on texts: ``python -m ultra_kit summarize report.txt``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

import ultra_kit as uk

from .options import Layer, Model, Out, Rule, app, each, load, write_json, write_png

if TYPE_CHECKING:
    from ..text.evidence_words import Evidence


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
    backbone = load(model, "text")

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
        write_json(_evidence_summary(ev, file), base)
        write_png(uk.plots.show_evidence(ev), base)
        return f"{len(s.words)} words"

    each(files, out, "summary", work, "files")


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
