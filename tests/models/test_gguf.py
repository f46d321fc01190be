"""A language model in a GGUF file gives what the same weights give in transformers."""

import numpy as np
import pytest
import torch

import ultra_kit as uk

WIDTH, HEADS, BLOCKS, HIDDEN = 64, 4, 2, 96
TOKENS = ["<|endoftext|>", "a", "b", "c", "Ġ", "ab", ".", "ba"]


def paired(weight):
    """Rows of a query or key matrix as llama.cpp keeps them: the two halves of each head interleaved."""
    return weight.reshape(HEADS, 2, WIDTH // HEADS // 2, WIDTH).swapaxes(1, 2).reshape(WIDTH, WIDTH)


@pytest.fixture(scope="module")
def twin(tmp_path_factory):
    """A folder with a GGUF file written by hand, and the model of the same weights."""
    from gguf import GGUFWriter
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(TOKENS),
        hidden_size=WIDTH,
        intermediate_size=HIDDEN,
        num_hidden_layers=BLOCKS,
        num_attention_heads=HEADS,
        max_position_embeddings=64,
        rms_norm_eps=1e-5,
    )
    model = LlamaForCausalLM(config).eval()
    state = {name: t.numpy().copy() for name, t in model.state_dict().items()}
    folder = tmp_path_factory.mktemp("gguf")
    out = GGUFWriter(folder / "tiny.gguf", "llama")
    out.add_context_length(64)
    out.add_embedding_length(WIDTH)
    out.add_block_count(BLOCKS)
    out.add_feed_forward_length(HIDDEN)
    out.add_head_count(HEADS)
    out.add_head_count_kv(HEADS)
    out.add_layer_norm_rms_eps(1e-5)
    out.add_rope_dimension_count(WIDTH // HEADS)
    out.add_rope_freq_base(10000.0)
    out.add_vocab_size(len(TOKENS))
    out.add_tokenizer_model("gpt2")
    out.add_token_list(TOKENS)
    out.add_token_types([3, *[1] * (len(TOKENS) - 1)])
    out.add_token_merges(["a b", "b a"])  # of a list of one some versions of transformers make a text
    out.add_bos_token_id(0)
    out.add_eos_token_id(0)
    out.add_tensor("token_embd.weight", state["model.embed_tokens.weight"])
    out.add_tensor("output_norm.weight", state["model.norm.weight"])
    out.add_tensor("output.weight", state["lm_head.weight"])
    places = {
        "attn_q": "self_attn.q_proj",
        "attn_k": "self_attn.k_proj",
        "attn_v": "self_attn.v_proj",
        "attn_output": "self_attn.o_proj",
        "ffn_gate": "mlp.gate_proj",
        "ffn_up": "mlp.up_proj",
        "ffn_down": "mlp.down_proj",
        "attn_norm": "input_layernorm",
        "ffn_norm": "post_attention_layernorm",
    }
    for k in range(BLOCKS):
        for theirs, ours in places.items():
            weight = state[f"model.layers.{k}.{ours}.weight"]
            weight = paired(weight) if theirs in ("attn_q", "attn_k") else weight
            out.add_tensor(f"blk.{k}.{theirs}.weight", np.ascontiguousarray(weight))
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()
    return folder, model


def test_it_is_the_same_model_with_its_tokenizer(twin):
    folder, model = twin
    lm = uk.load(f"hf:{folder}")
    ids = torch.tensor([[1, 2, 5, 3, 6]])
    with torch.no_grad():
        torch.testing.assert_close(lm.module(ids).logits, model(ids).logits, rtol=1e-4, atol=1e-5)
    cap = uk.capture(lm, "ab c.")
    assert cap.layout.tokens == ("ab", " ", "c", ".")
    assert uk.explain(cap, tokens=[3], progress=False).values.shape == (1, 4)
    assert lm.kind == "causal" and lm.settings == uk.types.Settings(score="logprob")  # nobody chose for it


def test_a_whole_model_beside_it_comes_first(twin, tmp_path):
    _, model = twin
    model.save_pretrained(tmp_path)
    (tmp_path / "tiny.gguf").write_bytes(b"not read")
    torch.testing.assert_close(uk.load(f"hf:{tmp_path}").module.lm_head.weight, model.lm_head.weight)


def test_random_weights_are_others(twin):
    folder, model = twin
    torch.manual_seed(1)
    lm = uk.load(f"hf:{folder}", pretrained=False)
    assert not torch.allclose(lm.module.lm_head.weight, model.lm_head.weight)


def test_what_is_no_model_is_told_in_one_sentence(twin, tmp_path):
    (tmp_path / "a.gguf").write_bytes(b"GGUF but no more")
    with pytest.raises(uk.UltraError, match="can't be loaded") as caught:
        uk.load(f"hf:{tmp_path}")
    assert "\n" not in str(caught.value)
    (tmp_path / "b.gguf").write_bytes((twin[0] / "tiny.gguf").read_bytes())
    with pytest.raises(uk.UltraError, match=r"one .gguf file, got a.gguf, b.gguf"):
        uk.load(f"hf:{tmp_path}")
