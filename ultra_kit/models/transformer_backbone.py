"""What the backbones of images and of texts share: their blocks, the run from other embeddings, the card."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from torch import Tensor, nn

from ..types import AttentionStep, Settings
from ..types.provenance import versions
from .attention import record, run_from
from .weights_hash import weights_hash


@dataclass(frozen=True, eq=False, repr=False)
class TransformerBackbone(ABC):
    """A Transformer as `load` returns it; its subclasses implement `ultra_kit.types.Backbone`.

    The module is left unchanged. `facts` are what the card says about the configuration, `libraries` the
    distributions whose versions it names, `settings` what the verbs use when nothing is said; `doubt` says in one sentence
    why an original input is none that the model was made for, or None; `own_transform` is its W (D, D), where `select` takes it.
    """

    name: str
    module: nn.Module
    facts: dict[str, Any] = field(default_factory=dict, kw_only=True)
    libraries: tuple[str, ...] = field(default=(), kw_only=True)
    settings: Settings = field(default=Settings(), kw_only=True)
    doubt: Callable[[Any], str | None] | None = field(default=None, kw_only=True)
    own_transform: np.ndarray | None = field(default=None, kw_only=True)

    @abstractmethod
    def call(self, inputs: dict[str, Tensor]) -> Callable[[], Any]:
        """One plain forward pass, to be run."""

    @abstractmethod
    def smallest(self) -> dict[str, Tensor]:
        """The smallest inputs for which the blocks can be told."""

    def run(self, inputs: dict[str, Tensor]) -> tuple[list[Tensor], list[AttentionStep]]:
        """One forward pass with explicit attention; see `record`."""
        return record(self.module, self.call(inputs))

    @cached_property
    def block_names(self) -> tuple[str, ...]:
        """The modules that are the blocks, one for each layer from 1, found in a forward pass when first asked for."""
        names = {s.layer: s.name.partition(" ")[0] for s in self.run(self.smallest())[1]}
        return tuple(names[layer] for layer in sorted(names))

    @property
    def n_blocks(self) -> int:
        """L; of an encoder-decoder the blocks of both."""
        return len(self.block_names)

    def run_from(self, inputs: dict[str, Tensor], embeddings: Tensor, layer: int) -> Tensor:
        """See `ultra_kit.types.Backbone`; a ValueError if `layer` is not in 1..L."""
        if not 1 <= layer <= self.n_blocks:
            raise ValueError(f"layer must be in 1..{self.n_blocks}, got {layer}")
        return self._run_from(inputs, embeddings, layer)

    def _run_from(self, inputs: dict[str, Tensor], embeddings: Tensor, layer: int) -> Tensor:
        return run_from(self.module, self.call(inputs), self.block_names, embeddings, layer)

    def card(self) -> dict[str, Any]:
        """Name, class, hash of the weights, configuration and versions; JSON-able."""
        return {
            "name": self.name,
            "class": f"{type(self.module).__module__}.{type(self.module).__qualname__}",
            "weights_sha256": weights_hash(self.module),
            "parameters": sum(p.numel() for p in self.module.parameters()),
            "config": self.facts,
            "versions": versions(*self.libraries),
            "settings": asdict(self.settings),
        }

    def _named(self, detail: str) -> str:
        """The text for `repr`, with a detail and the model's own settings."""
        own = f", own settings: {self.settings}" if self.settings.chosen_on else ""
        return f"{type(self).__name__}({self.name!r}, {type(self.module).__name__}, {detail}{own})"
