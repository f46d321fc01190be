"""The self-consistency loss L_sc: what it compares, and with what."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from ..maps.baselines import raw_attention, rollout
from ..maps.scores import keep_sign_
from ..types import Capture

AFFINITIES = ("latent", "clipped", "below", "rollout", "attention")
LOSSES = ("weighted", "contrast")
_TEMPERATURE = 0.1


def self_consistency(
    maps: torch.Tensor, affinity: torch.Tensor, *, loss: str = "weighted", metric: str = "cosine"
) -> torch.Tensor:
    """L_sc of one image's maps (T, M), own positions replaced, for affinities (T, T); see `ultra_kit.train_transform`.

    Two pairs of tokens, each pair alike in map and affinity; then all maps equal:

    >>> a = torch.tensor([[1.0, 0], [0, 1]]).repeat(2, 1)
    >>> like = a @ a.T
    >>> round(float(self_consistency(a, like)), 3), abs(round(float(self_consistency(a * 0 + 1, like)), 3))
    (-0.451, 0.0)
    """
    off = ~torch.eye(len(maps), dtype=torch.bool, device=maps.device)
    if metric == "hellinger":  # a little on every patch: at 0 the slope of the root has no bound
        maps = (F.normalize(maps, p=1, dim=-1) + 1e-6).sqrt()
    unit = F.normalize(maps, dim=-1)
    alike = unit @ unit.T
    if loss == "weighted":
        a = affinity[off]
        return -((a - a.mean()) / a.std().clamp_min(1e-6) * alike[off]).mean()
    n = len(maps)
    said = (alike[off].view(n, n - 1) / _TEMPERATURE).log_softmax(1)
    wanted = (affinity[off].view(n, n - 1) / _TEMPERATURE).softmax(1)
    return -(wanted * said).sum(1).mean()


def first_steps(cap: Capture, layer: int, matrix: torch.Tensor, rule: str) -> torch.Tensor:
    """The first step of every patch token's map, row i of C_k - 1, in the graph of W: (M, M) over the M patches.

    A latent of layer k depends on the attention of block k through its own row alone, so one backward pass with the
    upstream gradients of ||W z|| for all tokens gives every token's row. Own positions are replaced.
    """
    first = cap.layout.n_prefix
    z = cap.latents[layer]
    step = next(s for s in cap.steps if s.layer == layer)
    y = z.detach()[first:] @ matrix.T
    upstream = F.pad(F.normalize(y, dim=-1) @ matrix, (0, 0, first, 0))
    (gradient,) = torch.autograd.grad(
        z, step.weights, upstream, retain_graph=True, create_graph=matrix.requires_grad
    )
    maps = keep_sign_(step.weights.detach() * gradient, rule).mean(0)[first:, first:]
    own = torch.eye(len(maps), dtype=torch.bool, device=maps.device)
    return torch.where(own, maps.masked_fill(own, -torch.inf).amax(1, keepdim=True), maps)


def affinities(cap: Capture, layer: int, kind: str) -> torch.Tensor:
    """How much the M patch tokens belong together, as the frozen model has it: cosines (M, M) of rows of a kind."""
    z = cap.latents[layer - (kind == "below")].detach()
    if kind in ("latent", "clipped", "below"):
        rows = z[cap.layout.n_prefix :]
    else:
        make = rollout if kind == "rollout" else raw_attention
        rows = torch.from_numpy(make(cap, layer=layer).without_own).to(z)
    unit = F.normalize(rows, dim=-1)
    alike = unit @ unit.T
    return alike.clamp_min(0) if kind == "clipped" else alike
