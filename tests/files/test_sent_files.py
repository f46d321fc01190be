"""Files that somebody sent, whole, damaged or hostile: a result, or an error of ours that names the file."""

import io
import json
import os
import struct
import warnings
import zlib
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

import ultra_kit as uk
from ultra_kit.data.dataset import read_labels, read_rgb
from ultra_kit.models.open_image import FORMATS, open_image
from ultra_kit.runs.transform import Transform

LAYOUT = uk.types.Layout("image", n_prefix=1, grid=(2, 3), size=(20, 30))
IMAGE = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
MAPS = uk.types.ExplanationMaps(
    np.random.default_rng(0).random((6, 7), np.float32),
    np.arange(1, 7),
    2,
    LAYOUT,
    input=IMAGE,
    card={"model": {"name": "x"}},
)
TYPED = (uk.UltraError, ValueError, TypeError)


# -- results ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"values": -MAPS.values},
        {"values": MAPS.values * np.nan},
        {"values": MAPS.values + np.inf},
        {"values": [[1.0]]},
        {"tokens": np.arange(2, 8)},
        {"tokens": np.arange(6) - 1},
        {"tokens": np.arange(6) / 2},
        {"layer": "2"},
        {"score": 3},
        {"card": [1]},
        {"layout": "image"},
        {"layout": replace(LAYOUT, grid=(6, 1), size=(0, 30))},
        {"layout": replace(LAYOUT, grid=(-2, -3))},
        {"input": "/etc/passwd"},
        {"input": IMAGE[:10]},
        {"input": IMAGE.astype(float)},
        {"groups": 3},
    ],
    ids=lambda change: next(iter(change)),
)
def test_open_validates_what_it_accepts(change, tmp_path):
    path = uk.save(replace(MAPS, **change), tmp_path / "a.npz")
    with pytest.raises(uk.UltraError, match=r"a\.npz"):
        uk.open(path)


def test_flipped_bits_are_typed_errors_or_nothing(tmp_path):
    whole, rng = uk.save(MAPS, tmp_path / "a.npz").read_bytes(), np.random.default_rng(0)
    for _ in range(150):
        damaged = bytearray(whole)
        damaged[rng.integers(len(whole))] ^= 1 << rng.integers(8)
        (tmp_path / "b.npz").write_bytes(damaged)
        try:
            uk.open(tmp_path / "b.npz")
        except uk.UltraError as e:
            assert "b.npz" in str(e)


def test_a_card_of_many_levels(tmp_path):
    deep = "[" * 100_000 + "]" * 100_000
    np.savez_compressed(tmp_path / "a.npz", card=np.array(deep))
    with pytest.raises(uk.UltraError, match=r"a\.npz"):
        uk.open(tmp_path / "a.npz")


@pytest.mark.parametrize(
    "name", ["hf:evil/model", "hf:/tmp", "timm:vit_tiny_patch16_224", "../scenes", {"a": 1}]
)
def test_verify_loads_no_model_because_a_file_names_it(name, tmp_path, monkeypatch):
    monkeypatch.setattr("ultra_kit.files.verification.load", lambda *args: pytest.fail("loaded"))
    path = uk.save(replace(MAPS, card={"model": {"name": name}}), tmp_path / "a.npz")
    with pytest.raises(uk.UltraError, match=r"cannot be loaded again because a file names it.*pass model="):
        uk.verify(path)


def test_a_w_file_carries_a_checksum(tmp_path):
    w = Transform(np.eye(4, dtype=np.float32), 2, np.zeros((1, 2), np.float32), {"a": 1})
    path = w.save(tmp_path / "w.safetensors")
    whole = path.read_bytes()
    again = Transform.load(path)
    assert (again.matrix == w.matrix).all() and (again.layer, again.card) == (2, {"a": 1})
    path.write_bytes(whole[:-3] + bytes([whole[-3] ^ 1]) + whole[-2:])
    with pytest.raises(uk.UltraError, match=r"w\.safetensors: .*not those of its checksum"):
        Transform.load(path)
    rng = np.random.default_rng(0)
    for _ in range(60):
        damaged = bytearray(whole)
        damaged[rng.integers(len(whole))] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        try:
            Transform.load(path)
        except uk.UltraError as e:
            assert "w.safetensors" in str(e)


# -- images ----------------------------------------------------------------------------------------------


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb():
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 50000, 50000, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


def encoded(kind, image=IMAGE, **options):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind, **options)
    return buffer.getvalue()


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 50 50\n%%EndComments\nshowpage\n%%EOF\n"
HOSTILE = {
    "bomb": bomb(),
    "truncated": encoded("PNG")[:500],
    "empty": b"",
    "eps": EPS,
    "text": b"hello",
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
}


@pytest.mark.parametrize("read", [open_image, read_rgb, read_labels])
@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_images_are_typed_errors_that_name_the_file(read, case, tmp_path):
    (tmp_path / "cat.png").write_bytes(HOSTILE[case])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(TYPED, match=r"cat\.png"):
            read(tmp_path / "cat.png")


def test_no_program_is_started(tmp_path, monkeypatch):
    ghostscript = tmp_path / "gs"
    ghostscript.write_text(
        f'#!/bin/sh\necho called >> {tmp_path}/called\n[ "$1" = --version ] && echo 10.0\n'
    )
    ghostscript.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", None)  # looked up again
    (tmp_path / "cat.jpg").write_bytes(EPS)
    for read in (open_image, read_rgb, read_labels):
        with pytest.raises(ValueError, match=r"cat\.jpg"):
            read(tmp_path / "cat.jpg")
    assert not (tmp_path / "called").exists() and "EPS" not in FORMATS


@pytest.mark.parametrize(("kind", "name"), [("WEBP", "b.webp"), ("PNG", "b.png"), ("JPEG", "b.jpg")])
@pytest.mark.parametrize(
    "exif",
    [
        b"XX*\0\x08\0\0\0\0\0",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03",
    ],
)
def test_a_damaged_note_of_the_camera_hides_no_image(kind, name, exif, tmp_path):
    (tmp_path / name).write_bytes(encoded(kind, exif=exif))
    try:
        assert open_image(tmp_path / name).shape == IMAGE.shape
    except ValueError as e:
        assert name in str(e)


@pytest.mark.parametrize(
    "mode", ["16 bits", "palette", "transparent", "palette with transparency", "grey", "two levels"]
)
def test_capture_and_data_sets_see_the_same_pixels(mode, tmp_path):
    path, image = tmp_path / "m.png", Image.fromarray(IMAGE)
    if mode == "16 bits":
        Image.fromarray(np.tile(np.arange(64, dtype=np.uint16) * 1024, (48, 1))).save(path)
    elif mode == "palette":
        image.quantize(16).save(path)
    elif mode == "palette with transparency":
        image.quantize(16).save(path, transparency=3)
    elif mode == "transparent":
        image.putalpha(Image.fromarray(IMAGE[..., 0]))
        image.save(path)
    else:
        image.convert({"grey": "L", "two levels": "1"}[mode]).save(path)
    np.testing.assert_array_equal(read_rgb(path), open_image(path))
    if mode == "16 bits":
        assert abs(read_rgb(path).mean() - 63 * 1024 / 2 / 257) < 0.5


# -- data sets -------------------------------------------------------------------------------------------


def folder(root, mask):
    for kind, pixels in {"images": IMAGE, "masks": mask}.items():
        (root / kind).mkdir()
        Image.fromarray(pixels).save(root / kind / "a.png")
    return root


@pytest.mark.parametrize("value", [1000, 3000, 65535])
def test_one_odd_pixel_does_not_set_the_number_of_classes(value, tmp_path):
    mask = np.zeros((20, 30), np.uint16)
    mask[0, 0] = value
    with pytest.raises(ValueError, match=rf"a\.png holds {value}: more than 1000 classes"):
        uk.data.Folder(folder(tmp_path, mask))
    assert len(uk.data.Folder(tmp_path, ignore=value).classes) == 1


@pytest.mark.parametrize("content", [b"", b"MATLAB 5.0", None, "other"])
def test_damaged_matlab_files_are_named(content, tmp_path):
    for kind in ("images", "groundTruth"):
        (tmp_path / kind / "val").mkdir(parents=True)
    Image.fromarray(IMAGE).save(tmp_path / "images/val/a.jpg")
    path = tmp_path / "groundTruth/val/a.mat"
    savemat(path, {"groundTruth": np.zeros(3)} if content is None else {"other": np.zeros(3)})
    if isinstance(content, bytes):
        path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.mat is no MATLAB file of this data set, or damaged"):
        uk.data.BSDS500(tmp_path)[0]


# -- texts in figures ------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [r"$\frac{$", "costs $5 or $6", "a\x1b[31m\x00b", "half \ud800"])
def test_texts_of_users_are_drawn_as_they_are_in_valid_xml(text):
    sel = uk.images.Selection(
        mask=IMAGE[..., 0] > 90,
        relevance=(IMAGE[..., 0] / 255).astype(np.float32),
        tokens=np.array([3]),
        unwanted_tokens=np.array([], int),
        points=(),
        unwanted=(),
        box=None,
        text=text,
        threshold=0.5,
        layout=LAYOUT,
        input=IMAGE,
    )
    figure, buffer = uk.plots.show_selection(sel), io.BytesIO()
    figure.savefig(buffer, format="svg")
    ElementTree.fromstring(buffer.getvalue())
    titles = "".join(ax.get_title() for ax in figure.axes)
    assert (text if "$" in text else "\ufffd") in titles


def test_words_of_users_along_an_axis_are_valid_xml_too():
    told = uk.summarize(uk.load("briefs"), "A flood \x1b[31m\x00 struck Tiza.", summary="The \x01 flood.")
    buffer = io.BytesIO()
    figure = uk.plots.sentence_matrix(uk.evidence(told, method="random_map"))
    figure.savefig(buffer, format="svg")
    ElementTree.fromstring(buffer.getvalue())
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == [
        "A flood \ufffd[31m\ufffd struck Tiza."
    ]
    assert {t.get_rotation() for t in figure.axes[0].get_xticklabels()} == {60.0}


def test_a_logarithmic_axis_keeps_its_powers():
    from ultra_kit.plots.style import plain

    figure = uk.plots.show_map(MAPS, 1)
    ax = figure.axes[0].twinx()
    ax.set_yscale("log")
    ax.set_ylim(1, 1000)
    figure.canvas.draw()
    assert all(t.get_parse_math() for t in plain(figure).axes[-1].get_yticklabels())


def test_facts_of_a_file_stay_json(tmp_path):
    path = uk.save(MAPS, tmp_path / "a.npz")
    with np.load(path, allow_pickle=False) as stored:
        assert json.loads(str(stored["card"]))["object"]["type"] == "ExplanationMaps"
