"""Tokens of many inputs at once: placed in two dimensions by their latents or by what they were made from, clustered, and named."""

from .embedding import Embedding, embed
from .naming import Name, Names, name
from .placed_input import PlacedInput
from .word_bank import sentences

__all__ = ["Embedding", "Name", "Names", "PlacedInput", "embed", "name", "sentences"]
