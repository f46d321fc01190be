"""Language models in GGUF files: dequantised to float32, with the tokenizer that the file holds."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import torch


def read_gguf(file: Path, pretrained: bool = True) -> tuple[Any, Any]:
    """The causal model (random without `pretrained`) and its tokenizer; a ValueError for a damaged file."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    where: dict[str, Any] = {"pretrained_model_name_or_path": file.parent, "gguf_file": file.name}
    try:
        config = AutoConfig.from_pretrained(**where, dtype=torch.float32)
    except (struct.error, IndexError, KeyError) as error:
        raise ValueError(f"{file.name} is damaged, or no GGUF file ({error})") from None
    make: Any = AutoModelForCausalLM
    module = make.from_pretrained(**where, dtype=torch.float32) if pretrained else make.from_config(config)
    return module, AutoTokenizer.from_pretrained(**where)
