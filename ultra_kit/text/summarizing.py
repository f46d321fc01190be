"""A language model's summary of a document, with one forward pass over both.

Both go through the model together (teacher forcing). Position i predicts token i + 1: the position that *emits* a
summary token is the one before the position that *holds* it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from ..maps.forward_pass import capture
from ..maps.scores import read_by_head
from ..types import Capture, UltraError
from ..types.checks import one_of, whole_number
from ..types.torch_modes import plain_torch
from .tokenizing import checked_text, decode, encode, encode_summary, generate, text_model
from .words import Word, split_sentences, split_words, with_tokens


@dataclass(frozen=True, eq=False, repr=False)
class Summary:
    """A document, its summary, and one forward pass over both; made by `summarize`.

    Attributes
    ----------
    document, text : str
        The document and the summary.
    capture : Capture
        All tokens in one space: prompt, document and summary; encoder, then decoder.
    document_words, words : tuple of Word, with the positions of their tokens
    document_sentences, sentences, document_span, span : (int, int), or a tuple of them
        First and last + 1: of the sentences' words, and of the positions of document and summary.
    token_ids, written_by, cut : tuple of int, {"model", "user"}, bool
        The summary's tokens, whose they are, and whether the model stopped only because it had no tokens left.
    prompt, chat : str, bool
        What the model was asked, and whether through the chat template.
    """

    document: str
    text: str
    capture: Capture
    document_words: tuple[Word, ...]
    words: tuple[Word, ...]
    document_sentences: tuple[tuple[int, int], ...]
    sentences: tuple[tuple[int, int], ...]
    document_span: tuple[int, int]
    span: tuple[int, int]
    token_ids: tuple[int, ...]
    written_by: str = "model"
    cut: bool = False
    prompt: str = "{document}"
    chat: bool = False

    def positions(self, word: int, *, at: str = "emits") -> np.ndarray:
        """Positions, int64, where the tokens of summary word `word` are: `at` "emits", predicted, or "holds", one later."""
        one_of("at", at, ("emits", "holds"))
        whole_number("word", word, 0, len(self.words) - 1)
        return np.array(self.words[word].tokens, dtype=np.int64) - (at == "emits")

    @cached_property
    def sinks(self) -> np.ndarray:
        """Positions of special tokens outside of document and summary: BOS, separators, ends."""
        special = set(self.capture.model.tokenizer.all_special_ids)  # type: ignore[attr-defined]
        inputs = self.capture.inputs
        ids = [
            t for key in ("input_ids", "decoder_input_ids") if key in inputs for t in inputs[key][0].tolist()
        ]
        inside = {*range(*self.document_span), *range(*self.span)}
        return np.array([i for i, t in enumerate(ids) if t in special and i not in inside], dtype=np.int64)

    @cached_property
    @plain_torch()
    def log_probabilities(self) -> np.ndarray:
        """Natural logarithm of the probability of each summary token, (T,)."""
        first, last = self.span
        with torch.no_grad():
            logits = read_by_head(self.capture, self.capture.latents[-1][first - 1 : last - 1].detach())
        chosen = torch.tensor(self.token_ids, device=logits.device)[:, None]
        return logits.float().log_softmax(-1).gather(1, chosen)[:, 0].cpu().numpy()

    @cached_property
    def word_log_probabilities(self) -> np.ndarray:
        """The sum over the tokens of each word, (words,): the lowest is what the model would have said least."""
        return np.array([sum(self.log_probabilities[p - self.span[0]] for p in w.tokens) for w in self.words])

    def __repr__(self) -> str:
        cut = f", cut after {len(self.token_ids)} tokens" if self.cut else ""
        return (
            f"Summary({len(self.document_words)} words in {len(self.words)}, {self.capture.model.name!r}, "
            f"written by the {self.written_by}{cut}): {self.text[:80]!r}"
        )


def summarize(
    model: Any,
    document: str,
    *,
    summary: str | None = None,
    prompt: str | None = None,
    chat: bool | None = None,
    max_new_tokens: int = 80,
    num_beams: int = 1,
    repetition_penalty: float = 1.0,
) -> Summary:
    """Write a summary, or take one, and run the model once over document and summary.

    Parameters
    ----------
    model : Backbone or nn.Module, causal or encoder-decoder
    document, summary : str
        Special tokens in them are read as plain text; with `summary` the model writes none.
    prompt : str, optional
        With ``{document}`` in it. By default the model's own; else, in a chat, `ASK`; `CONTINUE` for
        other causal models; the document alone for an encoder-decoder. Before a long document an instruction is forgotten.
    chat : bool, optional
        Whether to use the tokenizer's chat template; by default where there is one.
    max_new_tokens, num_beams : int
        Of what the model writes; one beam is greedy. Where it comes to no end the summary is marked as cut.
    repetition_penalty : float
        At least 1: makes tokens less likely that the summary holds already (Keskar et al., 2019), not the document's.

    Returns
    -------
    Summary

    Raises
    ------
    ValueError, TypeError, UltraError
        For a text without a word, a prompt without ``{document}``, too many tokens, or a model that writes no
        text or has no fast tokenizer; an UltraError if it writes nothing, or there is too little memory.

    Examples
    --------
    >>> import ultra_kit as uk
    >>> model = uk.load("briefs", pretrained=False)
    >>> s = uk.summarize(model, "A flood struck Tiza.", summary="The flood struck.")
    >>> [w.text for w in s.words]
    ['The', 'flood', 'struck', '.']
    """
    backbone = text_model(model)
    ids, *_ = encode(backbone, checked_text(document, "document"), prompt, chat)
    if summary is None:
        new, cut = generate(backbone, ids, max_new_tokens, num_beams, repetition_penalty)
        made = {"written_by": "model", "cut": cut}
    else:
        new, made = encode_summary(backbone, checked_text(summary, "summary"), ids), {"written_by": "user"}
    return read_together(backbone, document, new, prompt, chat, **made)


def read_together(
    backbone: Any, document: str, token_ids: Sequence[int], prompt: str | None, chat: bool | None, **made: Any
) -> Summary:
    """Run the model once over a document and the tokens of its summary; all else is as in `Summary`."""
    words, new = split_words(document), list(token_ids)
    ids, doc_at, spans, asked = encode(backbone, document, prompt, chat)
    first, inputs = len(ids), {"input_ids": ids + new}
    if backbone.kind == "encoder-decoder":
        first += 1
        inputs = {"input_ids": ids, "decoder_input_ids": [backbone.decoder_start, *new]}
    cap = capture(backbone, inputs)
    text, token_spans = decode(backbone.tokenizer, new)
    if not any(c.isalnum() for c in text):
        raise UltraError(f"{backbone.name!r} wrote no word ({text!r}); try another prompt, or pass summary=")
    said = split_words(text)
    return Summary(
        document=document,
        text=text,
        capture=cap,
        document_words=with_tokens(words, spans, doc_at),
        words=with_tokens(said, token_spans, first),
        document_sentences=split_sentences(words, document),
        sentences=split_sentences(said, text),
        document_span=(doc_at, doc_at + len(spans)),
        span=(first, first + len(new)),
        token_ids=tuple(new),
        **asked,
        **made,
    )
