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

_DISK_BYTES, _UNPACKED_BYTES, _SECONDS = 2**28, 2**31, 25
_LOCK = Lock()
if hasattr(os, "register_at_fork"):  # a fork must not find it held by a thread that it has not
    os.register_at_fork(before=_LOCK.acquire, after_in_parent=_LOCK.release, after_in_child=_LOCK.release)


def read_mat(path: Path) -> dict[str, Any]:
    """The variables of a MATLAB file; a ValueError where SciPy fails, takes too long or too much, or dies of it."""
    if path.stat().st_size > _DISK_BYTES:
        raise ValueError(f"it has more than {_DISK_BYTES} bytes")
    with _LOCK:
        reader, found = _reader(os.getpid()), None
        timer = Timer(_SECONDS, reader.kill)
        timer.start()
        try:
            pickle.dump(str(path.absolute()), reader.stdin)
            reader.stdin.flush()
            found = pickle.load(reader.stdout)
        except (EOFError, OSError, pickle.UnpicklingError):
            raise ValueError(f"SciPy's reader died of it, or took more than {_SECONDS} s") from None
        finally:
            timer.cancel()
            if found is None:  # also where interrupted: the next file must not get this one's answer
                _reader.cache_clear()
                reader.kill()
    if isinstance(found, str):
        raise ValueError(found)
    return found


@lru_cache(maxsize=1)
def _reader(pid: int) -> Any:
    """The reading process of the process `pid`, of which a fork has to make its own; it ends when its input does."""
    # Not multiprocessing's: a daemonic worker may not use that, and a script without a main guard would run again.
    pipe, command = subprocess.PIPE, [sys.executable, "-P", __file__]
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)


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
