"""PASCAL VOC 2012, semantic segmentation."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .dataset import IGNORED, Dataset, Item, existing, listed, mapped, pairs, read_labels, read_rgb

_LAYOUT = (
    "ROOT/VOCdevkit/VOC2012/ with JPEGImages/*.jpg, SegmentationClass/*.png and "
    "ImageSets/Segmentation/{train,val,trainval}.txt"
)
_CLASSES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train"),
    "tvmonitor",
)
_CLASS_OF_INDEX = {i: i for i in range(len(_CLASSES))} | {255: IGNORED}


def PascalVOC2012(root: str | Path, split: str = "val", *, crop: str = "full") -> Dataset:
    """PASCAL VOC 2012 with 21 classes, background among them.

    Parameters
    ----------
    root : str or Path
        Holds ``VOCdevkit/VOC2012``.
    split : {"train", "val", "trainval"}
        1464, 1449 and 2913 images.
    crop : str, default "full"
        One of `ultra_kit.data.CROPS`: "full" as Deep Spectral Methods, "cause-voc320" as
        CAUSE, "diffseg512" as DiffSeg.

    Returns
    -------
    Dataset
        Void pixels (255, the objects' outlines) are -1.

    Raises
    ------
    ValueError
        If a folder, the list or a file is missing, with the layout that is needed.

    Examples
    --------
    >>> PascalVOC2012("nowhere")
    Traceback (most recent call last):
        ...
    ValueError: PASCAL VOC 2012 needs nowhere/VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt, and ...
    """
    name, folder = "PASCAL VOC 2012", Path(root) / "VOCdevkit" / "VOC2012"
    names = listed(existing(folder / "ImageSets" / "Segmentation" / f"{split}.txt", name, _LAYOUT))
    images, masks = folder / "JPEGImages", folder / "SegmentationClass"
    items = [Item(i, images / f"{i}.jpg", masks / f"{i}.png") for i in names]
    return Dataset(name, split, pairs(items, name), _CLASSES, crop, read_rgb, _read_indices)


def _read_indices(path: Path) -> tuple[np.ndarray, ...]:
    # The file is a palette image: its indices are the classes, its colours are for looking at.
    return (mapped(read_labels(path), _CLASS_OF_INDEX, path, "VOC classes (0..20, 255)"),)
