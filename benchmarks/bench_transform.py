"""What W does to segments, on scenes that neither trained nor tuned it: `python benchmarks/bench_transform.py`.

Every reading of the self-consistency loss is trained on scenes of its own. The layer (by W = 1), the
reading and every method's threshold are chosen on tuning scenes; the kept reading is trained again
from other seeds on other scenes, and scored on test scenes beside W = 1 by each rule, W = 1 times a
number, a whitening matrix and a random orthogonal one. Figures are the mean IoU of an image's segments under the
best one-to-one match with those present in it, at the true number of segments and at the threshold.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm.auto import tqdm

import ultra_kit as uk
from ultra_kit.data.drawn_scenes import Scene, scene
from ultra_kit.maps.engine import Upstream, token_gradients
from ultra_kit.maps.explanation import make_maps
from ultra_kit.maps.planning import make_request
from ultra_kit.maps.scores import keep_sign_
from ultra_kit.metrics.segment_matching import grid_ceiling, hungarian_miou
from ultra_kit.types import Capture, ExplanationMaps

TRAIN, TUNE, TEST = 4_000_000, 4_500_000, 5_000_000  # first seeds; the model's training uses 1_000_000 and on
THRESHOLDS = (0.25, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.925, 0.95, 0.97, 0.985)
READINGS = {
    "latent, weighted": {"affinity": "latent", "loss": "weighted"},
    "rollout, weighted": {"affinity": "rollout", "loss": "weighted"},
    "attention, weighted": {"affinity": "attention", "loss": "weighted"},
    "latent, contrast": {"affinity": "latent", "loss": "contrast"},
    "rollout, contrast": {"affinity": "rollout", "loss": "contrast"},
}
Matrices = Mapping[str, np.ndarray]


def maps_of(
    cap: Capture,
    layer: int,
    tokens: np.ndarray,
    matrix: np.ndarray,
    rules: Sequence[str],
    scales: Sequence[float],
) -> dict[tuple[str, float], ExplanationMaps]:
    """Maps by several rules and for several multiples of W from one backward pass per token.

    Equal to `ultra_kit.explain` with each; tests/test_transform.py compares the two.
    """
    z = cap.latents[layer]
    steps = [s for s in reversed(cap.steps) if s.layer <= layer]
    upstream = make_request(cap, layer, tokens, transform=matrix).upstream
    rows: dict[tuple[str, float], list[torch.Tensor]] = {(r, c): [] for r in rules for c in scales}
    for token, gradient in zip(torch.from_numpy(tokens), upstream, strict=True):
        found = token_gradients([Upstream(z, gradient[None])], [s.weights for s in steps], token[None])
        for rule in rules:
            kept = [
                keep_sign_(s.weights.detach() * g[0], rule).mean(0)  # type: ignore[index]
                for s, g in zip(steps, found, strict=True)
            ]
            for scale in scales:
                row = torch.nn.functional.one_hot(token, len(z)).to(z.dtype)
                for c in kept:
                    row = row + scale * (row @ c)
                rows[rule, scale].append(row)
    return {
        key: make_maps(cap, torch.stack(r).numpy(), tokens, layer, method="ultra") for key, r in rows.items()
    }


def scores(maps: ExplanationMaps, s: Scene) -> np.ndarray:
    """Mean IoU at the true number of segments, then at each threshold."""
    seg = uk.segment(maps, n_segments=len(np.unique(s.instances)), metric="cosine")
    cuts = [seg, *(seg.recut(threshold=t) for t in THRESHOLDS)]
    return np.array([hungarian_miou(cut.labels, s.instances) for cut in cuts])


def measure(
    model: Any,
    layer: int,
    matrices: Matrices,
    seeds: range,
    *,
    every: int = 1,
    rules: Sequence[str] = ("positive",),
    scales: Sequence[float] = (1.0,),
) -> dict[str, np.ndarray]:
    """Scores of every matrix, (scenes, 1 + thresholds); the first matrix by all rules and scales too.

    With `every` > 1 the maps of every so-many-th token alone, along diagonals, are clustered: quicker.
    """
    out: dict[str, list[np.ndarray]] = {}
    for s in map(scene, tqdm(seeds, desc=f"layer {layer}", unit="scene")):
        cap = uk.capture(model, s.image)
        place = cap.layout.content - cap.layout.n_prefix
        tokens = cap.layout.content[(place + place // cap.layout.grid[1]) % every == 0]
        for number, (name, matrix) in enumerate(matrices.items()):
            ways = (rules, scales) if number == 0 else (("positive",), (1.0,))
            for (rule, scale), maps in maps_of(cap, layer, tokens, matrix, *ways).items():
                label = name if (rule, scale) == ("positive", 1) else f"{name}, {rule} rule, times {scale:g}"
                out.setdefault(label, []).append(scores(maps, s))
    return {name: np.array(rows) for name, rows in out.items()}


def whitening(model: Any, layer: int, seeds: range) -> np.ndarray:
    """The inverse square root of the patch latents' covariance (a tenth of its mean eigenvalue added)."""
    z = []
    for seed in seeds:
        cap = uk.capture(model, scene(seed).image)
        z.append(cap.tokens(layer)[cap.layout.n_prefix :])
    values, vectors = np.linalg.eigh(np.cov(np.concatenate(z).T))
    white = vectors / np.sqrt(values + 0.1 * values.mean()) @ vectors.T
    return white * np.sqrt(len(white)) / np.linalg.norm(white)


def turning(model: Any, layer: int, d: int) -> float:
    """Largest change of a map's entry by a random orthogonal W, as a share of the largest entry; eight tokens."""
    turn, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((d, d)))
    cap = uk.capture(model, scene(TEST).image)
    tokens = cap.layout.content[::18]
    maps = [uk.explain(cap, layer=layer, tokens=tokens, transform=w, progress=False) for w in (None, turn)]
    plain, turned = (m.without_own for m in maps)
    return float(abs(turned - plain).max() / plain.max())


def trained(model: Any, layer: int, n: int, seed: int, reading: str, epochs: int) -> uk.runs.Transform:
    """W of a reading, on scenes that depend on the seed."""
    images = [scene(TRAIN + 10_000 * seed + k).image for k in range(n)]
    options: dict[str, Any] = READINGS[reading]
    return uk.train_transform(model, images, layer=layer, epochs=epochs, seed=seed, **options)


def table(found: Mapping[str, np.ndarray], cuts: Mapping[str, int]) -> dict[str, dict[str, float]]:
    """Mean IoU of each method at the true number of segments and at its threshold."""
    rows = {}
    for name, values in found.items():
        mean = values.mean(0)
        rows[name] = {
            "true K": float(mean[0]),
            "fixed threshold": float(mean[1 + cuts[name]]),
            "threshold": THRESHOLDS[cuts[name]],
        }
        print(f"  {name:40s} {mean[0]:.3f}  {mean[1 + cuts[name]]:.3f}  at {THRESHOLDS[cuts[name]]}")
    return rows


def best_cut(found: Mapping[str, np.ndarray]) -> dict[str, int]:
    """Index of the threshold with the best mean IoU, for each method."""
    return {name: int(values.mean(0)[1:].argmax()) for name, values in found.items()}


def gain(
    rows: Mapping[str, np.ndarray], plain: np.ndarray, cuts: Mapping[str, int]
) -> dict[str, list[float]]:
    """Mean gain of the trained matrices over W = 1 and its standard error over scenes, in points."""
    out = {}
    for name, column, own in (
        ("true K", lambda cut: 0, 0),
        ("fixed threshold", lambda cut: 1 + cut, 1 + cuts["W = 1"]),
    ):
        each = np.mean([v[:, column(cuts[key])] for key, v in rows.items()], axis=0) - plain[:, own]
        out[name] = [float(100 * each.mean()), float(100 * each.std(ddof=1) / np.sqrt(len(each)))]
        print(f"  gain at {name}: {out[name][0]:+.1f} points, standard error {out[name][1]:.1f}")
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--train", type=int, default=64, help="scenes for each training")
    parser.add_argument("--tune", type=int, default=16)
    parser.add_argument("--test", type=int, default=40)
    parser.add_argument("--seeds", type=int, default=3, help="trainings of the kept reading")
    parser.add_argument("--layers", type=int, nargs="+", default=[3, 4])
    parser.add_argument(
        "--every", type=int, default=3, help="on tuning scenes, cluster every so-many-th token"
    )
    parser.add_argument("--test-every", type=int, default=1, help="the same on test scenes")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--readings", nargs="+", choices=READINGS, default=list(READINGS))
    parser.add_argument("--json", type=Path, default=None)
    parser.add_argument("--save", type=Path, default=None, help="where to write W of the first seed")
    a = parser.parse_args()
    start = time.time()
    model = uk.load("scenes")
    tune, test = range(TUNE, TUNE + a.tune), range(TEST, TEST + a.test)
    one = {"W = 1": np.eye(model.module["vision"].embed_dim)}

    print("tuning scenes: W = 1")
    plain = {layer: measure(model, layer, one, tune, every=a.every)["W = 1"] for layer in a.layers}
    for at, values in plain.items():
        print(f"  layer {at}: {values.mean(0)[0]:.3f}")
    layer = max(plain, key=lambda k: plain[k].mean(0)[0])

    readings = {name: trained(model, layer, a.train, 0, name, a.epochs) for name in a.readings}
    matrices = {f"W, {name}": w.matrix for name, w in readings.items()}
    tuned = measure(model, layer, matrices, tune, every=a.every)
    print(f"tuning scenes, layer {layer}: readings of the loss")
    everything = {"W = 1": plain[layer], **tuned}
    tuning = table(everything, best_cut(everything))
    kept = max(a.readings, key=lambda name: sum(list(tuning[f"W, {name}"].values())[:2]))

    runs = {0: readings[kept]} | {
        seed: trained(model, layer, a.train, seed, kept, a.epochs) for seed in range(1, a.seeds)
    }
    seeds = {f"W, seed {seed}": w.matrix for seed, w in runs.items()}
    white = {"whitening": whitening(model, layer, range(TRAIN, TRAIN + a.train))}
    options: dict[str, Any] = {"rules": ("positive", "negative", "absolute"), "scales": (1.0, 4.0)}
    cuts = best_cut(measure(model, layer, one | seeds | white, tune, every=a.every, **options))
    found = measure(model, layer, one | seeds | white, test, every=a.test_every, **options)
    print(f"\ntest scenes, layer {layer}, {kept}: true K, then the threshold chosen on tuning scenes")
    rows = table(found, cuts)
    # The norm sees W through W^T W alone: an orthogonal W gives the maps of W = 1, so it is shown on one scene.
    turned = turning(model, layer, len(one["W = 1"]))
    print(f"  a random orthogonal W changes no entry of a map by more than {turned:.1e} of the largest")
    difference = gain({name: found[name] for name in seeds}, found["W = 1"], cuts)
    ceiling = float(np.mean([grid_ceiling(scene(s).instances, (12, 12)) for s in test]))
    print(f"  ceiling of the token grid {ceiling:.3f}\n{time.time() - start:.0f} s")
    if a.save:
        runs[0].save(a.save)
    if a.json:
        content = {
            "layer": layer,
            "kept": kept,
            "tuning": tuning,
            "layers of W = 1": {str(k): float(v.mean(0)[0]) for k, v in plain.items()},
            "test": rows,
            "random orthogonal, largest change of a map": turned,
            "gain in points": difference,
            "ceiling": ceiling,
            "scenes": {"train": a.train, "tune": a.tune, "test": a.test, "seeds": a.seeds},
            "every": {"tune": a.every, "test": a.test_every},
        }
        a.json.write_text(json.dumps(content, indent=1))


if __name__ == "__main__":
    main()
