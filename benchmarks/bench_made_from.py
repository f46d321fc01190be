"""What is a latent made from? `python benchmarks/bench_made_from.py --data VOC` (the folder that holds VOCdevkit).

Deletion and insertion of the latent itself (`ultra_kit.runs.perturb`) on photographs of the split "val": patches are
taken away, or put in, in the order of each map, and the watched thing is the cosine of the explained latent to itself
in the whole photograph. Area under the curve: low is good for deletion, high for insertion. Intervals are paired and
draw whole photographs. The token's own patch never goes. With `--choose` photographs of "train", at the first of
`--layers` alone, the rule and the score of ULTra and the block that each baseline reads are tried.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from real_data import Checkpoint, arguments, command, interval, paired, some_of, start, table
from tqdm.auto import tqdm

import ultra_kit as uk
from ultra_kit.maps import baselines
from ultra_kit.runs.perturbing import perturb
from ultra_kit.types import Capture, ExplanationMaps

FRACTIONS = (0.0, 0.1, 0.3, 0.6, 1.0)
IG_STEPS = 8
Make = Callable[[Capture, int, np.ndarray], ExplanationMaps]


def ultra(cap: Capture, layer: int, tokens: np.ndarray, **options: Any) -> ExplanationMaps:
    given = {"score": "norm", "rule": "positive", "since": 0, **options}
    return uk.explain(cap, layer=layer, tokens=tokens, progress=False, **given)


def louder(cap: Capture, layer: int, tokens: np.ndarray, times: float, **options: Any) -> ExplanationMaps:
    """ULTra of `times` the length of the latent: in every ``I + mean_h relu(A * G)`` attention counts so much more."""
    z = cap.tokens(layer)[tokens]
    return ultra(cap, layer, tokens, towards=times * z / np.linalg.norm(z, axis=1, keepdims=True), **options)


def at(make: Callable, block: int, cap: Capture, layer: int, tokens: np.ndarray) -> ExplanationMaps:
    """A baseline that reads `block` (0 the layer's own, negative below it) for a latent of `layer`."""
    return replace(make(cap, layer=layer + block, tokens=tokens), layer=layer)


def gradients(
    make: Callable, cap: Capture, layer: int, tokens: np.ndarray, **options: Any
) -> ExplanationMaps:
    return make(cap, layer=layer, tokens=tokens, score="norm", rule="positive", progress=False, **options)


def methods(seed: int) -> dict[str, Make]:
    """What is compared, on the capture itself."""
    return {
        "ULTra": ultra,
        "raw attention": partial(at, baselines.raw_attention, 0),
        "attention rollout": partial(at, baselines.rollout, 0),
        "latent cosine": partial(at, baselines.cosine, 0),
        "gradient x input": partial(gradients, baselines.gradient_x_input),
        "integrated gradients": partial(gradients, baselines.integrated_gradients, n_steps=IG_STEPS),
        "random": lambda cap, layer, tokens: baselines.random_map(cap, layer=layer, tokens=tokens, seed=seed),
    }


def choices() -> dict[str, Make]:
    """What is tried on "train"."""
    tried: dict[str, Make] = {
        "ULTra, positive": ultra,
        "ULTra, absolute": partial(ultra, rule="absolute"),
        "ULTra, positive, score sum": partial(ultra, score="sum"),
        "ULTra, positive, last two blocks": partial(ultra, since=-2),
        "ULTra, positive, since layer 5": partial(ultra, since=5),
        "ULTra, score times 20, since layer 4": partial(louder, times=20, since=4),
    }
    for name, make in (
        ("raw attention", baselines.raw_attention),
        ("attention rollout", baselines.rollout),
        ("latent cosine", baselines.cosine),
    ):
        tried |= {f"{name}, layer {block:+d}": partial(at, make, block) for block in (0, -1, -2, -4)}
    return tried


def areas(
    cap: Capture, layer: int, tokens: np.ndarray, made: dict[str, ExplanationMaps], seed: int
) -> dict[str, Any]:
    """Deletion and insertion area of every token by every method; the methods share what they have in common."""
    stacked = replace(
        next(iter(made.values())),
        values=np.concatenate([m.values for m in made.values()]),
        tokens=np.concatenate([m.tokens for m in made.values()]),
    )
    found = perturb(cap, stacked, fractions=FRACTIONS, seed=seed)
    deletion, insertion = (
        np.trapezoid(curve, FRACTIONS, axis=1).reshape(len(made), len(tokens)).round(5).tolist()
        for curve in (found.deletion, found.insertion)
    )
    return {
        name: {"deletion": d, "insertion": i} for name, d, i in zip(made, deletion, insertion, strict=True)
    }


def measure(
    model: Any,
    twin: Any,
    data: Any,
    index: int,
    layers: list[int],
    a: Any,
    tried: dict[str, Make] | None,
    done: Checkpoint,
    split: str = "val",
) -> None:
    """All methods, or those tried, on the tokens of one photograph, layer by layer."""
    keys = {layer: f"{split} {data.items[index].name} layer {layer}" for layer in layers}
    todo = [layer for layer, key in keys.items() if key not in done]
    if not todo:
        return
    image = data[index].image
    cap = uk.capture(model, image)
    tokens = np.sort(
        np.random.default_rng([a.seed, index]).choice(cap.layout.content, a.tokens, replace=False)
    )
    for layer in todo:
        made = {name: make(cap, layer, tokens) for name, make in (tried or methods(index)).items()}
        if not tried:
            made["ULTra on random weights"] = ultra(uk.capture(twin, image), layer, tokens)
        done[keys[layer]] = areas(cap, layer, tokens, made, index)


def chosen(done: Checkpoint, layer: int) -> dict[str, dict[str, Make]]:
    """What does best on "train", by insertion less deletion: a baseline at a block below, and a variant of ULTra."""
    found, _ = collect(done, "train", layer)
    gain = {name: np.mean(row["insertion"]) - np.mean(row["deletion"]) for name, row in found.items()}
    blocks = {name: make for name, make in choices().items() if ", layer " in name}
    ours = {name: make for name, make in choices().items() if name not in blocks}
    best, variant = (max(names, key=lambda name: gain[name]) for names in (blocks, ours))
    return {
        "best": {} if best.endswith("+0") else {best: blocks[best]},
        "variant": {} if variant == "ULTra, positive" else {variant: ours[variant]},
    }


def collect(done: Checkpoint, split: str, layer: int) -> tuple[dict[str, dict[str, np.ndarray]], np.ndarray]:
    """Method -> measure -> values of all tokens, and the photograph of each."""
    rows = {k: v for k, v in done.done.items() if k.startswith(f"{split} ") and k.endswith(f" layer {layer}")}
    names = [name for name in next(iter(rows.values()), {}) if all(name in row for row in rows.values())]
    found = {
        name: {m: np.concatenate([row[name][m] for row in rows.values()]) for m in ("deletion", "insertion")}
        for name in names
    }
    first = next(iter(names), "")
    groups = np.concatenate([[k] * len(row[first]["deletion"]) for k, row in rows.items()] or [[]])
    return found, groups


def report(done: Checkpoint, layers: list[int]) -> None:
    """Choices on "train", then a table for each layer."""
    found, groups = collect(done, "train", layers[0])
    if found:
        print(
            f"\nTried on {len(set(groups))} photographs of train, {len(groups)} tokens, layer {layers[0]}:\n"
        )
        means = [(n, v["deletion"].mean(), v["insertion"].mean()) for n, v in found.items()]
        print(table(["method", "deletion", "insertion"], [[n, f"{d:.3f}", f"{i:.3f}"] for n, d, i in means]))
    for layer in layers:
        found, groups = collect(done, "val", layer)
        if not found:
            continue
        ours = ["ULTra"]
        for split in ("best", "variant"):
            more, same = collect(done, split, layer)
            if len(same) == len(groups):
                found |= more
                ours += [name for name in more if split == "variant"]
        print(f"\nLayer {layer}, {len(groups)} tokens of {len(set(groups))} photographs of val:\n")
        rows = []
        for name, row in found.items():
            cells = [f"{row[m].mean():.3f}" for m in row]
            less = [
                interval(paired(found[o][m], row[m], groups)) if o != name else "" for o in ours for m in row
            ]
            rows.append([name, *cells, *less])
        head = ["method", "deletion (low)", "insertion (high)"]
        print(table([*head, *(f"{o} less it: {m}" for o in ours for m in ("deletion", "insertion"))], rows))


def main() -> None:
    parser = arguments(__doc__ or "", "made_from.jsonl", "folder that holds VOCdevkit")
    parser.add_argument("--photographs", type=int, default=50)
    parser.add_argument("--choose", type=int, default=5, help="photographs of train")
    parser.add_argument("--tokens", type=int, default=2, help="of each photograph")
    parser.add_argument("--layers", type=int, nargs="+", default=[10, 12, 6])
    a = parser.parse_args()
    options = {
        "model": a.model,
        "seed": a.seed,
        "tokens": a.tokens,
        "fractions": FRACTIONS,
        "steps": IG_STEPS,
    }
    done = Checkpoint(a.checkpoint, options)
    if not a.report:
        model = start(a.model)
        twin = baselines.randomised(model, seed=0)
        train, val = (uk.data.PascalVOC2012(a.data, split) for split in ("train", "val"))
        for index in tqdm(some_of(train, a.choose, a.seed), desc="train"):
            measure(model, twin, train, index, a.layers[:1], a, choices(), done, "train")
        drawn = some_of(val, a.photographs, a.seed)
        for layer in a.layers:
            for index in tqdm(drawn, desc=f"layer {layer}"):
                measure(model, twin, val, index, [layer], a, None, done)
        for split, found in chosen(done, a.layers[0]).items():
            for index in tqdm(drawn if found else (), desc=", ".join(found)):
                measure(model, twin, val, index, a.layers[:1], a, found, done, split)
    report(done, a.layers)
    print(f"\n{command()}")


if __name__ == "__main__":
    main()
