"""What `ultra_kit.plan` promises beside what `ultra_kit.explain` takes on top of the capture.

    python benchmarks/bench_memory.py [--json OUT] [--only WORD]

Every pair of a model and a size is measured in a fresh process, with one thread, twice:

torch      the peak of what torch's CPU allocator hands out, from its own profiler: exact, the same on every machine.
resident   the peak of the process's resident set, less what it was before, after one token of one block was explained
           (libraries and threads are there by then). It counts in pages and has what the allocator keeps for itself.

The weights are random: memory does not depend on them. The bar is a promise within 15 per cent of torch's peak.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

TIMM = "vit_tiny_patch16_224", "vit_small_patch16_224", "vit_base_patch16_224", "eva02_small_patch14_224"
CASES = {
    **{f"{name} at 224": {"timm": name} for name in TIMM},
    "vit_small_patch14_dinov2 at 224": {"timm": "vit_small_patch14_dinov2", "size": 224},
    "vit_small_patch14_dinov2 at 518": {"timm": "vit_small_patch14_dinov2"},
    "scenes": {"load": "scenes"},
    "photos at 320 x 240": {"load": "photos", "image": (240, 320)},
    "briefs, 200 words": {"load": "briefs", "words": 200},
    "gpt2, 300 tokens": {"gpt2": 300},
    "vit_base_patch16_224, 24 tokens of layer 3": {
        "timm": "vit_base_patch16_224",
        "explain": {"tokens": list(range(24)), "layer": 3},
    },
    "vit_base_patch16_224, since -1": {
        "timm": "vit_base_patch16_224",
        "explain": {"tokens": None, "since": -1},
    },
    "vit_base_patch16_224, since -3": {"timm": "vit_base_patch16_224", "explain": {"since": -3}},
    "vit_small_patch14_dinov2 at 518, since -1": {
        "timm": "vit_small_patch14_dinov2",
        "explain": {"tokens": None, "since": -1},
    },
    "vit_small_patch16_224, 4 at a time": {
        "timm": "vit_small_patch16_224",
        "explain": {"chunk_size": 4, "tokens": list(range(1, 9))},
    },
}


def captured(case):
    """The capture of a case."""
    import numpy as np

    import ultra_kit as uk

    side = case.get("size")
    image = np.random.default_rng(0).integers(0, 256, (*case.get("image", (224, 224)), 3), np.uint8)
    if "timm" in case:
        import timm

        size = {"img_size": side} if side else {}
        return uk.capture(timm.create_model(case["timm"], pretrained=False, **size).eval(), image)
    if "gpt2" in case:
        import transformers as tf

        model = tf.GPT2LMHeadModel(tf.GPT2Config(vocab_size=500, n_layer=6, n_embd=384, n_head=6)).eval()
        return uk.capture(model, {"input_ids": [[i % 500 for i in range(case["gpt2"])]]})
    text = " ".join(["The flood struck Tiza."] * (case.get("words", 4) // 4))
    return uk.capture(uk.load(case["load"]), text if "words" in case else image)


def memory(field):
    """Bytes of a line of this process's status."""
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{field}:")[1].split()[0]) * 1024


def measure(case):
    """The promise and both peaks of a case, in bytes; run in a process of its own."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    import ultra_kit as uk

    torch.set_num_threads(1)
    cap = captured(case)
    options = {"layer": -1, "score": "energy", "tokens": [cap.layout.n_prefix + 3]} | case.get("explain", {})
    promised = uk.plan(cap, **options).peak_bytes
    uk.explain(cap, layer=-1, since=-1, score="energy", tokens=[3], progress=False)
    before = memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    uk.explain(cap, progress=False, **options)
    resident = memory("VmHWM") - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as prof:
        uk.explain(cap, progress=False, **options)
    events = [e for e in prof.profiler.kineto_results.events() if e.name() == "[memory]"]
    now = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        now += event.nbytes()
        peak = max(peak, now)
    n, d = cap.latents[0].shape
    return {"positions": n, "width": d, "plan": promised, "torch": peak, "resident": resident}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    parser.add_argument("--only", default="", help="cases with this in their name")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.case:
        print(json.dumps(measure(CASES[args.case])))
        return
    found = {}
    # Every larger block of memory is asked of the system and given back to it, so that the resident set tells.
    env = os.environ | {
        "OMP_NUM_THREADS": "1",
        "MALLOC_MMAP_THRESHOLD_": "65536",
        "MALLOC_TRIM_THRESHOLD_": "65536",
    }
    print(f"{'':44}{'N':>6}{'D':>5}{'plan':>9}{'torch':>9}{'resident':>9}{'plan/torch':>12}")
    for name in [n for n in CASES if args.only in n]:
        command = [sys.executable, __file__, "--case", name]
        run = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        if run.returncode:
            sys.exit(f"{name}: {run.stderr}")
        r = found[name] = json.loads(run.stdout.strip().splitlines()[-1])
        sizes = "".join(f"{r[key] / 1e6:9.2f}" for key in ("plan", "torch", "resident"))
        print(f"{name:44}{r['positions']:6}{r['width']:5}{sizes}{r['plan'] / r['torch']:12.2f}", flush=True)
    off = [n for n, r in found.items() if abs(r["plan"] / r["torch"] - 1) > 0.15]
    print(f"\nMB; further than 15 % off: {', '.join(off) or 'none'}")
    if args.json:
        args.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
