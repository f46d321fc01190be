"""Choose the own settings of `photos`: python data/models/photos/choose.py --root FOLDER --json chosen.json.

Segments of a few photographs of the split for choosing, at one threshold for all: mean IoU of family B (each image's present
classes matched to its segments). Counts are kept per photograph, so that a stopped run goes on.
"""

from __future__ import annotations

import argparse
import json
from itertools import product
from pathlib import Path

import numpy as np
import torch

import ultra_kit as uk
from ultra_kit.data.crops import nearest
from ultra_kit.metrics import confusion, image_counts, pooled_metrics
from ultra_kit.types.whole_file import write_text

LAYERS, SCORES, RULES, SINCE = (4, 5), ("norm", "sum"), ("positive", "negative"), (0, -1)
CUTS = {"cosine": np.arange(0.1, 0.91, 0.1), "hellinger": np.arange(0.1, 0.71, 0.1)}


def counts_of(model, sample, n_classes: int) -> dict[str, list]:
    """Confusion counts of every way to explain and to cut one photograph."""
    cap, found = uk.capture(model, sample.image), {}
    for layer, score, rule, since in product(LAYERS, SCORES, RULES, SINCE):
        if (since and (score, rule) != ("norm", "positive")) or (score, rule) == ("sum", "negative"):
            continue
        maps = uk.explain(cap, layer=layer, score=score, rule=rule, since=since, progress=False)
        for metric, cuts in CUTS.items():
            seg = uk.segment(maps, metric=metric, threshold=float(cuts[0]))
            for cut in cuts:
                labels = nearest(seg.recut(threshold=float(cut)).labels, sample.truth.shape)
                key = f"layer {layer}, {score}, {rule}, since {since}, {metric}, {cut:.2f}"
                found[key] = confusion(labels, sample.truth, n_classes=n_classes).tolist()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--split", default="train")
    parser.add_argument("--images", type=int, default=10)
    parser.add_argument("--work", type=Path, default=Path("photos-choice"), help="counts of each photograph")
    parser.add_argument("--json", type=Path, default=Path("chosen.json"))
    a = parser.parse_args()
    torch.set_num_threads(1)
    model, data = uk.load("photos"), uk.data.PascalVOC2012(a.root, split=a.split)
    picked = np.linspace(0, len(data) - 1, a.images).astype(int)
    records = []
    for i in picked:
        path = a.work / f"{i:04}.json"
        if not path.is_file():
            write_text(path, json.dumps(counts_of(model, data[int(i)], len(data.classes))))
        records.append(json.loads(path.read_text()))
    rows = []
    for key in records[0]:
        counts = [np.array(r[key]) for r in records]
        miou = pooled_metrics(image_counts(c) for c in counts).miou
        rows.append((float(miou), float(np.mean([c.any(0).sum() for c in counts])), key))
    rows.sort(reverse=True)
    truth = float(np.mean([np.array(r[rows[0][2]]).any(1).sum() for r in records]))
    write_text(a.json, json.dumps({"true classes": truth, "rows": rows}, indent=1))
    print(f"{a.images} photographs, {truth:.1f} classes each; mean IoU, segments, setting")
    for miou, segments, key in rows[:25]:
        print(f"{miou:.3f}  {segments:5.1f}  {key}")


if __name__ == "__main__":
    main()
