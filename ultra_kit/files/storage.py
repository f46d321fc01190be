"""Results as files: one .npz with the arrays and a provenance card as JSON; pickles and unknown types are refused."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np

from ..types import Layout, UltraError
from ..types.checks import whole_numbers
from ..types.provenance import versions
from ..types.whole_file import whole_file

# A file with a higher number is refused.
FORMAT = 1
# Unpacked size above which a file is refused before it is read.
MAX_BYTES = 4 * 2**30
_MOST = 10**7
"""Tokens of one input."""
# Dataclasses that may be stored: their room, and the shapes their arrays must have. A new result needs a line here.
TYPES: dict[str, tuple[str, Callable[[Any], dict[str, Any]]]] = {
    "Layout": ("types", lambda layout: {}),
    "ExplanationMaps": ("types", lambda maps: {"values": (len(maps.tokens), maps.layout.n_tokens)}),
    "Segmentation": (
        "images",
        lambda seg: {
            **{"labels": seg.layout.size, "linkage": (max(len(seg.tokens) - len(seg.constant) - 1, 0), 4)},
            **dict.fromkeys(("clusters", "maps"), (len(seg.tokens),)),
        },
    ),
    "Selection": ("images", lambda sel: {"mask": sel.layout.size, "relevance": sel.layout.size}),
    "Evidence": ("text", lambda ev: {"matrix": (len(ev.rows), len(ev.document_words))}),
    "PlacedInput": ("atlas", lambda placed: {}),
    "Embedding": ("atlas", lambda emb: {}),  # checks its shapes itself
}

_POSITIVE = ("values", "matrix", "relevance", "scaled")
_TABLES = {"model", "explanation", "segmentation", "selection", "summary", "embedding"}
"""Of a card."""


def save(obj: Any, path: str | os.PathLike[str]) -> Path:
    """Write a result to one .npz file, with its provenance card inside.

    Parameters
    ----------
    obj : ExplanationMaps, Segmentation, Selection, Evidence or Embedding
    path : str or path-like
        Ends with ``.npz``; an existing file is replaced, and only once the new one is complete.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    TypeError, ValueError, UltraError
        If something in the object is neither array nor JSON; the path ends otherwise or a number in the card is
        NaN or infinite; the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> import ultra_kit as uk
    >>> maps = uk.explain(uk.capture(uk.load("scenes"), uk.data.scene(0).image), layer=3, tokens=[20, 30])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     uk.open(uk.save(maps, f"{folder}/maps.npz"))
    ExplanationMaps(2 tokens x 148 positions, layer 3, ultra, norm, positive)
    """
    if type(obj).__name__ not in TYPES or not is_dataclass(obj):
        raise TypeError(f"save takes {', '.join(TYPES)}; got {type(obj).__name__}")
    target = Path(path)
    if target.suffix != ".npz":
        raise ValueError(f"path must end with .npz, got {str(path)!r}")
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
    """Read back what `save` wrote, equal to the last bit, without running anything that the file brings.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    ExplanationMaps, Segmentation, Selection, Evidence or Embedding

    Raises
    ------
    UltraError
        If there is no such file, or one that `save` did not write, damaged, or of more than 4 GiB once unpacked.

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
        if type(obj).__name__ not in TYPES:
            raise TypeError(f"it holds a {type(obj).__name__}")
    except Exception as error:  # the tree may be anything that JSON can say
        raise UltraError(f"cannot open {path}: its card does not fit its arrays ({error!r})") from None
    return obj


def read_document(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The JSON document of a file (format, library versions, tree of fields) and its arrays; UltraError as `open`."""
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"a stored file is needed, got {type(path).__name__}: save(result, path) first")
    path = Path(path)
    if not os.path.isfile(path):  # Path.is_file() raises for a name that is too long
        raise UltraError(
            f"cannot open {path}: {'it is a folder' if os.path.isdir(path) else 'there is no such file'}"
        )
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > MAX_BYTES:
            raise UltraError(f"cannot open {path}: it unpacks to {size} bytes, the limit is {MAX_BYTES}")
        with np.load(path, allow_pickle=False) as loaded:
            if "card" not in loaded:
                raise ValueError("it has no provenance card")
            arrays = {name: loaded[name] for name in loaded.files}
        document = json.loads(str(arrays.pop("card")[()]))
        number = document["format"]
        json.dumps(document, allow_nan=False)  # `save` writes no NaN
    except UltraError:
        raise
    except Exception as error:  # one changed bit may raise anything that zlib, zipfile, numpy and json know
        raise UltraError(f"cannot open {path}: not a file of ultra_kit.save, or damaged ({error})") from None
    if number != FORMAT:
        raise UltraError(f"cannot open {path}: its format is {number}, ultra_kit reads {FORMAT}; update it")
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
        places = {f.name: f"{name}.{f.name}".lstrip(".") for f in fields(value)}
        parts = {field: _pack(getattr(value, field), place, arrays) for field, place in places.items()}
        return {"type": kind, "fields": parts}
    raise TypeError(f"{name or 'the result'} must be made of arrays and JSON, got {kind}")


def _unpack(tree: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """What `_pack` packed."""
    if isinstance(tree, list):
        return [_unpack(item, arrays) for item in tree]
    if not isinstance(tree, dict):
        return tree
    if "array" in tree:
        array = arrays[tree["array"]]
        if array.dtype.kind not in "biuf" or not np.isfinite(array).all():
            raise ValueError(f"{tree['array']} must hold finite numbers")
        return array
    if "tuple" in tree:
        return tuple(_unpack(item, arrays) for item in tree["tuple"])
    if "dict" in tree:
        return {key: _unpack(item, arrays) for key, item in tree["dict"].items()}
    made = getattr(import_module(f"ultra_kit.{TYPES[tree['type']][0]}"), tree["type"])
    obj = made(**{key: _unpack(item, arrays) for key, item in tree["fields"].items()})
    _check(obj)
    return obj


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is what a field's annotation says, and all that lies in it."""
    kind, inside = get_origin(hint) or hint, get_args(hint)
    kinds: Any = (float, int) if kind is float else kind
    if isinstance(hint, UnionType):
        return any(_fits(value, one) for one in inside)
    if hint is Any or not isinstance(value, kinds):
        return hint is Any
    if kind is dict:
        return all(_fits(item, inside[1]) for item in value.values())
    each = inside[:1] * len(value) if inside[1:] == (...,) else inside
    return kind is not tuple or (len(each) == len(value) and all(map(_fits, value, each)))


def _check(obj: Any) -> None:
    """Refuse, as a TypeError or ValueError, fields that no result of `save` has: kinds, shapes, places and numbers."""
    for name, hint in get_type_hints(type(obj)).items():
        if not _fits(value := getattr(obj, name), hint):
            raise TypeError(f"{name} must be {hint}, got {value!r:.80}")
        if name in _POSITIVE and (value < 0).any():
            raise ValueError(f"{name} must not be negative")
    for name in _TABLES & getattr(obj, "card", {}).keys():
        if not isinstance(obj.card[name], Mapping):
            raise TypeError(f"{name} of the card must be a table, got {obj.card[name]!r:.80}")
    for name, shape in TYPES[type(obj).__name__][1](obj).items():
        if (found := getattr(obj, name).shape)[: len(shape)] != tuple(shape):
            raise ValueError(f"{name} of shape {found} for {tuple(shape)}")
    for kind in ("", "document_") if hasattr(obj, "sentences") else ():
        spans = getattr(obj, f"{kind}sentences")
        edges = [0, *(end for _, end in spans)]
        if spans != tuple(pairwise(edges)) or edges != sorted({*edges, len(getattr(obj, f"{kind}words"))}):
            raise ValueError(f"{kind}sentences must be all words, each once and in order, got {spans!r:.80}")
    below = {"rows": len(getattr(obj, "words", ()))}
    layout = getattr(obj, "layout", None)
    if isinstance(obj, Layout):
        if not 0 <= obj.n_prefix <= obj.n_tokens <= _MOST:
            raise ValueError(f"{obj.n_prefix} prefix tokens of {obj.n_tokens} cannot be")
        if obj.modality == "image" and not (obj.grid and obj.size and min(obj.grid + obj.size) > 0):
            raise ValueError(f"grid and size must be positive, got {obj.grid} and {obj.size}")
    elif layout:
        below |= dict.fromkeys(("tokens", "unwanted_tokens", "constant"), layout.n_tokens)
        below |= {"labels": (k := getattr(obj, "n_segments", 0)), "clusters": k + 1}
        for group in getattr(obj, "groups", None) or ():
            whole_numbers("a group", group, layout.n_tokens)
    for name, n in below.items():
        if (places := np.ravel(getattr(obj, name, ()))).size:
            whole_numbers(name, places, n)
    if layout is None:
        return
    kept = getattr(obj, "input", None)
    if kept is not None and layout.modality == "image":
        if not isinstance(kept, np.ndarray) or kept.dtype != np.uint8 or kept.shape != (*layout.size, 3):  # type: ignore[misc]
            raise ValueError("the input must be the image itself, of the layout's size")
    elif kept is not None and not isinstance(kept, str):
        raise TypeError("the input must be the text itself")
