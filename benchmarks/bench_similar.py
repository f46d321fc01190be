"""Do eyes find eyes in other photographs? `python benchmarks/bench_similar.py --data faces_afw`.

Faces are cut out of AFW's photographs at about twice the box of their 68 points, the cut moved at random so that an eye is not
always at the same place. A token on the middle of each eye is looked for in all other faces: right are the tokens at most one
beside the middle of an eye. Measures: average precision over all tokens of all other faces, and the share of eyes among the 12
nearest, two at most of a face, as `ultra_kit.atlas.similar` shows them.

By latent; by map, the tokens that each was made from through one block (as `ultra_kit.embed` has it); by the pixels of the patch, or of it and
the eight round it; by the place in the picture alone. Layers are chosen by average precision among the first 20 faces and reported on the others.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from bench_like import LEFT, RIGHT, best
from PIL import Image
from real_data import Checkpoint, arguments, command, interval, paired, start, table
from tqdm.auto import tqdm

import ultra_kit as uk
from ultra_kit.atlas.collecting import made_from
from ultra_kit.types import Capture

K, PER_FACE = 12, 2


def moved_face(path: Path, margin: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A face cut out at `margin` times the box of its points, moved by up to a quarter of that, and the middles of its eyes."""
    rows = [line.split() for line in path.read_text().splitlines()]
    points = np.array([row for row in rows if len(row) == 2 and row[0][0].isdigit()], float) - 1
    image = Image.open(path.with_suffix(".jpg")).convert("RGB")
    low, high = points.min(0), points.max(0)
    half = margin * (high - low) / 2
    middle = (low + high) / 2 + np.random.default_rng([seed, int(path.stem.split("_")[0])]).uniform(
        -0.5, 0.5, 2
    ) * half
    x0, y0 = np.maximum(0, middle - half).astype(int)
    x1, y1 = np.minimum(image.size, middle + half).astype(int)
    eyes = np.stack([points[RIGHT].mean(0), points[LEFT].mean(0)]) - (x0, y0)
    return np.asarray(image.crop((x0, y0, x1, y1))), eyes


def pixels(cap: Capture, around: int) -> np.ndarray:
    """The pixels of each patch and of `around` patches on each side, the mean of each patch's surroundings taken away."""
    values = cap.inputs["pixel_values"][0].numpy()
    h, w = cap.layout.grid
    side = values.shape[1] // h
    padded = np.pad(values, ((0, 0), *[(around * side,) * 2] * 2), mode="edge")
    across = (1 + 2 * around) * side
    cut = [
        padded[:, y * side : y * side + across, x * side : x * side + across].ravel()
        for y in range(h)
        for x in range(w)
    ]
    found = np.stack(cut)
    return found - found.mean(1, keepdims=True)


def place(cap: Capture) -> np.ndarray:
    """Vectors whose cosine falls with the distance of two places in the picture."""
    h, w = cap.layout.grid
    y, x = np.divmod(np.arange(h * w), w)
    angles = np.stack([(y + 0.5) / h, (x + 0.5) / w], 1) * np.pi
    return np.concatenate([np.cos(angles), np.sin(angles)], 1)


def vectors(cap: Capture) -> dict[str, np.ndarray]:
    """Family and layer, and a unit vector for every patch, float16."""
    found = {
        "by the pixels of the patch: 0": pixels(cap, 0),
        "by the pixels of 3 x 3 patches: 0": pixels(cap, 1),
    }
    found["by the place alone: 0"] = place(cap)
    for layer in range(1, cap.n_layers + 1):
        found[f"by latent: {layer}"] = cap.tokens(layer)[cap.layout.n_prefix :]
        if layer > 1:
            maps = uk.explain(cap, layer=layer, since=-1, score="norm", rule="positive", progress=False)
            found[f"by map (what it was made from): {layer}"] = made_from(cap, maps)
    return {n: (v / np.linalg.norm(v, axis=1, keepdims=True)).astype(np.float16) for n, v in found.items()}


def measure(faces: list[dict[str, Any]], name: str) -> list[list[float]]:
    """Of each eye of each face: average precision, and the share of eyes among the nearest."""
    every = np.concatenate([f["vectors"][name] for f in faces]).astype(np.float32)
    right = np.concatenate([f["near"] for f in faces])
    owner = np.repeat(np.arange(len(faces)), [len(f["near"]) for f in faces])
    found = []
    for k, f in enumerate(faces):
        for token in f["tokens"]:
            order = np.argsort(-(every @ f["vectors"][name][token].astype(np.float32)), kind="stable")
            order = order[owner[order] != k]
            hits = right[order]
            ap = float((np.cumsum(hits) / np.arange(1, len(hits) + 1))[hits].mean())
            left, got = dict.fromkeys(range(len(faces)), PER_FACE), []
            for i in order:
                if left[owner[i]]:
                    left[owner[i]] -= 1
                    got.append(right[i])
                if len(got) == K:
                    break
            found.append([ap, float(np.mean(got))])
    return found


def read(model: Any, paths: list[Path], a: Any) -> list[dict[str, Any]]:
    """The vectors of every face, its eyes' tokens, and which tokens are an eye."""
    faces = []
    for path in tqdm(paths, desc="faces"):
        image, eyes = moved_face(path, a.margin, a.seed)
        height, width = image.shape[:2]
        if not all(0 <= x < width and 0 <= y < height for x, y in eyes):
            continue
        cap = uk.capture(model, image)
        h, w = cap.layout.grid
        tokens = [cap.layout.token_at(x, y) - cap.layout.n_prefix for x, y in eyes]
        y, x = np.divmod(np.arange(h * w), w)
        near = np.any([(abs(y - t // w) <= 1) & (abs(x - t % w) <= 1) for t in tokens], axis=0)
        faces.append({"vectors": vectors(cap), "tokens": tokens, "near": near})
    return faces


def main() -> None:
    """Measure what the checkpoint lacks, and print."""
    parser = arguments(__doc__ or "", "similar.jsonl", "folder with .jpg and .pts of AFW")
    parser.add_argument(
        "--margin", type=float, default=2.2, help="side of a cut, in boxes of the face's points"
    )
    parser.add_argument("--choose", type=int, default=20, help="faces on which layers are chosen")
    a = parser.parse_args()
    done = Checkpoint(
        a.checkpoint, {"model": a.model, "seed": a.seed, "margin": a.margin, "choose": a.choose}
    )
    paths = sorted(a.data.glob("*.pts"))
    if not a.report:
        model = start(a.model)
        for split, some in (("choose", paths[: a.choose]), ("report", paths[a.choose :])):
            if split not in done:
                faces = read(model, some, a)
                found = {name: measure(faces, name) for name in faces[0]["vectors"]}
                chance = float(np.concatenate([f["near"] for f in faces]).mean())
                done[split] = {"faces": len(faces), "chance": chance, "found": found}
    chosen = best({n: float(np.mean([r[0] for r in rows])) for n, rows in done["choose"]["found"].items()})
    rows, measured = [], done["report"]["found"]
    ours = np.array(measured[chosen["by latent"]])
    groups = np.repeat(np.arange(done["report"]["faces"]), 2)
    for family, name in sorted(chosen.items(), key=lambda kv: -np.mean(measured[kv[1]], axis=0)[0]):
        ap, share = np.array(measured[name]).T
        less = interval(paired(ours[:, 1], share, groups)) if family != "by latent" else ""
        layer = name.rsplit(": ", 1)[1]
        rows.append([family, layer if layer != "0" else "", f"{ap.mean():.3f}", f"{share.mean():.2f}", less])
    rows.append(["chance", "", f"{done['report']['chance']:.3f}", f"{done['report']['chance']:.2f}", ""])
    print(f"\nEyes of {done['report']['faces']} faces, layer chosen on {done['choose']['faces']} others:\n")
    print(table(["", "layer", "average precision", f"eyes among the {K} nearest", "by latent less it"], rows))
    curve = {n: np.mean(r, axis=0).round(3).tolist() for n, r in measured.items() if not n.endswith(": 0")}
    print("\nEvery layer, average precision and eyes among the nearest:", curve)
    print(f"\n{command()}")


if __name__ == "__main__":
    main()
