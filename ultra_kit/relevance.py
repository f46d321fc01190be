"""Explanation maps of latent tokens: one backward pass a token, rows instead of matrices.

For token i at layer k and a scalar f of its latent z_i, every attention step b <= k gives

    C_b = I + mean over heads of relu(A_b * dz f / dA_b)

and the map is row i of ``C_k C_(k-1) ... C_1`` (ULTra, arXiv 2411.12589; the product order is that
of Chefer, Gur and Wolf, ICCV 2021: last block leftmost). The row is carried through the blocks as
``r <- r C_b`` for b = k..1, which costs N^2 a block where the product costs N^3, and all gradients
of a token come from one backward pass.
"""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from .scores import Score, check_rule, fingerprint, keep_sign_, make_score
from .types import AttentionStep, Capture, ExplanationMaps, Progress, UltraError

_GPU_CHUNK = 32  # more seeds at once than this bring a GPU little and cost memory
_UNITS = {"": 1, "B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


class ConstantNormWarning(UserWarning):
    """The norm of the latents says little at this layer: it is (nearly) the same for every token."""


class Interrupted(KeyboardInterrupt):
    """The run was stopped by the user; the finished rows are kept.

    It is a `KeyboardInterrupt`: uncaught, it stops a cell or a script as any interrupt does.

    Attributes
    ----------
    partial : ExplanationMaps
        The maps of the tokens that were finished, in the order asked for; possibly none.

    Examples
    --------
    >>> stop = Interrupted("stopped after 3 of 196 tokens", partial=None)
    >>> isinstance(stop, KeyboardInterrupt)
    True
    """

    def __init__(self, message: str, partial: Any) -> None:
        super().__init__(message)
        self.partial = partial


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


def explain(
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
    progress: bool | Progress | None = None,
) -> ExplanationMaps:
    """Explain latent tokens: say what each of them was made from.

    Row i of ``C_k ... C_1`` with ``C_b = I + mean_h relu(A_b * df/dA_b)`` (ULTra, arXiv 2411.12589),
    exact for every token: neither the other tokens asked for nor the chunk size change a map.

    Parameters
    ----------
    cap : Capture
        From `ultra_kit.capture`.
    layer : int
        0..L or negative from the end; layer 0 gives the token's own position alone.
    tokens : int or sequence of int, optional
        Positions, prefix tokens counted; every content position by default.
    score : {"norm", "sum", "energy", "head", "towards"}
        f: the norm ||z||; the sum of z / ||z|| with the norm held fixed; 1/2 ||z||^2; the largest
        entry of the model's head at z (which was made for last-layer latents); <z, towards>.
    rule : {"positive", "negative", "absolute"}
        Which sign of ``A * df/dA`` counts: what raises f (the paper's), what lowers it, both.
    towards : array of shape (D,) or (T, D), optional
        A direction, or one for each token; sets the score to "towards".
    transform : array of shape (D, D), or an object with ``.matrix``, optional
        W: the scores norm, sum and energy read W z in place of z.
    chunk_size : int, optional
        Tokens in one backward pass. By default one on a CPU, where more gain nothing, and as many
        as `max_memory` allows (at most 32) on a GPU.
    max_memory : int or str, optional
        Bytes, or text such as "2GB", on top of what the capture holds; half of the free memory of
        a GPU by default. With `chunk_size` the smaller of the two chunks is taken.
    progress : bool or callable, optional
        By default a bar when the run takes longer than two seconds; True and False force it; a
        callable gets (done, total).

    Returns
    -------
    ExplanationMaps

    Raises
    ------
    ValueError, TypeError
        For a layer, token, score, rule, direction, matrix or chunk size that cannot be.
    UltraError
        If a gradient is missing or not finite, the capture holds no graph, the model has no head,
        or one token needs more than `max_memory`.
    Interrupted
        A `KeyboardInterrupt` that carries the finished rows as ``.partial``.

    Warns
    -----
    ConstantNormWarning
        If the score is the norm and the latents come out of a normalisation, or their norms are
        nearly equal: the map then says little. Use another score, or `towards`.

    Examples
    --------
    >>> import ultra_kit as uk
    >>> cap = uk.capture(uk.load("scenes"), uk.synthetic.scene(0).image)
    >>> maps = uk.explain(cap, layer=2, tokens=[30, 31], rule="negative")
    >>> maps.values.shape == (2, cap.layout.n_tokens), bool((maps.values >= 0).all())
    (True, True)
    """
    job = _job(cap, layer, tokens, score, rule, towards, transform, chunk_size, max_memory)
    if job.score.name == "norm" and transform is None:
        _warn_if_constant(cap.latents[job.layer], job.layer)
    done: list[np.ndarray] = []

    def result() -> ExplanationMaps:
        values = np.concatenate(done) if done else np.zeros((0, cap.layout.n_tokens), np.float32)
        options = {"towards": towards, "transform": getattr(transform, "matrix", transform)}
        return make_maps(
            cap,
            values,
            job.tokens[: len(values)],
            job.layer,
            method="ultra",
            score=job.score.name,
            rule=rule,
            **{name: fingerprint(array) for name, array in options.items()},
        )

    try:
        with reporting(progress, len(job.tokens)) as report:
            for rows in _row_chunks(cap, job.layer, job.tokens, job.seeds, rule, job.chunk_size):
                done.append(rows.float().cpu().numpy())
                report(len(rows))
    except KeyboardInterrupt as stop:
        finished = sum(map(len, done))
        raise Interrupted(
            f"stopped after {finished} of {len(job.tokens)} tokens; their maps are in .partial", result()
        ) from stop
    return result()


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
    >>> cap = uk.capture(uk.load("scenes"), uk.synthetic.scene(0).image)
    >>> uk.plan(cap, layer=2).chunk_size
    1
    """
    job = _job(cap, layer, tokens, score, rule, towards, transform, chunk_size, max_memory)
    device = cap.latents[job.layer].device
    first = job.tokens[: job.chunk_size]
    start = time.perf_counter()
    relevance_rows(cap, job.layer, first, job.seeds[: len(first)], rule=rule, chunk_size=job.chunk_size).cpu()
    seconds = (time.perf_counter() - start) * len(job.tokens) / len(first)
    return Plan(
        tokens=job.tokens,
        layer=job.layer,
        chunk_size=job.chunk_size,
        peak_bytes=job.chunk_size * _bytes_a_seed(cap, job.layer),
        seconds=seconds,
        device=str(device),
    )


def relevance_rows(
    cap: Capture,
    layer: int,
    tokens: np.ndarray,
    seeds: torch.Tensor,
    *,
    rule: str = "positive",
    chunk_size: int = 1,
) -> torch.Tensor:
    """Compute the maps of tokens for given seeds, in the capture's dtype and on its device.

    Parameters
    ----------
    cap : Capture
    layer : int
        0..L.
    tokens : ndarray of shape (T,)
    seeds : torch.Tensor of shape (T, D)
        df/dz of each token; whatever the score, it enters here and nowhere else.
    rule : {"positive", "negative", "absolute"}
    chunk_size : int
        Seeds in one backward pass.

    Returns
    -------
    torch.Tensor of shape (T, N)
        float32 at least.

    Raises
    ------
    UltraError
        If the capture holds no graph, or a gradient is missing or not finite.
    """
    return torch.cat(list(_row_chunks(cap, layer, tokens, seeds, rule, chunk_size)))


def make_maps(
    cap: Capture,
    values: np.ndarray,
    tokens: np.ndarray,
    layer: int,
    *,
    method: str,
    score: str = "none",
    rule: str = "none",
    **options: Any,
) -> ExplanationMaps:
    """Put rows over the positions of a capture into `ExplanationMaps`, provenance included.

    Parameters
    ----------
    cap : Capture
    values : array of shape (T, N)
    tokens : ndarray of shape (T,)
    layer : int
        0..L.
    method, score, rule : str
        "none" for a method that reads no score, or keeps no sign.
    **options
        Whatever else the maps depend on, JSON-able; goes into the card.

    Returns
    -------
    ExplanationMaps
    """
    made = {"method": method, "layer": layer, "score": score, "rule": rule, **options}
    return ExplanationMaps(
        values=np.ascontiguousarray(values, dtype=np.float32),
        tokens=tokens,
        layer=layer,
        layout=cap.layout,
        method=method,
        score=score,
        rule=rule,
        input=cap.input,
        card={**cap.card, "explanation": made},
    )


# --- the engine ----------------------------------------------------------------------------------


def _row_chunks(
    cap: Capture, layer: int, tokens: np.ndarray, seeds: torch.Tensor, rule: str, chunk_size: int
) -> Iterator[torch.Tensor]:
    """Yield the rows, a chunk of tokens at a time: tensors of shape (at most chunk_size, N)."""
    z = cap.latents[layer]
    steps = [s for s in reversed(cap.steps) if s.layer <= layer]
    if steps and not (z.requires_grad and all(s.weights.requires_grad for s in steps)):
        raise UltraError(
            "the capture holds no autograd graph, so nothing can be explained: make it with "
            "ultra_kit.capture outside torch.inference_mode()"
        )
    for start in range(0, len(tokens), chunk_size):
        index = torch.as_tensor(tokens[start : start + chunk_size], device=z.device)
        r = torch.zeros(
            len(index), len(z), device=z.device, dtype=torch.promote_types(z.dtype, torch.float32)
        )
        r[torch.arange(len(index)), index] = 1
        if steps:
            gradients = _attention_gradients(z, steps, index, seeds[start : start + chunk_size])
            _carry(r, steps, gradients, rule)
        yield r


def seed_gradients(
    z: torch.Tensor, inputs: Sequence[torch.Tensor], index: torch.Tensor, seeds: torch.Tensor
) -> list[torch.Tensor | None]:
    """Send C seeds back through the graph in one backward pass.

    Parameters
    ----------
    z : torch.Tensor of shape (N, D)
        Latents of a layer, in a graph; it is kept.
    inputs : sequence of torch.Tensor
        What to differentiate by.
    index : torch.Tensor of shape (C,)
        The positions of the seeds.
    seeds : torch.Tensor of shape (C, D)

    Returns
    -------
    list of torch.Tensor or None
        For every input of shape S the gradients (C, *S), or None where z does not depend on it.
    """
    start = z.new_zeros(len(index), *z.shape)
    start[torch.arange(len(index)), index] = seeds.to(z)
    options: dict[str, Any] = {"retain_graph": True, "allow_unused": True}
    if len(index) == 1:  # the plain pass: no batching rule is needed, and a CPU has nothing to gain
        found = torch.autograd.grad(z, inputs, start[0], **options)
        return [None if g is None else g[None] for g in found]
    return list(torch.autograd.grad(z, inputs, start, is_grads_batched=True, **options))


def _attention_gradients(
    z: torch.Tensor, steps: list[AttentionStep], index: torch.Tensor, seeds: torch.Tensor
) -> list[torch.Tensor]:
    """Return df/dA of every step, (C, H, Nq, Nk) each; a missing one is an error, not zero."""
    gradients = []
    for step, g in zip(steps, seed_gradients(z, [s.weights for s in steps], index, seeds), strict=True):
        if g is None:
            raise UltraError(
                f"the latents do not depend on the attention of block {step.layer} ({step.name or 'unnamed'}) "
                "that came with them: its gradient is missing, and a missing gradient is not zero; "
                "see ultra_kit.check(model)"
            )
        gradients.append(g)
    return gradients


def _carry(r: torch.Tensor, steps: list[AttentionStep], gradients: list[torch.Tensor], rule: str) -> None:
    """R <- r C_b in place for every step, last first; r is (C, N)."""
    sums, scratch = [], {}
    for step, g in zip(steps, gradients, strict=True):
        heads, nq, nk = step.weights.shape
        # One buffer for all steps of a shape: fresh memory for each costs as much as the product.
        if g.shape not in scratch:
            scratch[g.shape] = torch.empty(g.shape, dtype=r.dtype, device=r.device)
        product = torch.mul(step.weights.detach().to(r.dtype), g.to(r.dtype), out=scratch[g.shape])
        sums.append(product.sum())  # one number shows a NaN or an infinity anywhere in it
        kept = keep_sign_(product, rule).view(len(r), heads * nq, nk)
        queries = r[:, step.query_start : step.query_start + nq].repeat(1, heads) / heads
        r[:, step.key_start : step.key_start + nk] += torch.bmm(queries[:, None], kept)[:, 0]
    finite = torch.isfinite(torch.stack(sums)).tolist()
    if not all(finite):
        step = steps[finite.index(False)]
        raise UltraError(
            f"the gradient at the attention of block {step.layer} ({step.name or 'unnamed'}) is not finite; "
            "run the model in float32, and look for NaN in the input and for rows that are masked altogether"
        )


# --- what a run needs, worked out beforehand -----------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Job:
    layer: int
    tokens: np.ndarray
    score: Score
    seeds: torch.Tensor
    chunk_size: int


def _job(
    cap: Capture,
    layer: int,
    tokens: Any,
    score: str,
    rule: str,
    towards: Any,
    transform: Any,
    chunk_size: int | None,
    max_memory: int | str | None,
) -> _Job:
    number, index = cap.layer_index(layer), cap.token_indices(tokens)
    check_rule(rule)
    f = make_score(cap, len(index), score, towards, transform)
    chunk = _chunk(cap, number, len(index), chunk_size, max_memory)
    z = cap.latents[number].detach()
    return _Job(number, index, f, f.seeds(z[torch.as_tensor(index, device=z.device)]), chunk)


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


def _warn_if_constant(z: torch.Tensor, layer: int) -> None:
    """Warn where ||z|| cannot say much; this project's test, the method names the effect only."""
    node = z.grad_fn
    while node is not None and re.match(r"(Select|View|Squeeze|Slice|Index|Clone|Alias)", node.name()):
        node = node.next_functions[0][0]
    norms = z.detach().float().norm(dim=-1)
    constant = len(norms) > 1 and float(norms.std()) < 0.01 * float(norms.mean())
    if constant or (node is not None and re.search(r"(Layer|Rms|RMS)Norm", node.name())):
        warnings.warn(
            f"the latents of layer {layer} come out of a normalisation: their norm is nearly the same for "
            "every token, and a map of score 'norm' says little; use score='sum' or towards=",
            ConstantNormWarning,
            stacklevel=3,
        )


# --- words and reports ---------------------------------------------------------------------------


@contextmanager
def reporting(progress: bool | Progress | None, total: int) -> Iterator[Callable[[int], Any]]:
    """Yield a function to call with the number of tokens just finished.

    Parameters
    ----------
    progress : bool, callable or None
        True shows a bar, None shows one after 2 seconds, False shows nothing; a callable gets (done, total).
    total : int
        The number of tokens in all.

    Yields
    ------
    callable
        Takes the number of tokens just finished.

    Raises
    ------
    TypeError
        If `progress` is none of these.
    """
    if callable(progress):
        done = 0

        def report(more: int) -> None:
            nonlocal done
            done += more
            progress(done, total)

        yield report
    elif progress is None or progress is True:
        from tqdm.auto import tqdm

        with tqdm(total=total, desc="explain", unit="token", leave=False, delay=0 if progress else 2) as bar:
            yield bar.update
    elif progress is False:
        yield lambda more: None
    else:
        raise TypeError(
            f"progress must be True, False, None or a callable of (done, total), got {progress!r}"
        )


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
