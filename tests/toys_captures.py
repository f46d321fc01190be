"""Tiny models in float64 whose gradients do not vanish, and captures made by hand."""

import numpy as np
import oracle
import torch
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from torch import nn

import ultra_kit as uk
from ultra_kit.types import AttentionStep, Capture, Layout

FAMILIES = {
    "no prefix, not square": dict(img_size=(16, 32), class_token=False, global_pool="avg"),
    "class token": dict(img_size=24),
    "class token and 4 registers, LayerScale": dict(img_size=24, reg_tokens=4, init_values=1e-5),
    "qk-norm": dict(img_size=24, qk_norm=True),
    "rope (eva)": dict(img_size=(24, 16), use_rot_pos_emb=True, init_values=1e-5, qkv_fused=False),
    "rope, 4 registers (dinov3)": dict(
        img_size=24,
        use_rot_pos_emb=True,
        rope_type="dinov3",
        use_abs_pos_emb=False,
        num_reg_tokens=4,
        no_embed_class=True,
        rope_rotate_half=True,
        swiglu_mlp=True,
    ),
}


def build(family, depth=3):
    """A tiny model in float64 with weights that leave no gradient vanishing."""
    torch.manual_seed(0)
    options = FAMILIES[family]
    kind = Eva if "rope" in family else VisionTransformer
    model = kind(patch_size=8, embed_dim=24, depth=depth, num_heads=2, num_classes=5, **options)
    for name, p in model.named_parameters():
        if "gamma" in name:
            nn.init.uniform_(p, 0.3, 1.0)
        elif p.ndim > 1:
            nn.init.normal_(p, std=0.25)
    height, width = model.patch_embed.img_size
    return model.double().eval().requires_grad_(False), torch.randn(1, 3, height, width).double()


def captured(family):
    """A capture of three blocks, and latents and attention of the oracle's own forward pass."""
    model, image = build(family)
    size = tuple(image.shape[-2:])
    cap = uk.capture(uk.load(model, transform=lambda _: image[0]), np.zeros((*size, 3), np.uint8))
    return cap, oracle.forward(model, image)


class Stub:
    """As much of a Backbone as the engine asks for."""

    name, modality = "stub", "image"

    def __init__(self, head=None):
        self.read = head

    def head(self, latents):
        return None if self.read is None else self.read(latents)


def make_capture(latents, attentions, prefix=0, grid=None, head=None, steps=None):
    n = len(latents[0])
    if steps is None:
        steps = [AttentionStep(a, b, name=f"block {b}") for b, a in enumerate(attentions, 1)]
    grid = grid or (1, n - prefix)
    layout = Layout("image", prefix, grid=grid, size=(grid[0] * 8, grid[1] * 8))
    return Capture(
        Stub(head), layout, np.zeros((*layout.size, 3), np.uint8), tuple(latents), tuple(steps), {}
    )


def attention_stack(n, seed, depth=3, width=5, causal=False, seen=False, dtype=torch.float64, **options):
    """A transformer of attention and tanh alone, in float64, two heads; `seen`: with context and values."""
    g = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, generator=g, dtype=torch.float64).to(dtype)  # noqa: E731
    x = draw(n, width).requires_grad_()
    latents, steps = [x], []
    for _ in range(depth):
        q, k, v = (torch.stack([x @ draw(width, width) for _ in range(2)]) for _ in range(3))
        logits = q @ k.transpose(1, 2) / width**0.5
        if causal:
            logits = logits.masked_fill(torch.ones(n, n).triu(1).bool(), -torch.inf)
        a = logits.softmax(-1)
        context = a @ v
        x = x + torch.tanh(context.mean(0))
        latents.append(x)
        seeing = {"context": context, "values": v} if seen else {}
        steps.append(AttentionStep(a, len(latents) - 1, name=f"block {len(latents) - 1}", **seeing))
    return make_capture(latents, None, steps=steps, **options)
