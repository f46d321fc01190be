"""Is a stored result still what its model says? Made again from its card and compared."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from ..atlas.embedding import Embedding
from ..atlas.placing import place_vectors
from ..images.clustering import segment
from ..images.segmentation import Segmentation
from ..images.selecting import select
from ..images.selection import Selection
from ..maps.explanation import explain
from ..maps.forward_pass import capture
from ..models.loading import BUNDLED, load
from ..text.evidence_words import Evidence
from ..text.summarizing import read_together
from ..text.tracing import evidence
from ..types import Backbone, Capture, ExplanationMaps, UltraError
from ..types.provenance import versions
from . import storage

_MOST = 200_000
"""Maps, each step of a method's counted, or points of an atlas, that are made again."""


@dataclass(frozen=True)
class Verification:
    """What `verify` found; true in a condition if the difference stayed within the tolerance.

    Attributes
    ----------
    same : bool
    difference, tolerance : float
        Maps and evidence: largest difference of two values, as a share of the largest value stored.
        Segments: share of the pixels that changed segment. Selections: that are in one mask only.
        Atlases: the larger of the two, for points and labels made again from the stored vectors.
    message : str
        The finding in one sentence, with what differs in the surroundings (weights, versions).
    """

    same: bool
    difference: float
    tolerance: float
    message: str

    def __bool__(self) -> bool:
        return self.same


def verify(path: str | os.PathLike[str], *, model: Any = None, tolerance: float = 1e-3) -> Verification:
    """Make a stored result again from its card and its stored input, and compare.

    No path, address or model is opened because the file names it: the input lies in the file, and the model is yours or
    one of the package's own.

    Parameters
    ----------
    path : str or path-like
        A file of `save`.
    model : str, nn.Module or Backbone, optional
        What `load` takes. Needed unless the card names a bundled model ("scenes", "photos", "briefs"), whose code and
        weights came with the package: a file that was sent may name whatever it likes, also what lies in your cache.
    tolerance : float
        Largest difference that counts as the same: the last digits of float32 sums differ between machines.

    Returns
    -------
    Verification

    Raises
    ------
    UltraError
        If the file cannot be opened, or the model, the input or an option cannot be had again.

    Examples
    --------
    >>> import tempfile
    >>> import ultra_kit as uk
    >>> maps = uk.explain(uk.capture(uk.load("scenes"), uk.data.scene(0).image), tokens=[30])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     bool(uk.verify(uk.save(maps, f"{folder}/maps.npz")))
    True
    """
    document, _ = storage.read_document(path)
    stored = storage.open(path)
    kind = type(stored).__name__
    if kind not in _REPLAYS:
        raise UltraError(f"cannot verify {path}: a {kind} cannot be made again from its card")
    if getattr(stored, "input", "texts of evidence") is None:
        raise UltraError(f"cannot verify {path}: the input is not in the file; save one that kept its input")
    used = load(_model_of(stored, path) if model is None else model)
    kept = "text" if isinstance(stored, Evidence) else getattr(stored, "layout", used).modality
    if used.modality != kept:
        raise UltraError(
            f"cannot verify {path}: its input is of the kind {kept!r}, and {used.name!r} takes the kind {used.modality!r}"
        )
    try:
        made = [len(getattr(stored, name, ())) for name in ("tokens", "rows", "points")]
        if (work := max(made) * stored.card.get("explanation", {}).get("n_steps", 1)) > _MOST:
            raise UltraError(f"it asks for {work} maps, steps or points, at most {_MOST} are made again")
        difference, notes = _REPLAYS[kind](stored, used), _changes(document, stored, used)
    except Exception as error:  # a card may say anything that JSON can
        said = error if isinstance(error, UltraError) else f"its card does not fit ({error!r})"
        raise UltraError(f"cannot verify {path}: {said}") from None
    same = bool(difference <= tolerance)
    finding = f"{'' if same else 'NOT '}the same: difference {difference:.2g}, tolerance {tolerance:.2g}"
    return Verification(same, difference, tolerance, "; ".join([finding, *notes]))


def _model_of(stored: Any, path: Any) -> str:
    """The bundled model that a card names; any other is refused."""
    named = stored.card.get("model")
    name = named.get("name") if isinstance(named, Mapping) else None
    if name not in tuple(BUNDLED):
        raise UltraError(
            f"cannot verify {path}: its model {name!r} is not loaded because a file names it, only those of this package "
            f"({', '.join(BUNDLED)}) are; if you know the model, pass it as model="
        )
    return name


def _changes(document: Mapping[str, Any], stored: Any, model: Backbone) -> list[str]:
    """What differs between the making and now, in words."""
    then, now = stored.card.get("model", {}), model.card()
    notes = [f"the model's {k} is another" for k in ("class", "weights_sha256") if then.get(k) != now.get(k)]
    made_with, here = document.get("made_with", {}), versions("timm", "transformers")
    return notes + [
        f"{k} was {made_with[k]!r}, is {v!r}" for k, v in here.items() if made_with.get(k, v) != v
    ]


def _explain_again(
    card: Mapping[str, Any], tokens: np.ndarray, x: Any, model: Backbone, groups: Any = None
) -> ExplanationMaps:
    made = card.get("explanation", {})
    missing = [key for key in ("towards", "transform") if made.get(key) not in (None, "own")]
    if missing or not made:
        raise UltraError(f"the maps were made with {' and '.join(missing) or 'options'} not in the file")
    if made["method"] != "ultra":
        raise UltraError(f"maps of method {made['method']!r} are not made again, only those of 'ultra'")
    how: dict[str, Any] = {key: made.get(key, 0) for key in ("layer", "score", "rule", "since")}
    if made.get("transform") == "own":
        how["transform"] = getattr(model, "own_transform", None)
    return explain(_capture_again(card, x, model), tokens=groups or tokens, **how)


def _capture_again(card: Mapping[str, Any], x: Any, model: Backbone) -> Capture:
    """The capture that a result was made from, in the dtype that its card names."""
    half = {"bfloat16": torch.bfloat16, "float16": torch.float16}
    return capture(model, x, dtype=half.get(card.get("dtype", "")))


def _replay_maps(stored: ExplanationMaps, model: Backbone) -> float:
    again = _explain_again(stored.card, stored.tokens, stored.input, model, stored.groups)
    return _relative(again.values, stored.values)


def _replay_evidence(stored: Evidence, model: Backbone) -> float:
    asked, made = dict(stored.card["summary"]), stored.card["explanation"]
    if "token_ids" not in asked or made.get("transform") is not None:
        raise UltraError("the evidence was made with a transform, or by an older version")
    del asked["own_settings"]
    how = {name: asked.pop(name) for name in ("at", "contrast")}
    kept = ("seed", "baseline", "n_steps", *(["since"] if stored.method == "ultra" else []))
    how |= {name: made[name] for name in kept if name in made}
    if stored.score != "none":
        how |= {"score": stored.score, "rule": stored.rule, "progress": False}
    s = read_together(model, stored.document, **asked)
    again = evidence(s, layer=stored.layer, words=stored.rows.tolist(), method=stored.method, **how)
    return _relative(again.matrix, stored.matrix)


def _relative(again: np.ndarray, stored: np.ndarray) -> float:
    """The largest difference as a share of the largest value stored; infinite for another shape."""
    if again.shape != stored.shape:
        return math.inf
    largest = float(np.abs(stored).max(initial=0)) or 1.0
    return float(np.abs(again - stored).max(initial=0)) / largest


def _replay_segments(stored: Segmentation, model: Backbone) -> float:
    made = stored.card["segmentation"]
    if 4 * len(stored.tokens) * math.prod(made["size"]) > storage.MAX_BYTES:
        raise UltraError(f"maps of size {made['size']} need more than {storage.MAX_BYTES} bytes")
    maps = _explain_again(stored.card, stored.tokens, stored.input, model)
    cut = {key: made[key] for key in ("threshold", "n_segments") if made[key] is not None}
    again = segment(
        maps, **cut, method=made["method"], metric=made.get("metric", "cosine"), size=tuple(made["size"])
    )
    for group in made.get("merged", [])[: len(stored.tokens)]:
        again = again.merge(*group)
    return _differing(again.labels, stored.labels)


def _replay_selection(stored: Selection, model: Backbone) -> float:
    made = stored.card["selection"]
    picked = np.concatenate([stored.tokens, stored.unwanted_tokens])
    few = made["combine"] == "difference" and made["box"] is None
    tokens = np.unique(picked) if few else stored.layout.content
    maps = _explain_again(stored.card, tokens, stored.input, model)
    maps = replace(maps, card={**maps.card, "model": stored.card["model"]})  # the settings of its day
    again = select(_capture_again(stored.card, stored.input, model), maps=maps, **made)
    return _differing(again.mask, stored.mask)


def _replay_embedding(stored: Embedding, model: Backbone) -> float:
    """Placed and clustered again from the stored vectors; of inputs only thumbnails are kept, so these aren't made again."""
    size = stored.card["embedding"]["min_cluster_size"]
    again = place_vectors(stored.vectors, stored.method, stored.seed, size)
    return max(_relative(again["points"], stored.points), _differing(again["labels"], stored.labels))


def _differing(a: np.ndarray, b: np.ndarray) -> float:
    """Share of the pixels that differ; infinite for another size."""
    return float((a != b).mean()) if a.shape == b.shape else math.inf


_REPLAYS: dict[str, Callable[[Any, Backbone], float]] = {
    "ExplanationMaps": _replay_maps,
    "Segmentation": _replay_segments,
    "Selection": _replay_selection,
    "Evidence": _replay_evidence,
    "Embedding": _replay_embedding,
}
