"""Results as files: one .npz with the arrays and a provenance card.

A file holds arrays and JSON only. Opening one runs no code that it brings: pickles are refused, and
only the result types listed here are made from it.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from ..types import UltraError
from ..types.provenance import versions
from ..types.whole_file import whole_file

FORMAT = 1
"""Number of the file format; a file with a higher one is refused."""

TYPES = {
    "Layout": "types",
    "ExplanationMaps": "types",
    "Segmentation": "images",
    "Selection": "images",
    "Evidence": "text",
}
"""Dataclasses that may be stored, and their room. A new result type needs only a line here."""

MAX_BYTES = 4 * 2**30
"""Unpacked size above which a file is refused before it is read."""


def save(obj: Any, path: str | os.PathLike[str]) -> Path:
    """Write a result to one .npz file, with its provenance card inside.

    Parameters
    ----------
    obj : ExplanationMaps, Segmentation or another result of `TYPES`
    path : str or path-like
        Ends with ``.npz``; an existing file is replaced, and only once the new one is complete.

    Returns
    -------
    pathlib.Path
        Where it lies.

    Raises
    ------
    TypeError
        If the object, or something in its card, cannot be stored as arrays and JSON.
    ValueError
        If the path does not end with ``.npz``, or a number in the card is NaN or infinite.
    UltraError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> import ultra_kit as uk
    >>> layout = uk.types.Layout("image", n_prefix=0, grid=(1, 2), size=(8, 16))
    >>> maps = uk.types.ExplanationMaps(np.eye(2, dtype="float32"), np.arange(2), 0, layout)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     uk.open(uk.save(maps, f"{folder}/maps.npz"))
    ExplanationMaps(2 tokens x 2 positions, layer 0, ultra, norm, positive)
    """
    target = Path(path)
    if target.suffix != ".npz":
        raise ValueError(f"path must end with .npz, got {str(path)!r}")
    if type(obj).__name__ not in TYPES or not is_dataclass(obj):
        raise TypeError(f"save takes {', '.join(TYPES)}; got {type(obj).__name__}")
    arrays: dict[str, np.ndarray] = {}
    document = {
        "format": FORMAT,
        "made_with": versions("timm", "transformers"),
        "object": _pack(obj, "", arrays),
    }
    try:
        text = json.dumps(document, allow_nan=False)
    except ValueError as error:
        raise ValueError(f"the card must hold finite numbers only: {error}") from None
    with whole_file(target) as partial:
        np.savez_compressed(partial, allow_pickle=False, card=np.array(text), **arrays)  # type: ignore[arg-type]
    return target


def open(path: str | os.PathLike[str]) -> Any:
    """Read back what `save` wrote.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    ExplanationMaps, Segmentation or another result of `TYPES`
        Equal to what was saved, to the last bit.

    Raises
    ------
    UltraError
        If there is no such file, or it was not written by `save`, is damaged, holds pickled
        objects or an unknown type, or unpacks to more than `MAX_BYTES`.

    Examples
    --------
    >>> import ultra_kit as uk
    >>> uk.open("nowhere.npz")
    Traceback (most recent call last):
    ...
    ultra_kit.UltraError: cannot open nowhere.npz: there is no such file
    """
    document, arrays = read_document(path)
    try:
        obj = _unpack(document["object"], arrays)
        problem = _inconsistency(obj)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UltraError(f"cannot open {path}: its card does not fit its arrays ({error!r})") from None
    if problem:
        raise UltraError(f"cannot open {path}: {problem}")
    return obj


def read_document(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The JSON document and the arrays of a file, as they lie in it.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    document : dict
        ``format``, ``made_with`` (library versions) and ``object`` (the tree of fields).
    arrays : dict of str to ndarray

    Raises
    ------
    UltraError
        As `open`.
    """
    path = Path(path)
    if not path.is_file():
        raise UltraError(f"cannot open {path}: there is no such file")
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > MAX_BYTES:
            raise UltraError(f"cannot open {path}: it unpacks to {size} bytes, the limit is {MAX_BYTES}")
        with np.load(path, allow_pickle=False) as loaded:
            arrays = {name: loaded[name] for name in loaded.files}
        document = json.loads(str(arrays.pop("card")[()]))
        number = document["format"]
    except (OSError, EOFError, zipfile.BadZipFile, KeyError, TypeError, ValueError) as error:
        raise UltraError(
            f"cannot open {path}: not a file that ultra_kit.save wrote, or damaged ({error})"
        ) from None
    if number != FORMAT:
        raise UltraError(
            f"cannot open {path}: its format is {number}, this version reads {FORMAT}; update ultra_kit"
        )
    return document, arrays


def _pack(value: Any, name: str, arrays: dict[str, np.ndarray]) -> Any:
    """A value as JSON; arrays are put aside and named by their place."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        if value.dtype.hasobject:
            raise TypeError(f"{name or 'the result'} must be an array of numbers, got dtype {value.dtype}")
        arrays[name] = value
        return {"array": name}
    if isinstance(value, Mapping):
        return {"dict": {str(key): _pack(item, f"{name}.{key}", arrays) for key, item in value.items()}}
    if isinstance(value, (tuple, list)):
        items = [_pack(item, f"{name}.{i}", arrays) for i, item in enumerate(value)]
        return {"tuple": items} if isinstance(value, tuple) else items
    kind = type(value).__name__
    if kind in TYPES and is_dataclass(value):
        parts = {f.name: getattr(value, f.name) for f in fields(value)}
        return {
            "type": kind,
            "fields": {k: _pack(v, f"{name}.{k}".lstrip("."), arrays) for k, v in parts.items()},
        }
    raise TypeError(f"{name or 'the result'} must be made of arrays and JSON, got {kind}")


def _unpack(tree: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """What `_pack` packed."""
    if isinstance(tree, list):
        return [_unpack(item, arrays) for item in tree]
    if not isinstance(tree, dict):
        return tree
    if "array" in tree:
        return arrays[tree["array"]]
    if "tuple" in tree:
        return tuple(_unpack(item, arrays) for item in tree["tuple"])
    if "dict" in tree:
        return {key: _unpack(item, arrays) for key, item in tree["dict"].items()}
    made = getattr(import_module(f"ultra_kit.{TYPES[tree['type']]}"), tree["type"])
    return made(**{key: _unpack(item, arrays) for key, item in tree["fields"].items()})


def _inconsistency(obj: Any) -> str:
    """What is wrong with an object's shapes, in words; empty if nothing is."""
    if hasattr(obj, "matrix"):
        shape = (len(obj.rows), len(obj.document_words))
        return "" if obj.matrix.shape == shape else f"{obj.matrix.shape} relevance of {shape} words"
    layout = obj.layout
    if hasattr(obj, "values") and obj.values.shape != (len(obj.tokens), layout.n_tokens):
        return f"{obj.values.shape} values for {len(obj.tokens)} tokens of {layout.n_tokens} positions"
    if hasattr(obj, "labels") and obj.labels.shape != tuple(layout.size):
        return f"{obj.labels.shape} labels for an image of {layout.size} pixels"
    if hasattr(obj, "mask") and hasattr(obj, "relevance"):
        shapes = {obj.mask.shape, obj.relevance.shape, tuple(layout.size)}
        return "" if len(shapes) == 1 else f"mask, relevance and image of different shapes: {sorted(shapes)}"
    return ""
