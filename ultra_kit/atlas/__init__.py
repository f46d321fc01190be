"""Tokens of many inputs at once: placed in two dimensions by their latents or by what they were made from, clustered, named, and found again in other inputs."""

from .embedding import Embedding, embed
from .naming import Name, Names, name
from .placed_input import PlacedInput
from .similar_tokens import Similar, recurring, similar
from .word_bank import sentences

__all__ = [
    "Embedding",
    "Name",
    "Names",
    "PlacedInput",
    "Similar",
    "embed",
    "name",
    "recurring",
    "sentences",
    "similar",
]
