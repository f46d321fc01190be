"""A language model's summary of a document, with one forward pass over both.

The document and the summary go through the model together (teacher forcing). Position i predicts token
i + 1: the position that *emits* a summary token is the one before the position that *holds* it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from ..maps.forward_pass import capture
from ..types import Capture, UltraError
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
    document_words, words : tuple of Word
        With the positions of their tokens in the capture; of the document and of the summary.
    document_sentences, sentences : tuple of (int, int)
        Bounds (first, last + 1) of sentences in the words.
    document_span, span : tuple of (int, int)
        Positions (first, last + 1) of the document's and of the summary's tokens.
    token_ids : tuple of int
        The summary's tokens.
    written_by : {"model", "user"}
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

    def positions(self, word: int, *, at: str = "emits") -> np.ndarray:
        """Positions of a summary word's tokens in the capture.

        Parameters
        ----------
        word : int
            Index into `words`.
        at : {"emits", "holds"}
            Where each token is predicted, or where it is read: one position later.

        Returns
        -------
        ndarray of int64
        """
        if at not in ("emits", "holds"):
            raise ValueError(f"at must be 'emits' or 'holds', got {at!r}")
        if not 0 <= word < len(self.words):
            raise ValueError(f"word must be in 0..{len(self.words) - 1}, got {word}")
        return np.array(self.words[word].tokens, dtype=np.int64) - (at == "emits")

    @cached_property
    def sinks(self) -> np.ndarray:
        """Positions of special tokens outside of document and summary: BOS, separators, ends."""
        special = set(self.capture.model.tokenizer.all_special_ids)  # type: ignore[attr-defined]
        ids = [i for key in ("input_ids", "decoder_input_ids") for i in _row(self.capture, key)]
        inside = {*range(*self.document_span), *range(*self.span)}
        return np.array([i for i, t in enumerate(ids) if t in special and i not in inside], dtype=np.int64)

    @cached_property
    def log_probabilities(self) -> np.ndarray:
        """Natural logarithm of the probability of each summary token, (T,)."""
        first, last = self.span
        with torch.no_grad():
            logits = self.capture.model.head(self.capture.latents[-1][first - 1 : last - 1].detach())
        if logits is None:
            raise UltraError(f"the model {self.capture.model.name!r} has no language-model head")
        rows = torch.arange(last - first, device=logits.device)
        chosen = torch.tensor(self.token_ids, device=logits.device)
        return logits.float().log_softmax(-1)[rows, chosen].cpu().numpy()

    def __repr__(self) -> str:
        return (
            f"Summary({len(self.document_words)} words in {len(self.words)}, {self.capture.model.name!r}, "
            f"written by the {self.written_by}): {self.text[:80]!r}"
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
) -> Summary:
    """Write a summary, or take one, and run the model once over document and summary.

    Parameters
    ----------
    model : Backbone or nn.Module
        A causal language model or an encoder-decoder, with a tokenizer.
    document : str
        Special tokens written in it are read as plain text.
    summary : str, optional
        Someone's own summary in place of the model's.
    prompt : str, optional
        With ``{document}`` in it. By default the model's own; else, in a chat, `ASK`; `CONTINUE` for
        other causal models; the document alone for an encoder-decoder.
    chat : bool, optional
        Put the prompt into the tokenizer's chat template; by default where it has one.
    max_new_tokens : int
    num_beams : int
        1 is greedy.

    Returns
    -------
    Summary

    Raises
    ------
    ValueError
        For a document or summary without a word, a prompt without ``{document}``, or more tokens than
        the model has positions for.
    TypeError
        For a model that writes no text, or has no tokenizer that knows the characters of its tokens.
    UltraError
        If the model writes nothing, or the maps need more memory than there is.

    Examples
    --------
    >>> import ultra_kit as uk
    >>> model = uk.load("briefs", pretrained=False)
    >>> s = uk.summarize(model, "A flood struck Tiza.", summary="The flood struck.")
    >>> [w.text for w in s.words]
    ['The', 'flood', 'struck', '.']
    """
    backbone = text_model(model)
    words = split_words(checked_text(document, "document"))
    with torch.inference_mode(False):
        ids, doc_at, spans = encode(backbone, document, prompt, chat)
        if summary is None:
            new = generate(backbone, ids, max_new_tokens, num_beams)
        else:
            new = encode_summary(backbone, checked_text(summary, "summary"), ids)
        seq2seq = backbone.kind == "encoder-decoder"
        first = len(ids) + 1 if seq2seq else len(ids)
        inputs = {"input_ids": ids + ([] if seq2seq else new)}
        if seq2seq:
            inputs["decoder_input_ids"] = [backbone.decoder_start, *new]
        cap = capture(backbone, inputs)
    text, token_spans = decode(backbone.tokenizer, new)
    if not any(c.isalnum() for c in text):
        raise UltraError(
            f"the model {backbone.name!r} wrote no word ({text!r}); try another prompt, or pass summary="
        )
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
        written_by="model" if summary is None else "user",
    )


def _row(cap: Capture, key: str) -> list[int]:
    return cap.inputs[key][0].tolist() if key in cap.inputs else []
