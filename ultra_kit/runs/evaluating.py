"""A model over a data set: scores with their floors and ceiling, spread by joblib, resumable."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from joblib.parallel import get_active_backend
from tqdm.auto import tqdm

from ..data.dataset import Dataset
from ..models.loading import load
from ..types import Backbone
from ..types.provenance import fingerprint
from ..types.whole_file import write_text
from .evaluation import Evaluation, summarise
from .image_records import BASELINES, Job, Record, work
from .record_pictures import side_by_side

__all__ = ["Evaluation", "evaluate"]

_PICTURES = 8


def evaluate(
    model: str | Backbone,
    dataset: Dataset,
    *,
    out: str | Path,
    layer: int = -1,
    score: str = "norm",
    rule: str = "positive",
    transform: Any = None,
    method: str = "ultra",
    threshold: float | Sequence[float] = 0.25,
    n_segments: int | str | Sequence[int] | None = None,
    n_clusters: int | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Evaluation:
    """Segment all images of a data set and score the segments, floors and ceiling beside them.

    A data set with classes gets both families of scores (see `ultra_kit.metrics.confusion`):
    family A, for which the segments of all images are grouped into classes by k-means (see
    `ultra_kit.runs.semantic_classes`), and family B in its two forms. One with several people's regions
    (BSDS500) gets covering, Rand index and variation of information.

    Parameters
    ----------
    model : str or Backbone
        To spread the work over processes give a name: every process then loads it once. A loaded
        model is sent along with every image.
    dataset : Dataset
        From `ultra_kit.data`; ``dataset[:20]`` for a try.
    out : str or Path
        Folder for ``results.json``, ``images.csv``, pictures of the 8 worst and the 8 best images
        (image, truth, found) and a record of every image. Call again with the same arguments and
        the records that are there are not made again; results are the same as without a break.
    layer, score, rule, transform
        As for `ultra_kit.explain`.
    method : {"ultra", "raw_attention", "rollout", "cosine"}
        Which maps are cut; for a baseline `score`, `rule` and `transform` are not used.
    threshold : float or sequence of float, default 0.25
        Cosine distance of the cut; several for a data set without classes only, whose ODS, OIS and
        best scale are chosen among them.
    n_segments : int, "true" or sequence of int, optional
        In place of a threshold. "true" is the number of classes of each image: it reads the truth.
    n_clusters : int, optional
        K of family A; the number of classes by default.
    seed : int
        Of the k-means runs.
    progress : bool, default True
        Show a bar.

    Returns
    -------
    Evaluation
        Print it for the table. K, crop, size and cut are named.

    Raises
    ------
    ValueError
        If an option is out of range, the model is for texts, or `out` holds the records of another job.

    Notes
    -----
    Images are independent jobs for joblib. By default they run one after the other;
    ``with joblib.parallel_config(backend="loky", n_jobs=4):`` spreads them over processes, the
    backend ``"dask"`` or ``"ray"`` over a cluster, whose machines must see the data set and `out`
    under the same paths.

    Examples
    --------
    >>> import tempfile
    >>> from PIL import Image
    >>> import ultra_kit as uk
    >>> scene = uk.data.scene(0)
    >>> with tempfile.TemporaryDirectory() as name:
    ...     folder = Path(name)
    ...     for kind, pixels in {"images": scene.image, "masks": scene.instances}.items():
    ...         (folder / kind).mkdir()
    ...         Image.fromarray(pixels.astype("uint8")).save(folder / kind / "a.png")
    ...     found = uk.evaluate("scenes", uk.data.Folder(folder), out=folder / "out", progress=False)
    >>> 0 < found.row("ultra", "B: image, present")["miou"] < 1
    True
    """
    backbone = load(model)
    cuts = _cuts(threshold, n_segments, bool(dataset.classes))
    if method not in ("ultra", *BASELINES):
        raise ValueError(f"method must be 'ultra' or one of {', '.join(BASELINES)}, got {method!r}")
    if backbone.modality != "image":
        raise ValueError(f"evaluate needs an image model, {backbone.name} is for {backbone.modality}")
    out = Path(out)
    k = len(dataset.classes) if n_clusters is None else n_clusters
    source = model if isinstance(model, str) else backbone
    job = Job(source, dataset, out / "images", method, layer, score, rule, transform, cuts, seed)
    card = _card(job, backbone, k)
    _claim(out, card)
    _run(job, progress)
    found = summarise(job, _records(job), card, k)
    found.save(out)
    _keep_pictures(job, found, out)
    return found


def _cuts(
    threshold: float | Sequence[float], n_segments: int | str | Sequence[int] | None, classes: bool
) -> tuple[dict[str, Any], ...]:
    name, given = ("threshold", threshold) if n_segments is None else ("n_segments", n_segments)
    values = [given] if isinstance(given, str) or np.ndim(given) == 0 else list(given)  # type: ignore[arg-type]
    if classes and len(values) != 1:
        raise ValueError(f"a data set with classes takes one {name}, got {len(values)}; evaluate each")
    if not values or any(isinstance(v, str) and v != "true" for v in values):
        raise ValueError(f"{name} must be numbers or 'true', got {given!r}")
    if "true" in values and not classes:
        raise ValueError("n_segments='true' needs a data set with classes; its people disagree on a number")
    return tuple({name: v} for v in values)


def _card(job: Job, backbone: Backbone, n_clusters: int) -> dict[str, Any]:
    ultra = job.method == "ultra"
    values = [v for cut in job.cuts for v in cut.values()]
    name = next(iter(job.cuts[0]))
    cut = f"{name} {', '.join(map(str, values))}"
    if values == ["true"]:
        cut = "true K (the number of classes of each image, read from the truth)"
    card = {
        "model_name": backbone.name,
        "model": backbone.card(),
        "dataset": job.dataset.card,
        "method": job.method,
        "layer": job.layer,
        "score": job.score if ultra else None,
        "rule": job.rule if ultra else None,
        "transform": fingerprint(getattr(job.transform, "matrix", job.transform)) if ultra else None,
        "cut": cut,
        "n_clusters": n_clusters,
        "seed": job.seed,
    }
    return json.loads(json.dumps(card, default=str))


def _claim(out: Path, card: Mapping[str, Any]) -> None:
    """Say whose records the folder holds; refuse those of another job."""
    path = out / "job.json"
    if path.is_file():
        held = json.loads(path.read_text("utf-8"))
        differ = [f"{k} was {held.get(k)!r}, is {v!r}" for k, v in card.items() if held.get(k) != v]
        if differ:
            raise ValueError(f"{out} holds another job: {'; '.join(differ)}; give another folder")
    (out / "images").mkdir(parents=True, exist_ok=True)
    for unfinished in (out / "images").glob("*.part*"):
        unfinished.unlink()
    write_text(path, json.dumps(card, indent=1) + "\n")


def _run(job: Job, progress: bool) -> None:
    todo = [i for i in range(len(job.dataset)) if not job.path(i).is_file()]
    # Not every backend hands results over one by one; with those the bar moves at the end.
    streams = get_active_backend()[0].supports_return_generator
    parallel = Parallel(return_as="generator_unordered" if streams else "list")
    n = len(job.dataset)
    with tqdm(total=n, initial=n - len(todo), unit="image", disable=not progress) as bar:
        for _ in parallel(delayed(work)(job, i) for i in todo):
            bar.update()


def _records(job: Job) -> list[Record]:
    records = []
    for i in range(len(job.dataset)):
        with np.load(job.path(i), allow_pickle=False) as stored:
            records.append(dict(stored))
    return records


def _keep_pictures(job: Job, found: Evaluation, out: Path) -> None:
    ranked = found.ranked()
    scale = found.rows[0].get("covering_scale", 0)
    for kind, images in (("worst", ranked[:_PICTURES]), ("best", ranked[::-1][:_PICTURES])):
        folder = out / kind
        folder.mkdir(exist_ok=True)
        for place, row in enumerate(images, 1):
            sample = job.dataset[row["index"]]
            with np.load(job.path(row["index"]), allow_pickle=False) as stored:
                labels = stored["labels"][scale]
            side_by_side(sample, labels).save(folder / f"{place:02}-{sample.name}.png")
