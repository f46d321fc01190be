"""What a map is measured against: simpler answers to the same question, in the same form.

Every function takes a capture and gives `ExplanationMaps` as `ultra_kit.explain` does: row t over
all N positions for token t at a layer, non-negative. `randomised` gives the model itself random
weights: a method that scores as well there explains the input, not the model.
"""

from __future__ import annotations

import copy
import re

import numpy as np
import torch
from torch import nn

from ..types import Backbone, Capture, ExplanationMaps
from .explanation import make_maps
from .gradient_baselines import Tokens, gradient_x_input, integrated_gradients

__all__ = [
    "cosine",
    "gradient_x_input",
    "integrated_gradients",
    "random_map",
    "randomised",
    "raw_attention",
    "rollout",
]

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
    >>> cap = uk.capture(uk.load("scenes"), uk.data.scene(0).image)
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
    >>> cap = uk.capture(uk.load("scenes"), uk.data.scene(0).image)
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
    >>> cap = uk.capture(uk.load("scenes"), uk.data.scene(0).image)
    >>> round(float(uk.baselines.cosine(cap, tokens=[30]).values[0, 30]), 5)
    1.0
    """
    number, index = cap.layer_index(layer), cap.token_indices(tokens)
    z = cap.latents[number].detach().double().cpu()
    z = nn.functional.normalize(z, dim=-1)
    values = (0.5 + 0.5 * z[index] @ z.T).clamp(0, 1).numpy()
    return make_maps(cap, values, index, number, method="cosine")


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
    >>> cap = uk.capture(uk.load("scenes"), uk.data.scene(0).image)
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
