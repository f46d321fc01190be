"""Taking away what a map names, in a real browser: asked of Python, shown as words and a picture, refused without it."""

import numpy as np
import pytest
from browser_pages import alive, answer, summary_word, wait_until

import ultra_kit as uk

pytestmark = pytest.mark.browser

SHOWN = """() => { const image = document.querySelector(".uk-what-if > img");
  return Boolean(image && image.naturalWidth > 100); }"""


@pytest.fixture(scope="module")
def view():
    return uk.widgets.TokenExplorer(uk.capture(uk.load("scenes"), uk.data.scene(0).image))


@pytest.fixture(scope="module")
def summary():
    s = uk.summarize(
        uk.load("briefs"), "A flood struck the town. It damaged 115 houses.", summary="The flood struck."
    )
    return uk.widgets.SummaryExplorer(s)


def said(page):
    return page.locator(".uk-what-if figcaption").inner_text()


def button(page, name="Take away what this map names"):
    return page.get_by_role("button", name=name)


def by_hand(view):
    """The capture, and the map that the view shows, made by Python's own call."""
    cap, how = view._sides[0].capture, {"score": view.maps.score, "rule": view.maps.rule}
    return cap, uk.explain(cap, layer=view.layer, tokens=[view.pinned], **how)


def test_a_token_without_the_patches_that_its_map_names(visit, tmp_path, view):
    page = visit(alive(view, tmp_path / "t.html"))
    assert page.locator(".uk-what-if").is_hidden()
    button(page).click()
    assert said(page).startswith("Running the model")
    assert answer(page, view) == {"what_if": view.pinned}
    wait_until(page, SHOWN)
    # The words are those of Python's own call, made by hand.
    cap, own = by_hand(view)
    found = uk.intervene(cap, remove=own.top(view.pinned, 0.1), token=view.pinned, layer=view.layer)
    assert said(page).lower() == f"{found.sentence}.".lower()
    assert page.locator(".uk-what-if > img").get_attribute("alt") == said(page)
    page.keyboard.press("ArrowRight")  # another token: what was shown is of no use
    assert page.locator(".uk-what-if").is_hidden()
    assert page.locator(".uk-what-if > img").count() == 0


def test_a_token_with_only_the_patches_that_its_map_names(visit, tmp_path, view):
    page = visit(alive(view, tmp_path / "t.html"))
    button(page, "Keep only what it names").click()
    assert said(page) == "Running the model with only what the map names ..."
    assert answer(page, view) == {"what_if": view.pinned, "keep": True}
    wait_until(page, SHOWN)
    cap, own = by_hand(view)
    found = uk.intervene(cap, keep=own.top(view.pinned, 0.1), token=view.pinned, layer=view.layer)
    assert said(page).lower() == f"{found.sentence}.".lower() and "all but those kept" in said(page)
    page.locator(".uk-picture").first.focus()
    page.keyboard.press("k")
    assert answer(page, view) == {"what_if": view.pinned, "keep": True}


def test_the_deletion_curve_of_the_very_token_stands_beside_its_map(visit, tmp_path, view):
    page = visit(alive(view, tmp_path / "t.html"))
    button(page, "Deletion curve").click()
    assert said(page) == "Running the model without what the map names, step by step, ..."
    assert answer(page, view) == {"what_if": view.pinned, "curve": True}
    wait_until(page, SHOWN)
    # The areas are those of Python's own call, made by hand.
    cap, own = by_hand(view)
    chance = uk.baselines.random_map(cap, layer=view.layer, tokens=[view.pinned])
    mine, other = (uk.runs.perturb(cap, maps).areas["deletion"] for maps in (own, chance))
    assert said(page).startswith(f"Area under the curve {mine:.3f}, by chance {other:.3f}; ")
    page.locator(".uk-picture").first.focus()
    page.keyboard.press("d")
    assert answer(page, view) == {"what_if": view.pinned, "curve": True}


def test_the_key_asks_too_and_an_error_is_shown_where_it_was_asked(visit, tmp_path):
    maps = uk.explain(uk.capture(uk.load("scenes"), uk.data.scene(0).image), layer=3, tokens=[30])
    view = uk.widgets.TokenExplorer(maps)
    page = visit(alive(view, tmp_path / "t.html"))
    page.locator(".uk-picture").first.focus()
    page.keyboard.press("x")
    with pytest.raises(ValueError, match="needs a capture") as refused:
        view.answer(page.evaluate("window.sent.shift()"))
    page.evaluate("(error) => listeners['msg:custom'].forEach((f) => f({ error }, []))", str(refused.value))
    assert said(page) == "to take patches away the view needs a capture: TokenExplorer(cap)"
    assert page.locator(".uk-what-if > img").count() == 0


@pytest.mark.parametrize("name", ["view", "summary"])
def test_a_page_without_a_kernel_says_that_it_needs_one(visit, tmp_path, name, request):
    page = visit(uk.export_html(request.getfixturevalue(name), tmp_path / "v.html"))
    button(page).click()
    assert said(page).startswith(
        "Not connected to Python: to take away what the map names the model has to run again"
    )


def test_the_next_word_without_the_words_that_its_evidence_names(visit, tmp_path, summary):
    summary.chosen = [1]
    page = visit(alive(summary, tmp_path / "s.html"))
    button(page).click()
    assert answer(page, summary) == {"what_if": [1]}
    wait_until(page, SHOWN)
    found = summary.what_if()
    s = summary._shelf.summary
    best = int(np.argmax(summary.row()))
    assert set(s.document_words[best].tokens) <= set(found.removed.tolist())
    assert found.token == s.positions(1)[0] and "next token" in said(page)
    # And with only these: all other words of the document go, the prompt and the summary so far stay.
    button(page, "Keep only what it names").click()
    assert answer(page, summary) == {"what_if": [1], "keep": True}
    document = {t for word in s.document_words for t in word.tokens}
    kept = document - set(summary.what_if(keep=True).removed.tolist())
    assert kept == set(found.removed.tolist())
    summary_word(page, 2).click()
    assert page.locator(".uk-what-if").is_hidden()


def test_live_widgets_answer(view):
    sent = []
    widget = view.live()
    widget.send = lambda content, buffers=None: sent.append((content, buffers))
    widget._handle_custom_msg({"what_if": view.pinned}, [])
    ((content, (picture,)),) = sent
    assert content["what_if"] == view.what_if().sentence and picture[:4] == b"\x89PNG"
