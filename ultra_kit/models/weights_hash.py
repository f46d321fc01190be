"""The hash that tells whether two models have the same weights."""

from __future__ import annotations

from collections.abc import Iterator
from weakref import WeakKeyDictionary

import torch
from torch import nn

from ..types.provenance import sha256

_HASHES: WeakKeyDictionary[nn.Module, tuple[tuple[int, ...], str]] = WeakKeyDictionary()


def weights_hash(module: nn.Module) -> str:
    """SHA-256 over names, dtypes, shapes and bytes of a module's parameters and buffers, in order of name.

    It is worked out once, and again when a tensor was replaced or changed in place; buffers outside the state dict
    do not count.
    """
    state = sorted(module.state_dict().items())
    mark = tuple(n for _, t in state if isinstance(t, torch.Tensor) for n in (t.data_ptr(), t._version))
    known = _HASHES.get(module)
    if known is not None and known[0] == mark:
        return known[1]

    def parts() -> Iterator[str | memoryview]:
        for name, t in state:
            if isinstance(t, torch.Tensor):
                yield f"{name} {t.dtype} {tuple(t.shape)};"
                yield t.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data

    _HASHES[module] = (mark, sha256(parts()))
    return _HASHES[module][1]
