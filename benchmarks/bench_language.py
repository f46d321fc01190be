"""Memory and time of a long document's evidence: `python benchmarks/bench_language.py`.

A 1,000-token document with a 60-token summary through a model of 12 blocks and 124 M parameters (the
configuration of GPT-2 small, random weights; the cost does not depend on them). Peak memory is that of
the whole process, the libraries and the model among it.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from pathlib import Path

import torch
from transformers import GPT2Config, GPT2LMHeadModel

import ultra_kit as uk
from ultra_kit.data.drawn_reports import brief

AIM = 8.0  # GB


def text_of(tokenizer: object, n: int, first: int) -> str:
    """The first n tokens of briefs, one after the other, as text."""
    text, seed = "", first
    while len(ids := tokenizer(text, add_special_tokens=False)["input_ids"]) < n:  # type: ignore[operator]
        text, seed = f"{text} {brief(seed).document}", seed + 1
    return tokenizer.decode(ids[:n])  # type: ignore[attr-defined]


def peak() -> float:
    """Gigabytes (10^9 bytes) of resident memory at most so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--document", type=int, default=1000, help="tokens")
    parser.add_argument("--summary", type=int, default=60, help="tokens")
    parser.add_argument("--words", type=int, default=None, help="explain so many summary words, not all")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--json", type=Path, default=None)
    a = parser.parse_args()
    if a.threads:
        torch.set_num_threads(a.threads)
    torch.manual_seed(0)
    tokenizer = uk.load("briefs", pretrained=False).tokenizer  # type: ignore[attr-defined]
    size = a.document + a.summary + 100
    model = uk.load(GPT2LMHeadModel(GPT2Config(n_positions=max(1024, size))).eval(), transform=tokenizer)
    parameters = sum(p.numel() for p in model.module.parameters())
    document, summary = text_of(tokenizer, a.document, 0), text_of(tokenizer, a.summary, 1000)
    found = {"parameters": parameters, "threads": torch.get_num_threads(), "before the run (GB)": peak()}
    found["planned (GB)"] = model.planned_bytes(a.document + a.summary) / 1e9  # type: ignore[attr-defined]

    start = time.perf_counter()
    s = uk.summarize(model, document, summary=summary, prompt="{document}")
    found |= {"capture (s)": time.perf_counter() - start, "after the capture (GB)": peak()}
    found["tokens"] = s.capture.layout.n_tokens
    words = range(len(s.words) if a.words is None else a.words)
    tokens = [int(p) for w in words for p in s.positions(w)]
    print(uk.plan(s.capture, tokens=tokens))
    start = time.perf_counter()
    ev = uk.evidence(s, words=list(words), progress=True)
    found |= {"explained tokens": len(tokens), "evidence (s)": time.perf_counter() - start}
    found |= {"words": len(ev.rows), "peak (GB)": peak(), "aim (GB)": AIM}
    for name, value in found.items():
        print(f"{name:24s} {value:,.2f}" if isinstance(value, float) else f"{name:24s} {value:,}")
    if a.json:
        a.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
