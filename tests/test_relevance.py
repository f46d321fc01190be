"""The engine against the oracle, against numbers worked by hand, and against bad input."""

import dataclasses
import warnings

import numpy as np
import oracle
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from torch import nn

import ultra_kit as uk
from ultra_kit.relevance import ConstantNormWarning, Interrupted, relevance_rows
from ultra_kit.scores import make_score
from ultra_kit.types import AttentionStep, Capture, Layout, UltraError

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


@pytest.fixture(scope="module", params=FAMILIES)
def case(request):
    """A capture, and the latents and attention of a forward pass of the oracle's own."""
    model, image = build(request.param)
    cap = make_capture(*oracle.forward(model, image), prefix=model.num_prefix_tokens)
    return cap, oracle.forward(model, image)


def rows(
    cap, layer=-1, tokens=None, score="norm", rule="positive", chunk_size=1, towards=None, transform=None
):
    """The engine's rows in the capture's dtype."""
    layer, index = cap.layer_index(layer), cap.token_indices(tokens)
    seeds = make_score(cap, len(index), score, towards, transform).seeds(cap.latents[layer][index])
    return relevance_rows(cap, layer, index, seeds, rule=rule, chunk_size=chunk_size)


@pytest.mark.parametrize("layer", [1, 3])
@pytest.mark.parametrize("rule", ["positive", "negative", "absolute"])
def test_equals_the_oracle(case, layer, rule):
    cap, own = case
    every = list(range(cap.layout.n_tokens))
    expected = oracle.explanation_maps(*own, layer, every, rule=rule)
    off = expected - torch.eye(len(every))
    assert off.abs().max() > 1e-3  # a comparison of identities would show nothing
    torch.testing.assert_close(rows(cap, layer, every, rule=rule), expected, rtol=0, atol=1e-9)


def test_equals_the_oracle_for_every_chunk_size(case):
    cap, own = case
    every = list(range(cap.layout.n_tokens))
    expected = oracle.explanation_maps(*own, 3, every)
    for chunk in (1, 2, 3, len(every) - 1, len(every), len(every) + 7):
        torch.testing.assert_close(rows(cap, tokens=every, chunk_size=chunk), expected, rtol=0, atol=1e-9)


def test_three_tokens_by_hand():
    # One head, width 1, two blocks without norms: z' = z + A z with A a leaf, so everything is linear.
    #   x = (1, 2, -1); A1 = [[.5 .5 0] [0 1 0] [.25 .25 .5]]; A2 = [[1 0 0] [.5 0 .5] [0 .5 .5]]
    #   y = x + A1 x = (2.5, 4, -.75)          (A1 x = (1.5, 2, .25))
    #   z = y + A2 y; z_1 = 4 + .5*2.5 + .5*(-.75) = 4.875, so ||z_1|| = z_1, seed +1.
    # dz_1/dA2[1, :] = y; A2*G row 1 = (1.25, 0, -.375); relu: (1.25, 0, 0).
    #   C2 row 1 = (1.25, 1, 0).
    # dz_1/dy = e_1 + A2[1] = (.5, 1, .5); dz_1/dA1[q, :] = that_q * x:
    #   row 0: .5*(1,2,-1) * (.5,.5,0) = (.25, .5, 0);  row 1: (1,2,-1)*(0,1,0) = (0, 2, 0)
    #   row 2: .5*(1,2,-1)*(.25,.25,.5) = (.125, .25, -.25), relu: (.125, .25, 0)
    #   C1 = [[1.25 .5 0] [0 3 0] [.125 .25 1]]
    # S_1 = (1.25, 1, 0) C1 = 1.25*(1.25, .5, 0) + (0, 3, 0) = (1.5625, 3.625, 0)
    a1 = torch.tensor([[[0.5, 0.5, 0], [0, 1, 0], [0.25, 0.25, 0.5]]], requires_grad=True)
    a2 = torch.tensor([[[1.0, 0, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]], requires_grad=True)
    x = torch.tensor([[1.0], [2.0], [-1.0]])
    y = x + a1[0] @ x
    z = y + a2[0] @ y
    cap = make_capture([x, y, z], [a1, a2])
    maps = uk.explain(cap, tokens=[1], progress=False)
    np.testing.assert_array_equal(maps.values, np.float32([[1.5625, 3.625, 0]]))
    # The other order, C1 C2, has row 1 = (0, 3, 0) C2 = 3 * (1.25, 1, 0): the order matters here.
    assert maps.values[0, 0] != 3.75
    # The negative rule: C2 row 1 = (0, 1, .375); C1 = I but for row 2 = (0, 0, 1.25).
    #   S_1 = (0, 1, .375 * 1.25) = (0, 1, .46875)
    maps = uk.explain(cap, tokens=1, rule="negative", progress=False)
    np.testing.assert_array_equal(maps.values, np.float32([[0, 1, 0.46875]]))


def test_layer_0_is_the_own_position(case):
    cap, _ = case
    maps = uk.explain(cap, layer=0, tokens=[2, 0])
    np.testing.assert_array_equal(maps.values, np.eye(cap.layout.n_tokens)[[2, 0]])
