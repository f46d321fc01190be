"""A trained matrix W, its loss curve and its card, in memory and in a file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save as as_bytes

from ..models.loading import data_folder
from ..types import UltraError
from ..types.checks import whole_number
from ..types.provenance import sha256
from ..types.whole_file import whole_file


def _checksum(arrays: Mapping[str, np.ndarray]) -> str:
    return sha256(f"{name} {a.dtype} {a.shape};".encode() + a.tobytes() for name, a in sorted(arrays.items()))


@dataclass(frozen=True, eq=False, repr=False)
class Transform:
    """A matrix W for the scores of a model; wherever ``transform=`` is taken, this is.

    Attributes
    ----------
    matrix : ndarray of shape (D, D), float32
        W; the score of a token is ||W z||, and enters a map through W^T W alone.
    layer : int
        Whose latents it was trained for.
    loss : ndarray of shape (epochs + 1, 2), float32
        Of training images (a running mean; NaN before the first epoch) and held-out ones, before and after each epoch.
    card : dict
    """

    matrix: np.ndarray
    layer: int
    loss: np.ndarray
    card: Mapping[str, Any] = field(default_factory=dict)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write matrix, loss curve and card to one file; a ValueError unless its name ends with ``.safetensors``."""
        target = Path(path)
        if target.suffix != ".safetensors":
            raise ValueError(f"path must end with .safetensors, got {str(path)!r}")
        arrays = {"matrix": np.ascontiguousarray(self.matrix), "loss": np.ascontiguousarray(self.loss)}
        card = {"layer": self.layer, "card": dict(self.card), "sha256": _checksum(arrays)}
        with whole_file(target) as partial:
            partial.write_bytes(as_bytes(arrays, metadata={"transform": json.dumps(card)}))
        return target

    @classmethod
    def load(cls, source: str | os.PathLike[str]) -> Transform:
        """Read back what `save` wrote: a file, or by the name of a bundled model the W that was trained for it.

        An UltraError if there is no such file, or it holds no transform.

        >>> Transform.load("scenes").matrix.shape
        (128, 128)
        """
        path = Path(source)
        if path.suffix != ".safetensors":
            path = data_folder() / "models" / path / "transform.safetensors"
        if not path.is_file():
            raise UltraError(
                f"cannot open {source}: there is no file {path.name} for it; train one with train_transform"
            )
        try:
            with safe_open(path, "numpy") as file:
                said = json.loads(file.metadata()["transform"])
                arrays = {name: file.get_tensor(name) for name in ("matrix", "loss")}
            older = said.keys() == {"layer", "card"}  # without a checksum
            if not older and said["sha256"] != _checksum(arrays):
                raise ValueError("its numbers are not those of its checksum")
            matrix, loss = arrays["matrix"], arrays["loss"]
            square = matrix.ndim == 2 and len(set(matrix.shape)) == 1
            if not (square and np.isfinite(matrix).all() and loss.ndim == 2):
                raise ValueError(f"a finite square matrix is needed, got {matrix.shape}")
            return cls(matrix, whole_number("layer", said["layer"], 0), loss, dict(said["card"]))
        except Exception as error:  # one changed byte may raise anything
            raise UltraError(f"cannot open {source}: it holds no transform ({error!r})") from None

    def __repr__(self) -> str:
        d, epochs = len(self.matrix), len(self.loss) - 1
        fall = f"held-out loss {self.loss[0, 1]:.3f} to {self.loss[:, 1].min():.3f}"
        return f"Transform({d} x {d}, layer {self.layer}, {epochs} epochs, {fall})"
