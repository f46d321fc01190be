"""Potsdam-3: aerial photographs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.io import loadmat

from .dataset import IGNORED, Dataset, Item, existing, listed, mapped, pairs, read_labels, read_rgb

_MAT_LAYOUT = "ROOT/imgs/N.mat, ROOT/gt/N.mat and ROOT/{labelled_test,labelled_train}.txt"
_TILE_LAYOUT = "ROOT/img_dir/[SPLIT/]*.png and ROOT/ann_dir/[SPLIT/]*.png"
_CLASSES = ("road and car", "building and clutter", "vegetation and tree")
# Stored: 0 road, 1 building, 2 low vegetation, 3 tree, 4 car, 5 clutter.
_THREE = {0: 0, 1: 1, 2: 2, 3: 2, 4: 0, 5: 1}


def Potsdam3(root: str | Path, split: str = "labelled_test", *, crop: str = "stego320") -> Dataset:
    """ISPRS Potsdam with 3 classes, in the 200 x 200 pieces of IIC and STEGO.

    Which pieces are for testing was drawn without a seed, so that published numbers can only be
    compared on STEGO's archive, not on pieces cut anew from the ISPRS tiles.

    Parameters
    ----------
    root : str or Path
        Holds ``imgs``, ``gt`` and the lists.
    split : {"labelled_test", "labelled_train"}
        855 and 4545 pieces.
    crop : str, default "stego320"
        One of `ultra_kit.data.CROPS`; the default enlarges the pieces.

    Returns
    -------
    Dataset
        Red, green and blue of the four stored channels.

    Raises
    ------
    ValueError
        If the list or a file is missing, with the layout that is needed.

    Examples
    --------
    >>> Potsdam3("nowhere")
    Traceback (most recent call last):
        ...
    ValueError: Potsdam-3 needs nowhere/labelled_test.txt, and nothing is there; its layout is ...
    """
    name, root = "Potsdam-3", Path(root)
    names = listed(existing(root / f"{split}.txt", name, _MAT_LAYOUT))
    items = [Item(i, root / "imgs" / f"{i}.mat", root / "gt" / f"{i}.mat") for i in names]
    return Dataset(name, split, pairs(items, name), _CLASSES, crop, _read_mat_image, _read_mat_classes)


def Potsdam3Tiles(root: str | Path, split: str = "", *, crop: str = "full") -> Dataset:
    """ISPRS Potsdam with 3 classes, in the 512 x 512 pieces of mmsegmentation.

    Parameters
    ----------
    root : str or Path
        Holds ``img_dir`` and ``ann_dir``.
    split : str, default ""
        The folder in each of them; none by default.
    crop : str, default "full"
        One of `ultra_kit.data.CROPS`.

    Returns
    -------
    Dataset
        Boundary pixels (stored 0) are -1.

    Raises
    ------
    ValueError
        If a folder or a file is missing, with the layout that is needed.

    Examples
    --------
    >>> Potsdam3Tiles("nowhere")
    Traceback (most recent call last):
        ...
    ValueError: Potsdam-3 tiles needs nowhere/img_dir, and nothing is there; its layout is ...
    """
    name = "Potsdam-3 tiles"
    images = existing(Path(root) / "img_dir" / split, name, _TILE_LAYOUT)
    masks = existing(Path(root) / "ann_dir" / split, name, _TILE_LAYOUT)
    items = [Item(p.stem, p, masks / p.name) for p in sorted(images.glob("*.png"))]
    return Dataset(name, split, pairs(items, name), _CLASSES, crop, read_rgb, _read_tile_classes)


def _read_mat_image(path: Path) -> np.ndarray:
    return np.ascontiguousarray(loadmat(path)["img"][..., :3])


def _read_mat_classes(path: Path) -> tuple[np.ndarray, ...]:
    table = _THREE | {255: IGNORED, -1: IGNORED}
    return (mapped(loadmat(path)["gt"], table, path, "Potsdam classes (0..5, 255)"),)


def _read_tile_classes(path: Path) -> tuple[np.ndarray, ...]:
    table = {k + 1: c for k, c in _THREE.items()} | {0: IGNORED}
    return (mapped(read_labels(path), table, path, "Potsdam classes (0..6)"),)
