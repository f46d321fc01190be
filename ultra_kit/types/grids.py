"""Patches on pixels: which patch a pixel belongs to, and the one bicubic resizing."""

from __future__ import annotations

import numpy as np
import torch


def cell_grid(size: tuple[int, ...], grid: tuple[int, int]) -> np.ndarray:
    """Cell, in raster order, of every pixel of an image: int64 of shape `size`.

    A pixel belongs to the cell that holds its top left corner; a grid finer than the image is a ValueError.

    >>> cell_grid((2, 4), (1, 2)).tolist()
    [[0, 0, 1, 1], [0, 0, 1, 1]]
    """
    (height, width), (h, w) = size, grid
    if not (1 <= h <= height and 1 <= w <= width):
        raise ValueError(f"grid must be between 1 x 1 and the image's {height} x {width}, got {h} x {w}")
    return (np.arange(height) * h // height)[:, None] * w + np.arange(width) * w // width


def bicubic(maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Maps (..., h, w) at another (height, width), bicubic as in PyTorch, clipped at zero; the dtype is kept."""
    grid = torch.from_numpy(np.ascontiguousarray(maps)).reshape(-1, 1, *maps.shape[-2:])
    return _resized(grid, size).clamp_min(0).reshape(*maps.shape[:-2], *size).numpy()


def bicubic_weights(n: int, m: int) -> np.ndarray:
    """`bicubic` along one axis, not clipped, as a matrix (m, n): several times faster where many maps are resized."""
    return _resized(torch.eye(n)[None, None], (m, n))[0, 0].numpy()


def _resized(grid: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    return torch.nn.functional.interpolate(grid, size=tuple(size), mode="bicubic", align_corners=False)
