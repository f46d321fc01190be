"""Text models of the transformers library: causal, encoders and encoder-decoders."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from ..types import Settings
from .text_backbone import TextBackbone


def is_text_model(module: Any) -> bool:
    """Whether a model of transformers takes token ids, and nothing else has to come with them."""
    config = getattr(module, "config", None)
    return getattr(module, "main_input_name", "") == "input_ids" and not any(
        hasattr(config, part) for part in ("vision_config", "audio_config")
    )


def wrap_text(
    module: Any,
    *,
    name: str | None = None,
    source: str | None = None,
    tokenizer: Any = None,
    prompt: str | None = None,
) -> TextBackbone:
    """GPT-2, Llama, Qwen, Mistral, Gemma, Phi; BERT, RoBERTa, ModernBERT; T5, BART; their relatives as a backbone.

    `source` is the folder or repository of the tokenizer, if none is given.
    """
    config = module.config
    # As the modules of the library say of themselves.
    looks_back = any(getattr(m, "is_causal", False) is True for m in module.modules())
    if tokenizer is None and source is not None:
        tokenizer = find_tokenizer(source)
    if config.is_encoder_decoder:
        kind = "encoder-decoder"
    elif getattr(config, "is_decoder", False) or module.can_generate() or looks_back:
        kind = "causal"
    else:
        kind = "encoder"
    # The upper fifth of the layers of a model that writes: where evidence was best on those that were measured.
    upper: dict[str, Any] = {"layer": -(getattr(config, "num_hidden_layers", 0) // 5) - 1, "score": "logprob"}
    facts = {
        "model_type": config.model_type,
        "kind": kind,
        "attention": config._attn_implementation,
        "tokenizer": type(tokenizer).__name__,
    }
    return TextBackbone(
        name or type(module).__name__,
        module,
        tokenizer,
        kind,
        prompt,
        facts=facts,
        libraries=("transformers", "tokenizers"),
        settings=Settings(**upper if kind == "causal" and module.can_generate() else {}),
    )


def find_tokenizer(source: str) -> Any:
    """The tokenizer of a folder or repository, None where there is none; no code of it is run."""
    from transformers import AutoTokenizer

    # A tokenizer that is there has to be read; else what is raised depends on what is missing, and on whether
    # SentencePiece is installed (that raises a TypeError).
    missing = (OSError, ValueError, KeyError, TypeError)
    with contextlib.suppress(*(() if Path(source, "tokenizer.json").is_file() else missing)):
        found = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
        return found if found.vocab_size else None  # made of nothing where the folder holds no vocabulary
    return None
