"""Freely licensed photographs that travel with the package: something real to look at, without a download."""

from __future__ import annotations

import numpy as np

from ..models.loading import data_folder
from ..models.open_image import open_image


def photographs() -> tuple[str, ...]:
    """Names of the bundled photographs, sorted; ``data/images/README.md`` has their origin and licence.

    Returns
    -------
    tuple of str

    Examples
    --------
    >>> photographs()[:3]
    ('astronaut', 'camera', 'chelsea')
    """
    return tuple(sorted(p.stem for p in (data_folder() / "images").glob("*.jpg")))


def photograph(name: str) -> np.ndarray:
    """A bundled photograph, at most 480 pixels high and wide.

    Parameters
    ----------
    name : str
        One of `photographs`, else a ValueError.

    Returns
    -------
    ndarray of shape (H, W, 3), uint8

    Examples
    --------
    >>> photograph("chelsea").shape
    (300, 451, 3)
    """
    if name not in photographs():
        raise ValueError(f"name must be one of {', '.join(photographs())}, got {name!r}")
    return open_image(data_folder() / "images" / f"{name}.jpg")
