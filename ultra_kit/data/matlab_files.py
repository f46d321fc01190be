"""MATLAB files, read by SciPy in a process kept for that, which a damaged file may end; run as a program it is that process."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from threading import Lock, Timer
from typing import Any

_DISK_BYTES, _UNPACKED_BYTES, _SECONDS = 2**28, 2**32, 25


def read_mat(path: Path) -> dict[str, Any]:
    """The variables of a MATLAB file; a ValueError where SciPy fails, takes too long or too much, or dies of it."""
    if path.stat().st_size > _DISK_BYTES:
        raise ValueError(f"it has more than {_DISK_BYTES} bytes")
    reader, lock = _reader(os.getpid())
    with lock:
        timer = Timer(_SECONDS, reader.kill)
        timer.start()
        try:
            pickle.dump(str(path.absolute()), reader.stdin)
            reader.stdin.flush()
            found = pickle.load(reader.stdout)
        except (EOFError, OSError, pickle.UnpicklingError):
            _reader.cache_clear()  # the next file gets a fresh one
            reader.kill()
            raise ValueError(f"SciPy's reader died of it, or took more than {_SECONDS} s") from None
        finally:
            timer.cancel()
    if isinstance(found, str):
        raise ValueError(found)
    return found


@lru_cache(maxsize=1)
def _reader(pid: int) -> tuple[Any, Lock]:
    """The reading process of the process `pid`, of which a fork has to make its own; it ends when its input does."""
    # Not multiprocessing's: a daemonic worker may not use that, and a script without a main guard would run again.
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    return subprocess.Popen([sys.executable, "-P", __file__], **pipes), Lock()


def _serve() -> None:
    import psutil
    from scipy.io import loadmat

    with suppress(ImportError, OSError, ValueError):  # not every system can bound it
        import resource

        limit = psutil.Process().memory_info().vms + _UNPACKED_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    with suppress(EOFError):
        while True:
            path = pickle.load(sys.stdin.buffer)
            try:
                answer = pickle.dumps(loadmat(path))
            except Exception as error:  # what a damaged file raises depends on where
                answer = pickle.dumps(repr(error))
            sys.stdout.buffer.write(answer)
            sys.stdout.buffer.flush()


if __name__ == "__main__":
    _serve()
