"""Files that somebody sent, whole, damaged or hostile: a result, or an error of ours that names the file."""

import io
import json
import os
import re
import struct
import sys
import warnings
import zlib
from dataclasses import fields, replace
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

import ultra_kit as uk
from ultra_kit.data.dataset import read_labels, read_rgb
from ultra_kit.models import fetching
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


WATCHED = []  # of an audit hook, which stays as long as the process: (folder, what was opened), or nothing


def _audit(event, args):
    if WATCHED and (
        event.startswith(("socket.", "subprocess.")) or event in ("open", "os.listdir", "os.scandir")
    ):
        if event in ("open", "os.listdir", "os.scandir"):
            name = args[0] if args and isinstance(args[0], str | bytes | os.PathLike) else ""
            if not os.fsdecode(name).startswith(str(WATCHED[0])):
                return
        WATCHED.append((event, str(args[0] if args else "")))


sys.addaudithook(_audit)


@pytest.fixture
def sent(tmp_path, monkeypatch):
    """Verify a file of a card, input and layout of my own, and say what it opened besides; what it could name lies in `trap`."""
    trap = tmp_path / "trap"
    (trap / "model").mkdir(parents=True)
    (trap / "model/config.json").write_text('{"model_type": "vit"}')
    Image.fromarray(IMAGE).save(trap / "cat.png")
    monkeypatch.setenv("ULTRA_KIT_CACHE", str(trap))  # dinov2 lies in the cache, as far as its card goes
    fetched = fetching._folder("dinov2")
    fetched.mkdir()
    (fetched / "card.json").write_text("{}")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)

    def verify(model=None, **changes):
        path = uk.save(replace(MAPS, **changes), tmp_path / "sent.npz")
        WATCHED[:] = [trap]
        try:
            return uk.verify(path, model=model), WATCHED[1:]
        except uk.UltraError as error:
            return error, WATCHED[1:]
        finally:
            WATCHED.clear()

    return verify, trap


@pytest.mark.parametrize(
    "name",
    [
        "hf:evil/model",
        "hf:{trap}/model",
        "{trap}/model",
        "timm:vit_tiny_patch16_224",
        "dinov2",
        "smollm2",
        "../scenes",
    ],
)
def test_verify_loads_no_model_because_a_file_names_it(name, sent):
    verify, trap = sent
    found, opened = verify(card={"model": {"name": name.format(trap=trap)}})
    assert opened == []
    assert re.search(
        r"sent\.npz: its model .* is not loaded because a file names it.*pass it as model=", str(found)
    )


def test_verify_takes_a_bundled_model_and_opens_nothing_that_the_file_names(sent):
    verify, trap = sent
    cap = uk.capture(uk.load("scenes"), uk.data.scene(3).image)
    maps = uk.explain(cap, tokens=[40], layer=1)
    whole = {f.name: getattr(maps, f.name) for f in fields(maps)}
    found, opened = verify(**whole)
    assert found and opened == []
    for key, value in {
        "transform": "w.safetensors",
        "towards": "v.npy",
        "score": "cat.png",
        "layer": "cat.png",
    }.items():
        card = {**maps.card, "explanation": {**maps.card["explanation"], key: f"{trap}/{value}"}}
        found, opened = verify(**whole | {"card": card})
        assert isinstance(found, uk.UltraError) and "sent.npz" in str(found) and opened == []


@pytest.mark.parametrize(
    "name", ["{trap}/cat.png", "{trap}/model/config.json", "https://evil.example/cat.png"]
)
@pytest.mark.parametrize("modality", ["image", "text"])
@pytest.mark.filterwarnings("ignore:.*looks like a path", "ignore:.*for other texts use")
def test_an_input_that_is_a_path_or_an_address_is_not_opened(name, modality, sent):
    verify, trap = sent
    named = name.format(trap=trap)
    model, layout = "scenes", LAYOUT
    if modality == "text":
        layout = uk.load("briefs").prepare(named)[1]
        model = "briefs"
    n = layout.n_tokens
    card = {
        "model": {"name": model},
        "explanation": {"method": "ultra", "layer": 1, "score": "norm", "rule": "positive"},
    }
    values = np.ones((1, n), np.float32)
    found, opened = verify(values=values, tokens=np.array([1]), layout=layout, input=named, card=card)
    assert opened == []
    if modality == "image":
        assert "the input must be the image itself" in str(found)
    else:
        assert isinstance(found, uk.files.Verification) and not found


def test_a_file_cannot_ask_for_endless_memory(sent):
    maps = uk.explain(uk.capture(uk.load("scenes"), uk.data.scene(3).image), layer=1)
    seg = uk.segment(maps, n_segments=2)
    card = {**seg.card, "segmentation": {**seg.card["segmentation"], "size": [10**5, 10**5]}}
    uk.save(replace(seg, card=card), sent[1] / "seg.npz")
    with pytest.raises(
        uk.UltraError, match=r"seg\.npz: maps of size \[100000, 100000\] need more than 4294967296"
    ):
        uk.verify(sent[1] / "seg.npz")


def test_a_file_cannot_ask_for_endless_time(tmp_path):
    s = uk.summarize(uk.load("briefs"), "A flood struck Tiza. Two died.", summary="A flood struck.")
    found = uk.evidence(s, method="integrated_gradients", words=[1], n_steps=2)
    assert uk.verify(uk.save(found, tmp_path / "ev.npz"))
    card = {**found.card, "explanation": {**found.card["explanation"], "n_steps": 10**9}}
    with pytest.raises(
        uk.UltraError, match=r"ev\.npz: it asks for 1000000000 .*at most 200000 are made again"
    ):
        uk.verify(uk.save(replace(found, card=card), tmp_path / "ev.npz"))


def test_what_a_user_passes_to_verify_is_loaded(sent):
    verify, trap = sent
    _, opened = verify(model=f"hf:{trap}/model", card={"model": {"name": "hf:evil/model"}})
    assert any("config.json" in name for _, name in opened)


@pytest.mark.parametrize(
    "card",
    [
        {"model": [1]},
        {"model": {"name": "scenes"}, "explanation": 3},
        {"model": {"name": "scenes"}, "explanation": {"layer": 1}},
        {"model": {"name": ["scenes"]}},
        {
            "model": {"name": "scenes"},
            "explanation": {"method": "ultra", "layer": [1], "score": {}, "rule": None},
        },
    ],
)
def test_verify_of_an_odd_card_names_the_file(card, sent):
    found, opened = sent[0](card=card)
    assert isinstance(found, uk.UltraError) and "sent.npz" in str(found) and opened == []


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


def swollen():
    """A text of 99 MB beside the pixels."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 8, 2, 0, 0, 0))
    text = chunk(b"zTXt", b"x\0\0" + zlib.compress(b"\0" * 99_000_000))
    pixels = chunk(b"IDAT", zlib.compress((b"\0" + b"\1" * 12) * 4))
    return b"\x89PNG\r\n\x1a\n" + head + text + pixels + chunk(b"IEND", b"")


def encoded(kind, image=IMAGE, **options):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind, **options)
    return buffer.getvalue()


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 50 50\n%%EndComments\nshowpage\n%%EOF\n"
HOSTILE = {
    "bomb": bomb(),
    "swollen": swollen(),
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


@pytest.mark.parametrize("read", [open_image, read_rgb, read_labels, uk.data.Folder])
def test_a_pipe_is_not_waited_for(read, tmp_path):
    for kind in ("images", "masks") if read is uk.data.Folder else ("",):
        (tmp_path / kind).mkdir(exist_ok=True)
        os.mkfifo(path := tmp_path / kind / "a.png")
        held = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        os.write(held, b"x" * 60_000)  # who reads it gets that and an error, not a test that hangs
    with pytest.raises(ValueError, match=r"a pipe or a device|is missing"):
        read(tmp_path if read is uk.data.Folder else path)


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
