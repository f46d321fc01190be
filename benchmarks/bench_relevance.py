"""Time the maps of all tokens of a ViT-B/16 against the published procedure and the arithmetic floor.

    python benchmarks/bench_relevance.py [--tokens 24] [--published 3] [--threads 1] [--one-block] [--json OUT]

Three things are timed in one process, in turn, and their medians compared:

engine      `row_chunks`, the inside of `ultra_kit.explain`: one backward pass per token, and what is
            behind the last attention once for all tokens.
published   the procedure of the authors' demonstration notebook: for every token a forward pass,
            one gradient call for each block, and the product of full N x N matrices.
floor       the matrix products that no exact backward pass of one token can leave out, each at its
            own shape, and with weights of its own for each block, as a model has them. Block L has a gradient in the token's own row alone, block 1 needs
            none below its attention, and all else is counted in full:
              blocks 2..L-1   MLP 2 x (N, D, 4D), projection (N, D, D), query-key-value (N, 3D, D),
                              attention 4 x heads x (N, N, D / heads)
              block 1         the same without query-key-value, and one of the four products
              block L         keys and values alone: (N, 2D, D)
            Softmax, GELU, LayerNorm, the sums over heads and the memory traffic are not in it.

one block   `explain(since=-1)`: the maps of all tokens over the last block, in closed form, in turn with
            a plain forward pass of the model under no_grad; with `--one-block` it alone is timed.

They take turns at every token, and each ratio is the median over the turns of that turn's own, so that
a machine whose speed wanders does not spoil it. The time of all tokens is the median token times their
number, for the engine with what it does once: a token's cost does not depend on which it is. With one thread the clock is the processor time of the process, which other
programs disturb little; with more it is the wall clock.
"""

import argparse
import json
import statistics
import time
from functools import partial
from pathlib import Path

import numpy as np
import timm
import torch

import ultra_kit as uk
from ultra_kit.maps.engine import FEW, row_chunks
from ultra_kit.maps.planning import make_request


def engine(cap, tokens):
    """The rows of tokens, one after another; the first comes with what is done once for all."""
    return row_chunks(make_request(cap, tokens=tokens, chunk_size=1))


def published(model, inputs, token):
    latents, steps = model.run(inputs)
    f = latents[-1][token].norm()
    relevance = torch.eye(len(latents[0]))
    for step in steps:
        (gradient,) = torch.autograd.grad(f, step.weights, retain_graph=True)
        c = torch.eye(len(relevance)) + (step.weights.detach() * gradient).clamp_min(0).mean(0)
        relevance = c @ relevance
    return relevance[token]


def one_block(cap, clock, turns=9):
    """Seconds of all tokens over the last block, and of a forward pass, in turn."""
    pixels = cap.inputs["pixel_values"]
    module = cap.model.module
    times = {"one_block_s": [], "forward_s": []}
    for _ in range(turns + 1):
        explain = partial(uk.explain, cap, layer=-1, since=-1, score="norm", progress=False)
        times["one_block_s"].append(timed(clock, explain)[0])
        with torch.no_grad():
            times["forward_s"].append(timed(clock, module, pixels)[0])
    pairs = list(zip(*times.values(), strict=True))[1:]  # the first turn warms up
    found = {name: statistics.median(t[1:]) for name, t in times.items()}
    return found | {"passes": statistics.median(a / b for a, b in pairs)}


def unavoidable(n, d, heads, blocks):
    """The products of the floor: (name, pairs of operands)."""
    width = d // heads
    rows, wide, three, two = (torch.randn(n, k * d) for k in (1, 4, 3, 2))
    square = torch.randn(heads, n, n)
    tall = torch.randn(heads, n, width)
    full = blocks - 2
    found = [
        ("MLP, second layer", full + 1, rows, torch.randn(d, 4 * d)),
        ("MLP, first layer", full + 1, wide, torch.randn(4 * d, d)),
        ("projection", full + 1, rows, torch.randn(d, d)),
        ("query, key, value", full, three, torch.randn(3 * d, d)),
        ("key, value of block L", 1, two, torch.randn(2 * d, d)),
        ("attention, by the map", full + 1, tall, tall.transpose(1, 2)),
        ("attention, by q, k, v", 3 * full, square, tall),
    ]
    return [(name, [(a, b.clone()) for _ in range(count)]) for name, count, a, b in found]


def multiply(pairs):
    for a, b in pairs:
        torch.matmul(a, b)


def flops(pairs):
    return sum(2 * a.numel() * b.shape[-1] for a, b in pairs)


def timed(clock, function, *arguments):
    start = clock()
    out = function(*arguments)
    return clock() - start, out


def measure(args):
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    clock = time.process_time if args.threads == 1 else time.perf_counter
    model = uk.load(timm.create_model(args.model, pretrained=False).eval())
    image = np.random.default_rng(0).integers(0, 256, (224, 224, 3), np.uint8)
    cap = uk.capture(model, image)
    inputs = dict(cap.inputs)
    n, d = cap.latents[0].shape
    about = {"model": args.model, "tokens": cap.layout.n_content, "threads": args.threads}
    about |= {"clock": "processor" if args.threads == 1 else "wall", "torch": torch.__version__}
    about |= one_block(cap, clock)
    if args.one_block:
        return about
    products = unavoidable(n, d, cap.steps[0].weights.shape[0], cap.n_layers)
    tokens = np.linspace(cap.layout.n_prefix, n - 1, args.tokens).astype(int)

    rows = engine(cap, tokens)
    times = {"engine": [], "published": [], "floor": []}
    difference = 0.0
    for turn, token in enumerate(tokens):
        spent, row = timed(clock, next, rows)
        times["engine"].append(spent)
        times["floor"].append([timed(clock, multiply, pairs)[0] for *_, pairs in products])
        if turn > len(tokens) - 1 - args.published:
            spent, slow = timed(clock, published, model, inputs, token)
            times["published"].append(spent)
            difference = max(difference, (row[0] - slow).abs().max().item())
    first, *engine_s = times["engine"]
    once = (first - statistics.median(engine_s)) / cap.layout.n_content
    floor = [statistics.median(each) for each in zip(*times["floor"], strict=True)]
    return about | {
        "timed": {"engine": len(engine_s), "published": len(times["published"])},
        "difference": difference,
        "once_s": once * cap.layout.n_content,
        "engine_s": statistics.median(engine_s) + once,
        "published_s": statistics.median(times["published"]),
        "floor_s": sum(floor),
        "faster": statistics.median(
            p / (e + once)
            for e, p in zip(times["engine"][-args.published :], times["published"], strict=True)
        ),
        "above": statistics.median(
            (e + once) / sum(f) for e, f in zip(engine_s, times["floor"][1:], strict=True)
        ),
        "floor_gflop": sum(flops(pairs) for _, pairs in products) / 1e9,
        "products": [
            {"name": name, "count": len(pairs), "gflop": flops(pairs) / 1e9, "seconds": s}
            for (name, pairs), s in zip(products, floor, strict=True)
        ],
    }


def report(r):
    total = r["tokens"]
    print(f"{r['model']}, random weights, {total} tokens of the last layer, {r['threads']} thread(s),")
    print(f"{r['clock']} time, torch {r['torch']}\n")
    print(
        f"one block, all tokens: {r['one_block_s']:.3f} s, {r['passes']:.2f} forward passes of {r['forward_s']:.3f} s "
        "(aim: at most 3)"
    )
    if "engine_s" not in r:
        return
    print(f"\nlargest difference of the engine's and the published maps {r['difference']:.1e}\n")
    print(f"{'':12}{'s / token':>10}{'s / image':>11}{'x engine':>10}   timed tokens")
    for name in ("engine", "published", "floor"):
        s = r[f"{name}_s"]
        count = f"{r['timed'][name]}, extrapolated" if name in r["timed"] else "medians of the products"
        print(f"{name:12}{s:10.3f}{s * total:11.1f}{s / r['engine_s']:10.2f}   {count}")
    print(f"engine: of it {r['once_s']:.3f} s once for all tokens, shared out among them")
    rate = r["floor_gflop"] / r["floor_s"]
    print(f"\nfloor: {r['floor_gflop']:.1f} GFLOP a token at {rate:.0f} GFLOP/s")
    for p in r["products"]:
        speed = p["gflop"] / p["seconds"]
        print(
            f"  {p['name']:24}{p['count']:4} x {p['gflop'] / p['count']:6.3f} GFLOP at {speed:5.0f} GFLOP/s"
        )
    print(f"\nfaster than the published procedure: {r['faster']:.2f} times (aim: 6.5)")
    print(f"above the arithmetic floor:          {r['above']:.2f} times (aim: at most 1.25)")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="vit_base_patch16_224", help="any timm VisionTransformer")
    parser.add_argument("--tokens", type=int, default=24, help="tokens timed with the engine")
    parser.add_argument("--published", type=int, default=3, help="tokens timed with the published procedure")
    parser.add_argument("--one-block", action="store_true", help="time the maps of the last block alone")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    args = parser.parse_args()
    if not 1 <= args.published < args.tokens or args.tokens < FEW or args.threads < 1:
        parser.error(
            f"needs 1 <= --published < --tokens, --tokens of at least {FEW}, and --threads of at least 1"
        )
    result = measure(args)
    report(result)
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
