"""Maps of groups of tokens, against the oracle: the sum of the scores, and a row that starts at the group."""

import dataclasses
import json

import numpy as np
import oracle
import pytest
import torch
from toys_captures import FAMILIES, attention_stack, captured

import ultra_kit as uk
from ultra_kit.maps.engine import row_chunks
from ultra_kit.maps.planning import make_request

GROUPS = [[5, 0, 2], [4], [3, 2, 1, 6], [5, 6]]


@pytest.fixture(scope="module", params=FAMILIES)
def case(request):
    return captured(request.param)


def rows(cap, groups, **options):
    """The engine's rows in the capture's dtype."""
    return torch.cat(list(row_chunks(make_request(cap, tokens=groups, **options))))


@pytest.mark.parametrize("groups", [GROUPS, [[0, 1], [2, 3], [4, 5, 6]]])  # overlapping, and not
@pytest.mark.parametrize(("layer", "since"), [(3, 0), (3, 1), (3, 2), (1, 0)])
@pytest.mark.parametrize("rule", ["positive", "absolute"])
def test_equals_the_oracle(case, groups, layer, since, rule):
    cap, own = case
    expected = oracle.explanation_maps(*own, layer, groups, rule=rule, since=since)
    for chunk in (1, 3):
        found = rows(cap, groups, layer=layer, since=since, rule=rule, chunk_size=chunk)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


def test_not_the_sum_of_the_members_but_over_one_block(case):
    cap, _ = case
    group = [0, 2, 3, 5]
    for since, same in ((2, True), (0, False)):
        together = rows(cap, [group], since=since)[0]
        apart = torch.cat(list(row_chunks(make_request(cap, tokens=group, since=since)))).sum(0)
        assert torch.allclose(together, apart, rtol=0, atol=1e-9) == same


def test_a_group_of_one_is_its_token(case):
    cap, _ = case
    alone = torch.cat(list(row_chunks(make_request(cap, tokens=[4, 1]))))
    torch.testing.assert_close(rows(cap, [[4], [1, 1]]), alone, rtol=0, atol=1e-9)


def test_a_direction_for_each_group():
    cap = attention_stack(n=6, seed=3, seen=True)
    towards = torch.randn(2, 5, dtype=torch.float64)
    own = cap.latents, [s.weights for s in cap.steps]
    for since in (0, 2):
        found = rows(cap, [[0, 1, 2], [3, 5]], towards=towards, since=since)
        for row, group, v in zip(found, ([0, 1, 2], [3, 5]), towards, strict=True):
            expected = oracle.explanation_map(*own, 3, group, score=lambda z, v=v: z @ v, since=since)
            torch.testing.assert_close(row, expected, rtol=0, atol=1e-9)


def test_the_result_knows_its_groups(case, tmp_path):
    cap, _ = case
    maps = uk.explain(cap, tokens=GROUPS, layer=2, since=1)
    assert maps.groups == ((0, 2, 5), (4,), (1, 2, 3, 6), (5, 6))
    assert maps.tokens.tolist() == [0, 4, 1, 5] and len(maps) == 4 and (maps.layer, maps.since) == (2, 1)
    assert repr(maps).startswith("ExplanationMaps(4 groups x") and "layer 2 since 1" in repr(maps)
    json.dumps(maps.card)
    again = uk.open(uk.save(maps, tmp_path / "groups.npz"))
    assert again.groups == maps.groups and again.since == 1
    np.testing.assert_array_equal(again.values, maps.values)


def test_own_positions_are_those_of_all_members():
    maps = uk.explain(attention_stack(n=6, seed=3), tokens=[[0, 1], [3], range(6)])
    out = maps.without_own
    np.testing.assert_array_equal(out[0, :2], np.full(2, maps.values[0, 2:].max()))
    np.testing.assert_array_equal(out[0, 2:], maps.values[0, 2:])
    assert out[1, 3] == np.delete(maps.values[1], 3).max()
    np.testing.assert_array_equal(out[2], maps.values[2])  # nothing else is there


def test_an_interrupt_keeps_the_finished_groups():
    def stop(done, total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(uk.maps.Interrupted, match="after 2 of 3") as caught:
        uk.explain(attention_stack(n=6, seed=3), tokens=[[0, 1], [3], [4, 5]], progress=stop)
    assert caught.value.partial.groups == ((0, 1), (3,))


@pytest.mark.parametrize(
    ("groups", "words"),
    [([[]], "empty"), ([[0, 6]], "tokens must be in"), ([[1, 2], [-1]], "tokens must be in")],
)
def test_refuses(groups, words):
    with pytest.raises(ValueError, match=words):
        uk.explain(attention_stack(n=6, seed=3), tokens=groups)


def test_a_group_may_stand_beside_a_token_and_in_an_array():
    cap = attention_stack(n=6, seed=3)
    mixed = uk.explain(cap, tokens=[[0, 1], 3])
    assert mixed.groups == ((0, 1), (3,))
    np.testing.assert_array_equal(mixed.values[1], uk.explain(cap, tokens=3).values[0])
    both = uk.explain(cap, tokens=np.array([[0, 1], [2, 3]]))
    assert both.groups == ((0, 1), (2, 3))
    assert uk.plan(cap, tokens=[[0, 1], 3]).chunk_size == 1


@pytest.mark.parametrize("method", [uk.baselines.rollout, uk.baselines.gradient_x_input])
def test_baselines_know_no_groups(method):
    with pytest.raises((TypeError, ValueError)):
        method(attention_stack(n=6, seed=3), tokens=[[0, 1], [2, 3]])


def test_a_stored_group_is_verified(tmp_path):
    model = uk.load("scenes")
    cap = uk.capture(model, uk.data.scene(0).image)
    path = uk.save(uk.explain(cap, tokens=[[30, 31], [100]], layer=2), tmp_path / "groups.npz")
    assert uk.verify(path)
    maps = uk.open(path)
    other = dataclasses.replace(maps, groups=((30, 32), (100,)))
    assert not uk.verify(uk.save(other, path))
    since = uk.explain(cap, tokens=[30, 40, 50, 60], layer=3, since=-1)
    assert uk.verify(uk.save(since, path))


def test_a_pixel_in_place_of_a_token_is_not_taken_for_a_group(case):
    """`tokens=[(x, y)]` is a pixel to most who write it; a group of two is a list, or comes back from `.groups`."""
    cap, _ = case
    if cap.layout.grid is None:
        assert len(uk.explain(cap, layer=1, tokens=[(0, 2)])) == 1
        return
    with pytest.raises(
        ValueError, match=r"token_at\(2, 1\) for the patch at the pixel .*\[2, 1\] for a group"
    ):
        uk.explain(cap, layer=1, tokens=[(2, 1)])
    pair = uk.explain(cap, layer=1, tokens=[[2, 1]])
    assert pair.groups == ((1, 2),)
    np.testing.assert_array_equal(uk.explain(cap, layer=1, tokens=pair.groups).values, pair.values)
