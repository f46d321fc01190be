"""`SummaryExplorer` and `workbench` in Python: numbers, state, what is asked for, and what is refused."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys_models import IMAGE, own_model
from traitlets import TraitError

import ultra_kit as uk
from ultra_kit.text.words import split_sentences, split_words
from ultra_kit.widgets import summary_books
from ultra_kit.widgets.summary_books import pieces
from ultra_kit.widgets.summary_explorer import SummaryExplorer
from ultra_kit.widgets.tabs import Workbench
from ultra_kit.widgets.token_explorer import TokenExplorer
from ultra_kit.widgets.view import View

DOCUMENT = "The flood came on Monday. It damaged not 12 but 15 houses. Rain fell."
SUMMARY = "The flood damaged 15 houses."


@pytest.fixture(scope="module")
def s():
    return uk.summarize(uk.load("briefs", pretrained=False), DOCUMENT, summary=SUMMARY)


@pytest.fixture(scope="module")
def evs(s):
    return [uk.evidence(s, layer=k, method="raw_attention") for k in (2, 5)] + [
        uk.evidence(s, layer=2, score="norm", words=[1, 3], progress=False)
    ]


@pytest.fixture
def lazy(s, monkeypatch):
    """A view that works out nothing beforehand but one word."""
    monkeypatch.setattr(summary_books, "_MAX_ENTRIES", 0)
    return SummaryExplorer(s, scores=["norm", "logprob"], baselines=["raw_attention"])  # own layer: 3


def test_words_asked_for_one_by_one_give_the_whole(lazy, s):
    lazy.layer = 2
    for word in (3, 0, 5, 1):
        lazy.chosen = [word]
        assert lazy.row().shape == (len(s.document_words),)
    whole = uk.evidence(s, layer=2, score="norm", words=[0, 1, 3, 5], progress=False)
    np.testing.assert_array_equal(lazy.evidence.rows, [0, 1, 3, 5])
    np.testing.assert_allclose(lazy.evidence.matrix, whole.matrix, rtol=1e-5)
    for name, share in whole.shares.items():
        np.testing.assert_allclose(lazy.evidence.shares[name], share, rtol=1e-5)
    lazy.chosen = [1, 5]
    each = whole.matrix[[1, 3]] / whole.matrix[[1, 3]].sum(1, keepdims=True)  # no word rules the others
    np.testing.assert_allclose(lazy.row(), each.sum(0), rtol=1e-5)


def test_only_the_first_word_is_worked_out_where_it_is_much_work(lazy, s):
    assert {kind: len(book.rows) for (kind, layer, *_), book in lazy._shelf.books.items() if layer == 3} == {
        "ULTra: norm, positive": 1,
        "raw attention": len(s.words),
    }
    assert lazy.layers == [1, 2, 3, 4, 5]
    assert (
        lazy.layer == 3
    )  # where it opens: at its own layer, which is worked out, not at the lowest that fits
    assert lazy.kinds == ["ULTra: norm, positive", "ULTra: logprob, positive", "raw attention"]


def test_little_work_is_done_beforehand(s, monkeypatch):
    monkeypatch.setattr(summary_books, "_MAX_ENTRIES", 10**9)
    asked = []
    monkeypatch.setattr(
        summary_books,
        "evidence",
        lambda s, **options: asked.append(options) or uk.evidence(s, method="cosine"),
    )
    SummaryExplorer(s, scores=["norm"], baselines=[])
    assert [options["layer"] for options in asked] == [
        3,
        5,
        2,
        4,
        1,
    ]  # its own, the last, the middle, the quarters


def test_the_contrast_is_that_of_evidence(lazy, s):
    lazy.chosen, lazy.layer, lazy.contrast = [3], 2, "12"
    wanted = uk.evidence(s, layer=2, score="logprob", words=[3], contrast="12", progress=False)
    np.testing.assert_allclose(lazy.row(), wanted.matrix[0], rtol=1e-5)
    lazy.chosen = [1, 3]
    with pytest.raises(ValueError, match="one chosen word"):
        lazy.row()
    with pytest.raises(ValueError, match="must differ"):
        lazy.answer({"kind": "", "layer": 2, "contrast": "15", "words": [3]})


def test_a_complete_answer_brings_the_coverage(lazy, s):
    words = list(range(len(s.words)))
    message = {"kind": "ULTra: norm, positive", "layer": 1, "contrast": "", "words": words[:2]}
    content, (data, _) = lazy.answer(message)
    assert content["book"]["rows"] == [0, 1] and "unused" not in content["book"]
    content, (data, places) = lazy.answer({**message, "words": words})
    whole = uk.evidence(s, layer=1, score="norm", progress=False)
    np.testing.assert_allclose(
        np.frombuffer(data, "<f4").reshape(whole.matrix.shape), whole.matrix, rtol=1e-5
    )
    expected = np.stack([whole.shares[k] for k in ("document", "summary", "sinks", "prompt")], axis=1)
    np.testing.assert_allclose(np.frombuffer(places, "<f4").reshape(-1, 4), expected, rtol=1e-5)
    cover = whole.coverage()
    assert content["book"]["unused"] == list(cover.unused) and content["book"]["weak"] == list(cover.weak)


def test_the_live_view_and_the_page_have_one_state(evs):
    view = SummaryExplorer(evs)
    live = view.live()
    live.chosen = [3]  # as a click in the page does
    assert view.chosen == [3]
    view.layer = 5
    assert live.layer == 5
    live.chosen = [99]  # refused: the page is put right
    assert live.chosen == view.chosen == [3]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("chosen", []),
        ("chosen", [99]),
        ("layer", 3),
        ("kind", "cosine"),
        ("beside", "nothing"),
        ("coverage", 2),
    ],
)
def test_a_state_that_cannot_be_is_refused(evs, name, value):
    view = SummaryExplorer(evs)
    with pytest.raises(TraitError, match=name):
        setattr(view, name, value)


def test_sources_that_do_not_fit_are_refused(s, evs):
    with pytest.raises(
        TypeError, match=r"Evidence or a Summary, got int; call uk\.evidence or uk\.summarize"
    ):
        SummaryExplorer([3])
    with pytest.raises(ValueError, match="at least one"):
        SummaryExplorer([])
    with pytest.raises(ValueError, match="each once"):
        SummaryExplorer([evs[0], evs[0]])
    other = uk.summarize(s.capture.model, DOCUMENT, summary="Rain fell.")
    with pytest.raises(ValueError, match="one summary"):
        SummaryExplorer([evs[0], uk.evidence(other, method="cosine")])
    with pytest.raises(ValueError, match="guess"):
        SummaryExplorer(s, baselines=["guess"])
    view = SummaryExplorer(evs)
    view.layer, view.kind, view.chosen = 2, "ULTra: norm, positive", [0]
    with pytest.raises(ValueError, match="from the Summary"):
        view.row()


def test_a_page_carries_no_more_than_it_may(evs, monkeypatch):
    monkeypatch.setattr(summary_books, "_MAX_BYTES", evs[1].matrix.nbytes)
    view = SummaryExplorer(evs)
    view.layer = 5
    packed = view.data()
    assert [(book["kind"], book["layer"]) for book in packed["books"]] == [("raw attention", 5)]
    assert packed["left_out"] == 2 and packed["matrix"] == evs[1].matrix.astype("<f4").tobytes()


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_pieces_make_up_the_text(text):
    words = split_words(text)
    if not words:
        return
    cut = pieces(text, split_sentences(words, text))
    assert "".join("".join(a + b for a, b in c["pairs"]) + c["tail"] for c in cut) == text
    assert [b for c in cut for _, b in c["pairs"]] == [w.text for w in words]


def test_the_picture_shades_and_frames(evs, tmp_path):
    view = SummaryExplorer(evs)
    view.layer, view.chosen, view.coverage = 5, [0, 1], True
    before = plt.get_fignums()
    figure = view.figure()
    assert plt.get_fignums() == before  # nothing is left with pyplot
    summary, document = figure.axes[:2]
    assert len(summary.patches) == 2
    assert len(document.patches) == int((view.row() > 0).sum())
    assert len(document.lines) == sum(
        b - a for k, (a, b) in enumerate(evs[1].document_sentences) if k in evs[1].coverage().unused
    )
    text = view.save_svg(tmp_path / "x.svg").read_text("utf-8")
    assert text == view.save_svg(tmp_path / "y.svg").read_text("utf-8")


def test_the_line_that_says_what_it_is(evs):
    view = SummaryExplorer(evs)
    view.chosen = [0, 1]
    assert repr(view) == (
        "SummaryExplorer(17 document words, 6 summary words, layer 2, raw attention, chosen='The flood')"
    )


# --- workbench -----------------------------------------------------------------------------------------


def test_a_text_has_its_summary(monkeypatch):
    monkeypatch.setattr(summary_books, "_MAX_ENTRIES", 0)
    bench = uk.widgets.workbench(uk.load("briefs", pretrained=False), DOCUMENT, layer=3)
    assert list(bench.views) == ["Summary"] and bench["Summary"].layer == 3


def test_an_image_has_its_views():
    bench = uk.widgets.workbench(own_model(), IMAGE, layer=2)
    assert list(bench.views) == ["Tokens", "Segments", "Objects"]
    assert bench["Tokens"].layer == 2 and all(isinstance(v, View) for v in bench.views.values())
    with pytest.raises(KeyError, match="no tab 'Text'; there are Tokens"):
        bench["Text"]
    with pytest.raises(ValueError, match="layer must be 1 or more"):
        uk.widgets.workbench(own_model(), IMAGE, layer=0)


def test_live_tabs_are_linked(evs):
    layout = uk.types.Layout("image", n_prefix=0, grid=(2, 3), size=(16, 24))
    maps = uk.types.ExplanationMaps(np.eye(6, dtype=np.float32), np.arange(6), 4, layout)
    bench = Workbench({"Tokens": TokenExplorer(maps), "Summary": SummaryExplorer(evs)})
    live = bench.live()
    assert live is bench.live() and live.titles == ("Tokens", "Summary")
    live.selected_index = 1
    assert bench.tab == 1
    bench.tab = 0
    assert live.selected_index == 0
    live.children[1].chosen = [3]
    assert bench["Summary"].chosen == [3]
    with pytest.raises(TraitError, match=r"tab must be in 0\.\.1"):
        bench.tab = 2


def test_a_bench_needs_views(evs):
    with pytest.raises(ValueError, match="at least one view"):
        Workbench({})
    with pytest.raises(TypeError, match="Evidence"):
        Workbench({"Evidence": evs[0]})
