"""Briefs: a reader who knows only the rules of the world finds the summary; the sources are where it says."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ultra_kit as uk
from ultra_kit.data import drawn_reports as briefs

seeds = st.integers(0, 2**40)
few = settings(max_examples=40)


@few
@given(seeds)
def test_the_words_are_the_documents(seed):
    b = uk.data.brief(seed)
    assert re.findall(r"\w+|[^\w\s]", b.document) == list(b.words)
    assert re.findall(r"\w+|[^\w\s]", b.summary) == list(b.summary_words)
    assert 60 <= sum(w.isalnum() for w in b.words) <= 120
    assert [b.words[i] for _, stop in b.sentences for i in [stop - 1]] == ["."] * len(b.sentences)
    assert [start for start, _ in b.sentences] == [0, *(stop for _, stop in b.sentences[:-1])]
    assert b.sentences[-1][1] == len(b.words)


@few
@given(seeds)
def test_sources_hold_the_word_in_a_sentence_about_the_subject(seed):
    b = uk.data.brief(seed)
    main = {i for k in b.main for i in range(*b.sentences[k])}
    fact_words = set(" ".join(b.facts).split())
    for word, source in zip(b.summary_words, b.sources, strict=True):
        assert bool(source) == (word in fact_words)
        assert all(b.words[i] == word for i in source)
        assert main.issuperset(source)
    others = {b.words[i] for i in range(len(b.words))} - {b.words[i] for i in main}
    assert not others & set(" ".join((b.facts.who, b.facts.where)).split())


def read(document):
    """The facts, found by the rules: the subject is named; the rest is in sentences about it, not an earlier one."""
    sentences = [s.strip() for s in document.rstrip(".").split(".")]
    subject = r"report is about the (?:recent )?(\w+)|The (?:recent )?(\w+)(?: in \w+)? is the subject"
    subject += r"|follows describes the (?:recent )?(\w+)|account is of the (\w+)"
    (found,) = [m for m in (re.search(subject, s) for s in sentences) if m]
    what = next(g for g in found.groups() if g)
    about = [s for s in sentences if re.search(rf"(?<!earlier )\b{what}\b", s)]
    text = ". ".join(re.sub(r",? not (?:on )?(?:[A-Z]\w+ \w+|\w+)(?: but)?", "", s) for s in about)
    day = re.search(rf"({'|'.join(briefs.WORDS['day'])}) (\w+)", text)
    names = re.findall(r"([A-Z][a-z]+) ([A-Z][a-z]+)", text)
    (who,) = {f"{a} {b}" for a, b in names if b not in briefs.WORDS["day"]}
    number = [n for n in re.findall(r"\d+", re.sub(r"gave \d+|from \d+ to", "", text))]
    noun = re.search(rf"\b({'|'.join(briefs.WORDS['noun'])})\b", text)[1]
    where = re.search(rf"(?:{what} in|reached) ([A-Z]\w+)|([A-Z]\w+) was hit", text)
    outcome = re.search(r"the (\w+) was (\w+)", text, re.I)
    (number,) = set(number)
    return briefs.Facts(
        who,
        what,
        where[1] or where[2],
        " ".join(day.groups()),
        f"{number} {noun}",
        " ".join(outcome.groups()),
    )


@few
@given(seeds)
def test_the_document_tells_the_facts_unambiguously(seed):
    b = uk.data.brief(seed)
    assert read(b.document) == b.facts
    assert all(uk.data.facts_right(b.summary, b.facts).values())


def test_variety():
    many = [uk.data.brief(s) for s in range(60)]
    assert len({b.summary for b in many}) == len({b.document for b in many}) == 60
    assert {b.facts.what for b in many} == set(briefs.WORDS["what"])
    assert len({b.facts.who for b in many}) > 55 and len({b.facts.where for b in many}) > 25
    joined = " ".join(b.document for b in many)
    assert " not " in joined and "right number" in joined and "earlier" in joined
    assert any(b.main[0] > 0 for b in many) and any(b.main != tuple(range(len(b.main))) for b in many)
    words = {w for b in many for w in b.words + b.summary_words}
    assert words <= set(briefs.vocabulary())


def test_a_seed_gives_one_brief_and_a_negative_one_is_refused():
    assert uk.data.brief(5) == uk.data.brief(5) != uk.data.brief(6)
    with pytest.raises(ValueError, match="seed must not be negative, got -1"):
        uk.data.brief(-1)


@few
@given(seeds, st.floats(0, 1))
def test_fewer_others_leave_the_subject_and_its_summary(seed, share):
    whole, part = uk.data.brief(seed), uk.data.brief(seed, others=share)
    assert part.summary == whole.summary
    assert len(part.main) == len(whole.main)
    sentences = len(whole.sentences) - len(whole.main)
    assert len(part.sentences) - len(part.main) == -int(-share * sentences // 1)  # rounded up
    assert read(part.document) == part.facts
    for word, source in zip(part.summary_words, part.sources, strict=True):
        assert all(part.words[i] == word for i in source)
    assert uk.data.brief(seed, others=1) == whole


@pytest.mark.parametrize("share", [-0.1, 1.01, float("nan")])
def test_a_share_outside_of_0_to_1_is_refused(share):
    with pytest.raises(ValueError, match=r"others must be in 0\.\.1"):
        uk.data.brief(0, others=share)


def test_wrong_facts_are_told_apart():
    b = uk.data.brief(0)
    number = b.facts.how_many.split()[0]
    right = uk.data.facts_right(b.summary.replace(f" {number} ", " 4711 "), b.facts)
    assert [name for name, ok in right.items() if not ok] == ["how_many"]
    spaced = " ".join(b.summary_words)
    assert all(uk.data.facts_right(spaced, b.facts).values())
    assert not any(uk.data.facts_right("", b.facts).values())
