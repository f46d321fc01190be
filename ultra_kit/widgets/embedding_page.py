"""What a page is told of an `Embedding`: quantised points, ways to colour them, the inputs with one sheet of pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from math import ceil
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from ..atlas import Embedding, PlacedInput
from ..types.wording import layers_said
from .map_books import quantise

LEVELS = 65535
ALIKE = 6
"""Inputs whose most alike token is shown with a point."""
_MOST_PRODUCTS = 40_000_000_000  # up to which a page holds the most alike of all points: some seconds
_SHEET_PIXELS = 6_000_000  # of all pictures together: about 1 MB as WebP


class Way(NamedTuple):
    """A way to colour: `values` (M,) number classes ("classes"), levels of 255 ("ramp") or places ("place"); -1 for none."""

    key: str
    kind: str
    code: str  # the array in Python
    values: np.ndarray
    names: Sequence[str] = ()  # of the classes
    python: Sequence[str] = ()  # what the array's entries equal
    none: str = "none"
    scale: str = ""  # from what to what a ramp runs


def apart(*atlases: Embedding) -> list[str]:
    """What tells two atlases of the same tokens apart, in words, such as ["by latent", "by map"]; [""] for one."""
    held = [(e.source.tolist(), [(x.sha256, x.name, x.text) for x in e.inputs]) for e in atlases]
    if held[0] != held[-1]:
        raise ValueError(
            f"beside must hold the same tokens of the same inputs in the same order, got {atlases[-1]} beside "
            f"{atlases[0]}; embed the same inputs with the same tokens= and seed="
        )
    said = [(layers_said(e.layer), f"by {e.by}", e.method, f"seed {e.seed}") for e in atlases]
    differ = [k for k in range(4) if said[0][k] != said[-1][k]]
    if len(atlases) > 1 and not differ:
        raise ValueError("beside must be another atlas: of another layer, by, method or seed; got the same")
    return [", ".join(texts[k] for k in differ) for texts in said]


def ways(emb: Embedding, truth: Mapping[str, Any], **beside: Embedding) -> dict[str, Way]:
    """The ways to colour an embedding, by key: cluster, input, position, clusters of those beside it, layer (of several), arrays of `truth`."""
    inputs = [str(i) for i in range(len(emb.inputs))]
    names = [name_of(emb, i) for i in range(len(emb.inputs))]
    own = [
        _clusters("cluster", "emb.labels", emb),
        Way("input", "classes", "emb.source[:, 0]", emb.source[:, 0], names, inputs),
        _positions(emb),
        *(_clusters(f"cluster {title}", "beside.labels", one) for title, one in beside.items()),
    ]
    if isinstance(emb.layer, tuple):
        numbers, values = [str(layer) for layer in emb.layer], np.searchsorted(emb.layer, emb.layers)
        own.append(Way("layer", "classes", "emb.layers", values, [f"layer {k}" for k in numbers], numbers))
    found = [*own, *(_of_array(key, np.asarray(values), len(emb)) for key, values in truth.items())]
    if twice := [way.key for way in own if way.key in truth]:
        raise ValueError(f"{twice[0]} is a way to colour already; name the array of truth otherwise")
    return {way.key: way for way in found}


def _clusters(key: str, code: str, emb: Embedding) -> Way:
    numbers = [str(k) for k in range(emb.n_clusters)]
    names = [name or k for name, k in zip([*emb.names, *numbers[len(emb.names) :]], numbers, strict=True)]
    return Way(key, "classes", code, emb.labels, names, numbers, "noise")


def name_of(emb: Embedding, number: int) -> str:
    """The name of an input, or its number."""
    return emb.inputs[number].name or f"input {number}"


def _of_array(key: str, values: np.ndarray, m: int) -> Way:
    if values.shape != (m,):
        raise ValueError(
            f"{key} must be one value for each of the {m} points, got an array of shape {values.shape}"
        )
    if np.issubdtype(values.dtype, np.floating):
        known = np.isfinite(values)
        low, high = (values[known].min(), values[known].max()) if known.any() else (0.0, 1.0)
        levels = np.full(m, -1)
        levels[known] = np.rint(255 * (values[known] - low) / (high - low or 1))
        return Way(key, "ramp", key, levels, scale=f"{low:.3g} to {high:.3g}")
    kinds, numbers = np.unique(values, return_inverse=True)
    shift = int(len(kinds) > 0 and np.issubdtype(kinds.dtype, np.signedinteger) and kinds[0] == -1)
    kinds = kinds[shift:].tolist()
    return Way(key, "classes", key, numbers - shift, [str(k) for k in kinds], [repr(k) for k in kinds])


def _positions(emb: Embedding) -> Way:
    """Row and column of a patch, 4 bits each; of a text how far in it a token stands."""
    from ..plots.atlas_figures import positions

    rows, columns = positions(emb).T
    kind, values, scale = "ramp", 255 * columns, "beginning to end of the text"
    if all(one.layout.grid for one in emb.inputs):
        kind, values, scale = "place", 16 * np.rint(15 * rows) + np.rint(15 * columns), ""
    known = np.where(columns < 0, -1, np.rint(values)).astype(int)
    return Way("position", kind, "", known, scale=scale)


def places(points: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Points (M, 2) as uint16, with the corner (2,) and the step: they are corner + step * places, rounded.

    >>> q, corner, step = places(np.array([[0, 1], [2, 1.5]]))
    >>> q.tolist(), corner.tolist(), step * 65535
    ([[0, 0], [65535, 16384]], [0.0, 1.0], 2.0)
    """
    points = np.asarray(points, np.float64)
    corner = points.min(axis=0)
    step = float((points - corner).max(initial=0)) / LEVELS or 1 / LEVELS
    return np.rint((points - corner) / step).astype("<u2"), corner, step


def _rgb(colours: np.ndarray) -> np.ndarray:
    return np.rint(255 * colours).astype(np.uint8)


def most_alike(emb: Embedding, rows: np.ndarray) -> np.ndarray:
    """Of each of some rows (R,) those most alike in other inputs at its layer, (R, K): one of each input, the most alike first."""
    order = np.argsort(emb.source[:, 0], kind="stable")
    numbers, starts = np.unique(emb.source[order, 0], return_index=True)
    vectors, k = emb.vectors[order].astype(np.float32), min(ALIKE, len(numbers) - 1)
    found = np.zeros((len(rows), k), np.int64)
    for first in range(0, len(rows), 256):
        part = rows[first : first + 256]
        near = emb.vectors[part].astype(np.float32) @ vectors.T
        near[emb.layers[part][:, None] != emb.layers[order]] = -np.inf
        sides = np.split(near, starts[1:], axis=1)
        best = np.stack([side.max(axis=1) for side in sides], axis=1)
        best[emb.source[part, 0][:, None] == numbers] = -np.inf
        inputs = np.argsort(-best, axis=1, kind="stable")[:, :k]
        where = np.stack([side.argmax(axis=1) for side in sides], axis=1) + starts
        found[first : first + 256] = order[np.take_along_axis(where, inputs, axis=1)]
    return found


def page_of(atlases: Sequence[Embedding], found: Mapping[str, Way]) -> dict[str, Any]:
    """The entries of a page, without the colours that all views share: of the first, with the places and likes of each."""
    from ..plots.atlas_figures import class_colours, layer_colours, place_colours

    emb = atlases[0]
    q, corners, steps = zip(*(places(one.points) for one in atlases), strict=True)
    cells = np.arange(256)
    paints = []
    for way in found.values():
        counts = np.bincount(way.values[way.values >= 0], minlength=len(way.names))[: len(way.names)]
        shades = layer_colours(len(counts)) if way.code == "emb.layers" else class_colours(counts)
        paints.append({**way._asdict(), "values": None, "colours": _rgb(shades).tolist()})
    m = len(emb)
    few = m <= LEVELS and m * emb.vectors.size <= _MOST_PRODUCTS
    alike = np.stack([most_alike(one, np.arange(m if few else 0)) for one in atlases])
    positions, weights = emb.mapped or np.zeros((2, m, 0))
    sheet, side, columns, sizes = _sheet(emb.inputs)
    return {
        "places": np.stack(q).tobytes(),
        "corners": np.stack(corners).tolist(),
        "steps": steps,
        "source": emb.source.astype("<u2").tobytes(),
        "inputs": [{"name": name_of(emb, i), **_about(one, sizes[i])} for i, one in enumerate(emb.inputs)],
        "sheet": sheet,
        "sheet_cells": [side, columns],
        "holders": positions.astype("<u2").tobytes(),
        "shares": quantise(weights)[0].tobytes(),
        "alike": alike.astype("<u2").tobytes(),
        "paints": paints,
        "places_lut": _rgb(place_colours(cells // 16 / 15, cells % 16 / 15)).tobytes(),
        "paint_values": np.stack([way.values for way in found.values()]).astype("<i2").tobytes(),
    }


def _about(one: PlacedInput, size: list[int]) -> dict[str, Any]:
    if one.layout.grid is None:
        return {"text": one.text, "words": [[w.start, w.end, list(w.tokens)] for w in one.words]}
    return {"grid": one.layout.grid, "n_prefix": one.layout.n_prefix, "size": size}


def _sheet(inputs: Sequence[PlacedInput]) -> tuple[bytes, int, int, list[list[int]]]:
    """All pictures in the square cells of one WebP: its bytes, a cell's side, the columns, and [height, width] of each."""
    n, largest = max(len(inputs), 1), [max(one.picture.shape) for one in inputs if one.picture is not None]
    side, columns = min(int((_SHEET_PIXELS / n) ** 0.5), max(largest, default=1)), ceil(n**0.5)
    sheet, sizes = Image.new("RGB", (columns * side, ceil(n / columns) * side)), []
    for i, one in enumerate(inputs):
        picture = Image.new("RGB", (side, side)) if one.picture is None else Image.fromarray(one.picture)
        picture.thumbnail((side, side))
        sheet.paste(picture, (i % columns * side, i // columns * side))
        sizes.append([picture.height, picture.width])
    if not largest:
        return b"", side, columns, sizes
    buffer = BytesIO()
    sheet.save(buffer, "WEBP", quality=80)
    return buffer.getvalue(), side, columns, sizes
