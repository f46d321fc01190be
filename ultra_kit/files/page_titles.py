"""What the title of an exported page says: what is shown, of which input, by which model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..types import ExplanationMaps
from ..types.wording import counted, layers_said


def title_of(kind: str, obj: Any) -> str:
    """The title for a result of a kind in `_TITLES`; of a figure its own, of a view what it is."""
    if kind in _TITLES:
        return _TITLES[kind](obj)
    own = [ax.get_title() for ax in obj.axes] if kind == "Figure" else []
    return next(filter(None, own), getattr(obj, "heading", "") or type(obj).__name__)


def _maps(maps: ExplanationMaps) -> str:
    layout, token = maps.layout, int(maps.tokens[0])
    what = counted(len(maps), "token" if maps.groups is None else "token group")
    if len(maps) == 1 and maps.groups is None:
        row, column = divmod(token - layout.n_prefix, (layout.grid or (1, 1))[1])
        what = f"the token in row {row}, column {column}"
        if layout.grid is None or token < layout.n_prefix:
            what = f"token {token}" + (f" “{layout.tokens[token].strip()}”" if layout.tokens else "")
    if maps.method.startswith("used_by"):
        return f"What used {what} {_of(maps.card, layout.modality)}, {_by(maps.card)}"
    was = "was" if len(maps) == 1 else "were"
    return f"What {what} {_of(maps.card, layout.modality)} {was} made from, {_by(maps.card)}"


def _selection(sel: Any) -> str:
    how = [counted(len(sel.points), "point")] * bool(sel.points) + ["a box"] * bool(sel.box)
    how += [f"“{sel.text}”"] if sel.text else []
    return f"The object {_of(sel.card)} picked by {' and '.join(how)}, {_by(sel.card)}"


def _of(card: Mapping[str, Any], modality: str = "image") -> str:
    """The file that was captured, if the card names it."""
    return f"of {card.get('input_name') or f'the {modality}'}"


def _by(card: Mapping[str, Any]) -> str:
    """Model and layer, and the method unless it is this project's own."""
    made = card.get("explanation", {})
    parts = [card.get("model", {}).get("name", "model not stated")]
    parts += [f"layer {made['layer']}"] if "layer" in made else []
    parts += [made["method"].replace("_", " ")] if made.get("method", "ultra") != "ultra" else []
    return ", ".join(parts)


_EVALUATION = "Segments of {images} images of {name} against the truth, {}"
_TITLES: dict[str, Callable[[Any], str]] = {
    "ExplanationMaps": _maps,
    "Segmentation": lambda seg: f"{counted(seg.n_segments, 'segment')} {_of(seg.card)}, {_by(seg.card)}",
    "Selection": _selection,
    "Embedding": lambda emb: (
        f"{len(emb)} tokens of {counted(len(emb.inputs), 'input')} by {emb.by}, {_by(emb.card)}, {layers_said(emb.layer)}"
    ),
    "Names": lambda names: (
        f"{counted(len(names.tokens), 'token')} named by {names.by}, {_by(names.card)}, layer {names.layer}"
    ),
    "Similar": lambda near: (
        f"{counted(len(near.tokens) - 1, 'token')} like one, by {near.by}, {_by(near.card)}, layer {near.layer}"
    ),
    "Evidence": lambda ev: f"What each word of a summary rests on, {_by(ev.card)}",
    "Summary": lambda s: f"{len(s.document_words)} words in {len(s.words)}: a summary, {_by(s.capture.card)}",
    "Evaluation": lambda found: _EVALUATION.format(found.card["model_name"], **found.card["dataset"]),
    "Intervention": lambda found: (
        f"{counted(len(found.removed), 'position')} taken away, layer {found.layer}"
    ),
    "Diagnosis": lambda found: (
        f"Prefix tokens, sinks and long tokens in {counted(len(found.flagged), 'input')}, {found.model}"
    ),
    "Perturbation": lambda p: f"{counted(len(p.deletion), 'token')} as patches go and come, layer {p.layer}",
}
