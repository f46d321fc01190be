"""Classes of segments over images."""

import numpy as np
import pytest

from ultra_kit.images.clustering import segment
from ultra_kit.runs.semantic_classes import cluster_segments, describe_segments
from ultra_kit.types import ExplanationMaps, Layout


def two_halves(prefix=1):
    """Tokens of the left and right half of a 2 x 4 grid; the first of each half counts more."""
    side = np.arange(8) % 4 // 2
    values = np.zeros((8, 8 + prefix), np.float32)
    values[:, prefix:] = side[:, None] == side
    values[:, prefix + 0] *= 3  # in every map of the left half the first token counts three times
    layout = Layout("image", n_prefix=prefix, grid=(2, 4), size=(2, 4))
    return segment(ExplanationMaps(values, np.arange(8) + prefix, -1, layout), n_segments=2)


def test_a_segment_is_the_weighted_mean_of_its_tokens():
    seg = two_halves()
    assert seg.n_segments == 2
    latents = np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32)
    # Left: the summed map, scaled to [0, 1], is 1 at token 0 and a share w at the three others.
    w = seg.scaled[0][0, 1]
    assert 0 < w < 1 and seg.scaled[0][0, 0] == 1
    left = latents[1] + w * (latents[2] + latents[5] + latents[6])
    right = latents[[3, 4, 7, 8]].sum(axis=0)
    want = np.stack([left / np.linalg.norm(left), right / np.linalg.norm(right)])
    np.testing.assert_allclose(describe_segments(seg, latents), want, rtol=1e-5)


def test_descriptors_need_the_same_layout():
    seg = two_halves()
    with pytest.raises(ValueError, match="8 latents"):
        describe_segments(seg, np.zeros((8, 3)))


def test_like_segments_are_one_class():
    rng = np.random.default_rng(0)
    true = rng.integers(0, 3, 40)
    features = np.eye(5)[true] + rng.normal(0, 0.05, (40, 5))
    found = cluster_segments(features, 3)
    assert len({(a, b) for a, b in zip(true, found, strict=True)}) == 3
    # Numbered by first appearance.
    assert found[np.sort(np.unique(found, return_index=True)[1])].tolist() == [0, 1, 2]
    np.testing.assert_array_equal(found, cluster_segments(features, 3))


def test_fewer_rows_than_classes():
    assert cluster_segments(np.eye(2), 27).tolist() == [0, 1]
    assert cluster_segments(np.ones((3, 2)), 2).tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("features", "k", "words"),
    [
        (np.zeros((0, 3)), 2, "at least one row"),
        (np.full((2, 2), np.nan), 2, "finite"),
        (np.eye(2), 0, "at least 1"),
    ],
)
def test_what_can_not_be_grouped_is_refused(features, k, words):
    with pytest.raises(ValueError, match=words):
        cluster_segments(features, k)
