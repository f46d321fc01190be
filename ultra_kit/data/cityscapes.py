"""Cityscapes-27: street scenes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .dataset import IGNORED, Dataset, Item, existing, mapped, pairs, read_labels, read_rgb

_LAYOUT = "ROOT/leftImg8bit/{train,val}/CITY/*_leftImg8bit.png and ROOT/gtFine/{train,val}/CITY/*_gtFine_labelIds.png"
_CLASSES = (
    *("road", "sidewalk", "parking", "rail track", "building", "wall", "fence", "guard rail", "bridge"),
    *("tunnel", "pole", "polegroup", "traffic light", "traffic sign", "vegetation", "terrain", "sky"),
    *("person", "rider", "car", "truck", "bus", "caravan", "trailer", "train", "motorcycle", "bicycle"),
)
_FIRST = 7  # label ids below are void
_CLASS_OF_ID = {i: i - _FIRST if i >= _FIRST else IGNORED for i in range(_FIRST + len(_CLASSES))}


def Cityscapes27(root: str | Path, split: str = "val", *, crop: str = "stego320") -> Dataset:
    """Cityscapes with 27 classes, as PiCIE and STEGO score it.

    These are the label ids 7 to 33, not the 19 classes of the supervised benchmark.

    Parameters
    ----------
    root : str or Path
        Holds ``leftImg8bit`` and ``gtFine``.
    split : {"train", "val"}
        "val" has 500 images. The public test split has no truth.
    crop : str, default "stego320"
        One of `ultra_kit.data.CROPS`; the default scores the central square only.

    Returns
    -------
    Dataset
        Void pixels (ids 0 to 6) are -1.

    Raises
    ------
    ValueError
        If a folder or a file is missing, with the layout that is needed.

    Examples
    --------
    >>> Cityscapes27("nowhere")
    Traceback (most recent call last):
        ...
    ValueError: Cityscapes-27 needs nowhere/leftImg8bit/val, and nothing is there; its layout is ...
    """
    name, root = "Cityscapes-27", Path(root)
    images = existing(root / "leftImg8bit" / split, name, _LAYOUT)
    masks = existing(root / "gtFine" / split, name, _LAYOUT)
    items = []
    for path in sorted(images.glob("*/*_leftImg8bit.png")):
        stem = path.name.removesuffix("_leftImg8bit.png")
        items.append(Item(stem, path, masks / path.parent.name / f"{stem}_gtFine_labelIds.png"))
    return Dataset(name, split, pairs(items, name), _CLASSES, crop, read_rgb, _read_ids)


def _read_ids(path: Path) -> tuple[np.ndarray, ...]:
    return (mapped(read_labels(path), _CLASS_OF_ID, path, "Cityscapes label ids (0..33)"),)
