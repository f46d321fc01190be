"""What `plan` promises, against the tensors that are alive while `explain` runs."""

import dataclasses
import weakref

import numpy as np
import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from toys_captures import attention_stack
from transformers import GPT2Config, GPT2LMHeadModel

import ultra_kit as uk
from ultra_kit.types import UltraError


class Alive(TorchDispatchMode):
    """Counts the bytes of the storages that are made inside and still there."""

    def __init__(self):
        super().__init__()
        self.sizes, self.peak = {}, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        given = {id(t.untyped_storage()) for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)}
        for t in tree_leaves(out):
            if isinstance(t, torch.Tensor) and id(s := t.untyped_storage()) not in self.sizes.keys() | given:
                self.sizes[id(s)] = s.nbytes()
                weakref.finalize(s, self.sizes.pop, id(s))
                self.peak = max(self.peak, sum(self.sizes.values()))
        return out


def captured(side, width, depth=4, **options):
    torch.manual_seed(0)
    model = VisionTransformer(
        img_size=side, patch_size=8, embed_dim=width, depth=depth, num_heads=4, num_classes=0
    )
    return uk.capture(uk.load(model.eval()), np.zeros((side, side, 3), np.uint8), **options)


@pytest.fixture(scope="module")
def image():
    """Large maps, narrow latents."""
    return captured(96, 64)


@pytest.fixture(scope="module")
def wide():
    """Small maps, wide latents: the hidden layers of the MLP count."""
    return captured(40, 192)


@pytest.fixture(scope="module")
def text():
    return uk.capture(uk.load("briefs", pretrained=False), " ".join(["The flood struck Tiza."] * 40))


@pytest.fixture(scope="module")
def written_out():
    """GPT-2 spells its activation out in Python."""
    torch.manual_seed(0)
    shape = dict(n_embd=96, n_layer=4, n_head=2, vocab_size=50, bos_token_id=0, eos_token_id=1)
    return uk.capture(GPT2LMHeadModel(GPT2Config(**shape)).eval(), {"input_ids": [list(range(40))]})


@pytest.mark.parametrize(
    "options",
    [
        dict(tokens=[5]),
        dict(tokens=range(8)),  # what a token needed is gone before the next
        dict(tokens=[5], layer=2),
        dict(tokens=[5], since=-2),
        dict(tokens=[5], since=-1),
        dict(since=-1),
        dict(tokens=range(8), chunk_size=4),
        dict(tokens=[[5, 6, 7], [8]]),
    ],
)
@pytest.mark.parametrize("kind", ["image", "wide", "text", "written_out"])
def test_memory_is_as_promised(kind, options, request):
    cap = request.getfixturevalue(kind)
    options = {"layer": -1, "score": "energy"} | options
    uk.explain(cap, progress=False, **options)
    with Alive() as alive:
        uk.explain(cap, progress=False, **options)
    assert uk.plan(cap, **options).peak_bytes == pytest.approx(alive.peak, rel=0.15)


def peak(cap, **options):
    """The most bytes that a run takes."""
    with Alive() as alive:
        uk.explain(cap, layer=-1, score="energy", progress=False, **options)
    return alive.peak


@pytest.mark.parametrize("options", [dict(tokens=[5]), dict(tokens=range(6), chunk_size=3)])
def test_memory_does_not_grow_with_depth(options):
    # The gradient of a block's maps is used up before that of the block below is made.
    shallow, deep = (peak(captured(64, 32, depth), **options) for depth in (3, 9))
    assert deep <= 1.01 * shallow


def test_max_memory_holds(image):
    for chunk in (1, 2, 5):
        limit = uk.plan(image, layer=-1, chunk_size=chunk).peak_bytes
        assert uk.plan(image, layer=-1, chunk_size=30, max_memory=limit).chunk_size == chunk
        found = peak(image, tokens=range(10), chunk_size=30, max_memory=limit)
        assert found <= 1.05 * limit
        assert chunk == 1 or found > 0.6 * limit


def test_nothing_grows_over_200_captures():
    torch.manual_seed(0)
    module = VisionTransformer(img_size=16, patch_size=8, embed_dim=8, depth=2, num_heads=2, num_classes=0)
    model, image, left = uk.load(module.eval()), np.zeros((16, 16, 3), np.uint8), []
    with Alive() as alive:
        for turn in range(200):
            cap = uk.capture(model, image)
            since = turn % 2  # the closed form, and the pass down
            uk.explain(cap, layer=-1, since=since, score="energy", progress=False)
            left.append((len(alive.sizes), sum(alive.sizes.values())))
    assert set(left[2:]) == {left[1]}
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())


@pytest.mark.parametrize("options", [dict(tokens=[5]), dict(tokens=[5], since=-2), dict(since=-1)])
@pytest.mark.parametrize(("side", "width"), [(96, 64), (40, 192)])
def test_memory_in_half_precision(side, width, options):
    cap = captured(side, width, dtype=torch.bfloat16)
    cap = dataclasses.replace(
        cap, card=cap.card | {"dtype": "float32"}
    )  # the check in float64 is another matter
    options = {"layer": -1, "score": "energy"} | options
    with Alive() as alive:
        uk.explain(cap, progress=False, **options)
    assert uk.plan(cap, **options).peak_bytes == pytest.approx(alive.peak, rel=0.25)


def test_blocks_of_queries_bound_the_closed_form(image, monkeypatch):
    for module in ("engine", "planning"):
        monkeypatch.setattr(f"ultra_kit.maps.{module}.ENTRIES", 10_000)
    with Alive() as alive:
        uk.explain(image, layer=-1, since=-1, score="energy", progress=False)
    assert alive.peak < image.steps[0].weights.numel() * 4 * 1.5
    assert uk.plan(image, layer=-1, since=-1).peak_bytes == pytest.approx(alive.peak, rel=0.25)


@pytest.fixture(scope="module")
def small():
    return attention_stack(n=6, seed=3)


def test_plan_says_what_a_run_takes(small):
    p = uk.plan(small)
    assert (p.chunk_size, len(p.tokens), p.layer, p.since) == (1, 6, 3, 0)
    assert p.seconds > 0 and "6 tokens at layer 3 on cpu, one at a time" in repr(p)
    assert "kB on top of the capture" in repr(p)
    assert uk.plan(small, layer=0).peak_bytes < uk.plan(small, layer=1).peak_bytes < p.peak_bytes
    with pytest.raises(dataclasses.FrozenInstanceError):
        p.chunk_size = 2


def test_memory_bounds_the_chunk(small):
    of = {c: uk.plan(small, chunk_size=c).peak_bytes for c in (1, 2, 3, 4, 5, 6)}
    assert list(of.values()) == sorted(of.values())
    for c, size in of.items():
        assert uk.plan(small, chunk_size=6, max_memory=size).chunk_size == c
        assert uk.plan(small, chunk_size=6, max_memory=size).peak_bytes == size
    assert uk.plan(small, chunk_size=6, max_memory=of[3] - 1).chunk_size == 2
    assert uk.plan(small, chunk_size=5, max_memory="1GB").chunk_size == 5
    assert uk.plan(small, chunk_size=50).chunk_size == 6
    with pytest.raises(UltraError, match="one token at layer 3 takes about"):
        uk.plan(small, max_memory=of[1] - 1)
    same = uk.explain(small, chunk_size=5, max_memory=of[3]).values
    np.testing.assert_allclose(same, uk.explain(small).values, atol=1e-6)
