"""Opening images: what is read, and what is refused."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from ultra_kit.models.open_image import open_image
from ultra_kit.types import UltraError


def test_rgba_lies_over_white():
    x = np.zeros((1, 2, 4), np.uint8)
    x[0, 1] = (10, 20, 30, 255)
    assert open_image(x).tolist() == [[[255, 255, 255], [10, 20, 30]]]
    assert open_image(Image.fromarray(x)).tolist() == [[[255, 255, 255], [10, 20, 30]]]


def test_sixteen_bits_are_scaled(tmp_path):
    Image.fromarray(np.array([[0, 257, 65535]], np.uint16)).save(tmp_path / "a.png")
    assert open_image(tmp_path / "a.png")[0, :, 0].tolist() == [0, 1, 255]


def test_cmyk_becomes_rgb():
    out = open_image(Image.new("CMYK", (2, 1), (0, 255, 255, 0)))
    assert out.shape == (1, 2, 3) and out[0, 0, 0] > 200 and out[0, 0, 1:].max() < 60


def test_exif_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[274] = 6  # turned: the stored rows are the columns of the picture
    Image.new("RGB", (6, 4)).save(tmp_path / "a.jpg", exif=exif)
    assert open_image(tmp_path / "a.jpg").shape == (6, 4, 3)


@pytest.mark.parametrize("shape", [(1, 1), (1, 1, 1), (1, 1, 3), (5, 3), (5, 3, 4)])
def test_shapes(shape):
    assert open_image(np.zeros(shape, np.uint8)).shape == (*shape[:2], 3)


def test_the_result_is_a_copy():
    x = np.zeros((2, 2, 3), np.uint8)
    open_image(x)[:] = 9
    assert x.max() == 0


@pytest.mark.parametrize(
    ("x", "word"),
    [
        (np.full((2, 2, 3), np.nan), "NaN"),
        (np.zeros((2, 2, 3)), "dtype uint8"),
        (np.zeros((2, 2, 2), np.uint8), "shape"),
        (np.zeros((0, 2, 3), np.uint8), "shape"),
        ("/nowhere/a.png", "no image file"),
        ("https://example.org/a.png", "download"),
    ],
)
def test_bad_values(x, word):
    with pytest.raises(ValueError, match=word):
        open_image(x)


def test_other_types():
    with pytest.raises(TypeError, match="PIL image"):
        open_image(3)


def _png_header(width, height):
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head)) + data


@pytest.mark.parametrize("side", [7000, 10000, 30000])
def test_huge_images_are_refused_before_decoding(tmp_path, side):
    (tmp_path / "a.png").write_bytes(
        _png_header(side, side)
    )  # no pixels at all: decoding would fail otherwise
    with pytest.raises(UltraError, match="40 megapixels"):
        open_image(tmp_path / "a.png")


def test_bad_files(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(
        tmp_path / "a.jpg"
    )
    whole = (tmp_path / "a.jpg").read_bytes()
    for content, word in (
        (b"", "0 bytes"),
        (b"plain text", "no image"),
        (whole[: len(whole) // 2], "truncated"),
    ):
        (tmp_path / "b.png").write_bytes(content)
        with pytest.raises(ValueError, match=word):
            open_image(tmp_path / "b.png")
