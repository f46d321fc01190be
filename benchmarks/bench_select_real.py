"""Object selection on photographs: `python benchmarks/bench_select_real.py --data VOC --grabcut GRABCUT`.

The 20 photographs of GrabCut, and objects of VOC's split "val": connected parts of one class that cover 2 % of their
photograph and more, void pixels not counted, one a photograph, drawn. A simulated user (`ultra_kit.metrics.simulate_clicks`)
clicks until the overlap is 0.9; every method goes through the same `ultra_kit.select` and only the maps differ. What is
left open (layers, rule, sharpness of a likeness) is chosen by the mean overlap after one and after three clicks on
objects of "train"; `--no-refine` leaves the refinement out, there and in the test. The reach of links and the constants of the
refinement are the model's own for every method. "Outline walk alone" knows no model: maps that fall off with distance.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from bench_selection import answer, of_patches
from PIL import Image
from real_data import Checkpoint, arguments, command, interval, paired, start, table
from scipy.ndimage import label
from tqdm.auto import tqdm

import ultra_kit as uk
from ultra_kit.images.pixel_relevance import shares
from ultra_kit.images.selecting import clicked_maps
from ultra_kit.maps import baselines
from ultra_kit.metrics import simulate_clicks
from ultra_kit.types import Capture, ExplanationMaps

AREA = 0.02
OURS, OWN = "ULTra", "ULTra at the model's own settings"
CHOSEN = {
    "ULTra": "mean of layers 9 to 12, absolute",
    "raw attention": "mean of layers 9 to 12",
    "latent cosine": "layer 11, sharpness 5",
    "outline walk alone": "sigma 1",
}
"""For dinov2, on 24 to 40 objects of train; `--choose` chooses again."""
Maps = Callable[[Capture], ExplanationMaps]


class Thing(NamedTuple):
    """A photograph and an object on it."""

    name: str
    image: np.ndarray
    truth: np.ndarray
    ignore: np.ndarray


def voc_objects(root: Path, split: str, count: int, seed: int) -> list[Callable[[], Thing]]:
    """Objects of as many photographs, drawn; each is read when called."""
    data = uk.data.PascalVOC2012(root, split)
    rng = np.random.default_rng([seed, len(data)])

    def parts(index: int) -> list[np.ndarray]:
        truth = data[index].truth
        found = []
        for k in np.unique(truth[truth > 0]):
            numbered, n = label(truth == k)
            found += [numbered == i for i in range(1, n + 1)]
        return [part for part in found if part.mean() >= AREA]

    def read(index: int, which: int) -> Thing:
        sample = data[index]
        return Thing(sample.name, sample.image, parts(index)[which], sample.truth < 0)

    chosen: list[Callable[[], Thing]] = []
    for index in rng.permutation(len(data)).tolist():
        if len(chosen) == count:
            break
        if n := len(parts(index)):
            chosen.append(partial(read, index, int(rng.integers(n))))
    return chosen


def grabcut_objects(root: Path) -> list[Callable[[], Thing]]:
    """The objects of GrabCut; 128 is the band that is not counted."""

    def read(path: Path) -> Thing:
        (image,) = (root / "data_GT").glob(f"{path.stem}.*")
        drawn = np.asarray(Image.open(path).convert("L"))
        return Thing(path.stem, np.asarray(Image.open(image).convert("RGB")), drawn == 255, drawn == 128)

    return [partial(read, path) for path in sorted((root / "boundary_GT").glob("*.bmp"))]


def likeness(cap: Capture, *, layer: int, sharpness: float) -> ExplanationMaps:
    """``exp(sharpness (cos - 1))`` of the latents; 0 stands for `baselines.cosine` as it is."""
    maps = baselines.cosine(cap, layer=layer)
    if not sharpness:
        return maps
    return of_patches(cap, np.exp(sharpness * (2 * maps.content - 2)), "cosine")


def nearness(cap: Capture, *, sigma: float) -> ExplanationMaps:
    """Nearness of the patches."""
    h, w = cap.layout.grid
    y, x = np.divmod(np.arange(h * w), w)
    apart = (y[:, None] - y) ** 2 + (x[:, None] - x) ** 2
    return of_patches(cap, np.exp(-apart / (2 * sigma**2)), "nearness")


def mean_maps(
    cap: Capture, *, make: Callable[..., ExplanationMaps], layers: Sequence[int]
) -> ExplanationMaps:
    """The mean of the maps of several layers, each map shared out."""
    return of_patches(cap, np.mean([shares(make(cap, layer=k).content) for k in layers], axis=0), "mean")


def families(n_layers: int) -> dict[str, dict[str, Maps]]:
    """Family -> choice -> maps of all patches."""
    last = range(n_layers - 3, n_layers + 1)
    mean = f"mean of layers {last[0]} to {last[-1]}"
    found: dict[str, dict[str, Maps]] = {
        OWN: {"": clicked_maps},
        "latent cosine": {
            f"layer {k}, sharpness {s}": partial(likeness, layer=k, sharpness=s)
            for k in last[1:]
            for s in (0, 5, 10)
        },
        "outline walk alone": {f"sigma {s}": partial(nearness, sigma=s) for s in (1, 2)},
    }
    explain = partial(uk.explain, since=-1, score="norm", progress=False)
    makers = {
        "ULTra": {"": partial(explain, rule="positive"), ", absolute": partial(explain, rule="absolute")}
    }
    makers["raw attention"] = {"": baselines.raw_attention}
    for family, options in makers.items():
        found[family] = {}
        for said, make in options.items():
            found[family] |= {f"layer {k}{said}": partial(make, layer=k) for k in last}
            found[family][f"{mean}{said}"] = partial(mean_maps, make=make, layers=last)
    return found


def click(
    model: Any,
    things: list[Callable[[], Thing]],
    made: dict[str, Maps],
    set_name: str,
    clicks: int,
    done: Checkpoint,
    **options: Any,
) -> None:
    """Overlaps, click by click, of every object with every method."""
    for number, read in enumerate(tqdm(things, desc=set_name)):
        key = f"{set_name} {number}"
        found = dict(done[key]) if key in done else {}
        todo = {name: make for name, make in made.items() if name not in found}
        if not todo:
            continue
        thing = read()
        cap = uk.capture(model, thing.image)
        for name, make in todo.items():
            ask = partial(answer, cap, {"maps": make(cap), **options})
            run = simulate_clicks(ask, thing.truth, max_clicks=clicks, target=0.9, ignore=thing.ignore)
            found[name] = [round(v, 4) for v in run.ious]
        done[key] = found


def after(ious: list[float], n: int) -> float:
    return ious[min(n, len(ious)) - 1]


def needed(ious: list[float], target: float, clicks: int) -> int:
    return next((n for n, v in enumerate(ious[:clicks], 1) if v >= target), clicks)


def rows_of(done: Checkpoint, set_name: str) -> dict[str, list[list[float]]]:
    """Method -> overlaps of every object."""
    rows = [v for k, v in done.done.items() if k.startswith(f"{set_name} ")]
    return {name: [r[name] for r in rows] for name in (rows or [{}])[0] if all(name in r for r in rows)}


def chosen_on_train(done: Checkpoint, aloud: bool = False) -> dict[str, str]:
    """Family -> the choice with the best mean overlap after one and three clicks; `CHOSEN` where none was tried."""
    found = rows_of(done, "train")
    if not found:
        return {OWN: "", **CHOSEN}
    means = {name: [np.mean([after(r, n) for r in rows]) for n in (1, 3)] for name, rows in found.items()}
    best: dict[str, str] = {}
    for name in sorted(means, key=lambda n: -sum(means[n])):
        family, choice = name.split(": ")
        best.setdefault(family, choice)
        if aloud:
            print(f"  {means[name][0]:.3f}  {means[name][1]:.3f}  {name}")
    return best


def report(done: Checkpoint, clicks: int) -> None:
    if tried := rows_of(done, "train"):
        print(f"\nMean overlap after 1 and 3 clicks, {len(next(iter(tried.values())))} objects of train:")
    chosen = chosen_on_train(done, aloud=True)
    for set_name in ("grabcut", "val"):
        found = rows_of(done, set_name)
        if not found:
            continue
        ours = found[f"{OURS}: {chosen[OURS]}"]
        print(f"\n{set_name}, {len(ours)} objects, mean overlap, clicks needed (at most {clicks}):\n")
        rows = []
        for family, choice in chosen.items():
            ious = found[f"{family}: {choice}"]
            cells = [f"{np.mean([after(r, n) for r in ious]):.3f}" for n in (1, 3, 5)]
            cells += [f"{np.mean([needed(r, t, clicks) for r in ious]):.2f}" for t in (0.85, 0.9)]
            first = ([after(r, 1) for r in runs] for runs in (ours, ious))
            less = "" if family == OURS else interval(paired(*first, range(len(ours))))
            rows.append([family, choice, *cells, less])
        head = [
            "method",
            "chosen on train",
            "IoU after 1",
            "3",
            "5",
            "NoC@85",
            "NoC@90",
            "IoU after 1: ULTra less it",
        ]
        print(table(head, sorted(rows, key=lambda r: r[2], reverse=True)))


def main() -> None:
    parser = arguments(__doc__ or "", "select_real.jsonl", "folder that holds VOCdevkit")
    parser.add_argument("--grabcut", type=Path, required=True, help="folder with data_GT and boundary_GT")
    parser.add_argument("--objects", type=int, default=60, help="of VOC val")
    parser.add_argument("--choose", type=int, default=0, help="objects of VOC train")
    parser.add_argument("--refine", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--sets", nargs="+", default=["grabcut", "val"])
    parser.add_argument("--clicks", type=int, default=5)
    a = parser.parse_args()
    options = {"model": a.model, "seed": a.seed, "clicks": a.clicks, "area": AREA}
    done = Checkpoint(a.checkpoint, options if a.refine else {**options, "refine": False})
    if not a.report:
        model = start(a.model)
        ways = families(model.n_blocks)
        flat = {f"{f}: {c}": make for f, choices in ways.items() for c, make in choices.items()}
        click(model, voc_objects(a.data, "train", a.choose, a.seed), flat, "train", 3, done, refine=a.refine)
        best = {f"{f}: {c}": ways[f][c] for f, c in chosen_on_train(done).items()}
        if "grabcut" in a.sets:
            click(model, grabcut_objects(a.grabcut), best, "grabcut", a.clicks, done, refine=a.refine)
        if "val" in a.sets:
            click(
                model,
                voc_objects(a.data, "val", a.objects, a.seed),
                best,
                "val",
                a.clicks,
                done,
                refine=a.refine,
            )
    report(done, a.clicks)
    print(f"\n{command()}")


if __name__ == "__main__":
    main()
