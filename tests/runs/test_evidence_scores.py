"""Scores on briefs: evidence that knows the truth scores one, evidence that knows nothing scores chance."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

import ultra_kit as uk
from ultra_kit.data.drawn_reports import brief
from ultra_kit.runs.synthetic_truth import measure_evidence, source_words

SEEDS = [3, 8]


@pytest.fixture(scope="module")
def model():
    return uk.load("briefs", pretrained=False)


def knowing(s, words):
    """The truth, read off the brief word by word."""
    (b,) = [b for b in map(brief, SEEDS) if b.document == s.document]
    rows = [[float(i in b.sources[w]) for i in range(len(b.words))] for w in words]
    return replace(uk.evidence(s, words=words, layer=1), matrix=np.array(rows, np.float32))


def silent(s, words):
    ev = uk.evidence(s, words=words, layer=1)
    return replace(ev, matrix=np.ones_like(ev.matrix))


def test_the_truth_scores_one_and_a_constant_scores_chance(model):
    scores = measure_evidence(model, {"knowing": knowing, "silent": silent}, SEEDS, progress=False)
    assert scores["knowing"] == {"AP": 1, "pointing": 1, "energy": 1}
    expected = np.mean(
        [len(source) / len(b.words) for b in map(brief, SEEDS) for source in b.sources if source]
    )
    for row in (scores["silent"], scores["chance"]):
        assert row == pytest.approx(dict.fromkeys(("AP", "pointing", "energy"), expected))


def test_only_words_that_the_model_gets_right():
    model, seen = uk.load("briefs"), []
    # In the first it writes "trees" for "carts", in the second "road" for "museum".
    seeds = (310_011, 310_015)

    def watching(s, words):
        with torch.no_grad():
            best = model.module(**s.capture.inputs).logits[0].argmax(-1).tolist()
        ids = s.capture.inputs["input_ids"][0].tolist()
        seen.extend(all(best[p - 1] == ids[p] for p in s.words[w].tokens) for w in words)
        return uk.evidence(s, words=words, layer=1)

    measure_evidence(model, {"watching": watching}, seeds, progress=False)
    right = sum(seen)
    assert 0 < right < len(seen)
    seen.clear()
    measure_evidence(model, {"watching": watching}, seeds, known=True, progress=False)
    assert all(seen) and len(seen) == right


def test_fact_words_and_their_sources(model):
    b = brief(3)
    s = uk.summarize(model, b.document, summary=b.summary)
    words, truth = source_words(b, s)
    assert [s.words[w].text for w in words] == [
        w for w, source in zip(b.summary_words, b.sources, strict=True) if source
    ]
    for word, row in zip(words, truth, strict=True):
        assert {s.document_words[i].text for i in np.flatnonzero(row)} == {s.words[word].text}


def test_another_summary_or_document_is_refused(model):
    b = brief(3)
    with pytest.raises(ValueError, match=r"the summary must be 'The wildfire .*', got 'The end'"):
        source_words(b, uk.summarize(model, b.document, summary="The end"))
    with pytest.raises(ValueError, match="of the brief's document"):
        source_words(b, uk.summarize(model, "A flood.", summary=b.summary))
    with pytest.raises(ValueError, match="at least one"):
        measure_evidence(model, {"ULTra": partial(uk.evidence, layer=1)}, [], progress=False)
