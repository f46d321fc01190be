"""Checks that many options share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np


def needs(verb: str, kind: type, given: tuple[Any, ...], hint: str) -> None:
    """Refuse, as a TypeError that says what to do, all but one value of the kind that a verb takes."""
    if len(given) != 1 or not isinstance(given[0], kind):
        if given and isinstance(given[0], kind):
            hint = "options have names, write name=value"
        got = " and ".join(type(value).__name__ for value in given)
        raise TypeError(f"{verb} needs {kind.__name__}, got {got}: {hint}")


def one_of(name: str, value: Any, known: Iterable[Any]) -> None:
    """Refuse, as a ValueError, a value of the option `name` that is none of the `known`."""
    if value not in (names := tuple(known)):
        raise ValueError(f"{name} must be one of {', '.join(map(str, names))}, got {value!r}")


def whole_number(name: str, value: Any, low: int, high: int | None = None, hint: str = "") -> int:
    """`value` as an int; a TypeError if it is none, a ValueError if it is not in low..high (None: no upper end)."""
    within = f"at least {low}" if high is None else f"in {low}..{high}"
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be an int, {within}{hint}, got {value!r}")
    if value < low or (high is not None and value > high):
        raise ValueError(f"{name} must be {within}{hint}, got {value}")
    return int(value)


def whole_numbers(name: str, values: Any, n: int, hint: str = "") -> np.ndarray:
    """An int or a list of ints as (M,) int64, M at least 1; a TypeError if it is none, a ValueError unless all are in 0..n-1."""
    index = np.atleast_1d(np.asarray(values))
    if index.size == 0:
        raise ValueError(f"{name} must name at least one position, got an empty list; None means all")
    if index.ndim != 1 or not np.issubdtype(index.dtype, np.integer):
        raise TypeError(f"{name} must be an int or a list of ints, got {values!r}")
    if len(bad := index[(index < 0) | (index >= n)]):
        raise ValueError(f"{name} must be in 0..{n - 1}{hint}, got {bad[0]}")
    return index.astype(np.int64)
