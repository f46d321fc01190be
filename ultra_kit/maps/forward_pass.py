"""One forward pass of one input, kept with its autograd graph, or of several without."""

from __future__ import annotations

import ctypes
import os
import warnings
from collections.abc import Callable, Mapping
from contextlib import nullcontext, suppress
from dataclasses import replace
from functools import partial
from typing import Any, overload

import torch
from torch import Tensor, nn

from ..models.half_backward import HalfBackward
from ..models.loading import load
from ..types import AttentionStep, Backbone, Capture
from ..types.checks import one_of
from ..types.provenance import input_hash
from ..types.torch_modes import plain_torch

TOGETHER = 16
"""Images in one forward pass of a list: a GPU gains little from more, and their maps take memory."""


LARGE = 10**9
"""Bytes of attention maps from which memory that was freed between what is held goes back to the system: a fifth of it."""


@overload
def capture(
    model: Backbone | nn.Module, x: list[Any] | tuple[Any, ...], *, dtype: torch.dtype | None = None
) -> list[Capture]: ...
@overload
def capture(model: Backbone | nn.Module, x: Any, *, dtype: torch.dtype | None = None) -> Capture: ...
def capture(
    model: Backbone | nn.Module, x: Any, *, dtype: torch.dtype | None = None
) -> Capture | list[Capture]:
    """Run a model once with explicit attention and keep latents, attention maps and graph.

    The model comes back exactly as it was: no hook, no changed mode, flag or gradient.

    Parameters
    ----------
    model : Backbone or nn.Module
        From `ultra_kit.load`; a module of timm or transformers is wrapped on the way.
    x : str, Path, PIL.Image.Image, ndarray of shape (H, W, 3) and dtype uint8, or a list of these
        The input; a str is a path for an image model, the text itself for a text model. Images of a list that the model
        sees at one size go through it together, at most 16 in a pass.
    dtype : {torch.bfloat16, torch.float16}, optional
        The matrix products of the backward passes in this dtype; the forward pass, and so latents and attention, softmax and all
        sums stay in the model's own: faster on a GPU, and with bfloat16 on a CPU that has instructions for it. The card of
        the maps then says how far they are from those in float64. (TF32 is a switch of torch's own,
        ``torch.set_float32_matmul_precision("high")``; the cards say so where it was on.)

    Returns
    -------
    Capture, or a list of them
        Those of a list hold latents and attention, to rounding what each alone has, and no graph, so that many take little
        memory: what needs one, such as `ultra_kit.explain`, runs that input once more, and gives what it gives for it alone.

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
    if isinstance(x, (list, tuple)):
        if not hasattr(backbone, "run_batch"):
            raise TypeError(
                f"{backbone.name!r} takes one input at a time, a str or a mapping with 'input_ids', got "
                f"{type(x).__name__}: [capture(model, x) for x in list]"
            )
        return _together(backbone, list(map(partial(_not_run, backbone, dtype), x)), dtype)
    cap = _ran(_not_run(backbone, dtype, x).with_graph(), dtype)
    if sum(s.weights.nbytes for s in cap.steps) > LARGE and cap.latents[0].device.type == "cpu":
        with suppress(OSError, AttributeError, TypeError):  # where the C library is another
            ctypes.CDLL(None).malloc_trim(0)
    return cap


def _not_run(backbone: Any, dtype: torch.dtype | None, x: Any) -> Capture:
    """A capture that still lacks its latents and steps."""
    with plain_torch():
        inputs, layout, original = backbone.prepare(x)
    if (doubt := getattr(backbone, "doubt", None)) and (said := doubt(original)):
        warnings.warn(said, stacklevel=3)
    card = {"model": backbone.card(), "input_sha256": input_hash(original)}
    if isinstance(x, (str, os.PathLike)) and layout.modality == "image":
        card["input_name"] = os.path.basename(x)
    alone = partial(_run, backbone.run, dtype, inputs)
    return Capture(backbone, layout, original, (), (), inputs, card, alone)


def _run(run: Callable[..., Any], dtype: torch.dtype | None, inputs: Mapping[str, Tensor], *more: Any) -> Any:
    """Run a model on inputs, its backward passes in a dtype."""
    with plain_torch(), HalfBackward(dtype) if dtype else nullcontext():
        return run(inputs, *more)


def _ran(cap: Capture, dtype: torch.dtype | None) -> Capture:
    """The capture with what it ran in and where on its card."""
    z = cap.latents[0]
    # A module may hold several dtypes, or enter autocast itself: the coarsest says how exact the result is.
    there = {t.dtype for t in (*cap.latents, *(s.context for s in cap.steps if s.context is not None))}
    name = str(dtype or max(there, key=lambda d: torch.finfo(d).eps)).removeprefix("torch.")
    if name == "float32" and z.device.type == "cuda" and torch.backends.cuda.matmul.allow_tf32:
        name = "tf32"
    return replace(cap, card={**cap.card, "dtype": name, "device": str(z.device)})


def _together(backbone: Any, caps: list[Capture], dtype: torch.dtype | None) -> list[Capture]:
    """Run images of one size together, and part what comes out, so that one that goes leaves nothing behind."""
    sizes: dict[Any, list[int]] = {}
    for i, cap in enumerate(caps):
        sizes.setdefault(cap.inputs["pixel_values"].shape, []).append(i)
    for members in sizes.values():
        n = caps[members[0]].layout.n_tokens
        at_once = max(1, min(TOGETHER, n - 1))  # fewer images than tokens tell the axes apart
        for first in range(0, len(members), at_once):
            part = members[first : first + at_once]
            pixels = torch.cat([caps[i].inputs["pixel_values"] for i in part])
            latents, maps = _run(backbone.run_batch, dtype, {"pixel_values": pixels}, n)
            named = list(zip(maps, backbone.block_names, strict=True))
            for b, i in enumerate(part):
                steps = (AttentionStep(a[b].clone(), k, name=name) for k, (a, name) in enumerate(named, 1))
                held = tuple(z[b].clone() for z in latents)
                caps[i] = _ran(replace(caps[i], latents=held, steps=tuple(steps)), dtype)
    return caps
