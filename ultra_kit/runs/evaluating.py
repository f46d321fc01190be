"""A model over a data set: metrics beside trivial baselines and a ceiling, spread by joblib, resumable."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from joblib.parallel import get_active_backend

from ..data.dataset import Dataset
from ..metrics.confusion import ClassMetrics, dataset_metrics, image_counts, pooled_metrics
from ..metrics.regions import RegionMetrics, region_summary
from ..models.loading import load
from ..types import Backbone, Settings, UltraError
from ..types.checks import needs, one_of
from ..types.progress import reporting
from ..types.provenance import fingerprint
from ..types.whole_file import whole_file, write_text
from ..types.workers import this_process
from .image_records import (
    BASELINES,
    CEILING,
    COLOURS,
    FIELDS,
    GRIDS,
    HUMAN_AGREEMENT,
    Job,
    Record,
    work,
)
from .printed_tables import PrintedTable
from .record_pictures import side_by_side
from .semantic_classes import cluster_segments

_PICTURES = 8
_STALE = 600  # seconds after which an unfinished record is nobody's
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


def evaluate(
    model: str | Backbone,
    dataset: Dataset,
    *,
    out: str | Path,
    layer: int | None = None,
    score: str | None = None,
    rule: str | None = None,
    transform: Any = None,
    method: str = "ultra",
    metric: str | None = None,
    threshold: float | Sequence[float] | None = None,
    n_segments: int | str | Sequence[int] | None = None,
    n_clusters: int | None = None,
    share: float | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Evaluation:
    """Segment all images of a data set and measure the segments, beside trivial baselines and a ceiling.

    A data set with classes gets both families of metrics (see `ultra_kit.metrics.confusion`), for family A with the
    segments of all images grouped by `ultra_kit.runs.cluster_segments`. One with several people's regions (BSDS500)
    gets covering, Rand index and variation of information, and its human agreement, under the name "people".

    Parameters
    ----------
    model : str or Backbone
        By name each process loads it once; a loaded model is sent along with every image.
    dataset : Dataset
        From `ultra_kit.data`; ``dataset[:20]`` for a try.
    out : str or Path
        Folder for ``results.json``, ``images.csv``, pictures of the 8 worst and the 8 best images (image, truth,
        found) and a record of each image. A call with the same arguments goes on where the last one was stopped.
    layer, score, rule, transform, metric
        As for `ultra_kit.explain` and `ultra_kit.segment`; the model's own settings where nothing is said.
    method : {"ultra", "raw_attention", "rollout", "cosine"}
        Which maps are cut; for a baseline `score`, `rule` and `transform` are not used.
    threshold : float or sequence of float, optional
        Distance of the cut, the model's own by default; several, for ODS, OIS and the best scale, only for a data set
        without classes.
    n_segments : int, "true" or sequence of int, optional
        In place of a threshold (giving both is an error). "true" is the number of classes of each image: it reads the truth.
    n_clusters : int, optional
        K of family A; the number of classes by default.
    share : float, optional
        Explain only this share of each image's patches, as `ultra_kit.maps.explain_share`; for the method "ultra".
    seed : int
        Of the k-means runs.
    progress : bool
        Whether to show a bar.

    Returns
    -------
    Evaluation

    Raises
    ------
    ValueError
        If an option is out of range, the model is for texts, or `out` holds the records of another job.

    Notes
    -----
    Images are independent tasks for joblib: ``with joblib.parallel_config(backend="loky", n_jobs=4):`` spreads them over
    processes of one thread each, ``"dask"`` or ``"ray"`` over a cluster, whose machines must see the data set and `out`
    under one path.

    Examples
    --------
    >>> import tempfile
    >>> from PIL import Image
    >>> import ultra_kit as uk
    >>> scene = uk.data.scene(0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for kind, pixels in {"images": scene.image, "masks": scene.instances}.items():
    ...         Path(folder, kind).mkdir()
    ...         Image.fromarray(pixels.astype("uint8")).save(Path(folder, kind, "a.png"))
    ...     found = uk.evaluate("scenes", uk.data.Folder(folder), out=Path(folder, "out"), progress=False)
    >>> 0 < found.row("ultra", "B: image, present")["miou"] < 1
    True
    """
    needs("evaluate", Dataset, (dataset,), "data = uk.data.Folder(path), or another of uk.data, first")
    backbone = load(model)
    cuts = _cuts(threshold, n_segments, bool(dataset.classes))
    one_of("method", method, ("ultra", *BASELINES))
    if backbone.modality != "image":
        raise ValueError(f"evaluate needs an image model, {backbone.name} is for {backbone.modality}")
    out = Path(out)
    k = len(dataset.classes) if n_clusters is None else n_clusters
    own = Settings.of(backbone)
    how: dict[str, Any] = {"layer": own.layer if layer is None else layer}
    if method == "ultra":
        how |= {"score": score or own.score, "rule": rule or own.rule, "transform": transform}
        how["progress"] = False
        if layer is None and own.since:
            how["since"] = own.since
    if share is not None:
        if method != "ultra":
            raise ValueError(f"share={share} is for the method 'ultra', {method!r} takes no time for a token")
        how["share"] = share
    source, metric = model if isinstance(model, str) else backbone, metric or own.metric
    job = Job(source, dataset, out / "images", method, how, cuts, seed, metric)
    card = _card(job, backbone, k)
    _claim(out, card)
    _run(job, progress)
    records = [record for i in range(len(dataset)) if (record := _record(job, i)) is not None]
    if len(records) < len(dataset):
        raise UltraError(
            f"the files of the data set, or the records in {out}, were changed meanwhile; start again"
        )
    found = summarise(job, records, card, k)
    found.save(out)
    _keep_pictures(dataset, records, found, out)
    return found


def _cuts(
    threshold: float | Sequence[float] | None, n_segments: int | str | Sequence[int] | None, classes: bool
) -> tuple[dict[str, Any], ...]:
    if threshold is not None and n_segments is not None:
        raise ValueError(f"give either threshold or n_segments, got {threshold} and {n_segments}")
    name, given = ("threshold", threshold) if n_segments is None else ("n_segments", n_segments)
    if given is None:
        return ({},)
    values = [given] if isinstance(given, str) or np.ndim(given) == 0 else list(given)  # type: ignore[arg-type]
    if classes and len(values) != 1:
        raise ValueError(f"a data set with classes takes one {name}, got {len(values)}; evaluate each")
    if not values or any(isinstance(v, str) and v != "true" for v in values):
        raise ValueError(f"{name} must be numbers or 'true', got {given!r}")
    if "true" in values and not classes:
        raise ValueError("n_segments='true' needs a data set with classes; annotators disagree on a number")
    return tuple({name: v} for v in values)


def _card(job: Job, backbone: Backbone, n_clusters: int) -> dict[str, Any]:
    w, name = job.how.get("transform"), next(iter(job.cuts[0]), "the model's own threshold")
    values = [value for cut in job.cuts for value in cut.values()]
    cut = " ".join([name, ", ".join(map(str, values))]).strip()
    if values == ["true"]:
        cut = "true K (the number of classes of each image, read from the truth)"
    cut += "" if job.metric == "cosine" else f", {job.metric}"
    card = {
        "model_name": backbone.name,
        "model": backbone.card(),
        "dataset": job.dataset.card,
        "method": job.method,
        "layer": job.how["layer"],
        "score": job.how.get("score"),
        "rule": job.how.get("rule"),
        "since": job.how.get("since"),
        "share": job.how.get("share"),
        "transform": fingerprint(getattr(w, "matrix", w)),
        "cut": cut,
        "n_clusters": n_clusters,
        "seed": job.seed,
    }
    return json.loads(json.dumps(card, default=str))


def _claim(out: Path, card: Mapping[str, Any]) -> None:
    """Say whose records the folder holds; refuse those of another job."""
    path = out / "job.json"
    if path.is_file():
        try:
            held = dict(json.loads(path.read_text("utf-8")))
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{path} is damaged ({error}); delete it if {out} is of this job, or give another folder"
            ) from None
        differ = [f"{k} was {held.get(k)!r}, is {v!r}" for k, v in card.items() if _differ(held.get(k), v)]
        if differ:
            raise ValueError(f"{out} holds another job: {'; '.join(differ)}; give another folder")
    for unfinished in (out / "images").glob(f".{'[0-9]' * 6}.{'[0-9a-f]' * 12}.part.npz"):
        if time.time() - unfinished.stat().st_mtime > _STALE:  # else another process may be at it
            unfinished.unlink(missing_ok=True)
    write_text(path, json.dumps(card, indent=1) + "\n")


def _differ(held: Any, now: Any) -> bool:
    """Whether two facts differ; a card made before a fact was stated says nothing against it."""
    if isinstance(held, dict) and isinstance(now, dict):
        return any(_differ(held[k], now[k]) for k in held.keys() & now.keys())
    return held != now


def _run(job: Job, progress: bool) -> None:
    todo = [i for i in range(len(job.dataset)) if _record(job, i) is None]
    # Not every backend hands results over one by one; with those the bar moves at the end.
    streams = get_active_backend()[0].supports_return_generator
    parallel = Parallel(return_as="generator_unordered" if streams else "list")
    done = len(job.dataset) - len(todo)
    task = f"evaluate layer {job.how['layer']}"
    with reporting(progress, len(job.dataset), task, "images", done) as report:
        for _ in parallel(delayed(work)(job, i, this_process()) for i in todo):
            report(1)


def _record(job: Job, index: int) -> Record | None:
    """The record of an image; None where there is none, or a damaged one, or one of other files."""
    with (
        suppress(Exception),
        np.load(job.path(index), allow_pickle=False) as stored,
    ):  # damage raises anything
        record = dict(stored)
        return record if str(record.pop("made_from")) == job.made_from(index) else None
    return None


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


def _keep_pictures(dataset: Dataset, records: Sequence[Record], found: Evaluation, out: Path) -> None:
    ranked = found.ranked()["index"].tolist()
    scale = found.rows.get("covering_scale", [0])[0]
    for kind, order in (("worst", ranked), ("best", ranked[::-1])):
        for place, index in enumerate(order[:_PICTURES], 1):
            sample = dataset[index]
            name = re.sub(r"[^\w.-]", "_", sample.name)  # a list of names may hold paths
            with whole_file(out / kind / f"{place:02}-{name}.png") as partial:
                side_by_side(sample, records[index]["labels"][scale]).save(partial)
