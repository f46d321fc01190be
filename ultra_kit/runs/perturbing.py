"""Whether the patches or words that a map names matter to the latent it explains: deletion and insertion.

No class, no label and no head is needed: the target is the explained token's own vector.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch

from ..maps.forward_pass import capture
from ..maps.planning import finite
from ..types import Backbone, Capture, ExplanationMaps
from ..types.progress import reporting
from ..types.torch_modes import plain_torch
from ..types.wording import counted
from .printed_tables import PrintedTable

FRACTIONS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 1.0)


@dataclass(frozen=True, eq=False, repr=False)
class Perturbation(PrintedTable):
    """What becomes of T latents as F shares of the other patches or words go or come; prints as a table.

    Attributes
    ----------
    fractions : ndarray of shape (F,), float64
        Shares of the other positions, ascending from 0 to 1.
    deletion : ndarray of shape (T, F), float32
        Cosine similarity of the latent to itself in the whole input, once that share, most relevant first, is taken
        away (positive perturbation); a faithful map makes it fall fast.
    insertion : ndarray of shape (T, F), float32
        The same once that share is all that is there; a faithful map makes it rise fast. Read from right to left it
        is negative perturbation, least relevant first.
    layer : int
        Whose latents were watched.
    """

    fractions: np.ndarray
    deletion: np.ndarray
    insertion: np.ndarray
    layer: int

    @property
    def areas(self) -> dict[str, float]:
        """Area under the mean curves: low is good for "deletion", high for "insertion"."""
        return {name: float(np.trapezoid(curve, self.fractions)) for name, curve in self.table.items()}

    @property
    def _headline(self) -> str:
        said = ", ".join(f"{name} {value:.3f}" for name, value in self.areas.items())
        return f"Perturbation({counted(len(self.deletion), 'token')}, layer {self.layer}, area under the curve: {said})"

    @property
    def table(self) -> pd.DataFrame:
        """The mean curves, by fraction."""
        means = {"deletion": self.deletion.mean(axis=0), "insertion": self.insertion.mean(axis=0)}
        return pd.DataFrame(means, index=pd.Index(self.fractions, name="fraction"))


def perturb(
    cap: Capture,
    maps: ExplanationMaps,
    *,
    fractions: Sequence[float] = FRACTIONS,
    seed: int = 0,
    batch_size: int = 16,
) -> Perturbation:
    """Take patches or words away in the order of each map, and watch the token that it explains.

    A patch is taken away by giving its layer-0 token the value that it has in a blank image, all of whose pixels have
    the image's mean colour: its position stays, its content is gone. A token of a text is taken away by the attention
    mask: no other token sees it, and none changes its place. **The token's own position is never taken away**, and
    prefix tokens and a text's position 0 are left alone: a query that sees nothing averages everything. Of a text
    only the positions count that the token can see. This project's choice; the measure is that of deletion and
    insertion curves (Petsiuk et al., 2018) and of positive and negative perturbation (Chefer et al., 2021), with the
    latent itself as the target.

    Parameters
    ----------
    cap : Capture
        Of a model that can run its blocks from other embeddings (else an UltraError).
    maps : ExplanationMaps
        T maps of content tokens of that capture at layer 1 or later, by whatever method (else a ValueError); the
        latents of ``maps.layer`` are watched.
    fractions : sequence of float
        Ascending from 0 to 1 (else a ValueError); of M - 1 other patches ``round(fraction * (M - 1))`` go or come.
    seed : int
        Positions with equal relevance are ordered by chance, drawn from it.
    batch_size : int
        Inputs that run at once.

    Returns
    -------
    Perturbation

    Examples
    --------
    >>> import ultra_kit as uk
    >>> cap = uk.capture(uk.load("scenes"), uk.data.scene(0).image)
    >>> found = perturb(cap, uk.explain(cap, layer=2, tokens=[30]), fractions=(0, 0.5, 1))
    >>> bool(found.deletion[0, 0] > 0.999), bool(found.deletion[0, -1] == found.insertion[0, 0])
    (True, True)
    """
    shares = _check(cap, maps, fractions, batch_size)
    n, first = cap.layout.n_content, cap.layout.n_prefix
    rng = np.random.default_rng([seed, 0x7065])
    # Rows of `gone` are the states to run: all deletions of a token, then all its insertions.
    gone = np.zeros((len(maps), 2, len(shares), cap.layout.n_tokens), bool)
    for t, (token, row) in enumerate(zip(maps.tokens, maps.values, strict=True)):
        free = removable(cap, int(token))
        order = free[np.lexsort((rng.random(n)[free - first], -row[free]))]
        taken = np.arange(len(order)) < np.rint(shares * len(order)).astype(int)[:, None]
        gone[t][:, :, order] = taken, ~taken
    watched = maps.tokens.repeat(2 * len(shares))
    curves = _similarities(cap, maps.layer, gone.reshape(len(watched), -1), watched, batch_size)
    deletion, insertion = curves.reshape(gone.shape[:3]).swapaxes(0, 1)
    return Perturbation(shares, deletion, insertion, maps.layer)


def removable(cap: Capture, token: int | None = None) -> np.ndarray:
    """Positions that can be taken away: of a text those that the token, if one is named, can see, without its own."""
    first, end = cap.layout.n_prefix, cap.layout.n_tokens
    if cap.layout.modality == "text":
        first = max(first, 1)
        encoded, causal = cap.inputs["input_ids"].shape[1], getattr(cap.model, "kind", "") == "causal"
        if token is not None:
            end = token if causal or token >= encoded else encoded
    found = np.arange(first, end)
    return found if token is None else found[found != token]


@torch.no_grad()
def latents_without(
    cap: Capture, gone: np.ndarray, layer: int, batch_size: int = 16
) -> Iterator[torch.Tensor]:
    """Latents (N, D) of a layer, state by state, with positions taken away as `perturb` does: `gone` (S, N)."""
    full = cap.latents[0].detach()
    mask = torch.from_numpy(gone).to(full.device)
    if cap.layout.modality == "image":
        blank = np.broadcast_to(cap.input.mean(axis=(0, 1)).round().astype(np.uint8), cap.input.shape)
        inputs, _, _ = cap.model.prepare(np.ascontiguousarray(blank))
        empty = cap.model.run(inputs)[0][0].detach()
        for rows in mask.split(batch_size):
            yield from cap.rerun(torch.where(rows[..., None], empty, full), layer)
        return
    names = {"input_ids": "attention_mask", "decoder_input_ids": "decoder_attention_mask"}
    lengths = [cap.inputs[name].shape[1] for name in names if name in cap.inputs]
    for row in mask:  # a mask is of one text
        parts = zip(row[None].split(lengths, dim=1), names.values(), strict=False)
        masks = {name: (~part).long() * cap.inputs.get(name, 1) for part, name in parts}
        yield from replace(cap, inputs={**cap.inputs, **masks}).rerun(full[None], layer)


def measure_perturbation(
    model: Backbone,
    methods: Mapping[str, Callable[..., ExplanationMaps]],
    images: Iterable[Any],
    *,
    per_image: int = 4,
    fractions: Sequence[float] = FRACTIONS,
    seed: int = 0,
    progress: bool = True,
) -> dict[str, Perturbation]:
    """Deletion and insertion curves of several methods, on the same tokens of the same images.

    A method is called as ``make(capture, tokens=indices)``; all must explain one layer. `per_image` patch tokens are
    drawn from each image, which is whatever `ultra_kit.capture` takes.
    """
    parts: dict[str, list[Perturbation]] = {name: [] for name in methods}
    rng = np.random.default_rng([seed, 0x7069])
    images = list(images)
    with reporting(progress, len(images), "measure perturbation", "images") as report:
        for number, image in enumerate(images):
            cap = capture(model, image)
            drawn = rng.choice(cap.layout.content, min(per_image, cap.layout.n_content), replace=False)
            for name, make in methods.items():
                maps = make(cap, tokens=np.sort(drawn))
                parts[name].append(perturb(cap, maps, fractions=fractions, seed=seed + number))
            report(1)
    layers = {part.layer for found in parts.values() for part in found}
    if len(layers) != 1:
        raise ValueError(f"there must be an image and one layer for all methods, got {sorted(layers)}")
    return {name: _joined(found) for name, found in parts.items()}


def _joined(found: Sequence[Perturbation]) -> Perturbation:
    deletion, insertion = (np.concatenate([getattr(p, name) for p in found]) for name in found[0].areas)
    return Perturbation(found[0].fractions, deletion, insertion, found[0].layer)


def _check(cap: Capture, maps: ExplanationMaps, fractions: Sequence[float], batch_size: int) -> np.ndarray:
    if maps.layout != cap.layout:
        raise ValueError("perturb needs a capture and maps of that capture")
    if maps.layer == 0 or len(maps) == 0 or (maps.tokens < cap.layout.n_prefix).any():
        raise ValueError(
            "maps must explain content tokens of layer 1 or later: a prefix token has no place of its own, and "
            f"layer 0 depends on no other position; got layer {maps.layer}, tokens {maps.tokens[:4].tolist()}"
        )
    shares = np.asarray(fractions, np.float64)
    if len(shares) < 2 or shares[0] != 0 or shares[-1] != 1 or (np.diff(shares) <= 0).any():
        raise ValueError(f"fractions must ascend from 0 to 1, got {tuple(fractions)}")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    return shares


@plain_torch()
@torch.no_grad()
def _similarities(
    cap: Capture, layer: int, gone: np.ndarray, watched: np.ndarray, batch_size: int
) -> np.ndarray:
    """Cosine similarity of each state's watched latent to the one in the whole input: float32 (S,)."""
    target = finite(cap, layer).float()
    # The ends of the curves, and what several maps agree on, run once.
    cases, which = np.unique(np.column_stack([watched, gone]), axis=0, return_inverse=True)
    states = latents_without(cap, cases[:, 1:].astype(bool), layer, batch_size)
    own = [z[token].float() for z, token in zip(states, cases[:, 0], strict=True)]
    found = torch.cosine_similarity(torch.stack(own), target[cases[:, 0]], dim=-1)
    return found.cpu().numpy()[which.ravel()]
