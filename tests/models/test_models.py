"""Models of several families: explicit attention gives the same output, and refusals say what was seen."""

import pytest
import torch
from toys_models import IMAGE, OwnModule, own_model

import ultra_kit as uk
from ultra_kit.models.attention import record

SMALL = {"embed_dim": 32, "depth": 3, "num_heads": 4}
FAMILIES = [
    ("vit_tiny_patch16_224", {**SMALL, "img_size": (32, 48)}, 1),
    ("vit_tiny_patch16_224", {**SMALL, "img_size": (32, 48), "dynamic_img_size": True, "qk_norm": True}, 1),
    ("deit_tiny_distilled_patch16_224", {**SMALL, "img_size": 32}, 2),
    ("vit_small_patch14_reg4_dinov2", {**SMALL, "img_size": 42}, 5),
    ("vit_base_patch16_siglip_224", {**SMALL, "img_size": 32}, 0),
    ("vit_base_patch32_clip_224", {**SMALL, "img_size": 64}, 1),
    ("eva02_tiny_patch14_224", {**SMALL, "img_size": 42}, 1),
    ("vit_small_patch16_dinov3", {**SMALL, "img_size": (32, 48)}, 5),
    ("beit_base_patch16_224", {**SMALL, "img_size": 32}, 1),
    ("vit_relpos_small_patch16_224", {**SMALL, "img_size": 32}, 0),
]


def _small(name, options):
    torch.manual_seed(0)
    model = uk.load(f"timm:{name}", pretrained=False, **options)
    with torch.no_grad():
        for n, p in model.module.named_parameters():
            if "gamma" in n or (n.endswith(".weight") and p.ndim == 2):  # tiny initial scales hide mistakes
                p.normal_(0, 0.3 if "gamma" in n else 0.15)
    return model


@pytest.mark.parametrize(("name", "options", "n_prefix"), FAMILIES)
def test_output_and_maps_of_a_family(name, options, n_prefix):
    model = _small(name, options)
    inputs, layout, _ = model.prepare(IMAGE)
    plain = model.module(inputs["pixel_values"]).detach()
    seen = []
    latents, steps = record(model.module, lambda: seen.append(model.module(inputs["pixel_values"])))
    torch.testing.assert_close(seen[0], plain, rtol=1e-4, atol=1e-5)
    n = layout.n_tokens
    assert layout.n_prefix == n_prefix and len(steps) == 3 and len(latents) == 4
    direction = torch.randn(32)
    grads = torch.autograd.grad(latents[-1][-1] @ direction, [s.weights for s in steps])
    for step, g in zip(steps, grads, strict=True):
        assert step.weights.shape == (4, n, n)
        torch.testing.assert_close(step.weights.sum(-1), torch.ones(4, n))
        assert g.isfinite().all() and g.abs().max() > 1e-4


def test_maps_equal_those_of_the_unfused_model():
    model = _small("vit_tiny_patch16_224", {**SMALL, "img_size": 32})
    inputs, *_ = model.prepare(IMAGE)
    _, steps = model.run(inputs)
    for block in model.module.blocks:
        block.attn.fused_attn = False
        found = []
        block.attn.attn_drop.register_forward_hook(lambda m, a, out, found=found: found.append(out[0]))
        block.found = found
    model.module(inputs["pixel_values"])
    for block, step in zip(model.module.blocks, steps, strict=True):
        torch.testing.assert_close(step.weights, block.found[0], rtol=1e-5, atol=1e-6)


def test_head_reads_the_class_token():
    model = _small("vit_tiny_patch16_224", {**SMALL, "img_size": 32})
    inputs, *_ = model.prepare(IMAGE)
    latents, _ = model.run(inputs)
    logits = model.module(inputs["pixel_values"])[0]
    torch.testing.assert_close(model.head(latents[-1])[0], logits, rtol=1e-4, atol=1e-4)


def test_own_module_with_multihead_attention():
    model = own_model()
    model.module.eval()
    inputs, *_ = model.prepare(IMAGE)
    latents, steps = model.run(inputs)
    torch.testing.assert_close(latents[-1][None], model.module(inputs["pixel_values"]), rtol=1e-4, atol=1e-5)
    assert len(steps) == 3 and uk.check(model).supported and not uk.check(model).flat_norm


def test_post_norm_is_named():
    report = uk.check(own_model("post-norm"))
    assert report.flat_norm and "nearly constant" in str(report)


@pytest.mark.parametrize(
    ("fault", "word"), [("detach", "only through"), ("shrink", "stay the same"), ("skip", "only through")]
)
def test_broken_paths_are_refused(fault, word):
    report = uk.check(own_model(fault))
    assert not report and word in str(report)


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("swin_tiny_patch4_window7_224", "(64, 3, 49, 49)"),
        ("pvt_v2_b0", "Not supported"),
        ("xcit_nano_12_p16_224", "Not supported"),
        ("resnet10t", "no attention was seen"),
    ],
)
def test_refused_by_what_was_seen(name, word):
    report = uk.check(uk.load(f"timm:{name}", pretrained=False))
    assert not report.supported and word in str(report)


def test_run_from_gives_the_recorded_latents():
    model = _small("vit_tiny_patch16_224", {**SMALL, "img_size": 32})
    inputs, *_ = model.prepare(IMAGE)
    latents, _ = model.run(inputs)
    again = model.run_from(inputs, torch.stack([latents[0].detach()] * 2), 2)
    torch.testing.assert_close(again, torch.stack([latents[2]] * 2), rtol=1e-4, atol=1e-5)


def test_names_and_options():
    with pytest.raises(ValueError, match="scenes"):
        uk.load("scene")
    with pytest.raises(ValueError, match="vit_tiny"):
        uk.load("timm:vit_tiny_patch17_224", pretrained=False)
    with pytest.raises(TypeError, match="n_prefix"):
        uk.load(OwnModule())
    with pytest.raises(ValueError, match="dtype"):
        uk.load(OwnModule(), dtype=torch.float64, size=16, grid=(2, 2), n_prefix=0)


def test_checkpoint_round_trip_and_no_pickle(tmp_path):
    model = _small("vit_tiny_patch16_224", {**SMALL, "img_size": 32})
    torch.save(model.module.state_dict(), tmp_path / "w.pt")
    again = uk.load("timm:vit_tiny_patch16_224", checkpoint=tmp_path / "w.pt", **SMALL, img_size=32)
    assert again.card()["weights_sha256"] == model.card()["weights_sha256"]
    torch.save(model.module, tmp_path / "code.pt")
    with pytest.raises(uk.UltraError, match="pickled code"):
        uk.load("timm:vit_tiny_patch16_224", checkpoint=tmp_path / "code.pt", **SMALL, img_size=32)
    with pytest.raises(uk.UltraError, match="fit"):
        uk.load(
            "timm:vit_tiny_patch16_224",
            checkpoint=tmp_path / "w.pt",
            **{**SMALL, "embed_dim": 64},
            img_size=32,
        )


HF = {"num_hidden_layers": 3, "num_attention_heads": 4, "hidden_size": 32, "image_size": 32, "patch_size": 8}


@pytest.mark.parametrize(
    ("kind", "n_prefix", "extra"),
    [
        ("ViT", 1, {}),
        ("DeiT", 2, {}),
        ("Dinov2", 1, {}),
        ("DINOv3ViT", 5, {"num_register_tokens": 4}),
        ("CLIPVision", 1, {}),
        ("SiglipVision", 0, {}),
    ],
)
def test_hugging_face_vision(kind, n_prefix, extra):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    mlp = {} if kind == "Dinov2" else {"intermediate_size": 64}
    config = getattr(transformers, f"{kind}Config")(**HF, **mlp, **extra)
    module = getattr(transformers, f"{kind}Model")(config).eval()
    before = module.config._attn_implementation
    model = uk.load(module)
    inputs, layout, _ = model.prepare(IMAGE)
    plain = module(**inputs).last_hidden_state.detach()
    seen = []
    latents, steps = record(module, lambda: seen.append(module(**inputs).last_hidden_state))
    torch.testing.assert_close(seen[0], plain, rtol=1e-4, atol=1e-5)
    assert (len(steps), layout.n_prefix, layout.n_tokens) == (3, n_prefix, len(latents[0]))
    assert module.config._attn_implementation == before
    assert uk.check(model).supported
