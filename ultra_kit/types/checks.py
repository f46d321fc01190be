"""Checks that many options share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def one_of(name: str, value: Any, known: Iterable[str]) -> None:
    """Refuse, as a ValueError, a value of the option `name` that is none of the `known`."""
    if value not in (names := tuple(known)):
        raise ValueError(f"{name} must be one of {', '.join(names)}, got {value!r}")
