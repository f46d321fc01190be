"""Which head of its last block a map came through: an exact split of the rows of `explain`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ..types import AttentionStep, Capture, UltraError
from .engine import seed_gradients
from .scores import check_rule, keep_sign_, make_score


def head_shares(
    cap: Capture,
    *,
    layer: int = -1,
    tokens: int | Sequence[int] | np.ndarray | None = None,
    score: str = "norm",
    rule: str = "positive",
) -> np.ndarray:
    """Split the maps of tokens by the heads of the block right below them.

    The map is row i of ``C_k ... C_1`` and ``C_k = I + (1/H) sum_h relu(A_h * df/dA_h)``, so it is a sum
    over the heads of block k and of what passes them by. (The product is that of ULTra, arXiv
    2411.12589; reading it as a sum over the heads of its last factor is this project's choice.)

    Parameters
    ----------
    cap : Capture
    layer : int
        k, in 0..L or negative from the end; layer 0 has no heads.
    tokens : int or sequence of int, optional
        Every content position by default.
    score, rule : str
        As for `explain`, without a direction.

    Returns
    -------
    ndarray of shape (T, 1 + H, N), float32
        ``[:, 0]`` what passed the heads by, ``[:, h]`` what came through head h (counted from 1);
        the sum over the second axis is ``explain(...).values``.

    Raises
    ------
    ValueError, TypeError
        As `explain`.
    UltraError
        If the capture holds no graph, or block k has more than one attention step.

    Examples
    --------
    >>> import ultra_kit as uk
    >>> cap = uk.capture(uk.load("scenes"), uk.data.scene(0).image)
    >>> shares = head_shares(cap, layer=2, tokens=[30])
    >>> whole = uk.explain(cap, layer=2, tokens=[30]).values
    >>> bool(abs(shares.sum(axis=1) - whole).max() < 1e-5 * whole.max())
    True
    """
    number, index = cap.layer_index(layer), cap.token_indices(tokens)
    check_rule(rule)
    z = cap.latents[number]
    steps = [s for s in reversed(cap.steps) if s.layer <= number]
    if sum(s.layer == number for s in steps) > 1:
        raise UltraError(f"block {number} has more than one attention step; its heads cannot be told apart")
    if steps and not z.requires_grad:
        raise UltraError("the capture holds no autograd graph; make it outside torch.inference_mode()")
    seeds = make_score(cap, len(index), score, None, None).seeds(z[torch.as_tensor(index, device=z.device)])
    rows = [_split(z, steps, number, int(i), seed[None], rule) for i, seed in zip(index, seeds, strict=True)]
    shares = torch.stack(rows).float().cpu().numpy()
    if not np.isfinite(shares).all():
        raise UltraError("a gradient is not finite; run the model in float32, and look for NaN in the input")
    return shares


def _split(
    z: torch.Tensor, steps: list[AttentionStep], layer: int, token: int, seed: torch.Tensor, rule: str
) -> torch.Tensor:
    """Shares of one token: (1 + H, N), one row past the heads and one a head of block `layer`."""
    index = torch.tensor([token], device=z.device)
    gradients = seed_gradients(z, [s.weights for s in steps], index, seed) if steps else []
    dtype = torch.promote_types(z.dtype, torch.float32)
    r = torch.zeros(1, len(z), device=z.device, dtype=dtype)
    r[0, token] = 1
    for step, g in zip(steps, gradients, strict=True):
        if g is None:
            raise UltraError(f"the gradient at the attention of block {step.layer} is missing")
        kept = keep_sign_(step.weights.detach().to(dtype) * g[0].to(dtype), rule)
        heads, n_queries, n_keys = kept.shape
        keys = slice(step.key_start, step.key_start + n_keys)
        queries = r[:, step.query_start : step.query_start + n_queries]
        if step.layer == layer:
            through = torch.zeros(heads, len(z), device=z.device, dtype=dtype)
            through[:, keys] = torch.einsum("q,hqk->hk", queries[0], kept) / heads
            r = torch.cat([r, through])
        else:
            more = queries @ kept.mean(0)
            r[:, keys] += more
    return r
