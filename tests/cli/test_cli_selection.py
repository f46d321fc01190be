"""The command `select`: its files, and what it says when something is wrong."""

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import ultra_kit as uk
from ultra_kit.cli.options import app


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(uk.data.scene(19).image).save(path)
    return path


def run(*arguments):
    return CliRunner().invoke(app, ["select", "--model", "scenes", *map(str, arguments)])


def test_it_writes_a_picture_an_archive_and_the_mask(picture, tmp_path):
    made = run(picture, "--point", "48,50", "--unwanted", "2,2", "--layer", 1, "--out", tmp_path / "o")
    assert made.exit_code == 0, made.output
    sel = uk.open(tmp_path / "o/a-selection.npz")
    assert (sel.points, sel.unwanted) == (((48.0, 50.0),), ((2.0, 2.0),))
    content = json.loads((tmp_path / "o/a-selection.json").read_text())
    np.testing.assert_array_equal(uk.images.from_rle(content["mask"]), sel.mask)
    assert content["code"] == sel.code == "uk.select(cap, points=[(48, 50)], unwanted=[(2, 2)], layer=1)"
    assert Image.open(tmp_path / "o/a-selection.png").width > 500


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--point", "3"], "--point must be x,y"),
        (["--box", "1,2,3"], "--box must be x0,y0,x1,y1"),
        (["--point", "500,3"], "0 <= x < 96"),
        ([], "nothing is picked"),
    ],
)
def test_errors_are_one_line(picture, tmp_path, arguments, said):
    made = run(picture, *arguments, "--out", tmp_path / "o")
    assert made.exit_code == 1
    assert said in made.output and "Traceback" not in made.output
