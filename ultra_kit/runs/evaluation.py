"""The figures of a model on a data set, from the records of its images: the table, a row for each image, files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..metrics.confusion import ClassMetrics, dataset_metrics, image_counts, pooled_metrics
from ..metrics.regions import RegionMetrics, region_summary
from ..types.whole_file import write_text
from .image_records import CEILING, COLOURS, FIELDS, GRIDS, HUMAN_AGREEMENT, Job, Record
from .printed_tables import PrintedTable
from .semantic_classes import cluster_segments

FAMILY_A = "A: data set, one match"
FAMILY_B = "B: image, present classes"
FAMILY_B_DIFFSEG = "B: image, DiffSeg"
REGIONS = "regions"


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation(PrintedTable):
    """Metrics of a model on a data set; made by `ultra_kit.evaluate`, printed as a table.

    Attributes
    ----------
    rows : pandas.DataFrame
        A row for each method and family: ``method``, ``family``, ``K``, metrics in [0, 1] (``accuracy``, ``miou``
        and ``iou``, a list over the classes; or those of `ultra_kit.metrics.region_summary`, variation of information
        in bits), ``crop``, ``size``. K is the number of clusters in family A, else the mean number of segments in an
        image. Never compare rows of two families.
    images : pandas.DataFrame
        A row for each image, in the data set's order.
    card : dict
        Model, data set, layer, score, rule, cut and seed; JSON-able.
    """

    rows: pd.DataFrame
    images: pd.DataFrame
    card: Mapping[str, Any] = field(default_factory=dict)

    @property
    def _headline(self) -> str:
        c, data = self.card, self.card["dataset"]
        return (
            f"{c['model_name']} on {data['name']} {data['split']}, {data['images']} images, crop {data['crop']}, "
            f"layer {c['layer']}, {c['method']}, cut: {c['cut']}"
        )

    @property
    def table(self) -> pd.DataFrame:
        """`rows` by family and method, without the lists of IoUs."""
        shown = self.rows.drop(columns="iou", errors="ignore").set_index(["family", "method"])
        return shown.assign(K=["-" if k is None else str(k) for k in shown["K"]])

    def row(self, method: str, family: str) -> dict[str, Any]:
        """The row of a method in a family, named by its first letters ("A", "B: image, D"); else a ValueError."""
        found = self.rows[(self.rows["method"] == method) & self.rows["family"].str.startswith(family)]
        if len(found) != 1:
            there = sorted(zip(self.rows["method"], self.rows["family"], strict=True))
            raise ValueError(f"{method!r} in {family!r} must name one row, got {len(found)} of {there}")
        return found.to_dict("records")[0]

    def ranked(self) -> pd.DataFrame:
        """The images with a metric, the worst first: by mean IoU (family B, present classes) or covering."""
        key = "miou" if "miou" in self.images else "covering"
        return self.images.dropna(subset=key).sort_values([key, "index"])

    def save(self, folder: str | Path) -> None:
        """Write ``results.json`` and ``images.csv``."""
        content = {"card": dict(self.card), "rows": self.rows.to_dict("records")}
        write_text(Path(folder) / "results.json", json.dumps(content, indent=1) + "\n")
        # A spreadsheet takes a cell that begins so for a formula.
        names = self.images["image"].astype(str).str.replace(r"^(?=[=+\-@\t\r])", "'", regex=True)
        write_text(Path(folder) / "images.csv", self.images.assign(image=names).to_csv(index=False))


def summarise(job: Job, records: Sequence[Record], card: Mapping[str, Any], n_clusters: int) -> Evaluation:
    """Measure a data set from the records of its images, in its order; `n_clusters` is K of family A."""
    sizes = {r["labels"].shape[1:] for r in records}
    size = "x".join(map(str, sizes.pop())) if len(sizes) == 1 else "original"
    if job.dataset.classes:
        rows = list(_class_rows(job, records, n_clusters))
        images = [_class_image(job.method, r) for r in records]
    else:
        rows = list(_region_rows(job, records))
        images = [_region_image(job.method, r, rows[0]["covering_scale"]) for r in records]
    named = [{"index": i, "image": job.dataset.items[i].name, **image} for i, image in enumerate(images)]
    k = pd.Series([row["K"] for row in rows], dtype=object)  # whole numbers stay whole beside means
    frame = pd.DataFrame(rows).assign(K=k, crop=job.dataset.crop, size=size)
    return Evaluation(frame, pd.DataFrame(named), card)


def _class_rows(job: Job, records: Sequence[Record], n_clusters: int) -> Iterator[dict[str, Any]]:
    counts = {m: [r[f"counts:{m}"] for r in records] for m in (job.method, COLOURS, *GRIDS, CEILING)}
    for method, each in counts.items():
        if f"features:{method}" in records[0]:
            features = np.concatenate([r[f"features:{method}"] for r in records])
            classes = cluster_segments(features, n_clusters, seed=job.seed)
            pooled = np.hstack(each) @ np.eye(classes.max() + 1, dtype=np.int64)[classes]
        else:  # a cell of the grid, or a class, is the same cluster in every image
            pooled = np.sum(each, axis=0)
        found = dataset_metrics(pooled)
        yield {"method": method, "family": FAMILY_A, "K": pooled.shape[1], **_class_figures(found)}
    for family, match in ((FAMILY_B, "present"), (FAMILY_B_DIFFSEG, "diffseg")):
        for method, each in counts.items():
            found = pooled_metrics(image_counts(c, match=match) for c in each)
            k = round(float(np.mean([c.any(axis=0).sum() for c in each])), 2)
            yield {"method": method, "family": family, "K": k, **_class_figures(found)}


def _class_figures(found: ClassMetrics) -> dict[str, Any]:
    iou = [None if np.isnan(v) else float(v) for v in found.iou]
    return {"accuracy": found.accuracy, "miou": found.miou, "iou": iou}


def _class_image(method: str, record: Record) -> dict[str, Any]:
    classes = int(record[f"counts:{method}"].any(axis=1).sum())
    row = {"segments": int(record["segments"][0]), "classes": classes, "family": FAMILY_B}
    for suffix, name in (("", method), (" of one segment", "one segment"), (" of the ceiling", CEILING)):
        accuracy = miou = float("nan")
        if classes:  # a class that is not in the image has no segment in this form, hence no IoU
            found = pooled_metrics(image_counts(record[f"counts:{name}"]))
            accuracy, miou = found.accuracy, found.miou
        row |= {f"accuracy{suffix}": accuracy, f"miou{suffix}": miou}
    return row


def _region_rows(job: Job, records: Sequence[Record]) -> Iterator[dict[str, Any]]:
    n = np.mean([r["segments"] for r in records], axis=0)
    methods = (job.method, COLOURS, *GRIDS, CEILING, HUMAN_AGREEMENT)
    for method in (m for m in methods if f"rand:{m}" in records[0]):
        found = region_summary(_regions(r, method) for r in records)
        k: float | None = GRIDS[method][0] * GRIDS[method][1] if method in GRIDS else None
        if method in (job.method, COLOURS):
            k = round(float(n[int(found["covering_scale"])]), 2)
        yield {"method": method, "family": REGIONS, "K": k, **found}


def _regions(record: Record, method: str) -> RegionMetrics:
    return RegionMetrics(*(record[f"{name}:{method}"] for name in FIELDS))


def _region_image(method: str, record: Record, scale: int) -> dict[str, Any]:
    found = _regions(record, method)
    return {
        "segments": int(record["segments"][scale]),
        "family": REGIONS,
        "covering": float(found.covering[scale]),
        "covering at its best cut": float(found.covering.max()),
        "pri": float(found.rand[scale]),
        "vi": float(found.information[scale]),
        "covering of one segment": float(_regions(record, "one segment").covering[0]),
    }
