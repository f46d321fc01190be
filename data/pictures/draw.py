"""The pictures of the README: what four tokens of a photograph were made from, by a real model; what maps cost; right names.

Run as ``python data/pictures/draw.py [both_eyes] [cost_curve] [names]``; the figures of the curves are those of
``python benchmarks/bench_fast.py --curve data/pictures/cost_curve.json`` and
``python benchmarks/bench_names.py --curve data/pictures/names.json``.
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


def names() -> None:
    """Share of names of latents that are right, over the layers."""
    curves = json.loads((HERE / "names.json").read_text())
    titles = {
        "kinds": "SmolLM2: what stands there\n(share of five names of its kind)",
        "facts": "SmolLM2: the fact that comes next\n(is it among five names?)",
        "stands": "briefs: what stands there\n(share of five names of its kind)",
        "emits": "briefs: the fact that comes next\n(is it among five names?)",
    }
    lines = {"nearest latents": ("C3", "o"), "head": ("C0", "s"), "chance": ("0.4", "")}
    figure, axes = plt.subplots(1, 4, figsize=(14, 3.6), sharey=True, layout="constrained")
    for ax, (key, title) in zip(axes, titles.items(), strict=True):
        for name, (colour, marker) in lines.items():
            layers = [int(k) for k in curves[key][name]]
            style = {"color": colour, "marker": marker, "linestyle": "-" if marker else "--"}
            ax.plot(
                layers, list(curves[key][name].values()), **style, label=name.replace("head", "logit lens")
            )
        ax.set(title=title, xlabel="layer", ylim=(-0.02, 1.04))
        ax.grid(alpha=0.3)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(HERE / "names.png", dpi=100)


def main() -> None:
    """Write the pictures that are named, or all, beside this file."""
    for draw in (both_eyes, cost_curve, names):
        if draw.__name__ in (sys.argv[1:] or [draw.__name__]):
            draw()


if __name__ == "__main__":
    main()
