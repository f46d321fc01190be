"""What is kept of one input of an atlas: enough to show each of its tokens."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image

from ..text.words import Word, split_words, with_tokens
from ..types import Capture, Layout

THUMBNAIL = 160
"""The longest side of a stored picture, in pixels."""


@dataclass(frozen=True, eq=False)
class PlacedInput:
    """What is kept of one input of an `Embedding`: enough to show its tokens.

    Attributes
    ----------
    layout : Layout
        Of the capture: grid, prefix and original size of an image, pieces of a text (``layout.tokens``).
    picture : ndarray of shape (h, w, 3), uint8, or None
        A thumbnail of an image, the longest side at most 160 pixels; None for a text.
    text : str
        The whole text; empty for an image.
    name : str
        The name of its file, or what the caller named it; may be empty.
    sha256 : str
        Of the original input.
    """

    layout: Layout
    picture: np.ndarray | None = None
    text: str = ""
    name: str = ""
    sha256: str = ""

    @classmethod
    def of(cls, cap: Capture) -> PlacedInput:
        """What is kept of a capture's input."""
        said = {"name": cap.card.get("input_name", ""), "sha256": cap.card.get("input_sha256", "")}
        if isinstance(cap.input, str):
            return cls(cap.layout, text=cap.input, **said)
        picture = Image.fromarray(cap.input)
        picture.thumbnail((THUMBNAIL, THUMBNAIL))
        return cls(cap.layout, np.asarray(picture), **said)

    def box(self, token: int) -> tuple[float, float, float, float]:
        """The cell of a patch token as (x0, y0, x1, y1) in pixels of `picture`; a ValueError if there is none."""
        if self.picture is None or self.layout.grid is None:
            raise ValueError("box needs the patch of an image; this input is a text, see word()")
        self.layout.center_of(token)  # refuses what is no patch
        (h, w), (height, width) = self.layout.grid, self.picture.shape[:2]
        row, col = divmod(token - self.layout.n_prefix, w)
        return col * width / w, row * height / h, (col + 1) * width / w, (row + 1) * height / h

    def patch(self, token: int, around: int = 1) -> np.ndarray | None:
        """A patch with `around` cells on each side, cut from `picture`: (h, w, 3) uint8; None for a text."""
        if self.picture is None:
            return None
        x0, y0, x1, y1 = self.box(token)
        sides = []
        for low, high, end in zip((y0, x0), (y1, x1), self.picture.shape, strict=False):
            size = min(max(round((2 * around + 1) * (high - low)), 1), end)
            start = min(max(round((low + high - size) / 2), 0), end - size)  # pushed back at the border
            sides.append(slice(start, start + size))
        return self.picture[tuple(sides)]

    @cached_property
    def words(self) -> tuple[Word, ...]:
        """The words of a text, each with its characters (start, end) in `text` and its tokens; none for an image."""
        pieces, first = self.layout.tokens or (), self.layout.n_prefix
        spans, at = [], 0
        for piece in pieces[first:]:
            bare = piece.strip()
            found = self.text.find(bare, at) if bare else -1
            start = at if found < 0 else found
            at = start + (len(bare) if found >= 0 else 0)
            spans.append((start, at))
        return with_tokens(split_words(self.text), spans, first)

    @cached_property
    def _word_at(self) -> dict[int, str]:
        return {token: word.text for word in self.words for token in word.tokens}

    def word(self, token: int) -> str:
        """The word of a text that a token is part of, or its own piece where it is part of none; empty for an image."""
        pieces = self.layout.tokens or ()
        return self._word_at.get(token) or (pieces[token] if pieces else "")
