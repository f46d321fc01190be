"""Training of W: Adam on the self-consistency of the maps' first steps, image by image."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

from ..images.clustering import METRICS
from ..maps.forward_pass import capture
from ..maps.scores import RULES
from ..models.loading import load
from ..models.open_image import image_files
from ..types import Backbone, Settings, UltraError
from ..types.checks import one_of
from ..types.one_thread import one_thread
from ..types.progress import reporting
from ..types.torch_modes import plain_torch
from .self_consistency import AFFINITIES, LOSSES, affinities, first_steps, self_consistency
from .transform import Transform

_HELD_OUT = 8
"""Every so-many-th image does not train: its loss decides when to stop."""


def train_transform(
    model: Backbone,
    images: Iterable[Any] | str | os.PathLike[str],
    *,
    layer: int | None = None,
    rule: str | None = None,
    affinity: str = "latent",
    loss: str = "weighted",
    metric: str = "cosine",
    epochs: int = 4,
    patience: int = 2,
    batch_size: int = 1,
    learning_rate: float = 3e-3,
    decay: float = 1e-3,
    seed: int = 0,
    progress: bool = True,
) -> Transform:
    """Train W by self-consistency: tokens that belong together should have like maps, others unlike ones.

    No label is used, and the model stays as it is. P_i(W) is the map of patch token i over the last
    block alone (``since=-1``), which one backward pass gives for all tokens of an image; whole maps cost
    a pass per token. The own position is replaced by the largest other entry, as in `ultra_kit.segment`.
    a_ij is an affinity of tokens i and j that the frozen model gives. Two readings of L_sc (this
    project's: the paper's formula is not known to us):

    - ``"weighted"``: the mean over i != j of ``-(a_ij - b) / s cos(P_i, P_j)``, b and s the mean and
      standard deviation of the image's affinities. Either collapse gives 0.
    - ``"contrast"``: the mean over i of the cross-entropy of softmax_j(cos(P_i, P_j) / 0.1) against
      softmax_j(a_ij / 0.1), j != i. Equal maps for all tokens, or a map of its own for each, both give
      the even distribution, so neither collapse lowers it.

    Both add ``decay * ||W - 1||^2``, Frobenius. The gradient reaches W through the upstream gradients
    W^T W z / ||W z||, in which the first steps are piecewise linear.

    Parameters
    ----------
    model : Backbone
        From `ultra_kit.load`, for images.
    images : iterable, or path of a folder
        Whatever `ultra_kit.capture` takes, at least 2, or all images in a folder; every eighth one is held out for
        early stopping.
    layer : int, optional
        1..L or negative from the end: whose latents will be explained; the model's own by default.
    rule : {"positive", "negative", "absolute"}, optional
        As for `ultra_kit.explain`; use the transform with the same one.
    affinity : {"latent", "clipped", "below", "rollout", "attention"}
        a_ij: cosine of the latents of the tokens at the layer; the same, with 0 for less than 0; at the layer below,
        over whose tokens the maps are; of their rows of attention rollout up to it, or of its raw attention, own
        positions replaced.
    loss : {"weighted", "contrast"}
    metric : {"cosine", "hellinger"}
        Likeness of two maps: their cosine, as above, or that of the roots of their shares, as in `ultra_kit.segment`.
    epochs, patience : int
        Passes over the images at most, and how many of them without a better held-out loss end the training.
    batch_size : int
        Images whose mean loss makes a step.
    learning_rate, decay : float
        Adam's, falling to zero along a cosine; the weight above.
    seed : int
        Orders the images; the same seed gives the same matrix on the same machine.
    progress : bool

    Returns
    -------
    Transform
        Of the epoch with the best held-out loss; the identity if no epoch improved it.

    Raises
    ------
    ValueError, UltraError
        For an option out of range, too few images, a layer without attention; if the loss is not finite.

    Examples
    --------
    >>> import ultra_kit as uk
    >>> scenes = [uk.data.scene(seed).image for seed in range(2)]
    >>> train_transform(uk.load("scenes"), scenes, layer=2, epochs=1, progress=False).loss.shape
    (2, 2)
    """
    if isinstance(images, np.ndarray) and images.ndim < 4:
        raise ValueError(f"images must be several, got one array of shape {images.shape}; pass a list")
    images = image_files(images) if isinstance(images, (str, os.PathLike)) else list(images)
    model = load(model)
    own = Settings.of(model)
    layer, rule = own.layer if layer is None else layer, own.rule if rule is None else rule
    if model.modality != "image":
        raise ValueError(f"train_transform needs an image model, {model.name!r} is a {model.modality} model")
    if len(images) < 2:
        raise ValueError(f"images must be at least 2, one of them held out, got {len(images)}")
    if min(epochs, patience, batch_size) < 1:
        given = f"{epochs}, {patience} and {batch_size}"
        raise ValueError(f"epochs, patience and batch_size must be at least 1, got {given}")
    one_of("affinity", affinity, AFFINITIES)
    one_of("loss", loss, LOSSES)
    one_of("metric", metric, METRICS)
    one_of("rule", rule, RULES)
    first = capture(model, images[0])
    number = first.layer_index(layer)
    if number == 0:
        raise ValueError("layer must be 1 or later: layer 0 has no attention, so its maps do not depend on W")
    held, rest = images[::_HELD_OUT], [x for n, x in enumerate(images) if n % _HELD_OUT]
    what = {"layer": number, "rule": rule, "affinity": affinity, "loss": loss, "metric": metric}
    how = {"epochs": epochs, "patience": patience, "learning_rate": learning_rate, "decay": decay}
    options = (
        what | how | {"batch_size": batch_size, "seed": seed, "images": len(images), "held_out": len(held)}
    )
    bar = reporting(progress, epochs * len(rest), f"train W for layer {number}", "images")
    with bar as report, plain_torch(), torch.enable_grad():
        one = torch.eye(first.latents[0].shape[1]).to(first.latents[0])
        matrix, curve = _descend(model, one, rest, held, options, report)
    return Transform(matrix, number, curve, {"model": model.card(), "training": options})


def _descend(
    model: Backbone, one: torch.Tensor, rest: list[Any], held: list[Any], options: dict[str, Any], report: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Adam over W - 1, image by image: the matrix of the best epoch, and the loss curve."""
    delta = torch.zeros_like(one).requires_grad_()
    optimiser = torch.optim.Adam([delta], options["learning_rate"])
    epochs, rng = options["epochs"], np.random.default_rng([options["seed"], 0x5743])
    starts = range(0, len(rest), options["batch_size"])
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs * len(starts))

    def loss_of(image: Any, matrix: torch.Tensor) -> torch.Tensor:
        """L_sc of an image, in the graph of the matrix if that needs a gradient."""
        cap = capture(model, image)
        with one_thread():
            maps = first_steps(cap, options["layer"], matrix, options["rule"])
            like = affinities(cap, options["layer"], options["affinity"])
            value = self_consistency(maps, like, loss=options["loss"], metric=options["metric"])
        if not torch.isfinite(value):
            raise UltraError("the loss is not finite; look for NaN in the latents, or lower learning_rate")
        return value

    def held_out(matrix: torch.Tensor) -> float:
        return float(np.mean([loss_of(x, matrix).item() for x in held]))

    best, best_epoch, curve = one, 0, [(np.nan, held_out(one))]
    for epoch in range(1, epochs + 1):
        running, order = [], rng.permutation(len(rest))
        for first in starts:
            batch = order[first : first + options["batch_size"]]
            slope = 2 * options["decay"] * delta.detach()
            for n in batch:  # one graph at a time
                value = loss_of(rest[n], one + delta)
                # Not backward(): that would also fill the gradients of the model's own parameters.
                with one_thread():
                    slope += torch.autograd.grad(value, [delta])[0] / len(batch)
                running.append(value.item())
                report(1)
            delta.grad = slope
            optimiser.step()
            schedule.step()
        now = (one + delta).detach()
        curve.append((float(np.mean(running)), held_out(now)))
        if curve[-1][1] < curve[best_epoch][1]:
            best, best_epoch = now, epoch
        elif epoch - best_epoch >= options["patience"]:
            break
    return best.float().cpu().numpy(), np.array(curve, np.float32)
