"""How far a run is: a bar, silence, or a function of the caller's own; one bar a task, whatever the task calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from .objects import Progress

_WITHIN: ContextVar[bool] = ContextVar("within a task", default=False)

_FORMAT = "{desc}: {percentage:3.0f}% {bar} {n_fmt} of {total_fmt} {unit}, {remaining} left"


@contextmanager
def reporting(
    progress: bool | Progress | None, total: int, task: str, unit: str = "tokens", done: int = 0
) -> Iterator[Callable[[int], Any]]:
    """Yield a function to call with the number of units just finished, of `total` in all, `done` of them before.

    `progress`: True shows a bar named `task`, None one after 2 seconds, False nothing; a callable gets (done, total).
    What runs inside shows no bar of its own.
    """
    if not (progress is None or isinstance(progress, bool) or callable(progress)):
        raise TypeError(
            f"progress must be True, False, None or a callable of (done, total), got {progress!r}"
        )
    nested, counted = _WITHIN.get(), [done]
    outer = _WITHIN.set(True)
    try:
        if callable(progress):

            def report(more: int) -> None:
                counted[0] += more
                progress(counted[0], total)

            yield report
        elif nested or progress is False:
            yield lambda more: None
        else:
            from tqdm.auto import tqdm

            how: dict[str, Any] = {"unit": unit, "unit_scale": unit == "B", "bar_format": _FORMAT}
            with tqdm(
                total=total, initial=done, desc=task, leave=False, delay=0 if progress else 2, **how
            ) as bar:
                yield bar.update
    finally:
        _WITHIN.reset(outer)
