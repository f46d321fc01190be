"""The bundled backbone `scenes` against a known truth: `python benchmarks/bench_scenes.py`.

For tokens of objects of four patches and more, how well do the maps find the rest of the object?
The token's own position is left out of every score. Every method's layer (and for ULTra and the
gradient methods the score and the rule) is chosen by average precision on scenes that are not
tested. Then segments with the true number of segments, phrases and captions.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy.cluster.vq import kmeans2
from tqdm.auto import tqdm

import ultra_kit as uk
from ultra_kit import baselines, metrics
from ultra_kit.relevance import make_maps
from ultra_kit.synthetic import Scene, scene
from ultra_kit.types import Capture, ExplanationMaps

CHOOSE, TEST = 2_000_000, 3_000_000  # first seeds; training uses 1_000_000 and on
SLOW = ("gradient x input", "integrated gradients")


@dataclass(frozen=True)
class Method:
    """A way to make maps, ``make(capture, layer=, tokens=)``, on the trained or a random model."""

    name: str
    make: Callable[..., ExplanationMaps]
    layers: tuple[int, ...]
    random: bool = False


def colour_similarity(cap: Capture, *, layer: int, tokens: np.ndarray) -> ExplanationMaps:
    """Nearness of mean patch colours: what knows no model."""
    image = torch.from_numpy(cap.input).permute(2, 0, 1).float()
    cells = F.adaptive_avg_pool2d(image, cap.layout.grid).flatten(1).T.numpy()
    distance = np.linalg.norm(cells[tokens - cap.layout.n_prefix][:, None] - cells[None], axis=-1)
    near = np.zeros((len(tokens), cap.layout.n_tokens), np.float32)
    near[:, cap.layout.n_prefix :] = 1 - distance / 442
    return make_maps(cap, near, tokens, layer, method="colour_similarity")


def with_options(make: Callable[..., ExplanationMaps], **options: Any) -> Callable[..., ExplanationMaps]:
    """The method with its options fixed."""
    return lambda cap, layer, tokens: make(cap, layer=layer, tokens=tokens, **options)


def ways(n_layers: int) -> list[Method]:
    """Every method with every choice it leaves open."""
    every, last, out = tuple(range(1, n_layers + 1)), (n_layers,), []
    quiet: dict[str, Any] = {"progress": False}
    for rule in ("positive", "negative", "absolute"):
        for score, layers in (("norm", every), ("sum", every), ("head", last)):
            out.append(
                Method(
                    f"ULTra, {score}, {rule}",
                    with_options(uk.explain, score=score, rule=rule, **quiet),
                    layers,
                )
            )
        out.append(
            Method(
                f"ULTra on random weights, norm, {rule}",
                with_options(uk.explain, rule=rule, **quiet),
                every,
                True,
            )
        )
    for rule in ("positive", "absolute"):
        product = with_options(baselines.gradient_x_input, rule=rule, **quiet)
        integrated = with_options(baselines.integrated_gradients, rule=rule, n_steps=8, **quiet)
        out += [
            Method(f"gradient x input, {rule}", product, last),
            Method(f"integrated gradients, {rule}", integrated, last),
        ]
    return [
        *out,
        Method("raw attention", baselines.raw_attention, every),
        Method("attention rollout", baselines.rollout, every),
        Method("latent cosine", baselines.cosine, every),
        Method("colour similarity", colour_similarity, last),
        Method("random map", baselines.random_map, last),
    ]


def family(name: str) -> str:
    """The name without its choices: rows of one family compete for one place in the table."""
    parts = name.split(", ")
    return f"ULTra ({parts[-1]} rule)" if parts[0] == "ULTra" else parts[0]


def object_tokens(s: Scene, grid: tuple[int, int], per_object: int) -> tuple[np.ndarray, np.ndarray]:
    """Content indices of tokens of objects of four patches and more, and the label of each patch."""
    label = metrics.patch_labels(s.instances, grid).ravel()
    rng = np.random.default_rng(s.seed)
    picked = [np.zeros(0, int)]
    for k in range(1, len(s.objects) + 1):
        cells = np.flatnonzero(label == k)
        if len(cells) >= 4:
            picked.append(rng.choice(cells, min(per_object, len(cells)), replace=False))
    return np.sort(np.concatenate(picked)), label


def captures(
    model: Any, twin: Any, first: int, n: int, words: str
) -> Iterator[tuple[Scene, Capture, Capture]]:
    """Scenes with their captures by the trained and by the random model."""
    for seed in tqdm(range(first, first + n), desc=words):
        s = scene(seed)
        yield s, uk.capture(model, s.image), uk.capture(twin, s.image)


def score_maps(maps: ExplanationMaps, own: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(T, 3): average precision, pointing game, energy."""
    measures = (metrics.average_precision, metrics.pointing_game, metrics.energy_inside)
    return np.stack([measure(maps.content, own, truth) for measure in measures], 1)


def choose(model: Any, twin: Any, n: int, per_object: int) -> dict[str, tuple[Method, int]]:
    """The best choices of each family by average precision, on scenes set aside for it."""
    found: dict[tuple[str, int], list[np.ndarray]] = {}
    methods = {m.name: m for m in ways(model.n_blocks)}
    for s, cap, random_cap in captures(model, twin, CHOOSE, n, "choosing"):
        own, label = object_tokens(s, cap.layout.grid, per_object)
        truth = label[own][:, None] == label[None]
        for m in methods.values() if len(own) else ():
            for layer in m.layers:
                maps = m.make(random_cap if m.random else cap, layer=layer, tokens=own + cap.layout.n_prefix)
                found.setdefault((m.name, layer), []).append(score_maps(maps, own, truth)[:, 0])
    mean = {k: float(np.nanmean(np.concatenate(v))) for k, v in found.items()}
    best: dict[str, tuple[Method, int]] = {}
    for (name, layer), ap in sorted(mean.items(), key=lambda kv: -kv[1]):
        best.setdefault(family(name), (methods[name], layer))
        print(f"  {ap:.3f}  {name}, layer {layer}")
    return best


def test_maps(model: Any, twin: Any, best: dict, n: int, per_object: int) -> dict[str, dict[str, Any]]:
    """Scores of each family's choice on held-out scenes."""
    rows: dict[str, list[np.ndarray]] = {}
    chance = []
    for s, cap, random_cap in captures(model, twin, TEST, n, "testing maps"):
        own, label = object_tokens(s, cap.layout.grid, per_object)
        if not len(own):
            continue
        truth = label[own][:, None] == label[None]
        chance.append(metrics.prevalence(own, truth))
        for name, (m, layer) in best.items():
            maps = m.make(random_cap if m.random else cap, layer=layer, tokens=own + cap.layout.n_prefix)
            rows.setdefault(name, []).append(score_maps(maps, own, truth))
    out: dict[str, dict[str, Any]] = {}
    for name, parts in rows.items():
        ap, pointing, energy = np.nanmean(np.concatenate(parts), axis=0).tolist()
        choice = f"{best[name][0].name}, layer {best[name][1]}"
        out[name] = {"AP": ap, "pointing": pointing, "energy": energy, "choice": choice}
    level = float(np.nanmean(np.concatenate(chance)))
    out["chance"] = {
        "AP": level,
        "pointing": level,
        "energy": level,
        "choice": "the object's share of the other patches",
    }
    return out


def simple_segments(s: Scene, cap: Capture, layer: int, k: int) -> dict[str, np.ndarray]:
    """Label maps of methods that need no maps, by k-means from a seeded k-means++ start."""
    (h, w), grid = s.instances.shape, cap.layout.grid
    y, x = np.mgrid[:h, :w]
    colour = s.image.reshape(-1, 3) / 255.0
    place = np.stack([y.ravel() / h, x.ravel() / w], 1)
    latents = F.normalize(torch.from_numpy(cap.tokens(layer)[cap.layout.n_prefix :]), dim=-1).double().numpy()
    out = {"one segment": np.zeros((h, w), int)}
    for name, data in (("colour", colour), ("colour and place", np.hstack([colour, place]))):
        out[f"k-means on pixels ({name})"] = kmeans2(data, k, minit="++", seed=s.seed)[1].reshape(h, w)
    labels = kmeans2(latents, k, minit="++", seed=s.seed)[1].reshape(grid)
    out["k-means on latents"] = np.kron(labels, np.ones((h // grid[0], w // grid[1]), int))
    return out


def test_segments(model: Any, twin: Any, best: dict, n: int, n_slow: int) -> dict[str, dict[str, Any]]:
    """Mean IoU with the true number of segments; the slow methods on the first `n_slow` scenes."""
    rows: dict[str, list[float]] = {}
    for done, (s, cap, random_cap) in enumerate(captures(model, twin, TEST, n, "testing segments")):
        k = len(np.unique(s.instances))
        found = simple_segments(s, cap, best["latent cosine"][1], k)
        for name, (m, layer) in best.items():
            if name not in SLOW or done < n_slow:
                maps = m.make(random_cap if m.random else cap, layer=layer, tokens=cap.layout.content)
                found[name] = uk.segment(maps, n_segments=k).labels
        rows.setdefault("token grid's ceiling", []).append(metrics.grid_ceiling(s.instances, cap.layout.grid))
        for name, labels in found.items():
            rows.setdefault(name, []).append(metrics.hungarian_miou(labels, s.instances))
    ceiling = rows["token grid's ceiling"]
    return {
        name: {
            "mIoU": float(np.mean(v)),
            "of ceiling": float(np.mean(v) / np.mean(ceiling[: len(v)])),
            "scenes": len(v),
        }
        for name, v in rows.items()
    }


def soft_maximum(similarity: torch.Tensor, temperature: float = 2.0) -> torch.Tensor:
    """Weighted mean over the patches (dimension -2), by their softmax: as in training."""
    return (torch.softmax(similarity / temperature, -2) * similarity).sum(-2)


@torch.no_grad()
def test_words(model: Any, n: int, among: int) -> dict[str, float]:
    """Does a phrase find its object, and an image its caption?"""
    inside, same, found = [], [], []
    for first in range(TEST, TEST + n - among + 1, among):
        group = [scene(seed) for seed in range(first, first + among)]
        patches = []
        for s in tqdm(group, desc="testing words"):
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
    parser.add_argument("--per-object", type=int, default=4, help="tokens scored in each object")
    parser.add_argument(
        "--slow-scenes", type=int, default=20, help="scenes for segments by the gradient baselines"
    )
    parser.add_argument("--json", type=Path, default=None)
    a = parser.parse_args()
    start = time.time()
    model = uk.load("scenes")
    twin = baselines.randomised(model, seed=0)
    print("average precision on the scenes for choosing:")
    best = choose(model, twin, a.choose, min(2, a.per_object))
    maps = test_maps(model, twin, best, a.scenes, a.per_object)
    segments = test_segments(model, twin, best, a.scenes, a.slow_scenes)
    words = test_words(model, a.scenes, min(100, a.scenes))
    print(f"\nmaps of object tokens, {a.scenes} held-out scenes, own position left out")
    for name, r in sorted(maps.items(), key=lambda kv: -kv[1]["AP"]):
        print(
            f"  {name:26s} AP {r['AP']:.3f}  pointing {r['pointing']:.3f}  energy {r['energy']:.3f}   {r['choice']}"
        )
    print("\nsegments, with the true number of segments: mean IoU, matched one to one in each image")
    for name, r in sorted(segments.items(), key=lambda kv: -kv[1]["mIoU"]):
        print(f"  {name:38s} {r['mIoU']:.3f}  {r['of ceiling']:.2f} of the ceiling  ({r['scenes']} scenes)")
    print("\nwords")
    for name, value in words.items():
        print(f"  {name:58s} {value:.3f}")
    print(f"\n{time.time() - start:.0f} s")
    if a.json:
        a.json.write_text(json.dumps({"maps": maps, "segments": segments, "words": words}, indent=1))


if __name__ == "__main__":
    main()
