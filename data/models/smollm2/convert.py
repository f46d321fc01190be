"""From a quantised GGUF file to a folder of transformers in float32, and the proof of it."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, LlamaForCausalLM

from ultra_kit.models.gguf_files import read_gguf


def convert(source: Path, folder: Path) -> None:
    """A quantised GGUF file, dequantised to float32, as a folder of transformers with its tokenizer."""
    module, tokenizer = read_gguf(source)
    config = module.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config  # the file's, not the model's as it is kept
    config.dtype = torch.float32
    config.architectures = ["LlamaForCausalLM"]
    plain: Any = LlamaForCausalLM(config)  # one that was read from GGUF refuses to be saved
    plain.load_state_dict(module.state_dict())
    plain.generation_config = module.generation_config
    plain.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def prove(folder: Path, proof: Any) -> float:
    """0 if the stored chat prompt is answered word for word by greedy decoding, else 1."""
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    module: Any = LlamaForCausalLM.from_pretrained(folder, use_safetensors=True)
    asked = [{"role": "user", "content": proof["prompt"]}]
    ids = tokenizer.apply_chat_template(
        asked, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    with torch.no_grad():
        out = module.eval().generate(**ids, max_new_tokens=proof["new_tokens"], do_sample=False)
    said = tokenizer.decode(out[0, ids["input_ids"].shape[1] :], skip_special_tokens=True).strip()
    return float(said != proof["answer"])
