"""One forward pass of one input, kept with its autograd graph."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ..models.loading import load
from ..types import Backbone, Capture
from ..types.provenance import input_hash


def capture(model: Backbone | nn.Module, x: Any) -> Capture:
    """Run a model once with explicit attention and keep latents, attention maps and graph.

    The model comes back exactly as it was: no hook, no changed mode, flag or gradient.

    Parameters
    ----------
    model : Backbone or nn.Module
        From `ultra_kit.load`; a module of timm or transformers is wrapped on the way.
    x : str, Path, PIL.Image.Image, ndarray of shape (H, W, 3) and dtype uint8
        The input; a str is a path for an image model, the text itself for a text model.

    Returns
    -------
    Capture

    Raises
    ------
    UltraError, ValueError, TypeError
        For a model without one global attention in every block (`ultra_kit.check` says more), or what cannot be read.

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
