"""Segments from a share of the tokens, beside those from all of them.

    python benchmarks/bench_fast_tokens.py [--root BSDS500/data] [--records FILE.jsonl] [--json OUT]

Scenes: the bundled `scenes` with its own settings, on seeds 3000000 and on, which no choice saw: mean IoU (matched one
to one) at the true number of segments, and at the model's own threshold. BSDS500: `photos` with W, covering at one
scale, which each way chooses on train photographs, and at each photograph's own. The maps of all tokens are made once
for each image and the ways take rows of them: a row does not depend on which others are asked for.

spread    `explain(tokens=share)`: evenly over the grid.
medoids   the latents nearest to the centres of k-means (`uk.maps.medoids`).
completed every other token with the map of the one that stands for it (`uk.maps.complete`).
random    any tokens, for comparison.

Times are of `explain` and `segment` on one capture, processor seconds of one thread, in turn.
With `--records` a run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench_bsds import THRESHOLDS, WHERE, from_maps
from tqdm.auto import tqdm

import ultra_kit as uk
from ultra_kit.data import BSDS500
from ultra_kit.metrics import RegionMetrics, hungarian_miou, region_metrics, region_summary
from ultra_kit.models.loading import data_folder
from ultra_kit.types import Capture, ExplanationMaps

TEST = 3_000_000
FIELDS = ("covered", "area", "rand", "information")


def ways(cap: Capture, maps: ExplanationMaps, share: float) -> dict[str, ExplanationMaps]:
    """The maps of the tokens that each way takes."""
    spread = cap.layout.spread(share)
    any_ = np.random.default_rng(0).choice(cap.layout.content, len(spread), replace=False)
    chosen = {"all": cap.layout.content, "spread": spread, "random": np.sort(any_)}
    chosen["medoids"] = uk.maps.medoids(cap, share, layer=maps.layer)
    rows = {name: index - cap.layout.n_prefix for name, index in chosen.items()}
    out = {
        name: replace(maps, values=maps.values[row], tokens=maps.tokens[row]) for name, row in rows.items()
    }
    return out | {f"{name}, completed": uk.maps.complete(out[name], cap) for name in ("spread", "medoids")}


def of_a_scene(model: Any, seed: int, share: float) -> dict[str, list[float]]:
    s = uk.data.scene(seed)
    cap = uk.capture(model, s.image)
    maps, k = uk.explain(cap, progress=False), len(np.unique(s.instances))
    out = {}
    for name, part in ways(cap, maps, share).items():
        cuts = uk.segment(part, n_segments=k), uk.segment(part)
        out[name] = [*(hungarian_miou(c.labels, s.instances) for c in cuts), cuts[1].n_segments]
    return out


def of_a_photograph(model: Any, sample: Any, transform: Any, share: float) -> dict[str, Any]:
    cap = uk.capture(model, sample.image)
    maps = uk.explain(cap, layer=transform.layer, transform=transform, progress=False)
    out = {}
    for name, part in ways(cap, maps, share).items():
        labels = from_maps(sample, cap, make=lambda _, part=part: part, metric="hellinger")
        found = region_metrics(labels, sample.truths)
        out[name] = {f: getattr(found, f).tolist() for f in FIELDS}
    return out


def times(model: Any, image: Any, share: float, turns: int = 5) -> dict[str, float]:
    """Processor seconds of explain and segment, all tokens and the medoids completed, and the median ratio of the turns."""
    cap = uk.capture(model, image)
    layer = uk.types.Settings.of(model).layer

    def all_tokens() -> ExplanationMaps:
        return uk.explain(cap, layer=layer, progress=False)

    def share_of_them() -> ExplanationMaps:
        few = uk.explain(cap, layer=layer, tokens=uk.maps.medoids(cap, share, layer=layer), progress=False)
        return uk.maps.complete(few, cap)

    spent: dict[str, list[float]] = {"all": [], "share": []}
    for _ in range(turns):
        for name, make in (("all", all_tokens), ("share", share_of_them)):
            start = time.process_time()
            uk.segment(make(), n_segments=4)
            spent[name].append(time.process_time() - start)
    ratio = statistics.median(a / b for a, b in zip(*spent.values(), strict=True))
    return {name: statistics.median(t) for name, t in spent.items()} | {"faster": ratio}


def recorded(path: Path | None, key: str, make: Any) -> Any:
    """What `make` gives, from the file of records if it is there."""
    held = {}
    if path is not None and path.is_file():
        held = dict(json.loads(line) for line in path.read_text().splitlines())
    if key not in held:
        held[key] = make()
        if path is not None:
            with path.open("a") as f:
                f.write(json.dumps([key, held[key]]) + "\n")
    return held[key]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--share", type=float, default=0.2)
    parser.add_argument("--scenes", type=int, default=100)
    parser.add_argument("--root", type=Path, help=WHERE)
    parser.add_argument("--train", type=int, default=12, help="photographs that choose the scale")
    parser.add_argument("--val", type=int, default=100)
    parser.add_argument("--records", type=Path, help="a line of JSON for each image that is done")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    a = parser.parse_args()
    torch.set_num_threads(1)
    out: dict[str, Any] = {"share": a.share}

    scenes = uk.load("scenes")
    found = [
        recorded(a.records, f"scene {seed} {a.share}", lambda s=seed: of_a_scene(scenes, s, a.share))
        for seed in tqdm(range(TEST, TEST + a.scenes), unit="scene")
    ]
    out["scenes"] = {name: np.mean([f[name] for f in found], axis=0).tolist() for name in found[0]}
    print(f"\n{a.scenes} scenes, mean IoU    true number   own threshold   segments")
    for name, (true, own, n) in out["scenes"].items():
        print(f"  {name:24}{true:10.3f}{own:16.3f}{n:11.1f}")
    out["scenes time"] = times(scenes, uk.data.scene(TEST).image, a.share)

    if a.root is not None:
        model = uk.load("photos")
        w = uk.runs.Transform.load(data_folder() / "models" / "photos" / "transform.safetensors")
        train, val = BSDS500(a.root, "train"), BSDS500(a.root, "val")[: a.val]
        summaries = {}
        for split, data in (("train", train[:: len(train) // a.train][: a.train]), ("val", val)):
            records = [
                recorded(
                    a.records,
                    f"{split} {s.name} {a.share}",
                    lambda s=s: of_a_photograph(model, s, w, a.share),
                )
                for s in tqdm(data, unit="photograph", desc=split)
            ]
            for name in records[0]:
                figures = [RegionMetrics(*(np.array(r[name][f]) for f in FIELDS)) for r in records]
                summaries[split, name] = region_summary(figures), figures
        print(f"\n{len(val)} photographs, covering    one scale    each one's own")
        out["photographs"] = {}
        for name in records[0]:
            scale = summaries["train", name][0]["covering_scale"]
            own, figures = summaries["val", name]
            one = sum(f.covered[scale].sum() for f in figures) / sum(f.area.sum() for f in figures)
            out["photographs"][name] = [one, own["covering_ois"]]
            print(f"  {name:24}{one:14.3f}{own['covering_ois']:17.3f}   distance {THRESHOLDS[scale]}")
        out["photographs time"] = times(model, val[0].image, a.share)

    print(f"\nexplain and segment, processor seconds {'all':>8}{'share':>8}   times faster (aim: 4.5)")
    for name in ("scenes", "photographs"):
        if t := out.get(f"{name} time"):
            print(f"  {name:36}{t['all']:9.2f}{t['share']:8.2f}{t['faster']:10.2f}")
    if a.json:
        a.json.write_text(json.dumps(out, indent=1) + "\n")


if __name__ == "__main__":
    main()
