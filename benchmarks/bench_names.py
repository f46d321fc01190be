"""Do names say what a latent is? `python benchmarks/bench_names.py`.

*Kinds*: sixty words in sentences (`words_in_sentences.py`), half of them with two senses, the others not in the corpus: of the
five nearest names other than the word itself, how many are of the kind of thing that the word is there, and how many of
the kind that its other sense is. *Facts*: the last latent of "The Eiffel Tower stands in the city of" must know Paris:
is that among its five names? *Reports*: the same of the model `briefs`: words of a report that tell a fact, whose kinds are the slots they are
drawn from, and the position before each fact of the summary, which must know it.

At every third layer, by nearest latents, by the head (logit lens), by the head with only the names that the corpus has, and
by chance. The layer of `ultra_kit.name` was chosen by the kinds of twenty further sentences (`--choose`).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from runpy import run_path
from typing import Any, NamedTuple

import numpy as np
import torch
from real_data import Checkpoint, command, start, table
from words_in_sentences import CHOOSE, FACTS, REPORT

import ultra_kit as uk
from ultra_kit.atlas.word_bank import WordBank, word_banks
from ultra_kit.data.drawn_reports import WORDS
from ultra_kit.maps.scores import read_by_head
from ultra_kit.models.loading import data_folder
from ultra_kit.text.tokenizing import plain_ids
from ultra_kit.text.words import split_words, with_tokens

N = 5
METHODS = ("nearest latents", "head", "head, names of the corpus")
BANK, ASKED = range(2000, 2040), range(1000, 1012)


class Item(NamedTuple):
    """A latent to be named: its capture and token, the word that stands there, right and wrong names."""

    cap: Any
    token: int
    word: str
    right: set[str]
    wrong: set[str]


def lines(text: str) -> list[list[str]]:
    """The parts between bars of each line."""
    return [[part.strip() for part in line.split("|")] for line in text.strip().splitlines()]


def kinds() -> dict[str, set[str]]:
    """The words of each kind of the corpus."""
    found = run_path(str(data_folder() / "words" / "write.py"))["KINDS"]
    return {kind: {w.casefold() for w in words.split()} for kind, (words, _) in found.items()}


def words_in_sentences(model: Any, text: str) -> list[Item]:
    """The latents of the words in brackets, each at its last token."""
    known, items = kinds(), []
    for sentence, *named in lines(text):
        before, word, after = sentence.replace("]", "[").split("[")
        whole = before + word + after
        spans = model.tokenizer(whole, return_offsets_mapping=True)["offset_mapping"]
        found = next(w for w in with_tokens(split_words(whole), spans) if w.start == len(before))
        right, wrong = (
            set().union(*(known[kind] for kind in part.split(", ") if kind)) for part in [*named, ""][:2]
        )
        own = {word.casefold()}
        items.append(
            Item(
                uk.capture(model, whole), found.tokens[-1], word.casefold(), right - own, wrong - right - own
            )
        )
    return items


def facts(model: Any) -> list[Item]:
    """The last latents of beginnings of sentences."""
    found = []
    for text, answer in lines(FACTS):
        cap = uk.capture(model, text)
        found.append(Item(cap, cap.layout.n_tokens - 1, "", {answer.casefold()}, set()))
    return found


def reports(model: Any) -> tuple[list[Item], list[Item]]:
    """Of reports: the words of the document that tell a fact, and the positions that emit the facts of the summary."""
    slots = {w.casefold(): {v.casefold() for v in words} for words in WORDS.values() for w in words}
    stands, emits = [], []
    for seed in ASKED:
        brief = uk.data.brief(seed)
        s = uk.summarize(model, brief.document, summary=brief.summary)
        for k, sources in enumerate(brief.sources):
            word = brief.summary_words[k].casefold()
            if not sources or word not in slots:
                continue
            emits.append(Item(s.capture, int(s.positions(k)[0]), "", {word}, set()))
            token = s.document_words[sources[0]].tokens[-1]
            stands.append(Item(s.capture, token, word, slots[word] - {word}, set()))
    return stands, emits


def names_of(item: Item, layer: int, bank: WordBank, single: Mapping[str, int]) -> dict[str, list[str]]:
    """The first names of a latent by every method, the word that stands there left out."""
    z = item.cap.latents[layer].detach()[[item.token]]
    near = (bank.names[bank.words[i]] for i in np.argsort(-bank.likeness(z.numpy())[0]))
    with torch.no_grad():
        logits = read_by_head(item.cap, z)[0]
    model = item.cap.model
    said = (model.strings([int(i)])[0].strip().casefold() for i in logits.argsort(descending=True)[:400])
    inside = sorted(single, key=lambda word: -float(logits[single[word]]))
    orders = (near, (w for w in said if w.isalnum()), inside)
    return {m: first(order, item.word) for m, order in zip(METHODS, orders, strict=True)}


def first(order: Iterable[str], own: str) -> list[str]:
    """The first N different names other than the word itself."""
    found: dict[str, None] = {}
    for name in order:
        if name != own:
            found[name] = None
        if len(found) == N:
            break
    return list(found)


def single_tokens(model: Any, texts: Sequence[str]) -> dict[str, int]:
    """The first token of every word of texts, written as it first stands there behind another word."""
    lead = " " if model.tokenizer.decode(plain_ids(model.tokenizer, " a")).startswith(" ") else ""
    found: dict[str, int] = {}
    for text in texts:
        for word in split_words(text)[1:]:
            if word.text.casefold() not in found and any(map(str.isalnum, word.text)):
                found[word.text.casefold()] = plain_ids(model.tokenizer, lead + word.text)[0]
    return found


def measure(
    items: list[Item],
    layers: Sequence[int],
    banks: Mapping[int, WordBank],
    texts: Sequence[str],
    done: Checkpoint,
    key: str,
) -> None:
    """Right and wrong among the first names of every latent, layer and method."""
    model = items[0].cap.model
    names = banks[layers[0]].names
    single = {word: token for word, token in single_tokens(model, texts).items() if word in names}
    for layer in layers:
        if f"{key} {layer}" in done:
            continue
        found: dict[str, Any] = {m: [] for m in METHODS}
        for item in items:
            for method, got in names_of(item, layer, banks[layer], single).items():
                found[method].append(
                    [
                        sum(g in item.right for g in got),
                        sum(g in item.wrong for g in got),
                        int(got[:1] != [] and got[0] in item.right),
                        int(any(g in item.right for g in got)),
                        got,
                    ]
                )
        done[f"{key} {layer}"] = found
    done[f"{key} chance"] = [
        float(
            np.mean(
                [
                    len(side & (set(names) - {i.word})) / len(names)
                    for i, side in zip(items, sides, strict=True)
                ]
            )
        )
        for sides in ([i.right for i in items], [i.wrong for i in items])
    ]


def report(done: Checkpoint, key: str, title: str, *, kinds: bool) -> dict[str, dict[int, float]]:
    """Print a table: a row for each layer; gives the curves."""
    right, wrong = done[f"{key} chance"]
    layers = sorted(
        int(k.rsplit(" ", 1)[1]) for k in done.done if k.startswith(f"{key} ") and k[-1].isdigit()
    )
    print(f"\n{title}\n")
    rows, curves = [], {m: dict[int, float]() for m in METHODS}
    for layer in layers:
        row = [str(layer)]
        for method in METHODS:
            got = done[f"{key} {layer}"][method]
            share = np.mean([g[0] for g in got]) / N if kinds else np.mean([g[3] for g in got])
            other = np.mean([g[1] for g in got]) / N
            curves[method][layer] = float(share)
            row += [
                f"{share:.2f}" + (f" ({other:.2f})" if wrong else ""),
                f"{np.mean([g[2] for g in got]):.2f}",
            ]
        rows.append(row)
    head = ["layer", *(name for m in METHODS for name in (m, "the first"))]
    print(table(head, rows))
    by_chance = right if kinds else min(1.0, N * right)
    print(f"\nchance {by_chance:.3f}" + (f" ({wrong:.3f})" if wrong else ""))
    return curves | {"chance": dict.fromkeys(layers, by_chance)}  # type: ignore[return-value]


def main() -> None:
    """Measure what the checkpoint lacks, and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--checkpoint", type=Path, default=Path("names.jsonl"), help="a stopped run goes on here"
    )
    parser.add_argument("--report", action="store_true", help="only print what the checkpoint holds")
    parser.add_argument(
        "--choose", action="store_true", help="the kinds of the sentences set aside for choosing"
    )
    parser.add_argument("--curve", type=Path, help="also write the figures of the picture to this file")
    a = parser.parse_args()
    done = Checkpoint(a.checkpoint, {"n": N})
    if not a.report:
        model = start("smollm2")
        layers = [1, *range(3, model.n_blocks + 1, 3)]
        layers = [*layers[:4], 10, *layers[4:]]
        texts = uk.atlas.sentences()
        banks = word_banks(model, layers, texts)
        if a.choose:
            measure(words_in_sentences(model, CHOOSE), layers, banks, texts, done, "choose")
        else:
            measure(words_in_sentences(model, REPORT), layers, banks, texts, done, "kinds")
            measure(facts(model), layers, banks, texts, done, "facts")
            small = uk.load("briefs")
            texts = [uk.data.brief(seed).document for seed in BANK]
            stands, emits = reports(small)
            every = list(range(1, small.n_blocks + 1))
            found = word_banks(small, every, texts)
            measure(stands, every, found, texts, done, "stands")
            measure(emits, every, found, texts, done, "emits")
    if a.choose:
        report(
            done, "choose", "Share of five names of the right kind, twenty sentences set aside:", kinds=True
        )
    else:
        titles = {
            "kinds": "SmolLM2, share of five names of the right kind (of the other sense's kind), sixty words:",
            "facts": "SmolLM2, the fact that the next word must be is among five names:",
            "stands": "briefs, share of five names of the kind of the word that stands there:",
            "emits": "briefs, the fact of the summary that comes next is among five names:",
        }
        curves = {k: report(done, k, t, kinds=k in ("kinds", "stands")) for k, t in titles.items()}
        if a.curve:
            a.curve.write_text(json.dumps(curves, indent=1) + "\n", "utf-8")
    print(f"\n{command()}")


if __name__ == "__main__":
    main()
