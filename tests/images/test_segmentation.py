"""Segments from maps: hand-worked cases, a slow reference for the tree and the cut, and what must not matter."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ultra_kit.images.clustering import segment
from ultra_kit.types import ExplanationMaps, Layout


def maps_of(content, grid, *, n_prefix=1, size=None, tokens=None, image=None):
    """Maps by hand: rows over the content positions; the prefix columns hold a number that must not matter."""
    content = np.asarray(content, np.float32)
    layout = Layout("image", n_prefix=n_prefix, grid=grid, size=size or grid)
    values = np.concatenate([np.full((len(content), n_prefix), 7, np.float32), content], axis=1)
    tokens = layout.content if tokens is None else np.asarray(tokens)
    return ExplanationMaps(values, tokens, 3, layout, input=image, card={"model": "by hand"})


def random_maps(seed, grid=(3, 4), groups=3, **kwargs):
    """Noisy maps of tokens that belong to `groups` groups."""
    rng = np.random.default_rng(seed)
    group = rng.integers(0, groups, grid[0] * grid[1])
    return maps_of((group[:, None] == group) + 0.5 * rng.random((len(group), len(group))), grid, **kwargs)


def slow_segments(content, own, *, threshold=None, n_segments=None):
    """Average linkage, cut, scaled sums and the winner of each patch, by loops and from the definitions."""
    rows = [list(map(float, r)) for r in content]
    for r, o in zip(rows, own, strict=True):
        r[o] = max(v for k, v in enumerate(r) if k != o)
    norm = [sum(v * v for v in r) ** 0.5 for r in rows]
    n = len(rows)
    distance = [
        [1 - sum(a * b for a, b in zip(rows[i], rows[j], strict=True)) / norm[i] / norm[j] for j in range(n)]
        for i in range(n)
    ]
    groups = [[i] for i in range(n)]
    while len(groups) > 1:
        between = {
            (a, b): np.mean([distance[i][j] for i in groups[a] for j in groups[b]])
            for a in range(len(groups))
            for b in range(a)
        }
        (a, b), least = min(between.items(), key=lambda item: item[1])
        if len(groups) == n_segments or (threshold is not None and least > threshold):
            break
        groups[b] += groups.pop(a)
    groups.sort(key=lambda g: min(own[i] for i in g))
    scaled = []
    for g in groups:
        total = [sum(rows[i][p] for i in g) for p in range(len(rows[0]))]
        scaled.append([(v - min(total)) / (max(total) - min(total)) for v in total])
    clusters = [next(k for k, g in enumerate(groups) if i in g) for i in range(n)]
    return clusters, [max(range(len(groups)), key=lambda k: (scaled[k][p], -k)) for p in range(len(rows[0]))]


def test_two_halves_by_hand():
    side = np.arange(8) % 4 // 2
    seg = segment(maps_of(side[:, None] == side, (2, 4)))
    assert seg.labels.tolist() == [[0, 0, 1, 1], [0, 0, 1, 1]]
    assert seg.labels.dtype == np.int32
    assert seg.clusters.tolist() == side.tolist()
    assert seg.n_segments == 2 and seg.threshold == 0.25 and len(seg.constant) == 0
    # Equal maps are at distance 0; the two kinds have no position in common, so they are at 1.
    np.testing.assert_allclose(seg.linkage[:, 2], [0] * 6 + [1], atol=1e-12)
    np.testing.assert_array_equal(seg.scaled[0], [[1, 1, 0, 0], [1, 1, 0, 0]])
    np.testing.assert_array_equal(seg.mask(1), seg.labels == 1)
    assert seg.shares.tolist() == [0.5, 0.5]
    assert seg.card["model"] == "by hand"
    assert seg.card["segmentation"] == {
        "method": "average",
        "metric": "cosine",
        "size": [2, 4],
        "threshold": 0.25,
        "n_segments": None,
    }


def test_own_position_counts_for_nothing():
    side = np.arange(8) % 4 // 2
    spiked = (side[:, None] == side) + 100.0 * np.eye(8)
    assert segment(maps_of(spiked, (2, 4))).labels.tolist() == [[0, 0, 1, 1], [0, 0, 1, 1]]


def test_a_pixel_claimed_equally_goes_to_the_lower_cluster():
    # Positions 1 and 2 lie in every map of both clusters at full strength.
    rows = [[1, 1, 1, 0, 0, 1]] * 2 + [[0, 1, 1, 1, 1, 0]] * 2
    seg = segment(maps_of(rows, (1, 6), tokens=[1, 6, 4, 5]))
    assert seg.n_segments == 2
    assert seg.labels.tolist() == [[0, 0, 0, 1, 1, 0]]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "cut", [{"threshold": 0.1}, {"threshold": 0.25}, {"n_segments": 2}, {"n_segments": 7}]
)
def test_equals_the_slow_reference(seed, cut):
    maps = random_maps(seed)
    clusters, labels = slow_segments(maps.content, maps.tokens - 1, **cut)
    seg = segment(maps, **cut)
    assert seg.clusters.tolist() == clusters
    assert seg.labels.ravel().tolist() == labels


def test_number_of_segments_is_exact_where_all_distances_tie():
    # Any two of the six maps share the same four ones and differ in the same way: every distance is equal.
    rows = np.concatenate([np.eye(6), np.ones((6, 6))], axis=1)
    maps = maps_of(rows, (2, 6), tokens=range(7, 13))
    for n in range(1, 7):
        assert segment(maps, n_segments=n).n_segments == n
    assert segment(maps, threshold=0.2).n_segments == 1


def test_maps_without_contrast_have_a_cluster_of_their_own():
    side = np.arange(8) % 4 // 2
    rows = (side[:, None] == side).astype(float)
    rows[[2, 5]] = [[0.0] * 8, [0.3] * 8]
    seg = segment(maps_of(rows, (2, 4)))
    assert seg.constant.tolist() == [3, 6]
    assert seg.clusters.tolist() == [0, 0, 2, 1, 0, 2, 1, 1]
    assert seg.n_segments == 2
    assert np.isfinite(seg.linkage).all() and seg.linkage.shape == (5, 4)
    assert seg.labels.tolist() == [[0, 0, 1, 1], [0, 0, 1, 1]]
    assert "2 without contrast" in repr(seg)
    assert seg.recut(n_segments=1).n_segments == 1
    assert seg.recut(n_segments=1).clusters.tolist() == [0, 0, 1, 0, 0, 1, 0, 0]


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_only_constant_maps_make_one_segment(value):
    seg = segment(maps_of(np.full((6, 6), value) + np.eye(6), (2, 3), size=(5, 9)))
    assert seg.n_segments == 1 and seg.clusters.tolist() == [0] * 6 and len(seg.constant) == 6
    assert seg.labels.shape == (5, 9) and not seg.labels.any()
    assert not seg.scaled.any()


def test_one_map_makes_one_segment():
    seg = segment(maps_of([[1, 0, 0, 2]], (2, 2), tokens=[1], size=(4, 4)))
    assert seg.n_segments == 1 and seg.linkage.shape == (0, 4) and not seg.labels.any()
    # The own position, 0, takes the largest of the others.
    np.testing.assert_array_equal(seg.scaled, [[[1, 0], [0, 1]]])


def test_one_patch_in_all():
    seg = segment(maps_of([[3.0]], (1, 1), size=(5, 7)))
    assert seg.labels.shape == (5, 7) and seg.n_segments == 1


def test_pixels_take_the_largest_bicubically_resized_map():
    seg = segment(random_maps(3, size=(25, 37)), n_segments=4)
    resized = torch.nn.functional.interpolate(
        torch.from_numpy(seg.scaled)[None], size=(25, 37), mode="bicubic", align_corners=False
    )[0]
    top = resized.topk(2, dim=0)
    clear = (top.values[0] - top.values[1] > 1e-5).numpy()  # elsewhere rounding may decide
    assert clear.mean() > 0.95 and seg.labels.shape == (25, 37)
    np.testing.assert_array_equal(seg.labels[clear], top.indices[0].numpy()[clear])


def test_working_resolution_changes_the_maps_not_the_labels_size():
    seg = segment(random_maps(0, size=(30, 20)), size=(6, 8))
    assert seg.scaled.shape[1:] == seg.maps.shape[1:] == (6, 8)
    assert seg.labels.shape == (30, 20)
    assert seg.card["segmentation"]["size"] == [6, 8]


def test_numbers_follow_the_first_token_in_raster_order():
    maps = random_maps(5, groups=4)
    seg = segment(maps, n_segments=4)
    first = [seg.tokens[seg.clusters == k].min() for k in range(4)]
    assert first == sorted(first)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.integers(1, 6))
def test_order_of_the_tokens_does_not_matter(seed, n):
    maps = random_maps(seed)
    order = np.random.default_rng(seed).permutation(len(maps))
    mixed = ExplanationMaps(maps.values[order], maps.tokens[order], 3, maps.layout)
    for cut in ({"threshold": 0.2}, {"n_segments": n}):
        a, b = segment(maps, **cut), segment(mixed, **cut)
        np.testing.assert_array_equal(a.clusters[order], b.clusters)
        np.testing.assert_array_equal(a.labels, b.labels)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.floats(1e-6, 1e6))
def test_the_maps_scale_does_not_matter(seed, factor):
    maps = random_maps(seed)
    scaled = ExplanationMaps(maps.values * np.float32(factor), maps.tokens, 3, maps.layout)
    np.testing.assert_array_equal(segment(maps).clusters, segment(scaled).clusters)
    np.testing.assert_array_equal(segment(maps).labels, segment(scaled).labels)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.floats(0, 1), st.integers(1, 12))
def test_recutting_equals_a_fresh_segmentation(seed, threshold, n):
    maps = random_maps(seed, size=(10, 11))
    seg = segment(maps)
    for cut in ({"threshold": threshold}, {"n_segments": n}):
        fresh, recut = segment(maps, **cut), seg.recut(**cut)
        np.testing.assert_array_equal(fresh.labels, recut.labels)
        np.testing.assert_array_equal(fresh.clusters, recut.clusters)
        np.testing.assert_array_equal(fresh.scaled, recut.scaled)
        assert fresh.threshold == recut.threshold and fresh.card == recut.card
    assert seg.recut(n_segments=n).n_segments == n


def test_a_lower_threshold_only_splits():
    seg = segment(random_maps(1, grid=(5, 6)), threshold=0.3)
    finer = seg.recut(threshold=0.04)
    assert finer.n_segments > seg.n_segments
    parents = {(f, c) for f, c in zip(finer.clusters, seg.clusters, strict=True)}
    assert len(parents) == finer.n_segments


def test_input_is_left_as_it_was_and_results_repeat():
    maps = random_maps(2)
    before = maps.values.copy()
    first, second = segment(maps), segment(maps)
    np.testing.assert_array_equal(maps.values, before)
    np.testing.assert_array_equal(first.labels, second.labels)
    np.testing.assert_array_equal(first.linkage, second.linkage)


@pytest.mark.parametrize("method", ["complete", "single", "weighted"])
def test_other_linkages_are_used(method):
    maps = random_maps(4, grid=(4, 4))
    heights = segment(maps, method=method).linkage[:, 2]
    assert not np.allclose(heights, segment(maps).linkage[:, 2])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"threshold": -0.1}, "threshold must be .* at least 0, got -0.1"),
        ({"threshold": float("nan")}, "got nan"),
        ({"threshold": "0.3"}, "got '0.3'"),
        ({"n_segments": 0}, r"n_segments must be in 1\.\.12 .* got 0"),
        ({"n_segments": 13}, "got 13"),
        ({"method": "ward"}, "method must be one of average.*'ward'"),
        ({"size": (0, 4)}, "size must be"),
        (
            {"threshold": 0.25, "n_segments": 2},
            "either threshold or n_segments, got 0.25 and 2",
        ),
    ],
)
def test_options_out_of_range_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        segment(random_maps(0), **options)


def test_maps_that_cannot_be_segmented_are_refused():
    text = Layout("text", n_prefix=1, tokens=("<s>", "a", "b"))
    with pytest.raises(ValueError, match="maps of an image, got maps of a text"):
        segment(ExplanationMaps(np.ones((2, 3), np.float32), np.array([1, 2]), 1, text))
    with pytest.raises(ValueError, match="got prefix token 0"):
        segment(maps_of(np.eye(4), (2, 2), tokens=[0, 1, 2, 3]))
    with pytest.raises(ValueError, match="twice"):
        segment(maps_of(np.eye(4), (2, 2), tokens=[1, 1, 2, 3]))
    with pytest.raises(ValueError, match="finite"):
        segment(maps_of(np.full((4, 4), np.nan), (2, 2)))
    with pytest.raises(ValueError, match="at least one map"):
        segment(maps_of(np.zeros((0, 4)), (2, 2), tokens=np.zeros(0, int)))
    with pytest.raises(TypeError, match="n_segments must be an int"):
        segment(random_maps(0), n_segments=2.5)


def test_recut_wants_one_cut_and_mask_a_segment_that_exists():
    seg = segment(random_maps(0), n_segments=3)
    for both in ({}, {"threshold": 0.1, "n_segments": 2}):
        with pytest.raises(ValueError, match="either threshold or n_segments"):
            seg.recut(**both)
    for k in (-1, 3):
        with pytest.raises(ValueError, match=r"segment must be in 0\.\.2"):
            seg.mask(k)


def test_merging_what_a_higher_cut_joins_equals_that_cut():
    rng = np.random.default_rng(3)
    layout = Layout("image", n_prefix=1, grid=(4, 5), size=(40, 50))
    maps = ExplanationMaps(rng.random((20, 21), np.float32), np.arange(1, 21), 2, layout)
    fine, coarse = segment(maps, n_segments=6), segment(maps, n_segments=5)
    joined = [
        k
        for k in range(6)
        if (coarse.clusters[fine.clusters == k][0] == coarse.clusters).sum() > (fine.clusters == k).sum()
    ]
    assert len(joined) == 2
    merged = fine.merge(*joined)
    np.testing.assert_array_equal(merged.clusters, coarse.clusters)
    np.testing.assert_array_equal(merged.labels, coarse.labels)
    assert merged.card["segmentation"]["merged"] == [joined]
    assert "merged" not in merged.recut(n_segments=5).card["segmentation"]


def test_the_height_of_the_cut():
    """Three pairs of equal maps; the cosine of the first two pairs is 0.75 / 1.25, that with the third 0."""
    rows = np.repeat([[1, 1, 0, 0, 0, 0], [0.75, 0.75, 1, 1, 0, 0], [0, 0, 0, 0, 1, 1]], 2, axis=0)
    seg = segment(maps_of(rows, (1, 6)))
    np.testing.assert_allclose(seg.linkage[:, 2], [0, 0, 0, 0.4, 1], atol=1e-7)
    assert seg.cut_height == seg.threshold == 0.25
    assert seg.recut(threshold=0.3).cut_height == 0.3
    for n, height in ((1, 1.05), (2, 0.7), (3, 0.2), (5, 0)):
        cut = seg.recut(n_segments=n)
        assert cut.threshold is None and cut.cut_height == pytest.approx(height, abs=1e-7)
    # A merge by hand leaves the cut where it was.
    assert seg.recut(n_segments=3).merge(0, 2).cut_height == pytest.approx(0.2)
    flat = segment(maps_of(np.ones((4, 4)), (2, 2)), n_segments=3)
    assert flat.cut_height == 0


@pytest.mark.parametrize("seed", range(3))
def test_a_cut_at_that_height_gives_the_same_segments(seed):
    seg = segment(random_maps(seed), n_segments=5)
    for n in range(1, 13):
        cut = seg.recut(n_segments=n)
        np.testing.assert_array_equal(seg.recut(threshold=cut.cut_height).clusters, cut.clusters)


def test_merging_numbers_anew_and_keeps_tokens_without_contrast_apart():
    values = np.zeros((4, 4), np.float32)
    values[[0, 1, 2], [0, 1, 2]] = 1
    values[[0, 1, 2], [3, 3, 3]] = [0.1, 0.2, 0.4]  # else own positions would leave nothing
    values[0, 1], values[1, 2], values[2, 0] = 0.5, 0.6, 0.7
    layout = Layout("image", n_prefix=0, grid=(1, 4), size=(1, 4))
    seg = segment(ExplanationMaps(values, np.arange(4), 1, layout), n_segments=3)
    assert seg.constant.tolist() == [3] and seg.clusters.tolist() == [0, 1, 2, 3]
    assert seg.merge(1, 0).clusters.tolist() == [0, 0, 1, 2]
    assert seg.merge(2, 0).clusters.tolist() == [0, 1, 0, 2]
    for wrong in [(), (1,), (1, 1), (0, 3), (-1, 0)]:
        with pytest.raises(ValueError, match=r"two or more different segments of 0\.\.2"):
            seg.merge(*wrong)


def test_hellinger_compares_the_maps_as_distributions():
    # p = (.64, .36, 0, 0), q = (.36, .64, 0, 0), r = (0, 0, .64, .36): sum sqrt(pq) = .96, sqrt(pr) = 0.
    # Own positions lie in a last column that no map but r's uses.
    values = np.zeros((3, 6), np.float32)
    values[0, [3, 4]] = 64, 36
    values[1, [3, 4]] = 3.6, 6.4
    values[2, [5, 0]] = 0.64, 0.36
    layout = Layout("image", n_prefix=0, grid=(1, 6), size=(1, 6))
    maps = ExplanationMaps(values, np.array([0, 1, 2]), -1, layout)
    # The own column (0, 1, 2) takes the largest other entry of its row, so it is worked out by hand:
    rows = values.astype(float)
    for own in range(3):
        rows[own, own] = np.delete(rows[own], own).max()
    p = np.sqrt(rows / rows.sum(1, keepdims=True))
    near, far = 1 - p[0] @ p[1], 1 - (p[0] @ p[2] + p[1] @ p[2]) / 2
    tree = segment(maps, metric="hellinger").linkage
    assert tree[:, 2] == pytest.approx([near, far])
    assert segment(maps, metric="cosine").linkage[0, 2] != pytest.approx(near)


def test_refuses_an_unknown_metric():
    layout = Layout("image", n_prefix=0, grid=(1, 2), size=(1, 2))
    with pytest.raises(ValueError, match="metric must be one of cosine, hellinger"):
        segment(ExplanationMaps(np.eye(2, dtype=np.float32), np.arange(2), -1, layout), metric="euclidean")


def test_nothing_said_takes_the_models_own_settings():
    """Two groups whose cosine distance is below one threshold and above the other; settings come with the maps' card."""
    values = np.array([[0, 1, 1, 0], [1, 0, 0.9, 0], [1, 1, 0, 1], [0, 0, 1, 0]], np.float32)
    layout = Layout("image", n_prefix=0, grid=(2, 2), size=(4, 4))

    def made(**settings):
        card = {"model": {"name": "toy", "settings": settings}} if settings else {}
        return segment(ExplanationMaps(values, np.arange(4), -1, layout, card=card))

    own = made(metric="hellinger", threshold=0.9, chosen_on="ten toys")
    assert own.threshold == 0.9 and own.card["segmentation"]["metric"] == "hellinger"
    assert own.card["segmentation"]["chosen_on"] == "ten toys" and "0.9 (the model's own)" in repr(own)
    assert (
        "own" not in repr(own.recut(threshold=0.9))
        and "chosen_on" not in own.recut(threshold=0.2).card["segmentation"]
    )
    plain = made()
    assert (
        plain.threshold == 0.25
        and plain.card["segmentation"]["metric"] == "cosine"
        and "own" not in repr(plain)
    )


def test_a_threshold_is_the_models_own_only_for_its_own_metric():
    card = {"model": {"settings": {"metric": "hellinger", "threshold": 0.9, "chosen_on": "ten toys"}}}
    values = np.eye(4, dtype=np.float32) + 0.1
    maps = ExplanationMaps(values, np.arange(4), -1, Layout("image", 0, (2, 2), (4, 4)), card=card)
    assert segment(maps, metric="cosine").threshold == 0.25
    assert segment(maps, threshold=0.4).card["segmentation"]["metric"] == "hellinger"


def test_scenes_come_in_a_number_of_segments_that_a_person_would_accept():
    """Seeds that were not used for choosing; truth has 4 segments or so, the paper's 0.25 gave 16 to 55."""
    import ultra_kit as uk

    found, overlap = [], []
    for seed in range(50000, 50004):
        scene = uk.data.scene(seed)
        seg = uk.segment(uk.explain(uk.capture(uk.load("scenes"), scene.image), progress=False))
        found.append(seg.n_segments)
        overlap.append(uk.metrics.hungarian_miou(seg.labels, scene.instances))
    assert max(found) <= 12 and np.mean(overlap) > 0.5
