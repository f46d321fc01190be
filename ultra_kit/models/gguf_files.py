"""Language models in GGUF files: dequantised to float32, with the tokenizer that the file holds."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import torch


def find_gguf(folder: str | Path) -> Path | None:
    """The GGUF file of a folder that holds no model of transformers; a ValueError if there are several."""
    found = sorted(Path(folder).glob("*.gguf"))
    if not found or (Path(folder) / "config.json").is_file():
        return None
    if len(found) > 1:
        raise ValueError(f"it must hold one .gguf file, got {len(found)}: {', '.join(f.name for f in found)}")
    return found[0]


def read_gguf(file: Path, *, pretrained: bool = True) -> tuple[Any, Any]:
    """The causal model, which can be saved as any other of transformers, and the tokenizer; random without `pretrained`."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    where: dict[str, Any] = {"pretrained_model_name_or_path": file.parent, "gguf_file": file.name}
    try:
        config: Any = AutoConfig.from_pretrained(**where)
    except (struct.error, IndexError, KeyError, UnicodeDecodeError) as error:
        raise ValueError(f"{file.name} is damaged, or no GGUF file ({error})") from None
    if hasattr(config, "quantization_config"):
        del config.quantization_config  # the file's, not the model's as it is kept
    config.dtype = torch.float32
    plain: Any = AutoModelForCausalLM.from_config(config)  # one that was read from GGUF refuses to be saved
    config.architectures = [type(plain).__name__]
    if pretrained:
        read: Any = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
        plain.load_state_dict(read.state_dict())
        plain.generation_config = read.generation_config
    return plain, AutoTokenizer.from_pretrained(**where)
