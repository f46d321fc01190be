"""One forward pass of one input, kept with its autograd graph."""

from __future__ import annotations

import os
import warnings
from typing import Any

import torch
from torch import nn

from ..models.loading import load
from ..types import Backbone, Capture
from ..types.checks import one_of
from ..types.provenance import input_hash


def capture(model: Backbone | nn.Module, x: Any, *, dtype: torch.dtype | None = None) -> Capture:
    """Run a model once with explicit attention and keep latents, attention maps and graph.

    The model comes back exactly as it was: no hook, no changed mode, flag or gradient.

    Parameters
    ----------
    model : Backbone or nn.Module
        From `ultra_kit.load`; a module of timm or transformers is wrapped on the way.
    x : str, Path, PIL.Image.Image, ndarray of shape (H, W, 3) and dtype uint8
        The input; a str is a path for an image model, the text itself for a text model.
    dtype : {torch.bfloat16, torch.float16}, optional
        Matrix products in this dtype, forward and backward (`torch.autocast`), sums along the residual stream in the
        model's own: nearly twice as fast on a GPU, and with bfloat16 on a CPU that has instructions for it. The card of
        the maps then says how far they are from those in float64. (TF32 is a switch of torch's own,
        ``torch.set_float32_matmul_precision("high")``; the cards say so where it was on.)

    Returns
    -------
    Capture

    Raises
    ------
    UltraError, ValueError, TypeError
        For a model without one global attention in every block (`ultra_kit.check` says more), or what cannot be read.

    Warns
    -----
    UserWarning
        If a bundled model gets what it never saw, or a text model a path; it names the model to use.

    Examples
    --------
    >>> import numpy as np
    >>> import ultra_kit as uk
    >>> cap = uk.capture(uk.load("scenes", pretrained=False), np.zeros((120, 90, 3), np.uint8))
    >>> cap.layout.grid, cap.layout.size, cap.attention(1).shape
    ((12, 12), (120, 90), (4, 148, 148))
    """
    one_of("dtype", dtype, (None, torch.bfloat16, torch.float16))
    backbone = load(model)
    # The graph must hold ordinary tensors, also when the caller sits in torch.inference_mode().
    with torch.inference_mode(False):
        inputs, layout, original = backbone.prepare(x)
        if (doubt := getattr(backbone, "doubt", None)) and (said := doubt(original)):
            warnings.warn(said, stacklevel=2)
        where = next(iter(inputs.values())).device
        with torch.autocast(where.type, dtype, enabled=dtype is not None):
            latents, steps = backbone.run(inputs)
    ran = str(dtype or latents[0].dtype).removeprefix("torch.")
    if ran == "float32" and where.type == "cuda" and torch.backends.cuda.matmul.allow_tf32:
        ran = "tf32"
    card = {
        "model": backbone.card(),
        "input_sha256": input_hash(original),
        "dtype": ran,
        "device": str(where),
    }
    if isinstance(x, (str, os.PathLike)) and layout.modality == "image":
        card["input_name"] = os.path.basename(x)
    return Capture(backbone, layout, original, tuple(latents), tuple(steps), inputs, card)
