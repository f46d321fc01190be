"""From texts to the tokens that a language model takes, and from those that it writes back to text."""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import Any

import torch

from ..models.hooks_and_flags import as_it_was
from ..models.loading import load
from ..models.text_backbone import tokenized, warn_if_path
from ..types import Backbone, UltraError
from ..types.checks import whole_number
from ..types.torch_modes import plain_torch

ASK = "{document}\n\nSummarize the text above in one or two sentences."
"""What an instructed model is asked: after the document, since it forgets what stands before a long one."""
CONTINUE = "{document}\n\nTL;DR:"
"""What a plain causal model is given to continue (Radford et al., 2019)."""
_MARK = "\ue000DOCUMENT\ue001"


def text_model(model: Any) -> Any:
    """The backbone of a language model that writes, with a tokenizer that knows the characters of its tokens."""
    backbone: Backbone = load(model)
    kind = getattr(backbone, "kind", backbone.modality)
    if kind not in ("causal", "encoder-decoder"):
        raise TypeError(
            f"summarize needs a causal or encoder-decoder language model, {backbone.name!r} is of kind {kind!r}"
        )
    if not getattr(getattr(backbone, "tokenizer", None), "is_fast", False):
        raise TypeError(f"{backbone.name!r} needs a fast tokenizer; pass load(module, transform=tokenizer)")
    return backbone


def checked_text(text: str, what: str) -> str:
    """The text, if it holds a word."""
    if not isinstance(text, str):
        raise TypeError(f"{what} must be a str, got {type(text).__name__}")
    warn_if_path(text)
    if not any(c.isalnum() for c in text):
        shown = text if len(text) < 40 else text[:37] + "..."
        raise ValueError(f"{what} must hold at least one word, got {shown!r}")
    return text


def encode(
    backbone: Any, document: str, prompt: str | None, chat: bool | None
) -> tuple[list[int], int, list[tuple[int, int]], dict[str, Any]]:
    """Token ids of prompt and document, where the document's begin, their characters in it; the prompt, and if in a chat."""
    tokenizer = backbone.tokenizer
    seq2seq = backbone.kind == "encoder-decoder"
    has_chat = bool(getattr(tokenizer, "chat_template", None)) and not seq2seq
    if chat and not has_chat:
        raise ValueError(f"the tokenizer of {backbone.name!r} has no chat template; leave chat out")
    use_chat = has_chat and backbone.prompt is None if chat is None else chat
    default = backbone.prompt or ("{document}" if seq2seq else CONTINUE)
    template = prompt if prompt is not None else (ASK if use_chat else default)
    if not isinstance(template, str) or template.count("{document}") != 1:
        raise ValueError(f"prompt must hold {{document}} once, got {template!r}")
    text, (lead, trail) = template.replace("{document}", _MARK), _special_ends(tokenizer)
    if use_chat:
        message = [{"role": "user", "content": text}]
        text = tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
        lead, trail = [], []  # the template writes its own
    before, _, after = text.partition(_MARK)

    def ids(text: str) -> list[int]:
        return list(tokenized(tokenizer, text, add_special_tokens=False)["input_ids"]) if text else []

    found = tokenized(
        tokenizer, document, add_special_tokens=False, split_special_tokens=True, return_offsets_mapping=True
    )
    head = [*lead, *ids(before)]
    tail = [*ids(after), *(trail if seq2seq else [])]
    whole_ids = [*head, *found["input_ids"], *tail]
    backbone.check_length(len(whole_ids))
    asked = {"prompt": template, "chat": use_chat}
    return whole_ids, len(head), [tuple(pair) for pair in found["offset_mapping"]], asked


def _special_ends(tokenizer: Any) -> tuple[list[int], list[int]]:
    """The special tokens that the tokenizer puts before and after a text."""
    whole = tokenizer("a", return_special_tokens_mask=True)
    ids, mask = whole["input_ids"], whole["special_tokens_mask"]
    return ids[: mask.index(0)], ids[len(mask) - mask[::-1].index(0) :]


def encode_summary(backbone: Any, summary: str, ids: list[int]) -> list[int]:
    """Token ids of a given summary; a byte-level tokenizer expects the space before its first word."""
    tokenizer = backbone.tokenizer
    spaced = tokenizer.convert_ids_to_tokens(tokenizer(" a", add_special_tokens=False)["input_ids"])[:1]
    last = tokenizer.decode(ids[-1:])
    special = ids[-1] in tokenizer.all_special_ids
    if spaced[0].startswith("Ġ") and backbone.kind == "causal" and not special and not last[-1:].isspace():
        summary = f" {summary}"
    found = plain_ids(tokenizer, summary)
    backbone.check_length(len(found) + (len(ids) if backbone.kind == "causal" else 1))
    return found


def plain_ids(tokenizer: Any, text: str) -> list[int]:
    """Token ids of a text in which special tokens are read as plain text."""
    return list(tokenized(tokenizer, text, add_special_tokens=False, split_special_tokens=True)["input_ids"])


@plain_torch()
def generate(
    backbone: Any, ids: list[int], max_new_tokens: int, num_beams: int, repetition_penalty: float = 1.0
) -> tuple[list[int], bool]:
    """Token ids that the model writes after those given, without the ends, and whether it was cut; always the same ones."""
    for name, value in (("max_new_tokens", max_new_tokens), ("num_beams", num_beams)):
        whole_number(name, value, 1)
    if not 1 <= repetition_penalty < float("inf"):
        raise ValueError(f"repetition_penalty must be at least 1 (no penalty), got {repetition_penalty}")
    seq2seq = backbone.kind == "encoder-decoder"
    backbone.check_length(max_new_tokens + (1 if seq2seq else len(ids)))
    module, tokenizer = backbone.module, backbone.tokenizer
    given = torch.tensor([ids], device=next(module.parameters()).device)
    said = [
        getattr(owner, "eos_token_id", None) for owner in (tokenizer, module.generation_config, module.config)
    ]
    ends = [e for end in said for e in (end if isinstance(end, (list, tuple)) else [end]) if e is not None]
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else [*ends, 0][0]
    first = 1 if seq2seq else len(ids)

    def penalised(given: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """The scores with what the summary holds made less likely; what the document says may be said again."""
        if waiting:  # Ctrl-C, which acts at the end of the block: a summary may take minutes
            raise KeyboardInterrupt
        held = given[:, first:]
        said = scores.gather(1, held)
        changed = torch.where(said < 0, said * repetition_penalty, said / repetition_penalty)
        return scores.scatter(1, held, changed)

    with as_it_was(module) as waiting, torch.no_grad():
        out = module.generate(
            input_ids=given,
            attention_mask=torch.ones_like(given),
            max_new_tokens=max_new_tokens,
            num_beams=num_beams,
            do_sample=False,
            pad_token_id=pad,
            eos_token_id=list(dict.fromkeys(ends)) or None,
            logits_processor=[penalised],
            return_dict_in_generate=False,
            # A model's own ones are for sampling; a forced end would hide that the summary was cut.
            **dict.fromkeys(("temperature", "top_p", "top_k", "forced_eos_token_id")),
        )[0].tolist()
    new = out[first:]
    cut = len(new) == max_new_tokens and new[-1] not in {pad, *ends}
    while new and new[-1] in {pad, *ends}:
        new.pop()
    while new and seq2seq and new[0] in tokenizer.all_special_ids:  # such as a start that is forced
        new.pop(0)
    if not new:
        raise UltraError(f"the model {backbone.name!r} wrote nothing; try another prompt, or pass summary=")
    return new, cut


def decode(tokenizer: Any, ids: list[int]) -> tuple[str, list[tuple[int, int]]]:
    """The text of tokens, and the characters of each in it: what the text gains with it."""
    parts = [tokenizer.decode(ids[:k]) for k in range(len(ids) + 1)]
    lengths = [*accumulate((len(part.rstrip("�")) for part in parts[:-1]), max), len(parts[-1])]
    return parts[-1], list(pairwise(lengths))
