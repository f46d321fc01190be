"""COCO-Stuff-27: photographs with 12 coarse classes of things and 15 of stuff."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .dataset import IGNORED, Dataset, Item, existing, listed, mapped, pairs, read_labels, read_rgb

_LAYOUT = (
    "ROOT/images/{train2017,val2017}/*.jpg, ROOT/annotations/{train2017,val2017}/*.png (stuffthingmaps) "
    "and ROOT/curated/{train2017,val2017}/Coco164kFull_Stuff_Coarse_7.txt"
)

# Coarse class and the fine numbers (COCO-Stuff id less one, as stored) that it holds. Two names
# come twice, once among the things and once among the stuff, so the position is the key.
_COARSE: tuple[tuple[str, str], ...] = (
    ("electronic", "71-76"),
    ("appliance", "77-82"),
    ("food (thing)", "51-60"),
    ("furniture (thing)", "61-70"),
    ("indoor", "83-90"),
    ("kitchen", "43-50"),
    ("accessory", "25-32"),
    ("animal", "15-24"),
    ("outdoor", "9-14"),
    ("person", "0"),
    ("sports", "33-42"),
    ("vehicle", "1-8"),
    ("ceiling", "101,102"),
    ("floor", "100,113-117"),
    ("food (stuff)", "120,121,152,169"),
    ("furniture (stuff)", "97,106,107,109,111,122,129,132,155,160,164"),
    ("raw material", "99,131,138,142"),
    ("textile", "91,92,103,104,108,130,136,140,151,166,167"),
    ("wall", "170-176"),
    ("window", "179,180"),
    ("building", "94,95,127,150,157,165"),
    ("ground", "110,124,125,135,139,143,144,146,148,153,158"),
    ("plant", "93,96,118,123,128,133,141,162,168"),
    ("sky", "105,156"),
    ("solid", "126,134,149,159,161,181"),
    ("structural", "98,112,137,145,163"),
    ("water", "119,147,154,177,178"),
)


def _fine(ranges: str) -> list[int]:
    ends = [(part.split("-") * 2)[:2] for part in ranges.split(",")]
    return [i for first, last in ends for i in range(int(first), int(last) + 1)]


COARSE_OF_FINE = {fine: k for k, (_, ranges) in enumerate(_COARSE) for fine in _fine(ranges)}
"""Stored number (0..181) -> coarse class (0..26)."""


def COCOStuff27(
    root: str | Path,
    split: str = "val2017",
    *,
    names: str | Path | None = None,
    crop: str = "stego320",
) -> Dataset:
    """COCO-Stuff with 27 coarse classes, as PiCIE and STEGO score it.

    Parameters
    ----------
    root : str or Path
        Holds ``images``, ``annotations`` and ``curated``.
    split : {"val2017", "train2017"}
    names : str or Path, optional
        A file with one image id a line. The curated list by default (2175 images of val2017, in
        which stuff covers three quarters and more), on which published numbers stand.
    crop : str, default "stego320"
        One of `ultra_kit.data.CROPS`.

    Returns
    -------
    Dataset
        Classes 0..11 are things, 12..26 stuff; unlabelled pixels (255) are -1.

    Raises
    ------
    ValueError
        If a folder, the list or a file is missing, with the layout that is needed.

    Examples
    --------
    >>> COCOStuff27("nowhere")
    Traceback (most recent call last):
        ...
    ValueError: COCO-Stuff-27 needs nowhere/images/val2017, and nothing is there; its layout is ...
    """
    name, root = "COCO-Stuff-27", Path(root)
    images = existing(root / "images" / split, name, _LAYOUT)
    masks = existing(root / "annotations" / split, name, _LAYOUT)
    default = root / "curated" / split / "Coco164kFull_Stuff_Coarse_7.txt"
    chosen = existing(default if names is None else Path(names), name, _LAYOUT)
    items = [Item(i, images / f"{i}.jpg", masks / f"{i}.png") for i in listed(chosen)]
    classes = tuple(label for label, _ in _COARSE)
    return Dataset(name, split, pairs(items, name), classes, crop, read_rgb, _read_coarse)


def _read_coarse(path: Path) -> tuple[np.ndarray, ...]:
    table = COARSE_OF_FINE | {255: IGNORED}
    return (mapped(read_labels(path), table, path, "COCO-Stuff numbers (0..181, 255)"),)
