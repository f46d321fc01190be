"""What is supported, in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from ..types import Backbone, UltraError
from .loading import load
from .text_image_backbone import TextAligned

FLAT_NORM = 0.1
"""Below this share of what a random direction gets, ||z|| hardly depends on the attention."""


@dataclass(frozen=True, repr=False)
class Report:
    """The answer of `ultra_kit.check`; print it.

    Attributes
    ----------
    supported : bool
    lines : tuple of str
        What was seen, or why the model is refused.
    flat_norm : bool
        Whether ||z|| of the last layer is nearly constant, so that the score "norm" says little.
    """

    supported: bool
    lines: tuple[str, ...]
    flat_norm: bool = False

    def __str__(self) -> str:
        return "\n".join(self.lines)

    __repr__ = __str__

    def __bool__(self) -> bool:
        return self.supported


def check(model: Backbone | nn.Module) -> Report:
    """Say in words what a model supports, after one forward pass and one gradient.

    Parameters
    ----------
    model : Backbone or nn.Module
        What `ultra_kit.load` takes.

    Returns
    -------
    Report
        True in a condition if the model is supported.

    Examples
    --------
    >>> from ultra_kit.models import load
    >>> report = check(load("scenes", pretrained=False))
    >>> report.supported
    True
    >>> print(report.lines[1])
    5 blocks, each with one attention map of 4 heads x 148 x 148
    """
    try:
        model = load(model)
        inputs, layout, _ = model.prepare(_probe(model))
        latents, steps = model.run(inputs)
        shares = _gradients(latents, steps)
    except (UltraError, TypeError, ValueError) as e:
        return Report(False, (f"Not supported: {e}",))
    except Exception as e:  # a foreign model may raise anything; the report must say it, not hide it
        return Report(False, (f"Not supported: its forward or backward pass raised {type(e).__name__}: {e}",))
    flat = shares["norm"] < FLAT_NORM * shares["direction"]
    heads = " or ".join(str(h) for h in sorted({s.weights.shape[0] for s in steps}))
    (n, width), grid = latents[0].shape, layout.grid
    content = f"{grid[0]} x {grid[1]} patches in raster order" if grid else f"{n - layout.n_prefix} of text"
    lines = [
        f"Supported: {model.name} ({type(model.module).__name__})",
        f"{len(steps)} blocks, each with one attention map of {heads} heads x {n} x {n}",
        f"{n} tokens of width {width}: {layout.n_prefix} prefix + {content}",
        "every attention map has a finite gradient",
        f"scores: norm, sum, energy, towards=vector{'' if model.head(latents[-1]) is None else ', head'}",
    ]
    if isinstance(model, TextAligned):
        lines.append(
            "reads texts into the space of its patches: encode_text(texts), zero_shot(texts) for a head"
        )
    if flat:
        lines.append(
            "||z|| of the last layer is nearly constant (a norm closes the block), so score 'norm' says little: "
            "use towards=vector or score 'head'"
        )
    return Report(True, tuple(lines), flat)


def _probe(model: Backbone) -> Any:
    """An input without structure, always the same."""
    if model.modality == "text":
        return "The quick brown fox jumps over the lazy dog."
    return np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)


def _gradients(latents: list[torch.Tensor], steps: list) -> dict[str, float]:
    """How strongly ||z|| and a random direction of the last latent depend on the attention maps, per unit of each."""
    z = latents[-1][-1]
    direction = torch.from_numpy(np.random.default_rng(0).standard_normal(len(z))).to(z)
    shares = {}
    for name, value in (("norm", z.norm()), ("direction", z @ direction / direction.norm())):
        found = torch.autograd.grad(value, [s.weights for s in steps], retain_graph=True, allow_unused=True)
        for step, g in zip(steps, found, strict=True):
            if g is None or not g.isfinite().all():
                what = "no gradient" if g is None else "a gradient that is not finite"
                raise UltraError(f"every attention map must have a finite gradient; {step.name} has {what}")
        shares[name] = float(
            sum((g * s.weights).detach().abs().sum() for g, s in zip(found, steps, strict=True))
        )
    return shares
