"""What `check` finds by trying: gradients that are partly lost, and tokens that do not lie where the layout says."""

import re

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
import transformers
from torch import nn
from toys_models import IMAGE, OwnModule

import ultra_kit as uk
from ultra_kit.models import checking

LAYOUT = {"size": (16, 24), "grid": (2, 3), "n_prefix": 0}


def loaded(module, **layout):
    return uk.load(module.eval(), **LAYOUT | layout)


def built(kind, *args):
    torch.manual_seed(0)
    return kind(*args)


# -- gradients -------------------------------------------------------------------------------------------


class Detached(nn.Linear):
    def forward(self, x):
        return super().forward(x).detach()


class NoGrad(nn.Linear):
    @torch.no_grad()
    def forward(self, x):
        return super().forward(x)


class RotaryAngles(nn.Module):
    """Takes the tokens for their number only: nothing is lost."""

    def forward(self, x):
        return torch.arange(x.shape[-2], dtype=torch.float32)


class Doubles(torch.autograd.Function):
    """x, with the gradient of 3 x."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, g):
        return 3 * g


class CustomOperation(nn.Linear):
    def forward(self, x):
        return Doubles.apply(super().forward(x))


class Rounds(nn.Linear):
    """Straight through: the forward pass is one step."""

    def forward(self, x):
        y = super().forward(x)
        return y + (y.sign() - y).detach()


class Functional(nn.TransformerEncoderLayer):
    """Detaches in its own forward: no module of its own is to blame."""

    def _ff_block(self, x):
        return super()._ff_block(x.detach())


def with_part(kind):
    module = built(OwnModule)
    old = module.blocks[1].linear1
    module.blocks[1].linear1 = new = kind(old.in_features, old.out_features)
    new.load_state_dict(old.state_dict())
    return module


@pytest.mark.parametrize("kind", [Detached, NoGrad])
def test_a_part_without_gradient_is_named(kind):
    model = loaded(with_part(kind))
    words = rf"must pass gradients on; blocks\.1\.linear1 \({kind.__name__}\) in block 2"
    with pytest.raises(uk.UltraError, match=words):
        uk.capture(model, IMAGE)
    assert not uk.check(model)


@pytest.mark.parametrize("kind", [CustomOperation, Rounds])
def test_another_gradient_than_its_own_is_seen_by_check(kind):
    module = with_part(kind)
    module.blocks[1].linear2.weight.data.mul_(4)
    report = uk.check(loaded(module))
    assert not report and "derivative of what block 2 adds must be that of finite diff" in str(report)


def test_a_detached_path_is_seen_by_check():
    module = built(OwnModule)
    module.blocks[1] = Functional(16, 2, 32, 0.1, batch_first=True, norm_first=True)
    report = uk.check(loaded(module))
    assert not report and "block 2 adds" in str(report)


def test_angles_of_positions_are_nothing_lost():
    module = built(OwnModule)
    block = module.blocks[1]
    block.angles = RotaryAngles()
    block.register_forward_pre_hook(lambda m, args: (m.angles(args[0]), None)[1])
    assert uk.check(loaded(module))


def test_sound_blocks_pass_in_every_size_of_update():
    module = built(OwnModule)
    for scale in (1e-3, 1.0, 30.0):  # rounding hides the first, and then nothing is said
        for block in module.blocks:
            block.linear2.weight.data.mul_(scale)
        assert uk.check(loaded(module)), scale


# -- geometry --------------------------------------------------------------------------------------------


class ClassTokenLast(OwnModule):
    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([x, torch.ones(len(x), 1, 16)], 1)
        for block in self.blocks:
            x = block(x)
        return x


class Shuffled(OwnModule):
    """Always in the same other order, as a masked autoencoder with a fixed seed."""

    order = (1, 0, 2, 3, 4, 5)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)[:, list(self.order)]
        for block in self.blocks:
            x = block(x)
        return x


class Draws(OwnModule):
    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = x[:, torch.randperm(x.shape[1])]
        for block in self.blocks:
            x = block(x)
        return x


class OverChannels(nn.Module):
    """Attention of channels to channels (XCiT), of which there are as many as tokens."""

    def __init__(self, n):
        super().__init__()
        self.qkv, self.out = nn.Linear(n, 3 * n), nn.Linear(n, n)

    def forward(self, x):
        q, k, v = (t.mT[:, None] for t in self.qkv(x).chunk(3, -1))  # (1, 1, channels, tokens)
        y = F.scaled_dot_product_attention(F.normalize(q, dim=-1), F.normalize(k, dim=-1), v, scale=3.0)
        return x + self.out(y[:, 0].mT)


class Channels(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch = nn.Conv2d(3, 6, 8, 8)
        self.blocks = nn.ModuleList(OverChannels(6) for _ in range(2))

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        for block in self.blocks:
            x = block(x)
        return x


@pytest.mark.parametrize(
    ("kind", "layout", "words"),
    [
        (
            ClassTokenLast,
            {"n_prefix": 1},
            "must move, and token . moves most: .*prefix tokens do not come first",
        ),
        (
            Shuffled,
            {},
            "row 0, column 0 of 2 x 3 changes, token 0 of layer 0 must move, and token 1 moves most",
        ),
        (Draws, {}, "two passes of one input must give the same"),
        (OwnModule, {"grid": (3, 2)}, "the grid is transposed"),
        (Channels, {}, "attention of blocks.0 must be of tokens to tokens"),
    ],
)
def test_tokens_that_lie_elsewhere(kind, layout, words):
    report = uk.check(loaded(built(kind), **layout))
    assert not report
    assert re.search(words, str(report)), report


def test_a_masked_autoencoder_that_shuffles():
    config = transformers.ViTMAEConfig(
        image_size=32,
        patch_size=8,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        mask_ratio=0.0,
    )
    report = uk.check(transformers.ViTMAEModel(config).eval())
    assert not report and "the model draws at random" in str(report)


def test_the_right_layout_passes_and_says_so(monkeypatch):
    report = uk.check(loaded(built(OwnModule)))
    assert report and "a changed patch moves its own token of layer 0 and no other" in report.lines
    report = uk.check(uk.load("scenes", pretrained=False))
    assert report and any("and others by up to" in line for line in report.lines)  # a stem of convolutions
    # Each part of the test is needed: without it the shuffled patches pass.
    monkeypatch.setattr(checking, "_look_at_places", lambda *args: [])
    assert uk.check(loaded(built(Shuffled)))


TINY = {"depth": 2, "embed_dim": 32, "num_heads": 4}
SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "patch_size": 8,
}


def cut_models():
    """Models of which an input of 30 x 22 pixels, their own size, leaves a margin that no patch of 8 covers."""
    yield timm.create_model("vit_tiny_patch16_224", **TINY, patch_size=8, img_size=(30, 22))
    yield transformers.ViTModel(transformers.ViTConfig(image_size=(30, 22), **SMALL))
    yield transformers.CLIPVisionModel(transformers.CLIPVisionConfig(image_size=30, **SMALL))


@pytest.mark.parametrize("index", range(3))
def test_a_pixel_belongs_to_the_token_that_sees_it_where_sizes_are_cut(index):
    torch.manual_seed(0)
    model = uk.load(list(cut_models())[index].eval())
    report = uk.check(model)
    assert report, report
    plain = uk.capture(model, np.zeros((60, 44, 3), np.uint8))
    assert plain.layout.grid == ((3, 2), (3, 2), (3, 3))[index]
    for y, x in ((59, 43), (0, 43), (59, 0), (30, 20), (45, 30)):
        changed = plain.input.copy()
        changed[max(0, y - 2) : y + 3, max(0, x - 2) : x + 3] = 255
        moved = np.abs(uk.capture(model, changed).tokens(0) - plain.tokens(0)).sum(1)
        assert moved.argmax() == plain.layout.token_at(x, y), (y, x)


def other_sizes():
    dynamic = {**TINY, "patch_size": 8, "img_size": 32, "dynamic_img_size": True}
    yield timm.create_model("vit_tiny_patch16_224", **dynamic), (24, 16)
    yield timm.create_model("vit_tiny_patch16_224", **dynamic, dynamic_img_pad=True), (32, 24)
    yield timm.create_model("naflexvit_base_patch16_gap", **TINY, patch_size=8), (24, 16)
    yield transformers.Dinov2Model(transformers.Dinov2Config(image_size=32, **SMALL)), (24, 16)


@pytest.mark.parametrize("index", range(4))
def test_sizes_that_patches_do_not_divide_are_refused_with_the_size_to_take(index):
    module, take = list(other_sizes())[index]
    with pytest.raises(
        ValueError, match=re.escape(f"whole patches of (8, 8) pixels, got (30, 22); take {take}")
    ):
        uk.load(module.eval(), size=(30, 22))
    assert uk.check(uk.load(module.eval(), size=take))
    model = uk.load(module.eval(), transform=lambda image: torch.zeros(3, 30, 22))
    with pytest.raises(ValueError, match=re.escape("every pixel must lie in a patch of (8, 8) pixels")):
        uk.capture(model, IMAGE)


# -- places of a text ------------------------------------------------------------------------------------


class Placed(nn.Module):
    """An embedding that does something to the order or number of the tokens."""

    def __init__(self, embedding, change):
        super().__init__()
        self.embedding, self.change = embedding, change

    @property
    def weight(self):  # some versions of transformers look at its dtype
        return self.embedding.weight

    def forward(self, ids):
        return self.change(self.embedding(ids))


class MixesTokens(nn.Module):
    """A part of a block that lets every token see all."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x) + x.mean(1, keepdim=True)


TEXT = {
    "vocab_size": 60,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 40,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
SEQ2SEQ = {"vocab_size": 60, "d_model": 24, "pad_token_id": 0, "eos_token_id": 2, "decoder_start_token_id": 2}


def text_model(kind):
    torch.manual_seed(0)
    if kind == "llama":
        made = transformers.LlamaForCausalLM(transformers.LlamaConfig(**TEXT))
    elif kind == "bert":
        made = transformers.BertModel(transformers.BertConfig(**TEXT, max_position_embeddings=64))
    else:
        sizes = {"d_kv": 6, "d_ff": 40, "num_layers": 2, "num_decoder_layers": 2, "num_heads": 4}
        made = transformers.T5ForConditionalGeneration(transformers.T5Config(**SEQ2SEQ, **sizes))
    for p in made.parameters():
        if p.ndim > 1:
            nn.init.normal_(p, std=0.3)
    return made.eval()


ORDER = [1, 0, *range(2, 10)]
CHANGES = {
    "turns round": (
        lambda x: x.flip(1),
        r"token \d+ of layer 0 must move, and token \d+ moves most: the model shifts, turns",
    ),
    "shuffles": (lambda x: x[:, torch.tensor([*ORDER, *range(10, x.shape[1])])], r"token \d+ moves most"),
    "shuffles the last": (lambda x: x[:, [*range(x.shape[1] - 2), -1, -2]], r"token \d+ moves most"),
    "shuffles the middle": (
        lambda x: x[:, [*range(5), 6, 5, *range(7, x.shape[1])]],
        r"token \d+ moves most",
    ),
    "shifts": (lambda x: x.roll(1, 1), r"token \d+ moves most"),
    "mixes": (lambda x: x + 0.1 * x.mean(1, keepdim=True), "and others move too"),
    "draws": (lambda x: x + torch.randn_like(x), "two passes of one input must give the same"),
    "drops": (
        lambda x: x[:, 1:],
        r"\d+ tokens of \d+ ids reach the blocks: the model adds or drops positions",
    ),
    "adds": (lambda x: torch.cat([x[:, :1], x], 1), "adds or drops positions"),
    "forgets": (lambda x: x * 0, "no token moves"),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", ["llama", "bert", "t5", "t5 decoder"])
def test_a_text_whose_tokens_lie_elsewhere(kind, change):
    model = text_model(kind)
    do, words = CHANGES[change]
    if kind == "llama":
        model.model.embed_tokens = Placed(model.model.embed_tokens, do)
    elif kind == "bert":
        model.embeddings.word_embeddings = Placed(model.embeddings.word_embeddings, do)
        words = (
            "" if change in ("drops", "adds") else words
        )  # its positions no longer fit: an error of its own
    else:
        side = model.encoder if kind == "t5" else model.decoder
        side.embed_tokens = Placed(side.embed_tokens, do)
    report = uk.check(model)
    assert not report and re.search(words, str(report)), report


@pytest.mark.parametrize("kind", ["llama", "bert", "t5"])
def test_a_text_in_its_order_passes_and_says_so(kind, monkeypatch):
    report = uk.check(text_model(kind))
    assert report and "a changed token moves its own token of layer 0 and no other" in report.lines
    wrong = text_model(kind)
    side = {"llama": "model", "bert": "embeddings", "t5": "encoder"}[kind]
    name = "word_embeddings" if kind == "bert" else "embed_tokens"
    part = getattr(wrong, side)
    setattr(part, name, Placed(getattr(part, name), lambda x: x.flip(1)))
    monkeypatch.setattr(checking, "_look_at_places", lambda *args: [])
    assert uk.check(wrong)  # nothing else sees it


@pytest.mark.parametrize("kind", ["llama", "t5"])
def test_a_model_that_writes_and_looks_ahead(kind):
    model = text_model(kind)
    if kind == "llama":
        model.model.layers[1].mlp = MixesTokens(model.model.layers[1].mlp)
    else:
        model.decoder.block[1].layer[2].DenseReluDense = MixesTokens(
            model.decoder.block[1].layer[2].DenseReluDense
        )
    report = uk.check(model)
    assert not report
    last = {"llama": 2, "t5": 4}[kind]
    assert re.search(
        rf"must look back only, and when token \d+ of .* a token before it moves at layer {last}", str(report)
    )
