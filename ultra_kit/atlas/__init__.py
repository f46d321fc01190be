"""Tokens of many inputs at once: placed in two dimensions by their latents or by what they were made from, and clustered."""

from .embedding import Embedding, PlacedInput

__all__ = ["Embedding", "PlacedInput"]
