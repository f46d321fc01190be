"""Where a result comes from: the hash of what went in, and the versions that were there."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterable
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import torch


def sha256(parts: Iterable[str | bytes | memoryview]) -> str:
    """64 hexadecimal digits of texts (as UTF-8) and bytes, one after the other."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode() if isinstance(part, str) else part)
    return digest.hexdigest()


def input_hash(x: Any) -> str:
    """SHA-256 of an original input: of shape and bytes for an image, of UTF-8 for a text.

    >>> input_hash("a")[:8]
    'ca978112'
    """
    if isinstance(x, str):
        return sha256([x])
    x = np.ascontiguousarray(x)
    return sha256([f"{x.dtype} {x.shape};", x.tobytes()])


def fingerprint(array: Any) -> str | None:
    """16 hexadecimal digits that tell whether two runs used the same array (as float64); None for None."""
    if array is None:
        return None
    values = np.ascontiguousarray(torch.as_tensor(array).detach().double().cpu().numpy())
    return sha256([values.tobytes()])[:16]


def versions(*libraries: str) -> dict[str, str]:
    """Versions of Python, the package, numpy, torch and the named distributions; "not installed" where one is not."""
    found = {"python": platform.python_version(), "ultra_kit": import_module("ultra_kit").__version__}
    return found | {name: _version(name) for name in ("numpy", "torch", *libraries)}


@cache
def _version(name: str) -> str:
    """Read once: every capture asks for them."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
