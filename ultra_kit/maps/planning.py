"""A run before it starts: its arguments checked, its memory and time, how many tokens go at once."""

from __future__ import annotations

import re
import time
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from ..types import Capture, Settings, Tokens, UltraError
from ..types.checks import one_of, whole_number
from ..types.graphs import kinds
from ..types.provenance import fingerprint
from ..types.torch_modes import plain_torch
from ..types.wording import counted
from .engine import ENTRIES, FEW, Request, in_parts, row_chunks
from .scores import RULES, make_score

_GPU_CHUNK = 128  # more tokens at once than this bring a GPU little and cost memory
_UNITS = {"": 1, "B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


@dataclass(frozen=True, eq=False, repr=False)
class Plan:
    """What a run of `explain` will take; made by `plan`, printed in words.

    Attributes
    ----------
    tokens : ndarray of shape (T,), int64
    layer, since : int
    chunk_size : int
        Tokens that go through one backward pass together.
    peak_bytes : int
        Estimated from the sizes of attention maps and latents, on top of what the capture holds.
    seconds : float
        Those of the first chunk, which is run and thrown away, times the number of chunks.
    device : str
    """

    tokens: np.ndarray
    layer: int
    chunk_size: int
    peak_bytes: int
    seconds: float
    device: str
    since: int = 0

    def __repr__(self) -> str:
        duration = f"{self.seconds:.2g} s" if self.seconds < 60 else tqdm.format_interval(self.seconds)
        since = f" since {self.since}" if self.since else ""
        how = "one at a time" if self.chunk_size == 1 else f"{self.chunk_size} at a time"
        return (
            f"Plan: {counted(len(self.tokens), 'token')} at layer {self.layer}{since} on {self.device}, {how}; "
            f"about {tqdm.format_sizeof(self.peak_bytes, 'B')} on top of the capture, "
            f"about {duration}"
        )


@plain_torch()
def plan(
    cap: Capture,
    *,
    layer: int | None = None,
    tokens: Tokens = None,
    score: str | None = None,
    rule: str | None = None,
    towards: Any = None,
    transform: Any = None,
    since: int | None = None,
    chunk_size: int | None = None,
    max_memory: int | str | None = None,
) -> Plan:
    """Say what `explain` with the same arguments will take, after a trial on one chunk.

    Parameters
    ----------
    cap, layer, tokens, score, rule, towards, transform, since, chunk_size, max_memory
        As for `explain`, and the errors too.

    Returns
    -------
    Plan

    Examples
    --------
    >>> import ultra_kit as uk
    >>> cap = uk.capture(uk.load("scenes"), uk.data.scene(0).image)
    >>> uk.plan(cap, layer=2).chunk_size
    1
    """
    request = make_request(cap, layer, tokens, score, rule, towards, transform, since, chunk_size, max_memory)
    trial, first = request, slice(request.chunk_size)
    if request.layer - request.since > 1:  # else the first chunk of a closed form may be all there is
        part = {name: getattr(request, name)[first] for name in ("tokens", "rows", "upstream")}
        trial = replace(request, **part)
    start = time.perf_counter()
    rows = next(row_chunks(trial)).cpu()
    return Plan(
        tokens=request.tokens,
        layer=request.layer,
        chunk_size=request.chunk_size,
        peak_bytes=_peak_bytes(
            request.cap, request.layer, request.since, len(request.tokens), request.chunk_size
        ),
        seconds=(time.perf_counter() - start) * len(request.tokens) / len(rows),
        device=str(request.upstream.device),
        since=request.since,
    )


def make_request(
    cap: Capture,
    layer: int | None = None,
    tokens: Tokens = None,
    score: str | None = None,
    rule: str | None = None,
    towards: Any = None,
    transform: Any = None,
    since: int | None = None,
    chunk_size: int | None = None,
    max_memory: int | str | None = None,
) -> Request:
    """Check the arguments of `explain` and work out what they come to; None stands for the model's own setting."""
    listed = tokens if isinstance(tokens, Sequence) else np.atleast_1d(np.asarray(tokens))
    grouped = any(np.ndim(t) for t in listed)
    pairs = [t for t in listed if isinstance(t, tuple) and len(t) == 2] if isinstance(tokens, list) else []
    if pairs and cap.layout.grid:  # the likeliest mistake, and as a group it would go on in silence
        raise ValueError(
            f"{pairs[0]} in tokens may be a pixel or two tokens: write cap.layout.token_at{pairs[0]} for the patch "
            f"at the pixel (x, y), {list(pairs[0])} for a group of the two tokens"
        )
    number, index = place(cap, layer, None if grouped else tokens)
    cap = cap.with_graph()
    members = None
    if grouped:
        members = tuple(tuple(np.unique(cap.token_indices(t)).tolist()) for t in listed)
        index = np.concatenate(members)
    own = Settings.of(cap.model)
    score = ("norm" if towards is not None else own.score) if score is None else score
    rule = own.rule if rule is None else rule
    since = (own.since if layer is None else 0) if since is None else since
    rows = np.repeat(np.arange(len(members or index)), [len(m) for m in members] if members else 1)
    one_of("rule", rule, RULES)
    n_rows = int(rows[-1]) + 1
    f = make_score(cap, n_rows, score, towards, transform, number, index)
    start = _since(number, since)
    chunk = _chunk(cap, number, start, len(index), n_rows, chunk_size, max_memory)
    z = cap.latents[number].detach()
    made = {
        "score": f.name,
        "rule": rule,
        "towards": fingerprint(towards),
        "transform": fingerprint(getattr(transform, "matrix", transform)),
        "since": start,
    }
    at, owner = (torch.as_tensor(x, device=z.device) for x in (index, rows))
    upstream = f.upstream(z[at], torch.arange(len(at)).to(at) if f.name == "logprob" else owner)
    return Request(cap, number, start, index, rows, f, rule, upstream, chunk, made, members)


def place(cap: Capture, layer: int | None, tokens: Tokens) -> tuple[int, np.ndarray]:
    """The layer in 0..L and the positions (T,) that all methods are asked for, checked."""
    if not isinstance(cap, Capture):
        raise TypeError(f"a Capture is needed, got {type(cap).__name__}; first cap = uk.capture(model, x)")
    layer = Settings.of(cap.model).layer if layer is None else layer
    return cap.layer_index(layer), cap.token_indices(tokens)


def finite(cap: Capture, layer: int, of: str = "") -> torch.Tensor:
    """The latents (N, D) of a layer 0..L without their graph; an UltraError if there is NaN or infinity in them."""
    if not cap.latents[layer].isfinite().all():
        raise UltraError(f"latents must be finite, those of {of}layer {layer} are not: run it in float32")
    return cap.latents[layer].detach()


def _since(layer: int, since: int) -> int:
    """The layer whose tokens are the columns, 0..layer - 1 (for layer 0 itself), counted as layers are; checked."""
    top = max(layer - 1, 0)
    hint = f" for layer {layer} (0 is the embedding, {top} or -1 takes the last block alone)"
    number = whole_number("since", since, -layer, top, hint)
    return number + layer if number < 0 else number


def _chunk(
    cap: Capture,
    layer: int,
    since: int,
    n_tokens: int,
    n_rows: int,
    chunk_size: int | None,
    max_memory: int | str | None,
) -> int:
    """Tokens in one backward pass, from what was asked for, the memory and the device."""
    if chunk_size is not None:
        chunk_size = whole_number("chunk_size", chunk_size, 1, hint=" (None chooses)")
    limit = _parse_memory(max_memory)
    device = cap.latents[layer].device
    if limit is None and device.type == "cuda" and chunk_size is None:
        limit = torch.cuda.mem_get_info(device)[0] // 2
    most = min(chunk_size or (_GPU_CHUNK if device.type == "cuda" else 1), n_rows)
    if limit is None:
        return most
    peak = partial(_peak_bytes, cap, layer, since, n_tokens)
    fitting = bisect_right(range(1, most + 1), limit, key=peak)
    if fitting == 0:
        raise UltraError(
            f"one token at layer {layer} takes about {tqdm.format_sizeof(peak(1), 'B')} on top of the capture, more "
            f"than the {tqdm.format_sizeof(limit, 'B')} allowed; raise max_memory, or take fewer blocks (layer, since)"
        )
    return fitting


def _parse_memory(text: int | str | None) -> int | None:
    """Bytes from an int or from text such as "2GB"; KB, MB, GB count in thousands, KiB, MiB, GiB in 1024s.

    >>> _parse_memory("2GB"), _parse_memory("1KiB"), _parse_memory(7)
    (2000000000, 1024, 7)
    """
    if text is None:
        return None
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", str(text))
    if match is None or match[2].upper() not in _UNITS or float(match[1]) <= 0:
        raise ValueError(f"max_memory must be bytes or text such as '2GB' or '512MB', got {text!r}")
    return int(float(match[1]) * _UNITS[match[2].upper()])


def _peak_bytes(cap: Capture, layer: int, since: int, n_tokens: int, chunk: int) -> int:
    """The most that a run takes at a time on top of the capture, counted from what the engine does.

    Either at the MLP of a block, or where the gradients of a part's maps, that of one softmax's input and the product
    are there.
    """
    z, steps = cap.latents[layer], [s for s in reversed(cap.steps) if since < s.layer <= layer]
    (n, d), wider = z.shape, max(z.element_size(), 4)
    item = steps[0].weights.element_size() if steps else wider  # less than the latents' in half precision
    largest, blocks = max((s.weights.numel() for s in steps), default=0), len(steps)
    hidden = n * _widest(cap, layer)
    # An activation that a model writes out, as GPT-2 does, has more of its layer's gradients on the way.
    spelled = bool(steps) and "TanhBackward0" in kinds(z, cap.latents[layer - 1])
    inner = hidden * (2 + spelled * (4 if chunk == 1 else 2))
    rows, upstream = n_tokens * n * wider, 2 * n_tokens * d * z.element_size()
    if blocks == 1 and steps[0].values is not None and n_tokens >= FEW:  # the closed form
        return max((inner + 2 * n * d) * item, 2 * min(ENTRIES, largest) * wider + rows) + upstream
    part = max(sum(s.weights.numel() for s in steps) for steps, _ in in_parts(cap, steps))
    at_softmax = (
        part * item + (blocks > 1) * (largest + hidden + n * d) * item + (blocks != 2) * largest * wider
    )
    at_product = (item < wider) * (part * item + 3 * largest * wider)
    at_mlp = bool(steps) * (inner + n * d) * item + (blocks > 2) * largest * wider
    return chunk * max(at_softmax, at_product, at_mlp) + rows + upstream


def _widest(cap: Capture, layer: int) -> int:
    """The widest layer inside a block; four times the latents' width where the module is not known."""
    modules = dict(cap.model.module.named_modules()) if hasattr(cap.model, "module") else {}
    names = [s.name.split(" (")[0] for s in cap.steps if s.layer == layer]
    blocks = [modules[name] for name in names if name in modules]
    widths = [max(p.shape) for block in blocks for p in block.parameters() if p.ndim == 2]
    return max(widths, default=4 * cap.latents[layer].shape[1])
