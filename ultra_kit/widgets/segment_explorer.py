"""`SegmentExplorer`: move the cut through the tree, merge and name segments, take the masks away."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import traitlets

from ..images.run_length import to_rle
from ..images.segmentation import Segmentation
from ..types.whole_file import write_text
from .inline_pictures import image_bytes
from .map_books import made_how
from .view import View, colours

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_KEPT = 50  # steps that can be undone


class SegmentExplorer(View):
    """Segments that follow the threshold as it moves, as `Segmentation.recut`; merge, name, undo, take the masks away.

    Parameters
    ----------
    seg : Segmentation
        It is not changed; `segmentation` is what the view shows now.

    Attributes
    ----------
    threshold : float
        Distance (`Segmentation.distance`) at which the tree is cut; at first where `seg` was.
    merges, names : list of [int, int], list of [int, str]
        Pairs of tokens whose segments are one, and tokens with the names of their segments, of which the last counts.
        Both outlive a move of the threshold.
    chosen, history : list
        Tokens whose segments are marked in the page; earlier thresholds, merges and names, for `undo`.

    Raises
    ------
    TypeError
        If `seg` is no segmentation.

    Examples
    --------
    >>> import ultra_kit as uk
    >>> cap = uk.capture(uk.load("scenes"), uk.data.scene(0).image)
    >>> view = uk.widgets.SegmentExplorer(uk.segment(uk.explain(cap), n_segments=3))
    >>> view.merge(0, 2)
    >>> view.rename(0, "the scene")
    >>> view.segment_names, view.labels.shape
    (['the scene', 'segment 1'], (96, 96))
    """

    _name = "segment"
    _height = 900
    heading = "Segments of an image, and the tree that they are cut from"

    threshold = traitlets.Float(min=0).tag(state=True)
    merges: traitlets.List[Any] = traitlets.List().tag(state=True)
    names: traitlets.List[Any] = traitlets.List().tag(state=True)
    chosen = traitlets.List(traitlets.Int()).tag(state=True)
    history: traitlets.List[Any] = traitlets.List().tag(state=True)

    def __init__(self, seg: Segmentation) -> None:
        if not isinstance(seg, Segmentation):
            raise TypeError(f"SegmentExplorer takes a Segmentation, got {type(seg).__name__}; see uk.segment")
        self._seg = seg
        super().__init__(threshold=seg.cut_height)

    @property
    def segmentation(self) -> Segmentation:
        """What the view shows now: the tree cut at `threshold`, then merged."""
        seg = self._seg.recut(threshold=self.threshold)
        for pair in self.merges:
            both = {_segment_of(seg, token) for token in pair}
            if len(both) == 2 and max(both) < seg.n_segments:
                seg = seg.merge(*both)
        return seg

    @property
    def labels(self) -> np.ndarray:
        """Segment of every pixel of the original image: int32 of shape (H, W)."""
        return self.segmentation.labels

    @property
    def segment_names(self) -> list[str]:
        """The name of every segment, ``"segment k"`` where none was given."""
        seg = self.segmentation
        names = [f"segment {k}" for k in range(seg.n_segments)]
        for token, name in self.names:
            k = _segment_of(seg, token)
            if k < len(names):
                names[k] = name
        return names

    def merge(self, *segments: int) -> None:
        """Join segments of the current state; ValueError as `Segmentation.merge`."""
        seg = self.segmentation
        seg.merge(*segments)  # refuses what cannot be
        first, *others = (int(seg.tokens[seg.clusters == k].min()) for k in sorted(set(segments)))
        self._do(merges=[*self.merges, *([first, other] for other in others)], chosen=[])

    def rename(self, segment: int, name: str) -> None:
        """Name a segment of the current state; ValueError if there is no such segment."""
        seg = self.segmentation
        seg.mask(segment)  # refuses what is not there
        token = int(seg.tokens[seg.clusters == segment].min())
        self._do(names=[*self.names, [token, str(name)]])

    def undo(self) -> None:
        """Take the last move, merge or name back; nothing if there is none."""
        if self.history:
            *self.history, last = self.history
            self.threshold, self.merges, self.names = last["threshold"], last["merges"], last["names"]

    def to_rle(self) -> list[dict[str, Any]]:
        """Give the masks of all segments: COCO's run-length code (`ultra_kit.images.to_rle`) and ``name`` of each."""
        seg = self.segmentation
        return [{**to_rle(seg.mask(k)), "name": name} for k, name in enumerate(self.segment_names)]

    def save_json(self, path: str | os.PathLike[str]) -> Path:
        """Write threshold, merges, and every segment's name, share, tokens and mask; returns where it lies."""
        seg = self.segmentation
        segments = [
            {
                "name": name,
                "share": float(seg.shares[k]),
                "tokens": seg.tokens[seg.clusters == k].tolist(),
                "rle": to_rle(seg.mask(k)),
            }
            for k, name in enumerate(self.segment_names)
        ]
        state = {"threshold": self.threshold, "merges": self.merges, "segments": segments}
        return write_text(path, json.dumps(state))

    def _do(self, **changes: Any) -> None:
        before = {"threshold": self.threshold, "merges": self.merges, "names": self.names}
        self.history = [*self.history, before][-_KEPT:]
        for name, value in changes.items():
            setattr(self, name, value)

    @traitlets.validate("merges", "names")
    def _of_tokens(self, proposal: Any) -> Any:
        name, value = proposal["trait"].name, proposal["value"]
        known = set(self._seg.tokens.tolist())
        for pair in value:
            if not isinstance(pair, (list, tuple)) or len(pair) != 2:
                raise traitlets.TraitError(f"{name} must be a list of pairs, got {pair!r} in it")
            second = pair[1] in known if name == "merges" else isinstance(pair[1], str)
            if pair[0] not in known or not second:
                raise traitlets.TraitError(f"{name} must be pairs that name tokens of the maps, got {pair!r}")
        return value

    def data(self) -> dict[str, Any]:
        """The tree (float64), the maps (float32) and the image, with all that the page needs to cut."""
        from ..plots.style import SEGMENT_COLOURS

        seg = self._seg
        return {
            "grid": list(seg.layout.grid or ()),
            "size": list(seg.layout.size or seg.maps.shape[1:]),
            "compared": list(seg.maps.shape[1:]),
            "n_prefix": seg.layout.n_prefix,
            "distance": seg.distance,
            "tokens": seg.tokens.tolist(),
            "constant": seg.constant.tolist(),
            "linkage": np.ascontiguousarray(seg.linkage, "<f8").tobytes(),
            "maps": np.ascontiguousarray(seg.maps, "<f4").tobytes(),
            "made": made_how(seg.card),
            "palette": list(SEGMENT_COLOURS),
            "lut": colours(),
            **({"image": image_bytes(seg.input)} if seg.input is not None else {}),
        }

    def figure(self) -> Figure:
        """Draw the segments with their names, and the tree with the cut."""
        from ..plots.segment_figures import show_segments

        seg = self.segmentation
        figure = show_segments(seg, tree=True)
        legend = figure.axes[0].get_legend()
        names = self.segment_names
        for text in legend.get_texts() if legend is not None else ():
            number = text.get_text().partition(":")[0]
            if number.isdigit() and names[int(number)] != f"segment {number}":
                text.set_text(f"{text.get_text()} {names[int(number)]}"[:40].replace("$", r"\$"))
        return figure

    def __repr__(self) -> str:
        return f"SegmentExplorer({self.segmentation.n_segments} segments, threshold {self.threshold:g})"


def _segment_of(seg: Segmentation, token: int) -> int:
    return int(seg.clusters[np.flatnonzero(seg.tokens == token)[0]])
