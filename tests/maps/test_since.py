"""Maps over some of the blocks, and those of one block in closed form: against the oracle and the engine itself."""

import dataclasses

import numpy as np
import oracle
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toys_captures import FAMILIES, attention_stack, captured

import ultra_kit as uk
from ultra_kit.maps import engine
from ultra_kit.maps.engine import row_chunks
from ultra_kit.maps.planning import make_request
from ultra_kit.types import UltraError

RULES = ("positive", "negative", "absolute")


def rows(cap, by_head=False, **options):
    """The engine's rows in the capture's dtype."""
    return torch.cat(list(row_chunks(make_request(cap, **options), by_head=by_head)))


def blind(cap):
    """The same capture where the values were not seen, so that the engine works token by token."""
    steps = tuple(dataclasses.replace(s, values=None) for s in cap.steps)
    return dataclasses.replace(cap, steps=steps)


def assert_close(found, expected):
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


@pytest.fixture
def no_pass_per_token(monkeypatch):
    """An error where the closed form should do without the engine's backward pass for a token."""

    def refuse(*a):
        raise RuntimeError("a backward pass for a token")

    monkeypatch.setattr(engine, "token_gradients", refuse)


@pytest.fixture(scope="module", params=FAMILIES)
def case(request):
    return captured(request.param)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("layer", "since"), [(3, 2), (3, 1), (3, 0), (2, 1), (1, 0)])
def test_equals_the_oracle(case, layer, since, rule):
    cap, own = case
    every = np.arange(cap.layout.n_tokens)
    expected = oracle.explanation_maps(*own, layer, every, rule=rule, since=since)
    assert (expected - torch.eye(len(every))).abs().max() > 1e-3  # identities would show nothing
    for chunk in (1, 4):
        options = dict(layer=layer, tokens=every, rule=rule, chunk_size=chunk)
        assert_close(rows(cap, since=since, **options), expected)
        assert_close(rows(cap, since=since - layer, **options), expected)  # counted from the layer
    assert all(s.values is not None for s in cap.steps)


@pytest.mark.parametrize("by_head", [False, True])
def test_one_block_takes_no_pass_per_token(case, by_head, no_pass_per_token):
    cap, own = case
    every = np.arange(cap.layout.n_tokens)
    found = rows(cap, tokens=every, since=-1, by_head=by_head)
    expected = oracle.explanation_maps(*own, 3, every, since=2)
    assert_close(found.sum(1) if by_head else found, expected)
    with pytest.raises(RuntimeError, match="backward pass"):
        rows(blind(cap), tokens=every, since=-1)


def test_the_heads_of_one_block(case):
    cap, _ = case
    every = np.arange(cap.layout.n_tokens)
    parts = rows(cap, tokens=every, since=-1, by_head=True)
    assert_close(parts[:, 0], torch.eye(len(every), dtype=torch.float64))
    assert_close(parts, rows(blind(cap), tokens=every, since=-1, by_head=True))
    assert_close(parts, rows(blind(cap), tokens=every, since=-1, by_head=True, chunk_size=3))
    assert parts[:, 1:].amax((0, 2)).min() > 1e-4
    shares = uk.maps.head_shares(cap, tokens=every, since=-1)
    np.testing.assert_allclose(shares, parts.numpy(), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("tokens", [[5, 0, 3, 6], [2], [4, 1], [6, 6, 1, 2, 3], [6, 5, 4, 3, 2, 1, 0]])
@pytest.mark.parametrize("since", [-1, 1])
def test_a_row_does_not_depend_on_its_company(case, tokens, since):
    cap, _ = case
    every = rows(blind(cap), tokens=range(7), since=since)
    assert_close(rows(cap, tokens=tokens, since=since), every[tokens])


@pytest.mark.parametrize("entries", [1, 50, 1000])
def test_blocks_of_queries_change_nothing(case, entries, monkeypatch):
    cap, _ = case
    expected = rows(cap, since=-1)
    monkeypatch.setattr(engine, "ENTRIES", entries)
    assert_close(rows(cap, since=-1), expected)


def test_every_score(case):
    cap, own = case
    g = torch.Generator().manual_seed(5)
    w, v = torch.randn(24, 24, generator=g).double(), torch.randn(24, generator=g).double()
    every = np.arange(cap.layout.n_tokens)
    scores = {
        "sum": ("sum", dict(score="sum")),
        "energy": ("energy", dict(score="energy")),
        "towards": (lambda z: z @ v, dict(towards=v)),
        "W": (lambda z: (w @ z).norm(), dict(transform=w)),
        "head": (lambda z: cap.model.head(z[None])[0].max(), dict(score="head")),
    }
    for function, options in scores.values():
        expected = oracle.explanation_maps(*own, 3, every, score=function, since=2)
        assert_close(rows(cap, tokens=every, since=-1, **options), expected)
        assert_close(rows(blind(cap), tokens=every, since=-1, **options), expected)


def test_a_direction_for_each_token(case):
    cap, _ = case
    tokens = [5, 1, 3, 2]
    towards = torch.randn(4, 24, dtype=torch.float64)
    found = rows(cap, tokens=tokens, since=-1, towards=towards)
    for row, token, direction in zip(found, tokens, towards, strict=True):
        assert_close(row, rows(cap, tokens=[token], since=-1, towards=direction)[0])


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**20), layer=st.integers(1, 3), data=st.data(), rule=st.sampled_from(RULES))
def test_the_blocks_before_may_be_added_later(seed, layer, data, rule):
    # The row since j, carried on through C_j ... C_1 of the same scores' gradients, is the map since 0.
    since = data.draw(st.integers(0, layer - 1))
    cap = attention_stack(n=5, seed=seed, seen=True)
    whole, part = (rows(cap, layer=layer, rule=rule, since=j) for j in (0, since))
    keep = {"positive": torch.relu, "negative": lambda x: torch.relu(-x), "absolute": torch.abs}[rule]
    for token in range(5):
        row, f = part[token], cap.latents[layer][token].norm()
        for step in reversed(cap.steps[:since]):
            (g,) = torch.autograd.grad(f, step.weights, retain_graph=True)
            row = row + row @ keep(step.weights.detach() * g).mean(0)
        assert_close(row, whole[token])
    own = cap.latents, [s.weights for s in cap.steps]
    assert_close(part, oracle.explanation_maps(*own, layer, range(5), rule=rule, since=since))


def test_a_causal_block_owes_nothing_to_later_tokens():
    cap = attention_stack(n=6, seed=1, causal=True, seen=True)
    s = rows(cap, since=-1)
    assert (s.triu(1) == 0).all() and (s.tril(-1) > 0).sum() > 4


def test_gradients_stop_at_the_block_after(case):
    cap, _ = case
    reached = []
    handles = [z.register_hook(lambda g, k=k: reached.append(k)) for k, z in enumerate(cap.latents)]
    try:
        for since, tokens in ((2, None), (2, [1]), (1, None), (1, [1])):
            reached.clear()
            rows(cap, since=since, tokens=tokens)
            assert min(reached) > since
    finally:
        for handle in handles:
            handle.remove()


def test_half_precision_sums_in_float32():
    cap = attention_stack(n=6, seed=3, seen=True, dtype=torch.bfloat16)
    found, slow = rows(cap, since=-1), rows(blind(cap), since=-1)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, slow, rtol=2e-2, atol=2e-2)


def test_the_result_says_so(case):
    cap, _ = case
    maps = uk.explain(cap, layer=3, since=-2)
    assert maps.since == 1 and maps.card["explanation"]["since"] == 1
    assert "layer 3 since 1" in repr(maps) and "since" not in repr(uk.explain(cap, since=0))
    p = uk.plan(cap, since=-1)
    assert p.since == 2 and "at layer 3 since 2" in repr(p)
    np.testing.assert_array_equal(
        uk.explain(cap, layer=0, since=0).values, np.eye(maps.values.shape[1])[maps.tokens]
    )


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        (dict(since=3), ValueError, r"since must be in -3\.\.2 for layer 3"),
        (dict(since=-4), ValueError, "since must be in"),
        (dict(since=1, layer=1), ValueError, r"since must be in -1\.\.0 for layer 1"),
        (dict(since=-1, layer=0), ValueError, r"since must be in 0\.\.0"),
        (dict(since=True), TypeError, "since must be an int"),
        (dict(since=1.0), TypeError, "since must be an int"),
    ],
)
def test_refuses(options, error, words):
    cap = attention_stack(n=6, seed=3)
    for function in (uk.explain, uk.plan, uk.maps.head_shares):
        with pytest.raises(error, match=words):
            function(cap, **options)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_a_gradient_that_is_not_finite_is_an_error(bad):
    cap = attention_stack(n=6, seed=3, seen=True)
    values = cap.steps[-1].values.detach().clone()
    values[0, 2, 1] = bad
    steps = (*cap.steps[:-1], dataclasses.replace(cap.steps[-1], values=values))
    with pytest.raises(UltraError, match=r"block 3 .*not finite"):
        uk.explain(dataclasses.replace(cap, steps=steps), since=-1)


def test_a_capture_without_graph_is_an_error():
    cap = attention_stack(n=6, seed=3, seen=True)
    bare = dataclasses.replace(cap, latents=tuple(z.detach() for z in cap.latents))
    with pytest.raises(UltraError, match="no autograd graph"):
        uk.explain(bare, since=-1)
