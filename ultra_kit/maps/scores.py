"""Scores: the scalar f of a latent token that a map explains, and the sign of a contribution kept.

A score enters the engine as the upstream gradient df/dz of the token's latent, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..types import Capture, UltraError
from ..types.checks import one_of
from ..types.graphs import alone_in

SCORES = ("norm", "sum", "energy", "head", "logprob", "towards")
RULES = ("positive", "negative", "absolute")


@dataclass(frozen=True, eq=False)
class Score:
    """A scalar f of a latent token.

    `function` takes latents (M, D) and (M,), which says for which of the T explained tokens each stands; it gives
    the scores (M,), differentiable.
    """

    name: str
    function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

    def upstream(self, latents: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """df/dz of latents (M, D) that stand for the explained tokens `rows`, (M,): (M, D)."""
        with torch.enable_grad():
            z = latents.detach().clone().requires_grad_()
            return torch.autograd.grad(self.function(z, rows).sum(), z)[0]


def make_score(
    cap: Capture, n_tokens: int, score: str, towards: Any, transform: Any, layer: int, index: np.ndarray
) -> Score:
    """The score that the arguments of `explain` name; `n_tokens` is T, and "logprob" is of the positions `index`."""
    one_of("score", score, SCORES)
    d = cap.latents[-1].shape[1]
    v = _array(cap, "towards", towards, {(d,): "a direction", (n_tokens, d): "one per token"})
    w = _array(cap, "transform", getattr(transform, "matrix", transform), {(d, d): "a matrix"})
    if v is not None:
        if score not in ("norm", "towards") or w is not None:
            raise ValueError(
                "towards sets the score itself, <z, towards>: leave out score and transform, "
                f"got score={score!r}, transform={type(transform).__name__}"
            )
        return Score("towards", lambda z, rows: (z * (v if v.ndim == 1 else v[rows])).sum(-1))
    if score == "towards":
        raise ValueError("score 'towards' needs a direction: pass towards=, an array of shape (D,)")
    if score in ("head", "logprob") and w is not None:
        raise ValueError("the head reads latents as they are: leave out transform, or use another score")
    if score == "logprob":
        each = emitted_upstream(cap, layer, index)
        return Score(score, lambda z, rows: (z * each[rows]).sum(-1))

    def function(z: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        if score == "head":
            return read_by_head(cap, z).max(dim=-1).values
        y = z if w is None else z @ w.T
        if score == "norm":
            return y.norm(dim=-1)
        if score == "energy":
            return 0.5 * (y * y).sum(-1)
        length = y.detach().norm(dim=-1)
        return y.sum(-1) / (length + (length == 0))  # a latent of zeros is left as it is, not made NaN

    return Score(score, function)


def emitted_upstream(cap: Capture, layer: int, index: np.ndarray, rather: int | None = None) -> torch.Tensor:
    """The gradient of the log-probability of the token that each position emits, by its latent of a layer: (T, D).

    With `rather`, a token: of that log-probability less this token's. The last position emits what is likeliest there.
    """
    last = cap.latents[-1]
    text: Any = cap.inputs.get("decoder_input_ids", cap.inputs.get("input_ids"))
    writes = text is not None and getattr(cap.model, "kind", "encoder") != "encoder"
    where, first = torch.as_tensor(index, device=last.device), len(last) - (text.shape[1] if writes else 0)
    if int(where.min()) < first:
        raise UltraError(
            f"score 'logprob' is of positions that emit a token of a text, not {where.min()}: use another"
        )
    following = text[0].roll(-1)[where - first]

    def log_probability(z: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        logits = read_by_head(cap, z)
        ids = torch.where(where == len(last) - 1, logits.argmax(-1), following)
        return logits[rows, ids] - (logits.logsumexp(-1) if rather is None else logits[rows, rather])

    with torch.inference_mode(False):
        found = Score("logprob", log_probability).upstream(last[where], torch.arange(len(where)).to(where))
    if layer < cap.n_layers and last.requires_grad:
        for row, at in zip(found, where, strict=True):
            upstream = torch.zeros_like(last)
            upstream[at] = row
            with alone_in(cap):
                row.copy_(torch.autograd.grad(last, cap.latents[layer], upstream, retain_graph=True)[0][at])
    return found


def keep_sign_(x: torch.Tensor, rule: str) -> torch.Tensor:
    """Turn `x`, in place, into the part of it that a rule counts: relu(x), relu(-x) or |x|."""
    if rule == "absolute":
        return x.abs_()
    return (x if rule == "positive" else x.neg_()).clamp_min_(0)


def _array(cap: Capture, name: str, array: Any, shapes: dict[tuple[int, ...], str]) -> torch.Tensor | None:
    """A direction or a matrix, checked, in the dtype and on the device of the latents; None for None."""
    if array is None:
        return None
    if isinstance(array, str):
        raise TypeError(
            f"{name} must be an array of numbers, got the text {array!r}; a model that reads texts turns them "
            "into a head: score='head' on model.zero_shot(texts)"
        )
    try:
        x = torch.as_tensor(array).detach().to(cap.latents[-1])
    except (RuntimeError, TypeError, ValueError):
        raise TypeError(f"{name} must be an array of numbers, got {type(array).__name__}") from None
    if tuple(x.shape) not in shapes:
        known = " or ".join(f"{shape} ({what})" for shape, what in shapes.items())
        raise ValueError(f"{name} must have the shape {known}, got {tuple(x.shape)}")
    if not torch.isfinite(x).all():
        raise ValueError(f"{name} must be finite, got NaN or infinity in it")
    return x


def read_by_head(cap: Capture, z: torch.Tensor) -> torch.Tensor:
    """What the model's head says to last-layer latents (M, D): (M, K)."""
    out = cap.model.head(z)
    if out is None:
        raise UltraError(
            f"score 'head' or 'logprob' needs a model with a head, and {cap.model.name!r} has none; use another score, or towards="
        )
    return out
