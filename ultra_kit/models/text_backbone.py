"""Text Transformers as backbones: causal language models, encoders, encoder-decoders."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..types import AttentionStep, Layout, UltraError
from ..types.torch_modes import plain_torch
from .attention import record
from .encoder_decoder import record_encoder_decoder, run_from_encoder_decoder
from .hooks_and_flags import as_it_was, hooked
from .transformer_backbone import TransformerBackbone

SEQUENCES = ("input_ids", "decoder_input_ids")
_GRAPH = 6
"""Tensors as large as an attention map that a block's graph and one backward pass hold at most."""


@dataclass(frozen=True, eq=False, repr=False)
class TextBackbone(TransformerBackbone):
    """A text Transformer, called as the models of transformers are.

    `kind` is "causal", "encoder" or "encoder-decoder"; the tokens of the last are those of the encoder, then those
    of the decoder. `tokenizer` has the interface of transformers'; without one only token ids can be captured.
    `prompt`, with ``{document}`` in it, is what the model was trained to continue with a summary.
    """

    tokenizer: Any
    kind: str
    prompt: str | None = None
    modality: ClassVar[str] = "text"

    @property
    def _seq2seq(self) -> bool:
        return self.kind == "encoder-decoder"

    def smallest(self) -> dict[str, Tensor]:
        """Two tokens."""
        return {key: self._ids([0, 0]) for key in SEQUENCES[: 1 + self._seq2seq]}

    @property
    def max_tokens(self) -> int | None:
        """The most tokens of one sequence that the model has positions for; None without such a limit."""
        config: Any = self.module.config
        limit = getattr(config, "max_position_embeddings", None)
        if limit and getattr(config, "model_type", "") in ("roberta", "xlm-roberta", "camembert"):
            limit -= config.pad_token_id + 1  # their positions are counted from the pad id on
        return limit if limit and limit > 0 else None  # some say "no limit" with -1

    def prepare(self, x: Any) -> tuple[dict[str, Tensor], Layout, str]:
        """A text, or token ids as a tokenizer gives them ("input_ids", "attention_mask", ...), as tensors (1, length).

        The tokenizer adds its special tokens to a text; an encoder-decoder gets the decoder's start token where no
        "decoder_input_ids" are given. Leading special or masked tokens are the layout's prefix.
        """
        if isinstance(x, str):
            warn_if_path(x)
            if self.tokenizer is None:
                raise TypeError(
                    "a text needs a tokenizer: load(module, transform=tokenizer); or pass {'input_ids': token ids}"
                )
            if not x.strip():
                raise ValueError(f"the text must hold a character that is not a space, got {x!r}")
            inputs = {"input_ids": self._ids(tokenized(self.tokenizer, x)["input_ids"])}
        elif isinstance(x, Mapping) and "input_ids" in x:
            inputs = {key: self._ids(value) for key, value in x.items() if value is not None}
            if self.kind != "encoder":
                inputs.pop("token_type_ids", None)
        else:
            raise TypeError(
                f"a text model takes a str or a mapping with 'input_ids', got {type(x).__name__}; "
                "a picture goes to an image model, load('dinov2')"
            )
        if self._seq2seq and "decoder_input_ids" not in inputs:
            inputs["decoder_input_ids"] = self._ids([self.decoder_start])
        self._check_lengths(inputs)
        ids = inputs["input_ids"][0].tolist()
        mask = inputs.get("attention_mask", torch.ones(1, len(ids)))[0].tolist()
        special = set(getattr(self.tokenizer, "all_special_ids", ()))
        content = [i for i, t in enumerate(ids) if t not in special and mask[i]]
        sequence = [*ids, *inputs["decoder_input_ids"][0].tolist()] if self._seq2seq else ids
        layout = Layout("text", content[0] if content else 0, tokens=self.strings(sequence))
        original = x if isinstance(x, str) else self.decode(sequence)
        return inputs, layout, original

    @property
    def decoder_start(self) -> int:
        """The token with which the decoder of an encoder-decoder starts."""
        for name in ("decoder_start_token_id", "bos_token_id", "pad_token_id"):
            if (found := getattr(self.module.config, name, None)) is not None:
                return int(found)
        raise UltraError("the configuration names no decoder_start_token_id; pass decoder_input_ids too")

    def strings(self, ids: list[int]) -> tuple[str, ...]:
        """Each token as text, for showing; without a tokenizer its number."""
        if self.tokenizer is None:
            return tuple(str(i) for i in ids)
        return tuple(self.tokenizer.decode([i], clean_up_tokenization_spaces=False) for i in ids)

    def decode(self, ids: list[int]) -> str:
        """Tokens as one text, special ones left out."""
        if self.tokenizer is None:
            return " ".join(self.strings(ids))
        return self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)

    def run(self, inputs: dict[str, Tensor]) -> tuple[list[Tensor], list[AttentionStep]]:
        """One forward pass with explicit attention, refused where its maps need more memory than the device has."""
        n, n_decoder = (inputs[key].shape[1] if key in inputs else 0 for key in SEQUENCES)
        need, have = self.planned_bytes(n, n_decoder), _memory(inputs["input_ids"].device)
        if have is not None and need > have:
            raise UltraError(
                f"{n + n_decoder} tokens need about {need / 1e9:.3g} GB for their attention maps, the device has "
                f"{have / 1e9:.3g} GB; shorten the text"
            )
        run = record_encoder_decoder if self._seq2seq else record
        latents, steps = run(self.module, self.call(inputs))
        if len(latents[0]) != n + n_decoder:
            what = f"{len(latents[0])} tokens of {n + n_decoder} ids reach the blocks"
            raise UltraError(f"{what}: the model adds or drops positions (a soft prompt, pooling)")
        return latents, steps

    def _run_from(self, inputs: dict[str, Tensor], embeddings: Tensor, layer: int) -> Tensor:
        if not self._seq2seq:
            return super()._run_from(inputs, embeddings, layer)
        n = inputs["input_ids"].shape[1]
        # The decoder makes its mask of the encoder's from the encoder's output: both need one batch size.
        call = self.call({k: v.expand(len(embeddings), -1) for k, v in inputs.items()})
        return run_from_encoder_decoder(self.module, call, n, embeddings, layer)

    @plain_torch()
    def logits(self, inputs: dict[str, Tensor]) -> Tensor:
        """The model's own scores of the next token of B texts, (B, N, V), with its own attention and no gradients."""
        with as_it_was(self.module), torch.no_grad():
            out = getattr(self.call(inputs)(), "logits", None)
        if out is None:
            raise UltraError(f"{self.name!r} ({type(self.module).__name__}) has no language-model head")
        return out

    def head(self, latents: Tensor) -> Tensor | None:
        """Raw last-layer latents (..., D) to the model's scores (..., V); None if it has no head.

        Everything that the model does after its last block is done by the model itself: it runs once on
        as many tokens, and the output of its last block is replaced.
        """
        flat = latents.reshape(1, -1, latents.shape[-1])

        def replace(module: nn.Module, args: tuple, out: Any) -> Any:
            return (flat, *out[1:]) if isinstance(out, tuple) else flat

        ids = self._ids([0] * flat.shape[1])
        inputs = {"input_ids": ids}
        if self._seq2seq:
            inputs = {"input_ids": ids[:, :1], "decoder_input_ids": ids}
        last = self.module.get_submodule(self.block_names[-1])
        with as_it_was(self.module), hooked(after=[(last, replace)]):
            out = getattr(self.call(inputs)(), "logits", None)
        if out is None or out.shape[1] != flat.shape[1]:
            return None
        return out.reshape(*latents.shape[:-1], -1)

    def planned_bytes(self, n_tokens: int, n_decoder: int = 0) -> int:
        """Estimated bytes of a capture of so many tokens and one backward pass; 0 where no number of heads is named."""
        config: Any = self.module.config
        if not isinstance(heads := getattr(config, "num_attention_heads", None), int):
            return 0  # no attention, or none of a usual kind: the run itself will tell
        depth = config.num_hidden_layers  # of an encoder-decoder the encoder's
        below = [getattr(config, name, None) for name in ("decoder_layers", "num_decoder_layers")]
        decoder = (below[0] or below[1] or depth) if n_decoder else 0
        squares = n_tokens**2 * depth + n_decoder * (n_decoder + n_tokens) * decoder
        rows = (n_tokens + n_decoder) * (30 * config.hidden_size * (depth + decoder) + 4 * config.vocab_size)
        return next(self.module.parameters()).element_size() * (_GRAPH * heads * squares + rows)

    def call(self, inputs: dict[str, Tensor]) -> Callable[[], Any]:
        """One plain forward pass, to be run."""
        options: dict[str, Any] = {"return_dict": True}
        if self.kind != "encoder":
            options["use_cache"] = False
        return lambda: self.module(**inputs, **options)

    def _ids(self, values: Any) -> Tensor:
        ids = (given := torch.as_tensor(values)).long()
        if (ids != given).any():
            raise ValueError(f"token ids and masks must be whole numbers, got {values!r:.80}")
        ids = ids[None] if ids.ndim == 1 else ids
        if ids.ndim != 2 or ids.shape[0] != 1:
            raise ValueError(f"token ids must be of one text, shape (N,) or (1, N), got {tuple(ids.shape)}")
        return ids.to(next(self.module.parameters()).device)

    def check_length(self, n: int) -> None:
        """Refuse a text of more tokens than the model has positions for."""
        if self.max_tokens is not None and n > self.max_tokens:
            raise ValueError(
                f"the model {self.name!r} has positions for {self.max_tokens} tokens, the text has {n}; shorten it"
            )

    def _check_lengths(self, inputs: dict[str, Tensor]) -> None:
        for key, mask in zip(SEQUENCES, ("attention_mask", "decoder_attention_mask"), strict=True):
            if key in inputs and inputs[key].shape[1] == 0:
                raise ValueError(f"{key} must hold at least one token, got none")
            known = len(self.module.get_input_embeddings().weight)  # type: ignore[operator]
            if key in inputs and not ((ids := inputs[key]) >= 0).logical_and(ids < known).all():
                raise ValueError(f"{key} must be token ids of the model, in 0..{known - 1}")
            self.check_length(inputs[key].shape[1] if key in inputs else 1)
            if mask in inputs and inputs[mask].shape != inputs[key].shape:
                raise ValueError(
                    f"{mask} must have the shape of {key}, {tuple(inputs[key].shape)}, got {tuple(inputs[mask].shape)}"
                )

    def __repr__(self) -> str:
        return self._named(self.kind)


def tokenized(tokenizer: Any, text: str, **how: Any) -> Any:
    """What a tokenizer makes of a text; an UltraError where it can't, such as of half a character (a lone surrogate)."""
    try:
        text.encode()
        return tokenizer(text, **how)
    except Exception as error:  # a tokenizer may be anybody's, and those in Rust raise a bare one
        raise UltraError(f"the tokenizer can't read the text ({error}); leave that out") from error


def warn_if_path(text: str) -> None:
    """Warn where a text is the path of a file, or an address."""
    if re.fullmatch(
        r"https?://\S+|\S+\.(txt|md|html?|pdf|docx?|jpe?g|png|webp|tiff?|bmp)", text.strip(), re.I
    ):
        hint = "pass pathlib.Path(...).read_text('utf-8'), or a picture to an image model, load('dinov2')"
        warnings.warn(f"{text.strip()!r} is read as a text, and looks like a path: {hint}", stacklevel=4)


def _memory(device: torch.device) -> int | None:
    """Bytes of memory of a device; None where it can't be told."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return None
