"""What a map is measured against: simpler answers to the same question, in the same form.

Every function takes a capture and gives `ExplanationMaps` as `ultra_kit.explain` does: row t over
all N positions for token t at a layer, non-negative. `layer` is in 0..L or negative from the end, `tokens` is an int
or a list of ints, every content position by default; what is not there is a ValueError or TypeError.
`randomised` gives the model itself random weights: a method that scores as well there explains the input, not the model.
"""

from __future__ import annotations

import copy
import re
from typing import Any

import numpy as np
import torch
from torch import nn

from ..types import Backbone, Capture, ExplanationMaps, Progress, Tokens, UltraError
from ..types.checks import one_of, whole_number
from ..types.graphs import alone_in
from ..types.progress import reporting
from ..types.torch_modes import plain_torch
from .engine import Request, Upstream, token_gradients
from .explanation import make_maps
from .planning import make_request, place
from .scores import keep_sign_

_LAYER_SCALE = re.compile(r"(^|\.)(gamma(_\d)?|lambda\d?)$")
_EXAMPLES_AT_ONCE = 8


def raw_attention(cap: Capture, *, layer: int | None = None, tokens: Tokens = None) -> ExplanationMaps:
    """Attention of the last block below the latent: row i of the head mean of A_k.

    Rows sum to 1 (but for models with an attention sink outside the sequence); layer 0 gives the token's own position.

    >>> import ultra_kit as uk
    >>> cap = uk.capture(uk.load("scenes"), uk.data.scene(0).image)
    >>> round(float(uk.baselines.raw_attention(cap, tokens=[30]).values.sum()), 4)
    1.0
    """
    number, index = place(cap, layer, tokens)
    mean = cap.attention(number).mean(0) if number else np.eye(cap.layout.n_tokens)
    return make_maps(cap, mean[index], index, number, method="raw_attention")


def rollout(cap: Capture, *, layer: int | None = None, tokens: Tokens = None) -> ExplanationMaps:
    """Attention rollout: row i of the product of ``0.5 I + 0.5 mean_h A_b`` (Abnar and Zuidema, 2020).

    The last block stands leftmost, as in `ultra_kit.explain`; rows sum to 1.
    """
    number, index = place(cap, layer, tokens)
    r = np.eye(cap.layout.n_tokens)[index]
    for step in reversed(cap.steps):
        if step.layer <= number:
            mean = step.weights.detach().double().mean(0).cpu().numpy()
            queries = slice(step.query_start, step.query_start + mean.shape[0])
            half = 0.5 * r[:, queries]
            r[:, queries] -= half
            r[:, step.key_start : step.key_start + mean.shape[1]] += half @ mean
    return make_maps(cap, r, index, number, method="rollout")


def cosine(cap: Capture, *, layer: int | None = None, tokens: Tokens = None) -> ExplanationMaps:
    """Likeness of the latents of one layer: ``(1 + cos(z_i, z_j)) / 2``, which is 1/2 for a latent of zeros.

    Halved and shifted, not clipped at zero, so that the ranking of unlike tokens is kept; a share
    of mass computed from these values is flatter than one of the other methods.
    """
    number, index = place(cap, layer, tokens)
    z = nn.functional.normalize(cap.latents[number].detach().double().cpu(), dim=-1)
    values = (0.5 + 0.5 * z[index] @ z.T).clamp(0, 1).numpy()
    return make_maps(cap, values, index, number, method="cosine")


def random_map(
    cap: Capture, *, layer: int | None = None, tokens: Tokens = None, seed: int = 0
) -> ExplanationMaps:
    """Uniform noise in [0, 1): the metrics of knowing nothing.

    It depends on the `seed` (not negative; give each input its own) and the token, not on the layer or the other tokens.
    """
    number, index = place(cap, layer, tokens)
    n = cap.layout.n_tokens
    values = np.stack([np.random.default_rng([seed, int(token)]).random(n) for token in index])
    return make_maps(cap, values, index, number, method="random", seed=seed)


@plain_torch()
def gradient_x_input(
    cap: Capture,
    *,
    layer: int | None = None,
    tokens: Tokens = None,
    score: str | None = None,
    rule: str | None = None,
    towards: Any = None,
    transform: Any = None,
    chunk_size: int | None = None,
    progress: bool | Progress | None = None,
) -> ExplanationMaps:
    """Gradient x input on the layer-0 tokens: ``<df/dz_j^(0), z_j^(0)>``, summed over the width.

    The `rule` is applied after that sum; all other options are those of `ultra_kit.explain`. An UltraError if the
    capture's graph does not reach back to layer 0, or a gradient is not finite.
    """
    request = make_request(cap, *place(cap, layer, tokens), score, rule, towards, transform, 0, chunk_size)
    x, z, rows = request.cap.latents[0], request.cap.latents[request.layer], []
    index = torch.as_tensor(request.tokens, device=z.device)
    with reporting(progress, len(index), f"gradient x input, layer {request.layer}") as report:
        for part in torch.arange(len(index)).split(request.chunk_size):
            g = None
            if x.requires_grad and z.requires_grad:
                with alone_in(cap):
                    (g,) = token_gradients([Upstream(z, request.upstream[part])], [x], index[part])
            if g is None:
                raise UltraError(
                    f"the latents of layer {request.layer} do not depend on latents[0] in the capture's graph; "
                    "make the capture with ultra_kit.capture"
                )
            rows.append((g * x.detach()).sum(-1))
            report(len(part))
    return _signed_maps(request, torch.cat(rows), "gradient_x_input")


@plain_torch()
def integrated_gradients(
    cap: Capture,
    *,
    layer: int | None = None,
    tokens: Tokens = None,
    score: str | None = None,
    rule: str | None = None,
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

    baseline : {"mean", "zero"}
        Where the path starts: the mean of the content positions' embeddings at each of them
        (prefix tokens stay as they are), or zeros everywhere. A model that normalises its first
        block's input turns a path from zero into one jump, hence the default.
    n_steps : int
        Points of the path (Gauss-Legendre).
    chunk_size : int, optional
        Inputs in one forward and backward pass; 8 by default.

    All other options as for `gradient_x_input`. An UltraError if the model cannot run its blocks from given
    embeddings, or a gradient is not finite.

    >>> import ultra_kit as uk
    >>> cap = uk.capture(uk.load("scenes"), uk.data.scene(0).image)
    >>> uk.baselines.integrated_gradients(cap, layer=1, tokens=[30], n_steps=2)
    ExplanationMaps(1 token x 148 positions, layer 1, integrated_gradients, norm, positive)
    """
    from captum.attr import IntegratedGradients

    one_of("baseline", baseline, ("mean", "zero"))
    n_steps = whole_number("n_steps", n_steps, 1)
    request = make_request(cap, *place(cap, layer, tokens), score, rule, towards, transform, 0, chunk_size)
    x, first = cap.latents[0].detach(), cap.layout.n_prefix
    mean = torch.cat([x[:first], x[first:].mean(0).expand_as(x[first:])])
    start = mean if baseline == "mean" else torch.zeros_like(x)
    positions = torch.as_tensor(request.tokens, device=x.device)

    def f(embeddings: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        z = cap.rerun(embeddings, request.layer)
        return request.score.function(z[torch.arange(len(rows), device=rows.device), positions[rows]], rows)

    at_once = int(chunk_size or _EXAMPLES_AT_ONCE)
    method, chunk, done = IntegratedGradients(f), max(1, at_once // n_steps), []
    with reporting(progress, len(positions), f"integrated gradients, layer {request.layer}") as report:
        for rows in torch.arange(len(positions), device=x.device).split(chunk):
            found = method.attribute(
                x.expand(len(rows), *x.shape),
                start.expand(len(rows), *x.shape),
                additional_forward_args=(rows,),
                n_steps=n_steps,
                internal_batch_size=None if at_once >= n_steps else at_once,
            )
            done.append(found.detach().sum(-1))
            report(len(rows))
    return _signed_maps(request, torch.cat(done), "integrated_gradients", baseline=baseline, n_steps=n_steps)


def randomised(model: Backbone, seed: int = 0) -> Backbone:
    """Copy a model and give the copy random weights, for the sanity check of Adebayo et al. (2018).

    Modules that can reset their parameters do so; parameters outside such modules (position
    embeddings, class tokens) are drawn from a normal distribution of standard deviation 0.02.
    LayerScale factors become 1: their usual start of 1e-5 would let every gradient vanish.

    The copy is of the same class, on the same device and in the same mode; the model and the global random state are
    left as they are.
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


def _signed_maps(
    request: Request, contributions: torch.Tensor, method: str, **options: Any
) -> ExplanationMaps:
    """Maps of a request from signed contributions (T, N)."""
    if not torch.isfinite(contributions).all():
        raise UltraError(
            f"a gradient of {method} is not finite; run the model in float32, and look for NaN in the input"
        )
    values = keep_sign_(contributions, request.rule).float().cpu().numpy()
    return make_maps(
        request.cap, values, request.tokens, request.layer, method=method, **request.made, **options
    )
