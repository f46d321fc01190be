"""What a data set is: a list of images with their truths, read one by one from files; and how its files are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np
from PIL import Image

from ..models.open_image import FORMATS, MAX_PIXELS, from_file, regular_file
from ..types.provenance import sha256
from .crops import apply_crop, check_crop

IGNORED = -1
"""The class of pixels that no metric counts, in every truth."""


@dataclass(frozen=True, eq=False)
class Sample:
    """One image, uint8 of shape (H, W, 3), its name and its truths.

    `truths` has one label map, int32 of shape (H, W), or that of each annotator; -1 is ignored.
    """

    name: str
    image: np.ndarray
    truths: tuple[np.ndarray, ...]

    @property
    def truth(self) -> np.ndarray:
        """The only truth: int32 of shape (H, W); a ValueError if there are several."""
        if len(self.truths) != 1:
            raise ValueError(f"{self.name} has {len(self.truths)} truths; use .truths")
        return self.truths[0]


class Item(NamedTuple):
    """Where one image and its truth lie."""

    name: str
    image: Path
    truth: Path


@dataclass(frozen=True, repr=False)
class Dataset:
    """Images with truths in files; made by one of the functions of `ultra_kit.data`.

    ``len(dataset)``, ``dataset[3]`` (a `Sample`, read from its files now), ``dataset[:10]`` (a `Dataset`) and
    iteration work as for a list. It holds paths only, `items`, so it is cheap to send to other processes; on
    other machines the same paths must hold. `classes` names classes 0..C-1, none if the truth is regions without
    classes; `crop` is one of `ultra_kit.data.CROPS`; `read_image` takes a path to uint8 of shape (H, W, 3),
    `read_truths` to a tuple of integer arrays (H, W), -1 ignored.
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
        return {
            "name": self.name,
            "split": self.split,
            "images": len(self),
            "images_sha256": sha256(["\n".join(i.name for i in self.items)]),
            "classes": list(self.classes),
            "crop": self.crop,
        }

    def __repr__(self) -> str:
        kind = f"{len(self.classes)} classes" if self.classes else "regions"
        return f"Dataset({self.name} {self.split}, {len(self)} images, {kind}, crop {self.crop})"


def existing(needed_by: str, layout: str, *paths: Path) -> tuple[Path, ...]:
    """The same paths; a ValueError that says what the layout is if one leads nowhere."""
    for path in paths:
        if not (path.is_file() or path.is_dir()):  # a pipe would be waited for
            raise ValueError(f"{needed_by} needs {path}, and none such is there; its layout is {layout}")
    return paths


def pairs(items: list[Item], needed_by: str) -> tuple[Item, ...]:
    """The items; a ValueError if a file of theirs is missing: the first one, and how many others."""
    missing = [str(p) for i in items for p in (i.image, i.truth) if not p.is_file()]
    if missing:
        raise ValueError(
            f"{needed_by}: {missing[0]} is missing, and {len(missing) - 1} other files; extract the archive again"
        )
    return tuple(items)


def listed(path: Path) -> list[str]:
    """Names in a list file, one per line, blank lines left out."""
    return [line.strip() for line in path.read_text("utf-8").splitlines() if line.strip()]


def read_rgb(path: Path) -> np.ndarray:
    """The pixels as they are stored, uint8 of shape (H, W, 3): no orientation is applied, as masks have none."""
    return from_file(path, upright=False)


def read_labels(path: Path) -> np.ndarray:
    """The numbers stored in a one-channel or palette image, int64 of shape (H, W)."""
    try:
        opened = Image.open(regular_file(path), formats=FORMATS)
        if opened.width * opened.height > MAX_PIXELS:
            raise ValueError(f"it has {opened.width} x {opened.height} pixels, at most {MAX_PIXELS} are read")
        opened.load()
    except Exception as e:  # what a damaged file raises depends on its format
        raise ValueError(f"{path} is damaged, truncated or too large: {e}") from None
    with opened as image:
        if image.mode not in ("L", "P", "1", "I") and not image.mode.startswith("I;16"):
            raise ValueError(
                f"{path} must hold one number per pixel (greyscale or palette), got mode {image.mode}; "
                "colours are no classes: save the mask as class numbers"
            )
        return np.asarray(image).astype(np.int64)


def read_classes(
    path: Path, *, table: Mapping[int, int], what: str, read: Callable[[Path], np.ndarray] = read_labels
) -> tuple[np.ndarray]:
    """One truth, int32, of numbers that `table` turns into classes; one that is not `what` it has is refused, never guessed."""
    values = read(path)
    stored, index = np.unique(values, return_inverse=True)
    unknown = [int(v) for v in stored if int(v) not in table]
    if unknown:
        raise ValueError(f"{path} holds {unknown[:5]}, which are no {what}")
    return (np.array([table[int(v)] for v in stored], np.int32)[index].reshape(values.shape),)
