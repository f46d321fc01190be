"""Maps on one GPU: the same as on the CPU, how fast, and how near to what the arithmetic takes.

    python benchmarks/bench_gpu.py [--voc VOCdevkit/VOC2012] [--dinov2 FOLDER] [--only WORD] [--json OUT]

same        rows of eight tokens on GPU and CPU, float32, TF32 off: the largest difference as a share of the largest entry that is
            not the token's own position (aim: 1e-4), for a ViT-S/16, a ViT-B/16, the bundled `scenes` and, with --dinov2, that
            model, one token and 32 at a time, and with one block.
all tokens  a ViT-S/16 and a ViT-B/16 at 224: `explain(cap)` in float32, TF32, bfloat16 and float16, as it comes and for several
            chunk sizes, with the correlation to float64 that the card of the maps states, beside
            published  the published procedure on the same card in float32: a forward pass, one gradient call for each block and
                       full products for every token; extrapolated from single tokens (aim: at least 50 times faster);
            floor      the products of `bench_relevance.py`, each at its own shape for 64 tokens at a time and in the same number
                       format (aim: at most 2 times that); `peak` is the same arithmetic at the rate of one large product.
images      a hundred images at 224, read from disk, captured, and all tokens of each explained (aim: 60 s): photographs of VOC, or
            noise without --voc; a ViT-S/14 with random weights, and with --dinov2 a folder in Hugging Face's layout, which
            keeps a photograph's shape; one after another, and captured as a list.

Every section is printed and written as soon as it is there, and one that fails is reported and left out. Without a GPU it
says so and measures nothing: the same code paths are tested on the CPU (tests/maps, chunk_size > 1).
"""

import argparse
import json
import statistics
import time
import traceback
from functools import partial
from pathlib import Path

import numpy as np
import timm
import torch
from bench_relevance import flops, published, unavoidable

import ultra_kit as uk

TIMM = ("vit_small_patch16_224", "vit_base_patch16_224")
FORMATS = {
    "float32": (None, "highest"),
    "tf32": (None, "high"),
    "bfloat16": (torch.bfloat16, "highest"),
    "float16": (torch.float16, "highest"),
}
CHUNKS = (8, 32, 64, 128, 196)
HOW = {"layer": -1, "score": "norm", "rule": "positive", "since": 0, "progress": False}
DEVICE = "cuda"


def seconds(function, *arguments, turns=3, **options):
    """The median of some turns, after one to warm up, each until the card is idle."""
    spent = []
    for _ in range(turns + 1):
        torch.cuda.synchronize()
        start = time.perf_counter()
        function(*arguments, **options)
        torch.cuda.synchronize()
        spent.append(time.perf_counter() - start)
    return statistics.median(spent[1:])


def noise(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (224, 224, 3), np.uint8)


def vit(name, size=224):
    torch.manual_seed(0)
    return timm.create_model(name, pretrained=False, img_size=size).eval()


def same(make, label):
    """The largest relative difference of GPU and CPU for each chunk, for one block, and of one captured in a list."""
    model = make()
    cap = uk.capture(model, noise())
    tokens = np.resize(cap.layout.content[:: cap.layout.n_content // 8], 32)
    others = np.arange(cap.layout.n_tokens) != tokens[:8, None]  # the own position would hide a difference

    def rows(cap, **options):
        return uk.explain(cap, tokens=tokens, **HOW | options).values[:8] * others

    wants = {since: rows(cap, since=since) for since in (0, -1)}
    model.module.to(DEVICE)
    listed = uk.capture(model, [noise(), noise(1)])[0]
    found = {"latents of a list": float(abs(listed.tokens() - cap.tokens()).max() / abs(cap.tokens()).max())}
    cap = uk.capture(model, noise())
    for what, since, chunk in (("1 at a time", 0, 1), ("32 at a time", 0, 32), ("one block", -1, None)):
        want = wants[since]
        found[what] = float(abs(rows(cap, since=since, chunk_size=chunk) - want).max() / want.max())
    print(f"  {label:28}" + "".join(f"{what}: {value:.1e}   " for what, value in found.items()), flush=True)
    return found


def floors(cap, dtype, together=64):
    """Seconds of the products for all tokens: at their own shapes for some tokens at a time, and at the best rate."""
    n, d = cap.latents[0].shape
    products = unavoidable(n, d, len(cap.steps[0].weights), cap.n_layers)
    own = 0.0
    for _, pairs in products:
        a, b = (x.to(DEVICE, dtype) for x in pairs[0])
        a = torch.cat([a] * together)
        b = torch.cat([b] * together) if b.ndim == 3 else b
        own += len(pairs) * seconds(torch.matmul, a, b) / together
    a, b = (torch.randn(8192, 8192, device=DEVICE, dtype=dtype) for _ in range(2))
    rate = 2 * 8192**3 / seconds(torch.matmul, a, b)
    work = sum(flops(pairs) for _, pairs in products)
    tokens = cap.layout.n_content
    return {"floor": own * tokens, "peak": work / rate * tokens, "TFLOP/s": rate / 1e12}


def all_tokens(model, label):
    """Seconds for all tokens of one image in one number format, and what they stand beside."""
    dtype, precision = FORMATS[label]
    torch.set_float32_matmul_precision(precision)
    torch.cuda.reset_peak_memory_stats()
    try:
        cap = uk.capture(model, noise(), dtype=dtype)
        out = floors(cap, dtype or torch.float32) | {"dtype": cap.card["dtype"]}
        checked = uk.explain(cap, tokens=0.05, **HOW).card["explanation"].get("float64", {})
        out |= {"correlation": checked.get("correlation"), "difference": checked.get("difference")}
        cap.card["dtype"] = "float32"  # so that the check in float64 is not in the times
        out["default"] = seconds(uk.explain, cap, **HOW)
        out["chunks"] = {c: seconds(uk.explain, cap, chunk_size=c, turns=2, **HOW) for c in CHUNKS}
        out["one block"] = seconds(uk.explain, cap, **HOW | {"since": -1})
        out["capture"] = seconds(uk.capture, model, noise(), dtype=dtype)
        out["GB"] = torch.cuda.max_memory_allocated() / 1e9
    finally:
        torch.set_float32_matmul_precision("highest")
    best = min(out["chunks"], key=out["chunks"].get)
    print(
        f"  {label:9}{out['default']:7.3f} s, {out['default'] / out['floor']:.2f} times the floor of {out['floor']:.3f} s (aim 2; "
        f"{out['default'] / out['peak']:.2f} times that at {out['TFLOP/s']:.0f} TFLOP/s); best of the chunks {best}: "
        f"{out['chunks'][best]:.3f} s; one block {out['one block']:.4f} s; capture {out['capture']:.4f} s; {out['GB']:.1f} GB; "
        f"correlation {out['correlation']}; it ran in {out['dtype']}",
        flush=True,
    )
    return out


def published_seconds(model):
    """Seconds of the published procedure for all tokens, and of the forward pass in it and of a plain one."""
    cap = uk.capture(model, noise())
    inputs, n = dict(cap.inputs), cap.layout.n_content
    with torch.device(DEVICE):  # its identity matrices
        found = {"published": n * seconds(published, model, inputs, n // 2, turns=5)}
    found["pass"] = seconds(model.run, inputs)
    with torch.no_grad():
        found["plain pass"] = seconds(model.module, inputs["pixel_values"])
    print(
        f"  published {found['published']:.2f} s (extrapolated); a pass of it {found['pass']:.4f} s, a plain one "
        f"{found['plain pass']:.4f} s",
        flush=True,
    )
    return found


def images(model, voc, dtype=None, at_once=1, count=100):
    """Seconds for reading, capture and all tokens of a hundred images."""
    paths = sorted((voc / "JPEGImages").iterdir())[:count] if voc else [noise(i) for i in range(count)]
    uk.explain(uk.capture(model, paths[0], dtype=dtype), **HOW)
    torch.cuda.synchronize()
    start, tokens = time.perf_counter(), 0
    for first in range(0, count, at_once):
        part = paths[first : first + at_once]
        caps = (
            uk.capture(model, part, dtype=dtype) if at_once > 1 else [uk.capture(model, part[0], dtype=dtype)]
        )
        tokens += sum(len(uk.explain(cap, **HOW)) for cap in caps)
    torch.cuda.synchronize()
    spent = time.perf_counter() - start
    print(
        f"  {dtype or 'float32'}, {at_once} at a time: {spent:.1f} s, {tokens} tokens (aim: 60)", flush=True
    )
    return {"seconds": spent, "tokens": tokens, "images": len(paths), "of": "VOC" if voc else "noise"}


def sections(args):
    """(name, what to print before it or None, a function without arguments), in turn."""
    compared = {name: lambda name=name: uk.load(vit(name)) for name in TIMM} | {
        "scenes": lambda: uk.load("scenes")
    }
    if args.dinov2:
        compared["dinov2"] = lambda: uk.load(f"hf:{args.dinov2}")
    for name, make in compared.items():
        yield f"same {name}", "largest difference to the CPU (aim: 1e-4)", partial(same, make, name)
    for name in TIMM:
        model, title = uk.load(vit(name).to(DEVICE)), f"all 196 tokens of a {name}"
        yield f"published {name}", title, partial(published_seconds, model)
        for label in FORMATS:
            yield f"{label} {name}", title, partial(all_tokens, model, label)
    models = {"ViT-S/14, random weights": lambda: uk.load(vit("vit_small_patch14_dinov2"))}
    if args.dinov2:
        models["dinov2"] = lambda: uk.load(f"hf:{args.dinov2}")
    for name, make in models.items():
        model = make()
        model.module.to(DEVICE)
        for dtype, at_once in ((None, 1), (None, 20), (torch.bfloat16, 1)):
            title = f"a hundred images, all tokens, {name}"
            run = partial(images, model, args.voc, dtype, at_once)
            yield f"images {name} {dtype or 'float32'} {at_once}", title, run


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--voc", type=Path, help="the folder that holds JPEGImages")
    parser.add_argument("--dinov2", type=Path, help="a folder with DINOv2-S/14 in Hugging Face's layout")
    parser.add_argument("--only", default="", help="sections with this in their name")
    parser.add_argument("--json", type=Path, help="write the figures here as well, after each section")
    args = parser.parse_args()
    if not torch.cuda.is_available():
        print("There is no GPU here, and nothing was measured.")
        return
    torch.backends.cudnn.allow_tf32 = False  # the patch embedding's convolution
    out, start, said = {"card": torch.cuda.get_device_name(), "torch": torch.__version__}, time.time(), None
    print(f"{out['card']}, torch {out['torch']}", flush=True)
    for name, title, run in sections(args):
        if args.only not in name:
            continue
        if title != said:
            print(f"\n{title} ({time.time() - start:.0f} s so far)", flush=True)
            said = title
        try:
            out[name] = run()
        except Exception:  # the others are worth having
            out[name] = {"failed": traceback.format_exc()}
            print(f"  {name} failed: {out[name]['failed'].strip().splitlines()[-1]}", flush=True)
        torch.cuda.empty_cache()
        out["spent"] = time.time() - start
        if args.json:
            args.json.write_text(json.dumps(out, indent=1) + "\n")
    print(f"\ntimes faster than the published procedure (aim: 50)\n{faster(out)}")


def faster(out):
    """A line for each model: how many times each format's maps come faster than the published procedure."""
    lines = []
    for name in TIMM:
        slow = out.get(f"published {name}", {}).get("published")
        rows = {label: out.get(f"{label} {name}", {}).get("default") for label in FORMATS}
        found = ", ".join(f"{label} {slow / s:.0f}" for label, s in rows.items() if slow and s)
        lines.append(f"  {name}: {found}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
