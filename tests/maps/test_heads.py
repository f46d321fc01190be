"""The split of a map by head, against the equations written out and against `explain`."""

import numpy as np
import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn

import ultra_kit as uk
from ultra_kit.maps.heads import head_shares
from ultra_kit.types import UltraError


@pytest.fixture(scope="module")
def cap():
    torch.manual_seed(0)
    model = VisionTransformer(img_size=(16, 24), patch_size=8, embed_dim=24, depth=3, num_heads=2)
    for p in model.parameters():
        if p.ndim > 1:
            nn.init.normal_(p, std=0.25)
    image = np.random.default_rng(0).integers(0, 255, (16, 24, 3), np.uint8)
    return uk.capture(model.eval(), image)


def by_hand(cap, layer, token, rule):
    """C_k of one head at a time, with full matrices and one gradient call for every block."""
    z = cap.latents[layer][token].norm()
    sign = {"positive": torch.relu, "negative": lambda x: torch.relu(-x), "absolute": torch.abs}[rule]
    parts = []
    for step in cap.steps[:layer]:
        (g,) = torch.autograd.grad(z, step.weights, retain_graph=True)
        parts.append(sign(step.weights.detach() * g).double())
    n = len(cap.latents[0])
    below = torch.eye(n).double()
    for kept in parts[:-1]:
        below = (torch.eye(n).double() + kept.mean(0)) @ below
    heads = parts[-1] / len(parts[-1])
    return torch.stack([below[token], *(heads[h, token] @ below for h in range(len(heads)))]).numpy()


@pytest.mark.parametrize("rule", ["positive", "negative", "absolute"])
@pytest.mark.parametrize("layer", [1, 2, 3])
def test_shares_are_the_factors_heads_one_by_one(cap, layer, rule):
    shares = head_shares(cap, layer=layer, tokens=[0, 5], rule=rule)
    assert shares.shape == (2, 3, 7)
    for row, token in zip(shares, [0, 5], strict=True):
        np.testing.assert_allclose(row, by_hand(cap, layer, token, rule), rtol=2e-4, atol=1e-7)
    whole = uk.explain(cap, layer=layer, tokens=[0, 5], rule=rule).values
    np.testing.assert_allclose(shares.sum(axis=1), whole, rtol=1e-5, atol=1e-7)


def test_the_embedding_has_no_heads(cap):
    np.testing.assert_array_equal(head_shares(cap, layer=0, tokens=[2]), np.eye(7, dtype="f4")[None, [2]])


def test_what_cannot_be_split_is_refused(cap):
    import dataclasses

    twice = dataclasses.replace(cap, steps=(*cap.steps, cap.steps[-1]))
    with pytest.raises(UltraError, match="block 3 has more than one attention step"):
        head_shares(twice, tokens=[1])
    blind = dataclasses.replace(cap, latents=tuple(z.detach() for z in cap.latents))
    with pytest.raises(UltraError, match="holds no autograd graph"):
        head_shares(blind, tokens=[1])
    with pytest.raises(ValueError, match="rule must be one of"):
        head_shares(cap, rule="both")
