"""What a page is told of an `Embedding`: quantised points, ways to colour them, the inputs with one sheet of pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from math import ceil
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from ..atlas import Embedding, PlacedInput
from .map_books import quantise

LEVELS = 65535
_SHEET_PIXELS = 6_000_000  # of all pictures together: about 1 MB as WebP


class Way(NamedTuple):
    """A way to colour: `values` (M,) number classes ("classes"), levels of 255 ("ramp") or places ("place"); -1 for none."""

    key: str
    title: str
    kind: str
    code: str  # the array in Python
    values: np.ndarray
    names: Sequence[str] = ()  # of the classes
    python: Sequence[str] = ()  # what the array's entries equal
    none: str = "none"
    low: str = ""
    high: str = ""


def ways(emb: Embedding, truth: Mapping[str, Any]) -> dict[str, Way]:
    """The ways to colour an embedding, by key: cluster, input, position, and each array of `truth`."""
    clusters = [str(k) for k in range(emb.n_clusters)]
    titles = [name or k for name, k in zip([*emb.names, *clusters[len(emb.names) :]], clusters, strict=True)]
    inputs = [str(i) for i in range(len(emb.inputs))]
    names = [name_of(emb, i) for i in range(len(emb.inputs))]
    found = [
        Way("cluster", "cluster", "classes", "emb.labels", emb.labels, titles, clusters, "noise"),
        Way("input", "input", "classes", "emb.source[:, 0]", emb.source[:, 0], names, inputs),
        _positions(emb),
        *(_of_array(key, np.asarray(values), len(emb)) for key, values in truth.items()),
    ]
    if twice := [way.key for way in found[:3] if way.key in truth]:
        raise ValueError(f"{twice[0]} is a way to colour already; name the array of truth otherwise")
    return {way.key: way for way in found}


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
        return Way(key, key, "ramp", key, levels, low=f"{low:.3g}", high=f"{high:.3g}")
    kinds, numbers = np.unique(values, return_inverse=True)
    shift = int(len(kinds) > 0 and np.issubdtype(kinds.dtype, np.signedinteger) and kinds[0] == -1)
    kinds = kinds[shift:].tolist()
    return Way(key, key, "classes", key, numbers - shift, [str(k) for k in kinds], [repr(k) for k in kinds])


def _positions(emb: Embedding) -> Way:
    """Row and column of a patch, 4 bits each; of a text how far in it a token stands."""
    where = np.full(len(emb), -1)
    images = all(one.layout.grid for one in emb.inputs)
    for i, (number, token) in enumerate(emb.source.tolist()):
        layout = emb.inputs[number].layout
        cell = token - layout.n_prefix
        if cell >= 0 and images:
            (h, w), (row, column) = layout.grid, divmod(cell, layout.grid[1])
            where[i] = 16 * round(15 * row / max(h - 1, 1)) + round(15 * column / max(w - 1, 1))
        elif cell >= 0:
            where[i] = 255 * cell // max(layout.n_content - 1, 1)
    if images:
        return Way("position", "position", "place", "", where)
    return Way("position", "position", "ramp", "", where, low="beginning", high="end of the text")


def places(points: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Points (M, 2) as uint16, with the corner (2,) and the step: they are corner + step * places, rounded.

    >>> q, corner, step = places(np.array([[0, 1], [2, 1.5]]))
    >>> q.tolist(), corner.tolist(), step * 65535
    ([[0, 0], [65535, 16384]], [0.0, 1.0], 2.0)
    """
    points = np.asarray(points, np.float64)
    corner = points.min(axis=0, initial=np.inf) if len(points) else np.zeros(2)
    step = float((points - corner).max(initial=0)) / LEVELS or 1 / LEVELS
    return np.rint((points - corner) / step).astype("<u2"), corner, step


def _rgb(colours: np.ndarray) -> np.ndarray:
    return np.rint(255 * colours).astype(np.uint8)


def page_of(emb: Embedding, found: Mapping[str, Way]) -> dict[str, Any]:
    """The entries of a page, without the colours that all views share."""
    from ..plots.atlas_figures import class_colours, place_colours

    q, corner, step = places(emb.points)
    cells = np.arange(256)
    paints = []
    for way in found.values():
        counts = np.bincount(way.values[way.values >= 0], minlength=len(way.names))[: len(way.names)]
        paints.append({**way._asdict(), "values": None, "colours": _rgb(class_colours(counts)).tolist()})
    positions, weights = emb.mapped or (np.zeros((len(emb), 0), np.int64), np.zeros((len(emb), 0)))
    sheet, side, columns, sizes = _sheet(emb.inputs)
    return {
        "places": q.tobytes(),
        "corner": corner.tolist(),
        "step": step,
        "source": emb.source.astype("<u2").tobytes(),
        "inputs": [{"name": name_of(emb, i), **_about(one, sizes[i])} for i, one in enumerate(emb.inputs)],
        "sheet": sheet,
        "sheet_cells": [side, columns],
        "holders": positions.astype("<u2").tobytes(),
        "shares": (quantise(weights)[0] if weights.size else weights.astype(np.uint8)).tobytes(),
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
