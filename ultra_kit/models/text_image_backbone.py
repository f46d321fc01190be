"""Vision Transformers whose patches share a space with texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor

from .image_backbone import ImageBackbone


@runtime_checkable
class TextAligned(Protocol):
    """What a vision backbone offers whose patches share a space with texts."""

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors (n, K) of texts."""
        ...

    def project(self, latents: Tensor) -> Tensor:
        """Raw last-layer latents (..., D) in the space of the texts: (..., K), not normalised."""
        ...


@dataclass(frozen=True, eq=False, repr=False)
class TextImageBackbone(ImageBackbone):
    """An `ImageBackbone` that is `TextAligned`.

    `text_encoder` takes a list of texts to vectors (n, K), `projection` raw last-layer latents (..., D) to (..., K).
    """

    text_encoder: Callable[[list[str]], Tensor] = field(kw_only=True)
    projection: Callable[[Tensor], Tensor] = field(kw_only=True)

    @torch.no_grad()
    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors (n, K) of texts, without gradients; an UltraError if the model came without its tokenizer."""
        return F.normalize(self.text_encoder(_listed(texts)), dim=-1)

    def project(self, latents: Tensor) -> Tensor:
        """Raw last-layer latents (..., D) in the space of the texts: (..., K)."""
        return self.projection(latents)

    def zero_shot(self, texts: Sequence[str]) -> TextImageBackbone:
        """The same model with a head: the cosine of a token, read alone, with each of the texts.

        With it the score "head" explains what speaks for the text that is nearest to a token; its values are in [-1, 1].

        >>> from ultra_kit.models import load
        >>> model = load("scenes").zero_shot(["a red star", "a blue ring"])
        >>> model.head(torch.ones(5, 128)).shape
        torch.Size([5, 2])
        """
        texts = _listed(texts)
        read = partial(_nearness, self.projection, self.encode_text(texts))
        return replace(self, reader=read, facts=self.facts | {"zero_shot": texts})


def _nearness(projection: Callable[[Tensor], Tensor], directions: Tensor, latents: Tensor) -> Tensor:
    return F.normalize(projection(latents), dim=-1) @ directions.to(latents).T


def _listed(texts: str | Sequence[str]) -> list[str]:
    found = [texts] if isinstance(texts, str) else list(texts)
    if not found or not all(isinstance(t, str) and t.strip() for t in found):
        raise ValueError(f"texts must be one or more strings that are not empty, got {found!r}")
    return found
