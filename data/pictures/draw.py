"""The pictures of the README: what four tokens of a photograph were made from, by a real model; what maps cost.

Run as ``python data/pictures/draw.py [both_eyes] [cost_curve]``; the curve's figures are those of
``python benchmarks/bench_fast.py --curve data/pictures/cost_curve.json``.
"""

import json
import sys
from pathlib import Path

import matplotlib.pyplot as plt

import ultra_kit as uk

HERE = Path(__file__).parent

POINTS = ((188, 115), (262, 190), (60, 30), (420, 250))  # an eye, the nose, the forehead, the ground


def both_eyes() -> None:
    """Four tokens of a cat's photograph."""
    cap = uk.capture(uk.load("dinov2"), uk.data.photograph("chelsea"))
    maps = uk.explain(cap, layer=10, tokens=[cap.layout.token_at(x, y) for x, y in POINTS])
    figure = uk.plots.token_grid(maps, smooth=True)
    figure.savefig(HERE / "both_eyes.png", dpi=100, bbox_inches="tight")


def cost_curve() -> None:
    """Time and memory of all tokens of a ViT-S/16 over their number."""
    figures = HERE / "cost_curve.json"
    if not figures.is_file():
        sys.exit(f"{figures.name} is not there: python benchmarks/bench_fast.py --curve {figures}")
    rows = list(json.loads(figures.read_text()).values())
    n = [row["tokens"] for row in rows]
    figure, (time, memory) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    shown = {"exact": ("all tokens, all blocks", "o"), "fifth": ("a fifth of the tokens", "s")}
    shown["one block"] = ("all tokens, one block (since=-1)", "^")
    for key, (label, marker) in shown.items():
        time.loglog(n, [row[key] for row in rows], marker=marker, label=label)
    for key, (label, marker) in {"GB": shown["exact"], "one block GB": shown["one block"]}.items():
        colour = {"GB": "C0", "one block GB": "C2"}[key]
        memory.semilogx(n, [row[key] for row in rows], marker=marker, color=colour, label=label)
    for axes, title in (
        (time, "processor seconds, one thread"),
        (memory, "memory, GB, model and capture included"),
    ):
        axes.set(title=title, xlabel="tokens of a ViT-S/16", xticks=n, xticklabels=n)
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    figure.legend(*time.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(HERE / "cost_curve.png", dpi=100)


def main() -> None:
    """Write the pictures that are named, or all, beside this file."""
    for draw in (both_eyes, cost_curve):
        if draw.__name__ in (sys.argv[1:] or [draw.__name__]):
            draw()


if __name__ == "__main__":
    main()
