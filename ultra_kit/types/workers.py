"""Processes that joblib starts: which one this is, and an end with the one that asked for the work."""

from __future__ import annotations

import os
import platform
import threading
import time
from functools import lru_cache

import psutil


def this_process() -> tuple[str, int]:
    """Which process of which machine this is."""
    return platform.node(), os.getpid()


@lru_cache
def end_with(caller: tuple[str, int]) -> None:
    """End this process soon after its caller's, which may have been killed; of another machine nothing is known."""
    if this_process() != caller and platform.node() == caller[0] and _runs(caller[1]):
        threading.Thread(target=_watch, args=caller[1:], daemon=True).start()


def _watch(caller: int) -> None:
    while _runs(caller):
        time.sleep(1)
    os._exit(1)


def _runs(process: int) -> bool:
    """Whether a process is at work: not one that was killed, and that its own caller has not asked about yet."""
    try:
        return psutil.Process(process).status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.NoSuchProcess:
        return False
