"""The bundled backbone `scenes` against a known truth: `python benchmarks/bench_scenes.py`.

For tokens of objects of four patches and more, how well do the maps find the rest of the object?
The token's own position is left out of every metric. Every method's layer (and for ULTra and the
gradient methods the score and the rule) is chosen by average precision on scenes that are not
tested. Then segments with the true number of segments (layer and distance of each method chosen by
mean IoU on scenes that are not tested), phrases and captions.
"""

from __future__ import annotations

import argparse
import json
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from families import choose, show
from scipy.cluster.vq import kmeans2
from tqdm.auto import tqdm

import ultra_kit as uk
from ultra_kit import metrics
from ultra_kit.data.drawn_scenes import scene
from ultra_kit.maps import baselines
from ultra_kit.maps.explanation import make_maps
from ultra_kit.runs.synthetic_truth import Maker, measure_maps, measure_segments
from ultra_kit.types import Capture, ExplanationMaps

CHOOSE, TEST = 2_000_000, 3_000_000  # first seeds; training uses 1_000_000 and on
SLOW = ("gradient x input", "integrated gradients")
BESIDE = ("ULTra (negative rule)", "ULTra (absolute rule)")
"""Families whose segments are shown on the first scenes only, as those of the slow ones."""


def colour_similarity(cap: Capture, *, tokens: np.ndarray) -> ExplanationMaps:
    """Nearness of mean patch colours: what knows no model."""
    image = torch.from_numpy(cap.input).permute(2, 0, 1).float()
    cells = F.adaptive_avg_pool2d(image, cap.layout.grid).flatten(1).T.numpy()
    distance = np.linalg.norm(cells[tokens - cap.layout.n_prefix][:, None] - cells[None], axis=-1)
    near = np.zeros((len(tokens), cap.layout.n_tokens), np.float32)
    near[:, cap.layout.n_prefix :] = 1 - distance / 442
    return make_maps(cap, near, tokens, 0, method="colour_similarity")


def ways(n_layers: int) -> dict[str, dict[str, Maker]]:
    """Family -> choice -> method: every method with every choice that it leaves open."""
    out: dict[str, dict[str, Maker]] = {}
    for layer in range(1, n_layers + 1):
        at = f"layer {layer}"
        for rule in ("positive", "negative", "absolute"):
            for score in ("norm", "sum", *(["head"] if layer == n_layers else [])):
                make = partial(uk.explain, layer=layer, score=score, rule=rule, progress=False)
                out.setdefault(f"ULTra ({rule} rule)", {})[f"{score}, {at}"] = make
        for name, make in (
            ("raw attention", baselines.raw_attention),
            ("attention rollout", baselines.rollout),
            ("latent cosine", baselines.cosine),
        ):
            out.setdefault(name, {})[at] = partial(make, layer=layer)
    for rule in ("positive", "absolute"):
        product = partial(baselines.gradient_x_input, rule=rule, progress=False)
        integrated = partial(baselines.integrated_gradients, rule=rule, n_steps=8, progress=False)
        for name, make in zip(SLOW, (product, integrated), strict=True):
            out.setdefault(name, {})[f"norm, {rule}, layer {n_layers}"] = make
    out["colour similarity"] = {"mean colours of the patches": colour_similarity}
    out["random map"] = {"uniform noise": baselines.random_map}
    return out


def choose_segments(
    model: Any, families: dict[str, dict[str, Maker]], scores: dict[str, str], seeds: range
) -> dict[str, tuple[str, str, Maker]]:
    """The layer and the distance of each family with the best mean IoU; its score is settled."""
    flat = {
        (f, c): make
        for f, choices in families.items()
        if f not in SLOW
        for c, make in choices.items()
        if c.split(",")[0] == scores[f].split(",")[0] or not c.startswith(("norm", "sum", "head"))
    }
    found = measure_segments(model, flat, seeds)  # type: ignore[arg-type]
    rows = [(value, f, c, metric) for (f, c) in flat for metric, value in found[f, c].items()]  # type: ignore[index]
    best: dict[str, tuple[str, str, Maker]] = {}
    for value, f, c, metric in sorted(rows, key=lambda row: -row[0]):
        print(f"  {value:.3f}  {f}: {c}, {metric}")
        best.setdefault(f, (c, metric, flat[f, c]))
    return best


def simple_segments(seeds: range, model: Any, layer: int) -> dict[str, float]:
    """Mean IoU of segments that need no maps: k-means from a seeded k-means++ start, true k."""
    rows: dict[str, list[float]] = {}
    for s in map(scene, tqdm(seeds, desc="k-means")):
        cap, k = uk.capture(model, s.image), len(np.unique(s.instances))
        (h, w), grid = s.instances.shape, cap.layout.grid
        y, x = np.mgrid[:h, :w]
        colour, place = s.image.reshape(-1, 3) / 255.0, np.stack([y.ravel() / h, x.ravel() / w], 1)
        latents = (
            F.normalize(torch.from_numpy(cap.tokens(layer)[cap.layout.n_prefix :]), dim=-1).double().numpy()
        )
        cells = kmeans2(latents, k, minit="++", seed=s.seed)[1].reshape(grid)
        found = {
            "one segment": np.zeros((h, w), int),
            "k-means on pixels (colour)": kmeans2(colour, k, minit="++", seed=s.seed)[1].reshape(h, w),
            "k-means on pixels (colour and place)": kmeans2(
                np.hstack([colour, place]), k, minit="++", seed=s.seed
            )[1].reshape(h, w),
            "k-means on latents": np.kron(cells, np.ones((h // grid[0], w // grid[1]), int)),
        }
        for name, labels in found.items():
            rows.setdefault(name, []).append(metrics.hungarian_miou(labels, s.instances))
    return {name: float(np.mean(v)) for name, v in rows.items()}


def soft_maximum(similarity: torch.Tensor, temperature: float = 2.0) -> torch.Tensor:
    """Weighted mean over the patches (dimension -2), by their softmax: as in training."""
    return (torch.softmax(similarity / temperature, -2) * similarity).sum(-2)


@torch.no_grad()
def score_words(model: Any, seeds: range, among: int) -> dict[str, float]:
    """Shares of phrases that find their object and of images that find their caption."""
    inside, same, found = [], [], []
    for first in range(seeds.start, seeds.stop - among + 1, among):
        group = [scene(seed) for seed in range(first, first + among)]
        patches = []
        for s in tqdm(group, desc="words"):
            cap = uk.capture(model, s.image)
            z = model.project(cap.latents[-1].detach())[cap.layout.n_prefix :]
            patches.append(z)
            label = metrics.patch_labels(s.instances, cap.layout.grid).ravel()
            for k, o in enumerate(s.objects):
                if (label == k + 1).sum() >= 4:
                    at = label[int((z @ model.encode_text([o.phrase])[0]).argmax())]
                    inside.append(at == k + 1)
                    same.append(at > 0 and s.objects[at - 1].phrase == o.phrase)
        # Late interaction: each phrase takes its best patches, a caption is the mean of its phrases.
        z = torch.stack(patches)
        texts = [model.encode_text([*s.phrases, s.background]) for s in group]
        table = torch.stack([soft_maximum(z @ t.T).mean(-1) for t in texts], 1)
        found.append(float((table.argmax(1) == torch.arange(among)).float().mean()))
    return {
        "best patch of a phrase inside that object": float(np.mean(inside)),
        "best patch of a phrase inside an object of that phrase": float(np.mean(same)),
        f"own caption first among {among} (chance {1 / among:.2f})": float(np.mean(found)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--scenes", type=int, default=200)
    parser.add_argument("--choose", type=int, default=40, help="scenes for choosing layer, score and rule")
    parser.add_argument(
        "--segment-scenes", type=int, default=200, help="scenes for segments, all tokens of each"
    )
    parser.add_argument(
        "--choose-segments", type=int, default=24, help="scenes for choosing layer and distance"
    )
    parser.add_argument("--per-object", type=int, default=4, help="tokens scored in each object")
    parser.add_argument(
        "--slow-scenes", type=int, default=20, help="scenes for segments by the gradient baselines"
    )
    parser.add_argument("--json", type=Path, default=None)
    a = parser.parse_args()
    start = time.time()
    model = uk.load("scenes")
    twin = baselines.randomised(model, seed=0)
    choosing, testing = range(CHOOSE, CHOOSE + a.choose), range(TEST, TEST + a.scenes)

    print("average precision on the scenes for choosing:")
    families = ways(model.n_blocks)
    best, _ = choose(partial(measure_maps, model, seeds=choosing, per_object=2), families)
    random_families = {
        "ULTra on random weights": {
            f"{c}, {f[7:15]}": m
            for f in families
            if f.startswith("ULTra")
            for c, m in families[f].items()
            if "head" not in c
        }
    }
    best_random, _ = choose(partial(measure_maps, twin, seeds=choosing, per_object=2), random_families)

    methods = {name: make for name, (_, make) in best.items()}
    random_methods = {name: make for name, (_, make) in best_random.items()}
    maps = measure_maps(model, methods, testing, per_object=a.per_object)
    maps |= {
        k: v
        for k, v in measure_maps(twin, random_methods, testing, per_object=a.per_object).items()
        if k != "chance"
    }
    choices = {name: c for name, (c, _) in (best | best_random).items()}

    print("mean IoU of segments on the scenes for choosing:")
    cuts = choose_segments(model, families, choices, choosing[: a.choose_segments])
    rest = {name: cuts.pop(name) for name in list(cuts) if name in BESIDE}
    cutting, few = testing[: a.segment_scenes], testing[: a.slow_scenes]
    found = measure_segments(model, {name: make for name, (_, _, make) in cuts.items()}, cutting)
    segments = {"ceiling": found["ceiling"]["cosine"]}
    segments |= {name: found[name][metric] for name, (_, metric, _) in cuts.items()}
    segments |= simple_segments(cutting, model, int(cuts["latent cosine"][0].split()[-1]))
    found = measure_segments(
        model, {n: m for n, (_, _, m) in rest.items()} | {n: methods[n] for n in SLOW}, few
    )
    found |= {n: v for n, v in measure_segments(twin, random_methods, few).items() if n != "ceiling"}
    first = f"(first {a.slow_scenes} scenes)"
    segments |= {f"{n} {first}": max(v.values()) for n, v in found.items() if n != "ceiling"}
    choices |= {f"segments: {n}": f"{c}, {metric}" for n, (c, metric, _) in (cuts | rest).items()}
    words = score_words(model, testing, min(100, a.scenes))

    print(f"\nmaps of object tokens, {a.scenes} held-out scenes, own position left out")
    show(maps, choices)
    print(
        f"\nsegments, true number of segments, {len(cutting)} scenes: mean IoU, matched one to one in each image"
    )
    for name, value in sorted(segments.items(), key=lambda kv: -kv[1]):
        print(f"  {name:42s} {value:.3f}  {value / segments['ceiling']:.2f} of the ceiling")
    print("\nwords")
    for name, value in words.items():
        print(f"  {name:58s} {value:.3f}")
    print(f"\n{time.time() - start:.0f} s")
    if a.json:
        scenes = {"maps": a.scenes, "segments": len(cutting), "choosing": a.choose}
        a.json.write_text(
            json.dumps(
                {"maps": maps, "choices": choices, "segments": segments, "words": words, "scenes": scenes},
                indent=1,
            )
        )


if __name__ == "__main__":
    main()
