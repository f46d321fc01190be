"""Explanation maps against the known truth of synthetic scenes, evidence against that of briefs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from tqdm.auto import tqdm

from .. import metrics
from ..data.drawn_reports import Brief, brief
from ..data.drawn_scenes import Scene, scene
from ..images.clustering import METRICS, segment
from ..maps.forward_pass import capture
from ..text.evidence_words import Evidence
from ..text.summarizing import Summary, summarize
from ..types import Capture, ExplanationMaps

Maker = Callable[..., ExplanationMaps]
"""Called as ``make(capture, tokens=indices)``: `ultra_kit.explain` and the baselines, or a `functools.partial` of one."""

Reader = Callable[..., Evidence]
"""Called as ``read(summary, words=indices)``: a `functools.partial` of `ultra_kit.evidence`."""

MEASURES = {
    "AP": metrics.average_precision,
    "pointing": metrics.pointing_game,
    "energy": metrics.energy_inside,
}


def object_tokens(
    s: Scene, grid: tuple[int, int], *, per_object: int | None = None, smallest: int = 4
) -> tuple[np.ndarray, np.ndarray]:
    """Pick tokens that lie in an object, with the truth of their maps.

    Parameters
    ----------
    s : Scene
    grid : tuple of int
        (h, w) of the patches; a patch belongs to the object that most of its pixels show.
    per_object : int, optional
        As many tokens of each object, drawn by the scene's seed; all by default.
    smallest : int, default 4
        Objects of fewer patches are left out.

    Returns
    -------
    own : ndarray of shape (T,), int64
        Content indices (prefix tokens not counted), ascending.
    truth : ndarray of bool, shape (T, h * w)
        Row t: the patches of the object of token t.

    Examples
    --------
    >>> from ultra_kit.data import scene
    >>> own, truth = object_tokens(scene(0), (12, 12), per_object=2)
    >>> bool(truth[np.arange(len(own)), own].all())
    True
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
    """Score the maps of object tokens on scenes: how well they find the rest of the token's object.

    The token's own position is left out of every measure.

    Parameters
    ----------
    model : Backbone
    methods : mapping of str to callable
        Each is called as ``make(capture, tokens=indices)``.
    seeds : iterable of int
        Of `ultra_kit.data.scene`. Choose layers, scores and rules on other scenes.
    per_object : int, default 4
        Tokens of each object of four patches and more, the same for every method.
    progress : bool, default True
        Show a bar.

    Returns
    -------
    dict
        ``{method: {"AP": ..., "pointing": ..., "energy": ...}}``, means over all tokens, and the
        same for ``"chance"``: the object's share of the other patches.

    Raises
    ------
    ValueError
        If no scene has an object of four patches.

    Examples
    --------
    >>> import ultra_kit as uk
    >>> scores = measure_maps(uk.load("scenes"), {"ULTra": uk.explain}, [1, 2], per_object=1, progress=False)
    >>> sorted(scores)
    ['ULTra', 'chance']
    """
    rows: dict[str, list[np.ndarray]] = {}
    for s, cap in _captures(model, seeds, progress):
        own, truth = object_tokens(s, _grid(cap), per_object=per_object)
        if not len(own):
            continue
        for name, make in methods.items():
            content = make(cap, tokens=own + cap.layout.n_prefix).content
            rows.setdefault(name, []).append(np.stack([f(content, own, truth) for f in MEASURES.values()], 1))
        chance = metrics.prevalence(own, truth)
        rows.setdefault("chance", []).append(np.repeat(chance[:, None], len(MEASURES), 1))
    if not rows:
        raise ValueError("seeds must give at least one scene with an object of four patches, got none")
    return _means(rows)


def measure_segments(
    model: Any, methods: Mapping[str, Maker], seeds: Iterable[int], *, progress: bool = True
) -> dict[str, dict[str, float]]:
    """Mean IoU of segments cut from the maps, with the true number of segments given.

    Every method's maps go through the same clustering, once for each distance that
    `ultra_kit.segment` knows; the found segments of an image are matched one to one with the true
    ones, the ground among them (`ultra_kit.metrics.hungarian_miou`).

    Parameters
    ----------
    model, methods, seeds, progress
        As in `measure_maps`.

    Returns
    -------
    dict
        ``{method: {"cosine": mean IoU, "hellinger": mean IoU}}``, and for ``"ceiling"`` what labels
        constant on each patch can reach.

    Examples
    --------
    >>> import ultra_kit as uk
    >>> found = measure_segments(uk.load("scenes"), {"rollout": uk.baselines.rollout}, [1], progress=False)
    >>> 0 <= found["rollout"]["hellinger"] <= found["ceiling"]["hellinger"] <= 1
    True
    """
    rows: dict[str, list[list[float]]] = {}
    for s, cap in _captures(model, seeds, progress):
        ceiling = metrics.grid_ceiling(s.instances, _grid(cap))
        rows.setdefault("ceiling", []).append([ceiling] * len(METRICS))
        k = len(np.unique(s.instances))
        for name, make in methods.items():
            maps = make(cap, tokens=cap.layout.content)
            found = [segment(maps, n_segments=k, metric=metric).labels for metric in METRICS]
            rows.setdefault(name, []).append([metrics.hungarian_miou(f, s.instances) for f in found])
    return {name: dict(zip(METRICS, np.mean(v, axis=0).tolist(), strict=True)) for name, v in rows.items()}


def source_words(b: Brief, s: Summary) -> tuple[np.ndarray, np.ndarray]:
    """The words of a brief's summary that state a fact, with the truth of their evidence.

    Parameters
    ----------
    b : Brief
    s : Summary
        Of ``b.document``, its text the words of ``b.summary``.

    Returns
    -------
    words : ndarray of shape (T,), int64
        Indices into ``s.words``, ascending.
    truth : ndarray of bool, shape (T, document words)
        Row t: the document words from which word t must come.

    Raises
    ------
    ValueError
        If the summary is of another document or says something else.

    Examples
    --------
    >>> import ultra_kit as uk
    >>> b = uk.data.brief(0)
    >>> s = uk.summarize(uk.load("briefs", pretrained=False), b.document, summary=b.summary)
    >>> words, truth = source_words(b, s)
    >>> s.words[words[0]].text, [w.text for w, true in zip(s.document_words, truth[0]) if true]
    ('mudslide', ['mudslide', 'mudslide', 'mudslide', 'mudslide', 'mudslide'])
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
    """Score evidence on briefs: how well it finds the document words that a summary word comes from.

    The model reads each brief's true summary, whatever it would have written. Only words that state a
    fact are scored, and only on the words of the document, where a summary word's own position is not.

    Parameters
    ----------
    model : Backbone
    methods : mapping of str to callable
        Each is called as ``read(summary, words=indices)``.
    seeds : iterable of int
        Of `ultra_kit.data.brief`. Choose layers, scores and rules on other briefs.
    known : bool, default False
        Only words of which every token is the model's first choice: what a model gets wrong it did not
        make from the true source.
    progress : bool, default True
        Show a bar.

    Returns
    -------
    dict
        ``{method: {"AP": ..., "pointing": ..., "energy": ...}}``, means over all words, and the same
        for ``"chance"``: the true words' share of the document.

    Raises
    ------
    ValueError
        If there is no seed, or no word to score.

    Examples
    --------
    >>> import ultra_kit as uk
    >>> model = uk.load("briefs", pretrained=False)
    >>> scores = measure_evidence(model, {"ULTra": uk.evidence}, [1], progress=False)
    >>> sorted(scores)
    ['ULTra', 'chance']
    """
    rows: dict[str, list[np.ndarray]] = {}
    for b in map(brief, tqdm(list(seeds), unit="brief", disable=not progress)):
        s = summarize(model, b.document, summary=b.summary)
        words, truth = source_words(b, s)
        if known:
            kept = np.array([_known(s, int(w)) for w in words])
            words, truth = words[kept], truth[kept]
        if not len(words):
            continue
        # The measures leave out a position of each row: a column is put in front for it.
        own, true = np.zeros(len(words), np.int64), np.pad(truth, ((0, 0), (1, 0)))
        for name, read in methods.items():
            found = np.pad(read(s, words=words).matrix, ((0, 0), (1, 0)))
            rows.setdefault(name, []).append(np.stack([f(found, own, true) for f in MEASURES.values()], 1))
        rows.setdefault("chance", []).append(np.repeat(truth.mean(1)[:, None], len(MEASURES), 1))
    if not rows:
        raise ValueError("seeds must give at least one word to score, got none")
    return _means(rows)


def _captures(model: Any, seeds: Iterable[int], progress: bool) -> Iterable[tuple[Scene, Capture]]:
    for s in map(scene, tqdm(list(seeds), unit="scene", disable=not progress)):
        yield s, capture(model, s.image)


def _known(s: Summary, word: int) -> bool:
    """Whether every token of a summary word is the model's first choice."""
    at = s.positions(word)
    with torch.no_grad():
        chosen = s.capture.model.head(s.capture.latents[-1][torch.as_tensor(at)].detach()).argmax(-1)  # type: ignore[union-attr]
    return chosen.tolist() == [s.token_ids[p + 1 - s.span[0]] for p in at.tolist()]


def _means(rows: Mapping[str, list[np.ndarray]]) -> dict[str, dict[str, float]]:
    means = {name: np.nanmean(np.concatenate(parts), axis=0) for name, parts in rows.items()}
    return {name: dict(zip(MEASURES, mean.tolist(), strict=True)) for name, mean in means.items()}


def _grid(cap: Capture) -> tuple[int, int]:
    if cap.layout.grid is None:
        raise ValueError(f"the model must take images, got {cap.model.name!r} for {cap.layout.modality}")
    return cap.layout.grid
