"""What is supported, in words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ..types import AttentionStep, Backbone, Layout, UltraError
from ..types.torch_modes import plain_torch
from .hooks_and_flags import hooked
from .loading import load
from .recorder import first_of
from .text_backbone import SEQUENCES
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

    A second forward pass must give the same; a changed patch of an image (in each corner, at an edge and in the middle) or token
    of a text (at the start, in the middle and at the end) must move the token that stands for it, and in a causal model none
    before it; and what each block adds must have the derivative of finite differences.

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
        said = _look_at_places(model, inputs, layout, latents, steps)
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


def _probe(model: Any) -> Any:
    """An input without structure, always the same; of a text model without a tokenizer token ids, of a decoder its own too."""
    if model.modality != "text":
        return np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    text, kind = "The quick brown fox jumps over the lazy dog.", getattr(model, "kind", None)
    if kind is None or (model.tokenizer is not None and kind != "encoder-decoder"):
        return text
    size = model.module.config.vocab_size
    ids = list(range(size)[-10:]) if model.tokenizer is None else model.tokenizer(text)["input_ids"]
    more = {"decoder_input_ids": [model.decoder_start, *ids]} if kind == "encoder-decoder" else {}
    return {"input_ids": ids, **more}


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


def _look_at_places(
    model: Any, inputs: Any, layout: Layout, latents: list[torch.Tensor], steps: list[AttentionStep]
) -> list[str]:
    """Run again: the same must come out. Change patches or tokens: their own tokens of layer 0 must move, and none before them."""
    start, again = latents[0].detach(), model.run(inputs)[0]
    if any(_far(a, b) for a, b in zip(again, latents, strict=True)):
        raise UltraError(
            "two passes of one input must give the same, and the latents differ: the model draws at random (masked or "
            "shuffled patches, dropout of its own); switch that off"
        )
    most = -1.0
    for changed, token, place, causal in _changes(model, inputs, layout):
        moved, after = model.run(changed)
        share = _share_of_others((moved[0].detach() - start).norm(dim=-1), token, place, layout)
        most = max(most, share)
        if share < _SAME:
            _look_at_keys(steps[0], after[0], token)
        for layer, (was, now) in enumerate(zip(latents, moved, strict=True)):
            if causal and token and _far(now[:token], was[:token]):
                what = f"when {place} changes, a token before it moves at layer {layer}"
                raise UltraError(f"a model that writes must look back only, and {what}")
    seen = "and no other" if most < _SAME else f"and others by up to {most:.0%} of it, which see it too"
    part = "patch" if layout.grid else "token"
    return [f"a changed {part} moves its own token of layer 0 {seen}"] if most >= 0 else []


def _changes(model: Any, inputs: Any, layout: Layout) -> Iterator[tuple[dict[str, Any], int, str, bool]]:
    """Inputs of which one place is changed, the token that stands for it, the place in words, and whether nothing may look ahead."""
    if layout.grid is not None and "pixel_values" in inputs:
        (h, w), pixels = layout.grid, inputs["pixel_values"]
        size = getattr(getattr(model, "transform", None), "seen", None) or pixels.shape[-2:]
        noise = torch.from_numpy(np.random.default_rng(0).standard_normal(pixels.shape)).to(pixels)
        places = [(0, 0), (0, w - 1), (h - 1, 0), (h - 1, w - 1), (0, w // 2), (h // 2, w // 2)]
        for row, column in dict.fromkeys(places):
            changed, cell = pixels.clone(), torch.zeros(1, 1, h, w)
            cell[..., row, column] = 1
            seen = (..., slice(size[0]), slice(size[1]))
            changed[seen] += noise[seen] * F.interpolate(cell, tuple(size)).to(pixels)  # of the nearest cell
            place = f"the patch in row {row}, column {column} of {h} x {w}"
            yield {**inputs, "pixel_values": changed}, layout.n_prefix + row * w + column, place, False
    before, causal = 0, getattr(model, "kind", "") == "causal"
    for key in SEQUENCES if layout.grid is None else ():
        ids = inputs.get(key, torch.empty(1, 0))[0]
        first = 0 if before else layout.n_prefix
        for at in sorted({first, (first + len(ids)) // 2, len(ids) - 1} & set(range(len(ids)))):
            if len(others := ids[ids != ids[at]]):
                changed = ids.clone()
                changed[at] = others[len(others) // 2]
                place = f"token {at} of {key}"
                yield {**inputs, key: changed[None]}, before + at, place, causal or before > 0
        before += len(ids)


def _share_of_others(distance: torch.Tensor, token: int, place: str, layout: Layout) -> float:
    """How far other tokens of layer 0 moved, as a share of how far the one did that stands for a changed place; it must move most."""
    furthest, rest = int(distance.argmax()), torch.arange(len(distance)) != token
    share = float(distance[rest].max() / distance[token])
    if layout.grid is None:
        fits, why = (
            share < _SAME,
            "the model shifts, turns round, shuffles or mixes its tokens before its blocks",
        )
    else:
        to, at = (divmod(n - layout.n_prefix, layout.grid[1]) for n in (furthest, token))
        away = max(abs(a - b) for a, b in zip(to, at, strict=True))  # convolutions may move a neighbour more
        fits = share < 1 / _SHARE and furthest >= layout.n_prefix and away <= 1
        why = "the grid is transposed, the patches are shuffled, or the prefix tokens do not come first; see grid= and n_prefix= of load"
    if not fits:
        most = "others move too" if furthest == token else f"token {furthest} moves most"
        what = most if distance.max() > 0 else "no token moves"
        raise UltraError(f"when {place} changes, token {token} of layer 0 must move, and {what}: {why}")
    return share


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
