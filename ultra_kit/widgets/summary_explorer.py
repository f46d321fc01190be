"""`SummaryExplorer`: choose words of a summary and see which words of the document they came from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import traitlets

from ..runs.intervening import Intervention, intervene
from ..text.evidence_words import Evidence
from .map_books import AGAINST, Key, answer_of
from .summary_books import Source, SummaryShelf, evidence_of, pack_evidence, page_form, pieces
from .view import View, must_be_one_of, what_if

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class SummaryExplorer(View):
    """Choose a word or a sentence of a summary: its evidence lights up in the document.

    Hover shows, a click or the arrow keys choose. The numbers are those of `ultra_kit.evidence`, float32 and not rounded.

    Parameters
    ----------
    source : Summary, Evidence, or sequence of Evidence
        Of a summary, the evidence at the model's own layer (of all words, or of the longest) and as much else as is
        little work is worked out beforehand; the live view asks for the rest, a word at a time. Evidence is shown as it is.
    scores, baselines : sequence of str
        Scores and other methods that are offered of a summary; see `ultra_kit.evidence`. The view opens with the first
        score, by default the model's own.

    Attributes
    ----------
    chosen : list of int
        Summary words, by their index; the evidence of several is summed, each word's scaled to the sum 1.
    layer, kind, beside : int, str, str
        Which evidence, of ``layers`` and ``kinds``, and the kind that stands beside it, "" for none.
    contrast : str
        In place of `kind` and `beside` why the one chosen word rather than this, their difference in log-probability: what
        speaks for the one, and for the other; "" for none.
    coverage : bool
        Whether sentences that no summary word used and words of weak support are marked.

    Raises
    ------
    TypeError, ValueError
        If the source is no such thing, is empty, or mixes summaries.

    Examples
    --------
    >>> import ultra_kit as uk
    >>> s = uk.summarize(uk.load("briefs", pretrained=False), "A flood struck Tiza.", summary="The flood.")
    >>> view = uk.widgets.SummaryExplorer(s)
    >>> view.chosen = [1]
    >>> view
    SummaryExplorer(5 document words, 3 summary words, layer 3, ULTra: logprob, positive, chosen='flood')
    """

    _name = "summary"
    _height = 760
    heading = "What each word of a summary rests on"

    chosen = traitlets.List(traitlets.Int()).tag(state=True)
    layer = traitlets.Int().tag(state=True)
    kind = traitlets.Unicode().tag(state=True)
    beside = traitlets.Unicode("").tag(state=True)
    contrast = traitlets.Unicode("").tag(state=True)
    coverage = traitlets.Bool(False).tag(state=True)

    def __init__(
        self,
        source: Source,
        *,
        scores: Sequence[str] | None = None,
        baselines: Sequence[str] = ("raw_attention", "rollout"),
    ) -> None:
        self._shelf = SummaryShelf(source, scores, baselines)
        key = self._shelf.begin
        ev = evidence_of(self._shelf.books[key])
        real = np.array([any(c.isalnum() for c in ev.words[w]) for w in ev.rows], bool)
        best = (ev.row_shares.max(1) * (real if real.any() else 1)).argmax()
        others = [k for k in self.kinds if not k.startswith("ULTra") and k != key.kind]
        super().__init__(
            chosen=[int(ev.rows[best])],
            beside=others[0] if others else "",
            kind="" if key.contrast else key.kind,
            layer=key.layer,
            contrast=key.contrast,
        )

    @property
    def layers(self) -> list[int]:
        """The layers on offer, in order."""
        return sorted(self._shelf.layers)

    @property
    def kinds(self) -> list[str]:
        """The ways of finding evidence on offer: method, score and rule."""
        return self._shelf.kinds

    @property
    def evidence(self) -> Evidence:
        """The evidence of the state's kind and layer, or of its contrast, as far as it was worked out.

        That of the chosen words is worked out if need be; ValueError where it cannot be.
        """
        if self.contrast and len(self.chosen) > 1:
            raise ValueError(
                f"a contrast needs one chosen word, got {self.chosen}; choose one, or set contrast=''"
            )
        key = self._keys()[0]
        self._shelf.work_out(key, self.chosen)
        return evidence_of(self._shelf.books[key])

    def row(self) -> np.ndarray:
        """Relevance (D,) of the document words for the chosen summary words together: what the page shades."""
        return self._summed(self.evidence)

    def _summed(self, ev: Evidence) -> np.ndarray:
        if len(self.chosen) > 1:
            ev = replace(ev, matrix=ev.row_shares)
        return np.sum([ev.row(w).astype(np.float64) for w in self.chosen], axis=0)

    @traitlets.validate("chosen", "layer", "kind", "beside")
    def _known(self, proposal: Any) -> Any:
        name, value = proposal["trait"].name, proposal["value"]
        if name == "chosen":
            if not value or not set(value) <= set(self._shelf.words):
                raise traitlets.TraitError(f"chosen must be words that can be explained, got {value!r}")
            return sorted(set(value))
        if name == "layer":
            return must_be_one_of(proposal, self.layers)
        return must_be_one_of(proposal, ["", *self.kinds] if name == "beside" else self.kinds or [""])

    def _keys(self) -> list[Key]:
        """What the panels show: the choice, and what stands beside it."""
        if self.contrast:
            sides = [Key(kind, self.layer, self.contrast) for kind in ("", AGAINST)]
            return sides if self._shelf.summary is not None or sides[1] in self._shelf.books else sides[:1]
        return [Key(kind, self.layer) for kind in ([self.kind, self.beside] if self.beside else [self.kind])]

    def _work_out_shown(self) -> None:
        """Work out what the state shows, if it can be."""
        for key in self._keys():
            if self._shelf.summary is not None and (not key.contrast or len(self.chosen) == 1):
                words = self._shelf.words if self.coverage and not key.contrast else self.chosen
                self._shelf.work_out(key, words)

    def data(self) -> dict[str, Any]:
        """The texts in pieces, and the evidence with its coverage."""
        from .summary_figure import shades

        self._work_out_shown()
        ev = self._shelf.first
        return {
            **pack_evidence(self._shelf, self._keys()),
            "document": pieces(ev.document, ev.document_sentences),
            "summary": pieces(ev.text, ev.sentences),
            "explained": self._shelf.words,
            "layers": self.layers,
            "kinds": self.kinds,
            "can_contrast": self._shelf.summary is not None,
            "cut": ev.cut,
            "lut": shades(),
        }

    def what_if(self, share: float = 0.1, *, keep: bool = False) -> Intervention:
        """What the model says in place of the first chosen word without the document words that its evidence names.

        With `keep` it is without all other document words. `share` is that of the document's words, at least one; see
        `ultra_kit.intervene`. A ValueError where the view was given evidence, not a summary.
        """
        s = self._shelf.summary
        if s is None:
            raise ValueError("to take words away the view needs a summary: SummaryExplorer(s)")
        ev, row = self.evidence, self.row()
        order = np.argsort(-row, kind="stable")[: max(1, round(share * len(row)))]
        named = np.isin(np.arange(len(row)), order) & (row > 0)
        gone = [p for w in np.flatnonzero(named != keep) for p in s.document_words[w].tokens]
        token = int(s.positions(self.chosen[0])[0])
        return intervene(s.capture, remove=gone or [token], token=token, layer=ev.layer)

    def answer(self, message: dict[str, Any]) -> tuple[dict[str, Any], list[bytes]] | None:
        """Give the evidence of some words that the page has not, worked out now if it has to be."""
        if "what_if" in message:
            from ..plots import show_intervention

            found = self.what_if(keep=bool(message.get("keep")))
            return what_if(found.sentence, show_intervention(found))
        key = Key(str(message["kind"]), int(message["layer"]), str(message["contrast"]))
        words = [int(w) for w in message["words"]]
        self._shelf.work_out(key, words)
        # The whole book once it is complete: with it comes the coverage.
        book = self._shelf.books[key]
        part = book.only(words) if self._shelf.lacking(key, self._shelf.words) else book
        return answer_of(page_form(self._shelf, key, part), part.rows)

    def figure(self) -> Figure:
        """Draw the summary, and the document shaded for the chosen words, a panel per kind."""
        from .summary_figure import Panel, draw_summary

        self._work_out_shown()
        panels = []
        for key in self._keys():
            there = not self._shelf.lacking(key, self.chosen)
            whole = not key.contrast and not self._shelf.lacking(key, self._shelf.words)
            ev = evidence_of(self._shelf.books[key]) if there else None
            side = "for" if key.kind == AGAINST else "rather than"
            name = f"{side} “{self.contrast}”" if key.contrast else key.kind
            unused = ev.coverage().unused if ev and whole and self.coverage else ()
            panels.append(Panel(f"{name}, layer {key.layer}", self._summed(ev) if ev else None, unused))
        return draw_summary(self._shelf.first, self.chosen, panels, coverage=self.coverage)

    def __repr__(self) -> str:
        ev = self._shelf.first
        name = f"contrast={self.contrast[:40]!r}" if self.contrast else self.kind
        said = " ".join(ev.words[w] for w in self.chosen)
        return (
            f"SummaryExplorer({len(ev.document_words)} document words, {len(ev.words)} summary words, "
            f"layer {self.layer}, {name}, chosen={said if len(said) <= 60 else said[:59] + '…'!r})"
        )
