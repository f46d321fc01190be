"""The work on one image: segments, floors and ceiling, counted against the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ..data.crops import nearest
from ..data.dataset import Dataset, Sample
from ..images.clustering import segment
from ..images.segmentation import Segmentation
from ..maps import baselines
from ..maps.explanation import explain
from ..maps.forward_pass import capture
from ..metrics.confusion import confusion
from ..metrics.regions import RegionMetrics, region_metrics
from ..metrics.segment_matching import patch_labels
from ..models.loading import load
from ..types import Backbone, Capture, ExplanationMaps
from ..types.grids import cell_grid
from ..types.whole_file import whole_file
from .semantic_classes import describe_segments
from .trivial_baselines import colour_labels, majority

GRIDS = {"one segment": (1, 1), "3 x 3 grid": (3, 3), "7 x 7 grid": (7, 7)}
COLOURS = "k-means on colour"
CEILING = "token grid's ceiling"
PEOPLE = "people"
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
    layer: int
    score: str
    rule: str
    transform: Any
    cuts: tuple[Mapping[str, Any], ...]
    seed: int

    def path(self, index: int) -> Path:
        """Where the record of an image lies."""
        return self.folder / f"{index:06}.npz"


def work(job: Job, index: int) -> int:
    """Measure one image and write its record, all of it or nothing.

    Parameters
    ----------
    job : Job
    index : int
        Of the image in the data set.

    Returns
    -------
    int
        The same index.
    """
    record = measure(job, job.dataset[index])
    path = job.path(index)
    with whole_file(path) as partial:
        np.savez_compressed(partial, allow_pickle=False, **record)
    return index


def measure(job: Job, sample: Sample) -> Record:
    """Segment an image at every cut and count against its truth.

    Parameters
    ----------
    job : Job
    sample : Sample

    Returns
    -------
    dict of str to ndarray
        ``labels`` (cuts, h, w) at the truth's size, ``segments`` (cuts,), and for each method
        counts and descriptors (classes) or region scores (people).
    """
    cap = capture(_loaded(job.model) if isinstance(job.model, str) else job.model, sample.image)
    maps = _maps(job, cap)
    segs = _cut_all(maps, sample, job.cuts)
    size = sample.truths[0].shape
    labels = np.stack([nearest(s.labels, size) for s in segs])
    record: Record = {"labels": labels.astype(np.uint16), "segments": np.array([s.n_segments for s in segs])}
    if job.dataset.classes:
        return record | _class_record(job, sample, cap, maps.layer, segs[0], labels[0])
    return record | _region_record(job, sample, cap, labels)


@lru_cache(maxsize=1)
def _loaded(name: str) -> Backbone:
    """Loaded once in each process."""
    return load(name)


def _maps(job: Job, cap: Capture) -> ExplanationMaps:
    if job.method == "ultra":
        return explain(
            cap,
            layer=job.layer,
            score=job.score,
            rule=job.rule,
            transform=job.transform,
            progress=False,
        )
    return getattr(baselines, job.method)(cap, layer=job.layer)


def _cut_all(maps: ExplanationMaps, sample: Sample, cuts: Sequence[Mapping[str, Any]]) -> list[Segmentation]:
    """One segmentation for each cut, from one tree."""
    found: list[Segmentation] = []
    for cut in cuts:
        n = cut.get("n_segments")
        if n == "true":
            n = max(1, len(np.unique(sample.truth[sample.truth >= 0])))
        if not found:
            found.append(segment(maps, n_segments=n) if n else segment(maps, threshold=cut["threshold"]))
        else:
            found.append(found[0].recut(n_segments=n) if n else found[0].recut(threshold=cut["threshold"]))
    return found


def _class_record(
    job: Job, sample: Sample, cap: Capture, layer: int, seg: Segmentation, labels: np.ndarray
) -> Record:
    truth, n = sample.truth, len(job.dataset.classes)

    def counts(found: np.ndarray, clusters: int) -> np.ndarray:
        return confusion(found, truth, n_classes=n, n_clusters=clusters)

    colours, centres = colour_labels(sample.image, seg.n_segments, seed=job.seed)
    record = {
        f"counts:{job.method}": counts(labels, seg.n_segments),
        f"features:{job.method}": describe_segments(seg, cap.tokens(layer)),
        f"counts:{COLOURS}": counts(nearest(colours, truth.shape), len(centres)),
        f"features:{COLOURS}": centres,
    }
    for name, grid in GRIDS.items():
        record[f"counts:{name}"] = counts(cell_grid(truth.shape, grid), grid[0] * grid[1])
    h, w = cap.layout.grid or (1, 1)
    record[f"counts:{CEILING}"] = majority(counts(cell_grid(truth.shape, (h, w)), h * w))
    return record


def _region_record(job: Job, sample: Sample, cap: Capture, labels: np.ndarray) -> Record:
    truths, size = sample.truths, sample.truths[0].shape
    colours = [colour_labels(sample.image, int(s.max()) + 1, seed=job.seed)[0] for s in labels]
    found = {
        job.method: region_metrics(list(labels), truths),
        COLOURS: region_metrics([nearest(c, size) for c in colours], truths),
        CEILING: _best_drawn_on_patches(truths, cap.layout.grid or (1, 1)),
    }
    found |= {name: region_metrics([cell_grid(size, grid)], truths) for name, grid in GRIDS.items()}
    if len(truths) > 1:
        found[PEOPLE] = _people(truths)
    fields = ("covered", "area", "rand", "information")
    return {f"{field}:{name}": getattr(scores, field) for name, scores in found.items() for field in fields}


def _best_drawn_on_patches(truths: tuple[np.ndarray, ...], grid: tuple[int, int]) -> RegionMetrics:
    """The person's map that covers all people's best after each patch took its majority label."""
    cells = cell_grid(truths[0].shape, grid)
    drawn = [patch_labels(t, grid).ravel()[cells] for t in truths]
    best = int(region_metrics(drawn, truths).covering.argmax())
    return region_metrics([drawn[best]], truths)


def _people(truths: tuple[np.ndarray, ...]) -> RegionMetrics:
    """Each person against the others: areas pooled, indices averaged."""
    each = [region_metrics([t], [*truths[:i], *truths[i + 1 :]]) for i, t in enumerate(truths)]
    return RegionMetrics(
        np.concatenate([e.covered for e in each], axis=1),
        np.concatenate([e.area for e in each]),
        np.mean([e.rand for e in each], axis=0),
        np.mean([e.information for e in each], axis=0),
    )
