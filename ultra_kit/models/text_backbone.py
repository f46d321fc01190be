"""Text Transformers as backbones: causal language models, encoders, encoder-decoders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from ..types import AttentionStep, Layout, UltraError
from .attention import as_it_was, record, run_from
from .encoder_decoder import record_encoder_decoder, run_from_encoder_decoder
from .model_card import model_card
from .text_memory import check_memory, planned_bytes

KINDS = ("causal", "encoder", "encoder-decoder")


@dataclass(frozen=True, eq=False, repr=False)
class TextBackbone:
    """A text Transformer as `ultra_kit.load` returns it; implements `ultra_kit.types.Backbone`.

    Attributes
    ----------
    name : str
    module : nn.Module
        The model, unchanged, called as the models of transformers are.
    tokenizer : object or None
        Of the interface of transformers' tokenizers; without one only token ids can be captured.
    kind : {"causal", "encoder", "encoder-decoder"}
        The tokens of an encoder-decoder are those of the encoder, then those of the decoder.
    facts : dict
        What the card says about the configuration.
    libraries : tuple of str
        Distributions whose versions the card names.
    prompt : str, optional
        What the model was trained to continue with a summary, ``{document}`` in it.
    """

    name: str
    module: nn.Module
    tokenizer: Any
    kind: str
    facts: dict[str, Any] = field(default_factory=dict)
    libraries: tuple[str, ...] = ()
    prompt: str | None = None
    modality: str = "text"

    @cached_property
    def block_names(self) -> tuple[str, ...]:
        """The modules that are the blocks, one for each layer from 1, found in a forward pass of two tokens."""
        inputs = {"input_ids": self._ids([0, 0])}
        if self.kind == "encoder-decoder":
            inputs["decoder_input_ids"] = self._ids([0, 0])
        names = {s.layer: s.name.partition(" ")[0] for s in self.run(inputs)[1]}
        return tuple(names[layer] for layer in sorted(names))

    @property
    def n_blocks(self) -> int:
        """L; of an encoder-decoder the blocks of both."""
        return len(self.block_names)

    @property
    def _config(self) -> Any:
        return self.module.config

    @property
    def max_tokens(self) -> int | None:
        """The most tokens of one sequence that the model has positions for; None without such a limit."""
        limit = getattr(self._config, "max_position_embeddings", None)
        if limit and getattr(self._config, "model_type", "") in ("roberta", "xlm-roberta", "camembert"):
            limit -= self._config.pad_token_id + 1  # their positions are counted from the pad id on
        return limit

    def prepare(self, x: Any) -> tuple[dict[str, Tensor], Layout, str]:
        """Turn a text into token ids.

        Parameters
        ----------
        x : str or mapping
            A text, to which the tokenizer adds its special tokens; or token ids as a tokenizer gives them,
            a batch of one: "input_ids" and, where wanted, "attention_mask", "decoder_input_ids", ... .
            An encoder-decoder gets the decoder's start token where no "decoder_input_ids" are given.

        Returns
        -------
        inputs : dict
            int64 tensors of shape (1, length).
        layout : Layout
            Leading special or masked tokens are the prefix.
        original : str

        Raises
        ------
        ValueError
            If there is no token, or more than the model has positions for.
        TypeError
            If `x` is neither text nor token ids, or text where there is no tokenizer.
        """
        if isinstance(x, str):
            if self.tokenizer is None:
                raise TypeError(
                    "a text needs a tokenizer: pass load(module, transform=tokenizer), or token ids as "
                    "{'input_ids': ...}"
                )
            if not x.strip():
                raise ValueError(
                    "the text must hold at least one character that is not a space, got an empty one"
                )
            inputs = {"input_ids": self._ids(self.tokenizer(x)["input_ids"])}
        elif isinstance(x, Mapping) and "input_ids" in x:
            inputs = {key: self._ids(value) for key, value in x.items() if value is not None}
            if self.kind != "encoder":
                inputs.pop("token_type_ids", None)
        else:
            raise TypeError(f"a text model takes a str or a mapping with 'input_ids', got {type(x).__name__}")
        if self.kind == "encoder-decoder" and "decoder_input_ids" not in inputs:
            inputs["decoder_input_ids"] = self._ids([self.decoder_start])
        self._check_lengths(inputs)
        ids = inputs["input_ids"][0].tolist()
        mask = inputs.get("attention_mask", torch.ones(1, len(ids)))[0].tolist()
        special = set(getattr(self.tokenizer, "all_special_ids", ()))
        content = [i for i, t in enumerate(ids) if t not in special and mask[i]]
        sequence = [*ids, *inputs["decoder_input_ids"][0].tolist()] if self.kind == "encoder-decoder" else ids
        layout = Layout("text", content[0] if content else 0, tokens=self.strings(sequence))
        original = x if isinstance(x, str) else self.decode(sequence)
        return inputs, layout, original

    @property
    def decoder_start(self) -> int:
        """The token with which the decoder of an encoder-decoder starts."""
        config = self._config
        for name in ("decoder_start_token_id", "bos_token_id", "pad_token_id"):
            if getattr(config, name, None) is not None:
                return int(getattr(config, name))
        raise UltraError(
            "the model's configuration names no decoder_start_token_id; pass decoder_input_ids too"
        )

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
        """One forward pass with explicit attention; see `ultra_kit.models.attention.record`.

        Raises
        ------
        UltraError
            If the model has not the attention that the method needs, or the maps need more memory than
            the device has.
        """
        check_memory(self.module, self.kind, inputs)
        forward = self._forward(inputs)
        if self.kind == "encoder-decoder":
            return record_encoder_decoder(self.module, forward)
        return record(self.module, forward)

    def run_from(self, inputs: dict[str, Tensor], embeddings: Tensor, layer: int) -> Tensor:
        """Run the blocks from other layer-0 tokens (B, N, D): the latents of a layer, (B, N, D).

        Raises
        ------
        ValueError
            If `layer` is not in 1..L.
        """
        if not 1 <= layer <= self.n_blocks:
            raise ValueError(f"layer must be in 1..{self.n_blocks}, got {layer}")
        if self.kind == "encoder-decoder":
            n = inputs["input_ids"].shape[1]
            # The decoder makes its mask of the encoder's from the encoder's output: both need one batch size.
            forward = self._forward({k: v.expand(len(embeddings), -1) for k, v in inputs.items()})
            return run_from_encoder_decoder(self.module, forward, n, embeddings, layer)
        return run_from(self.module, self._forward(inputs), list(self.block_names), embeddings, layer)

    def logits(self, inputs: dict[str, Tensor]) -> Tensor:
        """The model's own scores of the next token, (B, N, V), without gradients and with its own attention.

        Parameters
        ----------
        inputs : dict
            As `prepare` gives them, but for B texts of one length.

        Raises
        ------
        UltraError
            If the model has no language-model head.
        """
        with as_it_was(self.module), torch.no_grad():
            out = getattr(self._forward(inputs)(), "logits", None)
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
        if self.kind == "encoder-decoder":
            inputs = {"input_ids": ids[:, :1], "decoder_input_ids": ids}
        last = self.module.get_submodule(self.block_names[-1])
        handle = last.register_forward_hook(replace)
        try:
            with as_it_was(self.module):
                out = getattr(self._forward(inputs)(), "logits", None)
        finally:
            handle.remove()
        if out is None or out.shape[1] != flat.shape[1]:
            return None
        return out.reshape(*latents.shape[:-1], -1)

    def card(self) -> dict[str, Any]:
        """Name, class, hash of the weights, configuration and versions; JSON-able."""
        return model_card(self.name, self.module, self.facts, self.libraries)

    def planned_bytes(self, n_tokens: int, n_decoder: int = 0) -> int:
        """An estimate of what a capture of that many tokens and one backward pass through it take.

        Parameters
        ----------
        n_tokens, n_decoder : int
            Tokens of the model, or of encoder and decoder.
        """
        return planned_bytes(self.module, self.kind, n_tokens, n_decoder)

    def _forward(self, inputs: dict[str, Tensor]) -> Any:
        options: dict[str, Any] = {"return_dict": True}
        if self.kind != "encoder":
            options["use_cache"] = False
        return lambda: self.module(**inputs, **options)

    def _ids(self, values: Any) -> Tensor:
        ids = torch.as_tensor(values, dtype=torch.long)
        ids = ids[None] if ids.ndim == 1 else ids
        if ids.ndim != 2 or ids.shape[0] != 1:
            raise ValueError(f"token ids must be of one text, shape (N,) or (1, N), got {tuple(ids.shape)}")
        return ids.to(next(self.module.parameters()).device)

    def check_length(self, n: int) -> None:
        """Refuse a text of more tokens than the model has positions for.

        Raises
        ------
        ValueError
            If `n` is more than `max_tokens`.
        """
        if self.max_tokens is not None and n > self.max_tokens:
            raise ValueError(
                f"the model {self.name!r} has positions for {self.max_tokens} tokens, the text has {n}; shorten it"
            )

    def _check_lengths(self, inputs: dict[str, Tensor]) -> None:
        for key in ("input_ids", "decoder_input_ids"):
            n = inputs[key].shape[1] if key in inputs else 1
            if n == 0:
                raise ValueError(f"{key} must hold at least one token, got none")
            self.check_length(n)
        for key, partner in (
            ("attention_mask", "input_ids"),
            ("decoder_attention_mask", "decoder_input_ids"),
        ):
            if key in inputs and inputs[key].shape != inputs[partner].shape:
                raise ValueError(
                    f"{key} must have the shape of {partner}, {tuple(inputs[partner].shape)}, got "
                    f"{tuple(inputs[key].shape)}"
                )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {type(self.module).__name__}, {self.kind})"
