"""One forward pass of one input, kept with its autograd graph."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ..models.loading import load
from ..types import Backbone, Capture
from ..types.provenance import input_hash

__all__ = ["Capture", "capture"]


def capture(model: Backbone | nn.Module, x: Any) -> Capture:
    """Run a model once with explicit attention and keep latents, attention maps and graph.

    The model comes back exactly as it was: no hook, no changed mode, flag or gradient.

    Parameters
    ----------
    model : Backbone or nn.Module
        From `ultra_kit.load`; a module of timm or transformers is wrapped on the way.
    x : str, Path, PIL.Image.Image, ndarray of shape (H, W, 3) and dtype uint8; or str for text models
        The input. For image models a str is a path.

    Returns
    -------
    Capture
        L + 1 latents (N, D), numbered from the embedding (0), the raw output of block k being layer k, and
        one attention step for every block.

    Raises
    ------
    UltraError
        If the model has not one global attention in every block (`ultra_kit.check` says more).
    ValueError, TypeError
        For an input that can't be read, or a module whose layout is not known.

    Examples
    --------
    >>> import numpy as np
    >>> import ultra_kit as uk
    >>> cap = uk.capture(uk.load("scenes", pretrained=False), np.zeros((120, 90, 3), np.uint8))
    >>> cap.layout.grid, cap.layout.size, cap.attention(1).shape
    ((12, 12), (120, 90), (4, 148, 148))
    """
    backbone = load(model)
    # The graph must hold ordinary tensors, also when the caller sits in torch.inference_mode().
    with torch.inference_mode(False):
        inputs, layout, original = backbone.prepare(x)
        latents, steps = backbone.run(inputs)
    card = {
        "model": backbone.card(),
        "input_sha256": input_hash(original),
        "dtype": str(latents[0].dtype).removeprefix("torch."),
        "device": str(latents[0].device),
    }
    return Capture(backbone, layout, original, tuple(latents), tuple(steps), inputs, card)
