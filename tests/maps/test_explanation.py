"""The engine against the oracle, against numbers worked by hand, and against bad input."""

import dataclasses
import json
import warnings

import numpy as np
import oracle
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from toys_captures import FAMILIES, attention_stack, build, make_capture

import ultra_kit as uk
from ultra_kit.maps import engine
from ultra_kit.maps.engine import row_chunks
from ultra_kit.maps.explanation import ConstantNormWarning, Interrupted
from ultra_kit.maps.planning import make_request
from ultra_kit.types import AttentionStep, UltraError


@pytest.fixture(scope="module", params=FAMILIES)
def case(request):
    """A capture, and the latents and attention of a forward pass of the oracle's own."""
    model, image = build(request.param)
    cap = make_capture(*oracle.forward(model, image), prefix=model.num_prefix_tokens)
    return cap, oracle.forward(model, image)


def rows(cap, layer=-1, tokens=None, **options):
    """The engine's rows in the capture's dtype."""
    return torch.cat(list(row_chunks(make_request(cap, layer, tokens, **options))))


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


class Mixed(nn.Module):
    """A block's MLP with something behind it that takes tokens together."""

    def __init__(self, mlp, mixer):
        super().__init__()
        self.mlp, self.mixer = mlp, mixer

    def forward(self, x):
        return self.mixer(self.mlp(x))


MIXERS = {
    "none": nn.Identity(),
    "class token alone": lambda y: torch.cat([y.mean(1, keepdim=True), y[:, 1:]], 1),
    "neighbours": lambda y: y + y.roll(1, 1),
    "global response norm": lambda y: y / y.norm(dim=1, keepdim=True),
}


class Mixer(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, y):
        return self.function(y)


@pytest.mark.parametrize("mixer", MIXERS)
@pytest.mark.parametrize(("chunk_size", "since"), [(1, 0), (4, 0), (4, 2)])
def test_what_is_behind_the_last_attention_is_passed_once_only_where_tokens_stay_apart(
    mixer, chunk_size, since
):
    model, image = build("class token")
    model.blocks[-1].mlp = Mixed(model.blocks[-1].mlp, Mixer(MIXERS[mixer]))
    wrapped = uk.load(model, transform=lambda _: image[0])
    cap = uk.capture(wrapped, np.zeros((24, 24, 3), np.uint8))
    latents, attentions = oracle.forward(model, image)
    every = torch.arange(len(latents[0]))
    expected = oracle.explanation_maps(latents, attentions, 3, every.tolist(), since=since)
    found = rows(cap, tokens=every.numpy(), chunk_size=chunk_size, since=since)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)
    upstream = make_request(cap, tokens=every).upstream
    arrived = engine._behind_attention(cap, cap.steps[since:][::-1], every, upstream)
    assert (arrived is not None) == (mixer == "none")


def test_a_token_asked_for_twice_in_two_directions_has_two_maps():
    model, image = build("class token")
    cap = uk.capture(uk.load(model, transform=lambda _: image[0]), np.zeros((24, 24, 3), np.uint8))
    towards = torch.randn(5, 24, dtype=torch.float64)
    tokens = [3, 3, 4, 5, 6]
    found = rows(cap, tokens=tokens, score="towards", towards=towards)
    for row, token, direction in zip(found, tokens, towards, strict=True):
        alone = rows(cap, tokens=[token], score="towards", towards=direction)
        torch.testing.assert_close(row, alone[0], rtol=0, atol=1e-9)


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


# --- which token was asked for, and how many at once, changes nothing ---------------------------------


@pytest.fixture(scope="module")
def small():
    """A capture of six positions whose whole result is cheap."""
    return attention_stack(n=6, seed=3)


@settings(max_examples=25, deadline=None)
@given(tokens=st.lists(st.integers(0, 5), min_size=1, max_size=8), chunk=st.integers(1, 9))
def test_a_row_does_not_depend_on_its_company(small, tokens, chunk):
    every = rows(small, tokens=range(6))
    torch.testing.assert_close(
        rows(small, tokens=tokens, chunk_size=chunk), every[tokens], rtol=0, atol=1e-12
    )


def test_tokens_keep_their_order(small):
    maps = uk.explain(small, tokens=[4, 1, 4])
    np.testing.assert_array_equal(maps.tokens, [4, 1, 4])
    np.testing.assert_array_equal(maps.values[0], maps.values[2])
    assert (maps.values[[0, 1, 2], [4, 1, 4]] >= 1).all()  # the identity of the product


def test_a_causal_model_owes_nothing_to_later_tokens():
    cap = attention_stack(n=6, seed=1, causal=True)
    s = rows(cap, tokens=range(6))
    assert (s.triu(1) == 0).all()
    assert (s.tril() > 0).sum() > 12  # and something to earlier ones


# --- scores and rules -------------------------------------------------------------------------------


@pytest.mark.parametrize("score", ["norm", "sum", "energy"])
def test_scores_equal_the_oracle(small, score):
    own = small.latents, [s.weights for s in small.steps]
    expected = oracle.explanation_maps(*own, 2, range(6), score=score)
    torch.testing.assert_close(rows(small, 2, score=score), expected, rtol=0, atol=1e-9)


def test_head_towards_and_transform_equal_the_oracle():
    g = torch.Generator().manual_seed(5)
    w, v = torch.randn(5, 5, generator=g).double(), torch.randn(5, generator=g).double()
    cap = attention_stack(n=6, seed=3, head=lambda z: torch.tanh(z) @ w[:, :3])
    own = cap.latents, [s.weights for s in cap.steps]
    wanted = {
        "head": (lambda z: (torch.tanh(z) @ w[:, :3]).max(), dict(score="head")),
        "towards": (lambda z: z @ v, dict(towards=v)),
        "W": (lambda z: (w @ z).norm(), dict(transform=w.numpy())),
        "energy of W z": (lambda z: 0.5 * ((w @ z) ** 2).sum(), dict(score="energy", transform=w)),
    }
    for function, options in wanted.values():
        expected = oracle.explanation_maps(*own, 3, range(6), score=function)
        torch.testing.assert_close(rows(cap, **options), expected, rtol=0, atol=1e-9)


def test_equivalent_scores(small):
    z = small.latents[-1].detach()
    units = z / z.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(rows(small, towards=units), rows(small), rtol=0, atol=1e-12)
    torch.testing.assert_close(rows(small, transform=torch.eye(5)), rows(small), rtol=0, atol=1e-12)
    with_object = type("W", (), {"matrix": 3 * np.eye(5)})()
    torch.testing.assert_close(rows(small, transform=with_object), rows(small, towards=3 * units))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**20), layer=st.integers(1, 3))
def test_properties_of_the_rules(seed, layer):
    cap = attention_stack(n=4, seed=seed)
    v = torch.randn(5, generator=torch.Generator().manual_seed(seed + 1)).double()
    s = {rule: rows(cap, layer, rule=rule, towards=v) for rule in ("positive", "negative", "absolute")}
    eye = torch.eye(4, dtype=torch.float64)
    # What raises f lowers -f.
    torch.testing.assert_close(rows(cap, layer, towards=-v), s["negative"], rtol=0, atol=1e-12)
    # All factors are I plus something non-negative, so every map is at least the token's own
    # position, and counting both signs gives at least what counting one gives.
    for one in (s["positive"], s["negative"]):
        assert (one >= eye).all()
        assert (s["absolute"] >= one - 1e-12).all()
    # The signs add up, and a score twice as large counts twice, in one block; in products they do not.
    if layer == 1:
        torch.testing.assert_close(s["positive"] + s["negative"] - eye, s["absolute"])
        torch.testing.assert_close(rows(cap, 1, towards=2 * v) - eye, 2 * (s["positive"] - eye))


def test_a_latent_of_zeros_has_no_direction():
    a = torch.full((1, 2, 2), 0.5, requires_grad=True)
    x = torch.tensor([[1.0, 2.0], [-1.0, -2.0]])
    cap = make_capture([x, a[0] @ x], [a])  # both latents are exactly zero
    np.testing.assert_array_equal(uk.explain(cap).values, np.eye(2))
    assert np.isfinite(uk.explain(cap, score="sum").values).all()


# --- encoder and decoder ------------------------------------------------------------------------------


def test_rectangles_of_the_token_space():
    # Two encoder tokens and three decoder tokens: encoder block, then a decoder block with self
    # attention and cross attention, each put into the 5 x 5 token space by hand.
    g = torch.Generator().manual_seed(2)
    draw = lambda *shape: torch.randn(*shape, generator=g, dtype=torch.float64)  # noqa: E731
    x = draw(5, 4)
    enc, self_, cross = (draw(2, *s).softmax(-1).requires_grad_() for s in ((2, 2), (3, 3), (3, 2)))
    e = torch.tanh(x[:2] + enc.mean(0) @ x[:2] @ draw(4, 4))
    y = x[2:] + torch.tanh((self_ @ (x[2:] @ draw(4, 4))).mean(0))
    y = y + torch.tanh((cross @ (e @ draw(4, 4))).mean(0))
    latents = [x, torch.cat([e, x[2:]]), torch.cat([e, y])]
    steps = [
        AttentionStep(enc, 1),
        AttentionStep(self_, 2, query_start=2, key_start=2),
        AttentionStep(cross, 2, query_start=2, key_start=0),
    ]
    cap = make_capture(latents, None, steps=steps)
    for token in range(5):
        product = torch.eye(5, dtype=torch.float64)
        for step in steps:
            a, q, k = step.weights, step.query_start, step.key_start
            (grad,) = torch.autograd.grad(latents[2][token].norm(), a, retain_graph=True)
            c = torch.eye(5, dtype=torch.float64)
            c[q : q + a.shape[1], k : k + a.shape[2]] += (a * grad).clamp_min(0).mean(0).detach()
            product = c @ product
        for chunk in (1, 3):
            found = rows(cap, 2, tokens=[token] * 3, chunk_size=chunk)
            torch.testing.assert_close(found, product[[token] * 3], rtol=0, atol=1e-12)
    assert rows(cap, 2, tokens=[3])[0, 0] > 0  # a decoder token owes something to the encoder
    # Layer 1 of the decoder part is the input: no step of the encoder reaches it.
    torch.testing.assert_close(rows(cap, 1, tokens=[3])[0], torch.eye(5, dtype=torch.float64)[3])


# --- the run ------------------------------------------------------------------------------------------


def test_leaves_the_capture_as_it_was(small):
    before = uk.explain(small, rule="absolute").values
    with torch.no_grad():
        np.testing.assert_array_equal(uk.explain(small, rule="absolute").values, before)
    assert small.latents[0].grad is None and small.latents[0].requires_grad
    assert all(s.weights.requires_grad for s in small.steps)


def test_result_is_float32_and_knows_its_origin(small):
    maps = uk.explain(small, layer=-2, tokens=2, towards=np.ones(5), rule="negative")
    assert maps.values.dtype == np.float32 and maps.values.shape == (1, 6)
    assert (maps.layer, maps.method, maps.score, maps.rule) == (2, "ultra", "towards", "negative")
    made = json.loads(json.dumps(maps.card))["explanation"]
    assert made["layer"] == 2 and made["towards"] and made["transform"] is None
    other = uk.explain(small, layer=-2, tokens=2, towards=np.arange(5.0)).card["explanation"]
    assert other["towards"] != made["towards"]


def test_half_precision_sums_in_float32():
    cap = attention_stack(n=6, seed=3)
    low = attention_stack(n=6, seed=3)
    halves = [a.detach().bfloat16().requires_grad_() for a in (s.weights for s in low.steps)]
    x = low.latents[0].detach().bfloat16()
    z = [x]
    for a in halves:
        z.append(z[-1] + torch.tanh((a @ z[-1]).mean(0)))
    found = rows(make_capture(z, halves), tokens=[1])
    assert found.dtype == torch.float32 and torch.isfinite(found).all()
    assert rows(cap, tokens=[1]).dtype == torch.float64


def test_progress(small, capsys):
    calls = []
    uk.explain(small, chunk_size=4, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(4, 6), (6, 6)]
    uk.explain(small, progress=True)
    assert "explain" in capsys.readouterr().err
    uk.explain(small)
    uk.explain(small, progress=False)
    assert capsys.readouterr().err == ""
    with pytest.raises(TypeError, match="progress must be"):
        uk.explain(small, progress="bar")


def test_an_interrupt_keeps_the_finished_rows(small):
    def stop(done, total):
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match="after 4 of 6") as caught:
        uk.explain(small, chunk_size=2, progress=stop)
    assert isinstance(caught.value, Interrupted)
    partial = caught.value.partial
    np.testing.assert_array_equal(partial.tokens, [0, 1, 2, 3])
    np.testing.assert_allclose(partial.values, uk.explain(small).values[:4], atol=1e-6)


# --- refusals -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        (dict(chunk_size=0), ValueError, "at least 1"),
        (dict(chunk_size=-3), ValueError, "at least 1"),
        (dict(chunk_size=2.0), TypeError, "chunk_size must be an int"),
        (dict(chunk_size=True), TypeError, "chunk_size must be an int"),
        (dict(max_memory="much"), ValueError, "max_memory must be"),
        (dict(max_memory=0), ValueError, "max_memory must be"),
        (dict(max_memory="-1GB"), ValueError, "max_memory must be"),
        (dict(max_memory=100), UltraError, "more than the 100B allowed"),
        (dict(score="loudness"), ValueError, "score must be one of"),
        (dict(rule="both"), ValueError, "rule must be one of"),
        (dict(score="towards"), ValueError, "needs a direction"),
        (dict(score="sum", towards=np.ones(5)), ValueError, "leave out score"),
        (dict(transform=np.eye(5), towards=np.ones(5)), ValueError, "leave out score"),
        (dict(towards="red"), TypeError, "array of numbers, got the text 'red'"),
        (dict(transform="W"), TypeError, "array of numbers"),
        (dict(towards=np.ones(4)), ValueError, r"shape \(5,\)"),
        (dict(towards=np.ones((2, 5))), ValueError, r"\(6, 5\)"),
        (dict(towards=np.array([1, 1, 1, 1, np.nan])), ValueError, "finite"),
        (dict(transform=np.eye(4)), ValueError, r"\(5, 5\)"),
        (dict(transform=np.full((5, 5), np.inf)), ValueError, "finite"),
        (dict(score="head"), UltraError, "needs a model with a head"),
        (dict(score="head", transform=np.eye(5)), ValueError, "leave out transform"),
        (dict(layer=4), ValueError, "layer must be"),
        (dict(layer=-5), ValueError, "layer must be"),
        (dict(tokens=[]), ValueError, "empty"),
        (dict(tokens=[6]), ValueError, "tokens must be in"),
        (dict(tokens=-1), ValueError, "tokens must be in"),
    ],
)
def test_refuses(small, options, error, words):
    for function in (uk.explain, uk.plan):
        with pytest.raises(error, match=words):
            function(small, **options)


def test_refuses_what_is_no_capture():
    for function in (uk.explain, uk.plan):
        with pytest.raises(TypeError, match=r"Capture.*, got str.* cap = uk\.capture\(model, x\)"):
            function("picture.png")


def test_a_missing_gradient_is_an_error():
    cap = attention_stack(n=4, seed=0)
    loose = AttentionStep(torch.rand(2, 4, 4, dtype=torch.float64, requires_grad=True), 2, name="aside")
    cap = dataclasses.replace(cap, steps=(*cap.steps, loose))
    for chunk in (1, 2):
        with pytest.raises(UltraError, match=r"block 2 \(aside\).*missing"):
            uk.explain(cap, chunk_size=chunk)
    assert uk.explain(cap, layer=1).values.shape == (4, 4)  # the step is above this layer


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_a_gradient_that_is_not_finite_is_an_error(bad):
    # -inf matters: the relu would turn it into a harmless zero.
    class Spoil(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(a):
            return a.clone()

        @staticmethod
        def setup_context(ctx, inputs, output):
            pass

        @staticmethod
        def backward(ctx, g):
            return torch.full_like(g, bad)

    x = torch.randn(3, 4)
    a = torch.rand(1, 3, 3, requires_grad=True)
    cap = make_capture([x, Spoil.apply(a)[0] @ x], [a])
    for chunk in (1, 2):
        with pytest.raises(UltraError, match=r"block 1 .*not finite"):
            uk.explain(cap, chunk_size=chunk)


def test_a_capture_without_graph_is_an_error(small):
    bare = dataclasses.replace(small, latents=tuple(z.detach() for z in small.latents))
    with pytest.raises(UltraError, match="no autograd graph"):
        uk.explain(bare)


def test_warns_where_the_norm_says_nothing(small):
    def after(norm):
        return dataclasses.replace(small, latents=(*small.latents[:-1], norm(small.latents[-1])))

    uneven = nn.LayerNorm(5).double()
    nn.init.uniform_(uneven.weight, 0.1, 2.0)
    for norm in (uneven, lambda z: nn.functional.normalize(z, dim=-1)):
        with pytest.warns(ConstantNormWarning, match="layer 3"):
            uk.explain(after(norm))
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConstantNormWarning)
        uk.explain(small)
        uk.explain(after(uneven), layer=2)
        uk.explain(after(uneven), score="sum")
        uk.explain(after(uneven), transform=np.eye(5))


def _three_by_three():
    layout = uk.types.Layout("image", 1, grid=(1, 3), size=(8, 24))
    values = np.array([[9, 50, 2, 3], [1, 4, 60, 4]], np.float32)
    return uk.types.ExplanationMaps(
        values, np.array([1, 2]), 1, layout, card={"explanation": {"method": "ultra"}}
    )


def test_top_names_the_strongest_positions_but_the_own():
    maps = _three_by_three()
    assert maps.top(1, 1.0).tolist() == [3, 2]
    assert maps.top(1, 0.5).tolist() == [3]
    assert maps.top(1, 0.01).tolist() == [3]  # at least one
    assert maps.top(2, 1.0).tolist() == [1, 3]  # equal values stand in their order
    maps.values[0, 2] = 0
    assert maps.top(1, 1.0).tolist() == [3]  # nothing of relevance 0
    with pytest.raises(ValueError, match="share must be above 0"):
        maps.top(1, 0)
    with pytest.raises(ValueError, match="maps must hold token 3"):
        maps.top(3)


def test_used_by_is_the_column_without_the_own_token():
    used = _three_by_three().used_by(2)
    assert used.tokens.tolist() == [2] and used.values.tolist() == [
        [0, 2, 60, 0]
    ]  # tokens 0 and 3 were not explained
    assert used.without_own.tolist() == [[2, 2, 0]]  # its own token takes the largest other entry
    assert used.card["explanation"]["explained"] == [1, 2]
    assert uk.plots.show_map(used).axes[0].get_title() == "what used row 0, column 1, layer 1"
    with pytest.raises(ValueError, match=r"position must be in 0\.\.3"):
        _three_by_three().used_by(4)


def test_nothing_before_a_position_of_a_causal_model_used_it():
    cap = uk.capture(uk.load("briefs", pretrained=False), "The flood damaged 112 houses.")
    used = uk.explain(cap, layer=2).used_by(3)
    assert (used.values[0, :3] == 0).all() and (used.values[0, 4:] > 0).any()
    with pytest.raises(ValueError, match="single tokens"):
        uk.explain(cap, layer=2, tokens=[[2, 3]]).used_by(3)
