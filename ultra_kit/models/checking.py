"""What is supported, in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from ..types import AttentionStep, Backbone, Layout, UltraError
from ..types.torch_modes import plain_torch
from .hooks_and_flags import hooked
from .loading import load
from .recorder import first_of
from .text_image_backbone import TextAligned

FLAT_NORM = 0.1
"""Below this share of what a random direction gets, ||z|| hardly depends on the attention."""

_DIRECTIONS, _STEP, _APART = 3, 0.002, 0.1
"""Random directions of layer 0, the step along them as a share of each token's size, and how far derivatives may be apart."""
_SAME = 1e-3
"""The share of the largest value up to which two latents or maps count as the same."""
_SHARE = 0.2
"""A patch's own token moves at least by this share of what the token that moves most does."""


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


@plain_torch()
def check(model: Backbone | nn.Module) -> Report:
    """Say in words what a model supports, after trying it.

    A second forward pass must give the same; of an image, a changed patch in each corner, at an edge and in the middle must
    move the token that stands for it; and what each block adds must have the derivative of finite differences.

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
        said = _look_at_patches(model, inputs, layout, latents, steps)
        _compare_derivatives(model, inputs, latents)
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
        "every attention map has a finite gradient, and every block's derivative is that of finite differences",
        f"scores: norm, sum, energy, towards=vector{'' if model.head(latents[-1]) is None else ', head'}",
    ]
    lines += said
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


def _far(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two tensors differ by more than rounding."""
    return bool((a - b).abs().max() > _SAME * b.abs().max())


def _look_at_patches(
    model: Any, inputs: Any, layout: Layout, latents: list[torch.Tensor], steps: list[AttentionStep]
) -> list[str]:
    """Run again: the same must come out. Change patches of an image: their own tokens of layer 0 must move."""
    start, again = latents[0].detach(), model.run(inputs)[0]
    if any(_far(a, b) for a, b in zip(again, latents, strict=True)):
        raise UltraError(
            "two passes of one input must give the same, and the latents differ: the model draws at random (masked or "
            "shuffled patches, dropout of its own); switch that off"
        )
    if layout.grid is None or "pixel_values" not in inputs:
        return []
    (h, w), most, pixels = layout.grid, 0.0, inputs["pixel_values"]
    size = getattr(getattr(model, "transform", None), "seen", None) or pixels.shape[-2:]
    noise = torch.from_numpy(np.random.default_rng(0).standard_normal(pixels.shape)).to(pixels)
    for row, column in dict.fromkeys(
        [(0, 0), (0, w - 1), (h - 1, 0), (h - 1, w - 1), (0, w // 2), (h // 2, w // 2)]
    ):
        changed, token = pixels.clone(), layout.n_prefix + row * w + column
        rows, columns = (
            slice(k * of // n, max(k * of // n + 1, (k + 1) * of // n))
            for k, of, n in zip((row, column), size, (h, w), strict=True)
        )
        changed[..., rows, columns] += noise[..., rows, columns]
        moved, after = model.run({**inputs, "pixel_values": changed})
        distance = (moved[0].detach() - start).norm(dim=-1)
        furthest = int(distance.argmax())
        away = [abs(a - b) for a, b in zip(divmod(furthest - layout.n_prefix, w), (row, column), strict=True)]
        # Convolutions before the blocks may move a neighbour more.
        if not distance[token] > _SHARE * distance.max() or furthest < layout.n_prefix or max(away) > 1:
            what = f"token {furthest} moves most" if distance.max() > 0 else "no token moves"
            raise UltraError(
                f"when the patch in row {row}, column {column} of {h} x {w} changes, token {token} of layer 0 must move, and "
                f"{what}: the grid is transposed, the patches are shuffled, or the prefix tokens do not come "
                "first; see grid= and n_prefix= of load"
            )
        share = float(distance[torch.arange(len(distance)) != token].max() / distance[token])
        most = max(most, share)
        if share < _SAME:
            _look_at_keys(steps[0], after[0], token)
    seen = "and no other" if most < _SAME else f"and others by up to {most:.0%} of it, which see it too"
    return [f"a changed patch moves its own token of layer 0 {seen}"]


def _look_at_keys(before: AttentionStep, after: AttentionStep, token: int) -> None:
    """Where one token changed, the other rows of the first map must change in its column alone, but for their sum of 1."""
    rest = torch.arange(before.weights.shape[-1]) != token
    rows = [step.weights.detach()[:, rest][..., rest].double() for step in (before, after)]
    sums = [r.sum(-1, keepdim=True) for r in rows]
    enough = (torch.minimum(*sums) > 0.1)[..., 0]  # else what is left is rounding
    was, now = ((r / s)[enough] for r, s in zip(rows, sums, strict=True))
    if enough.any() and _far(now, was):
        raise UltraError(
            f"the attention of {before.name} must be of tokens to tokens: token {token} alone changed, and how the others "
            "look at one another did too; it is over channels, or depends on the whole input"
        )


def _compare_derivatives(model: Any, inputs: Any, latents: list[torch.Tensor]) -> None:
    """Refuse a block of which a part passes no gradient, or another: its derivative is not that of finite differences.

    What a block adds to its input is watched, along `_DIRECTIONS` of layer 0; where rounding hides the differences
    (two step sizes don't agree), nothing is said.
    """
    if not hasattr(model, "run_from") or latents[0].dtype not in (torch.float32, torch.float64):
        return
    start, rng = latents[0].detach(), np.random.default_rng(0)

    def drawn() -> torch.Tensor:
        return torch.from_numpy(rng.standard_normal(start.shape)).to(start)

    # In proportion to each token: behind a norm, a class token of zeros is a place where nothing is smooth.
    ways = [drawn() * start.square().mean(1, keepdim=True).sqrt() for _ in range(_DIRECTIONS)]
    passes = {
        (w, t): _all_layers(model, inputs, start + t * _STEP * way, len(latents) - 1)
        for w, way in enumerate(ways)
        for t in (-2, -1, 1, 2)
    }
    for layer in range(1, len(latents)):
        upstream = drawn()
        added = (upstream * (latents[layer] - latents[layer - 1])).sum()
        (gradient,) = torch.autograd.grad(added, latents[0], retain_graph=True)
        by_graph = np.array([float((gradient * way).sum()) for way in ways])
        g = {key: float((upstream * (z[layer] - z[layer - 1])).sum()) for key, z in passes.items()}
        near, far = (
            np.array([(g[w, t] - g[w, -t]) / (2 * t * _STEP) for w in range(_DIRECTIONS)]) for t in (1, 2)
        )
        best = (4 * near - far) / 3  # without the error of the step's second order
        rounding = 30 * torch.finfo(start.dtype).eps * float(latents[layer].detach().norm()) / _STEP
        doubt = max(
            min(3 * float(np.linalg.norm(near - far)), rounding), _APART * float(np.linalg.norm(best))
        )
        if np.linalg.norm(best - by_graph) > doubt:
            raise UltraError(
                f"the derivative of what block {layer} adds must be that of finite differences, {best[0]:.3g} along a "
                f"random direction, and is {by_graph[0]:.3g}: a part of the block passes no gradient, or another than "
                "its own (no_grad, detach, quantised layers, rounding)"
            )


@torch.no_grad()
def _all_layers(model: Any, inputs: Any, z: torch.Tensor, depth: int) -> list[torch.Tensor]:
    """Latents (N, D) of layers 0..L from other layer-0 tokens."""
    if getattr(model, "kind", "") == "encoder-decoder" or not hasattr(model, "block_names"):
        return [z, *(model.run_from(inputs, z[None], layer)[0] for layer in range(1, depth + 1))]
    found = [z]
    blocks = [model.module.get_submodule(name) for name in dict.fromkeys(model.block_names)]

    def keep(module: nn.Module, args: tuple, out: Any) -> None:
        found.append(first_of(out).reshape(z.shape))

    with hooked(after=[(block, keep) for block in blocks]):
        model.run_from(inputs, z[None], depth)
    return found
