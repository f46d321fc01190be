"""BSDS500: photographs segmented by several people."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.io import loadmat

from .dataset import Dataset, Item, existing, pairs, read_rgb

_LAYOUT = (
    "ROOT/images/{train,val,test}/*.jpg and ROOT/groundTruth/{train,val,test}/*.mat (ROOT is BSDS500/data)"
)


def BSDS500(root: str | Path, split: str = "val") -> Dataset:
    """Berkeley segmentation data set (Arbelaez et al., 2011): 200 train, 100 val, 200 test photographs.

    Parameters
    ----------
    root : str or Path
        ``BSDS500/data`` of the official archive: holds ``images`` and ``groundTruth``.
    split : {"train", "val", "test"}

    Returns
    -------
    Dataset
        Without classes: each sample has the segmentations of 4 to 9 people, to be scored with
        `ultra_kit.metrics.region_metrics`. Images are 481 x 321 or 321 x 481 pixels.

    Raises
    ------
    ValueError
        If a folder or a file is missing, with the layout that is needed.

    Examples
    --------
    >>> BSDS500("nowhere")
    Traceback (most recent call last):
        ...
    ValueError: BSDS500 needs nowhere/images/val, and nothing is there; its layout is ...
    """
    images = existing(Path(root) / "images" / split, "BSDS500", _LAYOUT)
    truths = existing(Path(root) / "groundTruth" / split, "BSDS500", _LAYOUT)
    items = [Item(p.stem, p, truths / f"{p.stem}.mat") for p in sorted(images.glob("*.jpg"))]
    return Dataset("BSDS500", split, pairs(items, "BSDS500"), (), "full", read_rgb, _read_people)


def _read_people(path: Path) -> tuple[np.ndarray, ...]:
    people = loadmat(path)["groundTruth"].ravel()
    return tuple(person["Segmentation"][0, 0].astype(np.int32) for person in people)
