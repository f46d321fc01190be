import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import ultra_kit as uk
from ultra_kit.__main__ import app

run = CliRunner().invoke


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
    assert result.exit_code == 1 and "exclude each other" in result.output


def test_version_and_help():
    assert run(app, ["--version"]).output == f"ultra_kit {uk.__version__}\n"
    assert "explain" in run(app, ["--help"]).output


def test_help_waits_for_no_library():
    program = "import sys; import ultra_kit.cli; sys.exit(bool({'torch', 'pandas', 'matplotlib'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
