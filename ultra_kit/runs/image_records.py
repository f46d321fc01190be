"""The work on one image: segments, trivial baselines and ceiling, counted against the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from ..data.crops import nearest
from ..data.dataset import Dataset, Sample
from ..images.clustering import segment
from ..images.segmentation import Segmentation
from ..maps import baselines
from ..maps.explanation import explain
from ..maps.forward_pass import capture
from ..maps.shares import explain_share
from ..metrics.confusion import confusion
from ..metrics.regions import RegionMetrics, region_metrics
from ..metrics.segment_matching import patch_labels
from ..models.loading import load_once
from ..types import Backbone, ExplanationMaps
from ..types.grids import cell_grid
from ..types.one_thread import one_thread
from ..types.provenance import sha256
from ..types.whole_file import whole_file
from ..types.workers import end_with, this_process
from .semantic_classes import describe_segments

GRIDS = {"one segment": (1, 1), "3 x 3 grid": (3, 3), "7 x 7 grid": (7, 7)}
COLOURS = "k-means on colour"
CEILING = "token grid's ceiling"
HUMAN_AGREEMENT = "people"  # the name in stored records and results
FIELDS = ("covered", "area", "rand", "information")  # of RegionMetrics, in its order
_FITTED = 4096  # pixels that k-means on colours is fitted to
BASELINES = ("raw_attention", "rollout", "cosine")

Record = dict[str, np.ndarray]
"""What is kept of one image; keys are ``FIELD:METHOD``."""


@dataclass(frozen=True, eq=False)
class Job:
    """Everything that the work on one image depends on, and where its record goes."""

    model: str | Backbone
    dataset: Dataset
    folder: Path
    method: str
    how: Mapping[str, Any]
    cuts: tuple[Mapping[str, Any], ...]
    seed: int
    metric: str = "cosine"
    made_by: str = ""

    def made_from(self, index: int) -> str:
        """The hash of what an image's record is made from: its files, and with which weights and how (`made_by`)."""
        item = self.dataset.items[index]
        return sha256([self.made_by, *(path.read_bytes() for path in (item.image, item.truth))])

    def path(self, index: int) -> Path:
        """Where the record of an image lies."""
        return self.folder / f"{index:06}.npz"


def work(job: Job, index: int, caller: tuple[str, int]) -> None:
    """Measure one image of the data set and write its record, all of it or nothing; not in the caller's process with one thread."""
    end_with(caller)
    with nullcontext() if this_process() == caller else one_thread():
        record = {**measure(job, job.dataset[index]), "made_from": np.array(job.made_from(index))}
    with whole_file(job.path(index)) as partial:
        np.savez_compressed(partial, allow_pickle=False, **record)


def measure(job: Job, sample: Sample) -> Record:
    """The record: ``labels`` (cuts, h, w) at the truth's size, ``segments`` (cuts,), and the counts or figures of each method."""
    cap = capture(load_once(job.model) if isinstance(job.model, str) else job.model, sample.image)
    ours = explain_share if "share" in job.how else explain
    make = ours if job.method == "ultra" else getattr(baselines, job.method)
    maps = make(cap, **job.how)
    segs = _cut_all(maps, sample, job.cuts, job.metric)
    coloured = [colour_labels(sample.image, seg.n_segments, seed=job.seed) for seg in segs]
    truths, size, grid = sample.truths, sample.truths[0].shape, cap.layout.grid or (1, 1)
    drawn = {
        job.method: [nearest(seg.labels, size) for seg in segs],
        COLOURS: [nearest(labels, size) for labels, _ in coloured],
        **{name: [cell_grid(size, cells)] for name, cells in GRIDS.items()},
    }
    labels = np.stack(drawn[job.method]).astype(np.uint16)
    record: Record = {"labels": labels, "segments": np.array([seg.n_segments for seg in segs])}
    if not job.dataset.classes:
        return record | _region_record(drawn, truths, grid)
    n = len(job.dataset.classes)
    features = {job.method: describe_segments(segs[0], cap.tokens(maps.layer)), COLOURS: coloured[0][1]}
    record |= {f"features:{name}": rows for name, rows in features.items()}
    for name, (found, *_) in drawn.items():
        clusters = len(features[name]) if name in features else None
        record[f"counts:{name}"] = confusion(found, sample.truth, n_classes=n, n_clusters=clusters)
    cells = confusion(cell_grid(size, grid), sample.truth, n_classes=n)
    return record | {f"counts:{CEILING}": majority(cells)}


def sound(job: Job, record: Record) -> bool:
    """Whether a stored record holds what `measure` makes, with figures that can be; a KeyError where it lacks one."""
    names, classes = (job.method, COLOURS, *GRIDS, CEILING), job.dataset.classes
    found = [[record[f"{field}:{name}"] for name in names] for field in (("counts",) if classes else FIELDS)]
    can = all(((x > -1e-9) & (x < np.inf)).all() for each in found for x in each)
    can &= {len(record["labels"]), len(record["segments"])} == {len(job.cuts)}
    if not classes:
        return can and all((part <= whole + 1e-9).all() for part, whole in zip(*found[:2], strict=True))
    totals = {(len(c), c.dtype.kind, int(c.sum())) for c in found[0]}
    same = [len(record[f"features:{name}"]) for name in names[:2]] == [c.shape[1] for c in found[0][:2]]
    return can and same and totals == {(len(classes), "i", int(found[0][0].sum()))}


def _cut_all(
    maps: ExplanationMaps, sample: Sample, cuts: Sequence[Mapping[str, Any]], metric: str
) -> list[Segmentation]:
    """One segmentation for each cut, from one tree."""
    found: list[Segmentation] = []
    for cut in cuts:
        if cut.get("n_segments") == "true":
            cut = {"n_segments": max(1, len(np.unique(sample.truth[sample.truth >= 0])))}
        found.append(found[0].recut(**cut) if found else segment(maps, metric=metric, **cut))
    return found


def _region_record(
    drawn: Mapping[str, list[np.ndarray]], truths: tuple[np.ndarray, ...], grid: tuple[int, int]
) -> Record:
    found = {name: region_metrics(labels, truths) for name, labels in drawn.items()}
    found[CEILING] = _best_drawn_on_patches(truths, grid)
    if len(truths) > 1:
        found[HUMAN_AGREEMENT] = _human_agreement(truths)
    return {f"{field}:{name}": getattr(one, field) for name, one in found.items() for field in FIELDS}


def _best_drawn_on_patches(truths: tuple[np.ndarray, ...], grid: tuple[int, int]) -> RegionMetrics:
    """The annotator's map that covers all annotators' best after each patch took its majority label."""
    cells = cell_grid(truths[0].shape, grid)
    drawn = [patch_labels(t, grid).ravel()[cells] for t in truths]
    best = int(region_metrics(drawn, truths).covering.argmax())
    return region_metrics([drawn[best]], truths)


def _human_agreement(truths: tuple[np.ndarray, ...]) -> RegionMetrics:
    """Each annotator against the others: areas pooled, indices averaged."""
    each = [region_metrics([t], [*truths[:i], *truths[i + 1 :]]) for i, t in enumerate(truths)]
    return RegionMetrics(
        np.concatenate([e.covered for e in each], axis=1),
        np.concatenate([e.area for e in each]),
        np.mean([e.rand for e in each], axis=0),
        np.mean([e.information for e in each], axis=0),
    )


def colour_labels(image: np.ndarray, n_segments: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Segments 0..K-1 of an image (H, W, 3) by k-means on its colours, int64 (H, W), and their mean colours (K, 3) in [0, 1].

    K is below `n_segments` only if the image has fewer colours.
    """
    pixels = image.reshape(-1, 3) / 255
    rng = np.random.default_rng(seed)
    fitted = rng.permutation(pixels)[:_FITTED]
    k = min(n_segments, len(np.unique(fitted, axis=0)))
    with threadpool_limits(1):  # the same sums in every process
        means = KMeans(k, n_init=1, random_state=seed).fit(fitted)
        labels = means.predict(pixels)
    return labels.reshape(image.shape[:2]).astype(np.int64), means.cluster_centers_


def majority(counts: np.ndarray) -> np.ndarray:
    """Counts (C, C) after every cell of (C, n_cells) took the class that most of its pixels have, the lower at a tie."""
    return counts @ np.eye(len(counts), dtype=counts.dtype)[counts.argmax(axis=0)]
