"""Checks that many options share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np


def one_of(name: str, value: Any, known: Iterable[str]) -> None:
    """Refuse, as a ValueError, a value of the option `name` that is none of the `known`."""
    if value not in (names := tuple(known)):
        raise ValueError(f"{name} must be one of {', '.join(names)}, got {value!r}")


def whole_number(name: str, value: Any, low: int, high: int | None = None, hint: str = "") -> int:
    """`value` as an int; a TypeError if it is none, a ValueError if it is not in low..high (None: no upper end)."""
    within = f"at least {low}" if high is None else f"in {low}..{high}"
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be an int, {within}{hint}, got {value!r}")
    if value < low or (high is not None and value > high):
        raise ValueError(f"{name} must be {within}{hint}, got {value}")
    return int(value)
