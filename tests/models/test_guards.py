"""What a model was never made for: one sentence, and the name of the model to use."""

import dataclasses
import warnings

import numpy as np
import pytest
from PIL import Image

import ultra_kit as uk
from ultra_kit.models.briefs_model import doubt_words
from ultra_kit.models.scenes_model import doubt_scene


@pytest.mark.parametrize("name", uk.data.photographs())
def test_a_photograph_is_none_of_the_drawn_scenes(name):
    said = doubt_scene(uk.data.photograph(name))
    assert said is not None and "load('dinov2')" in said and "\n" not in said


@pytest.mark.parametrize("size", [(96, 96), (48, 200), (256, 160)])
def test_drawn_scenes_raise_no_alarm(size):
    assert [seed for seed in range(80) if doubt_scene(uk.data.scene(seed, size=size).image)] == []


def test_capture_says_it_once_and_goes_on():
    model = uk.load("scenes")
    with pytest.warns(UserWarning, match=r"looks like a photograph: use load\('dinov2'\)") as caught:
        cap = uk.capture(model, uk.data.photograph("chelsea"))
    assert len(caught) == 1 and caught[0].filename == __file__
    assert cap.layout.grid == (12, 12)
    uk.capture(model, uk.data.scene(3).image)  # warnings are errors here
    uk.capture(uk.load("scenes", pretrained=False), uk.data.photograph("chelsea"))


@pytest.mark.parametrize("size", [(1, 1), (5, 1), (1, 5)])
def test_the_smallest_images_can_be_doubted(size):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert doubt_scene(np.zeros((*size, 3), np.uint8)) is not None


def test_words_that_no_report_has_are_named():
    model = uk.load("briefs")
    for seed in range(20):
        assert doubt_words(model.tokenizer, uk.data.brief(seed).document) is None
    with pytest.warns(UserWarning, match=r"not council, Tiza; .* load\('smollm2'\)"):
        uk.capture(model, "The council of Tiza closed the bridge.")


@pytest.mark.parametrize(
    ("text", "alarm"),
    [
        ("reports/notice.txt", True),
        ("https://example.org/a", True),
        ("cat.JPG ", True),
        ("The file a.txt is here.", False),
        ("and/or", False),
        ("3.5", False),
    ],
)
def test_a_path_is_no_text(text, alarm):
    lm = uk.load("briefs", pretrained=False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        uk.capture(lm, text)
        uk.summarize(lm, text, summary="A flood.")
    said = [str(w.message) for w in caught]
    assert len(said) == 2 * alarm and all("read_text" in s and "dinov2" in s for s in said)


def test_a_picture_is_no_text():
    lm, image = uk.load("briefs", pretrained=False), np.zeros((9, 9, 3), np.uint8)
    with pytest.raises(TypeError, match=r"got ndarray; a picture goes to an image model, load\('dinov2'\)"):
        uk.capture(lm, image)


def test_a_text_is_no_path():
    model = uk.load("scenes", pretrained=False)
    for text in ("A cat lies in the sun", "word " * 2000):
        with pytest.raises(
            ValueError, match=r"no image file at .*a text goes to a text model, load\('smollm2'\)"
        ):
            uk.capture(model, text)
    with pytest.raises(ValueError, match=r"got the address 'https://a.org/b.jpg'; download it first"):
        uk.capture(model, "https://a.org/b.jpg")


@pytest.mark.parametrize(
    ("array", "hint"),
    [
        (np.zeros((3, 20, 30), np.uint8), r"got \(3, 20, 30\); channels come last: x.transpose\(1, 2, 0\)"),
        (np.zeros((20, 30, 7), np.uint8), r"got \(20, 30, 7\)$"),
        (np.full((4, 4, 3), 0.5), r"got float64; \(255 \* x\).astype\(numpy.uint8\)"),
        (np.full((4, 4, 3), 200.0), r"bring it to 0..255, then x.astype"),
    ],
)
def test_arrays_of_another_kind(array, hint):
    with pytest.raises(ValueError, match=hint):
        uk.capture(uk.load("scenes", pretrained=False), array)


def test_a_step_that_was_left_out_is_named():
    image, model = uk.data.scene(3).image, uk.load("scenes", pretrained=False)
    cap = uk.capture(model, image)
    first = r": cap = uk.capture\(model, x\), then "
    for call, words in (
        (
            lambda: uk.explain(model, image),
            f"explain needs Capture, got TextImageBackbone and ndarray{first}explain",
        ),
        (lambda: uk.explain(image), f"explain needs Capture, got ndarray{first}explain"),
        (lambda: uk.segment(cap), r"segment needs ExplanationMaps, got Capture: maps = uk.explain\("),
        (
            lambda: uk.segment(model, image),
            r"segment needs ExplanationMaps, got TextImageBackbone and ndarray: maps",
        ),
        (lambda: uk.select(uk.explain(cap, tokens=[9]), points=[(1, 1)]), "select needs Capture, got Expl"),
        (
            lambda: uk.select(model, image, points=[(1, 1)]),
            f"select needs Capture, .* and ndarray{first}select",
        ),
        (lambda: uk.evidence("A summary."), r"evidence needs Summary, got str: s = uk.summarize"),
        (
            lambda: uk.capture(Image.fromarray(image), model),
            r"got Image; the model comes first: capture\(model, x\)",
        ),
        (lambda: uk.explain(cap, 3), r"got Capture and int: options have names, write name=value$"),
        (lambda: uk.save("x.npz", cap), r"save takes .*; got str$"),
        (lambda: uk.plots.show_map(cap), r"show_map needs ExplanationMaps, got Capture$"),
        (lambda: uk.plots.show_segments(uk.explain(cap, tokens=[9])), "needs Segmentation, got Explanation"),
    ):
        with pytest.raises(TypeError, match=words):
            call()


@pytest.mark.parametrize(
    ("name", "meant"), [("DINOv2", "dinov2"), ("dino-v2", "dinov2"), ("smolm2", "smollm2")]
)
def test_a_near_miss_gets_a_guess(name, meant):
    with pytest.raises(ValueError, match=f"did you mean '{meant}'"):
        uk.load(name)


@pytest.mark.parametrize("name", ["vit_smal_patch16_224.dino", "vit_small_patch16_224.dinno"])
def test_a_near_miss_of_timm_gets_the_nearest(name):
    with pytest.raises(ValueError, match=r"near it: .*\bvit_small_patch16_224\.dino\b"):
        uk.load(f"timm:{name}", pretrained=False)


def test_what_a_run_takes_is_said():
    with pytest.raises(ValueError, match=r"there is no folder '\./nowhere'"):
        uk.load("hf:./nowhere")
    model, image = uk.load("scenes", pretrained=False), uk.data.scene(3).image
    with pytest.raises(ValueError, match=r"images must be several, got one array of shape \(96, 96, 3\)"):
        uk.train_transform(model, image)
    with pytest.raises(ValueError, match="there is no folder 'nowhere'"):
        uk.train_transform("scenes", "nowhere")
    with pytest.raises(TypeError, match=r"evaluate needs Dataset, got str: data = uk.data.Folder\(path\)"):
        uk.evaluate("scenes", "my_images", out="nowhere")


def test_what_a_tokenizer_cannot_read_is_said(monkeypatch):
    model = uk.load("briefs")
    for text in ("The flood \ud800 struck.", "\udcff"):
        with pytest.raises(uk.UltraError, match=r"the tokenizer can't read the text .*surrogates"):
            uk.capture(model, text)
    with pytest.raises(uk.UltraError, match=r"the tokenizer can't read the text .*surrogates"):
        uk.summarize(model, "The flood \ud800 struck.", summary="The flood.")

    def broken(*_, **__):
        raise Exception("Unk token not in the vocabulary")  # as the Rust library raises it

    with pytest.raises(uk.UltraError, match="Unk token not in the vocabulary"):
        uk.capture(dataclasses.replace(model, tokenizer=broken), "The flood.")
