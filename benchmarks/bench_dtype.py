"""How far maps in bfloat16 are from those in float32: the correlation of each token's map, own position left out.

    python benchmarks/bench_dtype.py [--only MODEL] [--photographs FOLDER] [--json OUT]

At each model's own settings all tokens of a few inputs, and at the last layer, over all blocks, some of them. The aim is 0.999
for every token. Photographs come from a folder (by default those that are bundled), scenes and reports from seeds.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch

import ultra_kit as uk

TEXT = (
    "The council met on Tuesday to talk about the old bridge over the river. Engineers said that two of its five arches "
    "had cracks and that repairs would take eleven weeks. The mayor asked for a cheaper plan, and the meeting ended at nine."
)
SHARES = {"dinov2": 0.1, "photos": 0.1, "scenes": 1.0, "briefs": 0.3, "smollm2": 0.3}
"""Of the tokens, at the last layer."""


def inputs(name, photographs):
    if name in ("dinov2", "photos"):
        return sorted(photographs.glob("*.jpg"))[:4]
    if name == "scenes":
        return [uk.data.scene(seed).image for seed in range(3_000_000, 3_000_004)]
    return [uk.data.brief(seed).document for seed in (5, 6)] if name == "briefs" else [TEXT]


def timed(cap, **options):
    start = time.process_time()
    maps = uk.explain(cap, progress=False, **options)
    return maps, (time.process_time() - start) / len(maps)


def correlations(a, b):
    pairs = zip(a.without_own, b.without_own, strict=True)
    return [float(np.corrcoef(x, y)[0, 1]) for x, y in pairs if np.ptp(x) and np.ptp(y)]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", help="one of the models")
    parser.add_argument("--photographs", type=Path, default=uk.models.loading.data_folder() / "images")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    args = parser.parse_args()
    torch.set_num_threads(1)
    out = {}
    print(f"{'':36}{'tokens':>8}{'mean':>10}{'least':>10}   seconds a token: float32, bfloat16")
    for name, share in SHARES.items():
        if args.only not in name:
            continue
        model, found = uk.load(name), {}
        for x in inputs(name, args.photographs):
            exact, half = (uk.capture(model, x, dtype=dtype) for dtype in (None, torch.bfloat16))
            # The check in float64, which every result's card states, is left out of the times.
            half.card["dtype"] = "float32"
            some = exact.layout.spread(share)
            for what, options in (
                (str(model.settings), {}),
                ("last layer, norm", dict(layer=-1, score="norm", rule="positive", tokens=some)),
            ):
                if name in ("briefs", "smollm2"):
                    options = options | {"tokens": some}
                (a, slow), (b, fast) = timed(exact, **options), timed(half, **options)
                found.setdefault(what, []).append((correlations(a, b), slow, fast))
        for what, rows in found.items():
            every = np.concatenate([r[0] for r in rows])
            slow, fast = (float(np.mean([r[i] for r in rows])) for i in (1, 2))
            out[f"{name}, {what}"] = [len(every), float(every.mean()), float(every.min()), slow, fast]
            print(
                f"{name:9}{what[:34]:36}{len(every):6}{every.mean():10.5f}{every.min():10.5f}{slow:12.3f}{fast:8.3f}",
                flush=True,
            )
    if args.json:
        args.json.write_text(json.dumps(out, indent=1) + "\n")


if __name__ == "__main__":
    main()
