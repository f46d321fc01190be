"""What the title of an exported page says: what is shown, of which input, by which model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..types import ExplanationMaps


def of_maps(maps: ExplanationMaps) -> str:
    """Of one token by its place, of several by their number."""
    what, image = f"What {len(maps)} tokens", _input(maps.card, maps.layout.modality)
    if maps.groups is not None:
        what = f"What {len(maps)} group{'s' * (len(maps) > 1)} of tokens"
    elif len(maps) == 1:
        what = f"What {_place(maps)}"
    was = "was" if len(maps) == 1 else "were"
    return f"{what} of {image} {was} made from, {_made(maps.card)}"


def _place(maps: ExplanationMaps) -> str:
    """The only token, for a reader: its row and column, from 0; a word of a text."""
    layout, token = maps.layout, int(maps.tokens[0])
    if layout.grid is None:
        return f"token {token} “{(layout.tokens or ())[token].strip()}”"
    if token < layout.n_prefix:
        return f"prefix token {token}"
    return "the token in row {}, column {}".format(*divmod(token - layout.n_prefix, layout.grid[1]))


def of_segments(seg: Any) -> str:
    """Their number."""
    n = seg.n_segments
    return f"{n} segment{'s' * (n != 1)} of {_input(seg.card)}, {_made(seg.card)}"


def of_selection(sel: Any) -> str:
    """How it was picked."""
    by = [f"{len(sel.points)} point{'s' * (len(sel.points) > 1)}"] if sel.points else []
    by += ["a box"] if sel.box else []
    by += [f"“{sel.text}”"] if sel.text else []
    return f"The object of {_input(sel.card)} picked by {' and '.join(by) or 'tokens'}, {_made(sel.card)}"


def of_evidence(ev: Any) -> str:
    """What it is for."""
    return f"What each word of a summary rests on, {_made(ev.card)}"


def of_summary(s: Any) -> str:
    """How long, and whose."""
    return f"A summary of {len(s.document_words)} words in {len(s.words)}, {s.capture.model.name}"


def of_evaluation(found: Any) -> str:
    """Which model on which data."""
    data = found.card["dataset"]
    return (
        f"Segments of {data['images']} images of {data['name']} against the truth, {found.card['model_name']}"
    )


def of_faithfulness(found: Any) -> str:
    """What was measured."""
    return f"{found.measure.capitalize()} of the evidence for a summary"


def of_perturbation(found: Any) -> str:
    """What was measured."""
    n = len(found.deletion)
    return f"Patches taken away from {n} token{'s' * (n > 1)} and brought back, layer {found.layer}"


def of_view(view: Any) -> str:
    """What can be done in it: its state changes under the reader's hands."""
    said = {
        "TokenExplorer": "What each token was made from",
        "SegmentExplorer": "Segments to cut, merge and name",
        "ObjectSelector": "An object to select",
        "SummaryExplorer": "What each word of a summary rests on",
    }
    return said.get(type(view).__name__, type(view).__name__)


def of_figure(figure: Any) -> str:
    """Its own title, if it has one."""
    if hasattr(figure, "get_suptitle"):
        own = [figure.get_suptitle(), *(ax.get_title() for ax in figure.axes)]
    else:
        own = [figure.layout.title.text]
    return next((text for text in own if text), "Figure")


def _input(card: Mapping[str, Any], modality: str = "image") -> str:
    """The name of the file that was captured, if the card has it."""
    return card.get("input_name") or f"the {modality}"


def _made(card: Mapping[str, Any]) -> str:
    """Model and layer, and the method unless it is this project's own."""
    made = card.get("explanation", {})
    parts = [card.get("model", {}).get("name", ""), f"layer {made['layer']}" if "layer" in made else ""]
    parts += [made["method"].replace("_", " ")] if made.get("method", "ultra") != "ultra" else []
    return ", ".join(part for part in parts if part) or "model not stated"
