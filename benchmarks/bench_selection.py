"""Object selection on held-out scenes: `python benchmarks/bench_selection.py`.

How good is the mask after one click, after three, and how many clicks does it take (NoC)? Clicks are
simulated: the first falls on the object's deepest point, each further one where the mask is most
wrong. Every method goes through the same `ultra_kit.select`; only the maps differ. Each
method's layer is chosen by the mean overlap after one and three clicks on scenes that are not tested, and the
simpler ways to combine and to cut the maps are scored there too. Two rows know no model: maps of
patch colours, and maps that only fall off with distance (sigma two patches).
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from tqdm.auto import tqdm

import ultra_kit as uk
from ultra_kit import metrics
from ultra_kit.data.drawn_scenes import Scene, scene
from ultra_kit.maps import baselines
from ultra_kit.maps.explanation import make_maps
from ultra_kit.metrics import Clicks, simulate_clicks
from ultra_kit.metrics.clicks import MAX_CLICKS
from ultra_kit.types import Capture, ExplanationMaps

CHOOSE, TEST = 6_500_000, 6_000_000  # first seeds; training uses 1_000_000 and on
SMALLEST = 4
Maps = Callable[[Capture], ExplanationMaps]


def colours(cap: Capture) -> ExplanationMaps:
    """Likeness of mean patch colours."""
    image = torch.from_numpy(cap.input).permute(2, 0, 1).float() / 255
    cells = F.adaptive_avg_pool2d(image, cap.layout.grid).flatten(1).T.numpy()
    apart = ((cells[:, None] - cells[None]) ** 2).sum(-1)
    return of_patches(cap, np.exp(-apart / 0.02), "colour_similarity")


def nearness(cap: Capture) -> ExplanationMaps:
    """Nearness of the patches."""
    h, w = cap.layout.grid or (1, 1)
    y, x = np.divmod(np.arange(h * w), w)
    apart = (y[:, None] - y) ** 2 + (x[:, None] - x) ** 2
    return of_patches(cap, np.exp(-apart / 8), "nearness")


def of_patches(cap: Capture, values: np.ndarray, method: str) -> ExplanationMaps:
    """Maps without a model."""
    full = np.zeros((len(values), cap.layout.n_tokens), np.float32)
    full[:, cap.layout.n_prefix :] = values
    return make_maps(cap, full, cap.layout.content, 0, method=method)


def ultra(layer: int, rule: str = "positive") -> Maps:
    return lambda cap: uk.explain(cap, layer=layer, rule=rule, progress=False)


def families(n_layers: int) -> dict[str, dict[str, Maps]]:
    """Family -> choice -> maps of all patches."""
    layers = (n_layers - 1, n_layers)
    out: dict[str, dict[str, Maps]] = {"ULTra": {f"layer {k}": ultra(k) for k in layers}}
    out["ULTra"][f"layer {n_layers - 1}, absolute"] = ultra(n_layers - 1, "absolute")
    for name, make in (
        ("raw attention", baselines.raw_attention),
        ("attention rollout", baselines.rollout),
        ("latent cosine", baselines.cosine),
    ):
        out[name] = {f"layer {k}": lambda cap, make=make, k=k: make(cap, layer=k) for k in layers}
    return out


def objects_of(s: Scene, grid: tuple[int, int]) -> list[int]:
    """Numbers of the objects of four patches and more."""
    label = metrics.patch_labels(s.instances, grid)
    return [k for k in range(1, len(s.objects) + 1) if (label == k).sum() >= SMALLEST]


def click_through(
    model: Any, methods: Mapping[str, tuple[Maps, dict[str, Any]]], seeds: range, max_clicks: int
) -> dict[str, list[Clicks]]:
    """A simulated user on every object with every method."""
    runs: dict[str, list[Clicks]] = {name: [] for name in methods}
    for s in map(scene, tqdm(seeds, desc="clicks")):
        cap = uk.capture(model, s.image)
        made: dict[Maps, ExplanationMaps] = {}
        for name, (make, options) in methods.items():
            maps = made.setdefault(make, make(cap)) if make not in made else made[make]
            for k in objects_of(s, cap.layout.grid):
                ask = partial(answer, cap, {"maps": maps, **options})
                runs[name].append(simulate_clicks(ask, s.instances == k, max_clicks=max_clicks, target=0.9))
    return runs


def answer(cap: Capture, options: Mapping[str, Any], wanted: Any, unwanted: Any) -> np.ndarray:
    """The mask for the clicks so far."""
    return uk.select(cap, points=wanted, unwanted=unwanted, **options).mask


def figures(runs: list[Clicks], max_clicks: int) -> dict[str, float]:
    """What the tables show of many runs."""
    after = {n: [r.after(n) for r in runs] for n in (1, 2, 3, 5, 10) if n <= max_clicks}
    out = {f"median IoU after {n}": float(np.median(v)) for n, v in after.items()}
    out |= {f"mean IoU after {n}": float(np.mean(v)) for n, v in after.items()}
    for target in (85, 90):
        needed = [r.needed(target / 100, max_clicks) for r in runs]
        out[f"NoC@{target}"] = float(np.mean(needed))
        out[f"failed@{target}"] = float(np.mean([max(r.ious) < target / 100 for r in runs]))
    return out


def score_boxes(model: Any, make: Maps, seeds: range) -> dict[str, float]:
    """Masks from the tight box of each object, beside the box itself."""
    found, plain = [], []
    for s in map(scene, tqdm(seeds, desc="boxes")):
        cap = uk.capture(model, s.image)
        maps = make(cap)
        for k in objects_of(s, cap.layout.grid):
            truth = s.instances == k
            box = metrics.box_around(truth)
            found.append(metrics.mask_iou(uk.select(cap, box=box, maps=maps).mask, truth))
            plain.append(float(truth.sum() / ((box[2] - box[0]) * (box[3] - box[1]))))
    return {
        "median IoU": float(np.median(found)),
        "mean IoU": float(np.mean(found)),
        "median IoU of the box itself": float(np.median(plain)),
        "objects": len(found),
    }


def score_texts(model: Any, make: Maps, seeds: range) -> dict[str, dict[str, float]]:
    """Prompts that exactly one object of the scene fits; right if the mask overlaps that object most."""
    rows: dict[str, list[tuple[bool, float]]] = {
        "phrase": [],
        "phrase, two objects and more": [],
        "shape": [],
    }
    for s in map(scene, tqdm(seeds, desc="texts")):
        cap = uk.capture(model, s.image)
        maps = make(cap)
        for k in objects_of(s, cap.layout.grid):
            o = s.objects[k - 1]
            prompts = {
                "phrase": (o.phrase, s.phrases),
                "shape": (f"a {o.shape}", [f"a {p.shape}" for p in s.objects]),
            }
            for kind, (text, all_of_it) in prompts.items():
                if list(all_of_it).count(text) > 1:
                    continue
                mask = uk.select(cap, text=text, maps=maps).mask
                overlaps = [metrics.mask_iou(mask, s.instances == j) for j in range(1, len(s.objects) + 1)]
                right = overlaps[k - 1] > 0 and int(np.argmax(overlaps)) == k - 1
                rows[kind].append((right, overlaps[k - 1]))
                if kind == "phrase" and len(s.objects) > 1:
                    rows["phrase, two objects and more"].append((right, overlaps[k - 1]))
    return {
        kind: {
            "right object": float(np.mean([r for r, _ in found])),
            "median IoU": float(np.median([v for _, v in found])),
            "prompts": len(found),
        }
        for kind, found in rows.items()
    }


def choose(
    model: Any, seeds: range, offered: dict[str, dict[str, Maps]]
) -> tuple[dict[str, str], dict[str, Any]]:
    """The best choice of each family, and all figures."""
    flat = {f"{f}: {c}": (make, {}) for f, choices in offered.items() for c, make in choices.items()}
    scores = {name: figures(runs, 3) for name, runs in click_through(model, flat, seeds, 3).items()}
    best: dict[str, str] = {}
    for name in sorted(scores, key=lambda n: -scores[n]["mean IoU after 1"] - scores[n]["mean IoU after 3"]):
        print(f"  {line(scores[name])}  {name}")
        family, choice = name.split(": ")
        best.setdefault(family, choice)
    return best, scores


def line(row: Mapping[str, float]) -> str:
    return "  ".join(f"{row[f'median IoU after {n}']:.3f}" for n in (1, 3))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--scenes", type=int, default=100)
    parser.add_argument("--text-scenes", type=int, default=100, help="scenes for the prompts")
    parser.add_argument("--choose", type=int, default=24, help="scenes for choosing the layers")
    parser.add_argument("--clicks", type=int, default=MAX_CLICKS)
    parser.add_argument("--json", type=Path, default=None)
    a = parser.parse_args()
    warnings.simplefilter("ignore", uk.maps.ConstantNormWarning)  # random weights: latents of one length
    start, model = time.time(), uk.load("scenes")
    twin = baselines.randomised(model, seed=0)
    choosing, testing = range(CHOOSE, CHOOSE + a.choose), range(TEST, TEST + a.scenes)
    named = range(TEST, TEST + a.text_scenes)

    print(f"median IoU after 1 and 3 clicks, {a.choose} scenes for choosing")
    offered = families(model.n_blocks)
    best, tried = choose(model, choosing, offered)
    make = offered["ULTra"][best["ULTra"]]
    ways = {
        "difference of the maps": (make, {"combine": "difference"}),
        "difference, not refined": (make, {"combine": "difference", "refine": False}),
        "walk, not refined": (make, {"refine": False}),
        "walk, unconnected parts kept": (make, {"connected": False}),
    }
    other = {name: figures(runs, 3) for name, runs in click_through(model, ways, choosing, 3).items()}
    for name, row in other.items():
        print(f"  {line(row)}  ULTra, {name}")

    methods = {name: (offered[name][choice], {}) for name, choice in best.items()}
    methods |= {
        "colours of patches, no model": (colours, {}),
        "nearness of patches, no model": (nearness, {}),
    }
    tested = {
        name: figures(r, a.clicks) for name, r in click_through(model, methods, testing, a.clicks).items()
    }
    randomly = {"ULTra on random weights": (make, {})}
    tested |= {
        name: figures(r, a.clicks) for name, r in click_through(twin, randomly, testing, a.clicks).items()
    }
    print(
        f"\n{a.scenes} held-out scenes: median IoU after 1 and 3 clicks, NoC@85, NoC@90 ({a.clicks}: failed)"
    )
    for name, row in sorted(tested.items(), key=lambda kv: -kv[1]["median IoU after 3"]):
        print(f"  {line(row)}  {row['NoC@85']:5.2f}  {row['NoC@90']:5.2f}  {name}   {best.get(name, '')}")
    boxes, texts = score_boxes(model, make, testing), score_texts(model, make, named)
    print(f"\nboxes: {boxes}\ntexts: {json.dumps(texts, indent=1)}\n{time.time() - start:.0f} s")
    if a.json:
        result = {
            "clicks": tested,
            "choices": best,
            "tried": tried,
            "other ways": other,
            "boxes": boxes,
            "texts": texts,
        }
        counts = {"test": a.scenes, "texts": a.text_scenes, "choosing": a.choose, "max_clicks": a.clicks}
        a.json.write_text(json.dumps({**result, "scenes": counts}, indent=1) + "\n")


if __name__ == "__main__":
    main()
