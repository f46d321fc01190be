"""Written reports with a known summary, and the words of the report from which each word of it comes.

A report is about one event, which one sentence names as its subject. Other events stand beside it, of
another kind or called "earlier"; numbers, days and places may be corrected ("not 12 but 15"). So every
fact of the summary has one right source.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate, chain, cycle, pairwise
from typing import NamedTuple

import numpy as np

WORDS: dict[str, tuple[str, ...]] = {
    slot: tuple(words.split())
    for slot, words in {
        "what": "flood fire storm landslide blast tornado hailstorm avalanche collapse crash leak riot quake "
        "gale mudslide wildfire",
        "noun": "houses boats farms cars shops barns trees wells roofs tents fences ships carts sheds",
        "object": "bridge school market harbour station mill library theatre church dam road hospital museum "
        "tower factory warehouse",
        "result": "closed reopened rebuilt guarded sold searched cleared moved repaired emptied locked fenced",
        "n": " ".join(map(str, range(2, 100))),
        "where": "Alder Ashby Barrow Beck Birch Bray Calder Corby Dalby Derwent Elm Falby Fenton Garsdale Glen "
        "Harby Hatton Irby Kelby Kirton Lund Marsden Melby Norby Oakham Penrith Quern Raby Ripley Selby Skirby "
        "Thornby Tilby Ulby Velby Wansford Welby Whitby Yarm Zeal",
        "forename": "Ada Ali Anna Boris Carla Chen Dora Emil Erik Fatima Frida Hana Hugo Ines Ivan Jonas Juan "
        "Karin Leo Lin Lucia Malik Marta Mei Nadia Nils Olga Omar Oscar Pablo Petra Ravi Rosa Samir Sofia Tariq "
        "Tom Vera Yuki Zoe",
        "surname": "Abbas Adler Bauer Berg Bruno Costa Cruz Dahl Diaz Farah Fischer Garcia Gupta Haddad Hansen "
        "Ito Jansen Kaya Keller Khan Kim Kovac Larsen Lopez Mehta Moreau Nagy Novak Okafor Olsen Park Patel Reyes "
        "Rossi Sato Silva Singh Tanaka Weber Wong",
        "day": "Monday Tuesday Wednesday Thursday Friday Saturday Sunday",
        "time": "morning noon afternoon evening night",
    }.items()
}
"""Every word of a report is from these lists and the templates: a model needs no spelling to copy one."""

SUMMARY = "The {what} struck {where} on {when}. {who} counted {n} damaged {noun}. The {object} was {result}."
SUBJECT = (
    "This report is about the {what} in {where}.",
    "The {what} in {where} is the subject of this report.",
    "What follows describes the {what} in {where}.",
    "The following account is of the {what} in {where}.",
)
SUBJECT_ALONE = (
    "This report is about the recent {what}.",
    "The recent {what} is the subject of this report.",
    "What follows describes the recent {what}.",
)
WHEN = (
    "The {what} came on {when}.",
    "It was {when} when the {what} began.",
    "On {when} the {what} began.",
    "The {what} came not on {wrong_when} but on {when}.",
    "The {what} came on {when}, not on {wrong_when}.",
)
WHEN_WHERE = (
    "On {when} the {what} reached {where}.",
    "{where} was hit by the {what} on {when}.",
    "The {what} reached {where} on {when}.",
    "The {what} on {when} reached not {wrong_where} but {where}.",
)
WHO = (
    "{who} counted the losses after the {what}.",
    "After the {what}, the losses were counted by {who}.",
    "The losses of the {what} were counted by {who}.",
    "To count the losses of the {what} fell to {who}.",
)
HOW_MANY = (
    "The {what} damaged {n} {noun}.",
    "In the {what}, {n} {noun} were damaged.",
    "{n} {noun} were damaged by the {what}.",
    "The {what} damaged not {wrong_n} but {n} {noun}.",
    "The {what} damaged {n} {noun}, not {wrong_n}.",
    "First accounts of the {what} gave {wrong_n} damaged {noun}, but the right number is {n}.",
    "Corrected from {wrong_n} to {n} is the number of {noun} damaged by the {what}.",
)
WHO_HOW_MANY = (
    "{who} counted {n} damaged {noun} after the {what}.",
    "After the {what}, {n} damaged {noun} were counted by {who}, not {wrong_n}.",
)
OUTCOME = (
    "Because of the {what}, the {object} was {result}.",
    "The {object} was {result} because of the {what}.",
    "After the {what} the {object} was {result}.",
    "As a result of the {what}, the {object} was {result}.",
)
ASIDE = (
    "{who} lives near {where} and heard of it on {when}.",
    "A market with {n} {noun} was held in {where}.",
    "{who} wrote these lines on {when}.",
    "In {where} the {object} was {result} by {who} for other reasons.",
)
OTHER = (
    "The earlier {what} in {where} is another matter.",
    "Not meant here is the earlier {what} in {where}.",
)
_SLOT = re.compile(r"\{(\w+)\}")
_PART = re.compile(r"\{\w+\}|\w+|[^\w\s]")
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
    groups = (SUBJECT, SUBJECT_ALONE, WHEN, WHEN_WHERE, WHO, HOW_MANY, WHO_HOW_MANY, OUTCOME, ASIDE, OTHER)
    written = {w for t in (SUMMARY, *(t for g in groups for t in g)) for w in _PART.findall(t)}
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


def _one(rng: np.random.Generator, *groups: tuple[str, ...]) -> str:
    every = [t for g in groups for t in g]
    return every[int(rng.integers(len(every)))]


def _about_the_subject(rng: np.random.Generator, slots: Mapping[str, str]) -> list[str]:
    """Templates that together hold every fact; the one that names the subject stands first."""
    named = rng.random() < 0.5
    out = [_one(rng, SUBJECT if named else SUBJECT_ALONE), _one(rng, WHEN if named else WHEN_WHERE)]
    out += [_one(rng, WHO_HOW_MANY)] if rng.random() < 0.25 else [_one(rng, WHO), _one(rng, HOW_MANY)]
    return [*out, _one(rng, OUTCOME)]


def _about_others(
    rng: np.random.Generator, main: Mapping[str, str], fresh: Iterator[dict[str, str]]
) -> Iterator[Tagged]:
    """Sentences without end about other events, each of which is introduced, and asides."""
    while True:
        slots = next(fresh)
        if rng.random() < 0.25:
            yield _render(_one(rng, ASIDE), slots)
            continue
        if rng.random() < 0.5 or slots["what"] == main["what"]:
            slots["what"] = f"earlier {main['what']}"
        else:
            yield _render(_one(rng, OTHER), slots)
        for i in rng.permutation(4)[: int(rng.integers(1, 4))]:
            yield _render(_one(rng, (WHEN, WHEN_WHERE, WHO, HOW_MANY, OUTCOME)[(i + 1) % 5]), slots)


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
