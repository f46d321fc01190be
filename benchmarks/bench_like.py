"""What is like a token? `python benchmarks/bench_like.py --data VOC --faces faces_afw`.

Two answers. *Objects*: tokens of VOC objects (the folder VOC holds VOCdevkit), whose truth is every patch of the same
class; average precision, pointing and energy inside, as `ultra_kit.metrics` has them, the own position left out. Each
method's layer is chosen by average precision on photographs of "train". *Both eyes*: faces cut out at twice the box of
their 68 points (AFW's .pts); a token on the middle of one eye, and the rank of the token on the middle of the other
among all others, best 1. Layers are chosen by the mean percentile on the first 20 faces; faces whose eyes are nearer
than two tokens are left out.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from real_data import Checkpoint, arguments, command, interval, paired, some_of, start, table
from scipy.stats import rankdata
from tqdm.auto import tqdm

import ultra_kit as uk
from ultra_kit.maps import baselines
from ultra_kit.maps.explanation import make_maps
from ultra_kit.metrics import average_precision, energy_inside, patch_labels, pointing_game, prevalence
from ultra_kit.types import Capture, ExplanationMaps

MEASURES = {"AP": average_precision, "pointing": pointing_game, "energy": energy_inside}
SMALLEST = 4
ULTRA = (8, 9, 10, 11, 12)
RIGHT, LEFT = slice(36, 42), slice(42, 48)


def nearness(cap: Capture, *, layer: int, tokens: np.ndarray) -> ExplanationMaps:
    """Nearness to the token, no model."""
    y, x = np.divmod(np.arange(cap.layout.n_content), cap.layout.grid[1])
    at = tokens - cap.layout.n_prefix
    near = 1 / (1 + np.hypot(y[at, None] - y, x[at, None] - x))
    values = np.pad(near, ((0, 0), (cap.layout.n_prefix, 0)))
    return make_maps(cap, values, tokens, layer, method="nearness")


def families(
    ultra_layers: tuple[int, ...], n_layers: int
) -> dict[str, dict[int, Callable[..., ExplanationMaps]]]:
    """Family -> layer -> maps of tokens."""
    explain = partial(uk.explain, score="norm", rule="positive", progress=False)
    found: dict[str, dict[int, Callable[..., ExplanationMaps]]] = {
        "ULTra": {k: partial(explain, layer=k, since=0) for k in ultra_layers},
        "ULTra, last block alone": {k: partial(explain, layer=k, since=-1) for k in range(2, n_layers + 1)},
    }
    for name, make in (
        ("raw attention", baselines.raw_attention),
        ("attention rollout", baselines.rollout),
        ("latent cosine", baselines.cosine),
    ):
        found[name] = {k: partial(make, layer=k) for k in range(1, n_layers + 1)}
    found["nearness, no model"] = {0: partial(nearness, layer=0)}
    found["random"] = {0: partial(baselines.random_map, layer=0)}
    return found


def object_rows(cap: Capture, truth: np.ndarray, a: Any, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Content indices of tokens of each class in the photograph, and all patches of their class."""
    label = patch_labels(truth, cap.layout.grid).ravel()
    rng = np.random.default_rng([a.seed, index])
    cells = [np.flatnonzero(label == k) for k in np.unique(label) if k > 0]
    own = [rng.choice(c, min(a.tokens, len(c)), replace=False) for c in cells if len(c) >= SMALLEST]
    picked = np.concatenate([np.zeros(0, int), *own])
    return picked, label[picked][:, None] == label


def objects(model: Any, data: Any, split: str, count: int, made: dict, a: Any, done: Checkpoint) -> None:
    """Measures of every token by every method."""
    for index in tqdm(some_of(data, count, a.seed), desc=f"objects, {split}"):
        key = f"objects {split} {data.items[index].name}"
        if key in done:
            continue
        sample = data[index]
        cap = uk.capture(model, sample.image)
        own, truth = object_rows(cap, sample.truth, a, index)
        found = {}
        if len(own):
            for name, make in made.items():
                maps = make(cap, tokens=own + cap.layout.n_prefix).content
                found[name] = {
                    m: measure(maps, own, truth).round(5).tolist() for m, measure in MEASURES.items()
                }
            found["chance: 0"] = dict.fromkeys(MEASURES, prevalence(own, truth).round(5).tolist())
        done[key] = found


def face(path: Path, margin: float) -> tuple[np.ndarray, np.ndarray]:
    """A face cut out at `margin` times the box of its points, and the middles of its eyes in it, (2, 2) of (x, y)."""
    rows = [line.split() for line in path.read_text().splitlines()]
    points = (
        np.array([row for row in rows if len(row) == 2 and row[0][0].isdigit()], float) - 1
    )  # counted from 1
    image = Image.open(path.with_suffix(".jpg")).convert("RGB")
    low, high = points.min(0), points.max(0)
    half = margin * (high - low) / 2
    x0, y0 = np.maximum(0, (low + high) / 2 - half).astype(int)
    x1, y1 = np.minimum(image.size, (low + high) / 2 + half).astype(int)
    eyes = np.stack([points[RIGHT].mean(0), points[LEFT].mean(0)]) - (x0, y0)
    return np.asarray(image.crop((x0, y0, x1, y1))), eyes


def eyes(model: Any, paths: list[Path], made: dict, a: Any, done: Checkpoint) -> None:
    """Percentile and rank of the other eye by every method; None where the eyes are too near."""
    for path in tqdm(paths, desc="faces"):
        key = f"face {path.stem}"
        if key in done:
            continue
        image, middles = face(path, a.margin)
        cap = uk.capture(model, image)
        tokens = np.array([cap.layout.token_at(x, y) for x, y in middles])
        own, other = tokens - cap.layout.n_prefix, tokens[::-1] - cap.layout.n_prefix
        y, x = np.divmod(own, cap.layout.grid[1])
        apart = float(np.hypot(*(np.diff(y), np.diff(x))[::-1])[0])
        found: dict[str, Any] = {"apart": apart, "others": cap.layout.n_content - 1, "ranks": {}}
        if apart >= 2:
            for name, make in made.items():
                ranks = []
                for row, i, j in zip(make(cap, tokens=tokens).content, own, other, strict=True):
                    values = np.delete(-row.astype(float), i)
                    ranks.append(float(rankdata(values)[j - (j > i)]))
                found["ranks"][name] = ranks
        done[key] = found


def best(rows: dict[str, float]) -> dict[str, str]:
    """The best choice of every family; names are "family: layer"."""
    found: dict[str, str] = {}
    for name in sorted(rows, key=lambda n: -rows[n]):
        found.setdefault(name.rsplit(":", 1)[0], name)
    return found


def object_means(done: Checkpoint, split: str) -> tuple[dict[str, dict[str, np.ndarray]], np.ndarray]:
    rows = {k: v for k, v in done.done.items() if k.startswith(f"objects {split} ") and v}
    names = next(iter(rows.values()))
    found = {
        n: {m: np.concatenate([r[n][m] for r in rows.values()]) for m in MEASURES}
        for n in names
        if all(n in r for r in rows.values())
    }
    return found, np.concatenate([[k] * len(r["chance: 0"]["AP"]) for k, r in rows.items()])


def chosen_objects(done: Checkpoint) -> dict[str, str]:
    return best({n: float(np.nanmean(r["AP"])) for n, r in object_means(done, "train")[0].items()})


def report_objects(done: Checkpoint) -> None:
    chosen = chosen_objects(done)
    found, groups = object_means(done, "val")
    ours = found[chosen["ULTra"]]
    ok = ~np.isnan(ours["AP"])
    print(f"\nObjects: {ok.sum()} tokens of {len(set(groups))} photographs of val, layer chosen on train:\n")
    rows = []
    for family, name in sorted(chosen.items(), key=lambda kv: -np.nanmean(found[kv[1]]["AP"])):
        row = found[name]
        less = (
            interval(paired(ours["AP"][ok], row["AP"][ok], groups[ok]))
            if family not in ("ULTra", "chance")
            else ""
        )
        layer = name.rsplit(": ", 1)[1]
        rows.append(
            [family, layer if layer != "0" else "", *(f"{np.nanmean(row[m]):.3f}" for m in MEASURES), less]
        )
    print(table(["method", "layer", *MEASURES, "AP of ULTra less it"], rows))


def percentiles(rows: list[dict], name: str) -> np.ndarray:
    """Share of the other tokens that rank below the other eye, of all tokens of all faces."""
    return np.array([1 - (r - 1) / (f["others"] - 1) for f in rows for r in f["ranks"][name]])


def report_eyes(done: Checkpoint, first: int) -> None:
    faces = [v for k, v in sorted(done.done.items()) if k.startswith("face ")]
    choosing, testing = ([f for f in part if f["ranks"]] for part in (faces[:first], faces[first:]))
    names = choosing[0]["ranks"]
    chosen = best({n: float(percentiles(choosing, n).mean()) for n in names})
    apart = np.mean([f["apart"] for f in testing])
    groups = np.repeat(np.arange(len(testing)), 2)
    print(
        f"\nBoth eyes: {2 * len(testing)} tokens of {len(testing)} faces, eyes {apart:.1f} tokens apart, layer chosen on {len(choosing)} others:\n"
    )
    rows = []
    for family, name in sorted(chosen.items(), key=lambda kv: -percentiles(testing, kv[1]).mean()):
        ranks = np.array([r for f in testing for r in f["ranks"][name]])
        share, layer = percentiles(testing, name), name.rsplit(": ", 1)[1]
        top = np.mean([r <= 0.01 * f["others"] for f in testing for r in f["ranks"][name]])
        less = (
            interval(paired(percentiles(testing, chosen["ULTra"]), share, groups))
            if family != "ULTra"
            else ""
        )
        rows.append(
            [
                family,
                layer if layer != "0" else "",
                f"{np.median(ranks):.0f}",
                f"{top:.2f}",
                f"{share.mean():.3f}",
                less,
            ]
        )
    head = [
        "method",
        "layer",
        "median rank",
        "in the top 1 %",
        "mean percentile",
        "percentile of ULTra less it",
    ]
    print(table(head, rows))


def main() -> None:
    parser = arguments(__doc__ or "", "like.jsonl", "folder that holds VOCdevkit")
    parser.add_argument("--faces", type=Path, required=True, help="folder with .jpg and .pts of AFW")
    parser.add_argument("--photographs", type=int, default=120, help="of val")
    parser.add_argument("--choose", type=int, default=25, help="photographs of train")
    parser.add_argument("--tokens", type=int, default=3, help="of each class in a photograph")
    parser.add_argument(
        "--margin", type=float, default=2.0, help="side of a face's cut, in boxes of its points"
    )
    parser.add_argument("--choose-faces", type=int, default=20)
    a = parser.parse_args()
    options = {"model": a.model, "seed": a.seed, "tokens": a.tokens, "margin": a.margin}
    done = Checkpoint(a.checkpoint, options)
    if not a.report:
        model = start(a.model)
        flat = {
            f"{f}: {k}": make
            for f, made in families(ULTRA, model.n_blocks).items()
            for k, make in made.items()
        }
        train, val = (uk.data.PascalVOC2012(a.data, split) for split in ("train", "val"))
        eyes(model, sorted(a.faces.glob("*.pts")), flat, a, done)
        objects(model, train, "train", a.choose, flat, a, done)
        chosen = {name: flat[name] for name in chosen_objects(done).values() if name in flat}
        objects(model, val, "val", a.photographs, chosen, a, done)
    report_objects(done)
    report_eyes(done, a.choose_faces)
    print(f"\n{command()}")


if __name__ == "__main__":
    main()
