"""From the records of all images to scores: each with its family, K, crop and size."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..metrics.confusion import dataset_metrics, image_counts, pooled_metrics
from ..metrics.regions import RegionMetrics, region_summary
from ..types.whole_file import write_text
from .image_records import CEILING, COLOURS, GRIDS, PEOPLE, Job, Record
from .semantic_classes import cluster_segments

FAMILY_A = "A: data set, one match"
FAMILY_B = "B: image, present classes"
FAMILY_B_DIFFSEG = "B: image, DiffSeg"
REGIONS = "regions"


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation:
    """Scores of a model on a data set; made by `ultra_kit.evaluate`.

    Attributes
    ----------
    rows : tuple of dict
        One for each method and family: ``method``, ``family``, ``K``, ``crop``, ``size`` and the
        scores in [0, 1] (``accuracy`` and ``miou``, or those of
        `ultra_kit.metrics.region_summary`; variation of information in bits). K is the number of
        clusters in family A, and the mean number of segments in an image else. Never compare
        rows of two families.
    images : tuple of dict
        One for each image, in the data set's order.
    card : dict
        Model, data set, layer, score, rule, cut and seed; JSON-able.
    """

    rows: tuple[Mapping[str, Any], ...]
    images: tuple[Mapping[str, Any], ...]
    card: Mapping[str, Any] = field(default_factory=dict)

    def row(self, method: str, family: str) -> Mapping[str, Any]:
        """The row of a method in a family, named by its first letters ("A", "B: image, D").

        Raises
        ------
        ValueError
            If there is none, or several.
        """
        found = [r for r in self.rows if r["method"] == method and r["family"].startswith(family)]
        if len(found) != 1:
            there = sorted({(r["method"], r["family"]) for r in self.rows})
            raise ValueError(
                f"{method!r} in {family!r} must name one row, names {len(found)}; there are {there}"
            )
        return found[0]

    def ranked(self) -> tuple[Mapping[str, Any], ...]:
        """The images with a score, the worst first: by mean IoU (family B, present classes) or covering."""
        key = "miou" if "miou" in self.images[0] else "covering"
        scored = (i for i in self.images if not np.isnan(i[key]))
        return tuple(sorted(scored, key=lambda i: (i[key], i["index"])))

    def save(self, folder: str | Path) -> None:
        """Write ``results.json`` and ``images.csv``."""
        folder = Path(folder)
        content = {"card": dict(self.card), "rows": [dict(r) for r in self.rows]}
        write_text(folder / "results.json", json.dumps(content, indent=1) + "\n")
        write_text(folder / "images.csv", pd.DataFrame(list(self.images)).to_csv(index=False))

    def __repr__(self) -> str:
        c = self.card
        data = c["dataset"]
        head = (
            f"{c['model_name']} on {data['name']} {data['split']}, {data['images']} images, crop {data['crop']}, "
            f"layer {c['layer']}, {c['method']}, cut: {c['cut']}"
        )
        names = [k for k in self.rows[0] if k not in ("method", "family", "crop", "size", "iou")]
        shown = ["family", "method", *names, "crop", "size"]
        lines = [shown, *([_shown(row[k]) for k in shown] for row in self.rows)]
        width = [max(len(line[i]) for line in lines) for i in range(len(shown))]
        table = ["  ".join(cell.ljust(n) for cell, n in zip(line, width, strict=True)) for line in lines]
        return "\n".join([head, *(line.rstrip() for line in table)])


def summarise(job: Job, records: Sequence[Record], card: Mapping[str, Any], n_clusters: int) -> Evaluation:
    """Score a data set from the records of its images.

    Parameters
    ----------
    job : Job
    records : sequence of dict
        In the data set's order.
    card : dict
    n_clusters : int
        K of family A.

    Returns
    -------
    Evaluation
    """
    sizes = {r["labels"].shape[1:] for r in records}
    size = "x".join(map(str, sizes.pop())) if len(sizes) == 1 else "original"
    scored = {"crop": job.dataset.crop, "size": size}
    if job.dataset.classes:
        rows = [row | scored for row in _class_rows(job, records, n_clusters)]
        images = [_class_image(job, i, r) for i, r in enumerate(records)]
    else:
        rows = [row | scored for row in _region_rows(job, records)]
        scale = rows[0]["covering_scale"]
        images = [_region_image(job, i, r, scale) for i, r in enumerate(records)]
    return Evaluation(tuple(rows), tuple(images), card)


def _class_rows(job: Job, records: Sequence[Record], n_clusters: int) -> Iterable[dict[str, Any]]:
    methods = (job.method, COLOURS, *GRIDS, CEILING)
    for method in methods:
        counts = [r[f"counts:{method}"] for r in records]
        if f"features:{method}" in records[0]:
            features = np.concatenate([r[f"features:{method}"] for r in records])
            classes = cluster_segments(features, n_clusters, seed=job.seed)
            n = int(classes.max()) + 1
            ends = np.cumsum([c.shape[1] for c in counts])[:-1]
            clusters = np.split(np.eye(n, dtype=np.int64)[classes], ends)
            pooled = sum(c @ k for c, k in zip(counts, clusters, strict=True))
        else:  # a cell of the grid, or a class, is the same cluster in every image
            pooled = sum(counts)
        found = dataset_metrics(pooled)
        yield {"method": method, "family": FAMILY_A, "K": pooled.shape[1], **_scores(found)}
    for family, match in ((FAMILY_B, "present"), (FAMILY_B_DIFFSEG, "diffseg")):
        for method in methods:
            counts = [r[f"counts:{method}"] for r in records]
            found = pooled_metrics(image_counts(c, match=match) for c in counts)
            used = float(np.mean([c.any(axis=0).sum() for c in counts]))
            yield {"method": method, "family": family, "K": round(used, 2), **_scores(found)}


def _scores(found: Any) -> dict[str, Any]:
    iou = [None if np.isnan(v) else float(v) for v in found.iou]
    return {"accuracy": found.accuracy, "miou": found.miou, "iou": iou}


def _class_image(job: Job, index: int, record: Record) -> dict[str, Any]:
    counts = record[f"counts:{job.method}"]
    classes = int(counts.any(axis=1).sum())
    row: dict[str, Any] = {
        "index": index,
        "image": job.dataset.items[index].name,
        "segments": int(record["segments"][0]),
        "classes": classes,
        "family": FAMILY_B,
    }
    for name, method in (("", job.method), (" of one segment", "one segment"), (" of the ceiling", CEILING)):
        row |= {f"accuracy{name}": float("nan"), f"miou{name}": float("nan")}
        if classes:  # a class that is not in the image has no segment in this form, hence no IoU
            found = pooled_metrics(image_counts(record[f"counts:{method}"]))
            row |= {f"accuracy{name}": found.accuracy, f"miou{name}": found.miou}
    return row


def _region_rows(job: Job, records: Sequence[Record]) -> Iterable[dict[str, Any]]:
    n = [float(np.mean([r["segments"][k] for r in records])) for k in range(len(job.cuts))]
    there = (job.method, COLOURS, *GRIDS, CEILING, PEOPLE)
    for method in (m for m in there if f"rand:{m}" in records[0]):
        found = region_summary(_regions(r, method) for r in records)
        cells = GRIDS[method][0] * GRIDS[method][1] if method in GRIDS else None
        k = round(n[int(found["covering_scale"])], 2) if method in (job.method, COLOURS) else cells
        yield {"method": method, "family": REGIONS, "K": k, **found}


def _regions(record: Record, method: str) -> RegionMetrics:
    return RegionMetrics(*(record[f"{f}:{method}"] for f in ("covered", "area", "rand", "information")))


def _region_image(job: Job, index: int, record: Record, scale: int) -> dict[str, Any]:
    scores = _regions(record, job.method)
    return {
        "index": index,
        "image": job.dataset.items[index].name,
        "segments": int(record["segments"][scale]),
        "family": REGIONS,
        "covering": float(scores.covering[scale]),
        "covering at its best cut": float(scores.covering.max()),
        "pri": float(scores.rand[scale]),
        "vi": float(scores.information[scale]),
        "covering of one segment": float(_regions(record, "one segment").covering[0]),
    }


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
