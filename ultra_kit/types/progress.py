"""How far a run is: a bar, silence, or a function of the caller's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from .objects import Progress


@contextmanager
def reporting(progress: bool | Progress | None, total: int) -> Iterator[Callable[[int], Any]]:
    """Yield a function to call with the number of tokens just finished, of `total` in all.

    `progress`: True shows a bar, None one after 2 seconds, False nothing; a callable gets (done, total).
    """
    if callable(progress):
        done = [0]

        def report(more: int) -> None:
            done[0] += more
            progress(done[0], total)

        yield report
    elif progress is None or progress is True:
        from tqdm.auto import tqdm

        with tqdm(total=total, desc="explain", unit="token", leave=False, delay=0 if progress else 2) as bar:
            yield bar.update
    elif progress is False:
        yield lambda more: None
    else:
        raise TypeError(
            f"progress must be True, False, None or a callable of (done, total), got {progress!r}"
        )
