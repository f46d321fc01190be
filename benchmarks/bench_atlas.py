"""An atlas of many tokens: what it takes, and what it separates where the truth is known.

    python benchmarks/bench_atlas.py [--tokens 50000] [--voc VOC]
    python benchmarks/bench_atlas.py --paired --voc VOC
    python benchmarks/bench_atlas.py --sizes --voc VOC --checkpoint FILE
    python benchmarks/bench_atlas.py --truth --voc VOC [--choose] [--sets NAMES] [--layers K] [--checkpoint FILE] [--report] [--picture FILE]

Without --truth: seconds and peak memory of placing and clustering that many vectors of 384 dimensions, imports and
compilation included, and with --voc of `embed` as a whole over photographs, captures in two processes.

With --truth, layer by layer, latents beside what tokens were made from (`embed(by="map")`), on three sets of inputs:

scenes   40 drawn scenes, model `scenes`: shape and texture of the object that most of a patch shows (object patches), and
         which object it is: of this the nearest are looked for among the object patches of the same scene
VOC      60 photographs of our half "val", `dinov2`: the class of the object that most of a patch shows (object patches)
briefs   60 drawn reports, model `briefs`: which fact a word states (name, place, number, ...), and, of the same words,
         whether it is told of the report's subject or of something else

Layer 0 is the trivial baseline: a patch or word by itself. So is "whole", the mean of all latents of the layer below in the
token's input, as if its map were the same everywhere (its clusters are the inputs). Maps are products of all blocks for scenes and briefs, of one block for VOC.
Rows named "random" are of a model of the same architecture with random weights (`ultra_kit.baselines.randomised`).
Figures: agree, the share of the 10 tokens nearest by cosine *in other inputs* that have the same truth; silhouette of the
truth; adjusted Rand and purity of the clusters of `embed` (noise counts as a cluster, and as impure) and of k-means on the
same vectors with the true number of classes. --paired draws whole photographs again for the interval of what a token was
made from at layer 11 less its latent at layer 10 and less the mean of its photograph. --choose takes other inputs (scenes from 40000 on, VOC "train", other
briefs). --sizes tries, on those, sizes of the smallest cluster with all tokens of 6 to 96 inputs, each with three seeds.
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from joblib import parallel_config
from real_data import Checkpoint, interval, paired, some_of, table
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, silhouette_score

import ultra_kit as uk
from ultra_kit.atlas.collecting import Wanted, rows_of
from ultra_kit.atlas.placing import clusters_of, place_vectors, smallest_cluster
from ultra_kit.data.drawn_reports import WORDS
from ultra_kit.data.drawn_scenes import SHAPES, TEXTURES
from ultra_kit.metrics.segment_matching import patch_labels

NEAREST = 10
NEAREST_BESIDE = 3  # where the truth is one of the input's own objects: some have four patches
WITHIN = ("object",)
MOST = 6000  # tokens of a set that are placed
SPACES = ("latent", "map", "whole")
RANDOM = ("random latent", "random map")
SAID = {
    "latent": "by latent",
    "map": "by what it was made from",
    "whole": "by the mean of its whole input",
    "random latent": "by latent, random weights",
}
RULES: dict[str, Callable[[int], float]] = {
    "M / 200": lambda m: m / 200,
    "M / 100": lambda m: m / 100,
    "M / 50": lambda m: m / 50,
    "M / 25": lambda m: m / 25,
    "root of M / 2": lambda m: m**0.5 / 2,
    "root of M": lambda m: m**0.5,
    "2 roots of M": lambda m: 2 * m**0.5,
}


Truths = Iterator[tuple[Any, dict[str, np.ndarray]]]


def scenes(a: argparse.Namespace, model: Any, count: int) -> Truths:
    """Captures and the truth of their content tokens, -1 where there is none."""
    for seed in range(40000, 40000 + count) if a.choose else range(50000, 50000 + count):
        drawn = uk.data.scene(seed)
        cap = uk.capture(model, drawn.image)
        of = patch_labels(drawn.instances, cap.layout.grid).ravel() - 1
        shape, texture = (
            np.array([*(known.index(getattr(o, name)) for o in drawn.objects), -1])[of]
            for name, known in (("shape", SHAPES), ("texture", TEXTURES))
        )
        yield cap, {"shape": shape, "texture": texture, "object": np.where(of < 0, -1, 100 * seed + of)}


def voc(a: argparse.Namespace, model: Any, count: int) -> Truths:
    data = uk.data.PascalVOC2012(a.voc, "train" if a.choose else "val")
    for index in some_of(data, count, 0):
        cap = uk.capture(model, data[index].image)
        truth = patch_labels(data[index].truth, cap.layout.grid).ravel()
        yield cap, {"class": np.where(truth > 0, truth, -1)}  # 0 is the background


def briefs(a: argparse.Namespace, model: Any, count: int) -> Truths:
    slots = {word: k for k, words in enumerate(WORDS.values()) for word in words}
    for seed in range(40000, 40000 + count) if a.choose else range(50000, 50000 + count):
        brief = uk.data.brief(seed)
        cap = uk.capture(model, brief.document)
        placed = uk.atlas.PlacedInput.of(cap)
        told = {w for k in brief.main for w in range(*brief.sentences[k])}
        kind, whose = (np.full(cap.layout.n_content, -1) for _ in range(2))
        for number, word in enumerate(placed.words):
            fact = len(WORDS) if word.text.isdigit() else slots.get(word.text, -1)
            if fact >= 0 and word.tokens:
                kind[word.tokens[-1] - cap.layout.n_prefix] = fact
                whose[word.tokens[-1] - cap.layout.n_prefix] = number in told
        yield cap, {"which fact": kind, "of the subject or not": whose}


SETS = {"scenes": (scenes, "scenes", 40), "VOC": (voc, "dinov2", 60), "briefs": (briefs, "briefs", 60)}
SET_ASIDE = {"scenes": 12, "VOC": 24, "briefs": 24}  # inputs of --choose


def some(a: argparse.Namespace, name: str, random: bool = False, count: int | None = None) -> Truths:
    """The captures of a set by its model, or by one of the same architecture with random weights."""
    captures, model, n = SETS[name]
    n = SET_ASIDE[name] if a.choose else n
    known = uk.load(model)
    return captures(a, uk.baselines.randomised(known) if random else known, count or n)


def vectors_of(
    name: str, spaces: Sequence[str], a: argparse.Namespace
) -> Iterator[tuple[int, str, np.ndarray, np.ndarray, dict[str, np.ndarray]]]:
    """(layer, space, vectors, input of each, truths) of a set; one capture at a time."""
    kept: dict[tuple[int, str], list[np.ndarray]] = {}
    inputs, truths = [], []
    random = spaces[0].startswith("random")
    for index, (cap, truth) in enumerate(some(a, name, random)):
        rng, has = np.random.default_rng(index), np.flatnonzero(next(iter(truth.values())) >= 0)
        drawn = np.sort(rng.permutation(has)[: 30 if name == "briefs" else 100])
        if not len(drawn):
            continue
        tokens = cap.layout.n_prefix + drawn
        for layer in a.layers or range(cap.n_layers + 1):
            for space in [s for s in spaces if layer or s.endswith("latent")]:
                since = -1 if name == "VOC" else 0
                if space == "whole":
                    below = unit(cap.tokens(layer - 1 if since else 0)[cap.layout.n_prefix :])
                    rows = np.repeat(unit(below.mean(axis=0, keepdims=True)), len(tokens), axis=0)
                else:
                    wanted = Wanted(layer, space.removeprefix("random "), since, 10**6, 0, False, ())
                    rows = rows_of(cap, index, wanted, tokens)[0].vectors
                kept.setdefault((layer, space), []).append(rows)
        inputs.append(np.full(len(drawn), index))
        truths.append({k: v[drawn] for k, v in truth.items()})
        print(f"\r{name} {index}", end="", file=sys.stderr)
    together = {k: np.concatenate([t[k] for t in truths])[:MOST] for k in truths[0]}
    for (layer, space), rows in sorted(kept.items()):
        yield layer, space, np.concatenate(rows)[:MOST], np.concatenate(inputs)[:MOST], together


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def purity(labels: np.ndarray, truth: np.ndarray) -> float:
    """Share of the tokens that have the commonest truth of their cluster; noise has none."""
    return sum(np.bincount(truth[labels == k]).max() for k in np.unique(labels[labels >= 0])) / len(truth)


def agreement(
    vectors: np.ndarray, inputs: np.ndarray, truth: np.ndarray, within: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Of each token the share of the nearest in other inputs, or within its own, that have its truth; the vectors, centred."""
    given = vectors.astype(np.float32)
    centred = given - given.mean(axis=0)  # all latents share a large mean; cosine without it
    centred /= np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
    like = centred @ centred.T
    like[~asked(inputs, within)] = -2
    most = NEAREST_BESIDE if within else NEAREST
    near = np.argpartition(-like, most, axis=1)[:, :most]
    return (truth[near] == truth[:, None]).mean(axis=1), centred


def asked(inputs: np.ndarray, within: bool) -> np.ndarray:
    """Which pairs of tokens are compared: those of two inputs, or the others of one input."""
    same = inputs[:, None] == inputs
    return same & ~np.eye(len(inputs), dtype=bool) if within else ~same


def figures(
    vectors: np.ndarray, inputs: np.ndarray, truth: np.ndarray, labels: np.ndarray, within: bool
) -> dict[str, float]:
    truth = np.unique(truth, return_inverse=True)[1]
    agree, centred = agreement(vectors, inputs, truth, within)
    other = asked(inputs, within)
    same = truth[:, None] == truth
    means = KMeans(len(np.unique(truth)), n_init=3, random_state=0).fit_predict(centred)
    return {
        "agree": float(agree.mean()),
        "chance": float((same & other).sum() / other.sum()),
        "silhouette": float(
            silhouette_score(centred, truth, metric="cosine", sample_size=3000, random_state=0)
        ),
        "rand": adjusted_rand_score(truth, labels),
        "purity": purity(labels, truth),
        "clusters": int(labels.max() + 1),
        "noise": float((labels < 0).mean()),
        "k-means rand": adjusted_rand_score(truth, means),
        "k-means purity": purity(means, truth),
    }


def truth_run(a: argparse.Namespace) -> Checkpoint:
    done = Checkpoint(a.checkpoint, {"choose": a.choose, "smallest": smallest_cluster(10_000)})
    for name, spaces in itertools.product(a.sets, (SPACES, RANDOM)) if not a.report else ():
        left = [space for space in spaces if f"{name} {space} done" not in done]
        for layer, space, vectors, inputs, truths in vectors_of(name, left, a) if left else ():
            keys = {what: f"{name}|{what}|{space}|{layer}" for what in truths}
            if all(key in done for key in keys.values()):
                continue
            labels = inputs
            if space != "whole":
                labels = place_vectors(vectors, "umap", 0, smallest_cluster(len(vectors)))["labels"]
            for what, truth in truths.items():
                if space == "whole" and what in WITHIN:  # within an input all are alike
                    continue
                done[keys[what]] = figures(vectors, inputs, truth, labels, what in WITHIN)
            print(name, layer, space, file=sys.stderr)
        for space in left if not a.layers else ():
            done[f"{name} {space} done"] = True
    return done


def sizes_run(a: argparse.Namespace) -> None:
    """Sizes of the smallest cluster of `embed`, all tokens of inputs set aside, clusters against the truth where there is one."""
    a.choose, done = True, Checkpoint(a.checkpoint, {"sizes": list(RULES)})
    asked = [("VOC", 6), ("VOC", 24), ("VOC", 96), ("scenes", 12), ("scenes", 48), ("briefs", 24)]
    for (name, count), by in itertools.product(asked if not a.report else (), ("latent", "map")):
        for layer in (-1, {"VOC": 9, "scenes": 4, "briefs": 2}[name]):
            if (key := f"{name} x {count}, {by}, layer {layer}") in done:
                continue
            truths: list[dict[str, np.ndarray]] = []
            captures = (truths.append(t) or cap for cap, t in some(a, name, count=count))  # type: ignore[func-returns-value]
            emb = uk.embed(captures, layer=layer, by=by, since=-1, progress=False)
            found: dict[str, dict[str, list[float]]] = {}
            for seed in range(3):
                points = place_vectors(emb.vectors, "umap", seed, 10)["points"]
                for rule, size in RULES.items():
                    labels = clusters_of(points, max(10, round(size(len(emb)))))[0]
                    one = {"clusters": labels.max() + 1, "noise": (labels < 0).mean()}
                    for what in truths[0]:
                        truth = np.concatenate([t[what] for t in truths])
                        there = truth >= 0
                        one |= {f"{what}: Rand": adjusted_rand_score(truth[there], labels[there])}
                        one |= {f"{what}: purity": purity(labels[there], truth[there])}
                    for figure, value in one.items():
                        found.setdefault(rule, {}).setdefault(figure, []).append(float(value))
            done[key] = {"tokens": len(emb), "found": found}
            print(key, file=sys.stderr)
    for key, run in done.done.items():
        names = list(next(iter(run["found"].values())))
        rows = [[r, *(f"{np.mean(v):.3f}" for v in f.values())] for r, f in run["found"].items()]
        print(f"\n{key}: {run['tokens']} tokens\n\n" + table(["smallest cluster", *names], rows))


def paired_run(a: argparse.Namespace) -> None:
    found = {}
    for layer, space, vectors, inputs, truths in vectors_of("VOC", SPACES, a):
        if (layer, space) in ((10, "latent"), (11, "map"), (11, "whole")):
            found[space], _ = agreement(vectors, inputs, truths["class"])
    for space in ("latent", "whole"):
        print(f"{SAID['map']} less {SAID[space]}: {interval(paired(found['map'], found[space], inputs))}")


def report(done: Checkpoint) -> list[list[str]]:
    """One row for each truth, space and layer."""
    rows = []
    for key, found in done.done.items():
        if "|" not in key:
            continue
        name, what, space, layer = key.split("|")
        shown = ("agree", "chance", "silhouette", "rand", "purity", "k-means rand", "k-means purity")
        rows.append(
            [f"{name}: {what}", space, layer, *(f"{found[k]:.3f}" for k in shown), str(found["clusters"])]
        )
    return rows


def picture(done: Checkpoint, path: Path) -> None:
    """At which depth what separates: agreement of the nearest in other inputs (of objects: in their own), layer by layer."""
    from ultra_kit.plots.style import FOCUS, PLAIN, REFERENCE, SEGMENT_COLOURS, panels, styled

    colours = {"map": FOCUS, "latent": PLAIN, "random latent": SEGMENT_COLOURS[2], "whole": "#BBBBBB"}

    @styled
    def draw():
        known = {tuple(k.split("|")[:2]) for k in done.done if "|" in k}
        order = sorted(
            known,
            key=lambda k: (list(SETS).index(k[0]), k[1] in WITHIN, k[1] not in ("shape", "which fact"), k[1]),
        )
        figure, axes = panels(1, len(order), panel=(3.0, 4.6))
        for ax, (name, what) in zip(axes[0], order, strict=True):
            for space, colour in colours.items():
                found = {
                    int(k.split("|")[3]): v
                    for k, v in done.done.items()
                    if k.startswith(f"{name}|{what}|{space}|")
                }
                if not found:
                    continue
                layers, label, chance = sorted(found), SAID[space], next(iter(found.values()))["chance"]
                ax.plot(
                    layers, [found[i]["agree"] for i in layers], "o-", color=colour, linewidth=3, label=label
                )
            ax.axhline(chance, color=REFERENCE, linestyle="--", linewidth=2, label="chance")
            title = f"{name}\n{what}" + " (same scene)" * (what in WITHIN)
            ax.set(title=title, xlabel="layer", ylim=(0, 1.03))
            ax.set_xticks(sorted({0, layers[-1] // 2, layers[-1]}))
            ax.spines[["top", "right"]].set_visible(False)
        axes[0, 0].set_ylabel("same truth, of the 10 nearest\ntokens in other inputs")
        handles, labels = axes[0, -1].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
        return figure

    draw().savefig(path, dpi=90)


SPEED = """
import json, resource, sys, time
start, cpu = time.perf_counter(), time.process_time()
import numpy as np
from ultra_kit.atlas.placing import place_vectors
rng = np.random.default_rng(0)
n = int(sys.argv[1])
vectors = rng.normal(size=(200, 384))[rng.integers(200, size=n)] + 1.5 * rng.normal(size=(n, 384))
vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)
found = place_vectors(vectors, "umap", 0, n // 400)
print(json.dumps({"seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu,
    "gigabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, "clusters": int(found["labels"].max() + 1)}))
"""


def speed(a: argparse.Namespace) -> None:
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SPEED, str(a.tokens)],
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(ran.stdout)
    print(
        f"placing {a.tokens} tokens of 384 dimensions, imports and compilation included: {found['seconds']:.0f} s "
        f"({found['cpu']:.0f} s of one core), {found['gigabytes']:.2f} GiB, {found['clusters']} clusters of 200"
    )
    if a.voc is None:
        return
    data = uk.data.PascalVOC2012(a.voc, "train")
    needed = min(len(data), 1 + a.tokens // 250)
    start = time.perf_counter()
    with parallel_config(backend="loky", n_jobs=2):
        emb = uk.embed((data[i].image for i in range(needed)), model="dinov2")
    peak = [resource.getrusage(w).ru_maxrss / 2**20 for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print(
        f"embed of {needed} photographs with dinov2, two processes: {emb}; {time.perf_counter() - start:.0f} s; "
        f"{peak[0]:.2f} GiB here, {peak[1]:.2f} GiB in the larger of the others"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--tokens", type=int, default=50_000)
    parser.add_argument("--voc", type=Path, help="the folder that holds VOCdevkit")
    parser.add_argument("--truth", action="store_true")
    parser.add_argument("--paired", action="store_true")
    parser.add_argument("--choose", action="store_true", help="on inputs set aside for choosing")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--layers", type=int, nargs="+", help="only these")
    parser.add_argument("--sizes", action="store_true", help="of the smallest cluster; inputs set aside")
    parser.add_argument("--checkpoint", type=Path, default=Path("bench_atlas.jsonl"))
    parser.add_argument("--report", action="store_true", help="only print what the checkpoint holds")
    parser.add_argument("--picture", type=Path)
    a = parser.parse_args()
    torch.set_num_threads(1)
    if not a.truth:
        (paired_run if a.paired else sizes_run if a.sizes else speed)(a)
        return
    done = truth_run(a)
    header = [
        "truth",
        "by",
        "layer",
        "agree",
        "chance",
        "silhouette",
        "Rand",
        "purity",
        "k-means Rand",
        "k-means purity",
        "clusters",
    ]
    print(table(header, report(done)))
    if a.picture:
        picture(done, a.picture)


if __name__ == "__main__":
    main()
