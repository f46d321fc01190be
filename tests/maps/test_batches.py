"""Images captured together: what each has alone, whatever else is in the list."""

import numpy as np
import pytest
import torch
from torch import nn
from toys_captures import FAMILIES, build
from toys_models import IMAGE, own_model

import ultra_kit as uk

RNG = np.random.default_rng(0)


def pixels(size):
    """A transform to (height, width), in float64."""
    return lambda image: torch.from_numpy(np.asarray(image.resize(size[::-1])) / 255).permute(2, 0, 1)


def assert_same(cap, alone):
    for layer in range(alone.n_layers + 1):
        torch.testing.assert_close(cap.latents[layer], alone.latents[layer].detach(), rtol=0, atol=1e-12)
    assert [(s.layer, s.name) for s in cap.steps] == [(s.layer, s.name) for s in alone.steps]
    for s, t in zip(cap.steps, alone.steps, strict=True):
        torch.testing.assert_close(s.weights, t.weights.detach(), rtol=0, atol=1e-12)
    assert (cap.card, cap.layout) == (alone.card, alone.layout) and np.array_equal(cap.input, alone.input)


@pytest.mark.parametrize("family", FAMILIES)
def test_each_is_what_it_is_alone(family):
    module, image = build(family)
    model = uk.load(module, transform=pixels(image.shape[-2:]))
    images = [RNG.integers(0, 256, (*image.shape[-2:], 3), np.uint8) for _ in range(3)]
    alone = [uk.capture(model, x) for x in images]
    assert (alone[0].latents[-1] - alone[1].latents[-1]).abs().max() > 0.1
    for cap, own in zip(uk.capture(model, images), alone, strict=True):
        assert_same(cap, own)
        for since in (0, -1):
            maps, expected = (uk.explain(c, tokens=[2, 3], since=since).values for c in (cap, own))
            assert np.array_equal(maps, expected)


def test_sizes_are_mixed_and_passes_are_short(monkeypatch):
    """Images of two sizes in turn, more of each than go into one pass; the order is that of the list."""
    monkeypatch.setattr("ultra_kit.maps.forward_pass.TOGETHER", 2)
    model, passes = uk.load("photos"), []
    images = [RNG.integers(0, 256, (48, 64) if i % 2 else (64, 48), np.uint8) for i in range(6)]
    images = [np.repeat(x[..., None], 3, axis=2) for x in images]
    first = model.module.get_submodule(model.block_names[0])
    hook = first.register_forward_pre_hook(lambda m, args: passes.append(len(args[0])))
    caps = uk.capture(model, images)
    hook.remove()
    assert passes == [2, 1, 2, 1]
    for cap, x in zip(caps, images, strict=True):
        assert np.array_equal(cap.input, x) and cap.layout.size == x.shape[:2]
        np.testing.assert_allclose(cap.tokens(), uk.capture(model, x).tokens(), atol=1e-4)


def test_what_needs_a_graph_makes_it():
    model = own_model()
    images = [IMAGE, IMAGE[::-1].copy()]
    for cap, x in zip(uk.capture(model, images), images, strict=True):
        alone = uk.capture(model, x)
        assert not cap.latents[-1].requires_grad and cap.with_graph().latents[-1].requires_grad
        assert alone.with_graph() is alone
        for make in (uk.baselines.gradient_x_input, uk.baselines.raw_attention, uk.baselines.rollout):
            np.testing.assert_allclose(make(cap).values, make(alone).values, atol=1e-5)
        assert np.array_equal(uk.maps.head_shares(cap, layer=2), uk.maps.head_shares(alone, layer=2))
        for options in ({}, {"since": -1}):
            assert uk.plan(cap, **options).peak_bytes == uk.plan(alone, **options).peak_bytes
        assert uk.segment(uk.explain(cap)).n_segments == uk.segment(uk.explain(alone)).n_segments


def test_a_cheaper_dtype_stays():
    model = own_model()
    (cap,) = uk.capture(model, [IMAGE], dtype=torch.bfloat16)
    alone = uk.capture(model, IMAGE, dtype=torch.bfloat16)
    assert cap.card == alone.card and cap.card["dtype"] == "bfloat16"
    assert np.array_equal(uk.explain(cap).values, uk.explain(alone).values)


class TokensFirst(nn.Module):
    """Tokens lie along the first axis, the batch along the second."""

    def __init__(self):
        super().__init__()
        self.patch = nn.Conv2d(3, 16, 8, 8)
        self.blocks = nn.ModuleList(nn.TransformerEncoderLayer(16, 2, 32, 0.0) for _ in range(2))

    def forward(self, x):
        x = self.patch(x).flatten(2).permute(2, 0, 1)
        for block in self.blocks:
            x = block(x)
        return x


@pytest.mark.parametrize("count", [2, 6, 7])
def test_tokens_first_also_with_as_many_images_as_tokens(count):
    torch.manual_seed(0)
    model = uk.load(TokensFirst().double(), grid=(2, 3), n_prefix=0, transform=pixels((16, 24)))
    images = [RNG.integers(0, 256, (16, 24, 3), np.uint8) for _ in range(count)]
    for cap, x in zip(uk.capture(model, images), images, strict=True):
        assert_same(cap, uk.capture(model, x))


def test_in_words():
    class OnlyTheFirst(type(own_model().module)):
        def forward(self, x):
            return super().forward(x[:1])

    model = uk.load(OnlyTheFirst(), size=(16, 24), grid=(2, 3), n_prefix=0)
    with pytest.raises(uk.UltraError, match="does not take a batch"):
        uk.capture(model, [IMAGE, IMAGE])
    with pytest.raises(TypeError, match=r"one input at a time, .* got list"):
        uk.capture(uk.load("briefs"), ["One text.", "And another."])
    assert uk.capture(own_model(), []) == []
