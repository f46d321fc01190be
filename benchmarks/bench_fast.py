"""What all tokens of a model cost: the published procedure, the floor, ours exact, since one block, a fifth of the tokens.

    python benchmarks/bench_fast.py [--only WORD] [--records FILE.jsonl] [--curve OUT.json]

Every row is measured in a process of its own with one thread; times are its processor seconds for one image, which
other programs disturb little. Random weights: cost does not depend on them. With `--records` a run that was stopped goes on
where it was, and a row is measured once; without it all is measured again.

published   the authors' notebook: for every token a forward pass, one gradient call for each block and the product of
            full N x N matrices; *extrapolated* from two tokens.
ancestor    Chefer, Gur and Wolf's relevance, asked for a token: a forward pass, one backward pass for all blocks, the
            product of full matrices; extrapolated from two tokens.
legrad      LeGrad as torchcam has it (not among the requirements: `pip install torchcam`; "-" without it), on a ViT of torchvision of
            the same shape, which it needs. It explains class scores; asked for the length of a token in their place, it gives
            the gradient of each block's own length by that block's attention alone, averaged: another, shallower answer.
            One forward pass for all tokens, then a call for each; extrapolated from three.
floor       the matrix products that no exact backward pass can leave out (`bench_relevance.py`), times the tokens.
exact       `explain(cap)`: what is done once for all tokens, and the median of a few tokens times their number.
fifth       `explain(cap, tokens=0.2)`, extrapolated in the same way.
one block   `explain(cap, since=-1)`: measured whole. It answers another question: from which tokens of the layer below.
bfloat16    exact, from `capture(dtype=torch.bfloat16)`.
All of ours leave out the capture, one forward pass. `memory` is the peak of the resident set, model and capture included,
of the few tokens, and of one block whole. The rows of the curve are a ViT-S/16 at more and more tokens, and go to a file
from which `data/pictures/draw.py` draws.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

TABLE = {
    "S/16 at 224": {"model": "vit_small_patch16_224", "size": 224},
    "B/16 at 224": {"model": "vit_base_patch16_224", "size": 224},
    "S/14 at 518": {"model": "vit_small_patch14_dinov2", "size": 518},
    "L/14 at 224": {"model": "vit_large_patch14_dinov2", "size": 224},
}
CURVE = {
    f"{(side // 16) ** 2} tokens": {"model": "vit_small_patch16_224", "size": side, "curve": True}
    for side in (224, 384, 512, 768, 1024)
}
LARGE = {"L/14 at 518": {"model": "vit_large_patch14_dinov2", "size": 518, "curve": True}}
"""Not in the table: does a large model fit (aim: 8 GB)?"""
CASES = TABLE | LARGE | CURVE


def memory(field):
    """Gigabytes of a line of this process's status."""
    return int(Path("/proc/self/status").read_text().split(f"{field}:")[1].split()[0]) * 1024 / 1e9


def per_token(cap, clock, n):
    """Seconds once for all tokens, and the median of n - 1 single ones after the first."""
    from bench_relevance import engine, timed

    rows = engine(cap, cap.layout.content[:: max(1, cap.layout.n_content // n)][:n])
    first, *rest = [timed(clock, next, rows)[0] for _ in range(n)]
    return max(0.0, first - statistics.median(rest)), statistics.median(rest)


def ancestor(model, inputs, token):
    """The relevance of one token: one backward pass, the product of full matrices."""
    import torch

    latents, steps = model.run(inputs)
    gradients = torch.autograd.grad(latents[-1][token].norm(), [s.weights for s in steps])
    relevance = torch.eye(len(latents[0]))
    for step, g in zip(steps, gradients, strict=True):
        relevance = relevance + (step.weights.detach() * g).clamp_min(0).mean(0) @ relevance
    return relevance[token]


def legrad(cap, clock):
    """Seconds of LeGrad for all tokens, on a model of the shape of the captured one; None without torchcam."""
    from torchvision.models import VisionTransformer

    try:
        from torchcam.methods import LeGrad
    except ImportError:
        return None
    from bench_relevance import timed

    vit, x = cap.model.module, cap.inputs["pixel_values"]
    shape = {"num_layers": cap.n_layers, "num_heads": len(cap.steps[0].weights), "hidden_dim": vit.embed_dim}
    model = VisionTransformer(x.shape[-1], vit.patch_embed.patch_size[0], mlp_dim=4 * vit.embed_dim, **shape)
    model.eval().requires_grad_(False)
    blocks, spent = list(model.encoder.layers), []
    with LeGrad(model, blocks, score_projection=lambda tokens: tokens.norm(dim=-1)) as method:
        once, scores = timed(clock, model, x)
        for token in (1, 50, 99):
            spent.append(timed(clock, lambda t=token: method(t, scores, retain_graph=True))[0])
    return once + cap.layout.n_content * statistics.median(spent)


def measure(case):
    """The figures of a row."""
    import numpy as np
    import timm
    import torch
    from bench_relevance import flops, multiply, published, timed, unavoidable

    import ultra_kit as uk

    torch.set_num_threads(1)
    torch.manual_seed(0)
    clock, curve = time.process_time, case.get("curve", False)
    model = uk.load(timm.create_model(case["model"], pretrained=False, img_size=case["size"]).eval())
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    capture_s, cap = timed(clock, uk.capture, model, image)
    n, (heads, *_) = len(cap.latents[0]), cap.steps[0].weights.shape
    total, share = cap.layout.n_content, len(cap.layout.spread(0.2))
    few = 6 if n > 500 or curve else 12
    block = partial(uk.explain, cap, layer=-1, since=-1, progress=False)
    one = [timed(clock, block)[0] for _ in range(3)]
    row = {"tokens": total, "share": share, "blocks": cap.n_layers, "capture": capture_s}
    row |= {"one block": statistics.median(one), "one block GB": memory("VmHWM")}
    once, each = per_token(cap, clock, few)
    row |= {"exact": once + total * each, "fifth": once + share * each, "GB": memory("VmHWM")}
    if curve:
        return row
    for name, slow in (("published", published), ("ancestor", ancestor)):
        spent = [timed(clock, slow, model, dict(cap.inputs), token)[0] for token in (n // 3, n // 2)]
        row[name] = total * min(spent)
    row["legrad"] = legrad(cap, clock)
    products = unavoidable(n, cap.latents[0].shape[1], heads, cap.n_layers)
    row["floor"] = total * sum(
        min(timed(clock, multiply, pairs)[0] for _ in range(2)) for *_, pairs in products
    )
    row["floor GFLOP a token"] = sum(flops(pairs) for *_, pairs in products) / 1e9
    del cap, block, products
    once, each = per_token(uk.capture(model, image, dtype=torch.bfloat16), clock, few)
    return row | {"bfloat16": once + total * each}


def measured(name, records):
    """The figures of a row, from the records if they are there."""
    held = {}
    if records is not None and records.is_file():
        held = dict(json.loads(line) for line in records.read_text().splitlines())
    if name not in held:
        command = [sys.executable, __file__, "--case", name]
        done = subprocess.run(
            command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True
        )
        if done.returncode:
            sys.exit(f"{name}: {done.stderr[-2000:] or f'ended with {done.returncode}'}")
        held[name] = json.loads(done.stdout)
        if records is not None:
            with records.open("a") as file:
                file.write(json.dumps([name, held[name]]) + "\n")
    return held[name]


COLUMNS = ("published", "ancestor", "legrad", "floor", "exact", "bfloat16", "fifth", "one block")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", help="rows with this in their name")
    parser.add_argument("--records", type=Path, help="a line of JSON for each row that is done")
    parser.add_argument("--curve", type=Path, help="write the rows of the curve here")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.case:
        print(json.dumps(measure(CASES[args.case])))
        return
    print("processor seconds for all tokens of one image, one thread; published and ancestor extrapolated\n")
    print(
        f"| {'':12} | tokens | {' | '.join(COLUMNS)} | memory, GB |\n|---|---|{'---|' * (len(COLUMNS) + 1)}"
    )
    for name in (n for n in TABLE if args.only in n):
        row = measured(name, args.records)
        cells = " | ".join("-" if row.get(c) is None else f"{row[c]:.3g}" for c in COLUMNS)
        print(f"| {name:12} | {row['tokens']} | {cells} | {row['GB']:.1f} |", flush=True)
        print(
            f"    faster than published {row['published'] / row['exact']:.1f} times (aim: 6.5), above the floor "
            f"{row['exact'] / row['floor']:.2f} (aim: 1.25), a fifth {row['exact'] / row['fifth']:.1f} times faster (aim: 4.5)",
            file=sys.stderr,
        )
    for name in (n for n in LARGE if args.only in n):
        row = measured(name, args.records)
        print(
            f"\n{name}: peak {row['one block GB']:.1f} GB with one block, {row['GB']:.1f} GB with all blocks (aim: 8)"
        )
    rows = {name: measured(name, args.records) for name in CURVE if args.only in name}
    print(
        f"\n{'ViT-S/16':12}{'exact':>10}{'fifth':>10}{'one block':>11}{'GB':>8}{'GB, one block':>15}"
        if rows
        else ""
    )
    for name, row in rows.items():
        figures = f"{row['exact']:10.1f}{row['fifth']:10.1f}{row['one block']:11.2f}"
        print(f"{name:12}{figures}{row['GB']:8.2f}{row['one block GB']:15.2f}")
    if args.curve:
        args.curve.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
