"""Time the maps of all tokens of a ViT-B/16 against the published procedure and the arithmetic floor.

    python benchmarks/bench_relevance.py [--tokens 12] [--published 2] [--threads 1] [--json OUT]

Three things are timed in one process, in turn, and their medians compared:

engine      `relevance_rows`, the inside of `ultra_kit.explain`: one backward pass a token.
published   the procedure of the authors' demonstration notebook: for every token a forward pass,
            one gradient call for each block, and the product of full N x N matrices.
floor       the matrix products that no exact backward pass of one token can leave out, each timed
            at its own shape. Block L has a gradient in the token's own row alone, block 1 needs
            none below its attention, and all else is counted in full:
              blocks 2..L-1   MLP 2 x (N, D, 4D), projection (N, D, D), query-key-value (N, 3D, D),
                              attention 4 x heads x (N, N, D / heads)
              block 1         the same without query-key-value, and one of the four products
              block L         keys and values alone: (N, 2D, D)
            Softmax, GELU, LayerNorm, the sums over heads and the memory traffic are not in it.

The time of all tokens is the median token times their number: a token's cost does not depend on
which token it is. With one thread the clock is the processor time of the process, which other
programs disturb little; with more it is the wall clock.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np
import timm
import torch

import ultra_kit as uk
from ultra_kit.relevance import relevance_rows
from ultra_kit.scores import make_score


def engine(cap, token):
    index = np.array([token])
    seeds = make_score(cap, 1, "norm", None, None).seeds(cap.latents[-1][index])
    return relevance_rows(cap, cap.n_layers, index, seeds)[0]


def published(model, inputs, token):
    latents, steps = model.run(inputs)
    f = latents[-1][token].norm()
    relevance = torch.eye(len(latents[0]))
    for step in steps:
        (gradient,) = torch.autograd.grad(f, step.weights, retain_graph=True)
        c = torch.eye(len(relevance)) + (step.weights.detach() * gradient).clamp_min(0).mean(0)
        relevance = c @ relevance
    return relevance[token]


def unavoidable(n, d, heads, blocks):
    """The products of the floor: (name, how many, operands)."""
    width = d // heads
    rows, wide, three, two = (torch.randn(n, k * d) for k in (1, 4, 3, 2))
    square = torch.randn(heads, n, n)
    tall = torch.randn(heads, n, width)
    full = blocks - 2
    return [
        ("MLP, second layer", full + 1, rows, torch.randn(d, 4 * d)),
        ("MLP, first layer", full + 1, wide, torch.randn(4 * d, d)),
        ("projection", full + 1, rows, torch.randn(d, d)),
        ("query, key, value", full, three, torch.randn(3 * d, d)),
        ("key, value of block L", 1, two, torch.randn(2 * d, d)),
        ("attention, by the map", full + 1, tall, tall.transpose(1, 2)),
        ("attention, by q, k, v", 3 * full, square, tall),
    ]


def flops(a, b):
    return 2 * a.numel() * b.shape[-1]


def timed(clock, function, *arguments):
    start = clock()
    function(*arguments)
    return clock() - start


def measure(args):
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    clock = time.process_time if args.threads == 1 else time.perf_counter
    model = uk.load(timm.create_model(args.model, pretrained=False).eval())
    image = np.random.default_rng(0).integers(0, 256, (224, 224, 3), np.uint8)
    cap = uk.capture(model, image)
    inputs = dict(cap.inputs)
    n, d = cap.latents[0].shape
    products = unavoidable(n, d, cap.steps[0].weights.shape[0], cap.n_layers)
    tokens = np.linspace(cap.layout.n_prefix, n - 1, args.tokens).astype(int)

    difference = (engine(cap, tokens[0]) - published(model, inputs, tokens[0])).abs().max().item()
    times = {"engine": [], "published": [], "floor": [[] for _ in products]}
    for turn, token in enumerate(tokens):
        times["engine"].append(timed(clock, engine, cap, token))
        for (_, _, a, b), found in zip(products, times["floor"], strict=True):
            found.append(statistics.median(timed(clock, torch.matmul, a, b) for _ in range(5)))
        if turn * args.published // len(tokens) != (turn - 1) * args.published // len(tokens):
            times["published"].append(timed(clock, published, model, inputs, token))
    floor = [
        count * statistics.median(t) for (_, count, _, _), t in zip(products, times["floor"], strict=True)
    ]
    return {
        "model": args.model,
        "tokens": cap.layout.n_content,
        "timed": {"engine": len(times["engine"]), "published": len(times["published"])},
        "threads": args.threads,
        "clock": "processor" if args.threads == 1 else "wall",
        "torch": torch.__version__,
        "difference": difference,
        "engine_s": statistics.median(times["engine"]),
        "published_s": statistics.median(times["published"]),
        "floor_s": sum(floor),
        "floor_gflop": sum(c * flops(a, b) for _, c, a, b in products) / 1e9,
        "products": [
            {"name": name, "count": c, "gflop": c * flops(a, b) / 1e9, "seconds": s}
            for (name, c, a, b), s in zip(products, floor, strict=True)
        ],
    }


def report(r):
    total = r["tokens"]
    print(f"{r['model']} at 224, random weights, {total} tokens of the last layer, {r['threads']} thread(s),")
    print(
        f"{r['clock']} time, torch {r['torch']}; largest difference of the two maps {r['difference']:.1e}\n"
    )
    print(f"{'':12}{'s / token':>10}{'s / image':>11}{'x engine':>10}   timed tokens")
    for name in ("engine", "published", "floor"):
        s = r[f"{name}_s"]
        count = f"{r['timed'][name]}, extrapolated" if name in r["timed"] else "medians of the products"
        print(f"{name:12}{s:10.3f}{s * total:11.1f}{s / r['engine_s']:10.2f}   {count}")
    rate = r["floor_gflop"] / r["floor_s"]
    print(f"\nfloor: {r['floor_gflop']:.1f} GFLOP a token at {rate:.0f} GFLOP/s")
    for p in r["products"]:
        speed = p["gflop"] / p["seconds"]
        print(
            f"  {p['name']:24}{p['count']:4} x {p['gflop'] / p['count']:6.3f} GFLOP at {speed:5.0f} GFLOP/s"
        )
    print(f"\nfaster than the published procedure: {r['published_s'] / r['engine_s']:.2f} times (aim: 6.5)")
    print(
        f"above the arithmetic floor:          {r['engine_s'] / r['floor_s']:.2f} times (aim: at most 1.25)"
    )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="vit_base_patch16_224", help="any timm VisionTransformer")
    parser.add_argument("--tokens", type=int, default=12, help="tokens timed with the engine")
    parser.add_argument("--published", type=int, default=2, help="tokens timed with the published procedure")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    args = parser.parse_args()
    if not 1 <= args.published <= args.tokens or args.threads < 1:
        parser.error("needs 1 <= --published <= --tokens and --threads of at least 1")
    result = measure(args)
    report(result)
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
