"""Every family of models from its real class, made tiny: maps against an oracle, refusals by what was seen.

The oracle reads the same weights on another way: through timm's own unfused code (`fused_attn=False`, and a
hook on what goes into the product with the values), and through an attention function written out here and
registered with transformers, whose own one softens in float32.
"""

import copy

import numpy as np
import oracle
import pytest
import timm
import torch
import torch.nn.functional as F
from timm.models.vision_transformer import ParallelScalingBlock
from timm.models.vitamin import VitCfg, VitConvCfg
from torch import nn

import ultra_kit as uk
from ultra_kit.maps.engine import FEW, row_chunks
from ultra_kit.maps.planning import make_request
from ultra_kit.models.huggingface_text import find_tokenizer

transformers = pytest.importorskip("transformers")

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)
TINY = {"embed_dim": 32, "depth": 2, "num_heads": 4}
WIDE = {**TINY, "img_size": (32, 48)}
STEM = VitCfg((8, 16, 32), (1, 1, 1), 8, VitConvCfg(norm_layer="layernorm2d"), "1d")
NAMES = {  # name: (options, prefix tokens, grid)
    "vit_tiny_patch16_224": (WIDE, 1, (2, 3)),
    "vit_tiny_patch16_224 dynamic": (
        {**TINY, "img_size": 32, "dynamic_img_size": True, "size": (48, 32)},
        1,
        (3, 2),
    ),
    "vit_tiny_patch16_224 qk-norm": ({**WIDE, "qk_norm": True, "init_values": 1e-5}, 1, (2, 3)),
    "vit_tiny_r_s16_p8_224": ({**TINY, "img_size": (64, 96)}, 1, (2, 3)),
    "vit_tiny_patch16_224 parallel": ({**WIDE, "block_fn": ParallelScalingBlock}, 1, (2, 3)),
    "vit_medium_patch16_reg4_gap_256": (WIDE, 4, (2, 3)),
    "vit_so150m_patch16_reg4_map_256": (WIDE, 4, (2, 3)),
    "vit_small_patch14_reg4_dinov2": ({**TINY, "img_size": (28, 42)}, 5, (2, 3)),
    "vit_base_patch16_siglip_224": (WIDE, 0, (2, 3)),
    "vit_base_patch32_clip_quickgelu_224": ({**TINY, "img_size": (64, 96)}, 1, (2, 3)),
    "aimv2_large_patch14_224": ({**TINY, "img_size": (28, 42)}, 0, (2, 3)),
    "flexivit_small": (WIDE, 1, (2, 3)),
    "deit_tiny_distilled_patch16_224": (WIDE, 2, (2, 3)),
    "deit3_small_patch16_224": (WIDE, 1, (2, 3)),
    "naflexvit_base_patch16_gap": ({**TINY, "size": (32, 48)}, 4, (2, 3)),
    "naflexvit_base_patch16_siglip": ({**TINY, "size": (32, 48)}, 0, (2, 3)),
    "naflexvit_base_patch16_par_gap": ({**TINY, "size": (32, 48)}, 4, (2, 3)),
    "vitamin_small_224": ({**WIDE, "embed_cfg": STEM}, 0, (2, 3)),
    "cait_xxs24_224": (WIDE, 0, (2, 3)),
    "beit_base_patch16_224": (WIDE, 1, (2, 3)),
    "beitv2_base_patch16_224": (WIDE, 1, (2, 3)),
    "vit_relpos_base_patch16_clsgap_224": (WIDE, 1, (2, 3)),
    "vit_srelpos_small_patch16_224": (WIDE, 0, (2, 3)),
    "eva_giant_patch14_224": ({**TINY, "img_size": (28, 42)}, 1, (2, 3)),
    "eva02_tiny_patch14_224": ({**TINY, "img_size": (28, 42)}, 1, (2, 3)),
    "vit_pe_core_tiny_patch16_384": (WIDE, 1, (2, 3)),
    "vit_pe_spatial_tiny_patch16_512": (WIDE, 1, (2, 3)),
    "vit_pe_lang_large_patch14_448": ({**TINY, "img_size": (28, 42)}, 1, (2, 3)),
    "vit_small_patch16_rope_mixed_224": (WIDE, 1, (2, 3)),
    "vit_medium_patch16_rope_reg1_gap_256": (WIDE, 1, (2, 3)),
    "vit_small_patch16_dinov3": (WIDE, 5, (2, 3)),
    "vit_small_plus_patch16_dinov3": ({**TINY, "size": (48, 32)}, 5, (3, 2)),
}

PATCHES = {"image_size": 32, "patch_size": 8}
SMALL = {"num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 32, "intermediate_size": 64}
BOTH = {**SMALL, **PATCHES}
NO_MLP = {k: v for k, v in BOTH.items() if k != "intermediate_size"}
WORDS = ("a", "red", "star", "blue", "ring")
VOCABULARY = {w: i for i, w in enumerate(("<pad>", "<unk>", *WORDS, "</s>"))}
TEXT = {
    **SMALL,
    "vocab_size": len(VOCABULARY),
    "max_position_embeddings": 12,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 7,
}
FLEX = {**SMALL, "patch_size": 8, "num_patches": 16}
HUGGING_FACE = {  # class: (options of its configuration, prefix tokens)
    "ViTModel": (BOTH, 1),
    "ViTForImageClassification": ({**BOTH, "num_labels": 5}, 1),
    "DeiTForImageClassificationWithTeacher": ({**BOTH, "num_labels": 5}, 2),
    "BeitModel": ({**BOTH, "use_relative_position_bias": True}, 1),
    "BeitForImageClassification": ({**BOTH, "use_shared_relative_position_bias": True, "num_labels": 5}, 1),
    "Dinov2Model": (NO_MLP, 1),
    "Dinov2WithRegistersModel": ({**NO_MLP, "num_register_tokens": 3}, 4),
    "DINOv3ViTModel": ({**BOTH, "num_register_tokens": 4}, 5),
    "CLIPVisionModel": (BOTH, 1),
    "CLIPModel": ({"text_config": TEXT, "vision_config": BOTH, "projection_dim": 16}, 1),
    "SiglipVisionModel": (BOTH, 0),
    "SiglipModel": ({"text_config": TEXT, "vision_config": BOTH}, 0),
    "SiglipForImageClassification": ({"text_config": TEXT, "vision_config": BOTH, "num_labels": 5}, 0),
    "Siglip2VisionModel": (FLEX, 0),
    "Siglip2Model": ({"text_config": TEXT, "vision_config": FLEX}, 0),
    "Aimv2VisionModel": (BOTH, 0),
}


def spread(module):
    """Weights that leave no gradient vanishing: tiny initial scales would hide mistakes."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, p in module.named_parameters():
            if "gamma" in name or "lambda" in name:
                p.uniform_(0.3, 1.0, generator=generator)
            elif p.ndim == 2 and "embed" not in name:
                p.normal_(0, 0.8 / p.shape[1] ** 0.5, generator=generator)
    return module


def timm_model(label):
    options, name = dict(NAMES[label][0]), label.split()[0]
    size = options.pop("size", None)
    if size is None:
        model = uk.load(f"timm:{name}", pretrained=False, dtype=torch.float64, **options)
    else:  # a size that the transform gives and the model was not built for
        model = uk.load(timm.create_model(name, pretrained=False, **options).double().eval(), size=size)
    spread(model.module)
    return model


def hugging_face_module(kind):
    options, _ = HUGGING_FACE[kind]
    cls = getattr(transformers, kind)
    torch.manual_seed(0)
    return spread(cls(cls.config_class(**copy.deepcopy(options))).double().eval())


# --- the oracle: latents and attention of the library's own unfused code --------------------------------


def listen(blocks, run):
    """Run a model; the tokens that enter the first block, made a leaf, and what leaves each: (N, D)."""
    latents, handles = [], []

    def enter(module, args):
        latents.append(args[0].detach().requires_grad_()[0])
        return (latents[0][None], *args[1:])

    def leave(module, args, out):
        latents.append((out[0] if isinstance(out, tuple) else out)[0])

    handles.append(blocks[0].register_forward_pre_hook(enter))
    handles += [block.register_forward_hook(leave) for block in blocks]
    out = run()
    for handle in handles:
        handle.remove()
    return latents, out


def timm_oracle(module, pixels):
    module = copy.deepcopy(module)
    blocks, attentions = module.blocks if hasattr(module, "blocks") else None, []
    for m in module.modules():
        if hasattr(m, "fused_attn"):
            m.fused_attn = False
    if isinstance(blocks[0], nn.Sequential):
        blocks = list(blocks[0])

    def keep(m, args, out):
        attentions.append(out[0])
        return attentions[-1][None]

    def keep_before_mixing(m, args):  # CaiT mixes the heads after the softmax, with the heads last
        attentions.append(args[0].permute(0, 3, 1, 2)[0])
        return attentions[-1][None].permute(0, 2, 3, 1)

    for block in blocks:
        inner = block if hasattr(block, "attn_drop") else block.attn
        if hasattr(inner, "proj_w"):
            inner.proj_w.register_forward_pre_hook(keep_before_mixing)
        else:
            inner.attn_drop.register_forward_hook(keep)
    latents, out = listen(blocks, lambda: module(pixels))
    return latents, attentions, out.detach()


def hugging_face_oracle(module, inputs):
    module, attentions = copy.deepcopy(module), []

    def written_out(m, query, key, value, mask, scaling=None, **options):
        logits = query @ key.transpose(2, 3) * (query.shape[-1] ** -0.5 if scaling is None else scaling)
        attentions.append((logits if mask is None else logits + mask).softmax(-1)[0])
        return (attentions[-1][None] @ value).transpose(1, 2), attentions[-1][None]

    transformers.AttentionInterface.register("written_out", written_out)
    module.set_attn_implementation("written_out")
    depth = SMALL["num_hidden_layers"]
    blocks = next(m for m in module.modules() if isinstance(m, nn.ModuleList) and len(m) == depth)
    latents, out = listen(blocks, lambda: module(**inputs))
    return latents, attentions, out


# --- what may not change ------------------------------------------------------------------------------------


def snapshot(module):
    """All that a model is made of, so that two of them can be compared with ==."""
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    parts = {
        name: (m.training, tuple(sorted(m.__dict__)), *(tuple(getattr(m, h)) for h in hooks), str(m))
        for name, m in module.named_modules()
    }
    tensors = {
        name: (t.data_ptr(), t._version, t.requires_grad, t.grad is None, t.detach().numpy().tobytes())
        for name, t in (*module.named_parameters(), *module.named_buffers())
    }
    implementation = {
        n: m.config._attn_implementation for n, m in module.named_modules() if hasattr(m, "config")
    }
    library = F.scaled_dot_product_attention, F.softmax, torch.is_grad_enabled()
    return parts, tensors, implementation, library


def output(model, inputs):
    with torch.no_grad():
        out = (model.forward or model.module)(inputs["pixel_values"])
    return next(v for v in (out if isinstance(out, torch.Tensor) else out.values()) if v is not None)


def unlike(model):
    """Mixed modes and frozen parameters: a model that is only ever in eval mode shows nothing."""
    parts = list(model.module.modules())
    parts[-1].training = True
    parameters = list(model.module.parameters())
    for p in parameters[::2]:
        p.requires_grad_(False)


def check_against(model, reference):
    """Maps of five tokens at two layers equal the oracle's, and the model is left as it was."""
    inputs, layout, _ = model.prepare(IMAGE)
    latents, attentions, _ = reference(inputs)
    plain = output(model, inputs)
    unlike(model)
    before = snapshot(model.module)
    cap = uk.capture(model, IMAGE)
    torch.testing.assert_close(cap.latents[-1], latents[-1].detach(), rtol=0, atol=1e-9)
    assert [tuple(s.weights.shape) for s in cap.steps] == [tuple(a.shape) for a in attentions]
    last = layout.n_tokens - 1
    tokens = np.array([0, layout.n_prefix + 1, last - 2, last, last - 1])
    assert len(tokens) >= FEW  # so that what is behind the last attention is passed once for all
    direction = torch.randn(latents[0].shape[1], dtype=torch.float64)
    depth = len(attentions)
    for layer, since, chunk in ((1, 0, 1), (depth, 0, 3), (depth, depth - 1, 1)):
        # A direction, since behind a closing norm ||z|| is constant, and its maps would show nothing.
        expected = oracle.explanation_maps(
            latents, attentions, layer, tokens, score=lambda z: z @ direction, since=since
        )
        off = expected.clone()
        off[torch.arange(len(tokens)), tokens] -= 1
        assert off.abs().max() > 1e-3  # a comparison of identities would show nothing
        request = make_request(cap, layer, tokens, towards=direction, since=since, chunk_size=chunk)
        found = torch.cat(list(row_chunks(request)))
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)
        maps = uk.explain(cap, layer=layer, tokens=tokens, towards=direction, since=since)
        np.testing.assert_allclose(maps.values, expected.numpy(), rtol=1e-5, atol=1e-5)
    del cap
    assert snapshot(model.module) == before
    model.module.eval()
    assert torch.equal(output(model, inputs), plain)


@pytest.mark.parametrize("label", NAMES)
def test_timm(label):
    _, n_prefix, grid = NAMES[label]
    model = timm_model(label)
    report = uk.check(model)
    assert report.supported and f"{n_prefix} prefix + {grid[0]} x {grid[1]} patches" in str(report)
    check_against(model, lambda inputs: timm_oracle(model.module, inputs["pixel_values"]))


@pytest.mark.parametrize("kind", HUGGING_FACE)
def test_hugging_face(kind):
    module = hugging_face_module(kind)
    size = (32, 32) if kind == "Aimv2VisionModel" else (16, 24)  # that one takes no other than its own
    model = uk.load(module, size=size)
    report = uk.check(model)
    wanted = f"{HUGGING_FACE[kind][1]} prefix + {size[0] // 8} x {size[1] // 8} patches"
    assert report.supported and wanted in str(report)
    tower = module.vision_model if hasattr(module, "get_text_features") else module

    def reference(inputs):
        pixels = inputs["pixel_values"]
        if "Siglip2" in kind:
            cut = [pixels[0, :, y : y + 8, x : x + 8] for y in (0, 8) for x in (0, 8, 16)]
            ones, shape = torch.ones(1, 6, dtype=torch.int32), torch.tensor([[2, 3]])
            flat = torch.stack([c.permute(1, 2, 0).flatten() for c in cut])[None]
            inputs = {"pixel_values": flat, "pixel_attention_mask": ones, "spatial_shapes": shape}
        elif size != (32, 32) and "DINOv3" not in kind and "Dinov2" not in kind:
            inputs = {"pixel_values": pixels, "interpolate_pos_encoding": True}
        return hugging_face_oracle(tower, inputs)

    check_against(model, reference)


# --- refused by what was seen -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("samvit_base_patch16", {**TINY, "img_size": 256}, r"\(16, 196, 196\)"),
        (
            "swinv2_cr_tiny_224",
            {"embed_dim": 16, "depths": (1, 1), "num_heads": (1, 1)},
            r"\(64, 1, 49, 49\)",
        ),
        ("hiera_tiny_224", {"embed_dim": 16, "stages": (1, 1, 1, 1)}, r"\(1, 1, 49, 64, 64\)"),
        ("pit_ti_224", {"depth": (1, 1, 1)}, r"\(64, 27, 27\) and its attention \(1, 2, 730, 730\)"),
        ("levit_128s", {"depth": (1, 1, 1)}, "196 at first and 49"),
        ("crossvit_tiny_240", {"depth": ((1, 1, 0), (1, 1, 0), (1, 1, 0))}, "401 at first and 197"),
        ("convnext_atto", {}, "no attention was seen"),
        ("vit_dlittle_patch16_reg1_gap_256", {**TINY, "img_size": 32}, "made 2 maps"),
        ("vit_dpwee_patch16_reg1_gap_256", {**TINY, "img_size": 32}, "made 2 maps"),
        ("vit_small_patch16_18x2_224", {**TINY, "img_size": 32}, "shortcut from an earlier one"),
    ],
)
def test_timm_refuses(name, options, words):
    module = timm.create_model(name, pretrained=False, **options)
    before = snapshot(module)
    report = uk.check(module)
    assert not report.supported
    with pytest.raises(uk.UltraError, match=words):
        uk.capture(module, IMAGE)
    assert snapshot(module) == before


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        ("Swin", dict(image_size=32, patch_size=2, embed_dim=16, depths=[1], num_heads=[2]), "16, 2, 16, 16"),
        ("ConvNext", dict(hidden_sizes=[8] * 4, depths=[1] * 4), "no attention was seen"),
        ("Pvt", dict(hidden_sizes=[8] * 4, depths=[1] * 4, num_attention_heads=[1] * 4), "3136, 49"),
    ],
)
def test_hugging_face_refuses(kind, options, words):
    if kind == "Swin":
        options["window_size"] = 4
    module = getattr(transformers, f"{kind}Model")(getattr(transformers, f"{kind}Config")(**options))
    before = snapshot(module)
    with pytest.raises(uk.UltraError, match=words):
        uk.capture(module, IMAGE)
    assert snapshot(module) == before


def test_global_attention_without_a_known_grid():
    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.patch = nn.Conv2d(3, 16, 16, 16)
            self.blocks = nn.ModuleList([nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)])

        def forward(self, x):
            return self.blocks[0](self.patch(x).flatten(2).transpose(1, 2))

    Plain.__module__ = "timm.models.plain"  # taken for one of timm's
    with pytest.raises(uk.UltraError, match="how its 196 tokens lie on the image; pass grid"):
        uk.capture(Plain(), IMAGE)


# --- texts in the space of the patches ------------------------------------------------------------------------


def save_tokenizer(folder):
    """One word a token, the end of the text marked, padding on the right."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    own = Tokenizer(models.WordLevel(VOCABULARY, unk_token="<unk>"))
    own.pre_tokenizer = pre_tokenizers.Whitespace()
    own.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 7)])
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=own, unk_token="<unk>", pad_token="<pad>", eos_token="</s>"
    ).save_pretrained(folder)


@pytest.fixture(scope="module", params=["CLIPModel", "SiglipModel"])
def aligned(request, tmp_path_factory):
    """A whole image-text model, loaded from a folder with its tokenizer."""
    folder = tmp_path_factory.mktemp(request.param)
    hugging_face_module(request.param).save_pretrained(folder)
    save_tokenizer(folder)
    return uk.load(f"hf:{folder}", size=(16, 24), dtype=torch.float64)


def test_texts_are_read_as_the_model_was_trained(aligned):
    ids = torch.tensor([[2, 3, 4, 7], [5, 6, 7, 0]])  # "a red star", "blue ring"
    if "Siglip" in type(aligned.module).__name__:  # padded to full length, the padding seen
        inputs = {"input_ids": F.pad(ids, (0, 8))}
    else:
        inputs = {"input_ids": ids, "attention_mask": (ids > 0).long()}
    with torch.no_grad():
        expected = F.normalize(aligned.module.get_text_features(**inputs).pooler_output, dim=-1)
    found = aligned.encode_text(["a red star", "blue ring"])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)
    assert not found.requires_grad and (found[0] - found[1]).abs().max() > 1e-3


def test_tokens_are_projected_as_the_model_projects(aligned):
    inputs, *_ = aligned.prepare(IMAGE)
    z = aligned.run(inputs)[0][-1].detach()
    module, tower = aligned.module, aligned.module.vision_model
    if isinstance(module, transformers.CLIPModel):  # the class token is what CLIP itself compares with texts
        features = module.get_image_features(inputs["pixel_values"], interpolate_pos_encoding=True)
        torch.testing.assert_close(aligned.project(z[0]), features.pooler_output[0], rtol=0, atol=1e-9)
        return
    # The pooling head with one token: softmax over one key is 1, and what is left is its value.
    y, head = tower.post_layernorm(z), tower.head
    width = y.shape[1]
    value = y @ head.attention.in_proj_weight[2 * width :].T + head.attention.in_proj_bias[2 * width :]
    value = head.attention.out_proj(value)
    expected = value + head.mlp(head.layernorm(value))
    torch.testing.assert_close(aligned.project(z), expected, rtol=0, atol=1e-9)


def test_zero_shot_head(aligned):
    texts = ["a red star", "blue ring"]
    model = aligned.zero_shot(texts)
    cap = uk.capture(model, IMAGE)
    directions = aligned.encode_text(texts)
    token = cap.layout.n_tokens - 1

    def best(z):
        return (F.normalize(aligned.project(z), dim=-1) @ directions.T).max()

    expected = oracle.explanation_map(cap.latents, [s.weights for s in cap.steps], 2, token, score=best)
    (found,) = row_chunks(make_request(cap, 2, token, score="head"))
    assert expected.abs().sum() - 1 > 1e-4
    torch.testing.assert_close(found[0], expected, rtol=0, atol=1e-9)
    assert model.card()["config"]["zero_shot"] == texts
    assert "head" in str(uk.check(model)) and aligned.head(cap.latents[-1]) is None


@pytest.mark.parametrize("error", [OSError, ValueError, TypeError("not a string")])
def test_no_tokenizer_whatever_says_so(error, tmp_path, monkeypatch):
    """SentencePiece, where it is installed, raises a TypeError of a folder without a tokenizer."""
    from transformers import AutoTokenizer

    def missing(*_, **__):
        raise error

    monkeypatch.setattr(AutoTokenizer, "from_pretrained", missing)
    assert find_tokenizer(str(tmp_path)) is None


def test_texts_without_a_tokenizer(tmp_path):
    module = hugging_face_module("SiglipModel")
    module.save_pretrained(tmp_path)
    for model in (uk.load(module), uk.load(f"hf:{tmp_path}")):
        with pytest.raises(uk.UltraError, match=r"tokenizer.*hf:FOLDER"):
            model.encode_text(["a red star"])
    with pytest.raises(ValueError, match="not empty"):
        model.encode_text([])
