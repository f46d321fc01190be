"""A language model's summary of a document, with one forward pass over both.

The document and the summary go through the model together (teacher forcing). Position i predicts token
i + 1: the position that *emits* a summary token is the one before the position that *holds* it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from .capture import capture
from .models import load
from .types import Backbone, Capture, UltraError
from .words import Word, split_sentences, split_words, with_tokens

ASK = "Summarize the following text in one or two sentences.\n\n{document}"
"""What an instructed model is asked."""
CONTINUE = "{document}\n\nTL;DR:"
"""What a plain causal model is given to continue (Radford et al., 2019)."""
_MARK = "\ue000DOCUMENT\ue001"


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
    backbone = _text_model(model)
    words = split_words(_checked(document, "document"))
    with torch.inference_mode(False):
        ids, doc_at, spans = _encode(backbone, document, prompt, chat)
        if summary is None:
            new = _generate(backbone, ids, max_new_tokens, num_beams)
        else:
            new = _own(backbone, _checked(summary, "summary"), ids)
        seq2seq = backbone.kind == "encoder-decoder"
        first = len(ids) + 1 if seq2seq else len(ids)
        inputs = {"input_ids": ids + ([] if seq2seq else new)}
        if seq2seq:
            inputs["decoder_input_ids"] = [backbone.decoder_start, *new]
        cap = capture(backbone, inputs)
    text, token_spans = _decode(backbone.tokenizer, new)
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


# --- from text to tokens -----------------------------------------------------------------------------


def _text_model(model: Any) -> Any:
    backbone: Backbone = load(model)
    kind = getattr(backbone, "kind", backbone.modality)
    if kind not in ("causal", "encoder-decoder"):
        raise TypeError(
            f"summarize needs a causal or encoder-decoder language model, {backbone.name!r} is of kind {kind!r}"
        )
    if not getattr(getattr(backbone, "tokenizer", None), "is_fast", False):
        raise TypeError(
            f"the model {backbone.name!r} needs a fast tokenizer, which knows the characters of its tokens; pass "
            "load(module, transform=tokenizer)"
        )
    return backbone


def _checked(text: str, what: str) -> str:
    if not isinstance(text, str):
        raise TypeError(f"{what} must be a str, got {type(text).__name__}")
    if not any(c.isalnum() for c in text):
        shown = text if len(text) < 40 else text[:37] + "..."
        raise ValueError(f"{what} must hold at least one word, got {shown!r}")
    return text


def _encode(
    backbone: Any, document: str, prompt: str | None, chat: bool | None
) -> tuple[list[int], int, list[tuple[int, int]]]:
    """Token ids of prompt and document, where the document's begin, and their characters in it."""
    tokenizer = backbone.tokenizer
    seq2seq = backbone.kind == "encoder-decoder"
    has_chat = bool(getattr(tokenizer, "chat_template", None)) and not seq2seq
    if chat and not has_chat:
        raise ValueError(f"the tokenizer of {backbone.name!r} has no chat template; leave chat out")
    use_chat = has_chat and backbone.prompt is None if chat is None else chat
    default = backbone.prompt or ("{document}" if seq2seq else CONTINUE)
    template = prompt if prompt is not None else (ASK if use_chat else default)
    if template.count("{document}") != 1:
        raise ValueError(f"prompt must hold {{document}} once, got {template!r}")
    lead, trail = _special_ends(tokenizer)
    if use_chat:
        message = [{"role": "user", "content": template.replace("{document}", _MARK)}]
        whole = tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
        before, _, after = whole.partition(_MARK)
        lead, trail = [], []  # the template writes its own
    else:
        before, _, after = template.partition("{document}")

    def ids(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False)["input_ids"]) if text else []

    found = tokenizer(
        document, add_special_tokens=False, split_special_tokens=True, return_offsets_mapping=True
    )
    head = [*lead, *ids(before)]
    tail = [*ids(after), *(trail if seq2seq else [])]
    whole_ids = [*head, *found["input_ids"], *tail]
    backbone.check_length(len(whole_ids))
    return whole_ids, len(head), [tuple(pair) for pair in found["offset_mapping"]]


def _special_ends(tokenizer: Any) -> tuple[list[int], list[int]]:
    """The special tokens that the tokenizer puts before and after a text."""
    whole = list(tokenizer("a")["input_ids"])
    inner = list(tokenizer("a", add_special_tokens=False)["input_ids"])
    for i in range(len(whole) - len(inner) + 1):
        if whole[i : i + len(inner)] == inner:
            return whole[:i], whole[i + len(inner) :]
    return [], []


def _own(backbone: Any, summary: str, ids: list[int]) -> list[int]:
    """Token ids of a given summary; a byte-level tokenizer expects the space before its first word."""
    tokenizer = backbone.tokenizer
    spaced = tokenizer.convert_ids_to_tokens(tokenizer(" a", add_special_tokens=False)["input_ids"])[:1]
    last = tokenizer.decode(ids[-1:])
    special = ids[-1] in tokenizer.all_special_ids
    if spaced[0].startswith("Ġ") and backbone.kind == "causal" and not special and not last[-1:].isspace():
        summary = f" {summary}"
    found = tokenizer(summary, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    backbone.check_length(len(found) + (len(ids) if backbone.kind == "causal" else 1))
    return list(found)


def _generate(backbone: Any, ids: list[int], max_new_tokens: int, num_beams: int) -> list[int]:
    for name, value in (("max_new_tokens", max_new_tokens), ("num_beams", num_beams)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be an int of at least 1, got {value!r}")
    seq2seq = backbone.kind == "encoder-decoder"
    backbone.check_length(max_new_tokens + (1 if seq2seq else len(ids)))
    module, tokenizer = backbone.module, backbone.tokenizer
    given = torch.tensor([ids], device=next(module.parameters()).device)
    end = tokenizer.eos_token_id if tokenizer.eos_token_id is not None else module.config.eos_token_id
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else end
    pad = (pad[0] if pad else 0) if isinstance(pad, list) else pad or 0
    training = module.training
    try:
        module.eval()
        with torch.no_grad():
            out = module.generate(
                input_ids=given,
                attention_mask=torch.ones_like(given),
                max_new_tokens=max_new_tokens,
                num_beams=num_beams,
                do_sample=False,
                temperature=None,
                top_p=None,
                top_k=None,
                pad_token_id=pad,
            )[0].tolist()
    finally:
        module.train(training)
    new = out[1:] if seq2seq else out[len(ids) :]
    ends = {pad, *(end if isinstance(end, list) else [end])}
    while new and new[-1] in ends:
        new.pop()
    if not new:
        raise UltraError(f"the model {backbone.name!r} wrote nothing; try another prompt, or pass summary=")
    return new


def _decode(tokenizer: Any, ids: list[int]) -> tuple[str, list[tuple[int, int]]]:
    """The text of tokens, and the characters of each in it: what the text gains with it."""
    lengths = [0]
    for k in range(1, len(ids) + 1):
        part = tokenizer.decode(ids[:k])
        lengths.append(max(lengths[-1], len(part.rstrip("�"))))
    text = tokenizer.decode(ids)
    lengths[-1] = len(text)
    return text, list(pairwise(lengths))


def _row(cap: Capture, key: str) -> list[int]:
    return cap.inputs[key][0].tolist() if key in cap.inputs else []
