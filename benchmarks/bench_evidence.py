"""A real language model's evidence against marked words: `python benchmarks/bench_evidence.py TEXTS.json`.

TEXTS.json holds documents with a summary and, marked by hand, the document words that each summary word rests on:
`[{"name", "document", "prompt" (or null), "summary", "truth": "word#n=word#n,word;..."}]`, where n counts occurrences from 0
and a document word without n stands for every occurrence. ULTra takes the model's own settings, so that nothing is chosen
here; raw attention, rollout and cosine have the layer that `--chosen FILE` found best, and beside it the best on these very words,
for both positions: the one that emits the word, and the one where it stands already and can be compared; there ULTra explains the
norm of the latent over one block (`since=-1`), its layer chosen like the baselines'. With `--choose` layers are looked for: `data/models/smollm2/choosing.json` is set aside for that. With `--wrong` each number
of a summary is replaced by another, one at a time: is it the least likely word, and does its evidence name the true one?

`--json FILE` keeps what was found after every step; the same command goes on from there.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

import ultra_kit as uk
from ultra_kit import metrics
from ultra_kit.maps import baselines

OTHER = {"three": "two", "four": "five", "six": "nine", "eight": "six", "ten": "six", "two": "four"}


def marked(row: dict[str, Any], s: uk.text.Summary) -> tuple[np.ndarray, np.ndarray]:
    """The summary words of a text that are marked, and their document words, (T, D) bool."""
    said, written = ([w.text for w in words] for words in (s.words, s.document_words))

    def find(words: list[str], mark: str, every: bool) -> list[int]:
        word, _, n = mark.partition("#")
        found = [i for i, w in enumerate(words) if w == word]
        return found if every and not n else [found[int(n or 0)]]

    pairs = [pair.split("=") for pair in row["truth"].split(";")]
    truth = np.zeros((len(pairs), len(written)), bool)
    for t, (_, sources) in zip(truth, pairs, strict=True):
        t[[i for mark in sources.split(",") for i in find(written, mark, True)]] = True
    return np.array([find(said, mark, False)[0] for mark, _ in pairs]), truth


def precision(matrix: np.ndarray, truth: np.ndarray) -> list[float]:
    """Average precision of each word; the measure leaves a position of each row out, so one is put in front."""
    before = ((0, 0), (1, 0))
    own = np.zeros(len(matrix), np.int64)
    return metrics.average_precision(np.pad(matrix, before), own, np.pad(truth, before)).tolist()


def number_changed(word: str) -> str | None:
    """Another number of as many digits; None for a word that is none."""
    if word.isdigit():
        return word[:-1] + str((int(word[-1]) + 4) % 10)
    return OTHER.get(word)


def ways(model: Any, twin: Any, choose: list[int] | None) -> Iterator[tuple[str, str, bool, Any]]:
    """Row of the table, choice, whether the model has random weights, and how to read the evidence."""
    for layer in choose or []:
        yield "ULTra", f"layer {layer}", False, partial(uk.evidence, layer=layer, progress=False)
    if choose is None:
        yield "ULTra", "own settings", False, partial(uk.evidence, progress=False)
    for layer in range(1, model.n_blocks + 1):
        for at in ("emits", "holds"):
            for name in ("raw_attention", "rollout", "cosine"):
                read = partial(uk.evidence, method=name, layer=layer, at=at)
                yield name, f"{at}, layer {layer}", False, read
        # Where the word stands nothing is emitted: the norm of its latent, over the block below alone.
        read = partial(uk.evidence, layer=layer, at="holds", score="norm", since=-1, progress=False)
        yield "ULTra", f"holds, layer {layer}", False, read
    for name in ("string_search", "random_map"):
        yield name, "", False, partial(uk.evidence, method=name)
    if choose is not None:
        return
    last = {"layer": -1, "progress": False}
    yield (
        "gradient x input",
        "logprob, last layer",
        False,
        partial(uk.evidence, method="gradient_x_input", **last),
    )
    if twin is not None:
        yield "ULTra on random weights", "own settings", True, partial(uk.evidence, progress=False)


def measure(rows: list[dict[str, Any]], model: Any, twin: Any, a: argparse.Namespace) -> dict[str, Any]:
    """Average precision of every marked word: row of the table -> choice -> text -> values."""
    found: dict[str, Any] = json.loads(a.json.read_text()) if a.json and a.json.is_file() else {}

    def keep() -> None:
        if a.json:
            a.json.write_text(json.dumps(found, indent=1) + "\n")

    for row in rows:
        texts: dict[bool, uk.text.Summary] = {}

        def read(random: bool, row: dict[str, Any] = row, texts: dict[bool, Any] = texts) -> uk.text.Summary:
            if random not in texts:
                texts.clear()
                made = {"summary": row["summary"], "prompt": row["prompt"]}
                texts[random] = uk.summarize(twin if random else model, row["document"], **made)
            return texts[random]

        for name, choice, random, reader in ways(model, twin, a.choose):
            values = found.setdefault(name, {}).setdefault(choice, {})
            if row["name"] in values:
                continue
            s = read(random)
            words, truth = marked(row, s)
            ev = reader(s, words=words.tolist())
            values[row["name"]] = precision(ev.matrix, truth)
            if choice == "own settings" or name == "raw_attention":
                shares = found.setdefault("mass on special tokens", {}).setdefault(f"{name}, {choice}", {})
                shares[row["name"]] = ev.shares["sinks"].tolist()
            keep()
        if a.wrong and row["name"] not in found.setdefault("wrong numbers", {}):
            found["wrong numbers"][row["name"]] = list(wrong_numbers(row, model))
            keep()
    return found


def wrong_numbers(row: dict[str, Any], model: Any) -> Iterator[dict[str, Any]]:
    """For each marked number: what is said in its place, its rank among the least likely words, and its evidence."""
    for pair in row["truth"].split(";"):
        true = pair.split("=")[1].partition("#")[0]
        other = number_changed(true)
        if other is None or not re.search(rf"\b{true}\b", row["summary"]):
            continue
        said = re.sub(rf"\b{true}\b", other, row["summary"], count=1)
        s = uk.summarize(model, row["document"], summary=said, prompt=row["prompt"])
        word = [w.text for w in s.words].index(other)
        real = [i for i, w in enumerate(s.words) if any(c.isalnum() for c in w.text) and w.tokens]
        rank = sorted(real, key=lambda i: s.word_log_probabilities[i]).index(word)
        ((_, first, _), *_) = uk.evidence(s, words=[word], progress=False).top(word, 1)
        yield {
            "true": true,
            "said": other,
            "rank from the least likely": rank + 1,
            "first in evidence": first,
        }


def means_of(found: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Mean average precision over all words: row of the table -> choice -> value; each place is a row of its own."""
    means: dict[str, dict[str, float]] = {}
    for name, choices in found.items():
        if name in ("mass on special tokens", "wrong numbers"):
            continue
        for choice, by in choices.items():
            place, _, layer = choice.partition(", layer")
            row = f"{name}, the position that {place} the word" if layer else name
            means.setdefault(row, {})[choice] = float(np.mean(np.concatenate(list(by.values()))))
    return means


def top(values: dict[str, float], known: dict[str, float]) -> str:
    """The best choice, of those that are known."""
    return max(known, key=lambda choice: values.get(choice, -1.0))


def main() -> None:
    """Print the table as markdown."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("texts", type=Path)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument(
        "--choose",
        type=int,
        nargs="*",
        metavar="LAYER",
        help="ULTra at these layers, and what takes no backward pass",
    )
    parser.add_argument(
        "--chosen", type=Path, help="what --choose --json wrote: the baselines' choices there"
    )
    parser.add_argument("--wrong", action="store_true", help="put a wrong number in place of each")
    parser.add_argument("--no-random", action="store_true", help="leave random weights out")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--json", type=Path, default=None)
    a = parser.parse_args()
    if a.threads:
        torch.set_num_threads(a.threads)
    rows = json.loads(a.texts.read_text("utf-8"))
    model = uk.load(a.model)
    twin = None if a.choose or a.no_random else baselines.randomised(model, seed=0)
    found = measure(rows, model, twin, a)
    shares, wrong = found.pop("mass on special tokens", {}), found.pop("wrong numbers", {})
    means = means_of(found)
    n = sum(len(marked_words["truth"].split(";")) for marked_words in rows)
    chosen = means_of(json.loads(a.chosen.read_text())) if a.chosen else {}
    print(
        f"\n| {n} words of {len(rows)} texts | average precision | choice | best here | mass on special tokens |"
    )
    print("|---|---|---|---|---|")
    for name, choices in sorted(means.items(), key=lambda item: -max(item[1].values())):
        best = max(choices, key=lambda c: choices[c])
        for choice in choices if a.choose and name == "ULTra" else [top(chosen.get(name, choices), choices)]:
            mass = shares.get(f"{name.partition(',')[0]}, {choice}")
            sinks = f"{np.mean(np.concatenate(list(mass.values()))):.2f}" if mass else ""
            beside = f"{choices[best]:.3f} ({best})" if len(choices) > 1 else ""
            print(f"| {name.replace('_', ' ')} | {choices[choice]:.3f} | {choice} | {beside} | {sinks} |")
    for name, cases in wrong.items():
        for case in cases:
            print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in case.items()))


if __name__ == "__main__":
    main()
