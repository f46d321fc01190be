"""Time to segment and to re-cut 784 tokens, labels at the input's size included.

Run it with ``python benchmarks/bench_segmentation.py``; it prints a table and needs no model: the
maps are noisy blocks, as many and as large as those of a 28 x 28 grid over 448 x 448 pixels. The
bar is 50 ms a re-cut.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np

from ultra_kit.images.clustering import segment
from ultra_kit.types import ExplanationMaps, Layout

GRID, SIZE, REPEATS = (28, 28), (448, 448), 15


def block_maps(seed: int = 0) -> ExplanationMaps:
    """Maps of tokens that belong to one of 16 blocks, with noise; one prefix token."""
    rng = np.random.default_rng(seed)
    block = np.arange(16).reshape(4, 4).repeat(7, 0).repeat(7, 1).ravel()
    values = (block[:, None] == block) + 0.6 * rng.random((784, 784))
    layout = Layout("image", n_prefix=1, grid=GRID, size=SIZE)
    values = np.concatenate([np.zeros((784, 1)), values], axis=1).astype(np.float32)
    return ExplanationMaps(values, layout.content, 12, layout)


def timed(run: Callable[[], object], repeats: int = REPEATS) -> tuple[float, float]:
    """Median time and median processor time of the repeats, in milliseconds.

    The two agree on an idle machine; where other work competes, the second is the code's own.
    """
    run()
    wall, processor = [], []
    for _ in range(repeats):
        start, busy = time.perf_counter(), time.process_time()
        run()
        wall.append(1000 * (time.perf_counter() - start))
        processor.append(1000 * (time.process_time() - busy))
    return statistics.median(wall), statistics.median(processor)


def main() -> None:
    maps = block_maps()
    seg = segment(maps)
    print(f"{len(maps)} tokens, labels of {SIZE[0]} x {SIZE[1]} pixels, {REPEATS} repeats")
    print(f"{'':24} {'segments':>8} {'ms':>10} {'CPU ms':>10}")
    wall, processor = timed(lambda: segment(maps), 3)
    print(f"{'segment, from the maps':24} {seg.n_segments:8} {wall:10.1f} {processor:10.1f}")
    cuts: list[dict[str, float]] = [{"threshold": t} for t in (0.3, 0.25, 0.2)] + [
        {"n_segments": n} for n in (2, 8, 20, 40)
    ]
    for cut in cuts:
        wall, processor = timed(lambda cut=cut: seg.recut(**cut))
        name = "re-cut at " + ", ".join(f"{k} {v}" for k, v in cut.items())
        print(f"{name:24} {seg.recut(**cut).n_segments:8} {wall:10.1f} {processor:10.1f}")


if __name__ == "__main__":
    main()
