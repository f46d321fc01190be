"""Segments of DINOv2 on real photographs: `python benchmarks/bench_real_segments.py --voc ROOT --out FOLDER [--coco ROOT] [--bsds ROOT] [--ecssd ROOT]`.

ULTra, and ULTra with W, beside the same clustering on raw attention, rollout and latent cosine, k-means on latents,
SLIC, one segment, a grid, and the ceiling of the token grid. Layer, since, metric and threshold of each method are
chosen on VOC `train.txt` (mean IoU of an image's classes), and so is the number of segments per image of those that
have no threshold; W was trained there without labels. Everything else is reported once. VOC here is a list of images
named by ROOT's own `ImageSets`: where it is a part of the official split, no figure compares with a published one.

Family B matches the segments of each image with its classes, and so reads the truth of every image; family A matches
clusters of segments once for the data set. "mean" is the mean over images of the mean IoU of an image's classes,
"pooled" the mean over classes of the IoU pooled over images. Records of images are kept in FOLDER: a run that was
stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy.cluster.vq import kmeans2
from scipy.special import softmax
from skimage.segmentation import slic
from tqdm.auto import tqdm

import ultra_kit as uk
from ultra_kit.data import BSDS500, COCOStuff27, PascalVOC2012
from ultra_kit.data.crops import nearest
from ultra_kit.images import Segmentation
from ultra_kit.images.segmentation import pixels
from ultra_kit.maps import baselines
from ultra_kit.metrics import (
    dataset_metrics,
    hungarian_miou,
    image_counts,
    mask_iou,
    patch_labels,
    pooled_metrics,
    region_metrics,
    region_summary,
)
from ultra_kit.metrics.confusion import confusion
from ultra_kit.models.loading import data_folder
from ultra_kit.runs import Transform, cluster_segments
from ultra_kit.types import Capture
from ultra_kit.types.grids import cell_grid
from ultra_kit.types.whole_file import whole_file, write_text

LAYERS = (10, 11, 12)
THRESHOLDS = (0.03, 0.06, 0.09, 0.12, 0.16, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8)
MOST = 24
COUNTS = (2, 3, 4, 5)
Way = dict[str, Any]
"""One choice of a method: kind, layer, and for maps the metric; `cut` once it is chosen."""


def ways(w: Transform | None) -> dict[str, list[Way]]:
    """What each method leaves open."""
    both = ("cosine", "hellinger")

    def over(kind: str, *metrics: str) -> list[Way]:
        return [{"kind": kind, "layer": k, "metric": m} for k in LAYERS for m in metrics]

    out = {
        "ULTra": over("ultra", *both),
        "ULTra, heads weighted": over("heads", "hellinger"),
        "raw attention": over("raw_attention", *both),
        "attention rollout": over("rollout", *both),
        "latent cosine": over("cosine", "cosine"),
        "latent cosine, clipped at 0": over("clipped", "cosine"),
        "k-means on latents": [{"kind": "kmeans", "layer": k} for k in LAYERS],
        "SLIC": [{"kind": "slic"}],
    }
    if w is not None:
        which = {"layer": w.layer, "w": f"{zlib.crc32(w.matrix.tobytes()):08x}"}
        out["ULTra with W"] = [{"kind": "transform", "metric": m} | which for m in both]
        out["cosine of W z"] = [{"kind": "clipped_w", "metric": "cosine"} | which]
    return out


class Drawn:
    """One image's segments by one way: at a number of segments, or at the way's own cut."""

    def __init__(self, cap: Capture, image: np.ndarray, way: Way, w: Transform | None) -> None:
        self.cap, self.image, self.way = cap, image, way
        self.tree: Segmentation | None = None
        if way["kind"] not in ("kmeans", "slic"):
            self.tree = uk.segment(maps_of(cap, way, w), n_segments=1, metric=way["metric"])

    def at(self, cut: Way) -> np.ndarray:
        """Labels of the image's pixels."""
        if self.tree is not None:
            return self.tree.recut(**cut).labels
        k = cut["n_segments"]
        if self.way["kind"] == "slic":
            return slic(self.image, n_segments=k, compactness=10, start_label=0)
        z = unit(self.cap.tokens(self.way["layer"])[self.cap.layout.n_prefix :])
        found = kmeans2(z, k, minit="++", seed=0)[1].reshape(self.cap.layout.grid)
        return pixels((found == np.arange(k)[:, None, None]).astype(np.float32), self.image.shape[:2])

    def count(self, cut: Way) -> int:
        """How many segments a cut gives."""
        if self.tree is None:
            return int(cut["n_segments"])
        return int((self.tree.linkage[:, 2] > cut["threshold"]).sum()) + 1


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows of length 1."""
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def maps_of(cap: Capture, way: Way, w: Transform | None) -> Any:
    """The maps that are clustered; those of ULTra over one block."""
    kind, layer = way["kind"], way["layer"]
    if kind in ("ultra", "transform"):
        transform = w if kind == "transform" else None
        return uk.explain(cap, layer=layer, since=-1, transform=transform, progress=False)
    if kind in ("raw_attention", "rollout"):
        return getattr(baselines, kind)(cap, layer=layer)
    if kind == "heads":
        return uk.maps.make_maps(cap, weighted_heads(cap, layer), cap.layout.content, layer, method="ultra")
    z = cap.tokens(layer)
    z = unit(z @ w.matrix.T if kind == "clipped_w" and w else z)
    like = z[cap.layout.content] @ z.T
    values = 0.5 + 0.5 * like if kind == "cosine" else np.maximum(like, 0)
    return uk.maps.make_maps(cap, values, cap.layout.content, layer, method=kind)


def weighted_heads(cap: Capture, layer: int, factor: float = 30) -> np.ndarray:
    """One block's maps, each head weighted by softmax of the mean likeness of what it points at to the token.

    Likeness is the cosine of the latents of layer 11, or of the one below; no label is used.
    """
    content = cap.layout.content
    shares = uk.maps.head_shares(cap, layer=layer, since=-1)[:, 1:]
    z = unit(cap.tokens(min(11, layer))[content])
    others = shares[:, :, content] * ~np.eye(len(content), dtype=bool)[:, None]
    others /= np.maximum(others.sum(-1, keepdims=True), 1e-9)
    weight = softmax(factor * np.einsum("thj,tj->th", others, z @ z.T), axis=1)
    return np.einsum("th,thn->tn", weight, shares)


def each(
    model: Any, data: Any, folder: Path, wanted: dict[str, Way], work: Callable, step: int = 1
) -> list[dict[str, Any]]:
    """The record of every image; what is missing in it of the wanted ways is made and added."""
    records = []
    for n in tqdm(range(0, len(data), step), desc=folder.name, mininterval=20):
        path, record = folder / f"{n:04}.npz", {}
        if path.is_file():
            with np.load(path, allow_pickle=False) as stored:
                record = dict(stored)
        missing = {name: way for name, way in wanted.items() if str(record.get(f"way:{name}")) != tag(way)}
        if missing:
            sample = data[n]
            record |= work(uk.capture(model, sample.image), sample, missing)
            record |= {f"way:{name}": np.array(tag(way)) for name, way in missing.items()}
            with whole_file(path) as unfinished:
                np.savez_compressed(unfinished, **record)
        records.append(record)
    return records


def n_classes(sample: Any) -> int:
    """How many classes an image has."""
    return max(1, len(np.unique(sample.truth[sample.truth >= 0])))


def choose(
    model: Any, train: Any, out: Path, w: Transform | None, kept: dict[str, Way], every: int
) -> dict[str, Way]:
    """The best way of each method at the true number of segments, then its cut, both by mean IoU on train."""
    methods = {
        name: choices
        for name, choices in ways(w).items()
        if name not in kept or kept[name].get("w") != choices[0].get("w")
    }
    flat = {f"{name}: {json.dumps(way)}": way for name, choices in methods.items() for way in choices}

    def true_k(cap: Capture, s: Any, missing: dict[str, Way]) -> dict[str, np.ndarray]:
        cut = {"n_segments": n_classes(s)}
        labels = {key: Drawn(cap, s.image, way, w).at(cut) for key, way in missing.items()}
        return {key: np.array(hungarian_miou(x, s.truth, ignore=-1)) for key, x in labels.items()}

    def own_k(cap: Capture, s: Any, missing: dict[str, Way]) -> dict[str, np.ndarray]:
        found = {}
        for name, way in missing.items():
            drawn, rows = Drawn(cap, s.image, way, w), []
            for cut in cuts(way):
                n = drawn.count(cut)
                fine = n <= MOST and hungarian_miou(drawn.at(cut), s.truth, ignore=-1)
                rows.append([float(fine), n])
            found[name] = np.array(rows)
        return found

    records = each(model, train, out / "train", flat, true_k, every)
    ranked = {key: float(np.mean([r[key] for r in records])) for key in flat}
    for key in sorted(ranked, key=lambda k: -ranked[k]):
        print(f"  {ranked[key]:.3f}  {key}")
    best = {
        name: max(choices, key=lambda c: ranked[f"{name}: {json.dumps(c)}"])
        for name, choices in methods.items()
    }
    best |= {name: way for name, way in kept.items() if "cut" not in way}  # a layer chosen elsewhere
    records = each(model, train, out / "train-cuts", best, own_k, max(4, every))
    for name, way in best.items():
        figures = np.mean([r[name] for r in records], axis=0)
        at = int(figures[:, 0].argmax())
        best[name] = way | {"cut": cuts(way)[at]}
        print(f"  {name}: {best[name]}, {figures[at, 0]:.3f} with {figures[at, 1]:.1f} segments")
    own = model.settings  # chosen on all of train
    ultra = {"kind": "ultra", "layer": own.layer, "metric": own.metric, "cut": {"threshold": own.threshold}}
    return kept | best | {"ULTra": ultra}


def cuts(way: Way) -> list[Way]:
    """The cuts that a way may choose from."""
    if way["kind"] in ("kmeans", "slic"):
        return [{"n_segments": k} for k in COUNTS]
    return [{"threshold": float(t)} for t in THRESHOLDS]


def tag(what: Any) -> str:
    """A short name of a choice, so that records of another one are not taken for it."""
    return f"{zlib.crc32(json.dumps(what, sort_keys=True, default=str).encode()):08x}"


def trivial(size: tuple[int, int]) -> dict[str, np.ndarray]:
    """Segments that look at nothing."""
    return {
        "one segment": np.zeros(size, int),
        "2 x 2 grid": cell_grid(size, (2, 2)),
        "3 x 3 grid": cell_grid(size, (3, 3)),
    }


def by_class(
    cap: Capture, s: Any, best: dict[str, Way], *, w: Transform | None, classes: int, family_a: bool
) -> dict[str, Any]:
    """Counts of an image with classes: true K, the method's own cut, the paper's cut; and features for family A."""
    z, first = cap.tokens(10)[cap.layout.n_prefix :], cap.layout.grid
    record: dict[str, Any] = {}

    def note(name: str, labels: np.ndarray) -> None:
        shown = nearest(labels, s.truth.shape)
        record[f"counts:{name}"] = confusion(shown, s.truth, n_classes=classes)
        record[f"miou:{name}"] = np.array(hungarian_miou(shown, s.truth, ignore=-1))
        if family_a:  # a segment's mean latent; of one that is the most of no patch, the image's
            cells = patch_labels(shown, first).ravel()
            here = [cells == k if (cells == k).any() else cells >= 0 for k in range(shown.max() + 1)]
            record[f"features:{name}"] = unit(np.array([z[c].mean(0) for c in here])).astype(np.float32)

    for name, way in best.items():
        drawn = Drawn(cap, s.image, way, w)
        note(f"{name}|true K", drawn.at({"n_segments": n_classes(s)}))
        note(f"{name}|own cut", drawn.at(way["cut"]))
        if name == "ULTra":
            note(f"{name}|0.25", drawn.at({"threshold": 0.25}))
    for name, labels in trivial(s.truth.shape).items():
        note(f"{name}|own cut", labels)
    _, index = np.unique(patch_labels(s.truth, first), return_inverse=True)
    note("the grid's ceiling|true K", index.reshape(first).ravel()[cell_grid(s.truth.shape, first)])
    return record


def class_table(records: list[dict[str, Any]], classes: int) -> list[dict[str, Any]]:
    """Rows of the table of a data set with classes."""
    rows = []
    for key in sorted(k.removeprefix("counts:") for k in records[0] if k.startswith("counts:")):
        counts = [r[f"counts:{key}"] for r in records]
        pooled = pooled_metrics(image_counts(c) for c in counts)
        row = {"method": key.split("|")[0], "cut": key.split("|")[1]}
        row["K"] = float(np.mean([c.any(axis=0).sum() for c in counts]))
        row["B mean"] = float(np.mean([r[f"miou:{key}"] for r in records]))
        row |= {"B pooled": pooled.miou, "B accuracy": pooled.accuracy}
        if f"features:{key}" in records[0]:
            found = cluster_segments(np.concatenate([r[f"features:{key}"] for r in records]), classes)
            one_hot = np.eye(found.max() + 1, dtype=np.int64)[found]
            row["A"] = dataset_metrics(np.hstack(counts) @ one_hot).miou
        rows.append(row)
    return sorted(rows, key=lambda r: (r["cut"], -r["B mean"]))


def interval(records: list[dict[str, Any]], name: str, other: str) -> str:
    """Differences of two methods at the true K, mean and pooled, with 95 % intervals by paired bootstrap over images."""
    draws = np.random.default_rng(0).integers(0, len(records), (1000, len(records)))
    d = np.array([r[f"miou:{name}|true K"] - r[f"miou:{other}|true K"] for r in records])
    hits = [np.array([image_counts(r[f"counts:{m}|true K"]) for r in records]) for m in (name, other)]
    pooled = [[pooled_metrics(h[i].sum(axis=0)).miou for i in (slice(None), *draws)] for h in hits]
    each_draw = [np.array([d.mean(), *d[draws].mean(axis=1)]), np.subtract(*pooled)]
    return ", ".join(
        f"{what} {100 * v[0]:+.1f} ({100 * np.quantile(v[1:], 0.025):+.1f} to {100 * np.quantile(v[1:], 0.975):+.1f})"
        for what, v in zip(("mean", "pooled"), each_draw, strict=True)
    )


def by_region(cap: Capture, s: Any, best: dict[str, Way], *, w: Transform | None) -> dict[str, Any]:
    """Region metrics of an image of BSDS at every method's own cut."""
    record: dict[str, Any] = {}
    labels = {name: Drawn(cap, s.image, way, w).at(way["cut"]) for name, way in best.items()}
    cells = [patch_labels(t, cap.layout.grid).ravel()[cell_grid(t.shape, cap.layout.grid)] for t in s.truths]
    covering = region_metrics(cells, s.truths).covering
    labels |= trivial(s.image.shape[:2]) | {"the grid's ceiling": cells[int(covering.argmax())]}
    for name, found in labels.items():
        m = region_metrics([found], s.truths)
        record |= {f"{f}:{name}": getattr(m, f) for f in ("covered", "area", "rand", "information")}
        record[f"K:{name}"] = np.array(len(np.unique(found)))
    return record


def region_table(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of the table of BSDS."""
    rows = []
    for name in (k.removeprefix("K:") for k in records[0] if k.startswith("K:")):
        fields = ("covered", "area", "rand", "information")
        found = region_summary(uk.metrics.RegionMetrics(*(r[f"{f}:{name}"] for f in fields)) for r in records)
        k = float(np.mean([r[f"K:{name}"] for r in records]))
        rows.append(
            {
                "method": name,
                "K": k,
                "covering": found["covering_ods"],
                "PRI": found["pri_ods"],
                "VI": found["vi_ods"],
            }
        )
    return sorted(rows, key=lambda r: -r["covering"])


def by_object(cap: Capture, s: Any, best: dict[str, Way], *, w: Transform | None) -> dict[str, Any]:
    """IoU of the object with the better of two segments (which reads the truth), and the mean IoU with the ground."""
    truth, record = s.truth.astype(int), {}
    labels = {name: Drawn(cap, s.image, way, w).at({"n_segments": 2}) for name, way in best.items()}
    cells = patch_labels(truth, cap.layout.grid).ravel()[cell_grid(truth.shape, cap.layout.grid)]
    labels |= {"one segment": np.zeros_like(truth), "the grid's ceiling": cells}
    for name, found in labels.items():
        iou = max(mask_iou(found == k, s.truth) for k in np.unique(found))
        record[name] = np.array([iou, hungarian_miou(found, truth)])
    return record


def objects(root: Path) -> list[Any]:
    """ECSSD: `images/*.jpg` and `ground_truth_mask/*.png`."""
    return [
        One(p, p.parent.parent / "ground_truth_mask" / f"{p.stem}.png")
        for p in sorted((root / "images").glob("*.jpg"))
    ]


@dataclass
class One:
    """A photograph with the mask of one object, read when needed."""

    path: Path
    mask: Path

    @property
    def image(self) -> np.ndarray:
        """(H, W, 3)."""
        return np.asarray(Image.open(self.path).convert("RGB"))

    @property
    def truth(self) -> np.ndarray:
        """(H, W), True on the object."""
        return np.asarray(Image.open(self.mask).convert("L")) > 127


def show(title: str, rows: list[dict[str, Any]]) -> None:
    """Print rows as a Markdown table."""
    print(f"\n{title}\n\n| {' | '.join(rows[0])} |\n|{'---|' * len(rows[0])}")
    for row in rows:
        print(
            "| "
            + " | ".join(
                f"{v:.3f}" if isinstance(v, float) and k != "K" else f"{v:.1f}" if k == "K" else v
                for k, v in row.items()
            )
            + " |"
        )


def report(model: Any, a: argparse.Namespace, best: dict[str, Way], w: Transform | None) -> dict[str, Any]:
    """Measure the data sets that were named."""
    tables: dict[str, Any] = {}
    for name in a.only:
        root = getattr(a, name)
        if root is None:
            continue
        if name == "bsds":
            data, work = BSDS500(root, "val"), partial(by_region, w=w)
        elif name == "ecssd":
            data, work = objects(root), partial(by_object, w=w)
        else:
            data = (
                PascalVOC2012(root, "val")
                if name == "voc"
                else COCOStuff27(root, a.coco_split, names=a.coco_names)
            )
            n = len(data.classes)
            work = partial(by_class, w=w, classes=n, family_a=name == "coco")
        records = each(model, data, a.out / name, best, work, a.step)
        if name == "bsds":
            tables[name] = region_table(records)
        elif name == "ecssd":
            mean = {
                k: np.mean([r[k] for r in records], axis=0).tolist() for k in records[0] if "way:" not in k
            }
            rows = [{"method": k, "object IoU": v[0], "mean IoU": v[1]} for k, v in mean.items()]
            tables[name] = sorted(rows, key=lambda r: -r["mean IoU"])
        else:
            tables[name] = class_table(records, n)
        show(f"{name}, {len(records)} images", tables[name])
        if name == "voc":
            compare(records, list(best))
    return tables


def compare(records: list[dict[str, Any]], names: list[str]) -> None:
    """Print by how much ULTra is above or below every other method at the true number of classes."""
    for mine in (m for m in ("ULTra with W", "ULTra") if m in names):
        for other in (o for o in names if o != mine):
            print(f"  {mine} less {other}, points: {interval(records, mine, other)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name in ("voc", "coco", "bsds", "ecssd"):
        parser.add_argument(f"--{name}", type=Path, help="folder of the data set")
    parser.add_argument("--coco-split", default="val2017")
    parser.add_argument("--coco-names", type=Path, help="file of image ids; the curated list by default")
    parser.add_argument("--out", type=Path, required=True, help="folder of the choices and of the records")
    parser.add_argument(
        "--every",
        type=int,
        default=1,
        help="choose layer and metric on every so-many-th image of train; cuts on every fourth at most",
    )
    parser.add_argument("--step", type=int, default=1, help="report on every so-many-th image")
    parser.add_argument("--only", nargs="*", default=["voc", "coco", "bsds", "ecssd"], help="report on these")
    parser.add_argument("--without", nargs="*", default=[], help="leave these methods out")
    a = parser.parse_args()
    if a.voc is None:
        parser.error("--voc ROOT is needed: what is left open is chosen on its train.txt")
    torch.set_num_threads(1)
    model = uk.load("dinov2")
    file = data_folder() / "models" / "dinov2" / "transform.safetensors"
    w = Transform.load(file) if file.is_file() else None
    path = a.out / "choices.json"
    kept = json.loads(path.read_text()) if path.is_file() else {}
    best = choose(model, PascalVOC2012(a.voc, "train"), a.out, w, kept, a.every)
    write_text(path, json.dumps(best, indent=1) + "\n")
    tables = report(model, a, {k: v for k, v in best.items() if k not in a.without}, w)
    write_text(a.out / f"tables-{'-'.join(a.only)}.json", json.dumps(tables, indent=1) + "\n")


if __name__ == "__main__":
    main()
