"""The engine: gradients of attention maps for seeds, and the row of the product they make.

All gradients of a token come from one backward pass, and its row is carried through the blocks as
``r <- r C_b`` for b = k..1, which costs N^2 a block where the product costs N^3. Behind the last
attention a token's gradient lies in its own row alone; what is there is passed once for all tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..types import AttentionStep, Capture, UltraError
from .scores import keep_sign_

FEW = 4
"""With fewer tokens, passing what is behind the last attention once for all costs more than it saves."""


@dataclass(frozen=True, eq=False)
class Start:
    """Where the backward pass of each token begins.

    Attributes
    ----------
    tensor : torch.Tensor of shape (..., N, d)
        In the graph.
    rows : torch.Tensor of shape (..., T, d)
        The gradient at the token's own row, for each of T tokens; it is zero in all other rows.
    """

    tensor: torch.Tensor
    rows: torch.Tensor


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
    return torch.cat(list(row_chunks(cap, layer, tokens, seeds, rule, chunk_size)))


def row_chunks(
    cap: Capture, layer: int, tokens: np.ndarray, seeds: torch.Tensor, rule: str, chunk_size: int
) -> Iterator[torch.Tensor]:
    """Yield the rows of `relevance_rows`, a chunk of tokens at a time.

    Parameters
    ----------
    cap, layer, tokens, seeds, rule, chunk_size
        As for `relevance_rows`.

    Yields
    ------
    torch.Tensor of shape (at most chunk_size, N)

    Raises
    ------
    UltraError
        As `relevance_rows` does.
    """
    z = cap.latents[layer]
    steps = [s for s in reversed(cap.steps) if s.layer <= layer]
    if steps and not (z.requires_grad and all(s.weights.requires_grad for s in steps)):
        raise UltraError(
            "the capture holds no autograd graph, so nothing can be explained: make it with "
            "ultra_kit.capture outside torch.inference_mode()"
        )
    every = torch.as_tensor(tokens, device=z.device)
    starts = (_behind_attention(cap, steps[0], every, seeds) if steps else None) or [Start(z, seeds)]
    for first in range(0, len(tokens), chunk_size):
        part = slice(first, first + chunk_size)
        index = every[part]
        r = torch.zeros(
            len(index), len(z), device=z.device, dtype=torch.promote_types(z.dtype, torch.float32)
        )
        r[torch.arange(len(index)), index] = 1
        if steps:
            gradients = _attention_gradients(
                [Start(s.tensor, s.rows[..., part, :]) for s in starts], steps, index
            )
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
    return _gradients([Start(z, seeds)], inputs, index)


def _gradients(
    starts: Sequence[Start], inputs: Sequence[torch.Tensor], index: torch.Tensor
) -> list[torch.Tensor | None]:
    """As `seed_gradients`, from any starts."""
    tensors, every = [s.tensor for s in starts], torch.arange(len(index))
    seeds = [t.new_zeros(len(index), *t.shape) for t in tensors]
    for seed, start in zip(seeds, starts, strict=True):
        seed[every, ..., index, :] = start.rows.movedim(-2, 0).to(seed)
    options: dict[str, Any] = {"retain_graph": True, "allow_unused": True}
    if len(index) == 1:  # the plain pass: no batching rule is needed, and a CPU has nothing to gain
        found = torch.autograd.grad(tensors, inputs, [s[0] for s in seeds], **options)
        return [None if g is None else g[None] for g in found]
    return list(torch.autograd.grad(tensors, inputs, seeds, is_grads_batched=True, **options))


def _behind_attention(
    cap: Capture, last: AttentionStep, tokens: torch.Tensor, seeds: torch.Tensor
) -> list[Start] | None:
    """Pass projection and MLP of the last block once for all tokens: the starts that remain.

    They are the product of attention and values, and the block's input, which the block adds to its output.
    None where that product was not seen, or where a token's gradient leaves its own row on the way.
    """
    context, before, z = last.context, cap.latents[last.layer - 1], cap.latents[last.layer]
    if context is None or len(tokens) < FEW or len(tokens.unique()) < len(tokens):
        return None

    def backward(seeds: torch.Tensor) -> list[torch.Tensor] | None:
        """Gradients at the context, and at the block's input past it, of the sum over all tokens."""
        seed, seen = torch.zeros_like(z), list[torch.Tensor]()
        seed[tokens] = seeds.to(z)

        def cut(g: torch.Tensor) -> torch.Tensor:
            seen.append(g)
            return torch.zeros_like(g)

        hook = context.register_hook(cut)
        try:
            (past,) = torch.autograd.grad(z, [before], seed, retain_graph=True, allow_unused=True)
        finally:
            hook.remove()
        return [*seen, past] if len(seen) == 1 and past is not None else None

    # Factors that differ from row to row come out as they went in only if no rows are mixed; powers of
    # two are exact in every float.
    factors = 2.0 ** (torch.arange(len(z), device=z.device) % 8)[:, None]
    found, scaled = backward(seeds), backward(seeds.to(z) * factors[tokens].to(z))
    if found is None or scaled is None:
        return None
    if not all(torch.equal(g * factors.to(g), s) for g, s in zip(found, scaled, strict=True)):
        return None
    tensors = [context, before][: min(last.layer, 2)]  # nothing is to be found before the first block
    return [Start(t, g[..., tokens, :]) for t, g in zip(tensors, found, strict=False)]


def _attention_gradients(
    starts: list[Start], steps: list[AttentionStep], index: torch.Tensor
) -> list[torch.Tensor]:
    """Return df/dA of every step, (C, H, Nq, Nk) each; a missing one is an error, not zero."""
    gradients = []
    for step, g in zip(steps, _gradients(starts, [s.weights for s in steps], index), strict=True):
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
