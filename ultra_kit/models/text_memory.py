"""What the attention maps of a text take, and whether the device has it."""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import Tensor, nn

from ..types import UltraError

_GRAPH = 6
"""Tensors as large as an attention map that a block's graph and one backward pass hold at most."""


def planned_bytes(module: nn.Module, kind: str, n_tokens: int, n_decoder: int = 0) -> int:
    """Estimated bytes of a capture of so many tokens and one backward pass; 0 where the configuration names no heads."""
    config: Any = module.config
    if not isinstance(getattr(config, "num_attention_heads", None), int):
        return 0  # no attention, or none of a usual kind: the run itself will tell
    element = next(module.parameters()).element_size()
    heads, width = config.num_attention_heads, config.hidden_size
    depth = _depths(config, kind)
    squares = n_tokens**2 * depth["encoder" if n_decoder else "all"]
    if n_decoder:
        squares += n_decoder * (n_decoder + n_tokens) * depth["decoder"]
    rows = (n_tokens + n_decoder) * (30 * width * depth["all"] + 4 * config.vocab_size)
    return element * (_GRAPH * heads * squares + rows)


def check_memory(module: nn.Module, kind: str, inputs: dict[str, Tensor]) -> None:
    """Refuse a text whose maps need more than the device's whole memory."""
    ids = inputs["input_ids"]
    decoder = inputs["decoder_input_ids"].shape[1] if "decoder_input_ids" in inputs else 0
    need, have = planned_bytes(module, kind, ids.shape[1], decoder), _memory(ids.device)
    if have is not None and need > have:
        raise UltraError(
            f"{ids.shape[1] + decoder} tokens need about {need / 1e9:.3g} GB for their attention maps, the device "
            f"has {have / 1e9:.3g} GB; shorten the text"
        )


def _depths(config: Any, kind: str) -> dict[str, int]:
    """Blocks of each part of the model."""
    if kind != "encoder-decoder":
        return dict.fromkeys(("encoder", "decoder", "all"), int(config.num_hidden_layers))
    encoder = int(getattr(config, "encoder_layers", None) or config.num_hidden_layers)
    decoder = int(
        getattr(config, "decoder_layers", None) or getattr(config, "num_decoder_layers", None) or encoder
    )
    return {"encoder": encoder, "decoder": decoder, "all": encoder + decoder}


def _memory(device: torch.device) -> int | None:
    """Bytes of memory of a device; None where it can't be told."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return None
