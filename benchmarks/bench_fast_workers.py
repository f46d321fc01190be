"""How much faster `ultra_kit.evaluate` is with more processes: `python benchmarks/bench_fast_workers.py [--jobs 2]`.

Drawn scenes through the bundled model, all tokens of each, in wall-clock seconds: run it on a quiet machine with at least as many
free processors as jobs. Each process computes with one thread; so does the run of one job. The aim is 1.8 times for two.
"""

import argparse
import tempfile
import time
from pathlib import Path

import joblib
import numpy as np
import torch
from PIL import Image
from threadpoolctl import threadpool_limits

import ultra_kit as uk


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--scenes", type=int, default=24)
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder, threadpool_limits(1):
        root = Path(folder)
        for kind in ("images", "masks"):
            (root / kind).mkdir()
        for seed in range(args.scenes):
            s = uk.data.scene(seed)
            Image.fromarray(s.image).save(root / "images" / f"{seed:03}.png")
            Image.fromarray(np.minimum(s.instances, 1).astype(np.uint8)).save(
                root / "masks" / f"{seed:03}.png"
            )
        data = uk.data.Folder(root, classes=["ground", "object"])
        spent, rows = {}, {}
        for jobs in (1, args.jobs):
            with joblib.parallel_config(backend="loky", n_jobs=jobs):
                # The processes start, import and load the model before the clock does.
                uk.evaluate("scenes", data[:jobs], out=root / f"start {jobs}", progress=False)
                start = time.perf_counter()
                found = uk.evaluate("scenes", data, out=root / f"out {jobs}", progress=False)
                spent[jobs], rows[jobs] = time.perf_counter() - start, found.rows.to_json()
    print(f"{args.scenes} scenes: {spent[1]:.1f} s with one job, {spent[args.jobs]:.1f} s with {args.jobs}:")
    print(f"{spent[1] / spent[args.jobs]:.2f} times faster (aim for two: 1.8), results ", end="")
    print("equal" if rows[1] == rows[args.jobs] else "NOT EQUAL")


if __name__ == "__main__":
    main()
