"""Maps on one GPU: the same as on the CPU, how fast, and how near to what the arithmetic takes.

    python benchmarks/bench_gpu.py [--voc VOCdevkit/VOC2012] [--json OUT]

same        rows of eight tokens on GPU and CPU, float32, TF32 off: the largest difference as a share of the largest entry
            (aim: 1e-4), for a ViT-S/16, a ViT-B/16 and the bundled `scenes`, one token and 32 at a time.
all tokens  a ViT-B/16 at 224: `explain(cap)` for several chunk sizes, beside the published procedure on the same card (a forward
            pass, one gradient call a block and full products for every token; extrapolated from three; aim: 50 times faster)
            and the arithmetic floor (the operations of `bench_relevance.py`'s products, at the rate of one large matrix
            product on this card in the same number format; aim: at most 2 times that).
formats     the same in TF32, bfloat16 and float16, with the correlation to float64 that the card of the maps states.
images      a hundred images at 224, all tokens each, ViT-S/14 (aim: 60 s): photographs of VOC, or noise without --voc.

Without a GPU it says so and measures nothing: the same code paths are tested on the CPU (tests/maps, chunk_size > 1).
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np
import timm
import torch
from bench_relevance import flops, published, unavoidable

import ultra_kit as uk


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


def vit(name, size=224):
    torch.manual_seed(0)
    return timm.create_model(name, pretrained=False, img_size=size).eval()


def same():
    """The largest relative difference of GPU and CPU for each model and chunk."""
    found = {}
    noise = np.random.default_rng(0).integers(0, 256, (224, 224, 3), np.uint8)
    makers = {name: lambda name=name: uk.load(vit(name)) for name in TIMM} | {
        "scenes": lambda: uk.load("scenes")
    }
    for name, make in makers.items():
        model = make()
        cap = uk.capture(model, noise)
        tokens = np.resize(cap.layout.content[:: cap.layout.n_content // 8], 32)
        options = {"layer": -1, "score": "norm", "rule": "positive", "since": 0, "progress": False}
        want = uk.explain(cap, tokens=tokens[:8], **options).values
        model.module.cuda()
        cap = uk.capture(model, noise)
        for chunk in (1, 32):
            rows = uk.explain(cap, tokens=tokens, chunk_size=chunk, **options).values[:8]
            found[f"{name}, {chunk} at a time"] = float(abs(rows - want).max() / want.max())
    return found


TIMM = ("vit_small_patch16_224", "vit_base_patch16_224")
FORMATS = {
    "float32": (None, "highest"),
    "tf32": (None, "high"),
    "bfloat16": (torch.bfloat16, "highest"),
    "float16": (torch.float16, "highest"),
}


def rate(dtype):
    """Operations a second of one large matrix product."""
    a, b = (torch.randn(8192, 8192, device="cuda", dtype=dtype or torch.float32) for _ in range(2))
    return 2 * 8192**3 / seconds(torch.matmul, a, b)


def all_tokens(name="vit_base_patch16_224"):
    """Seconds for all tokens of one image in every number format, and what they stand beside."""
    model = uk.load(vit(name).cuda())
    noise = np.random.default_rng(0).integers(0, 256, (224, 224, 3), np.uint8)
    out = {}
    for label, (dtype, precision) in FORMATS.items():
        torch.set_float32_matmul_precision(precision)
        cap = uk.capture(model, noise, dtype=dtype)
        n, d = cap.latents[0].shape
        work = sum(flops(p) for *_, p in unavoidable(n, d, len(cap.steps[0].weights), cap.n_layers))
        out[label] = {"floor": work * cap.layout.n_content / rate(dtype), "dtype": cap.card["dtype"]}
        options = {"layer": -1, "score": "norm", "since": 0, "progress": False}
        said = uk.explain(cap, tokens=0.05, **options).card["explanation"].get("float64", {})
        out[label] |= {"correlation": said.get("correlation"), "difference": said.get("difference")}
        # The check in float64 is timed apart: a card that says float32 is not checked.
        cap.card["dtype"] = "float32"
        chunks = {c: seconds(uk.explain, cap, chunk_size=c, **options) for c in (1, 8, 16, 32, 64, 196)}
        out[label] |= {
            "chunks": chunks,
            "one block": seconds(uk.explain, cap, **options | {"since": -1}),
            "capture": seconds(uk.capture, model, noise, dtype=dtype),
            "default": seconds(uk.explain, cap, **options),
            "memory": torch.cuda.max_memory_allocated() / 1e9,
        }
        if label == "float32":
            inputs = dict(cap.inputs)
            with torch.device("cuda"):
                out["published"] = cap.layout.n_content * seconds(published, model, inputs, n // 2)
    torch.set_float32_matmul_precision("highest")
    return out


def images(voc, count=100):
    """Seconds for capture and all tokens of a hundred images."""
    model = uk.load(vit("vit_small_patch14_dinov2").cuda())
    paths = sorted((voc / "JPEGImages").iterdir())[:count] if voc else [None] * count
    rng, start = np.random.default_rng(0), time.perf_counter()
    for path in paths:
        x = rng.integers(0, 256, (224, 224, 3), np.uint8) if path is None else path
        uk.explain(uk.capture(model, x), layer=-1, score="norm", since=0, progress=False)
    torch.cuda.synchronize()
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--voc", type=Path, help="the folder that holds JPEGImages")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    args = parser.parse_args()
    if not torch.cuda.is_available():
        print("There is no GPU here, and nothing was measured.")
        return
    torch.backends.cudnn.allow_tf32 = False  # the patch embedding's convolution
    out = {"card": torch.cuda.get_device_name(), "torch": torch.__version__, "same": same()}
    print(f"{out['card']}, torch {out['torch']}\n\nlargest difference to the CPU (aim: 1e-4)")
    for name, value in out["same"].items():
        print(f"  {name:44}{value:.1e}")
    found = out["all tokens"] = all_tokens()
    slow = found["published"]
    print(f"\nall 196 tokens of a ViT-B/16; the published procedure {slow:.1f} s (extrapolated)")
    for label in FORMATS:
        row = found[label]
        best = min(row["chunks"], key=row["chunks"].get)
        print(
            f"  {label:9} {row['default']:7.3f} s ({slow / row['default']:.0f} times faster; aim 50; {row['default'] / row['floor']:.2f} "
            f"times the floor; aim 2); best chunk {best}: {row['chunks'][best]:.3f} s; one block {row['one block']:.4f} s; "
            f"correlation {row['correlation']}; it ran in {row['dtype']}"
        )
    out["images"] = images(args.voc)
    print(
        f"\n100 images{'' if args.voc else ' of noise'} at 224, all tokens: {out['images']:.1f} s (aim: 60)"
    )
    if args.json:
        args.json.write_text(json.dumps(out, indent=1) + "\n")


if __name__ == "__main__":
    main()
