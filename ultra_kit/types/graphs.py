"""The autograd graph behind a tensor."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any
from weakref import WeakKeyDictionary

from torch import Tensor

_LOCKS: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()


def alone_in(graph_of: Any) -> Any:
    """The lock of a capture's graph: a hook that one thread puts into it for a moment would change another's gradients."""
    return _LOCKS.setdefault(graph_of, threading.RLock())


def kinds(x: Tensor, gate: Tensor) -> Iterator[str]:
    """The kinds of the nodes of the autograd graph from `x` back to `gate`, without it; "" for a tensor that has none."""
    todo, done = [x.grad_fn], {gate.grad_fn}
    while todo:
        node = todo.pop()
        if node in done:
            continue
        done.add(node)
        yield "" if node is None else type(node).__name__
        todo += [parent for parent, _ in (node.next_functions if node else ()) if parent is not None]


def only_through(x: Tensor, gate: Tensor) -> bool:
    """Whether every path from `x` back to a leaf of the autograd graph passes `gate`."""
    return not any(kind in ("", "AccumulateGrad") for kind in kinds(x, gate))
