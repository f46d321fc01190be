"""Segments of the bundled backbone `photos` on BSDS500: `python benchmarks/bench_bsds.py --root BSDS500/data`.

Covering, probabilistic Rand index (PRI) and variation of information (VI) against several
annotators' segmentations, on the val photographs, which no training saw. Every method gives segmentations at several
scales. Layer and the one scale of the data set (ODS) are chosen on train photographs; the best scale
of each val photograph (OIS) uses its truth. W is trained on train photographs without their truth.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from joblib import Parallel, delayed
from scipy.cluster.vq import kmeans2
from skimage.color import rgb2lab
from skimage.segmentation import slic
from sklearn.cluster import AgglomerativeClustering
from tqdm.auto import tqdm

import ultra_kit as uk
from ultra_kit.data import BSDS500, Dataset, Sample
from ultra_kit.maps import baselines
from ultra_kit.metrics import RegionMetrics, patch_labels, region_metrics, region_summary
from ultra_kit.metrics.contingency import distinct
from ultra_kit.models.loading import data_folder
from ultra_kit.models.photos_model import load_photos
from ultra_kit.types import Capture
from ultra_kit.types.grids import cell_grid

THRESHOLDS = (
    *(0.08, 0.12, 0.16, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5),
    *(0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.94, 0.97, 0.985),
)
COUNTS = (2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 25)
WHERE = (
    "BSDS500 is at github.com/BIDS/BSDS500: pass --root FOLDER, which holds images/ and groundTruth/ "
    "(BSDS500/data of the repository)"
)
PUBLISHED = {
    "gPb-owt-ucm, published, on test": {
        "covering": (0.588, 0.647),
        "pri": (0.827, 0.856),
        "vi": (1.690, 1.475),
    },
    "human agreement, published, on test": {
        "covering": (0.722, 0.722),
        "pri": (0.876, 0.876),
        "vi": (1.169, 1.169),
    },
}
"""ODS and OIS from the files of the benchmark's own results and Arbelaez et al. (2011)."""

Segmenter = Callable[[Sample, Capture], list[np.ndarray]]


def from_maps(sample: Sample, cap: Capture, *, make: Callable, metric: str) -> list[np.ndarray]:
    """ULTra's clustering of some maps, at every threshold."""
    seg = uk.segment(make(cap), threshold=THRESHOLDS[0], metric=metric)
    return [seg.recut(threshold=float(t)).labels for t in THRESHOLDS]


def one_segment(sample: Sample, cap: Capture) -> list[np.ndarray]:
    return [np.zeros(sample.image.shape[:2], int)]


def grids(sample: Sample, cap: Capture) -> list[np.ndarray]:
    """N x n equal rectangles."""
    return [cell_grid(sample.image.shape[:2], (n, n)) for n in range(2, 9)]


def enlarged(cells: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Labels of a grid at an image's size: every cell's weight spread bicubically, the largest wins."""
    one_hot = F.one_hot(torch.from_numpy(cells).long()).permute(2, 0, 1)[None].float()
    return F.interpolate(one_hot, size=size, mode="bicubic")[0].argmax(0).numpy()


def kmeans_colour(sample: Sample, cap: Capture, *, place: float) -> list[np.ndarray]:
    """k-means of Lab colours (in units of 100) and of `place` times the position, at a third of the size."""
    size = sample.image.shape[:2]
    lab = rgb2lab(sample.image)[1::3, 1::3] / 100
    y, x = np.mgrid[: lab.shape[0], : lab.shape[1]] * 3 / max(size)
    rows = np.concatenate([lab, place * np.stack([y, x], -1)], -1).reshape(-1, 5)
    found = [kmeans2(rows, k, minit="++", seed=0)[1].reshape(lab.shape[:2]) for k in COUNTS]
    return [enlarged(f, size) for f in found]


def kmeans_latents(sample: Sample, cap: Capture, *, layer: int) -> list[np.ndarray]:
    """k-means of the tokens' latents, as unit vectors."""
    z = cap.tokens(layer)[cap.layout.n_prefix :].astype(float)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    found = [kmeans2(z, k, minit="++", seed=0)[1].reshape(cap.layout.grid) for k in COUNTS]
    return [enlarged(f, sample.image.shape[:2]) for f in found]


def superpixels(sample: Sample, cap: Capture) -> list[np.ndarray]:
    """200 SLIC superpixels, of which Ward's method joins neighbours by their mean Lab colour."""
    cells = slic(sample.image, n_segments=200, compactness=10, start_label=0)
    area = np.bincount(cells.ravel())
    lab = rgb2lab(sample.image).reshape(-1, 3).T
    colours = np.stack([np.bincount(cells.ravel(), c) / area for c in lab], 1)
    touch = np.zeros((len(area), len(area)))
    for a, b in ((cells[1:], cells[:-1]), (cells[:, 1:], cells[:, :-1])):
        touch[a, b] = touch[b, a] = 1
    joined = [AgglomerativeClustering(k, connectivity=touch).fit_predict(colours) for k in COUNTS]
    return [j[cells] for j in joined]


def on_the_grid(sample: Sample, cap: Capture) -> list[np.ndarray]:
    """Each annotator's own segments, as well as the token grid can say them: a ceiling."""
    found = [patch_labels(distinct(t)[1], cap.layout.grid) for t in sample.truths]
    return [enlarged(f, sample.image.shape[:2]) for f in found][:4]


def families(n_layers: int, transform: Any) -> dict[str, dict[str, Segmenter]]:
    """Method -> choice -> segmenter: every method with what it leaves open beside the scale."""
    ultra = {f"layer {k}": partial(uk.explain, layer=k, progress=False) for k in (n_layers - 1, n_layers)}
    w = partial(uk.explain, layer=transform.layer, transform=transform, progress=False)
    out: dict[str, dict[str, Segmenter]] = {
        "ULTra": {
            f"{k}, {metric}": partial(from_maps, make=m, metric=metric)
            for k, m in ultra.items()
            for metric in ("cosine", "hellinger")
        },
        "ULTra with W": {
            f"layer {transform.layer}, {metric}": partial(from_maps, make=w, metric=metric)
            for metric in ("cosine", "hellinger")
        },
    }
    for name, make in (
        ("raw attention", baselines.raw_attention),
        ("attention rollout", baselines.rollout),
        ("latent cosine", baselines.cosine),
    ):
        out[f"the same clustering on {name}"] = {
            f"layer {k}, {metric}": partial(from_maps, make=partial(make, layer=k), metric=metric)
            for k in range(2, n_layers + 1)
            for metric in ("cosine", "hellinger")
        }
    out["k-means on latents"] = {
        f"layer {k}": partial(kmeans_latents, layer=k) for k in range(1, n_layers + 1)
    }
    out["k-means on colour and position"] = {
        f"position x {p}": partial(kmeans_colour, place=p) for p in (0.5, 1.0)
    }
    out["k-means on colour"] = {"": partial(kmeans_colour, place=0.0)}
    out["SLIC and agglomeration"] = {"": superpixels}
    out["grids"] = {"": grids}
    out["one segment"] = {"": one_segment}
    return out


def score_one(model: Any, sample: Sample, methods: dict[str, Segmenter]) -> list[RegionMetrics]:
    torch.set_num_threads(1)
    cap = uk.capture(model, sample.image)
    return [region_metrics(segmenter(sample, cap), sample.truths) for segmenter in methods.values()]


def score(
    model: Any, data: Dataset, methods: dict[str, Segmenter], note: str
) -> dict[str, list[RegionMetrics]]:
    """Scores of every photograph by every method, each at all of its scales; one process a processor."""
    work = Parallel(n_jobs=-1, return_as="generator")(delayed(score_one)(model, s, methods) for s in data)
    rows = list(tqdm(work, desc=note, total=len(data)))
    return {name: [r[k] for r in rows] for k, name in enumerate(methods)}


def choose(model: Any, data: Dataset, ways: dict[str, dict[str, Segmenter]]) -> dict[str, tuple[str, dict]]:
    """For each method the choice with the best covering (ODS) on train, and its scales."""
    flat = {f"{name}: {choice}": s for name, choices in ways.items() for choice, s in choices.items()}
    summaries = {k: region_summary(v) for k, v in score(model, data, flat, "train").items()}
    best = {}
    for name, choices in ways.items():
        rank = {choice: summaries[f"{name}: {choice}"] for choice in choices}
        choice = max(rank, key=lambda c: rank[c]["covering_ods"])
        best[name] = (choice, rank[choice])
        for c, found in rank.items():
            print(f"  {found['covering_ods']:.3f}  {name}: {c}")
    return best


def row(train: dict, val: list[RegionMetrics]) -> dict[str, list[float]]:
    """ODS (scale chosen on train) and OIS of val, for each of the three metrics."""
    own, area = region_summary(val), sum(v.area.sum() for v in val)
    fixed = {
        "covering": sum(v.covered[train["covering_scale"]].sum() for v in val) / area,
        "pri": float(np.mean([v.rand[train["pri_scale"]] for v in val])),
        "vi": float(np.mean([v.information[train["vi_scale"]] for v in val])),
    }
    return {k: [float(x), own[f"{k}_ois"]] for k, x in fixed.items()}


def show(table: dict[str, dict]) -> None:
    print(f"\n{'':48s} covering ODS/OIS   PRI ODS/OIS      VI ODS/OIS")
    for name, r in sorted(table.items(), key=lambda kv: -kv[1]["covering"][0]):
        cells = "   ".join(f"{r[k][0]:.3f} / {r[k][1]:.3f}" for k in ("covering", "pri", "vi"))
        print(f"{name:48s} {cells}   {r.get('choice', '')}")


def fitted_transform(path: Path, model: Any, images: list[np.ndarray]) -> Any:
    """W from a file; if there is none, trained on these images and written there."""
    if path.is_file():
        return uk.runs.Transform.load(path)
    transform = uk.train_transform(model, images, layer=-1, affinity="attention", loss="contrast")
    transform.save(path)
    return transform


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--root", type=Path, default=None, help=WHERE)
    parser.add_argument(
        "--train", type=int, default=20, help="train photographs that choose what is left open"
    )
    parser.add_argument("--val", type=int, default=100, help="val photographs that are scored")
    parser.add_argument(
        "--transform",
        type=Path,
        default=data_folder() / "models" / "photos" / "transform.safetensors",
        help="file of W; trained on 40 train photographs if it is not there",
    )
    parser.add_argument("--weights", type=Path, default=data_folder() / "models" / "photos")
    parser.add_argument("--json", type=Path, default=None)
    a = parser.parse_args()
    if a.root is None:
        print(WHERE)
        return
    start = time.time()
    model = load_photos(a.weights)
    train, val = BSDS500(a.root, "train"), BSDS500(a.root, "val")[: a.val]
    transform = fitted_transform(a.transform, model, [s.image for s in train[1::5]])
    ways = families(model.n_blocks, transform)
    best = choose(model, train[:: len(train) // a.train][: a.train], ways)
    methods = {name: ways[name][choice] for name, (choice, _) in best.items()}
    table = {
        name: row(best[name][1], found) | {"choice": best[name][0]}
        for name, found in score(model, val, methods, "val").items()
    }
    random = score(baselines.randomised(model, seed=0), val, {"": methods["ULTra"]}, "random weights")[""]
    table["ULTra on random weights, scale chosen on val"] = row(region_summary(random), random)
    ceiling = region_summary(score(model, val, {"": on_the_grid}, "ceiling")[""])
    table |= PUBLISHED
    show(table)
    print(
        f"ceiling of the token grid (an annotator's own segments, the best annotator of each photograph): {ceiling['covering_ois']:.3f}"
    )
    print(f"{len(val)} photographs of val, choices made on {a.train} of train, {time.time() - start:.0f} s")
    if a.json:
        counts = {"train": a.train, "val": len(val), "ceiling_covering": ceiling["covering_ois"]}
        a.json.write_text(json.dumps({"scores": table, "photographs": counts}, indent=1) + "\n")


if __name__ == "__main__":
    main()
