"""Captures in half precision: what ran, and how far the maps are from those in float64."""

import copy
import json

import numpy as np
import oracle
import pytest
import torch
from toys_captures import FAMILIES, build

import ultra_kit as uk

HALF = [torch.bfloat16, torch.float16]


@pytest.fixture(scope="module", params=["class token and 4 registers, LayerScale", "rope (eva)"])
def case(request):
    """A model in float32, an image, and latents and attention of the oracle's own pass over it in float64."""
    assert request.param in FAMILIES
    model, image = build(request.param)
    exact = oracle.forward(copy.deepcopy(model.float()).double(), image.float().double())
    size = tuple(image.shape[-2:])
    loaded = uk.load(model, transform=lambda _: image[0].float())
    return loaded, np.zeros((*size, 3), np.uint8), exact


def others(row, own):
    """A row over the positions that are none of a token's own."""
    return np.delete(np.asarray(row, float), own)


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("since", [0, 2])
def test_the_card_says_how_far(case, dtype, since):
    model, x, exact = case
    cap = uk.capture(model, x, dtype=dtype)
    tokens = cap.layout.content[:5]
    maps = uk.explain(cap, layer=3, tokens=tokens, since=since)
    said = maps.card["explanation"]["float64"]
    true = oracle.explanation_maps(*exact, 3, tokens, since=since).numpy()
    checked = [0, 2, 4]
    assert said["rows"] == 3
    difference = abs(maps.values[checked] - true[checked]).max() / true[checked].max()
    assert said["difference"] == pytest.approx(difference, rel=1e-3) and difference > 1e-6
    found, want = maps.without_own, np.array(true, np.float32)[:, cap.layout.n_prefix :]
    for row, token in zip(want, tokens - cap.layout.n_prefix, strict=True):
        row[token] = np.delete(row, token).max()
    likeness = min(np.corrcoef(found[i], want[i])[0, 1] for i in checked)
    assert said["correlation"] == pytest.approx(likeness, abs=1e-6) and 0.99 < likeness < 1 - 1e-9
    json.dumps(maps.card)


@pytest.mark.parametrize("dtype", HALF)
def test_what_ran(case, dtype):
    model, x, _ = case
    cap = uk.capture(model, x, dtype=dtype)
    name = str(dtype).removeprefix("torch.")
    assert cap.card["dtype"] == name
    # Forward it is the model's own; the gradients at the maps are numbers of the dtype.
    alone = uk.capture(model, x)
    for seen, own in zip(cap.steps, alone.steps, strict=True):
        torch.testing.assert_close(seen.weights, own.weights, rtol=0, atol=1e-6)
        (g,) = torch.autograd.grad(cap.latents[-1][3].norm(), [seen.weights], retain_graph=True)
        (exact,) = torch.autograd.grad(alone.latents[-1][3].norm(), [own.weights], retain_graph=True)
        assert torch.equal(g, g.to(dtype).float()) and not torch.equal(exact, exact.to(dtype).float())
        torch.testing.assert_close(g, exact, rtol=0, atol=0.05 * float(exact.abs().max()))
    assert cap.latents[-1].dtype == torch.float32
    assert {p.dtype for p in model.module.parameters()} == {torch.float32}
    assert uk.explain(cap, tokens=[3]).values.dtype == np.float32


def test_float32_is_not_checked_and_nobody_elses_autocast_counts(case):
    model, x, _ = case
    plain = uk.capture(model, x)
    with torch.autocast("cpu", torch.bfloat16):
        inside = uk.capture(model, x)
    assert plain.card["dtype"] == inside.card["dtype"] == "float32"
    assert torch.equal(plain.latents[-1], inside.latents[-1])
    assert "float64" not in uk.explain(plain, tokens=[3]).card["explanation"]
    half = uk.capture(model, x, dtype=torch.bfloat16)
    assert "float64" not in uk.explain(half, layer=0, tokens=[3]).card["explanation"]


def test_every_way_to_ask(case):
    model, x, _ = case
    cap = uk.capture(model, x, dtype=torch.bfloat16)
    g = torch.Generator().manual_seed(0)
    w, v = torch.randn(24, 24, generator=g), torch.randn(5, 24, generator=g)
    first = cap.layout.n_prefix
    for options in (
        dict(tokens=[[first, first + 1], [first + 2]], score="sum", rule="absolute"),
        dict(tokens=range(5), towards=v),
        dict(tokens=range(5), towards=v[0].numpy()),
        dict(tokens=range(5), transform=w, layer=2),
        dict(tokens=range(5), score="head"),
    ):
        said = uk.explain(cap, progress=False, **options).card["explanation"]["float64"]
        assert 0.99 < said["correlation"] < 1, options


@pytest.mark.parametrize("name", ["scenes", "briefs"])
def test_bundled_models_keep_their_maps(name):
    x = uk.data.scene(3).image if name == "scenes" else uk.data.brief(3).document
    cap = uk.capture(uk.load(name), x, dtype=torch.bfloat16)
    maps = uk.explain(cap, tokens=cap.layout.content[-40::10])
    assert maps.card["explanation"]["float64"]["correlation"] > 0.999


def test_a_model_loaded_in_half_precision_is_checked_too():
    cap = uk.capture(uk.load("scenes", dtype=torch.bfloat16), uk.data.scene(3).image)
    assert cap.card["dtype"] == "bfloat16" and cap.latents[-1].dtype == torch.bfloat16
    assert uk.explain(cap, tokens=[30]).card["explanation"]["float64"]["correlation"] > 0.999


def test_a_stored_result_is_made_again_in_its_dtype(tmp_path):
    cap = uk.capture(uk.load("scenes"), uk.data.scene(3).image, dtype=torch.bfloat16)
    path = uk.save(uk.explain(cap, tokens=[30, 90]), tmp_path / "maps.npz")
    assert uk.open(path).card["dtype"] == "bfloat16" and uk.verify(path).difference == 0


@pytest.mark.parametrize("dtype", [torch.float64, torch.int8, "bfloat16"])
def test_refuses(case, dtype):
    model, x, _ = case
    with pytest.raises(ValueError, match=r"dtype must be one of None, torch\.bfloat16, torch\.float16, got"):
        uk.capture(model, x, dtype=dtype)
