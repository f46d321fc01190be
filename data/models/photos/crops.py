"""Photographs as a student and a teacher see them: crops, colours jittered, blocks of patches masked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ultra_kit.models.photos_model import PATCH

SMALL = 6
"""Side of the small crop's grid."""


def open_photographs(folders: list[Path]) -> list[Image.Image]:
    """The images of some folders, subfolders included, as RGB; very large ones halved."""
    paths = sorted(p for f in folders for p in f.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png"))
    images = [Image.open(p).convert("RGB") for p in paths]
    return [i.reduce(2) if min(i.size) > 700 else i for i in images]


@dataclass(frozen=True)
class Views:
    """Large crops, small crops out of them, and where those lie: (B, 4) as x0, y0, x1, y1 in 0..1."""

    large: Tensor
    small: Tensor
    where: Tensor


def cut(
    images: list[Image.Image], grid: tuple[int, int], n: int, rng: np.random.Generator, *, whole: bool = False
) -> Views:
    """Crops of `n` photographs, mirrored half of the time; float32 in 0..1.

    At a random zoom, or, if `whole`, as much of each photograph as the shape of the crop allows.
    """
    height, width = grid[0] * PATCH, grid[1] * PATCH
    large, small, where = [], [], []
    for i in rng.integers(0, len(images), n):
        image = images[i]
        least = max(width / image.width, height / image.height)  # the zoom at which the crop just fits
        zoom = least if whole else np.exp(rng.uniform(np.log(least), np.log(max(1.0, least))))
        w, h = width / zoom, height / zoom
        x, y = rng.uniform(0, image.width - w + 1e-6), rng.uniform(0, image.height - h + 1e-6)
        side = min(w, h) * rng.uniform(0.25, 0.7)
        u, v = rng.uniform(0, w - side), rng.uniform(0, h - side)
        large.append(view(image, (width, height), (x, y, x + w, y + h)))
        box = (x + u, y + v, x + u + side, y + v + side)
        small.append(view(image, (SMALL * PATCH, SMALL * PATCH), box))
        where.append((u / w, v / h, (u + side) / w, (v + side) / h))
    views = [torch.from_numpy(np.stack(v)).permute(0, 3, 1, 2).float() / 255 for v in (large, small)]
    at = torch.tensor(where, dtype=torch.float32)
    if rng.random() < 0.5:
        views = [v.flip(-1) for v in views]
        at = torch.stack([1 - at[:, 2], at[:, 1], 1 - at[:, 0], at[:, 3]], 1)
    return Views(views[0], views[1], at)


def view(image: Image.Image, size: tuple[int, int], box: tuple[float, ...]) -> np.ndarray:
    """A box of an image at a size (width, height), as an array."""
    box = (max(box[0], 0), max(box[1], 0), min(box[2], image.width), min(box[3], image.height))
    return np.asarray(image.resize(size, Image.Resampling.BICUBIC, box=box))


def jitter(x: Tensor, rng: np.random.Generator) -> Tensor:
    """Brightness, contrast, saturation and a colour cast for each image; one in twenty is grey."""
    draw = lambda low, high, *shape: torch.from_numpy(  # noqa: E731
        rng.uniform(low, high, (len(x), *(shape or (1,)), 1, 1)).astype(np.float32)
    )
    grey = x.mean(1, keepdim=True)
    keep = draw(0.7, 1.3) * torch.from_numpy(rng.random((len(x), 1, 1, 1)) > 0.05)
    x = grey + (x - grey) * keep
    mean = x.mean((1, 2, 3), keepdim=True)
    return ((x - mean) * draw(0.7, 1.3) + mean * draw(0.75, 1.25) * draw(0.95, 1.05, 3)).clamp(0, 1)


def to_input(x: Tensor) -> Tensor:
    """0..1 to the model's range."""
    return x * 2 - 1


def block_masks(n: int, grid: tuple[int, int], rng: np.random.Generator, top: float = 0.6) -> Tensor:
    """Blocks of masked patches, (n, h * w) bool; three images of four have some."""
    out = np.zeros((n, *grid), bool)
    for m in out[: round(n * 0.75)]:
        want = rng.uniform(0.15, top) * m.size
        while m.sum() < want:
            h, w = rng.integers(2, 7, 2)
            y, x = rng.integers(0, grid[0] - h + 1), rng.integers(0, grid[1] - w + 1)
            m[y : y + h, x : x + w] = True
    return torch.from_numpy(out.reshape(n, -1))
