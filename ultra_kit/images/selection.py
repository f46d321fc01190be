"""What `select` gives: a mask, the relevance it was cut from, and the line of code that repeats it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from numbers import Real
from typing import Any

import numpy as np

from ..types import Layout, Settings
from .pixel_relevance import connected_part
from .run_length import to_rle

_DEFAULTS = {"combine": "walk", "refine": True, "connected": True, "threshold": "otsu"}


@dataclass(frozen=True, eq=False, repr=False)
class Selection:
    """A selected object; made by `select`.

    Attributes
    ----------
    mask : ndarray of shape (H, W), bool
        At the size of the original image.
    relevance : ndarray of shape (H, W), float32
        What the mask was cut from: 0 to 1, one half at Otsu's threshold.
    tokens, unwanted_tokens : ndarray of int64
        What was picked and what was ruled out, prefix tokens counted.
    points, unwanted, box, text
        As asked for, in pixels of the original image; None for no box or text.
    threshold : float
        Relevance above which a pixel is in the mask.
    layout, input, card
        Of the capture; the card says how the selection was made too.
    """

    mask: np.ndarray
    relevance: np.ndarray
    tokens: np.ndarray
    unwanted_tokens: np.ndarray
    points: tuple[tuple[float, float], ...]
    unwanted: tuple[tuple[float, float], ...]
    box: tuple[float, float, float, float] | None
    text: str | None
    threshold: float
    layout: Layout
    input: Any = None
    card: Mapping[str, Any] = field(default_factory=dict)

    @property
    def share(self) -> float:
        """Share of the image's area that the mask covers."""
        return float(self.mask.mean())

    @property
    def code(self) -> str:
        """The line of Python that repeats this selection on a capture named ``cap``."""
        made = self.card.get("selection", {})
        said = [f"{k}={_literal(v)}" for k, v in made.items() if v not in ([], (), _DEFAULTS.get(k))]
        own = Settings.of(self.card.get("model", {}))
        explained = {"method": "ultra", **asdict(own), **self.card.get("explanation", {})}
        method, layer = explained["method"], explained["layer"]
        if method != "ultra":
            return f"uk.select(cap, {', '.join(said)}, maps=uk.baselines.{method}(cap, layer={layer}))"
        if explained.get("transform") == "own":
            return f"uk.select(cap, {', '.join(said)})"
        how = [f"layer={layer}"]
        how += [f"{k}={explained[k]!r}" for k in ("score", "rule") if explained[k] != getattr(own, k)]
        how += ["transform=W"] if explained["transform"] else []
        if explained["since"]:  # which select has no word for
            how = [f"maps=uk.explain(cap, {', '.join(how)}, since={explained['since']})"]
        return f"uk.select(cap, {', '.join(said + how)})"

    def recut(self, *, threshold: str | float) -> Selection:
        """Cut the same relevance elsewhere: `threshold` is as in `select`, and the result equal, but instant.

        Examples
        --------
        >>> import ultra_kit as uk
        >>> cap = uk.capture(uk.load("scenes"), uk.data.scene(3).image)
        >>> sel = uk.select(cap, points=[(40, 40)], layer=2)
        >>> sel.recut(threshold=0.9).share <= sel.share
        True
        """
        cut = check_threshold(threshold)
        mask = self.relevance > cut
        made = {**self.card.get("selection", {}), "threshold": threshold}
        if made.get("connected", True):
            mask = connected_part(mask, self.points or [self.layout.center_of(int(t)) for t in self.tokens])
        return replace(self, mask=mask, threshold=cut, card={**self.card, "selection": made})

    def to_rle(self, *, compressed: bool = False) -> dict[str, Any]:
        """The mask as a COCO run-length code; see `ultra_kit.images.to_rle`."""
        return to_rle(self.mask, compressed=compressed)

    def __repr__(self) -> str:
        height, width = self.mask.shape
        how = [f"{len(self.points)} foreground"] if self.points else []
        how += [f"{len(self.unwanted)} background"] if self.unwanted else []
        how += ["a box"] if self.box else []
        how += [f"text {self.text!r}"] if self.text else []
        return f"Selection({self.share:.0%} of {height}x{width}, from {', '.join(how)}, threshold {self.threshold:.2f})"


def check_threshold(threshold: str | float) -> float:
    """The relevance at which a threshold cuts: a number in 0..1, and 0.5 for "otsu"."""
    if threshold == "otsu":
        return 0.5
    if isinstance(threshold, Real) and not isinstance(threshold, bool) and 0 <= threshold <= 1:
        return float(threshold)
    raise ValueError(f'threshold must be "otsu" or a relevance in 0..1, got {threshold!r}')


def _literal(value: Any) -> str:
    """A value as Python that a person would write: a list of (x, y), numbers with no more digits than they need."""
    if isinstance(value, (list, tuple)):
        inner = ", ".join(map(_literal, value))
        return f"[{inner}]" if isinstance(value[0], (list, tuple)) else f"({inner})"
    return f"{value:.15g}" if isinstance(value, float) else repr(value)
