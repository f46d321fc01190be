"""The engine: gradients of attention maps, and the row of the product that they make.

All gradients of a token come from one backward pass, and its row is carried through the blocks as
``r <- r C_b`` for b = k..1, which costs N^2 per block where the product costs N^3: the order of the pass, so the
gradient of one block's maps is used up before the next block's is made. Behind the last
attention a token's gradient lies in its own row alone; what is there is passed once for all tokens.
With one block the row is read off: row i of ``A * df/dA`` is ``A[i] * <g_i, v>``, g_i the gradient at
the product of attention and values v (this project's reading of the same equation, exact).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..types import AttentionStep, Capture, UltraError
from ..types.graphs import alone_in, only_through
from .scores import Score, keep_sign_

FEW = 4
"""With fewer tokens, passing what is behind the last attention once for all costs more than it saves."""

ENTRIES = 2**22
"""Entries of attention maps on which the closed form of one block works at a time: some MB, whatever the input."""


@dataclass(frozen=True, eq=False)
class Request:
    """The arguments of `explain`, checked: layers 0 <= since <= layer, M tokens, and df/dz of each, (M, D).

    The row that a token belongs to, `rows` (M,), is its own, or in ascending order that of its group.
    """

    cap: Capture
    layer: int
    since: int
    tokens: np.ndarray
    rows: np.ndarray
    score: Score
    rule: str
    upstream: torch.Tensor
    chunk_size: int
    made: dict[str, Any]
    """What the card of the maps says."""
    groups: tuple[tuple[int, ...], ...] | None = None


@dataclass(frozen=True, eq=False)
class Upstream:
    """The gradients of M tokens at a tensor (..., N, d) of the graph: (..., M, d), all else being zero."""

    tensor: torch.Tensor
    rows: torch.Tensor


def row_chunks(request: Request, *, by_head: bool = False) -> Iterator[torch.Tensor]:
    """Yield the maps of a request in chunks (C, N), in float32 at least; `by_head` (C, 1 + H, N), see `head_shares`."""
    cap, z = request.cap, request.cap.latents[request.layer]
    steps = [s for s in reversed(cap.steps) if request.since < s.layer <= request.layer]
    if steps and not (z.requires_grad and all(s.weights.requires_grad for s in steps)):
        raise UltraError(
            "the capture holds no autograd graph, so nothing can be explained: make it with ultra_kit.capture"
        )
    tokens, owner = (torch.as_tensor(x, device=z.device) for x in (request.tokens, request.rows))
    with alone_in(cap):
        behind = _behind_attention(cap, steps, tokens, request.upstream) if steps else None
    parts = in_parts(cap, steps)
    dtype, total = torch.promote_types(z.dtype, torch.float32), int(owner[-1]) + 1
    closed = len(steps) == 1 and behind is not None and steps[0].values is not None
    size = total if closed else request.chunk_size
    for first in range(0, total, size):
        part = ((owner >= first) & (owner < first + size)).nonzero()[:, 0]
        here = [Upstream(u.tensor, u.rows[..., part, :]) for u in behind or [Upstream(z, request.upstream)]]
        rows, index = owner[part] - first, tokens[part]
        r = torch.zeros(int(rows[-1]) + 1, 1, len(z), device=z.device, dtype=dtype)
        r[rows, 0, index] = 1
        if closed:
            r = _one_block(r, steps[0], here[0].rows, rows, index, request.rule, by_head)
        elif steps:
            with alone_in(cap):
                r = _carry(r, _gradients(parts, here, index, rows), request.rule, by_head)
        yield r if by_head else r[:, 0]


def token_gradients(
    arrived: Sequence[Upstream],
    inputs: Sequence[torch.Tensor],
    index: torch.Tensor,
    rows: torch.Tensor | None = None,
) -> list[torch.Tensor | None]:
    """Send the upstream gradients of the tokens `index` back in one backward pass; the graph is kept.

    Tokens of one row, by default each of its own, go together. Returns for every input of shape S the gradients of
    the C rows, (C, *S), or None where nothing depends on it.
    """
    rows = torch.arange(len(index), device=index.device) if rows is None else rows
    tensors, n = [u.tensor for u in arrived], int(rows[-1]) + 1
    upstream = [t.new_zeros(n, *t.shape) for t in tensors]
    for gradient, u in zip(upstream, arrived, strict=True):
        gradient[rows, ..., index, :] = u.rows.movedim(-2, 0).to(gradient)
    return _backward(tensors, inputs, upstream)


def _backward(
    tensors: Sequence[torch.Tensor], inputs: Sequence[torch.Tensor], upstream: Sequence[torch.Tensor]
) -> list[torch.Tensor | None]:
    """Gradients (C, *S) at the inputs from those (C, ...) at the tensors."""
    options: dict[str, Any] = {"retain_graph": True, "allow_unused": True}
    if len(upstream[0]) == 1:  # the plain pass: no batching rule is needed, and a CPU has nothing to gain
        found = torch.autograd.grad(tensors, inputs, [g[0] for g in upstream], **options)
        return [None if g is None else g[None] for g in found]
    there: list[int] = []

    def one(*gradients: torch.Tensor) -> list[torch.Tensor]:
        found = torch.autograd.grad(tensors, inputs, gradients, **options)
        there.extend(i for i, g in enumerate(found) if g is not None)
        return [found[i] for i in there]

    # Not is_grads_batched: its older rules go through LayerNorm, GELU and softmax row by row.
    given = dict(zip(there, torch.vmap(one)(*upstream), strict=True))
    return [given.get(i) for i in range(len(inputs))]


def in_parts(
    cap: Capture, steps: list[AttentionStep]
) -> list[tuple[list[AttentionStep], list[torch.Tensor]]]:
    """The steps in parts, with the latents below each part on which all above them depends through them alone; [] below the last."""
    parts: list[tuple[list[AttentionStep], list[torch.Tensor]]] = [([], [])]
    for step in steps:
        part, gate = parts[-1]
        if part and part[-1].layer > step.layer:
            z = cap.latents[step.layer]
            if only_through(cap.latents[part[0].layer], z):
                gate.append(z)
                parts.append(([], []))
        parts[-1][0].append(step)
    return parts


def _gradients(
    parts: list[tuple[list[AttentionStep], list[torch.Tensor]]],
    arrived: Sequence[Upstream],
    index: torch.Tensor,
    rows: torch.Tensor,
) -> Iterator[tuple[AttentionStep, torch.Tensor | None]]:
    """df/dA of every step for C rows, (C, H, Nq, Nk); those of a part are handed on before those of the next are made."""
    down: list[Any] = []
    for k, (steps, gate) in enumerate(parts):
        inputs = [*(s.weights for s in steps), *gate]
        found = (
            _backward(parts[k - 1][1], inputs, down) if k else token_gradients(arrived, inputs, index, rows)
        )
        down = [found.pop() for _ in gate]
        for step in steps:
            yield step, found.pop(0)


def _behind_attention(
    cap: Capture, steps: list[AttentionStep], tokens: torch.Tensor, upstream: torch.Tensor
) -> list[Upstream] | None:
    """Pass projection and MLP of the last block once for all tokens: the upstream gradients that remain.

    They are at the product of attention and values and, with more blocks to come, at the block's input, which the
    block adds to its output. None where that product was not seen, or a token's gradient leaves its row on the way.
    """
    last = steps[0]
    context, before, z = last.context, cap.latents[last.layer - 1], cap.latents[last.layer]
    if context is None or len(tokens) < FEW or len(tokens.unique()) < len(tokens):
        return None

    def backward(rows: torch.Tensor) -> list[torch.Tensor] | None:
        """Gradients at the context, and at the block's input past it, of the sum over all tokens."""
        gradient, seen = torch.zeros_like(z), list[torch.Tensor]()
        gradient[tokens] = rows.to(z)
        if len(steps) == 1:
            (at,) = torch.autograd.grad(z, [context], gradient, retain_graph=True, allow_unused=True)
            return None if at is None else [at]

        def cut(g: torch.Tensor) -> torch.Tensor:
            seen.append(g)
            return torch.zeros_like(g)

        hook = context.register_hook(cut)
        try:
            (past,) = torch.autograd.grad(z, [before], gradient, retain_graph=True, allow_unused=True)
        finally:
            hook.remove()
        return [*seen, past] if len(seen) == 1 and past is not None else None

    # Factors that differ from row to row come out as they went in only if no rows are mixed; powers of
    # two are exact in every float.
    factors = 2.0 ** (torch.arange(len(z), device=z.device) % 8)[:, None]
    found, scaled = backward(upstream), backward(upstream.to(z) * factors[tokens].to(z))
    if found is None or scaled is None:
        return None
    if not all(torch.equal(g * factors.to(g), s) for g, s in zip(found, scaled, strict=True)):
        return None
    return [Upstream(t, g[..., tokens, :]) for t, g in zip([context, before], found, strict=False)]


def _carry(
    r: torch.Tensor,
    gradients: Iterator[tuple[AttentionStep, torch.Tensor | None]],
    rule: str,
    by_head: bool,
) -> torch.Tensor:
    """R <- r C_b for every step, last first; r is (C, 1, N), and `by_head` (C, 1 + H, N) behind the first of them.

    The gradients are those of `_gradients`; a missing one is an error, not zero.
    """
    steps, sums, scratch = [], [], {}
    for step, g in gradients:
        steps.append(step)
        if g is None:
            raise UltraError(
                f"the latents do not depend on {_in_words(step)} that came with them: its gradient is missing, and a "
                "missing gradient is not zero; see ultra_kit.check(model)"
            )
        heads, nq, nk = step.weights.shape
        # One buffer for all steps of a shape: fresh memory for each costs as much as the product.
        if g.shape not in scratch:
            scratch[g.shape] = torch.empty(g.shape, dtype=r.dtype, device=r.device)
        product = torch.mul(step.weights.detach().to(r.dtype), g.to(r.dtype), out=scratch[g.shape])
        sums.append(product.sum())  # one number shows a NaN or an infinity anywhere in it
        kept = keep_sign_(product, rule)
        queries = r[..., step.query_start : step.query_start + nq] / heads
        if by_head and len(steps) == 1:
            r = torch.cat([r, r.new_zeros(len(r), heads, r.shape[-1])], 1)
            more = torch.cat([torch.zeros_like(kept[:, 0, :1]), (queries[:, :, None] @ kept)[:, :, 0]], 1)
        else:
            more = torch.bmm(queries.repeat(1, 1, heads), kept.view(len(r), heads * nq, nk))
        r[..., step.key_start : step.key_start + nk] += more
        del g  # before the next part's are made
    _check_finite(sums, steps)
    return r


def _one_block(
    r: torch.Tensor,
    step: AttentionStep,
    g: torch.Tensor,
    rows: torch.Tensor,
    index: torch.Tensor,
    rule: str,
    by_head: bool,
) -> torch.Tensor:
    """R C_b as `_carry` has it, from the gradients (..., M, d) at the tokens' own context, in blocks of queries."""
    heads, _, nk = step.weights.shape
    weights, values = step.weights.detach(), step.values.detach().flatten(0, -3).mT  # type: ignore[union-attr]
    if by_head:
        r = torch.cat([r, r.new_zeros(len(r), heads, nk)], 1)
    sums = []

    def kept(part: torch.Tensor) -> torch.Tensor:
        """(M, 1 or H, N); what it needs on the way is gone before the next part."""
        product = weights[:, index[part]].to(r.dtype).mul_(g[..., part, :].flatten(0, -3) @ values)
        sums.append(product.sum())
        signed = keep_sign_(product, rule).movedim(0, 1)
        return signed / heads if by_head else signed.mean(1, keepdim=True)

    for part in torch.arange(len(index), device=index.device).split(max(1, ENTRIES // (heads * nk))):
        r[:, 1 if by_head else 0 :].index_add_(0, rows[part], kept(part))
    _check_finite(sums, [step] * len(sums))
    return r


def _check_finite(sums: list[torch.Tensor], steps: list[AttentionStep]) -> None:
    """Refuse steps whose contributions have a sum that is not finite."""
    finite = torch.isfinite(torch.stack(sums)).tolist()
    if not all(finite):
        raise UltraError(
            f"the gradient at {_in_words(steps[finite.index(False)])} is not finite; run the model in float32, and "
            "look for NaN in the input and for rows that are masked altogether"
        )


def _in_words(step: AttentionStep) -> str:
    return f"the attention of block {step.layer} ({step.name or 'unnamed'})"
