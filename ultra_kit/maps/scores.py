"""Scores: the scalar f of a latent token that a map explains, and the sign of a contribution kept.

A score enters the engine as a seed, the gradient df/dz of the token's latent, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from ..types import Capture, UltraError

SCORES = ("norm", "sum", "energy", "head", "towards")
RULES = ("positive", "negative", "absolute")


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
    TypeError
        For a text in place of a direction or a matrix.
    UltraError
        If the score is "head" and the model has none.
    """
    for name, array in (("towards", towards), ("transform", transform)):
        if isinstance(array, str):
            raise TypeError(
                f"{name} must be an array of numbers, got the text {array!r}; a model that reads texts turns them "
                "into a head: score='head' on model.zero_shot(texts)"
            )
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
        length = y.detach().norm(dim=-1)
        return y.sum(-1) / (length + (length == 0))  # a latent of zeros is left as it is, not made NaN

    return Score(score, function)


def check_rule(rule: str) -> None:
    """Refuse what is not one of `RULES`.

    Parameters
    ----------
    rule : str
        The name to check.

    Raises
    ------
    ValueError
        For an unknown rule.
    """
    if rule not in RULES:
        raise ValueError(f"rule must be one of {', '.join(RULES)}, got {rule!r}")


def keep_sign_(x: torch.Tensor, rule: str) -> torch.Tensor:
    """Turn `x`, in place, into the part of it that a rule counts: relu(x), relu(-x) or |x|.

    Parameters
    ----------
    x : torch.Tensor
        Of any shape; overwritten.
    rule : str
        "positive", "negative" or "absolute"; not checked here.

    Returns
    -------
    torch.Tensor
        `x` itself, at least 0 everywhere.
    """
    if rule == "absolute":
        return x.abs_()
    return (x if rule == "positive" else x.neg_()).clamp_min_(0)


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
