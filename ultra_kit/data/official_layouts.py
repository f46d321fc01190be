"""Published data sets in their official layouts, with the classes by which published protocols score them."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from .dataset import IGNORED, Dataset, Item, existing, listed, pairs, read_classes, read_rgb
from .matlab_files import read_mat

_CLASSES = tomllib.loads(files(__package__).joinpath("official_classes.toml").read_text("utf-8"))
_VOC_CLASSES, _CITYSCAPES_CLASSES = tuple(_CLASSES["voc"]), tuple(_CLASSES["cityscapes"])
_COARSE: dict[str, str] = _CLASSES["coco-stuff"]

_BSDS = (
    "ROOT/images/{train,val,test}/*.jpg and ROOT/groundTruth/{train,val,test}/*.mat (ROOT is BSDS500/data)"
)

_VOC = (
    "ROOT/VOCdevkit/VOC2012/ with JPEGImages/*.jpg, SegmentationClass/*.png and "
    "ImageSets/Segmentation/{train,val,trainval}.txt"
)

_CITYSCAPES = "ROOT/leftImg8bit/{train,val}/CITY/*_leftImg8bit.png and ROOT/gtFine/{train,val}/CITY/*_gtFine_labelIds.png"

_POTSDAM = "ROOT/imgs/N.mat, ROOT/gt/N.mat and ROOT/{labelled_test,labelled_train}.txt"
_POTSDAM_TILES = "ROOT/img_dir/[SPLIT/]*.png and ROOT/ann_dir/[SPLIT/]*.png"
_POTSDAM_CLASSES = ("road and car", "building and clutter", "vegetation and tree")
# Stored: 0 road, 1 building, 2 low vegetation, 3 tree, 4 car, 5 clutter.
_THREE = {0: 0, 1: 1, 2: 2, 3: 2, 4: 0, 5: 1}

_COCO = (
    "ROOT/images/{train2017,val2017}/*.jpg, ROOT/annotations/{train2017,val2017}/*.png (stuffthingmaps) "
    "and ROOT/curated/{train2017,val2017}/Coco164kFull_Stuff_Coarse_7.txt"
)


def _fine(ranges: str) -> list[int]:
    ends = [(part.split("-") * 2)[:2] for part in ranges.split(",")]
    return [i for first, last in ends for i in range(int(first), int(last) + 1)]


COARSE_OF_FINE = {fine: k for k, ranges in enumerate(_COARSE.values()) for fine in _fine(ranges)}
"""Stored number (0..181) -> coarse class (0..26)."""


def PascalVOC2012(root: str | Path, split: str = "val", *, crop: str = "full") -> Dataset:
    """PASCAL VOC 2012 with 21 classes, background among them; void pixels (255, outlines) are -1.

    Parameters
    ----------
    root : str or Path
        Holds ``VOCdevkit/VOC2012``. A missing file is a ValueError that says what the layout is.
    split : {"train", "val", "trainval"}
    crop : str, default "full"
        Of `ultra_kit.data.CROPS`; "full" as Deep Spectral Methods, "cause-voc320", "diffseg512".

    Returns
    -------
    Dataset
    """
    name, folder = "PASCAL VOC 2012", Path(root) / "VOCdevkit" / "VOC2012"
    (names,) = existing(name, _VOC, folder / "ImageSets" / "Segmentation" / f"{split}.txt")
    images, masks = folder / "JPEGImages", folder / "SegmentationClass"
    items = [Item(i, images / f"{i}.jpg", masks / f"{i}.png") for i in listed(names)]
    # The masks are palette images: their indices are the classes, their colours are for looking at.
    table = {i: i for i in range(len(_VOC_CLASSES))} | {255: IGNORED}
    truths = partial(read_classes, table=table, what="VOC classes (0..20, 255)")
    return Dataset(name, split, pairs(items, name), _VOC_CLASSES, crop, read_rgb, truths)


def Cityscapes27(root: str | Path, split: str = "val", *, crop: str = "stego320") -> Dataset:
    """Cityscapes with 27 classes (ids 7 to 33, not the benchmark's 19), as PiCIE and STEGO score it; void is -1.

    Parameters
    ----------
    root, split, crop
        As for `PascalVOC2012`; `root` holds ``leftImg8bit`` and ``gtFine``. Only the centre is scored.

    Returns
    -------
    Dataset
    """
    name, root = "Cityscapes-27", Path(root)
    images, masks = existing(name, _CITYSCAPES, root / "leftImg8bit" / split, root / "gtFine" / split)
    items = []
    for path in sorted(images.glob("*/*_leftImg8bit.png")):
        stem = path.name.removesuffix("_leftImg8bit.png")
        items.append(Item(stem, path, masks / path.parent.name / f"{stem}_gtFine_labelIds.png"))
    table = {i: i - 7 if i >= 7 else IGNORED for i in range(7 + len(_CITYSCAPES_CLASSES))}
    truths = partial(read_classes, table=table, what="Cityscapes label ids (0..33)")
    return Dataset(name, split, pairs(items, name), _CITYSCAPES_CLASSES, crop, read_rgb, truths)


def COCOStuff27(
    root: str | Path, split: str = "val2017", *, names: str | Path | None = None, crop: str = "stego320"
) -> Dataset:
    """COCO-Stuff with 27 coarse classes, 12 of things and 15 of stuff, as PiCIE and STEGO score it; unlabelled is -1.

    Parameters
    ----------
    root, split, crop
        As for `PascalVOC2012`; `root` holds ``images``, ``annotations`` and ``curated``.
    names : str or Path, optional
        A file with one image id per line. The curated list by default (2175 images of val2017, in
        which stuff covers three quarters and more), on which published numbers stand.

    Returns
    -------
    Dataset
    """
    name, root = "COCO-Stuff-27", Path(root)
    images, masks = existing(name, _COCO, root / "images" / split, root / "annotations" / split)
    curated = root / "curated" / split / "Coco164kFull_Stuff_Coarse_7.txt"
    (chosen,) = existing(name, _COCO, curated if names is None else Path(names))
    items = [Item(i, images / f"{i}.jpg", masks / f"{i}.png") for i in listed(chosen)]
    classes, table = tuple(_COARSE), COARSE_OF_FINE | {255: IGNORED}
    truths = partial(read_classes, table=table, what="COCO-Stuff numbers (0..181, 255)")
    return Dataset(name, split, pairs(items, name), classes, crop, read_rgb, truths)


def Potsdam3(root: str | Path, split: str = "labelled_test", *, crop: str = "stego320") -> Dataset:
    """ISPRS Potsdam with 3 classes, in the 200 x 200 pieces of IIC and STEGO, without infrared.

    Parameters
    ----------
    root, split, crop
        As for `PascalVOC2012`; `root` holds ``imgs``, ``gt`` and the lists "labelled_test" (855 pieces,
        drawn without a seed: only STEGO's archive compares with published numbers) and "labelled_train".

    Returns
    -------
    Dataset
    """
    name, root = "Potsdam-3", Path(root)
    (names,) = existing(name, _POTSDAM, root / f"{split}.txt")
    items = [Item(i, root / "imgs" / f"{i}.mat", root / "gt" / f"{i}.mat") for i in listed(names)]
    table = _THREE | {255: IGNORED, -1: IGNORED}
    truths = partial(read_classes, table=table, what="Potsdam classes (0..5, 255)", read=_read_mat_truth)
    return Dataset(name, split, pairs(items, name), _POTSDAM_CLASSES, crop, _read_mat_image, truths)


def Potsdam3Tiles(root: str | Path, split: str = "", *, crop: str = "full") -> Dataset:
    """ISPRS Potsdam with 3 classes, in the 512 x 512 pieces of mmsegmentation; boundaries are -1.

    Parameters
    ----------
    root, split, crop
        As for `PascalVOC2012`; `root` holds ``img_dir`` and ``ann_dir``, `split` is a folder in each.

    Returns
    -------
    Dataset
    """
    name, root = "Potsdam-3 tiles", Path(root)
    images, masks = existing(name, _POTSDAM_TILES, root / "img_dir" / split, root / "ann_dir" / split)
    items = [Item(p.stem, p, masks / p.name) for p in sorted(images.glob("*.png"))]
    table = {k + 1: c for k, c in _THREE.items()} | {0: IGNORED}
    truths = partial(read_classes, table=table, what="Potsdam classes (0..6)")
    return Dataset(name, split, pairs(items, name), _POTSDAM_CLASSES, crop, read_rgb, truths)


def BSDS500(root: str | Path, split: str = "val") -> Dataset:
    """Berkeley segmentation data set (Arbelaez et al., 2011): 200 train, 100 val, 200 test photographs.

    Each has the segmentations of 4 to 9 annotators without classes, for `ultra_kit.metrics.region_metrics`.

    Parameters
    ----------
    root, split
        As for `PascalVOC2012`; `root` is ``BSDS500/data`` of the official archive.

    Returns
    -------
    Dataset
    """
    name, root = "BSDS500", Path(root)
    images, truths = existing(name, _BSDS, root / "images" / split, root / "groundTruth" / split)
    items = [Item(p.stem, p, truths / f"{p.stem}.mat") for p in sorted(images.glob("*.jpg"))]
    return Dataset(name, split, pairs(items, name), (), "full", read_rgb, _read_annotators)


def _read_mat_image(path: Path) -> np.ndarray:
    return np.ascontiguousarray(_mat(path, lambda found: found["img"][..., :3]))


def _read_mat_truth(path: Path) -> np.ndarray:
    return _mat(path, lambda found: found["gt"].astype(np.int64))


def _read_annotators(path: Path) -> tuple[np.ndarray, ...]:
    def each(found: Any) -> tuple[np.ndarray, ...]:
        return tuple(one["Segmentation"][0, 0].astype(np.int32) for one in found["groundTruth"].ravel())

    return _mat(path, each)


def _mat(path: Path, part: Callable[[Any], Any]) -> Any:
    """A part of a MATLAB file; a ValueError that names the file where it is not there or damaged."""
    try:
        return part(read_mat(path))
    except Exception as error:  # what a damaged file raises depends on where
        raise ValueError(f"{path} is no MATLAB file of this data set, or damaged: {error!r}") from None
