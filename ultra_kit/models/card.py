"""Where a model comes from: the hash of its weights, the versions of the libraries."""

from __future__ import annotations

import hashlib
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

_HASHES: WeakKeyDictionary[nn.Module, tuple[tuple[int, ...], str]] = WeakKeyDictionary()


def weights_hash(module: nn.Module) -> str:
    """SHA-256 over names, dtypes, shapes and bytes of a module's parameters and buffers, in order of name.

    It is worked out once, and again when a tensor was replaced or changed in place.

    Parameters
    ----------
    module : nn.Module
        On any device; buffers outside the state dict do not count.

    Returns
    -------
    str
        64 hexadecimal digits.

    Examples
    --------
    >>> a = nn.Linear(2, 2)
    >>> weights_hash(a) == weights_hash(a), len(weights_hash(a))
    (True, 64)
    """
    state = sorted(module.state_dict().items())
    mark = tuple(n for _, t in state if isinstance(t, torch.Tensor) for n in (t.data_ptr(), t._version))
    known = _HASHES.get(module)
    if known is not None and known[0] == mark:
        return known[1]
    digest = hashlib.sha256()
    for name, t in state:
        if isinstance(t, torch.Tensor):
            digest.update(f"{name} {t.dtype} {tuple(t.shape)};".encode())
            digest.update(t.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    _HASHES[module] = (mark, digest.hexdigest())
    return digest.hexdigest()


def versions(*libraries: str) -> dict[str, str]:
    """Versions of Python, ultra-kit, torch, numpy and the named distributions, where installed.

    Parameters
    ----------
    *libraries : str
        Names of distributions as pip knows them.

    Returns
    -------
    dict
        Name to version; "python" comes first.
    """
    out = {"python": platform.python_version()}
    for name in ("ultra-kit", "torch", "numpy", *libraries):
        try:
            out[name] = version(name)
        except PackageNotFoundError:
            continue
    return out


def model_card(
    name: str, module: nn.Module, facts: dict[str, Any], libraries: tuple[str, ...] = ()
) -> dict[str, Any]:
    """The card of a model, JSON-able.

    Parameters
    ----------
    name : str
        The name of the backbone.
    module : nn.Module
        The model.
    facts : dict
        JSON-able; becomes "config".
    libraries : tuple of str
        Further distributions whose versions are noted, see `versions`.

    Returns
    -------
    dict
        Keys "name", "class", "weights_sha256", "parameters" (their number), "config" and "versions".
    """
    return {
        "name": name,
        "class": f"{type(module).__module__}.{type(module).__qualname__}",
        "weights_sha256": weights_hash(module),
        "parameters": sum(p.numel() for p in module.parameters()),
        "config": facts,
        "versions": versions(*libraries),
    }
