"""Inputs captured one after the other, and what an atlas keeps of each: vectors of some tokens, and where they came from."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from joblib import Parallel, delayed
from joblib.parallel import get_active_backend
from PIL import Image
from torch import nn

from ..maps.explanation import explain
from ..maps.forward_pass import capture
from ..maps.planning import finite
from ..models.loading import load_once
from ..models.open_image import image_files
from ..models.text_image_backbone import TextAligned
from ..types import Backbone, Capture, ExplanationMaps, Progress, Settings, UltraError
from ..types.checks import one_of, whole_number
from ..types.one_thread import one_thread
from ..types.progress import reporting
from ..types.wording import layers_said
from ..types.workers import end_with, this_process
from .placed_input import PlacedInput

STRONGEST = 16
"""Entries of a token's map that are kept."""


@dataclass(frozen=True)
class Wanted:
    """What to keep of each input; the fields are options of `ultra_kit.embed`."""

    layer: int | tuple[int, ...] | None
    by: str
    since: int | None
    tokens: int | float | None
    seed: int
    maps: bool
    phrases: tuple[str, ...]

    def __post_init__(self) -> None:
        one_of("by", self.by, ("latent", "map"))
        whole_number("seed", self.seed, 0)
        if not (self.tokens is None or isinstance(self.tokens, float)):
            whole_number("tokens", self.tokens, 1, None, ", a number for each input, or a share of them")


@dataclass(frozen=True)
class Rows:
    """What is kept of one input at a layer: arrays with a row for each of T tokens, and one word for each where there are words."""

    tokens: np.ndarray
    vectors: np.ndarray
    input: PlacedInput
    layer: int
    mapped: tuple[np.ndarray, np.ndarray] | None
    words: list[str] | None
    card: Mapping[str, Any]


def collect(
    inputs: Any, model: str | Backbone | nn.Module | None, wanted: Wanted, progress: bool | Progress | None
) -> list[list[Rows]]:
    """The rows of each input in order, layer by layer; inputs are taken from an iterator as workers get free, and let go."""
    if isinstance(inputs, (str, os.PathLike)) and os.path.isdir(inputs):
        inputs = image_files(inputs)
    single = isinstance(inputs, (Capture, str, os.PathLike, np.ndarray, Image.Image))
    sources: Iterable[Any] = [inputs] if single else inputs
    if not isinstance(sources, Iterable):
        said = type(inputs).__name__
        raise TypeError(
            f"embed takes captures, or inputs and a model: embed(images, model); got {said} first"
        )
    total = len(sources) if isinstance(sources, Sized) else 0
    # Not every backend hands results over one by one; with those the bar moves at the end.
    streams = get_active_backend()[0].supports_return_generator
    parallel = Parallel(return_as="generator" if streams else "list")
    found: list[list[Rows]] = []
    with reporting(progress, total, "embed: capture", "inputs") as report:
        for rows in parallel(_tasks(sources, model, wanted)):
            found.append(rows)
            report(1)
    if not found:
        raise ValueError("embed needs at least one input, got none; of a folder it takes the images")
    makers = {(maker_said(r), r[0].card["model"].get("weights_sha256")) for r in found}
    if len(makers) > 1:
        names = ", ".join(sorted(name for name, _ in makers))
        raise ValueError(f"all tokens of an atlas must come from one model, at the same layers, got {names}")
    return found


def layer_of(rows: list[Rows]) -> int | tuple[int, ...]:
    """The layer of an input's rows, or all of theirs."""
    return rows[0].layer if len(rows) == 1 else tuple(r.layer for r in rows)


def maker_said(rows: list[Rows]) -> str:
    """The model and the layers that an input's rows come from."""
    return f"{rows[0].card['model']['name']} {layers_said(layer_of(rows))}"


def _tasks(sources: Iterable[Any], model: Any, wanted: Wanted) -> Iterator[Any]:
    for index, x in enumerate(sources):
        if isinstance(x, Capture):  # its graph can't travel to another process
            yield delayed(_as_it_is)(rows_of(x, index, wanted))
        elif model is None:
            raise TypeError(f"embed needs model= to capture inputs, or captures; got {type(x).__name__}")
        else:
            yield delayed(_captured)(x, index, model, wanted, this_process())


def _as_it_is(rows: list[Rows]) -> list[Rows]:
    return rows


def _captured(
    x: Any, index: int, model: str | Backbone | nn.Module, wanted: Wanted, caller: tuple[str, int]
) -> list[Rows]:
    end_with(caller)
    with one_thread():
        return rows_of(capture(load_once(model) if isinstance(model, str) else model, x), index, wanted)


def rows_of(cap: Capture, index: int, wanted: Wanted, tokens: np.ndarray | None = None) -> list[Rows]:
    """What is kept of a capture, the input of number `index`, layer by layer; of the `tokens` wanted, or of these."""
    chosen = _chosen(cap, index, wanted) if tokens is None else tokens
    asked = wanted.layer if isinstance(wanted.layer, tuple) else (wanted.layer,)
    layers = {cap.layer_index(Settings.of(cap.model).layer if k is None else k): k for k in asked}
    if len(layers) != len(asked) or not asked:
        raise ValueError(f"layer must name at least one layer and none twice, got {wanted.layer}")
    placed, found = PlacedInput.of(cap), []
    words = [placed.word(t).strip().lower() for t in chosen] if placed.text else None
    words = _nearest_phrases(cap, chosen, wanted.phrases) if wanted.phrases else words
    for layer in sorted(layers):
        z = finite(cap, layer, f"input {index}, ")
        maps, vectors = None, F.normalize(z[chosen].float(), dim=-1).cpu().numpy()
        if wanted.maps or wanted.by == "map":
            # None is passed on: `since` is the model's own only where the layer is.
            maps = explain(cap, layer=layers[layer], tokens=chosen, since=wanted.since, progress=False)
            vectors = made_from(cap, maps) if wanted.by == "map" else vectors
        rows = Rows(
            tokens=chosen.astype(np.int32),
            vectors=vectors.astype(np.float16),
            input=placed,
            layer=layer,
            mapped=_strongest(maps) if wanted.maps and maps is not None else None,
            words=words,
            card={key: cap.card[key] for key in ("model", "dtype", "device") if key in cap.card},
        )
        found.append(rows)
    return found


def _chosen(cap: Capture, index: int, wanted: Wanted) -> np.ndarray:
    if wanted.tokens is None or isinstance(wanted.tokens, float):
        return cap.token_indices(wanted.tokens)
    rng, content = np.random.default_rng([wanted.seed, index]), cap.layout.content
    return np.sort(rng.choice(content, min(wanted.tokens, len(content)), replace=False))


def made_from(cap: Capture, maps: ExplanationMaps) -> np.ndarray:
    """The mean of the tokens that each was made from, unit latents of layer `since` weighted by its map: unit vectors (T, D)."""
    of = F.normalize(cap.latents[maps.since].detach()[cap.layout.n_prefix :].float(), dim=-1).cpu()
    return F.normalize(torch.from_numpy(_others(maps)) @ of, dim=-1).numpy()


def _others(maps: ExplanationMaps) -> np.ndarray:
    """The maps over the content positions, zero at each token's own: (T, n_content)."""
    values, own = maps.content.copy(), maps.tokens - maps.layout.n_prefix
    values[np.arange(len(own)), own] = 0
    return values


def _strongest(maps: ExplanationMaps) -> tuple[np.ndarray, np.ndarray]:
    """Positions (T, K) of the largest entries of the others, and their shares of the largest."""
    values = _others(maps)
    order = np.argsort(-values, axis=1, kind="stable")[:, :STRONGEST]
    weights = np.take_along_axis(values, order, axis=1)
    weights = weights / np.maximum(weights[:, :1], np.float32(1e-30))
    short = STRONGEST - order.shape[1]  # of a text with fewer tokens
    order, weights = (np.pad(a, ((0, 0), (0, max(short, 0)))) for a in (order, weights))
    return (order + maps.layout.n_prefix).astype(np.int32), weights.astype(np.float32)


def _nearest_phrases(cap: Capture, tokens: np.ndarray, phrases: tuple[str, ...]) -> list[str]:
    """Of each token the phrase that its last latent is nearest to, where the model has a text tower."""
    if not isinstance(cap.model, TextAligned):
        raise UltraError(f"phrases need a model whose patches share a space with texts, not {cap.model.name}")
    with torch.no_grad():
        found = F.normalize(cap.model.project(cap.latents[-1][tokens]), dim=-1)
        return [phrases[i] for i in (found @ cap.model.encode_text(phrases).T).argmax(dim=-1).tolist()]
