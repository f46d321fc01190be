"""`SummaryExplorer` in a real browser: what is shaded, chosen, marked, asked for, and what does not run."""

from xml.etree import ElementTree

import numpy as np
import pytest
from browser_pages import (
    HOSTILE,
    alive,
    answer,
    expected_shades,
    summary_shades,
    summary_word,
    wait_for_summary,
)
from toys_text import DOCUMENT, SUMMARY, evidence_of

import ultra_kit as uk
from ultra_kit.widgets import summary_books
from ultra_kit.widgets.summary_explorer import SummaryExplorer

pytestmark = pytest.mark.browser


def test_the_shades_are_the_numbers(visit, tmp_path):
    ev, raw = evidence_of(), evidence_of(method="raw_attention", seed=5)
    view = SummaryExplorer([ev, raw])
    assert view.beside == "raw attention"
    page = visit(uk.export_html(view, tmp_path / "s.html"))
    for number in (0, 3, 7):
        summary_word(page, number).hover()
        wait_for_summary(page, chosen=str(number))
        assert summary_shades(page) == expected_shades(ev, [number])
        assert summary_shades(page, 1) == expected_shades(raw, [number])
        share = ev.by_sentence[number] / ev.by_sentence[number].sum()
        shown = page.locator(".uk-sum-panel").first.locator(".uk-sum-share").all_inner_texts()
        assert [int(text[:-1]) for text in shown] == np.floor(100 * share + 0.5).astype(int).tolist()
        assert page.locator(".uk-end").first.inner_text() == f"{ev.row(number).max():.3}".ljust(5, "0")
    page.mouse.move(0, 0)
    wait_for_summary(page, chosen=str(view.chosen[0]))


def test_clicks_choose_words_and_sentences(visit, tmp_path):
    ev = evidence_of()
    page = visit(uk.export_html(SummaryExplorer(ev), tmp_path / "s.html"))
    summary_word(page, 1).click()
    page.mouse.move(0, 0)
    wait_for_summary(page, chosen="1")
    summary_word(page, 4).click(modifiers=["Shift"])
    page.mouse.move(0, 0)
    wait_for_summary(page, chosen="1 2 3 4")
    assert summary_shades(page) == expected_shades(ev, [1, 2, 3, 4])
    page.get_by_role("button", name="sentence 2").click()
    page.mouse.move(0, 0)
    wait_for_summary(page, chosen="6 7 8")
    assert summary_shades(page) == expected_shades(ev, [6, 7, 8])
    assert page.locator(".uk-sum-said [aria-selected=true]").all_inner_texts() == ["Rain", "fell", "."]


def test_keys_choose_words_layer_and_kind(visit, tmp_path):
    evs = [evidence_of(layer=k) for k in (1, 2)] + [evidence_of(method="rollout", seed=7)]
    view = SummaryExplorer(evs)
    view.chosen, view.layer = [0], 2
    page = visit(uk.export_html(view, tmp_path / "s.html"))
    page.locator(".uk-sum-said").focus()
    for key, chosen in [
        ("ArrowRight", "1"),
        ("Shift+ArrowRight", "1 2"),
        ("ArrowDown", "6 7 8"),
        ("ArrowUp", "0 1 2 3 4 5"),
        ("ArrowRight", "6"),
        ("s", "6 7 8"),
    ]:
        page.keyboard.press(key)
        wait_for_summary(page, chosen=chosen)
    page.keyboard.press("-")
    wait_for_summary(page, layer="1")
    assert summary_shades(page) == expected_shades(evs[0], [6, 7, 8])
    page.keyboard.press("+")
    page.keyboard.press("m")
    wait_for_summary(page, layer="2", kind="rollout")
    assert summary_shades(page) == expected_shades(evs[2], [6, 7, 8])
    page.keyboard.press("b")  # after rollout comes "nothing"
    page.wait_for_function("document.querySelectorAll('.uk-sum-panel')[1].hidden")


def test_coverage_marks_what_was_not_used(visit, tmp_path):
    ev = evidence_of()
    ev.matrix[:] = 0
    ev.matrix[:, 0] = 1  # every word takes all from the first sentence,
    ev.matrix[6:8, 14] = 5  # but two from the third
    ev.matrix[3, 0] = 0.01  # one the model was sure of: a small map,
    ev.shares["document"][4] = 0.01  # and one takes next to nothing of its map from the document
    page = visit(uk.export_html(SummaryExplorer(ev), tmp_path / "s.html"))
    assert page.locator(".uk-sum-unused, .uk-sum-weak").count() == 0
    page.get_by_label("Coverage").check()
    wait_for_summary(page, coverage="true")
    numbers = page.locator(".uk-sum-unused .uk-sum-number").all_inner_texts()
    assert numbers == ["2", "4"]
    assert page.locator(".uk-sum-weak").all_inner_texts() == ["houses"]
    assert "2 of 4 document sentences" in page.locator(".uk-sum-covered").inner_text()


@pytest.mark.parametrize("text", HOSTILE, ids=["script", "img", "comment", "separator", "rtl", "long"])
def test_hostile_texts_are_text(visit, tmp_path, text):
    document = f"It said {text} and left. {text}\nAgain {text}"
    said = f"Said {text}. {text}"
    other = evidence_of(document, said, rows=[0], score="logprob", contrast=text)
    view = SummaryExplorer([evidence_of(document, said), other])
    page = visit(uk.export_html(view, tmp_path / "s.html", title=text))
    wait_for_summary(page, coverage="false")
    assert page.evaluate("window.pwned") is None
    read = "(nodes) => nodes.map((node) => node.textContent).join('')"
    assert page.locator(".uk-sum-panel:not([hidden]) .uk-sum-text").evaluate_all(read) == document
    assert page.locator(".uk-sum-said .uk-sum-text").evaluate_all(read) == said
    offered = page.locator("option").evaluate_all("(nodes) => nodes.map((node) => node.textContent)")
    assert text in offered  # whole, where a word of a document is never more than its letters
    assert page.locator("script[src], .uk-view img").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_what_is_not_in_the_file_is_said(visit, tmp_path):
    view = SummaryExplorer([evidence_of(rows=[1, 2]), evidence_of(layer=1, rows=[2, 3])])
    page = visit(uk.export_html(view, tmp_path / "s.html"))
    summary_word(page, 3).click()
    page.mouse.move(0, 0)
    wait_for_summary(page, chosen="3", found="false")
    assert "not in this file" in page.locator(".uk-sum-missing").first.inner_text()
    assert set(map(str, summary_shades(page))) == {"None"}
    summary_word(page, 5).click()  # explained nowhere
    page.mouse.move(0, 0)
    wait_for_summary(page, chosen="3")


def test_the_pictures_hold_what_is_shown(visit, tmp_path):
    ev = evidence_of(text=f"The flood <b>damaged</b> 15 houses. {'y' * 3000}")
    view = SummaryExplorer(ev)
    view.chosen = [1]
    page = visit(uk.export_html(view, tmp_path / "s.html"))
    with page.expect_download() as got:
        page.get_by_role("button", name="SVG").click()
    root = ElementTree.parse(got.value.path()).getroot()
    names = [node.text for node in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"flood", "<", "Monday", "used"} & set(names) == {"flood", "<", "Monday"}
    fills = [node.get("fill") for node in root.iter("{http://www.w3.org/2000/svg}rect")]
    wanted = [f"rgb({r}, {g}, {b})" for r, g, b in filter(None, expected_shades(ev, [1]))]
    assert [fill for fill in fills if fill.startswith("rgb")] == wanted
    with page.expect_download() as got:
        page.get_by_role("button", name="PNG").click()
    with open(got.value.path(), "rb") as file:
        assert file.read(8) == b"\x89PNG\r\n\x1a\n"


def test_a_page_with_a_kernel_asks_for_what_it_lacks(visit, tmp_path, monkeypatch):
    monkeypatch.setattr(summary_books, "_MAX_ENTRIES", 0)
    s = uk.summarize(uk.load("briefs", pretrained=False), DOCUMENT, summary=SUMMARY)
    view = SummaryExplorer(s, scores=["norm"], baselines=["raw_attention"])
    page = visit(alive(view, tmp_path / "s.html"))
    summary_word(page, 3).click()
    page.mouse.move(0, 0)
    wait_for_summary(page, found="false true")  # attention costs nothing and is there
    assert answer(page, view) == {"kind": view.kind, "layer": 3, "contrast": "", "words": [3]}
    wait_for_summary(page, chosen="3", found="true true")
    assert summary_shades(page) == expected_shades(uk.evidence(s, words=[3], score="norm"), [3])
    page.evaluate("model.set('layer', 1)")  # as Python would
    assert answer(page, view)["layer"] == 1
    wait_for_summary(page, layer="1", found="true true")
    page.get_by_placeholder("another word").fill("12")
    page.keyboard.press("Enter")
    for side, rule in enumerate(["positive", "negative"]):  # what speaks for 15, and for 12
        asked = {"kind": ["", "against"][side], "layer": 1, "contrast": "12", "words": [3]}
        assert answer(page, view) == asked
        contrast = uk.evidence(s, layer=1, rule=rule, words=[3], contrast="12")
        shades = expected_shades(contrast, [3])
        page.wait_for_function(
            "([n]) => !document.querySelectorAll('.uk-sum-missing')[n].textContent", arg=[side]
        )
        assert summary_shades(page, side) == shades
    wait_for_summary(page, contrast="12", found="true true")
    assert "speaks for “12” instead of “15”" in page.locator(".uk-sum-panel figcaption").nth(1).inner_text()
    page.evaluate("listeners['msg:custom'].forEach((f) => f({ error: 'contrast must differ' }, []))")
    assert page.locator(".uk-caption").first.inner_text() == "contrast must differ"


@pytest.mark.parametrize("cut", [False, True])
def test_a_cut_summary_says_so(visit, tmp_path, cut):
    view = SummaryExplorer(evidence_of(card={"summary": {"cut": cut}}))
    page = visit(uk.export_html(view, tmp_path / "s.html"))
    wait_for_summary(page, chosen=str(view.chosen[0]))
    assert page.locator(".uk-sum-cut").count() == cut
    title = view.figure().axes[0].get_title(loc="left")
    assert ("cut: no tokens were left" in title) == cut
