"""The baselines against numbers worked by hand, slow references and what their equations promise."""

import copy
import dataclasses
import json

import numpy as np
import oracle
import pytest
import torch
import transformers
from timm.models.vision_transformer import VisionTransformer
from torch import nn

import ultra_kit as uk
from ultra_kit.maps import baselines
from ultra_kit.types import AttentionStep, Capture, Layout, UltraError

GRADIENT = (baselines.gradient_x_input, baselines.integrated_gradients)
ALL = (baselines.raw_attention, baselines.rollout, baselines.cosine, baselines.random_map, *GRADIENT)


class Tiny:
    """Two blocks of attention and tanh, in float64, as a backbone; two prefix tokens and 2 x 2 patches."""

    name, modality, n_blocks = "tiny", "image", 2

    def __init__(self):
        g = torch.Generator().manual_seed(0)
        self.weights = [torch.randn(3, 5, 5, generator=g).double() for _ in range(2)]
        self.start = torch.randn(6, 5, generator=g).double()

    def head(self, latents):
        return None

    def blocks(self, x):
        for q, k, v in self.weights:
            a = (x @ q @ (x @ k).transpose(-2, -1) / 5).softmax(-1)
            x = x + torch.tanh(a @ (x @ v))
            yield x, a

    def run_from(self, inputs, embeddings, layer):
        return list(self.blocks(embeddings))[layer - 1][0]

    def capture(self):
        x = self.start.clone().requires_grad_()
        latents, maps = zip(*self.blocks(x), strict=True)
        steps = tuple(AttentionStep(a[None], b) for b, a in enumerate(maps, 1))
        layout = Layout("image", 2, grid=(2, 2), size=(16, 16))
        return Capture(self, layout, np.zeros((16, 16, 3), np.uint8), (x, *latents), steps, {})


@pytest.fixture(scope="module")
def cap():
    return Tiny().capture()


def by_hand(*maps):
    """A capture that has nothing but attention maps, one head each unless given more."""
    maps = [torch.tensor(m, dtype=torch.float64) for m in maps]
    n = maps[0].shape[-1]
    steps = tuple(AttentionStep(m if m.ndim == 3 else m[None], b) for b, m in enumerate(maps, 1))
    latents = tuple(torch.zeros(n, 2) for _ in range(len(maps) + 1))
    return Capture(None, Layout("image", 0, grid=(1, n), size=(1, n)), None, latents, steps, {})


@pytest.mark.parametrize("method", ALL)
def test_same_contract_as_explain(cap, method):
    maps = method(cap, layer=1, tokens=[5, 0])
    assert maps.values.shape == (2, 6) and maps.values.dtype == np.float32
    assert (maps.values >= 0).all() and np.isfinite(maps.values).all() and maps.values.max() > 0
    np.testing.assert_array_equal(maps.tokens, [5, 0])
    assert maps.layer == 1 and maps.layout is cap.layout and maps.input is cap.input
    assert maps.method == method.__name__.removesuffix("_map")
    assert json.loads(json.dumps(maps.card))["explanation"]["method"] == maps.method
    every = method(cap, layer=1)
    np.testing.assert_array_equal(every.tokens, [2, 3, 4, 5])
    np.testing.assert_allclose(every.values[3], maps.values[0], rtol=1e-5, atol=1e-7)
    assert method(cap, layer=0, tokens=[5]).values.shape == (1, 6)
    for wrong in (dict(layer=3), dict(tokens=[]), dict(tokens=[6])):
        with pytest.raises(ValueError):
            method(cap, **wrong)


def test_rollout_by_hand():
    # B1 = I/2 + A1/2 = [[.75 .25] [.5 .5]], B2 = [[.5 .5] [0 1]].
    # Row 0 of B2 B1 = .5 (.75, .25) + .5 (.5, .5) = (.625, .375); row 1 = (.5, .5).
    # The other order would give row 0 of B1 B2 = .75 (.5, .5) + .25 (0, 1) = (.375, .625).
    cap = by_hand([[0.5, 0.5], [1, 0]], [[0, 1], [0, 1]])
    np.testing.assert_array_equal(baselines.rollout(cap).values, np.float32([[0.625, 0.375], [0.5, 0.5]]))
    np.testing.assert_array_equal(
        baselines.rollout(cap, layer=1).values, np.float32([[0.75, 0.25], [0.5, 0.5]])
    )
    np.testing.assert_array_equal(baselines.rollout(cap, layer=0).values, np.eye(2))


def test_rollout_equals_full_matrices(cap):
    expected = oracle.rollout([s.weights for s in cap.steps], 4)
    np.testing.assert_allclose(baselines.rollout(cap, tokens=4).values[0], expected.numpy(), rtol=1e-6)


def test_raw_attention_is_the_mean_of_the_heads_of_the_last_block_below():
    two_heads = [[[0.0, 1.0], [0.5, 0.5]], [[0.5, 0.5], [1.0, 0.0]]]
    cap = by_hand([[0.25, 0.75], [1, 0]], two_heads)
    np.testing.assert_array_equal(
        baselines.raw_attention(cap).values, np.float32([[0.25, 0.75], [0.75, 0.25]])
    )
    np.testing.assert_array_equal(
        baselines.raw_attention(cap, layer=1, tokens=0).values, np.float32([[0.25, 0.75]])
    )
    np.testing.assert_array_equal(baselines.raw_attention(cap, layer=0, tokens=1).values, [[0, 1]])


def test_attention_of_an_encoder_and_decoder():
    # Positions 0, 1 encode; position 2 decodes: it looks at itself, then at the encoder.
    steps = (
        AttentionStep(torch.tensor([[[0.5, 0.5], [0.0, 1.0]]]), 1),
        AttentionStep(torch.tensor([[[1.0]]]), 2, query_start=2, key_start=2),
        AttentionStep(torch.tensor([[[0.25, 0.75]]]), 2, query_start=2, key_start=0),
    )
    latents = tuple(torch.zeros(3, 2) for _ in range(3))
    cap = Capture(None, Layout("image", 0, grid=(1, 3), size=(1, 3)), None, latents, steps, {})
    np.testing.assert_array_equal(
        baselines.raw_attention(cap).values, np.float32([[0, 0, 0], [0, 0, 0], [0.25, 0.75, 1]])
    )
    # Rollout of the decoder: half stays, half goes to the encoder as (.125, .375), there through
    # B1 = [[.75 .25] [0 1]]: (.09375, .03125 + .375, .5).
    np.testing.assert_array_equal(baselines.rollout(cap).values[2], np.float32([0.09375, 0.40625, 0.5]))


def test_cosine_by_hand():
    cap = by_hand(np.eye(4))
    z = torch.tensor([[3.0, 0.0], [0.0, 5.0], [-1.0, 0.0], [0.0, 0.0]])
    cap = dataclasses.replace(cap, latents=(z, z))
    # Same direction 1, right angle 1/2, opposite 0, no direction 1/2.
    np.testing.assert_array_equal(baselines.cosine(cap, tokens=0).values, [[1, 0.5, 0, 0.5]])


def test_random_maps_depend_on_seed_and_token_only(cap):
    one = baselines.random_map(cap, tokens=[3, 4], seed=7).values
    np.testing.assert_array_equal(one[1], baselines.random_map(cap, tokens=[4], layer=0, seed=7).values[0])
    assert (one[0] != one[1]).all()
    assert (one != baselines.random_map(cap, tokens=[3, 4], seed=8).values).all()
    assert one.max() < 1


def test_gradient_x_input_is_the_directional_derivative(cap):
    # <df/dx_j, x_j> is the derivative of f where x_j alone is scaled by 1 + t, at t = 0.
    model, step = cap.model, 1e-6
    x = cap.latents[0].detach()
    v = torch.arange(5.0).double()
    for token, direction in ((0, v), (3, v), (3, -v)):  # the last two swap the signs
        expected = []
        for j in range(6):
            scaled = [x.clone(), x.clone()]
            scaled[0][j] *= 1 + step
            scaled[1][j] *= 1 - step
            up, down = (model.run_from({}, s[None], 2)[0, token] @ direction for s in scaled)
            expected.append(float((up - down) / (2 * step)))
        assert max(np.abs(expected)) > 0.01
        for rule, sign in (("positive", 1), ("negative", -1)):
            found = baselines.gradient_x_input(cap, tokens=token, rule=rule, towards=direction).values[0]
            np.testing.assert_allclose(found, np.maximum(sign * np.array(expected), 0), rtol=1e-4, atol=1e-7)


def test_gradient_x_input_in_chunks(cap):
    one = baselines.gradient_x_input(cap, rule="absolute").values
    np.testing.assert_allclose(
        baselines.gradient_x_input(cap, rule="absolute", chunk_size=3).values, one, rtol=1e-6
    )


@pytest.mark.parametrize("baseline", ["mean", "zero"])
@pytest.mark.parametrize("options", [dict(score="norm"), dict(score="energy"), dict(towards=np.arange(5.0))])
def test_integrated_gradients_add_up(cap, baseline, options):
    # Completeness: all contributions together are f(input) - f(baseline).
    start = torch.zeros(6, 5).double()
    if baseline == "mean":
        start = cap.latents[0].detach().clone()
        start[2:] = start[2:].mean(0)

    def f(x):
        z = cap.model.run_from({}, x[None], 2)[0, [4, 2]]
        if "towards" in options:
            return z @ torch.arange(5.0).double()
        return z.norm(dim=-1) if options["score"] == "norm" else 0.5 * (z * z).sum(-1)

    signs = [
        baselines.integrated_gradients(cap, tokens=[4, 2], rule=r, baseline=baseline, n_steps=150, **options)
        for r in ("positive", "negative", "absolute")
    ]
    up, down, both = (m.values.astype(float).sum(1) for m in signs)
    np.testing.assert_allclose(up - down, (f(cap.latents[0].detach()) - f(start)).numpy(), atol=2e-2)
    np.testing.assert_allclose(up + down, both, rtol=1e-5)
    if baseline == "mean":  # prefix tokens stay as they are on the path, so nothing is owed to them
        assert (signs[2].values[:, :2] == 0).all()


def test_integrated_gradients_of_a_linear_score_is_exact(cap):
    # At layer 0 the score <z, v> is linear in the token itself: its contribution is <z_i - mean, v>.
    z = cap.latents[0].detach().numpy()
    v = np.arange(5.0)
    expected = float((z[3] - z[2:].mean(0)) @ v)
    found = baselines.integrated_gradients(
        cap, layer=0, tokens=3, towards=v, rule="positive" if expected > 0 else "negative", n_steps=2
    ).values[0]
    np.testing.assert_allclose(found, abs(expected) * np.eye(6)[3], rtol=1e-5, atol=1e-7)


def test_integrated_gradients_in_chunks(cap):
    maps = [
        baselines.integrated_gradients(cap, rule="absolute", n_steps=6, chunk_size=c).values
        for c in (1, 4, 6, 13, 100)
    ]
    for other in maps[1:]:
        np.testing.assert_allclose(other, maps[0], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("method", GRADIENT)
def test_gradient_baselines_refuse(cap, method):
    for wrong in (dict(rule="both"), dict(score="loud"), dict(chunk_size=0), dict(towards=np.ones(3))):
        with pytest.raises(ValueError):
            method(cap, **wrong)
    cut = dataclasses.replace(cap, latents=tuple(z.detach() for z in cap.latents), model=object())
    with pytest.raises(UltraError, match=r"ultra_kit.capture|run_from"):
        method(cut)


def test_integrated_gradients_refuse_a_path_that_cannot_be(cap):
    with pytest.raises(ValueError, match="baseline must be"):
        baselines.integrated_gradients(cap, baseline="black")
    for steps, error in ((0, ValueError), (2.5, TypeError), (True, TypeError)):
        with pytest.raises(error, match="n_steps"):
            baselines.integrated_gradients(cap, n_steps=steps)


def test_not_finite_is_an_error(cap):
    broken = Tiny()
    broken.weights[1] = broken.weights[1] * torch.nan
    for method in GRADIENT:
        with pytest.raises(UltraError, match="not finite"):
            method(broken.capture())


@dataclasses.dataclass
class Wrapped:
    module: nn.Module


def test_randomised_copies():
    torch.manual_seed(0)
    module = VisionTransformer(
        img_size=16, patch_size=8, embed_dim=12, depth=2, num_heads=2, reg_tokens=2, init_values=1e-5
    )
    before = copy.deepcopy(module.state_dict())
    state = torch.random.get_rng_state()
    one, same, other = (baselines.randomised(Wrapped(module), seed=s).module for s in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), state)
    for name, p in module.named_parameters():
        assert torch.equal(p, before[name])  # the model itself is left as it was
        assert torch.equal(one.get_parameter(name), same.get_parameter(name))
        if "gamma" in name:
            assert (one.get_parameter(name) == 1).all()
        elif p.ndim > 1:
            assert not torch.equal(one.get_parameter(name), p), name
            assert not torch.equal(one.get_parameter(name), other.get_parameter(name)), name


def test_randomised_copies_of_loaded_models_run_their_own_weights():
    config = transformers.ViTConfig(
        hidden_size=12,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=12,
        image_size=16,
        patch_size=8,
    )
    model = uk.load(transformers.ViTForImageClassification(config).eval())
    twin = baselines.randomised(model)
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    before, after = (uk.capture(m, image).latents[2].detach() for m in (model, twin))
    assert not torch.allclose(before, after)
    assert not torch.allclose(model.head(before), twin.head(before))
    assert len(list(twin.module.modules())) == len(list(model.module.modules()))


def test_exported():
    assert uk.baselines is baselines


@pytest.mark.parametrize("layer", [1, 3])
def test_loaded_models_run_from_embeddings(layer):
    torch.manual_seed(0)
    module = VisionTransformer(img_size=16, patch_size=8, embed_dim=12, depth=3, num_heads=2).double().eval()
    model = uk.load(module)
    cap = uk.capture(model, np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8))
    x = cap.latents[0].detach()
    batch = torch.stack([x, 2 * x]).requires_grad_()
    z = model.run_from(dict(cap.inputs), batch, layer)
    torch.testing.assert_close(z[0], cap.latents[layer], rtol=0, atol=1e-12)
    torch.testing.assert_close(z[1], module.blocks[:layer](2 * x[None])[0], rtol=0, atol=1e-12)
    assert torch.autograd.grad(z[1].sum(), batch)[0][1].abs().max() > 0
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())
    assert all(p.requires_grad for p in module.parameters())
    assert baselines.integrated_gradients(cap, layer=layer, tokens=2, n_steps=2).values.shape == (1, 5)


def test_the_head_of_a_copy_is_the_copys():
    for name in ("scenes", "photos"):
        model = uk.load(name)
        twin = baselines.randomised(model.zero_shot(["a red star"]) if name == "scenes" else model)
        twin.module.double()
        assert twin.head(torch.ones(1, 128).double()).dtype == torch.float64
