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
    if this_process() == caller or platform.node() != caller[0] or not psutil.pid_exists(caller[1]):
        return

    def watch() -> None:
        while psutil.pid_exists(caller[1]):
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
