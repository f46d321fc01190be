"""Explanation maps of latent tokens: one backward pass a token, rows instead of matrices.

For token i at layer k and a scalar f of its latent z_i, every attention step b <= k gives

    C_b = I + mean over heads of relu(A_b * dz f / dA_b)

and the map is row i of ``C_k C_(k-1) ... C_1`` (ULTra, arXiv 2411.12589; the product order is that
of Chefer, Gur and Wolf, ICCV 2021: last block leftmost). The row is carried through the blocks as
``r <- r C_b`` for b = k..1, which costs N^2 a block where the product costs N^3, and all gradients
of a token come from one backward pass.
"""

from __future__ import annotations

import hashlib
import re
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from .types import AttentionStep, Capture, ExplanationMaps, Progress, UltraError

SCORES = ("norm", "sum", "energy", "head", "towards")
RULES = ("positive", "negative", "absolute")
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


@dataclass(frozen=True, eq=False)
class Score:
    """A scalar f of a latent token.

    Attributes
    ----------
    name : str
        One of `SCORES`.
    function : callable
        (latents (M, D), rows (M,)) to (M,): the scores, differentiable; ``rows`` says which of the
        explained tokens each latent stands for.
    """

    name: str
    function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

    def seeds(self, latents: torch.Tensor) -> torch.Tensor:
        """Return df/dz of the explained tokens' latents: (T, D) to (T, D)."""
        with torch.enable_grad():
            z = latents.detach().clone().requires_grad_()
            f = self.function(z, torch.arange(len(z), device=z.device))
            return torch.autograd.grad(f.sum(), z)[0]


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
    card = {
        "method": "ultra",
        "layer": job.layer,
        "score": job.score.name,
        "rule": rule,
        "towards": _fingerprint(towards),
        "transform": _fingerprint(getattr(transform, "matrix", transform)),
    }
    done: list[np.ndarray] = []

    def result() -> ExplanationMaps:
        rows = np.concatenate(done) if done else np.zeros((0, cap.layout.n_tokens), np.float32)
        return ExplanationMaps(
            values=rows,
            tokens=job.tokens[: len(rows)],
            layer=job.layer,
            layout=cap.layout,
            score=job.score.name,
            rule=rule,
            input=cap.input,
            card={**cap.card, "explanation": card},
        )

    try:
        with _reporting(progress, len(job.tokens)) as report:
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


def make_score(cap: Capture, n_tokens: int, score: str, towards: Any, transform: Any) -> Score:
    """Make the score that the arguments of `explain` name.

    Parameters
    ----------
    cap : Capture
    n_tokens : int
        T, for a `towards` with one row a token.
    score, towards, transform
        As for `explain`.

    Returns
    -------
    Score

    Raises
    ------
    ValueError
        For an unknown score, arguments that contradict each other, or a wrong shape.
    UltraError
        If the score is "head" and the model has none.
    """
    if score not in SCORES:
        raise ValueError(f"score must be one of {', '.join(SCORES)}, got {score!r}")
    if towards is not None:
        if score not in ("norm", "towards") or transform is not None:
            raise ValueError(
                "towards sets the score itself, <z, towards>: leave out score and transform, "
                f"got score={score!r}, transform={type(transform).__name__}"
            )
        return _towards_score(cap, n_tokens, towards)
    if score == "towards":
        raise ValueError("score 'towards' needs a direction: pass towards=, an array of shape (D,)")
    if score == "head":
        if transform is not None:
            raise ValueError("the head reads latents as they are: leave out transform, or use another score")
        return Score("head", _head_function(cap))
    matrix = None if transform is None else _matrix(cap, transform)

    def function(z: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        y = z if matrix is None else z @ matrix.T
        if score == "norm":
            return y.norm(dim=-1)
        if score == "energy":
            return 0.5 * (y * y).sum(-1)
        tiny = torch.finfo(y.dtype).tiny  # a latent of zeros has the seed of a very short one, not NaN
        return y.sum(-1) / y.detach().norm(dim=-1).clamp_min(tiny)

    return Score(score, function)


def check_rule(rule: str) -> None:
    """Refuse what is not one of `RULES`.

    Raises
    ------
    ValueError
        For an unknown rule.
    """
    if rule not in RULES:
        raise ValueError(f"rule must be one of {', '.join(RULES)}, got {rule!r}")


def keep_sign(x: torch.Tensor, rule: str) -> torch.Tensor:
    """Return the part of `x` that a rule counts: relu(x), relu(-x) or |x|."""
    if rule == "absolute":
        return x.abs()
    return (x if rule == "positive" else -x).clamp_min(0)


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


def _attention_gradients(
    z: torch.Tensor, steps: list[AttentionStep], index: torch.Tensor, seeds: torch.Tensor
) -> list[torch.Tensor]:
    """Return df/dA of every step, (C, H, Nq, Nk) each, from one backward pass for C tokens."""
    weights = [s.weights for s in steps]
    start = z.new_zeros(len(index), *z.shape)
    start[torch.arange(len(index)), index] = seeds.to(z)
    if len(index) == 1:  # the plain pass: no batching rule is needed, and a CPU has nothing to gain
        found = torch.autograd.grad(z, weights, start[0], retain_graph=True, allow_unused=True)
        gradients = [None if g is None else g[None] for g in found]
    else:
        gradients = list(
            torch.autograd.grad(
                z, weights, start, retain_graph=True, allow_unused=True, is_grads_batched=True
            )
        )
    for step, g in zip(steps, gradients, strict=True):
        if g is None:
            raise UltraError(
                f"the latents do not depend on the attention of block {step.layer} ({step.name or 'unnamed'}) "
                "that came with them: its gradient is missing, and a missing gradient is not zero; "
                "see ultra_kit.check(model)"
            )
    return gradients  # type: ignore[return-value]


def _carry(r: torch.Tensor, steps: list[AttentionStep], gradients: list[torch.Tensor], rule: str) -> None:
    """R <- r C_b in place for every step, last first; r is (C, N)."""
    sums = []
    for step, g in zip(steps, gradients, strict=True):
        heads, nq, nk = step.weights.shape
        product = step.weights.detach().to(r.dtype) * g.to(r.dtype)
        sums.append(product.sum())  # one number shows a NaN or an infinity anywhere in it
        kept = keep_sign(product, rule).reshape(len(r), heads * nq, nk)
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


# --- scores --------------------------------------------------------------------------------------


def _towards_score(cap: Capture, n_tokens: int, towards: Any) -> Score:
    z = cap.latents[-1]
    v = torch.as_tensor(towards).detach().to(z)
    if tuple(v.shape) not in {(z.shape[1],), (n_tokens, z.shape[1])}:
        raise ValueError(
            f"towards must have the shape ({z.shape[1]},), the width of a latent, or "
            f"({n_tokens}, {z.shape[1]}), a row for each token; got {tuple(v.shape)}"
        )
    if not torch.isfinite(v).all():
        raise ValueError("towards must be finite, got NaN or infinity in it")
    return Score("towards", lambda y, rows: (y * (v if v.ndim == 1 else v[rows])).sum(-1))


def _head_function(cap: Capture) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    with torch.no_grad():
        if cap.model.head(cap.latents[-1][:1].detach()) is None:
            raise UltraError(
                f"score 'head' needs a model with a head, and {cap.model.name!r} has none; "
                "use another score, or towards="
            )

    def function(z: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        out = cap.model.head(z)
        if out is None:
            raise UltraError(f"the head of {cap.model.name!r} gave nothing; use another score")
        return out.max(dim=-1).values

    return function


def _matrix(cap: Capture, transform: Any) -> torch.Tensor:
    z = cap.latents[-1]
    w = torch.as_tensor(getattr(transform, "matrix", transform)).detach().to(z)
    d = z.shape[1]
    if tuple(w.shape) != (d, d):
        raise ValueError(f"transform must be a matrix of shape ({d}, {d}), got {tuple(w.shape)}")
    if not torch.isfinite(w).all():
        raise ValueError("transform must be finite, got NaN or infinity in it")
    return w


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
def _reporting(progress: bool | Progress | None, total: int) -> Iterator[Callable[[int], Any]]:
    """Give a function to call with the number of tokens just finished."""
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


def _fingerprint(array: Any) -> str | None:
    """Return a short hash that tells whether two runs used the same array."""
    if array is None:
        return None
    values = np.ascontiguousarray(torch.as_tensor(array).detach().double().cpu().numpy())
    return hashlib.sha256(values.tobytes()).hexdigest()[:16]


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
