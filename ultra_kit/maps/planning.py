"""A run before it starts: its arguments checked, its memory and time, how many tokens go at once."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..types import Capture, UltraError
from .engine import relevance_rows
from .scores import Score, check_rule, make_score

_GPU_CHUNK = 32  # more seeds at once than this bring a GPU little and cost memory
_UNITS = {"": 1, "B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


@dataclass(frozen=True, eq=False, repr=False)
class Plan:
    """What a run of `explain` will take; made by `plan`, printed in words.

    Attributes
    ----------
    tokens : ndarray of shape (T,), int64
        Positions that will be explained.
    layer : int
        0..L.
    chunk_size : int
        Tokens that go through one backward pass together.
    peak_bytes : int
        Estimated peak memory on top of what the capture holds.
    seconds : float
        Estimated duration: a trial chunk, timed, times the number of chunks.
    device : str
    """

    tokens: np.ndarray
    layer: int
    chunk_size: int
    peak_bytes: int
    seconds: float
    device: str

    def __repr__(self) -> str:
        how = "one at a time" if self.chunk_size == 1 else f"{self.chunk_size} at a time"
        return (
            f"Plan: {len(self.tokens)} tokens at layer {self.layer} on {self.device}, {how}; "
            f"about {_bytes_in_words(self.peak_bytes)} on top of the capture, "
            f"about {_seconds_in_words(self.seconds)}"
        )


def plan(
    cap: Capture,
    *,
    layer: int = -1,
    tokens: int | Sequence[int] | np.ndarray | None = None,
    score: str = "norm",
    rule: str = "positive",
    towards: Any = None,
    transform: Any = None,
    chunk_size: int | None = None,
    max_memory: int | str | None = None,
) -> Plan:
    """Say what `explain` with the same arguments will take, after a trial on one chunk.

    The memory is an estimate from the sizes of the attention maps and latents; the time that of
    the first chunk, which is run and thrown away, times the number of chunks.

    Parameters
    ----------
    cap, layer, tokens, score, rule, towards, transform, chunk_size, max_memory
        As for `explain`.

    Returns
    -------
    Plan

    Raises
    ------
    ValueError, TypeError, UltraError
        As for `explain`.

    Examples
    --------
    >>> import ultra_kit as uk
    >>> cap = uk.capture(uk.load("scenes"), uk.data.scene(0).image)
    >>> uk.plan(cap, layer=2).chunk_size
    1
    """
    request = make_request(cap, layer, tokens, score, rule, towards, transform, chunk_size, max_memory)
    device = cap.latents[request.layer].device
    first = request.tokens[: request.chunk_size]
    start = time.perf_counter()
    relevance_rows(
        cap, request.layer, first, request.seeds[: len(first)], rule=rule, chunk_size=request.chunk_size
    ).cpu()
    seconds = (time.perf_counter() - start) * len(request.tokens) / len(first)
    return Plan(
        tokens=request.tokens,
        layer=request.layer,
        chunk_size=request.chunk_size,
        peak_bytes=request.chunk_size * _bytes_a_seed(cap, request.layer),
        seconds=seconds,
        device=str(device),
    )


@dataclass(frozen=True, eq=False)
class Request:
    """The arguments of `explain`, checked.

    Attributes
    ----------
    layer : int
        0..L.
    tokens : ndarray of shape (T,), int64
    score : Score
    seeds : torch.Tensor of shape (T, D)
        df/dz of every token.
    chunk_size : int
        Tokens in one backward pass.
    """

    layer: int
    tokens: np.ndarray
    score: Score
    seeds: torch.Tensor
    chunk_size: int


def make_request(
    cap: Capture,
    layer: int,
    tokens: Any,
    score: str,
    rule: str,
    towards: Any,
    transform: Any,
    chunk_size: int | None,
    max_memory: int | str | None,
) -> Request:
    """Check the arguments of `explain` and work out what they come to.

    Parameters
    ----------
    cap, layer, tokens, score, rule, towards, transform, chunk_size, max_memory
        As for `ultra_kit.explain`.

    Returns
    -------
    Request

    Raises
    ------
    ValueError, TypeError, UltraError
        As for `ultra_kit.explain`.
    """
    if not isinstance(cap, Capture):
        raise TypeError(
            f"a Capture is needed, got {type(cap).__name__}; make one with ultra_kit.capture(model, x)"
        )
    number, index = cap.layer_index(layer), cap.token_indices(tokens)
    check_rule(rule)
    f = make_score(cap, len(index), score, towards, transform)
    chunk = _chunk(cap, number, len(index), chunk_size, max_memory)
    z = cap.latents[number].detach()
    return Request(number, index, f, f.seeds(z[torch.as_tensor(index, device=z.device)]), chunk)


def _chunk(
    cap: Capture, layer: int, n_tokens: int, chunk_size: int | None, max_memory: int | str | None
) -> int:
    """Tokens in one backward pass, from what was asked for, the memory and the device."""
    check_chunk_size(chunk_size)
    limit = parse_memory(max_memory)
    device = cap.latents[layer].device
    if limit is None and device.type == "cuda" and chunk_size is None:
        limit = torch.cuda.mem_get_info(device)[0] // 2
    wanted = chunk_size or (_GPU_CHUNK if device.type == "cuda" else 1)
    one = _bytes_a_seed(cap, layer)
    if limit is not None:
        if limit < one:
            raise UltraError(
                f"one token at layer {layer} takes about {_bytes_in_words(one)} on top of the capture, more than "
                f"the {_bytes_in_words(limit)} allowed; raise max_memory, or explain an earlier layer"
            )
        wanted = min(wanted, limit // one)
    return max(1, min(wanted, n_tokens))


def check_chunk_size(chunk_size: int | None) -> None:
    """Refuse what is neither None nor a positive int.

    Parameters
    ----------
    chunk_size : int or None
        Tokens worked on at a time; None leaves the choice to the library.

    Raises
    ------
    TypeError
        If it is no int.
    ValueError
        If it is less than 1.
    """
    if chunk_size is None:
        return
    if isinstance(chunk_size, bool) or not isinstance(chunk_size, (int, np.integer)):
        raise TypeError(f"chunk_size must be an int of at least 1, or None, got {chunk_size!r}")
    if chunk_size < 1:
        raise ValueError(f"chunk_size must be at least 1 (None chooses), got {chunk_size}")


def parse_memory(text: int | str | None) -> int | None:
    """Bytes from an int or from text such as "2GB", "512 MB" or "1.5GiB".

    Parameters
    ----------
    text : int, str or None
        A number alone means bytes. KB, MB, GB count in thousands, KiB, MiB, GiB in 1024s; case does not matter.

    Returns
    -------
    int or None
        Bytes; None for None.

    Raises
    ------
    ValueError
        If it is no positive amount.

    Examples
    --------
    >>> parse_memory("2GB"), parse_memory("1KiB"), parse_memory(7)
    (2000000000, 1024, 7)
    """
    if text is None:
        return None
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", str(text))
    if match is None or match[2].upper() not in _UNITS or float(match[1]) <= 0:
        raise ValueError(f"max_memory must be bytes or text such as '2GB' or '512MB', got {text!r}")
    return int(float(match[1]) * _UNITS[match[2].upper()])


def _bytes_a_seed(cap: Capture, layer: int) -> int:
    """Memory of one seed: a gradient for every attention map, and the work of one block.

    The work is taken as three maps and the hidden layer of a usual MLP, four times the width,
    three times over.
    """
    sizes = [s.weights.numel() for s in cap.steps if s.layer <= layer]
    z = cap.latents[layer]
    entries = sum(sizes) + 3 * max(sizes, default=0) + 12 * z.numel()
    return entries * z.element_size()


def _bytes_in_words(n: float) -> str:
    for unit in ("B", "kB", "MB"):
        if n < 1000:
            return f"{n:.3g} {unit}"
        n /= 1000
    return f"{n:.3g} GB"


def _seconds_in_words(s: float) -> str:
    if s < 60:
        return f"{s:.2g} s"
    return f"{int(s // 60)} min {int(s % 60)} s" if s < 3600 else f"{s / 3600:.1f} hours"
