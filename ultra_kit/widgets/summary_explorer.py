"""`SummaryExplorer`: choose words of a summary and see which words of the document they came from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import traitlets

from ..text.evidence_words import Evidence
from ..text.summarizing import Summary
from .summary_books import Key, about, make_shelf, pack, pieces, values
from .view import View

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS = 56  # characters in a line of the picture's texts
_LINES = 70  # lines of the picture, at most


class SummaryExplorer(View):
    """Choose a word or a sentence of a summary: its evidence lights up in the document.

    Hover shows, a click or the arrow keys choose; layer and score can be switched, a baseline stands
    beside, and coverage marks document sentences that no summary word used and words of weak support.
    The numbers are those of `ultra_kit.evidence`, float32 and not rounded; of several words, their sum.

    Parameters
    ----------
    source : Summary, Evidence, or sequence of Evidence
        Of a summary, the evidence at the last layer and as many others as are little work is worked
        out beforehand; the live view asks for the rest, a word at a time. Evidence is shown as it is.
    scores : sequence of str
        What is offered of a summary; see `ultra_kit.evidence`.
    baselines : sequence of str
        Other methods that are offered of a summary.

    Attributes
    ----------
    chosen : list of int
        Summary words, by their index; the evidence of several is summed.
    layer : int
    kind : str
        Method, score and rule: one of ``kinds``.
    beside : str
        The kind that stands beside it, or "" for none.
    contrast : str
        "Why this word rather than that": the evidence for the log-probability of the one chosen word less
        that of `contrast`, in place of `kind`; "" for none.
    coverage : bool
        Whether unused sentences and weak words are marked.

    Raises
    ------
    TypeError, ValueError
        If the source is no such thing, is empty, or mixes summaries.

    Examples
    --------
    >>> import ultra_kit as uk
    >>> model = uk.load("briefs", pretrained=False)
    >>> s = uk.summarize(model, "A flood struck Tiza. It rained.", summary="The flood struck.")
    >>> view = uk.widgets.SummaryExplorer(s)
    >>> view.chosen = [1]
    >>> view
    SummaryExplorer(8 document words, 4 summary words, layer 5, ULTra: norm, positive, chosen='flood')
    """

    _name = "summary"
    _height = 760

    chosen = traitlets.List(traitlets.Int()).tag(state=True)
    layer = traitlets.Int().tag(state=True)
    kind = traitlets.Unicode().tag(state=True)
    beside = traitlets.Unicode("").tag(state=True)
    contrast = traitlets.Unicode("").tag(state=True)
    coverage = traitlets.Bool(False).tag(state=True)

    def __init__(
        self,
        source: Summary | Evidence | Sequence[Evidence],
        *,
        scores: Sequence[str] = ("norm", "logprob"),
        baselines: Sequence[str] = ("raw_attention", "rollout"),
    ) -> None:
        self._shelf = make_shelf(source, scores, baselines)
        first = self.kinds[0] if self.kinds else ""
        kind, layer, contrast = next(key for key in self._shelf.books if key[0] == first)
        book = self._shelf.books[kind, layer, contrast]
        real = np.array([any(c.isalnum() for c in book.words[w]) for w in book.rows], bool)
        best = int(book.rows[(book.matrix.max(1) * (real if real.any() else 1)).argmax()])
        others = [k for k in self.kinds if not k.startswith("ULTra") and k != kind]
        beside = others[0] if others else ""
        super().__init__(chosen=[best], layer=layer, kind=kind, beside=beside, contrast=contrast)

    @property
    def layers(self) -> list[int]:
        """The layers on offer, in order."""
        s = self._shelf.summary
        return sorted(
            {k for _, k, _ in self._shelf.books} | set(range(1, s.capture.n_layers + 1) if s else ())
        )

    @property
    def kinds(self) -> list[str]:
        """The ways of finding evidence on offer: method, score and rule."""
        return list(
            dict.fromkeys([*self._shelf.kinds, *(k for k, _, other in self._shelf.books if not other)])
        )

    @property
    def evidence(self) -> Evidence:
        """The evidence of the state's kind and layer, or of its contrast, as far as it was worked out.

        That of the chosen words is worked out if need be; ValueError where it cannot be.
        """
        return self._shelf.work_out(self._keys()[0], self._words())

    def row(self) -> np.ndarray:
        """Relevance (D,) of the document words for the chosen summary words together: what the page shades."""
        return _summed(self.evidence, self._words())

    @traitlets.validate("chosen", "layer", "kind", "beside")
    def _known(self, proposal: Any) -> Any:
        name, value = proposal["trait"].name, proposal["value"]
        if name == "chosen":
            value = sorted(set(value))
            allowed, text = (
                bool(value) and set(value) <= set(self._shelf.words),
                "words that can be explained",
            )
        else:
            known: dict[str, list[Any]] = {
                "layer": self.layers,
                "kind": [*self.kinds, ""] if not self.kinds else self.kinds,
            }
            options = known.get(name, ["", *self.kinds])
            allowed, text = value in options, f"one of {', '.join(map(repr, options))}"
        if not allowed:
            raise traitlets.TraitError(f"{name} must be {text}, got {value!r}")
        return value

    def _words(self) -> list[int]:
        if self.contrast and len(self.chosen) > 1:
            raise ValueError(
                f"a contrast needs one chosen word, got {self.chosen}; choose one, or set contrast=''"
            )
        return list(self.chosen)

    def _keys(self) -> list[Key]:
        """What the panels show: the choice, and what stands beside it."""
        left: Key = ("", self.layer, self.contrast) if self.contrast else (self.kind, self.layer, "")
        return [left, *([(self.beside, self.layer, "")] if self.beside else [])]

    def _work_out_shown(self) -> None:
        """Work out what the state shows, if it can be."""
        words = self._shelf.words if self.coverage else self.chosen
        for key in self._keys():
            if self._shelf.summary is not None and (not key[2] or len(self.chosen) == 1):
                self._shelf.work_out(key, self.chosen if key[2] else words)

    def data(self) -> dict[str, Any]:
        """The texts in pieces, and the evidence with its coverage; see `ultra_kit.widgets.summary_books.pack`."""
        self._work_out_shown()
        ev = self._shelf.first
        return {
            **pack(self._shelf, self._keys()),
            "document": pieces(ev.document, ev.document_sentences),
            "summary": pieces(ev.text, ev.sentences),
            "n_words": len(ev.document_words),
            "explained": self._shelf.words,
            "layers": self.layers,
            "kinds": self.kinds,
            "can_contrast": self._shelf.summary is not None,
            "lut": _shades(),
        }

    def answer(self, message: dict[str, Any]) -> tuple[dict[str, Any], list[bytes]] | None:
        """Give the evidence of some words that the page has not, worked out now if it has to be."""
        key = (str(message["kind"]), int(message["layer"]), str(message["contrast"]))
        words = [int(w) for w in message["words"]]
        book = self._shelf.work_out(key, words)
        # The whole book once it is complete: with it comes the coverage.
        part = book if not self._shelf.lacking(key, self._shelf.words) else _only(book, words)
        return {"book": about(key, part, self._shelf.words)}, [values(part)]

    def figure(self) -> Figure:
        """Draw the summary, and the document shaded for the chosen words, a panel a kind."""
        from ..plots.style import styled

        self._work_out_shown()
        return styled(self._draw)()

    def _draw(self) -> Figure:
        from matplotlib.figure import Figure

        from ..plots.text_lines import CELL, LINE

        keys = self._keys()
        ev = self._shelf.first
        said, written = _flowed(ev.text, _COLUMNS * len(keys)), _flowed(ev.document, _COLUMNS)
        across = (len(keys) * (_COLUMNS + 4) - 2) * CELL
        tops = [1 + said[1][-1][0], 1 + written[1][-1][0]]
        height = sum(tops) * LINE + 1.75
        figure = Figure(figsize=(across, height))
        first = figure.add_axes((0, 1 - (0.4 + tops[0] * LINE) / height, 1, tops[0] * LINE / height))
        self._write_summary(first, said, tops[0], _COLUMNS * len(keys) + 4 * (len(keys) - 1) + 2)
        for k, key in enumerate(keys):
            left, wide = k * (_COLUMNS + 4) * CELL / across, (_COLUMNS + 2) * CELL / across
            ax = figure.add_axes((left, 0.75 / height, wide, tops[1] * LINE / height))
            bar = figure.add_axes((left + 0.05 * wide, 0.45 / height, 0.6 * wide, 0.16 / height))
            self._write_document(ax, bar, written, tops[1], key)
        return figure

    def _write_summary(self, ax: Axes, flowed: Any, lines: int, columns: int) -> None:
        from matplotlib.patches import Rectangle

        from ..plots.style import FOCUS
        from ..plots.text_lines import write

        words, places = flowed
        write(ax, words, places, columns, lines, None)
        for i in self.chosen:
            if i < len(places):
                line, column, width = places[i]
                box = Rectangle((column - 0.25, line + 0.04), width + 0.5, 0.92, fill=False)
                ax.add_patch(box).set(edgecolor=FOCUS, linewidth=2.5)
        note = "; blue line: document sentences that no summary word used" if self.coverage else ""
        ax.set_title(f"Summary; framed: the chosen words{note}", loc="left")

    def _write_document(self, ax: Axes, bar: Axes, flowed: Any, lines: int, key: Key) -> None:
        from ..plots.text_lines import write

        words, places = flowed
        lacking = self._shelf.lacking(key, self.chosen)
        row = None if lacking else _summed(self._shelf.books[key], self.chosen)
        top = 0.0 if row is None else float(row.max())
        shades = np.zeros(len(words)) if row is None or top <= 0 else row[: len(words)] / top
        write(ax, words, places, _COLUMNS + 2, lines, shades)
        for i in self._unused_words(key):
            if i < len(places):
                line, column, width = places[i]
                ax.plot([column, column + width], [line + 0.97] * 2, color="#0072B2", linewidth=2.5)
        name = f"rather than “{self.contrast}”" if key[2] else key[0]
        title = f"{name}, layer {self.layer}" + ("" if row is not None else ": not worked out")
        ax.set_title(title[:_COLUMNS], loc="left", parse_math=False)
        bar.imshow(np.frombuffer(_shades(), np.uint8).reshape(1, 256, 3), aspect="auto", extent=(0, 1, 0, 1))
        bar.set_yticks([])
        bar.set_xticks([0, 1], ["0", f"{top:.3g}"])
        bar.text(1.08, 0.5, "relevance (no unit)", va="center", transform=bar.transAxes)

    def _unused_words(self, key: Key) -> list[int]:
        """The document words in sentences that no summary word used, if that is asked and known."""
        book = self._shelf.books.get(key)
        if not self.coverage or key[2] or book is None or self._shelf.lacking(key, self._shelf.words):
            return []
        return [i for k in book.coverage().unused for i in range(*book.document_sentences[k])]

    def __repr__(self) -> str:
        ev = self._shelf.first
        name = f"contrast={self.contrast[:40]!r}" if self.contrast else self.kind
        said = " ".join(ev.words[w] for w in self.chosen)
        return (
            f"SummaryExplorer({len(ev.document_words)} document words, {len(ev.words)} summary words, "
            f"layer {self.layer}, {name}, chosen={said if len(said) <= 60 else said[:59] + '…'!r})"
        )


def _only(book: Evidence, words: Sequence[int]) -> Evidence:
    at = np.flatnonzero(np.isin(book.rows, words))
    shares = {k: v[at] for k, v in book.shares.items()}
    return replace(book, matrix=book.matrix[at], rows=book.rows[at], shares=shares)


def _summed(book: Evidence, words: Sequence[int]) -> np.ndarray:
    return np.sum([book.row(w).astype(np.float64) for w in words], axis=0)


def _flowed(text: str, columns: int) -> tuple[Any, list[tuple[int, int, int]]]:
    """The words of a text, shortened to fit, and their places, as many as the picture has lines for."""
    from ..plots.text_lines import flow
    from ..text.words import split_words

    words = [w if len(w.text) <= 30 else w._replace(text=w.text[:29] + "…") for w in split_words(text)]
    places = flow(words, text, columns)
    shown = sum(line < _LINES for line, _, _ in places)
    return words[:shown], places[:shown]


def _shades() -> bytes:
    """The colours of the texts, 256 x RGB: white, then those of `ultra_kit.plots`, on which black is read."""
    from ..plots.text_lines import COLOURS, DEEPEST

    table = COLOURS(np.linspace(0, DEEPEST, 256), bytes=True)[:, :3].copy()
    table[0] = 255
    return table.tobytes()
