"""Which head of its last block a map came through: an exact split of the rows of `explain`."""

from __future__ import annotations

import numpy as np
import torch

from ..types import Capture, Tokens, UltraError
from ..types.torch_modes import plain_torch
from .engine import row_chunks
from .planning import make_request


@plain_torch()
def head_shares(
    cap: Capture,
    *,
    layer: int | None = None,
    tokens: Tokens = None,
    score: str | None = None,
    rule: str | None = None,
    since: int | None = None,
) -> np.ndarray:
    """Split the maps of tokens by the heads of the block right below them.

    The map is row i of ``C_k ... C_1`` and ``C_k = I + (1/H) sum_h relu(A_h * df/dA_h)``, so it is a sum over the
    heads of block k and of what passes them by. (The product is that of ULTra, arXiv 2411.12589; reading it as a
    sum over the heads of its last factor is this project's choice.)

    Parameters
    ----------
    cap : Capture
    layer : int
        k, in 0..L or negative from the end; layer 0 has no heads.
    tokens, score, rule, since
        As for `explain`, without a direction.

    Returns
    -------
    ndarray of shape (T, 1 + H, N), float32
        ``[:, 0]`` what passed the heads by, ``[:, h]`` what came through head h (counted from 1); the sum over the
        second axis is ``explain(...).values``.

    Raises
    ------
    ValueError, TypeError, UltraError
        As `explain`; an UltraError also if block k has more than one attention step.

    Examples
    --------
    >>> import ultra_kit as uk
    >>> cap = uk.capture(uk.load("scenes"), uk.data.scene(0).image)
    >>> head_shares(cap, layer=2, tokens=[30]).shape
    (1, 5, 148)
    """
    request = make_request(cap, layer=layer, tokens=tokens, score=score, rule=rule, since=since)
    if sum(s.layer == request.layer for s in cap.steps) > 1:
        raise UltraError(f"block {request.layer} has more than one attention step; heads can't be told apart")
    return torch.cat(list(row_chunks(request, by_head=True))).float().cpu().numpy()
