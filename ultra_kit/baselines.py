"""What a map is measured against: simpler answers to the same question, in the same form.

Every function takes a capture and gives `ExplanationMaps` as `ultra_kit.explain` does: row t over
all N positions for token t at a layer, non-negative. `randomised` gives the model itself random
weights: a method that scores as well there explains the input, not the model.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from .relevance import check_chunk_size, make_maps, reporting, seed_gradients
from .scores import check_rule, fingerprint, keep_sign_, make_score
from .types import Backbone, Capture, ExplanationMaps, Progress, UltraError

Tokens = int | Sequence[int] | np.ndarray | None

_EXAMPLES_AT_ONCE = 8
_LAYER_SCALE = re.compile(r"(^|\.)(gamma(_\d)?|lambda\d?)$")


def raw_attention(cap: Capture, *, layer: int = -1, tokens: Tokens = None) -> ExplanationMaps:
    """Attention of the last block below the latent: row i of the head mean of A_k.

    Parameters
    ----------
    cap : Capture
    layer : int
        0..L or negative from the end; layer 0 gives the token's own position.
    tokens : int or sequence of int, optional
        Every content position by default.

    Returns
    -------
    ExplanationMaps
        Rows sum to 1 (but for models with an attention sink outside the sequence).

    Raises
    ------
    ValueError, TypeError
        For a layer or token that is not there.

    Examples
    --------
    >>> import ultra_kit as uk
    >>> cap = uk.capture(uk.load("scenes"), uk.synthetic.scene(0).image)
    >>> maps = uk.baselines.raw_attention(cap, tokens=[30])
    >>> round(float(maps.values.sum()), 4)
    1.0
    """
    number, index = cap.layer_index(layer), cap.token_indices(tokens)
    if number == 0:
        return make_maps(cap, _own(cap, index), index, 0, method="raw_attention")
    values = np.zeros((len(index), cap.layout.n_tokens))
    for step in cap.steps:
        if step.layer == number:
            mean = step.weights.detach().double().mean(0).cpu().numpy()
            query = index - step.query_start
            rows = np.flatnonzero((query >= 0) & (query < mean.shape[0]))
            values[rows, step.key_start : step.key_start + mean.shape[1]] += mean[query[rows]]
    return make_maps(cap, values, index, number, method="raw_attention")


def rollout(cap: Capture, *, layer: int = -1, tokens: Tokens = None) -> ExplanationMaps:
    """Attention rollout: row i of the product of ``0.5 I + 0.5 mean_h A_b`` (Abnar and Zuidema, 2020).

    The last block stands leftmost, as in `ultra_kit.explain`.

    Parameters
    ----------
    cap : Capture
    layer : int
        0..L or negative from the end.
    tokens : int or sequence of int, optional
        Every content position by default.

    Returns
    -------
    ExplanationMaps
        Rows sum to 1.

    Raises
    ------
    ValueError, TypeError
        For a layer or token that is not there.

    Examples
    --------
    >>> import ultra_kit as uk
    >>> cap = uk.capture(uk.load("scenes"), uk.synthetic.scene(0).image)
    >>> bool(uk.baselines.rollout(cap, layer=2, tokens=[30]).values[0, 30] > 0.25)
    True
    """
    number, index = cap.layer_index(layer), cap.token_indices(tokens)
    r = _own(cap, index)
    for step in reversed(cap.steps):
        if step.layer <= number:
            mean = step.weights.detach().double().mean(0).cpu().numpy()
            queries = slice(step.query_start, step.query_start + mean.shape[0])
            half = 0.5 * r[:, queries]
            r[:, queries] -= half
            r[:, step.key_start : step.key_start + mean.shape[1]] += half @ mean
    return make_maps(cap, r, index, number, method="rollout")


def cosine(cap: Capture, *, layer: int = -1, tokens: Tokens = None) -> ExplanationMaps:
    """Likeness of the latents of one layer: ``(1 + cos(z_i, z_j)) / 2``.

    Halved and shifted, not clipped at zero, so that the ranking of unlike tokens is kept; a share
    of mass computed from these values is flatter than one of the other methods.

    Parameters
    ----------
    cap : Capture
    layer : int
        0..L or negative from the end.
    tokens : int or sequence of int, optional
        Every content position by default.

    Returns
    -------
    ExplanationMaps
        Values in [0, 1]; 1/2 for a latent of zeros.

    Raises
    ------
    ValueError, TypeError
        For a layer or token that is not there.

    Examples
    --------
    >>> import ultra_kit as uk
    >>> cap = uk.capture(uk.load("scenes"), uk.synthetic.scene(0).image)
    >>> round(float(uk.baselines.cosine(cap, tokens=[30]).values[0, 30]), 5)
    1.0
    """
    number, index = cap.layer_index(layer), cap.token_indices(tokens)
    z = cap.latents[number].detach().double().cpu()
    z = nn.functional.normalize(z, dim=-1)
    values = (0.5 + 0.5 * z[index] @ z.T).clamp(0, 1).numpy()
    return make_maps(cap, values, index, number, method="cosine")


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
    >>> cap = uk.capture(uk.load("scenes"), uk.synthetic.scene(0).image)
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
    cap : Capture
    layer, tokens, score, towards, transform
        As for `ultra_kit.explain`.
    rule : {"positive", "negative", "absolute"}
        Which sign of a position's contribution is kept; it is applied after the sum over the width.
    baseline : {"mean", "zero"}
        Where the path starts: the mean of the content positions' embeddings at each of them
        (prefix tokens stay as they are), or zeros everywhere. A model that normalises its first
        block's input turns a path from zero into one jump, hence the default.
    n_steps : int
        Points of the path (Gauss-Legendre).
    chunk_size : int, optional
        Inputs in one forward and backward pass; 8 by default.
    progress : bool or callable, optional

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
    >>> cap = uk.capture(uk.load("scenes"), uk.synthetic.scene(0).image)
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


def random_map(cap: Capture, *, layer: int = -1, tokens: Tokens = None, seed: int = 0) -> ExplanationMaps:
    """Uniform noise in [0, 1): the score of knowing nothing.

    Parameters
    ----------
    cap : Capture
    layer : int
        Names the layer of the result; the noise does not depend on it.
    tokens : int or sequence of int, optional
        Every content position by default. A token's noise does not depend on the others asked for.
    seed : int
        Not negative; give each input its own.

    Returns
    -------
    ExplanationMaps

    Raises
    ------
    ValueError, TypeError
        For a layer or token that is not there, or a negative seed.

    Examples
    --------
    >>> import ultra_kit as uk
    >>> cap = uk.capture(uk.load("scenes"), uk.synthetic.scene(0).image)
    >>> one, two = (uk.baselines.random_map(cap, tokens=[30], seed=s).values for s in (1, 2))
    >>> bool((one != two).all())
    True
    """
    number, index = cap.layer_index(layer), cap.token_indices(tokens)
    n = cap.layout.n_tokens
    values = np.stack([np.random.default_rng([seed, int(token)]).random(n) for token in index])
    return make_maps(cap, values, index, number, method="random", seed=seed)


def randomised(model: Backbone, seed: int = 0) -> Backbone:
    """Copy a model and give the copy random weights, for the sanity check of Adebayo et al. (2018).

    Modules that can reset their parameters do so; parameters outside such modules (position
    embeddings, class tokens) are drawn from a normal distribution of standard deviation 0.02.
    LayerScale factors become 1: their usual start of 1e-5 would let every gradient vanish.

    Parameters
    ----------
    model : Backbone
        It is left as it is, and so is the global random state.
    seed : int

    Returns
    -------
    Backbone
        Of the same class, its module on the same device and in the same mode.

    Examples
    --------
    >>> import ultra_kit as uk
    >>> model = uk.load("scenes")
    >>> uk.baselines.randomised(model, seed=1).module is model.module
    False
    """
    twin = copy.deepcopy(model)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        for module in twin.module.modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()
                continue
            for parameter in module.parameters(recurse=False):
                if parameter.is_floating_point():
                    parameter.normal_(std=0.02)
        for name, parameter in twin.module.named_parameters():
            if _LAYER_SCALE.search(name):
                parameter.fill_(1.0)
    return twin


def _own(cap: Capture, index: np.ndarray) -> np.ndarray:
    """Ones at the tokens' own positions: (T, N)."""
    return np.eye(cap.layout.n_tokens)[index]


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
