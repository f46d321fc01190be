"""Readers against miniature sets in the official layouts, made here."""

import pickle

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat
from toys_datasets import bsds_truth

import ultra_kit as uk
from ultra_kit.data.crops import CROPS, apply_crop, nearest
from ultra_kit.data.official_layouts import COARSE_OF_FINE

RNG = np.random.default_rng(0)


def photo(path, size=(6, 8)):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = RNG.integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def mask(path, values, palette=False):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.array(values, np.uint8))
    if palette:
        image = image.convert("P")
        image.putpalette([n for i in range(256) for n in (i * 37 % 256, i * 91 % 256, 255 - i)])
        image.putdata(np.array(values).ravel().tolist())
    image.save(path)


def test_coco_stuff(tmp_path):
    values = [[0, 8, 91, 181], [70, 60, 156, 255]]
    photo(tmp_path / "images/val2017/000000000139.jpg", (2, 4))
    photo(tmp_path / "images/val2017/000000000285.jpg", (2, 4))
    mask(tmp_path / "annotations/val2017/000000000139.png", values)
    list_file = tmp_path / "curated/val2017/Coco164kFull_Stuff_Coarse_7.txt"
    list_file.parent.mkdir(parents=True)
    list_file.write_text("000000000139\n")
    data = uk.data.COCOStuff27(tmp_path, crop="full")
    assert len(data) == 1 and data[0].image.shape == (2, 4, 3)  # what the list does not name is left out
    # person; vehicle 1-8; textile 91; solid 181; furniture 61-70; food 51-60; sky 156; unlabelled.
    assert data[0].truth.tolist() == [[9, 11, 17, 24], [3, 2, 23, -1]]
    assert len(data.classes) == 27
    mask(tmp_path / "annotations/val2017/000000000139.png", [[182, 0, 0, 0]] * 2)
    with pytest.raises(ValueError, match=r"000000000139.png holds \[182\]"):
        data[0]
    list_file.write_text("000000000139\n000000000999\n")
    with pytest.raises(ValueError, match=r"000000000999\.jpg is missing, and 1 other"):
        uk.data.COCOStuff27(tmp_path)


def test_coco_map_is_whole():
    assert sorted(COARSE_OF_FINE) == list(range(182))
    assert sorted(set(COARSE_OF_FINE.values())) == list(range(27))
    assert sum(fine <= 90 for fine, coarse in COARSE_OF_FINE.items() if coarse < 12) == 91


def test_cityscapes(tmp_path):
    stem = "frankfurt_000000_000294"
    photo(tmp_path / f"leftImg8bit/val/frankfurt/{stem}_leftImg8bit.png", (2, 3))
    mask(tmp_path / f"gtFine/val/frankfurt/{stem}_gtFine_labelIds.png", [[0, 6, 7], [8, 26, 33]])
    mask(tmp_path / f"gtFine/val/frankfurt/{stem}_gtFine_labelTrainIds.png", [[255, 255, 0], [1, 13, 18]])
    data = uk.data.Cityscapes27(tmp_path, crop="full")
    assert [data[0].name, len(data)] == [stem, 1]
    assert data[0].truth.tolist() == [[-1, -1, 0], [1, 19, 26]]
    assert (data.classes[0], data.classes[19], data.classes[26]) == ("road", "car", "bicycle")
    mask(tmp_path / f"gtFine/val/frankfurt/{stem}_gtFine_labelIds.png", [[34, 0, 0]] * 2)
    with pytest.raises(ValueError, match="no Cityscapes label ids"):
        data[0]


def test_voc_reads_indices_of_the_palette(tmp_path):
    folder = tmp_path / "VOCdevkit/VOC2012"
    for name in ("2007_000033", "2007_000042"):
        photo(folder / f"JPEGImages/{name}.jpg", (2, 3))
        mask(folder / f"SegmentationClass/{name}.png", [[0, 1, 20], [255, 15, 0]], palette=True)
    lists = folder / "ImageSets/Segmentation"
    lists.mkdir(parents=True)
    (lists / "val.txt").write_text("2007_000033\n")
    data = uk.data.PascalVOC2012(tmp_path)
    assert len(data) == 1
    assert data[0].truth.tolist() == [[0, 1, 20], [-1, 15, 0]]
    Image.open(folder / "SegmentationClass/2007_000033.png").convert("RGB").save(
        folder / "SegmentationClass/2007_000033.png"
    )
    with pytest.raises(ValueError, match="got mode RGB; colours are no classes"):
        data[0]
    with pytest.raises(ValueError, match=r"train\.txt, and none such is there"):
        uk.data.PascalVOC2012(tmp_path, "train")


def test_potsdam_pieces(tmp_path):
    pixels = RNG.integers(0, 256, (2, 3, 4), dtype=np.uint8)
    for folder in ("imgs", "gt"):
        (tmp_path / folder).mkdir()
    savemat(tmp_path / "imgs/7.mat", {"img": pixels})
    savemat(tmp_path / "gt/7.mat", {"gt": np.array([[0, 1, 2], [3, 4, 5]], np.int32)})
    (tmp_path / "labelled_test.txt").write_text("7\n")
    data = uk.data.Potsdam3(tmp_path, crop="full")
    np.testing.assert_array_equal(data[0].image, pixels[..., :3])
    assert data[0].truth.tolist() == [[0, 1, 2], [2, 0, 1]]
    assert uk.data.Potsdam3(tmp_path)[0].image.shape == (320, 320, 3)


def test_potsdam_tiles(tmp_path):
    photo(tmp_path / "img_dir/val/2_10_0_0_512_512.png", (1, 7))
    mask(tmp_path / "ann_dir/val/2_10_0_0_512_512.png", [[0, 1, 2, 3, 4, 5, 6]])
    data = uk.data.Potsdam3Tiles(tmp_path, "val")
    assert data[0].truth.tolist() == [[-1, 0, 1, 2, 2, 0, 1]]


def test_bsds(tmp_path):
    photo(tmp_path / "images/val/3096.jpg", (2, 3))
    (tmp_path / "images/val/Thumbs.db").write_bytes(b"not an image")
    maps = [[[1, 1, 2], [1, 1, 2]], [[1, 1, 1], [2, 2, 3]]]
    bsds_truth(tmp_path / "groundTruth/val/3096.mat", maps)
    data = uk.data.BSDS500(tmp_path)
    assert (len(data), data.classes) == (1, ())
    assert [t.tolist() for t in data[0].truths] == maps
    with pytest.raises(ValueError, match=r"has 2 truths; use \.truths"):
        _ = data[0].truth
    (tmp_path / "groundTruth/val/3096.mat").unlink()
    with pytest.raises(ValueError, match=r"3096\.mat is missing"):
        uk.data.BSDS500(tmp_path)


def test_folder(tmp_path):
    for name in ("b", "a"):
        photo(tmp_path / f"images/{name}.png", (2, 2))
        mask(tmp_path / f"masks/{name}.png", [[0, 2], [255, 1]])
    data = uk.data.Folder(tmp_path)
    assert [s.name for s in data] == ["a", "b"]
    assert data.classes == ("class 0", "class 1", "class 2")
    assert data[0].truth.tolist() == [[0, 2], [-1, 1]]
    assert uk.data.Folder(tmp_path, ignore=2, classes=["x"] * 256)[0].truth.tolist() == [
        [0, -1],
        [255, 1],
    ]
    with pytest.raises(ValueError, match=r"a\.png holds 2, and there are 2 classes"):
        uk.data.Folder(tmp_path, classes=["x", "y"])[0]
    photo(tmp_path / "images/a.jpg", (2, 2))
    with pytest.raises(ValueError, match="two images of one name: a"):
        uk.data.Folder(tmp_path)


def test_folder_with_a_mask_of_another_size(tmp_path):
    photo(tmp_path / "images/a.png", (2, 2))
    mask(tmp_path / "masks/a.png", [[0, 1, 1]] * 2)
    with pytest.raises(
        ValueError, match=r"a\.png: a truth must have its image's size \(2, 2\), got \(2, 3\)"
    ):
        uk.data.Folder(tmp_path)[0]


@pytest.mark.parametrize(
    ("read", "missing"),
    [
        (uk.data.BSDS500, "BSDS500 needs nowhere/images/val"),
        (uk.data.COCOStuff27, "COCO-Stuff-27 needs nowhere/images/val2017"),
        (uk.data.Cityscapes27, "Cityscapes-27 needs nowhere/leftImg8bit/val"),
        (
            uk.data.PascalVOC2012,
            "PASCAL VOC 2012 needs nowhere/VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt",
        ),
        (uk.data.Potsdam3, "Potsdam-3 needs nowhere/labelled_test.txt"),
        (uk.data.Potsdam3Tiles, "Potsdam-3 tiles needs nowhere/img_dir"),
        (uk.data.Folder, "Folder needs nowhere/images"),
    ],
)
def test_what_is_missing_is_named_with_the_layout(read, missing):
    with pytest.raises(ValueError, match=f"^{missing}, and none such is there; its layout is ROOT/"):
        read("nowhere")


def test_an_empty_folder_is_refused(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    with pytest.raises(ValueError, match="at least one image, got none"):
        uk.data.Folder(tmp_path)


def test_a_data_set_is_a_list_that_travels(tmp_path):
    for name in "abc":
        photo(tmp_path / f"images/{name}.png", (2, 2))
        mask(tmp_path / f"masks/{name}.png", [[0, 1], [1, 1]])
    data = uk.data.Folder(tmp_path)
    part = data[1:]
    assert [s.name for s in part] == ["b", "c"] and part.card["images"] == 2
    assert part.card["images_sha256"] != data.card["images_sha256"]
    twin = pickle.loads(pickle.dumps(data))
    np.testing.assert_array_equal(twin[2].image, data[2].image)
    with pytest.raises(IndexError):
        data[3]


def test_nearest_takes_the_pixel_under_the_centre():
    labels = np.arange(12).reshape(3, 4)
    np.testing.assert_array_equal(nearest(labels, (3, 4)), labels)
    # Centres of 2 columns lie at 1 and 3 of 4: pixels 1 and 3. Of 8: each pixel twice.
    assert nearest(labels, (3, 2))[0].tolist() == [1, 3]
    assert nearest(labels, (3, 8))[0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    odd = np.arange(15).reshape(3, 5)  # no centre falls on a border, where rounding would decide
    for size in ((4, 6), (2, 8), (10, 2)):
        want = np.asarray(Image.fromarray(odd.astype(np.uint8)).resize(size[::-1], Image.Resampling.NEAREST))
        np.testing.assert_array_equal(nearest(odd, size), want)


def cropped(name, size):
    """Corner coordinates that a crop scores, read from a picture that stores its own rows and columns."""
    rows, columns = np.indices(size)
    _, (truth,) = apply_crop(name, np.zeros((*size, 3), np.uint8), (rows * 10_000 + columns,))
    first, last = divmod(int(truth[0, 0]), 10_000), divmod(int(truth[-1, -1]), 10_000)
    return truth.shape, first, last


def test_crops_by_hand():
    # 640 x 1280: halved to 320 x 640, centre columns 160..479, whose centres lie in 321 and 959.
    assert cropped("stego320", (640, 1280)) == ((320, 320), (1, 321), (639, 959))
    assert cropped("picie320", (640, 1280)) == ((320, 320), (1, 321), (639, 959))
    assert cropped("cause-voc320", (640, 1280)) == ((320, 320), (1, 2), (639, 1278))
    # Centre square of 1024 x 2048 starts at column 512.
    assert cropped("diffseg512", (1024, 2048)) == ((512, 512), (1, 513), (1023, 1535))
    # One pixel less: 1024 of 1025, from row 0 and column 0; of each 8 x 8 the pixel after the centre.
    assert cropped("diffcut128", (1025, 1025)) == ((128, 128), (4, 4), (1020, 1020))
    assert cropped("clip224", (448, 448)) == ((224, 224), (1, 1), (447, 447))
    assert cropped("full", (5, 7)) == ((5, 7), (0, 0), (4, 6))
    assert set(CROPS) == {
        *("stego320", "picie320", "cause-voc320", "diffseg512", "diffcut128", "clip224", "full")
    }


@pytest.mark.parametrize("name", sorted(CROPS))
@pytest.mark.parametrize("size", [(333, 500), (501, 334), (1300, 1400)])
def test_image_and_truth_are_cropped_alike(name, size):
    """The truth of a picture of two halves stays where the halves are."""
    for axis in (0, 1):
        half = np.indices(size)[axis] >= size[axis] // 2
        image, (truth,) = apply_crop(
            name, np.repeat(half[..., None], 3, 2).astype(np.uint8) * 255, (half * 1,)
        )
        scored = nearest(image[..., 0], truth.shape) > 127
        # Bilinear and bicubic resizing may move the border by a pixel, no more.
        assert (scored != truth).any(axis=1 - axis).sum() <= 1


def test_an_unknown_crop_is_refused(tmp_path):
    with pytest.raises(ValueError, match="crop must be one of full, stego320"):
        apply_crop("320", np.zeros((2, 2, 3), np.uint8), ())
    photo(tmp_path / "images/a.png", (2, 2))
    mask(tmp_path / "masks/a.png", [[0, 1], [1, 1]])
    with pytest.raises(ValueError, match="crop must be one of"):
        uk.data.Folder(tmp_path, crop="middle")
