"""Damaged files and odd arguments by the thousand: each gives a result that is right, or an error of ours.

A case is drawn from ``default_rng([SEED, number of its kind, number of the case])``, so that one that fails can be had again alone:
``python benchmarks/bench_hard.py --kind "stored maps" --first 17 --cases 1``.
"""

from __future__ import annotations

import io
import json
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image
from scipy.io import savemat
from toys_models import own_model

import ultra_kit as uk
from ultra_kit.data.dataset import read_labels, read_rgb
from ultra_kit.data.official_layouts import _read_annotators
from ultra_kit.models.open_image import open_image
from ultra_kit.runs.transform import Transform

SEED, LIMIT = 20261126, 30.0
"""Seconds after which a case is a hang."""
TYPED = (uk.UltraError, ValueError, TypeError)
LAYOUT = uk.types.Layout("image", n_prefix=1, grid=(2, 3), size=(20, 30))
PIXELS = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
ODD: list[Any] = [
    *(
        None,
        True,
        -1,
        0,
        1,
        2,
        7,
        10**9,
        2**63,
        -(2**63),
        0.5,
        -0.0,
        float("nan"),
        float("inf"),
        1e308,
        3 + 4j,
    ),
    *(
        "",
        "norm",
        "positive",
        "a\0b",
        "\ud800",
        "../..",
        "9" * 400,
        b"bytes",
        [],
        [[]],
        [1, [2]],
        (),
        {},
        {"a": 1},
        set(),
        object(),
    ),
    *(
        [0],
        [1, 4],
        [-1],
        [99],
        [1.5],
        ["1"],
        [None],
        [[1, 2], [3]],
        (3, 4),
        [(3, 4)],
        [(3, -4)],
        [(np.nan, 1)],
        (1, 2, 9, 9),
        (9, 9, 1, 2),
    ),
    *(
        np.zeros(0),
        np.zeros(16),
        np.ones(16),
        np.full(16, np.nan),
        np.ones((2, 16)),
        np.ones((16, 16)),
        np.array("x"),
        np.array(2),
        np.arange(6),
    ),
]
"""What no argument should be, and some that it may be."""


def damaged(whole: bytes, rng: np.random.Generator) -> bytes:
    """Bits flipped, a piece cut out, doubled, zeroed or put in from anywhere, or the end missing."""
    data = bytearray(whole)
    for _ in range(int(rng.integers(1, 4))):
        a = int(rng.integers(len(data) + 1))
        b = min(len(data), a + int(2 ** rng.uniform(0, 8)))
        how = int(rng.integers(6))
        if how == 0 and a < len(data):
            data[a] ^= 1 << int(rng.integers(8))
        elif how == 1:
            del data[a:b]
        elif how == 2:
            data[a:a] = data[a:b]
        elif how == 3:
            data[a:b] = bytes(b - a)
        elif how == 4:
            data[a:b] = rng.bytes(b - a)
        else:
            del data[a:]
    return bytes(data)


def damaged_json(tree: Any, rng: np.random.Generator) -> Any:
    """A tree of JSON with one of its parts replaced, left out or renamed."""
    plain = [
        None,
        True,
        -1,
        0,
        3,
        1e300,
        "",
        "x",
        [],
        {},
        [[]],
        {"array": "values"},
        {"tuple": 3},
        {"type": "Layout", "fields": {}},
    ]
    if isinstance(tree, dict) and tree and rng.random() < 0.8:
        key = list(tree)[int(rng.integers(len(tree)))]
        how = rng.random()
        rest = {k: v for k, v in tree.items() if k != key}
        return (
            rest
            if how < 0.1
            else {**rest, key + "x": tree[key]}
            if how < 0.2
            else {**tree, key: damaged_json(tree[key], rng)}
        )
    if isinstance(tree, list) and tree and rng.random() < 0.8:
        i = int(rng.integers(len(tree)))
        return [*tree[:i], damaged_json(tree[i], rng), *tree[i + 1 :]]
    return plain[int(rng.integers(len(plain)))]


@cache
def stored(kind: str) -> bytes:
    """A whole file of each kind."""
    maps = uk.types.ExplanationMaps(
        np.random.default_rng(0).random((6, 7), np.float32), np.arange(1, 7), 2, LAYOUT, input=PIXELS
    )
    buffer, folder = io.BytesIO(), Path(__import__("tempfile").mkdtemp())
    if kind in ("maps", "segments"):
        return uk.save(maps if kind == "maps" else uk.segment(maps), folder / "a.npz").read_bytes()
    if kind == "w":
        return (
            Transform(np.eye(4, dtype=np.float32), 2, np.zeros((1, 2), np.float32))
            .save(folder / "w.safetensors")
            .read_bytes()
        )
    if kind.startswith("mat"):
        cell = np.empty((1, 1), object)
        cell[0, 0] = {"Segmentation": np.ones((5, 4), np.uint16)}
        savemat(buffer, {"groundTruth": cell}, do_compression=kind == "mat")
    elif kind == "notebook":
        cells = [
            new_markdown_cell("# Title\n\n$x_1$ and ![a](b.png)"),
            new_code_cell("1", outputs=[new_output("display_data", {"text/html": "<b>1</b>"})]),
        ]
        return nbformat.writes(new_notebook(cells=cells)).encode()
    else:
        Image.fromarray(PIXELS).save(buffer, kind)
    return buffer.getvalue()


def result(kind: str, rng: np.random.Generator, folder: Path) -> Callable[[], None]:
    path = folder / "a.npz"
    if rng.random() < 0.5:
        path.write_bytes(damaged(stored(kind), rng))
    else:
        with np.load(io.BytesIO(stored(kind))) as held:
            arrays = dict(held)
        text = json.dumps(damaged_json(json.loads(str(arrays.pop("card"))), rng))
        np.savez_compressed(path, card=np.array(text), **arrays)

    def call() -> None:
        obj = uk.open(path)
        if isinstance(obj, uk.types.ExplanationMaps):
            assert (
                obj.values.shape == (len(obj.tokens), obj.layout.n_tokens) and np.isfinite(obj.values).all()
            )
            repr(obj), obj.without_own
        elif isinstance(obj, uk.images.Segmentation):
            assert obj.labels.shape == obj.layout.size and repr(obj)

    return call


def w_file(rng: np.random.Generator, folder: Path) -> Callable[[], None]:
    path = folder / "w.safetensors"
    path.write_bytes(damaged(stored("w"), rng))

    def call() -> None:
        assert (Transform.load(path).matrix == np.eye(4)).all()

    return call


def picture(rng: np.random.Generator, folder: Path) -> Callable[[], None]:
    kind = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")[int(rng.integers(7))]
    path, read = folder / "a.png", (open_image, read_rgb, read_labels)[int(rng.integers(3))]
    path.write_bytes(damaged(stored(kind), rng))

    def call() -> None:
        found = read(path)
        assert found.ndim == (2 if read is read_labels else 3) and (
            read is read_labels or found.dtype == np.uint8
        )

    return call


def mat(rng: np.random.Generator, folder: Path, kind: str = "mat") -> Callable[[], None]:
    path = folder / "a.mat"
    path.write_bytes(damaged(stored(kind), rng))
    return lambda: [t.shape for t in _read_annotators(path)] and None


def notebook(rng: np.random.Generator, folder: Path) -> Callable[[], None]:
    path = folder / "a.ipynb"
    whole = stored("notebook")
    path.write_bytes(
        damaged(whole, rng)
        if rng.random() < 0.5
        else json.dumps(damaged_json(json.loads(whole), rng)).encode()
    )
    return lambda: uk.export_html(path, folder / "a.html") and None


def code(rng: np.random.Generator, folder: Path) -> Callable[[], None]:
    how = int(rng.integers(3))
    numbers = [int(n) for n in rng.integers(-3, 40, int(rng.integers(0, 6)))]
    odd = lambda: ODD[int(rng.integers(len(ODD)))]  # noqa: E731
    counts = (
        numbers
        if how == 0
        else "".join(map(chr, rng.integers(40, 120, int(rng.integers(0, 12)))))
        if how == 1
        else odd()
    )
    size = [int(n) for n in rng.integers(0, 9, 2)] if rng.random() < 0.8 else odd()
    given = {"size": size, "counts": counts} if rng.random() < 0.95 else odd()

    def call() -> None:
        mask = uk.images.from_rle(given)
        assert mask.dtype == bool and list(mask.shape) == [int(n) for n in given["size"]]

    return call


@cache
def capture() -> Any:
    return uk.capture(own_model(), PIXELS)


def arguments(rng: np.random.Generator, folder: Path) -> Callable[[], None]:
    cap, odd = capture(), lambda: ODD[int(rng.integers(len(ODD)))]
    few = {"layer": 2, "tokens": [1, 4]}

    def some(names: str) -> dict[str, Any]:
        return {name: odd() for name in names.split() if rng.random() < 0.3}

    def explained(**given: Any) -> None:
        maps = uk.explain(cap, **(few | given))
        assert np.isfinite(maps.values).all() and (maps.values >= 0).all() and maps.values.shape[1] == 6

    calls = (
        (
            "layer tokens score rule towards transform since chunk_size max_memory",
            lambda given: explained(**given),
        ),
        (
            "layer tokens score rule towards transform since chunk_size max_memory",
            lambda given: uk.plan(cap, **(few | given)),
        ),
        ("layer tokens score rule since", lambda given: uk.maps.head_shares(cap, **(few | given))),
        ("layer tokens", lambda given: uk.baselines.rollout(cap, **given)),
        ("layer tokens seed", lambda given: uk.baselines.random_map(cap, **given)),
        (
            "layer tokens score rule towards",
            lambda given: uk.baselines.gradient_x_input(cap, **(few | given)),
        ),
        (
            "threshold n_segments metric method size",
            lambda given: uk.segment(uk.explain(cap, layer=1), **given),
        ),
        (
            "points unwanted box text threshold combine refine connected",
            lambda given: uk.select(cap, **({"points": [(5, 5)]} | given)),
        ),
        ("x", lambda given: uk.capture(cap.model, given.get("x"))),
        ("x y", lambda given: cap.layout.token_at(given.get("x", 1), given.get("y", 1))),
        ("token", lambda given: cap.layout.center_of(given.get("token", 1))),
        ("share", lambda given: cap.layout.spread(given.get("share", 0.5))),
        ("mask", lambda given: uk.images.to_rle(given.get("mask"))),
        ("obj path", lambda given: uk.save(given.get("obj"), given.get("path", folder / "x.npz"))),
        ("path", lambda given: uk.open(given.get("path", folder / "none.npz"))),
        ("source grid size n_prefix", lambda given: uk.load(given.pop("source", None), **given)),
    )
    names, call = calls[int(rng.integers(len(calls)))]
    given = some(names)
    return lambda: call(given) and None


KINDS: dict[str, tuple[float, Callable[[np.random.Generator, Path], Callable[[], None]]]] = {
    "stored maps": (0.2, lambda rng, folder: result("maps", rng, folder)),
    "stored segments": (0.1, lambda rng, folder: result("segments", rng, folder)),
    "W files": (0.1, w_file),
    "images and masks": (0.25, picture),
    "MATLAB truths": (0.05, mat),
    "run-length codes": (0.1, code),
    "notebooks": (0.02, notebook),
    "arguments": (0.15, arguments),
    "MATLAB, unpacked": (0.03, lambda rng, folder: mat(rng, folder, "mat, unpacked")),
}
"""Share of the cases, and what makes one: from a generator and an empty folder to the call that is tried."""


def tried(kind: str, number: int, folder: Path) -> tuple[str, str]:
    """What comes of one case: "result", "typed", "untyped", "wrong" or "hang", and the traceback of the last three."""
    rng = np.random.default_rng([SEED, list(KINDS).index(kind), number])
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        call = KINDS[kind][1](rng, folder)
        try:
            call()
            found = "result", ""
        except AssertionError:
            found = "wrong", traceback.format_exc()
        except TYPED as error:
            found = ("typed", "") if str(error).strip() else ("untyped", "an error without a word")
        except Exception:
            found = "untyped", traceback.format_exc()
    return ("hang", f"{kind} {number}") if time.perf_counter() - start > LIMIT else found


def run(kind: str, first: int, cases: int, folder: Path) -> tuple[Counter[str], list[str]]:
    """Counts of what came of the cases, and what to look at."""
    counts: Counter[str] = Counter()
    shown = []
    for number in range(first, first + cases):
        what, said = tried(kind, number, folder)
        counts[what] += 1
        if what in ("untyped", "wrong", "hang"):
            shown.append(f"{kind}, case {number}: {what}\n{said}")
    return counts, shown
