"""Any folder of images and masks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from .dataset import IGNORED, Dataset, Item, existing, pairs, read_labels, read_rgb

_LAYOUT = "ROOT/IMAGES/NAME.jpg (or .jpeg, .png) and ROOT/MASKS/NAME.png, one number per pixel"
_IMAGES = (".jpg", ".jpeg", ".png")
_CLASSES = 1000


def Folder(
    root: str | Path,
    *,
    images: str = "images",
    masks: str = "masks",
    classes: Sequence[str] | None = None,
    ignore: int = 255,
    crop: str = "full",
) -> Dataset:
    """Read your own images and masks, paired by file name.

    Parameters
    ----------
    root : str or Path
    images, masks : str
        Folders in `root`. A mask is a greyscale or palette PNG of its image's size that stores the class.
    classes : sequence of str, optional
        Names of classes 0..C-1. If they are not given all masks are read once to find C.
    ignore : int, default 255
        What the masks hold where no metric counts.
    crop : str, one of `ultra_kit.data.CROPS`

    Returns
    -------
    Dataset
        Named after the folder, images in order of their names. A ValueError if a mask is missing or has
        colours in place of numbers, two images share a name, or a number is no class.
    """
    root = Path(root)
    found, truths = existing("Folder", _LAYOUT, root / images, root / masks)
    files = sorted(p for p in found.iterdir() if p.suffix.lower() in _IMAGES)
    items = pairs([Item(p.stem, p, truths / f"{p.stem}.png") for p in files], "Folder")
    twins = {name for name, n in Counter(i.name for i in items).items() if n > 1}
    if twins:
        raise ValueError(f"{found} has two images of one name: {', '.join(sorted(twins))}; rename one")
    if classes is None:
        largest = {i.truth: _largest(i.truth, ignore) for i in items}
        n = 1 + max(largest.values(), default=-1)
        if n > _CLASSES:
            path = max(largest, key=lambda p: largest[p])
            raise ValueError(
                f"{path} holds {n - 1}: more than {_CLASSES} classes have to be named by classes=, or give ignore= if it "
                f"marks pixels without a class (now {ignore})"
            )
        classes = [f"class {k}" for k in range(n)]
    read = partial(_read_mask, n_classes=len(classes), ignore=ignore)
    return Dataset(root.resolve().name, images, items, tuple(classes), crop, read_rgb, read)


def _largest(path: Path, ignore: int) -> int:
    values = read_labels(path)
    return int(values[values != ignore].max(initial=-1))


def _read_mask(path: Path, *, n_classes: int, ignore: int) -> tuple[np.ndarray, ...]:
    values = read_labels(path)
    kept = values != ignore
    if kept.any() and not 0 <= values[kept].max() < n_classes:
        raise ValueError(
            f"{path} holds {values[kept].max()}, and there are {n_classes} classes (0..{n_classes - 1}); "
            f"give ignore= if it marks pixels without a class (now {ignore})"
        )
    return (np.where(kept, values, IGNORED).astype(np.int32),)
