"""How far a run is: a bar, silence, or a function of the caller's own; one bar a task, whatever the task calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from tqdm.auto import tqdm

from .objects import Progress

_WITHIN: ContextVar[bool] = ContextVar("within a task", default=False)

_FORMAT = "{desc}: {percentage:3.0f}% {bar} {n_fmt} of {total_fmt} {unit}, {remaining} left"


@contextmanager
def reporting(
    progress: bool | Progress | None, total: int, task: str, unit: str = "tokens", done: int = 0
) -> Iterator[Callable[[int], Any]]:
    """Yield a function to call with the number of units just finished, of `total` in all (0 where nobody knows), `done` of them before.

    `progress`: True shows a bar named `task`, None one after 2 seconds, False nothing; a callable gets (done, total).
    What runs inside shows no bar of its own.
    """
    if not (progress is None or isinstance(progress, bool) or callable(progress)):
        raise TypeError(f"progress must be True, False, None or callable of (done, total), got {progress!r}")
    nested, outer = _WITHIN.get(), _WITHIN.set(True)
    try:
        if callable(progress):
            counted = [done]

            def report(more: int) -> None:
                counted[0] += more
                progress(counted[0], total)

            yield report
        else:
            how: dict[str, Any] = {"desc": task, "unit": unit, "unit_scale": unit == "B", "leave": False}
            how |= {"disable": nested or progress is False, "delay": 0 if progress else 2}
            with tqdm(total=total or None, initial=done, bar_format=_FORMAT, **how) as bar:
                yield bar.update
    finally:
        _WITHIN.reset(outer)
