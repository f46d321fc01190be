"""The bundled language model `briefs`, which summarises the reports of `ultra_kit.data.brief`."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoTokenizer, LlamaForCausalLM

from .bundled_files import fill, read_bundled, read_settings
from .huggingface_text import wrap_text
from .text_backbone import TextBackbone


def doubt_words(tokenizer: Any, text: str) -> str | None:
    """Which words of a text no report has, in one sentence; such words fall into letters, which the model has never seen."""
    unknown = [w for w in dict.fromkeys(re.findall(r"\w+", text)) if len(tokenizer.tokenize(w)) > 1]
    said = f"briefs knows the words of its reports, not {', '.join(unknown[:5])}; for other texts use load('smollm2')"
    return said if unknown else None


def load_briefs(folder: Path, *, pretrained: bool = True) -> TextBackbone:
    """The model in a folder with the tokenizer, ``config.json`` and ``model.safetensors``; without `pretrained` random."""
    _, state = read_bundled("briefs", folder, pretrained, "tokenizer.json")
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    config.dtype = torch.float32
    module = LlamaForCausalLM(config)
    if pretrained:
        state = {key: t.float() for key, t in state.items()}
        if config.tie_word_embeddings and "model.embed_tokens.weight" in state:
            state.setdefault("lm_head.weight", state["model.embed_tokens.weight"])
        fill(module, state, folder)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    backbone = wrap_text(module.eval(), name="briefs", tokenizer=tokenizer, prompt="{document}<sep>")
    backbone.facts["pretrained"] = pretrained
    doubt = partial(doubt_words, tokenizer) if pretrained else backbone.doubt
    return replace(backbone, settings=read_settings(folder), doubt=doubt)
