"""What a data set is: a list of images with their truths, read one by one from files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload

import numpy as np
from PIL import Image, UnidentifiedImageError

from ..types.provenance import sha256
from .crops import apply_crop, check_crop

IGNORED = -1
"""The class of pixels that no score counts, in every truth."""


@dataclass(frozen=True, eq=False)
class Sample:
    """One image with its truth.

    Attributes
    ----------
    name : str
        Unique in its data set.
    image : ndarray of shape (H, W, 3), uint8
    truths : tuple of ndarray of shape (H, W), int32
        One label map; several for a data set with several annotators an image. -1 is ignored.
    """

    name: str
    image: np.ndarray
    truths: tuple[np.ndarray, ...]

    @property
    def truth(self) -> np.ndarray:
        """The only truth: int32 of shape (H, W).

        Raises
        ------
        ValueError
            If there are several.
        """
        if len(self.truths) != 1:
            raise ValueError(f"{self.name} has {len(self.truths)} truths; use .truths")
        return self.truths[0]


@dataclass(frozen=True)
class Item:
    """Where one image and its truth lie."""

    name: str
    image: Path
    truth: Path


@dataclass(frozen=True, repr=False)
class Dataset:
    """Images with truths in files; made by one of the functions of `ultra_kit.data`.

    ``len(dataset)``, ``dataset[3]`` (a `Sample`, read from its files now), ``dataset[:10]`` (a
    `Dataset`) and iteration work as for a list. It holds paths only, so it is cheap to send to
    other processes; on other machines the same paths must hold.

    Attributes
    ----------
    name, split : str
    items : tuple of Item
    classes : tuple of str
        Names of classes 0..C-1; empty if the truth is regions without classes (BSDS500).
    crop : str
        One of `ultra_kit.data.CROPS`.
    read_image : callable
        Path to (H, W, 3) uint8.
    read_truths : callable
        Path to a tuple of (H, W) integer arrays, -1 ignored.
    """

    name: str
    split: str
    items: tuple[Item, ...]
    classes: tuple[str, ...]
    crop: str
    read_image: Callable[[Path], np.ndarray]
    read_truths: Callable[[Path], tuple[np.ndarray, ...]]

    def __post_init__(self) -> None:
        check_crop(self.crop)
        if not self.items:
            raise ValueError(f"{self.name} {self.split} must hold at least one image, got none")

    def __len__(self) -> int:
        return len(self.items)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> Dataset: ...
    def __getitem__(self, index: int | slice) -> Sample | Dataset:
        if isinstance(index, slice):
            return replace(self, items=self.items[index])
        item = self.items[index]
        image, truths = self.read_image(item.image), self.read_truths(item.truth)
        try:
            image, truths = apply_crop(self.crop, image, truths)
        except ValueError as e:
            raise ValueError(f"{item.truth}: {e}") from e
        return Sample(item.name, image, truths)

    def __iter__(self) -> Iterator[Sample]:
        return (self[i] for i in range(len(self)))

    @property
    def card(self) -> dict[str, Any]:
        """What was read: name, split, number of images, a hash of their names, classes and crop; JSON-able."""
        names = sha256(["\n".join(i.name for i in self.items)])
        return {
            "name": self.name,
            "split": self.split,
            "images": len(self),
            "images_sha256": names,
            "classes": list(self.classes),
            "crop": self.crop,
        }

    def __repr__(self) -> str:
        kind = f"{len(self.classes)} classes" if self.classes else "regions"
        return f"Dataset({self.name} {self.split}, {len(self)} images, {kind}, crop {self.crop})"


def existing(path: Path, needed_by: str, layout: str) -> Path:
    """A file or folder that must be there.

    Parameters
    ----------
    path : Path
    needed_by : str
        The data set.
    layout : str
        What its official layout is, for the message.

    Returns
    -------
    Path
        The same.

    Raises
    ------
    ValueError
        If nothing is there.
    """
    if not path.exists():
        raise ValueError(f"{needed_by} needs {path}, and nothing is there; its layout is {layout}")
    return path


def pairs(items: list[Item], needed_by: str) -> tuple[Item, ...]:
    """Items whose files are all there.

    Parameters
    ----------
    items : list of Item
    needed_by : str
        The data set.

    Returns
    -------
    tuple of Item

    Raises
    ------
    ValueError
        If a file is missing: the first one, and how many others.
    """
    missing = [str(p) for i in items for p in (i.image, i.truth) if not p.is_file()]
    if missing:
        raise ValueError(
            f"{needed_by}: {missing[0]} is missing, and {len(missing) - 1} other files; extract the archive again"
        )
    return tuple(items)


def listed(path: Path) -> list[str]:
    """Names in a list file, one a line.

    Parameters
    ----------
    path : Path

    Returns
    -------
    list of str
        Blank lines left out.
    """
    return [line.strip() for line in path.read_text("utf-8").splitlines() if line.strip()]


def read_rgb(path: Path) -> np.ndarray:
    """Read an image as its pixels are stored.

    The orientation that a camera noted is not applied: masks belong to the stored pixels.

    Parameters
    ----------
    path : Path

    Returns
    -------
    ndarray of shape (H, W, 3), uint8

    Raises
    ------
    ValueError
        If it is no image.
    """
    with _opened(path) as image:
        return np.asarray(image.convert("RGB"))


def read_labels(path: Path) -> np.ndarray:
    """Read a mask: the numbers stored in a one-channel or palette image.

    Parameters
    ----------
    path : Path

    Returns
    -------
    ndarray of int64, shape (H, W)

    Raises
    ------
    ValueError
        If the file is no image, or has several channels.
    """
    with _opened(path) as image:
        if image.mode not in ("L", "P", "1", "I") and not image.mode.startswith("I;16"):
            raise ValueError(
                f"{path} must hold one number a pixel (greyscale or palette), got mode {image.mode}; "
                "colours are no classes: save the mask as class numbers"
            )
        return np.asarray(image).astype(np.int64)


def mapped(values: np.ndarray, table: dict[int, int], path: Path, what: str) -> np.ndarray:
    """Classes of stored numbers.

    Parameters
    ----------
    values : ndarray of int
    table : dict of int to int
        Stored number -> class, -1 ignored.
    path : Path
    what : str
        What the stored numbers are, for the message.

    Returns
    -------
    ndarray of int32, shape of `values`

    Raises
    ------
    ValueError
        For a number that the table does not hold: never guessed.
    """
    names, index = np.unique(values, return_inverse=True)
    unknown = [int(v) for v in names if int(v) not in table]
    if unknown:
        raise ValueError(f"{path} holds {unknown[:5]}, which are no {what}")
    return np.array([table[int(v)] for v in names], np.int32)[index].reshape(values.shape)


def _opened(path: Path) -> Image.Image:
    try:
        return Image.open(path)
    except UnidentifiedImageError:
        raise ValueError(f"{path} is no image that Pillow can read") from None
