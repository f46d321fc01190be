"""Whether the patches that a map names matter to the latent it explains: deletion and insertion.

No class, no label and no head is needed: the target is the explained token's own vector.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from ..maps.forward_pass import capture
from ..types import Backbone, Capture, ExplanationMaps
from ..types.progress import reporting
from .printed_tables import PrintedTable

FRACTIONS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 1.0)


@dataclass(frozen=True, eq=False, repr=False)
class Perturbation(PrintedTable):
    """What becomes of T latents as F shares of the other patches go or come; prints as a table.

    Attributes
    ----------
    fractions : ndarray of shape (F,), float64
        Shares of the other patches, ascending from 0 to 1.
    deletion : ndarray of shape (T, F), float32
        Cosine similarity of the latent to itself in the whole image, once that share, most relevant first, is taken
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
        return f"Perturbation({len(self.deletion)} tokens, layer {self.layer}, area under the curve: {said})"

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
    """Take patches away in the order of each map, and watch the token that it explains.

    A patch is taken away by giving its layer-0 token the value that it has in a blank image, all of whose pixels have
    the image's mean colour: its position stays, its content is gone. **The token's own patch is never taken away**,
    and prefix tokens are left alone. This project's choice; the measure is that of deletion and insertion curves
    (Petsiuk et al., 2018) and of positive and negative perturbation (Chefer et al., 2021), with the latent itself as
    the target.

    Parameters
    ----------
    cap : Capture
        Of an image, and of a model that can run its blocks from other embeddings (else an UltraError).
    maps : ExplanationMaps
        T maps of patch tokens of that capture at layer 1 or later, by whatever method (else a ValueError); the latents
        of ``maps.layer`` are watched.
    fractions : sequence of float
        Ascending from 0 to 1 (else a ValueError); of M - 1 other patches ``round(fraction * (M - 1))`` go or come.
    seed : int
        Patches with equal relevance are ordered by chance, drawn from it.
    batch_size : int
        Images that run at once.

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
    counts = np.rint(shares * (n - 1)).astype(int)
    rng = np.random.default_rng([seed, 0x7065])
    # Rows of `gone` are the states to run: all deletions of a token, then all its insertions.
    gone = np.zeros((len(maps), 2, len(counts), n), bool)
    taken = np.arange(n - 1) < counts[:, None]
    for t, (token, row) in enumerate(zip(maps.tokens, maps.content, strict=True)):
        order = np.lexsort((rng.random(n), -row))
        gone[t][:, :, order[order != token - first]] = taken, ~taken
    watched = maps.tokens.repeat(2 * len(counts))
    curves = _similarities(cap, maps.layer, gone.reshape(-1, n), watched, batch_size).reshape(gone.shape[:3])
    return Perturbation(shares, curves[:, 0], curves[:, 1], maps.layer)


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
    if cap.layout.modality != "image" or maps.layout != cap.layout:
        raise ValueError("perturb needs the capture of an image and maps of that capture")
    if maps.layer == 0 or len(maps) == 0 or (maps.tokens < cap.layout.n_prefix).any():
        raise ValueError(
            "maps must explain patch tokens of layer 1 or later: a prefix token has no patch of its own, and "
            f"layer 0 depends on no other patch; got layer {maps.layer}, tokens {maps.tokens[:4].tolist()}"
        )
    shares = np.asarray(fractions, np.float64)
    if len(shares) < 2 or shares[0] != 0 or shares[-1] != 1 or (np.diff(shares) <= 0).any():
        raise ValueError(f"fractions must ascend from 0 to 1, got {tuple(fractions)}")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    return shares


@torch.no_grad()
def _similarities(
    cap: Capture, layer: int, gone: np.ndarray, watched: np.ndarray, batch_size: int
) -> np.ndarray:
    """Cosine similarity of each state's watched latent to the one in the whole image: float32 (S,)."""
    blank = np.broadcast_to(cap.input.mean(axis=(0, 1)).round().astype(np.uint8), cap.input.shape)
    inputs, _, _ = cap.model.prepare(np.ascontiguousarray(blank))
    empty = cap.model.run(inputs)[0][0].detach()
    full, target = cap.latents[0].detach(), cap.latents[layer].detach()
    # The ends of the curves, and what several maps agree on, run once.
    cases, which = np.unique(np.column_stack([watched, gone]), axis=0, return_inverse=True)
    mask = torch.zeros(len(cases), len(full), 1, dtype=torch.bool, device=full.device)
    mask[:, cap.layout.n_prefix :, 0] = torch.from_numpy(cases[:, 1:]).to(full.device)
    at = torch.from_numpy(cases[:, 0]).to(full.device)
    out = []
    for rows, tokens in zip(mask.split(batch_size), at.split(batch_size), strict=True):
        z = cap.rerun(torch.where(rows, empty, full), layer)
        own = z[torch.arange(len(rows), device=z.device), tokens]
        out.append(torch.cosine_similarity(own.float(), target[tokens].float(), dim=-1).cpu())
    return torch.cat(out).numpy()[which.ravel()]
