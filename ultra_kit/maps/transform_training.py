"""Training of W: Adam on the self-consistency of the maps' first steps, image by image."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from tqdm.auto import tqdm

from ..types import Backbone, UltraError
from .consistency import AFFINITIES, LOSSES, affinity, first_steps, self_consistency
from .forward_pass import capture
from .scores import check_rule
from .transform import Transform

_HELD_OUT = 8
"""Every so-many-th image does not train: its loss decides when to stop."""


def train_transform(
    model: Backbone,
    images: Iterable[Any],
    *,
    layer: int = -1,
    rule: str = "positive",
    affinity: str = "latent",
    loss: str = "weighted",
    epochs: int = 4,
    patience: int = 2,
    learning_rate: float = 3e-3,
    decay: float = 1e-3,
    seed: int = 0,
    progress: bool = True,
) -> Transform:
    """Train W by self-consistency: tokens that belong together should have like maps, others unlike ones.

    No label is used, and the model stays as it is. P_i(W) is the first step of patch token i's map,
    row i of C_k - 1, which one backward pass gives for all tokens of an image; the whole maps, which
    W is for, cost a pass a token. The own position is replaced by the largest other entry, as in
    `ultra_kit.segment`. a_ij is an affinity of tokens i and j that the frozen model gives. Two
    readings of L_sc (this project's: the paper's formula is not known to us):

    - ``"weighted"``: the mean over i != j of ``-(a_ij - b) / s cos(P_i, P_j)``, b and s the mean and
      standard deviation of the image's affinities. Either collapse gives 0.
    - ``"contrast"``: the mean over i of the cross-entropy of softmax_j(cos(P_i, P_j) / 0.1) against
      softmax_j(a_ij / 0.1), j != i. Equal maps for all tokens, or a map of its own for each, both give
      the even distribution, so neither collapse lowers it.

    Both add ``decay * ||W - 1||^2``, Frobenius. The gradient reaches W through the seeds
    W^T W z / ||W z||, in which the first steps are piecewise linear.

    Parameters
    ----------
    model : Backbone
        From `ultra_kit.load`, for images.
    images : iterable
        Whatever `ultra_kit.capture` takes, at least 2; every eighth one is held out for early
        stopping. Nothing else but the images is seen.
    layer : int
        1..L or negative from the end: whose latents will be explained.
    rule : {"positive", "negative", "absolute"}
        As for `ultra_kit.explain`; use the transform with the same one.
    affinity : {"latent", "rollout", "attention"}
        a_ij: cosine of the latents of the tokens at the layer; of their rows of attention rollout up
        to it, or of its raw attention, own positions replaced.
    loss : {"weighted", "contrast"}
    epochs : int
        Passes over the images at most.
    patience : int
        Stop after so many epochs without a better loss on the held-out images.
    learning_rate : float
        Of Adam, falling to zero along a cosine.
    decay : float
    seed : int
        Orders the images; the same seed gives the same matrix on the same machine.
    progress : bool
        Whether to show a bar.

    Returns
    -------
    Transform
        Of the epoch with the best held-out loss; the identity if no epoch improved it.

    Raises
    ------
    ValueError
        For an option out of range, too few images, or a layer without attention.
    UltraError
        If the loss is not finite.

    Examples
    --------
    >>> import ultra_kit as uk
    >>> scenes = [uk.data.scene(seed).image for seed in range(3)]
    >>> w = train_transform(uk.load("scenes"), scenes, layer=4, epochs=1, progress=False)
    >>> w.matrix.shape, w.loss.shape
    ((128, 128), (2, 2))
    """
    images = list(images)
    _check(model, images, affinity, loss, epochs, patience)
    check_rule(rule)
    first = capture(model, images[0])
    number = first.layer_index(layer)
    if number == 0:
        raise ValueError("layer must be 1 or later: layer 0 has no attention, so its maps do not depend on W")
    task = _Task(model, number, rule, affinity, loss, decay)
    weights = _Weights(first.latents[0].detach(), learning_rate)
    held, rest = images[::_HELD_OUT], [x for n, x in enumerate(images) if n % _HELD_OUT]
    bar = tqdm(total=epochs * len(rest), desc="train W", unit="image", disable=not progress)
    with bar, torch.inference_mode(False), torch.enable_grad():
        matrix, curve = _descend(task, weights, rest, held, epochs, patience, seed, bar)
    options = {
        "layer": number,
        "rule": rule,
        "affinity": affinity,
        "loss": loss,
        "epochs": epochs,
        "patience": patience,
        "learning_rate": learning_rate,
        "decay": decay,
        "seed": seed,
        "images": len(images),
        "held_out": len(held),
    }
    return Transform(matrix, number, curve, {"model": model.card(), "training": options})


@dataclass(frozen=True, eq=False)
class _Task:
    """What does not change while W is trained."""

    model: Backbone
    layer: int
    rule: str
    affinity: str
    loss: str
    decay: float

    def loss_of(self, image: Any, matrix: torch.Tensor) -> torch.Tensor:
        """L_sc of an image, in the graph of the matrix if that needs a gradient."""
        cap = capture(self.model, image)
        maps = first_steps(cap, self.layer, matrix, self.rule)
        value = self_consistency(maps, affinity(cap, self.layer, self.affinity), loss=self.loss)
        if not torch.isfinite(value):
            raise UltraError(
                "the loss is not finite; look for NaN in the model's latents, or lower learning_rate"
            )
        return value


class _Weights:
    """W = 1 + Delta, and Adam over Delta."""

    def __init__(self, like: torch.Tensor, learning_rate: float) -> None:
        self.one = torch.eye(like.shape[1]).to(like)
        self.delta = torch.zeros_like(self.one).requires_grad_()
        self.optimiser = torch.optim.Adam([self.delta], learning_rate)

    def matrix(self) -> torch.Tensor:
        return self.one + self.delta

    def step(self, value: torch.Tensor) -> None:
        # Not backward(): that would also fill the gradients of the model's own parameters.
        (self.delta.grad,) = torch.autograd.grad(value, [self.delta])
        self.optimiser.step()


def _descend(
    task: _Task,
    weights: _Weights,
    rest: list[Any],
    held: list[Any],
    epochs: int,
    patience: int,
    seed: int,
    bar: Any,
) -> tuple[np.ndarray, np.ndarray]:
    """The matrix of the best epoch, and the loss curve."""
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(weights.optimiser, epochs * len(rest))
    rng = np.random.default_rng([seed, 0x5743])
    best = weights.matrix().detach()
    curve, best_epoch = [(np.nan, _mean_loss(task, held, best))], 0
    for epoch in range(1, epochs + 1):
        running = []
        for n in rng.permutation(len(rest)):
            value = task.loss_of(rest[n], weights.matrix())
            weights.step(value + task.decay * weights.delta.square().sum())
            schedule.step()
            running.append(value.item())
            bar.update()
        now = weights.matrix().detach()
        curve.append((float(np.mean(running)), _mean_loss(task, held, now)))
        bar.set_postfix(held_out=f"{curve[-1][1]:.4f}")
        if curve[-1][1] < curve[best_epoch][1]:
            best, best_epoch = now, epoch
        elif epoch - best_epoch >= patience:
            break
    return best.float().cpu().numpy(), np.array(curve, np.float32)


def _mean_loss(task: _Task, images: list[Any], matrix: torch.Tensor) -> float:
    return float(np.mean([task.loss_of(x, matrix).item() for x in images]))


def _check(model: Backbone, images: list[Any], affinity: str, loss: str, epochs: int, patience: int) -> None:
    if model.modality != "image":
        raise ValueError(f"train_transform needs an image model, {model.name!r} is a {model.modality} model")
    if len(images) < 2:
        raise ValueError(f"images must be at least 2, one of them held out, got {len(images)}")
    for name, value, known in (("affinity", affinity, AFFINITIES), ("loss", loss, LOSSES)):
        if value not in known:
            raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")
    for name, number in (("epochs", epochs), ("patience", patience)):
        if number < 1:
            raise ValueError(f"{name} must be at least 1, got {number}")
