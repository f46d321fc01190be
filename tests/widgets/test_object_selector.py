"""`ObjectSelector` in Python: its state, what it refuses, and its picture."""

import numpy as np
import pytest
import traitlets
from PIL import Image
from toys_selection import CAP, MAPS, capture_of

import ultra_kit as uk


@pytest.fixture
def view():
    return uk.widgets.ObjectSelector(CAP, maps=MAPS, prompts=["bar"])


def test_the_selection_follows_the_state(view):
    assert view.selection is None and "nothing picked" in repr(view)
    view.wanted = [(13, 20)]
    expected = uk.select(CAP, points=[(13, 20)], maps=MAPS)
    np.testing.assert_array_equal(view.selection.mask, expected.mask)
    view.threshold = 0.7
    np.testing.assert_array_equal(view.selection.mask, expected.recut(threshold=0.7).mask)
    view.wanted, view.prompt = [], "bar"
    assert view.selection.text == "bar"


@pytest.mark.parametrize(
    ("name", "value"),
    [("wanted", [(48, 1)]), ("unwanted", [3]), ("box", [1, 2, 1, 5]), ("box", [1, 2]), ("threshold", 1.2)],
)
def test_bad_values_are_refused(view, name, value):
    before = view.state
    with pytest.raises(traitlets.TraitError):
        setattr(view, name, value)
    assert view.state == before


def test_the_maps_travel_rounded(view):
    data = view.data()
    levels = np.frombuffer(data["levels"], np.uint8).reshape(24, 24) / 255.0
    values = MAPS.content * (1 - np.eye(24))
    np.testing.assert_allclose(np.sqrt(values / values.max(1, keepdims=True)), levels, atol=0.5 / 255 + 1e-6)
    assert data["code_end"] == ", layer=-1)" and data["prompts"] == [["bar", 4]]


def test_a_live_page_asks_for_a_text(view):
    assert view.answer({"text": "object"}) == ({"place": ["object", 1]}, [])


def test_pictures(view, tmp_path):
    empty = Image.open(view.save_png(tmp_path / "a.png")).width
    view.wanted = [(13, 20)]
    assert Image.open(view.save_png(tmp_path / "b.png")).width > empty
    assert view.save_svg(tmp_path / "b.svg").read_text().startswith("<?xml")


def test_what_is_no_map_or_no_list_of_texts_is_refused():
    with pytest.raises(TypeError, match=r"ObjectSelector needs Capture, got ExplanationMaps: capture first"):
        uk.widgets.ObjectSelector(MAPS)
    with pytest.raises(TypeError, match=r"must be ExplanationMaps, got Capture; call uk\.explain"):
        uk.widgets.ObjectSelector(CAP, maps=CAP)
    with pytest.raises(TypeError, match=r"several texts, got 'bar' alone; pass \['bar'\]"):
        uk.widgets.ObjectSelector(CAP, prompts="bar")


def test_errors_say_what_must_hold():
    text = uk.types.Layout("text", 0, tokens=("a", "b"))
    with pytest.raises(ValueError, match="of an image"):
        uk.widgets.ObjectSelector(capture_of(layout=text))
    large = uk.types.Layout("image", 0, (40, 40), (80, 80))
    with pytest.raises(ValueError, match="at most 1200"):
        uk.widgets.ObjectSelector(capture_of(layout=large))
