"""The modes of torch in which the workbench computes, whatever mode its caller sits in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def plain_torch() -> Iterator[None]:
    """Ordinary tensors and no autocast inside; also a decorator."""
    with torch.inference_mode(False), torch.autocast("cpu", enabled=False):
        with torch.autocast("cuda", enabled=False):
            yield
