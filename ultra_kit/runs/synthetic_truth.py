"""Explanation maps against the known truth of synthetic scenes, evidence against that of briefs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch

from .. import metrics
from ..data.drawn_reports import Brief, brief
from ..data.drawn_scenes import Scene, scene
from ..images.clustering import METRICS, segment
from ..maps.forward_pass import capture
from ..text.evidence_words import Evidence
from ..text.summarizing import Summary, summarize
from ..types import ExplanationMaps
from ..types.progress import reporting

Maker = Callable[..., ExplanationMaps]
"""Called as ``make(capture, tokens=indices)``: `ultra_kit.explain` and the baselines, or a `functools.partial` of one."""

Reader = Callable[..., Evidence]
"""Called as ``read(summary, words=indices)``: a `functools.partial` of `ultra_kit.evidence`."""

Rows = Iterable[tuple[str, Any]]  # (method, array (n, measures)) of one scene or brief

MEASURES = {
    "AP": metrics.average_precision,
    "pointing": metrics.pointing_game,
    "energy": metrics.energy_inside,
}


def object_tokens(
    s: Scene, grid: tuple[int, int], *, per_object: int | None = None, smallest: int = 4
) -> tuple[np.ndarray, np.ndarray]:
    """Content indices of T tokens that lie in an object, ascending, and the patches (T, h * w) of their objects, bool.

    A patch belongs to the object that most of its pixels show; objects of fewer than `smallest` patches are left out.
    `per_object` draws as many tokens of each object by the scene's seed; all by default.
    """
    label = metrics.patch_labels(s.instances, grid).ravel()
    rng = np.random.default_rng(s.seed)
    picked = [np.zeros(0, np.int64)]
    for k in range(1, len(s.objects) + 1):
        cells = np.flatnonzero(label == k)
        if len(cells) >= smallest:
            n = len(cells) if per_object is None else min(per_object, len(cells))
            picked.append(rng.choice(cells, n, replace=False))
    own = np.sort(np.concatenate(picked))
    return own, label[own][:, None] == label[None]


def measure_maps(
    model: Any,
    methods: Mapping[str, Maker],
    seeds: Iterable[int],
    *,
    per_object: int = 4,
    progress: bool = True,
) -> dict[str, dict[str, float]]:
    """How well the maps of object tokens find the rest of their object on scenes, the own position left out.

    Means over `per_object` tokens of each object of four patches and more, and the same for ``"chance"``: the object's
    share of the other patches. Choose layers, scores and rules on other seeds.
    """

    def rows(seed: int) -> Rows:
        s = scene(seed)
        cap = capture(model, s.image)
        own, truth = object_tokens(s, cap.layout.grid or (1, 1), per_object=per_object)
        tokens = own + cap.layout.n_prefix
        return _measured(own, truth, methods, lambda make: make(cap, tokens=tokens).content)

    return _means(rows, seeds, "maps", MEASURES, progress, "one scene with an object of four patches")


def measure_segments(
    model: Any, methods: Mapping[str, Maker], seeds: Iterable[int], *, progress: bool = True
) -> dict[str, dict[str, float]]:
    """Mean IoU of segments cut from the maps, for each distance that `ultra_kit.segment` knows, true number given.

    Gives ``{method: {"cosine": ..., "hellinger": ...}}`` under `ultra_kit.metrics.hungarian_miou`, the ground among the
    segments, and for ``"ceiling"`` what labels constant on each patch can reach.
    """

    def rows(seed: int) -> Rows:
        s = scene(seed)
        cap = capture(model, s.image)
        yield "ceiling", [[metrics.grid_ceiling(s.instances, cap.layout.grid or (1, 1))] * len(METRICS)]
        k = len(np.unique(s.instances))
        for name, make in methods.items():
            maps = make(cap, tokens=cap.layout.content)
            found = [segment(maps, n_segments=k, metric=metric).labels for metric in METRICS]
            yield name, [[metrics.hungarian_miou(labels, s.instances) for labels in found]]

    return _means(rows, seeds, "segments", METRICS, progress, "one scene")


def source_words(b: Brief, s: Summary) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the T summary words that state a fact, ascending, and their sources (T, document words), bool.

    `s` must be of ``b.document`` and say ``b.summary``; else ValueError.
    """
    if tuple(w.text for w in s.document_words) != b.words:
        raise ValueError("the summary must be of the brief's document")
    if (said := tuple(w.text for w in s.words)) != b.summary_words:
        raise ValueError(f"the summary must be {' '.join(b.summary_words)!r}, got {' '.join(said)!r}")
    words = np.array([i for i, source in enumerate(b.sources) if source], dtype=np.int64)
    truth = np.zeros((len(words), len(b.words)), dtype=bool)
    for row, i in enumerate(words):
        truth[row, list(b.sources[i])] = True
    return words, truth


def measure_evidence(
    model: Any,
    methods: Mapping[str, Reader],
    seeds: Iterable[int],
    *,
    known: bool = False,
    progress: bool = True,
) -> dict[str, dict[str, float]]:
    """How well evidence finds the document words that the fact words of a brief's true summary come from.

    As `measure_maps`; chance is the true words' share of the document, in which a summary word's own position is not.
    `known` keeps only words of which every token is the model's first choice: what a model gets wrong it did not make
    from the true source.
    """

    def rows(seed: int) -> Rows:
        b = brief(seed)
        s = summarize(model, b.document, summary=b.summary)
        words, truth = source_words(b, s)
        if known:
            kept = np.array([_known(s, int(w)) for w in words])
            words, truth = words[kept], truth[kept]
        # The measures leave out a position of each row: a column is put in front for it.
        before = ((0, 0), (1, 0))
        own = np.zeros(len(words), np.int64)
        truth = np.pad(truth, before)
        return _measured(own, truth, methods, lambda read: np.pad(read(s, words=words).matrix, before))

    return _means(rows, seeds, "evidence", MEASURES, progress, "one word to score")


def _measured(
    own: np.ndarray, truth: np.ndarray, methods: Mapping[str, Any], values: Callable[[Any], np.ndarray]
) -> Iterator[tuple[str, np.ndarray]]:
    """Every measure of each row of every method's values against the truth, the position `own` left out, and chance."""
    if len(own):
        for name, method in methods.items():
            found = values(method)
            yield name, np.stack([measure(found, own, truth) for measure in MEASURES.values()], 1)
        yield "chance", np.repeat(metrics.prevalence(own, truth)[:, None], len(MEASURES), 1)


def _means(
    rows: Callable[[int], Rows],
    seeds: Iterable[int],
    task: str,
    columns: Iterable[str],
    progress: bool,
    needed: str,
) -> dict[str, dict[str, float]]:
    """Means of the rows of all seeds: method -> column -> value."""
    parts: dict[str, list[Any]] = {}
    seeds = list(seeds)
    with reporting(progress, len(seeds), f"measure {task}", "seeds") as report:
        for seed in seeds:
            for name, values in rows(seed):
                parts.setdefault(name, []).append(values)
            report(1)
    if not parts:
        raise ValueError(f"seeds must give at least {needed}, got none")
    means = {name: np.nanmean(np.concatenate(part), axis=0).tolist() for name, part in parts.items()}
    return {name: dict(zip(columns, mean, strict=True)) for name, mean in means.items()}


def _known(s: Summary, word: int) -> bool:
    """Whether every token of a summary word is the model's first choice."""
    at = s.positions(word)
    with torch.no_grad():
        chosen = s.capture.model.head(s.capture.latents[-1][torch.as_tensor(at)].detach()).argmax(-1)  # type: ignore[union-attr]
    return chosen.tolist() == [s.token_ids[p + 1 - s.span[0]] for p in at.tolist()]
