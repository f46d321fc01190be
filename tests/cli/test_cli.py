import dataclasses
import json
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import ultra_kit as uk
from ultra_kit.__main__ import app
from ultra_kit.cli.options import say

SCENES = ["--model", "scenes"]


def run(app, arguments):
    """A command on drawn scenes: the bundled model is named, as a user has to."""
    named = arguments[:1] in (["explain"], ["segment"]) and "--model" not in arguments
    return CliRunner().invoke(app, [*arguments, *(SCENES if named else [])])


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "scene.png"
    Image.fromarray(uk.data.scene(3).image).save(path)
    return path


def test_explain_writes_three_files(picture, tmp_path):
    out = tmp_path / "out"
    result = run(
        app,
        [
            "explain",
            str(picture),
            "--point",
            "30,50",
            "--token",
            "50",
            "--rule",
            "negative",
            "--out",
            str(out),
        ],
    )
    assert result.exit_code == 0, result.output
    assert sorted(p.name for p in out.iterdir()) == ["scene-maps.json", "scene-maps.npz", "scene-maps.png"]
    maps = uk.open(out / "scene-maps.npz")
    cap = uk.capture(uk.load("scenes"), picture)
    assert maps.tokens.tolist() == [50, cap.layout.token_at(30, 50)]
    np.testing.assert_allclose(
        maps.values, uk.explain(cap, tokens=maps.tokens, rule="negative").values, rtol=1e-4, atol=1e-7
    )
    summary = json.loads((out / "scene-maps.json").read_text())
    assert [m["token"] for m in summary["maps"]] == maps.tokens.tolist()
    strongest = [m["token"] for m in summary["maps"][0]["strongest"]]
    others = [i for i in cap.layout.content if i != 50]  # its own position proves nothing
    assert strongest[0] == max(others, key=lambda i: maps.values[0, i])
    assert 50 not in strongest and len(strongest) == 5
    assert Image.open(out / "scene-maps.png").size[0] > 200


def test_explain_takes_the_last_blocks_alone(picture, tmp_path):
    options = ["--layer", "3", "--since", "-1", "--token", "50", "--out", str(tmp_path)]
    result = run(app, ["explain", str(picture), *options])
    assert result.exit_code == 0, result.output
    maps, summary = (
        uk.open(tmp_path / "scene-maps.npz"),
        json.loads((tmp_path / "scene-maps.json").read_text()),
    )
    assert maps.since == summary["since"] == 2
    expected = uk.explain(uk.capture(uk.load("scenes"), picture), layer=3, tokens=[50], since=2)
    np.testing.assert_allclose(maps.values, expected.values, rtol=1e-4, atol=1e-7)
    wrong = run(app, ["explain", str(picture), "--layer", "3", "--since", "3", "--out", str(tmp_path)])
    assert wrong.exit_code == 1 and "since must be in -3..2 for layer 3" in wrong.output


def test_segment_writes_masks(picture, tmp_path):
    result = run(app, ["segment", str(picture), "--n-segments", "3", "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    seg = uk.open(tmp_path / "out" / "scene-segments.npz")
    summary = json.loads((tmp_path / "out" / "scene-segments.json").read_text())
    assert len(summary["segments"]) == seg.n_segments
    for k, entry in enumerate(summary["segments"]):
        np.testing.assert_array_equal(uk.images.from_rle(entry["mask"]), seg.labels == k)


def test_explain_and_segment_read_w_at_its_own_layer(picture, tmp_path):
    matrix = np.random.default_rng(0).normal(size=(128, 128)).astype(np.float32)
    w = uk.runs.Transform(matrix, layer=3, loss=np.zeros((1, 2), np.float32))
    named, out = ["--transform", str(w.save(tmp_path / "w.safetensors"))], ["--out", str(tmp_path / "out")]
    cut = ["--metric", "hellinger", "--threshold", "0.4"]
    for arguments in (["explain", "--token", "50"], ["segment", *cut]):
        result = run(app, [arguments[0], str(picture), *arguments[1:], *named, *out])
        assert result.exit_code == 0, result.output
    cap = uk.capture(uk.load("scenes"), picture)
    maps, seg = (uk.open(tmp_path / "out" / f"scene-{kind}.npz") for kind in ("maps", "segments"))
    assert maps.layer == 3
    expected = uk.explain(cap, layer=3, tokens=[50], transform=matrix)
    np.testing.assert_allclose(maps.values, expected.values, rtol=1e-4, atol=1e-7)
    every = uk.explain(cap, layer=3, transform=matrix)
    np.testing.assert_array_equal(seg.labels, uk.segment(every, threshold=0.4, metric="hellinger").labels)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["explain", "a.png"], "dinov2"),
        (["segment", "a.png"], "dinov2"),
        (["select", "a.png", "--point", "1,1"], "dinov2"),
        (["summarize", "a.txt"], "smollm2"),
        (["embed", "a"], "dinov2"),
    ],
)
def test_commands_take_the_real_models(arguments, named, monkeypatch):
    asked = []

    def load(name):
        asked.append(name)
        raise uk.UltraError("not here")

    monkeypatch.setattr(uk, "load", load)
    assert CliRunner().invoke(app, arguments).exit_code == 1
    assert asked == [named]


def test_what_is_not_said_is_left_to_the_model(picture, tmp_path, monkeypatch):
    """Another model, with settings that no other has: they decide the layer, the rule, the metric and the cut."""
    model = uk.load("scenes")
    own = uk.types.Settings(layer=2, rule="absolute", metric="hellinger", threshold=0.3, chosen_on="a test")
    model = dataclasses.replace(model, settings=own)
    monkeypatch.setattr(uk, "load", lambda name: model)
    out = ["--out", str(tmp_path)]
    assert run(app, ["segment", str(picture), *out]).exit_code == 0
    seg = uk.open(tmp_path / "scene-segments.npz")
    made = seg.card["explanation"]
    assert (made["layer"], made["score"], made["rule"]) == (2, "norm", "absolute")
    assert seg.threshold == 0.3 and seg.distance == "squared Hellinger distance"
    assert seg.card["model"]["settings"]["chosen_on"] == "a test"
    assert run(app, ["select", str(picture), "--point", "48,48", *out]).exit_code == 0
    sel = uk.open(tmp_path / "scene-selection.npz")
    assert (sel.card["explanation"]["layer"], sel.card["explanation"]["rule"]) == (2, "absolute")
    assert sel.code == "uk.select(cap, points=[(48, 48)], layer=2)"  # the rule is the model's own again
    monkeypatch.undo()
    other = uk.load("timm:test_vit", pretrained=False)
    assert uk.types.Settings.of(other) == uk.types.Settings()
    assert "own settings" in repr(model) and "own settings" not in repr(other)


def test_files_in_the_wrong_place_are_told_in_one_line(picture, tmp_path, monkeypatch):
    """An address, a text for an image, an image for a text, and a photograph for drawn scenes."""
    monkeypatch.setattr(uk, "load", lambda name, load=uk.load: load(name, pretrained=name == "scenes"))
    text, photo = tmp_path / "a.txt", tmp_path / "photo.png"
    text.write_text("A flood struck.", "utf-8")
    Image.fromarray(uk.data.photograph("rocket")).save(photo)
    out = ["--out", str(tmp_path / "out")]
    for arguments, words in (
        (["segment", str(text)], "a text goes to a text model"),
        (["explain", "https://a.org/b.jpg"], "must be a local file, got the address"),
        (["summarize", "--model", "briefs", str(picture)], "no text in UTF-8; images go to explain"),
        (["summarize", "--model", "briefs", "nothere.txt"], "no text file at 'nothere.txt': nothing there"),
        (["summarize", "--model", "briefs", str(picture.parent)], "a folder; give its files"),
        (["summarize", "--model", "briefs", "https://a.org/b.txt"], "must be a local file, got the address"),
    ):
        result = run(app, [*arguments, *out])
        assert result.exit_code == 1 and words in result.output and "Traceback" not in result.output
    result = run(app, ["explain", str(photo), "--token", "50", *out])
    assert result.exit_code == 0
    lines = [line for line in result.output.splitlines() if "warning" in line.lower()]
    assert len(lines) == 1 and lines[0].startswith(f"{photo}: warning: scenes knows nothing but drawn")


def test_a_bad_image_leaves_the_others_alone(picture, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_text("hello")
    twin = tmp_path / "twin"
    twin.mkdir()
    (twin / "scene.png").write_bytes(picture.read_bytes())
    images = [str(bad), str(picture), str(tmp_path / "missing.jpg"), str(twin / "scene.png")]
    result = run(app, ["explain", *images, "--token", "50", "--out", str(tmp_path / "out")])
    assert result.exit_code == 1
    lines = result.output.splitlines()
    assert [line for line in lines if line.startswith("[") and "error: " in line] == [lines[0], lines[2]]
    assert lines[-1] == "error: 2 of 4 images failed"
    assert {p.name for p in (tmp_path / "out").glob("*.npz")} == {"scene-maps.npz", "scene-2-maps.npz"}
    assert "Traceback" not in result.output


def test_a_name_moves_no_cursor(picture, tmp_path):
    """Neither of a file that can be read nor of one that can't."""
    good, bad = (tmp_path / f"\x1b[2J\x1b]0;owned\x07\r{name}.png" for name in ("good", "bad"))
    good.write_bytes(picture.read_bytes())
    bad.write_text("hello")
    result = run(app, ["explain", str(good), str(bad), "--token", "50", "--out", str(tmp_path / "out")])
    assert "owned" in result.output and not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", result.output)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "nothing"], "nothing"),
        (["--layer", "99", "--token", "50"], "layer must be in"),
        (["--token", "9999"], "tokens must be in"),
        (["--point", "7"], "--point must be x,y in pixels"),
        (["--point", "500,2"], "point must lie in"),
        (["--transform", "no.safetensors"], "no.safetensors"),
    ],
)
def test_bad_options_are_told_in_one_line(picture, tmp_path, arguments, message):
    result = run(app, ["explain", str(picture), *arguments, "--out", str(tmp_path / "out")])
    assert result.exit_code == 1
    assert message in result.output and "Traceback" not in result.output
    assert isinstance(result.exception, SystemExit)
    assert not list((tmp_path / "out").glob("*"))


def test_threshold_and_number_exclude_each_other(picture):
    result = run(app, ["segment", str(picture), "--threshold", "0.2", "--n-segments", "3"])
    assert result.exit_code == 1 and "give either --threshold or --n-segments" in result.output


def test_version_and_help():
    assert run(app, ["--version"]).output == f"ultra_kit {uk.__version__}\n"
    assert "explain" in run(app, ["--help"]).output


def test_help_waits_for_no_library():
    program = "import sys; import ultra_kit.cli; sys.exit(bool({'torch', 'pandas', 'matplotlib'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


def test_a_model_of_the_other_kind_is_named_with_one_that_fits(tmp_path):
    found = CliRunner().invoke(app, ["summarize", str(tmp_path / "x.txt"), "--model", "scenes"])
    assert found.exit_code == 1
    assert "needs a text model, scenes is for images; try --model smollm2" in found.output


def test_summarize_hands_on_the_repetition_penalty(tmp_path, monkeypatch):
    (tmp_path / "x.txt").write_text("A flood struck Tiza.")
    asked = {}

    def summarize(model, document, **how):
        asked.update(how)
        raise uk.UltraError("far enough")

    monkeypatch.setattr(uk, "summarize", summarize)
    arguments = ["summarize", str(tmp_path / "x.txt"), "--model", "briefs", "--out", str(tmp_path)]
    run(app, [*arguments, "--repetition-penalty", "1.3"])
    assert asked["repetition_penalty"] == 1.3
    run(app, arguments)
    assert asked["repetition_penalty"] == 1.0


@pytest.mark.parametrize("mark", ["\n", "\r", "\x1b", "\x9b", "\u200f", "\u2028", "\u202e", "\u2066"])
def test_a_file_name_stays_in_its_line_and_order(mark, capsys):
    say(f"[1/1] a{mark}b.png: é 火 done")
    assert capsys.readouterr().out == "[1/1] a\ufffdb.png: é 火 done\n"


def test_embed_writes_a_page_numbers_and_a_picture(tmp_path):
    (tmp_path / "drawn").mkdir()
    for seed in range(3):
        Image.fromarray(uk.data.scene(seed).image).save(tmp_path / "drawn" / f"{seed}.png")
    out = [tmp_path / f"atlas.{kind}" for kind in ("html", "npz", "png")]
    options = ["--layer", "2", "--layer", "4", "--share", "0.1", "--seed", "3"]
    result = CliRunner().invoke(
        app, ["embed", str(tmp_path / "drawn"), *SCENES, *options, "--out", str(tmp_path)]
    )
    assert result.exit_code == 0, result.output
    emb = uk.open(out[1])
    again = uk.embed(tmp_path / "drawn", model="scenes", layer=[2, 4], tokens=0.1, method="pca")
    assert emb.vectors.tobytes() == again.vectors.tobytes() and (emb.layer, emb.seed) == ((2, 4), 3)
    assert repr(emb) in result.output and f"{out[0]}, .npz and .png" in result.output
    assert "layers 2, 4" in out[0].read_text("utf-8")
    assert Image.open(out[2]).size[0] > 300


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["embed", "nothere", *SCENES], "no image file at 'nothere'"),
        (["embed", ".", *SCENES], "of a folder it takes the images"),
    ],
)
def test_what_embed_cannot_do_is_told_in_one_line(arguments, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1 and said in result.output and "Traceback" not in result.output
    assert not list(tmp_path.iterdir())
