"""The bundled language model `briefs` against a known truth: `python benchmarks/bench_briefs.py`.

For the summary words that state a fact, how well does the evidence find the words of the document
that they come from? Only the words of the document are scored: the position that writes a word is
not among them. Only words that the model gets right are asked about (with random weights, all):
what it gets wrong it did not take from the true source. Every method's layer and place (and for ULTra and the gradient methods the score and
the rule) is chosen by average precision on briefs that are not tested. Then the facts in greedy
summaries, and what taking the words away does to the summary.
"""

from __future__ import annotations

import argparse
import json
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from families import choose, show
from tqdm.auto import tqdm

import ultra_kit as uk
from ultra_kit.data.drawn_reports import brief, facts_right
from ultra_kit.maps import baselines
from ultra_kit.runs.faithfulness import FRACTIONS
from ultra_kit.runs.synthetic_truth import Reader, measure_evidence
from ultra_kit.types import UltraError

CHOOSE, TEST = 200_000, 300_000  # first seeds; training uses 1_000_000 and on
RULES = ("positive", "negative")


def ways(n_layers: int) -> dict[str, dict[str, Reader]]:
    """Family -> choice -> method: every method with every choice that it leaves open."""
    out: dict[str, dict[str, Reader]] = {}
    for at in ("emits", "holds"):
        for layer in range(1, n_layers + 1):
            place = {"layer": layer, "at": at}
            where = f"{at}, layer {layer}"
            for score in ("norm", "sum", *(["logprob"] if at == "emits" else [])):
                for rule in RULES:
                    make = partial(uk.evidence, score=score, rule=rule, progress=False, **place)
                    out.setdefault(f"ULTra ({rule} rule)", {})[f"{score}, {where}"] = make
            for name in ("raw_attention", "rollout", "cosine"):
                out.setdefault(name, {})[where] = partial(uk.evidence, method=name, **place)
    for score in ("norm", "logprob"):
        for name in ("gradient_x_input", "integrated_gradients"):
            steps = {"n_steps": 8} if name == "integrated_gradients" else {}
            for rule in ("positive", "absolute"):
                make = partial(uk.evidence, method=name, score=score, rule=rule, progress=False, **steps)
                out.setdefault(name, {})[f"{score}, {rule}, emits, layer {n_layers}"] = make
    head = partial(uk.evidence, score="head", progress=False)
    out["ULTra (positive rule)"][f"head, emits, layer {n_layers}"] = head
    out["random_map"] = {"uniform noise": partial(uk.evidence, method="random_map")}
    return out


def facts(model: Any, seeds: range) -> dict[str, float]:
    """Shares of facts that greedy summaries state."""
    rows = []
    for b in map(brief, tqdm(seeds, desc="summaries")):
        try:
            said = uk.summarize(model, b.document).text
        except UltraError:  # no word was written
            said = ""
        rows.append(facts_right(said, b.facts))
    shares = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    whole = float(np.mean([all(row.values()) for row in rows]))
    return {"facts": float(np.mean(list(shares.values()))), "every fact": whole, **shares}


def faithful(model: Any, read: Reader, seeds: range) -> dict[str, dict[str, float]]:
    """Mean falls of the log-probability of each fact word, in nats per token, by ranking."""
    found: dict[str, dict[str, list[float]]] = {}
    for b in map(brief, tqdm(seeds, desc="faithfulness")):
        s = uk.summarize(model, b.document, summary=b.summary)
        ev = read(s)
        for measure in (uk.comprehensiveness, uk.sufficiency):
            for name, value in measure(s, ev).means.items():
                found.setdefault(measure.__name__, {}).setdefault(name, []).append(value)
    return {m: {name: float(np.mean(v)) for name, v in part.items()} for m, part in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--briefs", type=int, default=100, help="briefs on which the evidence is tested")
    parser.add_argument("--choose", type=int, default=20, help="briefs for choosing layer, score and rule")
    parser.add_argument("--choose-random", type=int, default=5, help="of these, for random weights")
    parser.add_argument("--facts", type=int, default=200, help="greedy summaries")
    parser.add_argument("--faithful", type=int, default=40, help="briefs from which words are taken away")
    parser.add_argument("--json", type=Path, default=None)
    a = parser.parse_args()
    start = time.time()
    model = uk.load("briefs")
    twin = baselines.randomised(model, seed=0)
    choosing, testing = range(CHOOSE, CHOOSE + a.choose), range(TEST, TEST + a.briefs)

    print("average precision on the briefs for choosing:")
    families = ways(model.n_blocks)
    best, every = choose(partial(measure_evidence, model, seeds=choosing, known=True), families)
    ultra = {c + f", {f[7:-6]}": m for f in families if f.startswith("ULTra") for c, m in families[f].items()}
    few = choosing[: a.choose_random]
    best_random, _ = choose(partial(measure_evidence, twin, seeds=few), {"ULTra on random weights": ultra})

    maps = measure_evidence(model, {name: make for name, (_, make) in best.items()}, testing, known=True)
    random = measure_evidence(twin, {name: make for name, (_, make) in best_random.items()}, testing)
    maps |= {name: values for name, values in random.items() if name != "chance"}
    choices = {name: c for name, (c, _) in (best | best_random).items()}
    right = facts(model, range(a.facts))
    leading = max((f for f in best if f.startswith("ULTra")), key=lambda f: max(every[f].values()))
    taken = faithful(model, best[leading][1], testing[: a.faithful])

    print(f"\nevidence of fact words, {a.briefs} held-out briefs")
    show(maps, choices)
    print(f"\nfacts right in {a.facts} greedy summaries of held-out briefs")
    for name, value in right.items():
        print(f"  {name:12s} {value:.3f}")
    print(f"\nwords taken away, {a.faithful} briefs: fall of the summary's log-probability, nats per token")
    for measure, values in taken.items():
        said = "  ".join(f"{name} {value:.3f}" for name, value in values.items())
        print(f"  {measure:18s} {said}")
    print(f"\n{time.time() - start:.0f} s")
    if a.json:
        briefs = {"maps": a.briefs, "choosing": a.choose, "facts": a.facts, "faithful": a.faithful}
        found = {"maps": maps, "choices": choices, "chosen on": every, "facts": right, "faithful": taken}
        a.json.write_text(json.dumps(found | {"fractions": FRACTIONS, "briefs": briefs}, indent=1) + "\n")


if __name__ == "__main__":
    main()
