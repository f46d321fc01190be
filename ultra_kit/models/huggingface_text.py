"""Text models of the transformers library: causal, encoders and encoder-decoders; the bundled `briefs`."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from ..types import UltraError
from .text_backbone import TextBackbone


def is_text_model(module: Any) -> bool:
    """Whether a model of transformers takes token ids, and nothing else has to come with them.

    Parameters
    ----------
    module : transformers.PreTrainedModel

    Returns
    -------
    bool
    """
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
    """A text model of transformers as a backbone.

    Parameters
    ----------
    module : transformers.PreTrainedModel
        GPT-2, Llama, Qwen, Mistral, Gemma, Phi; BERT, RoBERTa, ModernBERT; T5, BART; their relatives.
    name : str, optional
        The class name by default.
    source : str, optional
        Folder or repository in which the tokenizer lies.
    tokenizer : optional
        Taken in place of the one there.
    prompt : str, optional
        See `ultra_kit.models.text_backbone.TextBackbone`.

    Returns
    -------
    TextBackbone
    """
    config = module.config
    if tokenizer is None and source is not None:
        tokenizer = find_tokenizer(source)
    architecture = type(module).__name__
    if config.is_encoder_decoder:
        kind = "encoder-decoder"
    elif getattr(config, "is_decoder", False) or module.can_generate() or _is_causal(module):
        kind = "causal"
    else:
        kind = "encoder"
    facts = {
        "model_type": config.model_type,
        "kind": kind,
        "attention": config._attn_implementation,
        "tokenizer": type(tokenizer).__name__,
    }
    return TextBackbone(
        name or architecture, module, tokenizer, kind, facts, ("transformers", "tokenizers"), prompt
    )


def _is_causal(module: Any) -> bool:
    """Whether any attention of the model looks back only, as the modules of the library say of themselves."""
    return any(getattr(m, "is_causal", False) is True for m in module.modules())


def find_tokenizer(source: str) -> Any:
    """The tokenizer of a folder or repository; no code of it is run.

    Parameters
    ----------
    source : str
        A folder, or the name of a repository.

    Returns
    -------
    transformers.PreTrainedTokenizerBase or None
        None where there is none.
    """
    from transformers import AutoTokenizer

    with contextlib.suppress(OSError, ValueError, KeyError):  # what it raises depends on what is missing
        found = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
        return found if found.vocab_size else None  # made of nothing where the folder holds no vocabulary
    return None


def load_briefs(folder: Path, *, pretrained: bool = True) -> TextBackbone:
    """The bundled language model, which summarises the reports of `ultra_kit.data.brief`.

    Parameters
    ----------
    folder : Path
        Holds the tokenizer, ``config.json`` and ``model.safetensors``.
    pretrained : bool
        False leaves the weights random: the control of every claim about the trained ones.

    Returns
    -------
    TextBackbone

    Raises
    ------
    UltraError
        If a file is missing, or the weights don't fit.
    """
    import torch
    from safetensors.torch import load_file
    from transformers import AutoConfig, AutoTokenizer, LlamaForCausalLM

    needed = ["config.json", "tokenizer.json", *(["model.safetensors"] if pretrained else [])]
    if missing := [name for name in needed if not (folder / name).is_file()]:
        hint = ", or pass pretrained=False" if missing == ["model.safetensors"] else ""
        raise UltraError(
            f"the bundled model 'briefs' lacks {', '.join(missing)} in {folder}; reinstall ultra-kit, or make them with "
            f"data/models/briefs/train.py{hint}"
        )
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    config.dtype = torch.float32
    module = LlamaForCausalLM(config)
    if pretrained:
        state = {key: t.float() for key, t in load_file(folder / "model.safetensors").items()}
        if config.tie_word_embeddings and "model.embed_tokens.weight" in state:
            state.setdefault("lm_head.weight", state["model.embed_tokens.weight"])
        try:
            module.load_state_dict(state)
        except RuntimeError as e:
            raise UltraError(f"the weights in {folder} don't fit config.json beside them: {e}") from e
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    backbone = wrap_text(module.eval(), name="briefs", tokenizer=tokenizer, prompt="{document}<sep>")
    backbone.facts["pretrained"] = pretrained
    return backbone
