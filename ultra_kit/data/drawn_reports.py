"""Written reports with a known summary, and the words of the report from which each word of it comes.

One sentence names the event that it is about. Others stand beside it, of another kind or called "earlier";
numbers, days and places may be corrected ("not 12 but 15"). So every fact has one right source.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from itertools import accumulate, chain, cycle, pairwise
from typing import NamedTuple

import numpy as np

_TEXT = tomllib.loads(files(__package__).joinpath("drawn_reports.toml").read_text("utf-8"))
WORDS: dict[str, tuple[str, ...]] = {slot: tuple(words.split()) for slot, words in _TEXT["words"].items()}
TEMPLATES: dict[str, tuple[str, ...]] = {k: tuple(v) for k, v in _TEXT["templates"].items() if k != "summary"}
SUMMARY: str = _TEXT["templates"]["summary"]
_SLOT = re.compile(r"\{(\w+)\}")
_PART = re.compile(r"\{\w+\}|\w+|[^\w\s]")
_EVENT = ("when", "when_where", "who", "how_many", "outcome")
_TOLD = ("{who}", "{what}", "{where}", "{when}", "{n} {noun}", "{object} {result}")  # the fields of Facts

# Words of a sentence, each with the slot of the summary that it fills, "" for a word that fills none.
Tagged = list[tuple[str, str]]


class Facts(NamedTuple):
    """What a report says of its subject, and its summary with it."""

    who: str
    what: str
    where: str
    when: str
    how_many: str
    outcome: str


@dataclass(frozen=True)
class Brief:
    """A report, its summary, and where each word of the summary comes from; made by `brief`.

    `words` and `summary_words` are those of `document` and `summary`, a punctuation mark is one of its own. For
    each summary word `sources` has the words of the document it must come from, as indices, none for a word
    that any summary has. `sentences` has the (first, last + 1) word of each sentence, `main` the indices of those
    about the subject.
    """

    document: str
    summary: str
    words: tuple[str, ...]
    summary_words: tuple[str, ...]
    sources: tuple[tuple[int, ...], ...]
    facts: Facts
    sentences: tuple[tuple[int, int], ...]
    main: tuple[int, ...]


def brief(seed: int, *, others: float = 1.0) -> Brief:
    """Write a report of 60 to 120 words and its summary.

    Parameters
    ----------
    seed : int
        Not negative; the same seed gives the same report.
    others : float, default 1.0
        In 0..1, else a ValueError: the share that is kept of the sentences about other events. With
        fewer a report is shorter and easier: for learning from the easy to the hard.

    Returns
    -------
    Brief

    Examples
    --------
    >>> b = brief(1)
    >>> place = b.summary_words.index(b.facts.where)
    >>> {b.words[i] for i in b.sources[place]} == {b.facts.where}
    True
    """
    if seed < 0:
        raise ValueError(f"seed must not be negative, got {seed}")
    if not 0 <= others <= 1:
        raise ValueError(f"others must be in 0..1, got {others}")
    rng = np.random.default_rng([seed, 0x6272])
    fresh = _values(rng)
    slots = next(fresh)
    sentences = [_render(t, slots, tagged=True) for t in _about_the_subject(rng, slots)]
    n_main = len(sentences)
    further = _about_others(rng, slots, fresh)
    want = int(rng.integers(72, 108))
    while _length(sentences) < want:
        found = next(further)
        if _length([*sentences, found]) <= 120:
            sentences.append(found)
        elif _length(sentences) >= 60:
            break
    kept = n_main + math.ceil(others * (len(sentences) - n_main))
    order = [1 + int(i) for i in rng.permutation(kept - 1)]
    order.insert(0 if rng.random() < 0.6 else int(rng.integers(len(order) + 1)), 0)
    main = tuple(place for place, i in enumerate(order) if i < n_main)
    return _assemble([sentences[i] for i in order], main, slots)


def facts_right(summary: str, facts: Facts) -> dict[str, bool]:
    """Which facts a summary states, where the summaries of `brief` state them.

    Parameters
    ----------
    summary : str
        A model's; spaces do not matter. A summary of another form has every fact wrong.
    facts : Facts
        The truth.

    Returns
    -------
    dict of str to bool
        A value for each field of `Facts`.

    Examples
    --------
    >>> b = brief(0)
    >>> all(facts_right(b.summary, b.facts).values())
    True
    """
    # Whole words: the "on" of "Monday" or of a place called Fenton separates nothing.
    pattern = r"\s*".join(
        f"(?P<{w[1:-1]}>.+?)" if _SLOT.fullmatch(w) else rf"\b{w}\b" if w.isalnum() else re.escape(w)
        for w in _PART.findall(SUMMARY)
    )
    found = re.fullmatch(rf"\s*{pattern}\s*", summary)
    if found is None:
        return dict.fromkeys(Facts._fields, False)
    said = _facts({k: " ".join(v.split()) for k, v in found.groupdict().items()})
    return {name: mine == true for name, mine, true in zip(Facts._fields, said, facts, strict=True)}


def vocabulary() -> tuple[str, ...]:
    """Every word that a report or summary may hold, as written there, sorted."""
    written = {w for t in (SUMMARY, *(t for g in TEMPLATES.values() for t in g)) for w in _PART.findall(t)}
    written |= {w[0].upper() + w[1:] for w in written} | {"earlier"}
    written.update(*WORDS.values())
    return tuple(sorted(w for w in written if not _SLOT.fullmatch(w)))


def _facts(slots: Mapping[str, str]) -> Facts:
    return Facts(*(told.format_map(slots) for told in _TOLD))


def _values(rng: np.random.Generator) -> Iterator[dict[str, str]]:
    """Values of all slots, time after time, none of which comes twice until its list is used up."""
    fresh = {slot: cycle([words[i] for i in rng.permutation(len(words))]) for slot, words in WORDS.items()}

    def drawn(*slots: str) -> str:
        return " ".join([next(fresh[slot]) for slot in slots])

    while True:
        slots = {slot: drawn(slot) for slot in ("what", "noun", "object", "result", "n", "where")}
        slots |= {"who": drawn("forename", "surname"), "when": drawn("day", "time")}
        wrong = {"wrong_n": drawn("n"), "wrong_where": drawn("where"), "wrong_when": drawn("day", "time")}
        yield slots | wrong


def _one(rng: np.random.Generator, kind: str) -> str:
    return TEMPLATES[kind][int(rng.integers(len(TEMPLATES[kind])))]


def _about_the_subject(rng: np.random.Generator, slots: Mapping[str, str]) -> list[str]:
    """Templates that together hold every fact; the one that names the subject stands first."""
    named = rng.random() < 0.5
    out = [_one(rng, "subject" if named else "subject_alone"), _one(rng, "when" if named else "when_where")]
    out += [_one(rng, "who_how_many")] if rng.random() < 0.25 else [_one(rng, "who"), _one(rng, "how_many")]
    return [*out, _one(rng, "outcome")]


def _about_others(
    rng: np.random.Generator, main: Mapping[str, str], fresh: Iterator[dict[str, str]]
) -> Iterator[Tagged]:
    """Sentences without end about other events, each of which is introduced, and asides."""
    while True:
        slots = next(fresh)
        if rng.random() < 0.25:
            yield _render(_one(rng, "aside"), slots)
            continue
        if rng.random() < 0.5 or slots["what"] == main["what"]:
            slots["what"] = f"earlier {main['what']}"
        else:
            yield _render(_one(rng, "other"), slots)
        for i in rng.permutation(4)[: int(rng.integers(1, 4))]:
            yield _render(_one(rng, _EVENT[(i + 1) % 5]), slots)


def _render(template: str, slots: Mapping[str, str], *, tagged: bool = False) -> Tagged:
    """Fill a template; the words of a sentence about the subject are tagged."""
    out: Tagged = []
    for part in _PART.findall(template):
        slot = part[1:-1] if _SLOT.fullmatch(part) else ""
        tag = slot if tagged and part in SUMMARY else ""
        out += [(word, tag) for word in (slots[slot].split() if slot else [part])]
    return out


def _length(sentences: list[Tagged]) -> int:
    """Words without punctuation."""
    return sum(word.isalnum() for words in sentences for word, _ in words)


def _join(words: Iterable[str]) -> str:
    return re.sub(r" ([.,;])", r"\1", " ".join(words))


def _assemble(sentences: list[Tagged], main: tuple[int, ...], slots: Mapping[str, str]) -> Brief:
    """Put the sentences together and find the sources: the words of equal text and tag."""
    places: dict[tuple[str, str], list[int]] = {}
    for i, tagged in enumerate(chain(*sentences)):
        places.setdefault(tagged, []).append(i)
    words = tuple(word for word, _ in chain(*sentences))
    summary = _render(SUMMARY, slots, tagged=True)
    summary_words = tuple(word for word, _ in summary)
    return Brief(
        document=_join(words),
        summary=_join(summary_words),
        words=words,
        summary_words=summary_words,
        sources=tuple(tuple(places[word, tag]) if tag else () for word, tag in summary),
        facts=_facts(slots),
        sentences=tuple(pairwise(accumulate(map(len, sentences), initial=0))),
        main=main,
    )
