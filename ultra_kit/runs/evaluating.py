"""A model over a data set: metrics beside trivial baselines and a ceiling, spread by joblib, resumable."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from joblib.parallel import get_active_backend

from ..data.dataset import Dataset
from ..models.loading import load
from ..types import Backbone, Settings, UltraError
from ..types.checks import needs, one_of
from ..types.progress import reporting
from ..types.provenance import fingerprint
from ..types.whole_file import whole_file, write_text
from ..types.workers import this_process
from .evaluation import Evaluation, summarise
from .image_records import BASELINES, Job, Record, sound, work
from .record_pictures import side_by_side

_PICTURES = 8
_STALE = 600  # seconds after which an unfinished record is nobody's


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
    # A data set that was moved, and another number of clusters, leave the records as they are.
    facts = {**card, "model": card["model"].get("weights_sha256"), "dataset": "", "n_clusters": 0}
    job = replace(job, made_by=json.dumps(facts))
    _claim(out, card)
    records = _records(job, progress)
    if len(records) < len(dataset):
        raise UltraError(f"files of the data set or records in {out} were changed meanwhile; start again")
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
        **{name: job.how.get(name) for name in ("score", "rule", "since", "share")},
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
        except (TypeError, ValueError, RecursionError) as error:
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


def _records(job: Job, progress: bool) -> list[Record]:
    """Those of all images, in order, the missing ones made; fewer where files were changed meanwhile."""
    held = {i: _record(job, i) for i in range(len(job.dataset))}
    todo = [i for i, record in held.items() if record is None]
    # Not every backend hands results over one by one; with those the bar moves at the end.
    streams = get_active_backend()[0].supports_return_generator
    parallel = Parallel(return_as="generator_unordered" if streams else "list")
    task = f"evaluate layer {job.how['layer']}"
    with reporting(progress, len(held), task, "images", len(held) - len(todo)) as report:
        for _ in parallel(delayed(work)(job, i, this_process()) for i in todo):
            report(1)
    held |= {i: _record(job, i) for i in todo}
    return [record for record in held.values() if record is not None]


def _record(job: Job, index: int) -> Record | None:
    """The record of an image; None where there is none, or a damaged one, or one of other files."""
    with (
        suppress(Exception),
        np.load(job.path(index), allow_pickle=False) as stored,
    ):  # damage raises anything
        record = dict(stored)
        same = str(record.pop("made_from")) == job.made_from(index)
        return record if same and sound(job, record) else None
    return None


def _keep_pictures(dataset: Dataset, records: Sequence[Record], found: Evaluation, out: Path) -> None:
    ranked = found.ranked()["index"].tolist()
    scale = found.rows.get("covering_scale", [0])[0]
    for kind, order in (("worst", ranked), ("best", ranked[::-1])):
        for place, index in enumerate(order[:_PICTURES], 1):
            sample = dataset[index]
            name = re.sub(r"[^\w.-]", "_", sample.name)  # a list of names may hold paths
            with whole_file(out / kind / f"{place:02}-{name}.png") as partial:
                side_by_side(sample, records[index]["labels"][scale]).save(partial)
