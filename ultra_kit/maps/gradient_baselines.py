"""Baselines that follow the gradient down to the layer-0 tokens: gradient x input, integrated gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ..types import Capture, ExplanationMaps, Progress, UltraError
from ..types.progress import reporting
from ..types.provenance import fingerprint
from .engine import seed_gradients
from .explanation import make_maps
from .planning import check_chunk_size
from .scores import check_rule, keep_sign_, make_score

Tokens = int | Sequence[int] | np.ndarray | None

_EXAMPLES_AT_ONCE = 8


def gradient_x_input(
    cap: Capture,
    *,
    layer: int = -1,
    tokens: Tokens = None,
    score: str = "norm",
    rule: str = "positive",
    towards: Any = None,
    transform: Any = None,
    chunk_size: int | None = None,
    progress: bool | Progress | None = None,
) -> ExplanationMaps:
    """Gradient x input on the layer-0 tokens: ``<df/dz_j^(0), z_j^(0)>``, summed over the width.

    Parameters
    ----------
    cap : Capture
    layer, tokens, score, towards, transform
        As for `ultra_kit.explain`.
    rule : {"positive", "negative", "absolute"}
        Which sign of a position's contribution is kept; it is applied after the sum over the width.
    chunk_size : int, optional
        Tokens in one backward pass; 1 by default.
    progress : bool or callable, optional

    Returns
    -------
    ExplanationMaps

    Raises
    ------
    ValueError, TypeError
        As for `ultra_kit.explain`.
    UltraError
        If the capture's graph does not reach back to layer 0, or a gradient is not finite.

    Examples
    --------
    >>> import ultra_kit as uk
    >>> cap = uk.capture(uk.load("scenes"), uk.data.scene(0).image)
    >>> uk.baselines.gradient_x_input(cap, tokens=[30], rule="absolute").rule
    'absolute'
    """
    number, index = cap.layer_index(layer), cap.token_indices(tokens)
    check_rule(rule)
    check_chunk_size(chunk_size)
    reading = make_score(cap, len(index), score, towards, transform)
    x, z = cap.latents[0], cap.latents[number]
    where = torch.as_tensor(index, device=z.device)
    seeds = reading.seeds(z[where])
    chunk, rows = int(chunk_size or 1), []
    if not (x.requires_grad and z.requires_grad):
        raise UltraError(
            "the capture holds no autograd graph from latents[0] on; make it with ultra_kit.capture"
        )
    with reporting(progress, len(index)) as report:
        for start in range(0, len(index), chunk):
            part = slice(start, start + chunk)
            (g,) = seed_gradients(z, [x], where[part], seeds[part])
            if g is None:
                raise UltraError(
                    f"the latents of layer {number} do not depend on latents[0] in the capture's graph; "
                    "make the capture with ultra_kit.capture"
                )
            rows.append((g * x.detach()).sum(-1))
            report(len(rows[-1]))
    return _signed_maps(
        cap, torch.cat(rows), index, number, "gradient_x_input", reading.name, rule, towards, transform
    )


def integrated_gradients(
    cap: Capture,
    *,
    layer: int = -1,
    tokens: Tokens = None,
    score: str = "norm",
    rule: str = "positive",
    towards: Any = None,
    transform: Any = None,
    baseline: str = "mean",
    n_steps: int = 20,
    chunk_size: int | None = None,
    progress: bool | Progress | None = None,
) -> ExplanationMaps:
    """Integrated gradients on the layer-0 tokens (Sundararajan, Taly and Yan, 2017), by Captum.

    The contributions of all positions and widths add up to f at the input less f at the baseline
    (not for the score "sum", which holds the norm fixed); a position's is summed over the width.

    Parameters
    ----------
    cap, layer, tokens, score, rule, towards, transform, progress
        As for `gradient_x_input`.
    baseline : {"mean", "zero"}
        Where the path starts: the mean of the content positions' embeddings at each of them
        (prefix tokens stay as they are), or zeros everywhere. A model that normalises its first
        block's input turns a path from zero into one jump, hence the default.
    n_steps : int
        Points of the path (Gauss-Legendre).
    chunk_size : int, optional
        Inputs in one forward and backward pass; 8 by default.

    Returns
    -------
    ExplanationMaps

    Raises
    ------
    ValueError, TypeError
        As for `ultra_kit.explain`, or for an unknown baseline or fewer than one step.
    UltraError
        If the model cannot run its blocks from given embeddings, or a gradient is not finite.

    Examples
    --------
    >>> import ultra_kit as uk
    >>> cap = uk.capture(uk.load("scenes"), uk.data.scene(0).image)
    >>> uk.baselines.integrated_gradients(cap, layer=1, tokens=[30], n_steps=2)
    ExplanationMaps(1 tokens x 148 positions, layer 1, integrated_gradients, norm, positive)
    """
    from captum.attr import IntegratedGradients

    number, index = cap.layer_index(layer), cap.token_indices(tokens)
    check_rule(rule)
    check_chunk_size(chunk_size)
    if isinstance(n_steps, bool) or not isinstance(n_steps, (int, np.integer)) or n_steps < 1:
        raise ValueError(f"n_steps must be an int of at least 1, got {n_steps!r}")
    reading = make_score(cap, len(index), score, towards, transform)
    x = cap.latents[0].detach()
    start = _path_start(cap, baseline)
    positions = torch.as_tensor(index, device=x.device)

    def f(embeddings: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        z = _rerun(cap, embeddings, number)
        return reading.function(z[torch.arange(len(rows), device=rows.device), positions[rows]], rows)

    at_once = int(chunk_size or _EXAMPLES_AT_ONCE)
    method, chunk, done = IntegratedGradients(f), max(1, at_once // n_steps), []
    with reporting(progress, len(index)) as report:
        for rows in torch.arange(len(index), device=x.device).split(chunk):
            shape = (len(rows), *x.shape)
            found = method.attribute(
                x.expand(shape),
                start.expand(shape),
                additional_forward_args=(rows,),
                n_steps=int(n_steps),
                internal_batch_size=None if at_once >= n_steps else at_once,
            )
            done.append(found.detach().sum(-1))
            report(len(rows))
    name = "integrated_gradients"
    return _signed_maps(
        cap,
        torch.cat(done),
        index,
        number,
        name,
        reading.name,
        rule,
        towards,
        transform,
        baseline=baseline,
        n_steps=int(n_steps),
    )


def _rerun(cap: Capture, embeddings: torch.Tensor, layer: int) -> torch.Tensor:
    """Latents (B, N, D) of a layer from layer-0 tokens (B, N, D)."""
    if layer == 0:
        return embeddings
    run = getattr(cap.model, "run_from", None)
    if run is None:
        raise UltraError(
            f"{type(cap.model).__name__} cannot run its blocks from other embeddings: it has no run_from(); "
            "use a baseline that needs none (raw_attention, rollout, cosine)"
        )
    return run(dict(cap.inputs), embeddings, layer)


def _path_start(cap: Capture, baseline: str) -> torch.Tensor:
    x = cap.latents[0].detach()
    if baseline == "zero":
        return torch.zeros_like(x)
    if baseline != "mean":
        raise ValueError(f"baseline must be 'mean' or 'zero', got {baseline!r}")
    start = x.clone()
    start[cap.layout.n_prefix :] = x[cap.layout.n_prefix :].mean(0)
    return start


def _signed_maps(
    cap: Capture,
    contributions: torch.Tensor,
    index: np.ndarray,
    layer: int,
    method: str,
    score: str,
    rule: str,
    towards: Any,
    transform: Any,
    **options: Any,
) -> ExplanationMaps:
    if not torch.isfinite(contributions).all():
        raise UltraError(
            f"a gradient of {method} is not finite; run the model in float32, and look for NaN in the input"
        )
    return make_maps(
        cap,
        keep_sign_(contributions, rule).float().cpu().numpy(),
        index,
        layer,
        method=method,
        score=score,
        rule=rule,
        towards=fingerprint(towards),
        transform=fingerprint(getattr(transform, "matrix", transform)),
        **options,
    )
