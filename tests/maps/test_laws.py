"""Laws that hold for every model and option: order, batch, chunks, threads, parts and scale change nothing they should not."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from toys_models import IMAGE, own_model

import ultra_kit as uk
from ultra_kit.models import recorder

CAP = uk.capture(own_model(), IMAGE)
OTHER = np.ascontiguousarray(IMAGE[::-1])
SCORES, RULES = ("norm", "sum", "energy"), ("positive", "negative", "absolute")
tokens = st.lists(st.integers(0, 5), min_size=1, max_size=6, unique=True)
how = st.fixed_dictionaries(
    {"layer": st.integers(1, 3), "score": st.sampled_from(SCORES), "rule": st.sampled_from(RULES)}
)
few = settings(max_examples=15, deadline=None)


def assert_close(a, b):
    np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6 * np.abs(b).max())


@few
@given(tokens, how, st.randoms())
def test_permuting_tokens_permutes_rows(chosen, options, random):
    order = list(range(len(chosen)))
    random.shuffle(order)
    rows = uk.explain(CAP, tokens=chosen, **options).values
    assert_close(uk.explain(CAP, tokens=[chosen[i] for i in order], **options).values, rows[order])


@few
@given(tokens, how, st.integers(1, 7))
def test_the_chunk_size_changes_nothing(chosen, options, chunk):
    rows = uk.explain(CAP, tokens=chosen, chunk_size=1, **options).values
    assert_close(uk.explain(CAP, tokens=chosen, chunk_size=chunk, **options).values, rows)


@few
@given(tokens, how)
def test_each_token_is_what_it_is_alone(chosen, options):
    rows = uk.explain(CAP, tokens=chosen, **options).values
    assert_close(np.concatenate([uk.explain(CAP, tokens=[t], **options).values for t in chosen]), rows)


@few
@given(how)
def test_a_block_more_takes_nothing_from_a_map(options):
    options["layer"] = 2
    late = uk.explain(CAP, tokens=[1, 4], since=1, **options).values
    whole = uk.explain(CAP, tokens=[1, 4], since=0, **options).values
    # What passes by the first block is in the whole map, so no entry falls, and the identity is in both.
    assert (whole >= late - 2e-6 * whole.max()).all() and (late[[0, 1], [1, 4]] >= 1 - 1e-6).all()


@few
@given(tokens, st.integers(1, 3), st.sampled_from(RULES), st.floats(0.01, 100))
def test_scaling_a_direction_scales_all_but_the_identity(chosen, layer, rule, factor):
    """Over one block the map is the identity and a part in proportion to the score."""
    direction = np.random.default_rng(0).standard_normal(16)
    options = {"layer": layer, "tokens": chosen, "since": layer - 1, "rule": rule}
    identity = np.eye(6)[chosen]
    one = uk.explain(CAP, towards=direction, **options).values - identity
    many = uk.explain(CAP, towards=factor * direction, **options).values - identity
    np.testing.assert_allclose(many, factor * one, rtol=1e-3, atol=1e-5 * max(1, factor))


@few
@given(tokens, st.floats(0.1, 10))
def test_scaling_w_leaves_the_sum_score_as_it_is(chosen, factor):
    """Its norm is held fixed and divided by: the score has no unit."""
    w = np.random.default_rng(1).standard_normal((16, 16))
    maps = [uk.explain(CAP, layer=2, tokens=chosen, score="sum", transform=f * w).values for f in (1, factor)]
    np.testing.assert_allclose(maps[1], maps[0], rtol=1e-4, atol=1e-5)


def test_two_images_together_are_each_alone():
    pair = uk.capture(own_model(), [IMAGE, OTHER])
    for cap, image in zip(pair, (IMAGE, OTHER), strict=True):
        alone = uk.capture(own_model(), image)
        for layer in range(4):
            assert_close(cap.tokens(layer), alone.tokens(layer))
        assert_close(uk.explain(cap, layer=2).values, uk.explain(alone, layer=2).values)


def test_where_there_are_no_threads_the_gradient_of_softmax_is_one_kernel():
    """A GPU would wait for many small blocks; without numbers ("meta") only what is called can be seen."""
    calls = []

    class Seen(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            calls.append(str(func))
            return func(*args, **(kwargs or {}))

    for device, kernels in (("meta", 1), ("cpu", 0)):
        logits = torch.zeros(2, 40, 40, device=device, requires_grad=True)
        out, given = recorder._Softmax.apply(logits), torch.ones(2, 40, 40, device=device)
        calls.clear()
        with Seen():
            (found,) = torch.autograd.grad(out, logits, given)
        assert found.shape == logits.shape and sum("_softmax_backward_data" in c for c in calls) == kernels


def test_two_threads_of_torch_give_the_numbers_of_one():
    before = torch.get_num_threads()
    try:
        found = []
        for n in (1, 2):
            torch.set_num_threads(n)
            found.append(uk.explain(uk.capture(own_model(), IMAGE), layer=3).values)
    finally:
        torch.set_num_threads(before)
    assert_close(found[1], found[0])


def test_these_laws_can_fail(monkeypatch):
    """A map that depends on its place among those asked for breaks the first law."""
    real = uk.explain

    def planted(cap, **options):
        maps = real(cap, **options)
        maps.values[:] *= np.arange(1, len(maps) + 1)[:, None]
        return maps

    monkeypatch.setattr(uk, "explain", planted)
    with pytest.raises(AssertionError):
        test_permuting_tokens_permutes_rows()


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bytes_in_fresh_processes_of_one_thread_and_of_two(tmp_path):
    """Of everything stored, whatever the hash seed of Python; the photograph is large enough for two threads to share it."""
    program = (
        "import sys, torch, hashlib, json, ultra_kit as uk\nfrom pathlib import Path\n"
        "torch.set_num_threads(int(sys.argv[1])); out = Path(sys.argv[2]); out.mkdir()\n"
        "model, image = uk.load('photos'), uk.data.photograph('chelsea')\n"
        "cap = uk.capture(model, image); maps = uk.explain(cap, tokens=range(4, 40), layer=4)\n"
        "near = uk.explain(cap, layer=3, since=2); seg = uk.segment(near, n_segments=4)\n"
        "sel = uk.select(cap, points=[(150, 200)], layer=2); noise = uk.baselines.random_map(cap, seed=3)\n"
        "w = uk.train_transform(model, [image, image[::-1].copy()], layer=2, epochs=1, progress=False)\n"
        "emb = uk.embed([image, image[::-1].copy()], model=model, layer=3, by='latent', progress=False)\n"
        "stored = dict(maps=maps, near=near, seg=seg, sel=sel, noise=noise, emb=emb)\n"
        "for n, o in stored.items(): uk.save(o, out / f'{n}.npz')\n"
        "uk.export_html(maps, out / 'maps.html'); w.save(out / 'w.safetensors')\n"
        "print(json.dumps({p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(out.iterdir())}))\n"
    )
    found = []
    for seed, threads in (("1", "1"), ("2", "2")):
        command = [
            sys.executable,
            "-W",
            "ignore",
            "-c",
            program,
            threads,
            str(tmp_path / seed),
        ]
        ran = subprocess.run(
            command, capture_output=True, text=True, env={**os.environ, "PYTHONHASHSEED": seed}, check=False
        )
        assert ran.returncode == 0, ran.stderr[-2000:]
        found.append(json.loads(ran.stdout.splitlines()[-1]))
    assert found[0] == found[1] and len(found[0]) == 8
