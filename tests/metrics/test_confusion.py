"""Families A and B against confusion matrices worked by hand."""

import itertools

import numpy as np
import pytest

from ultra_kit.metrics.confusion import confusion, dataset_metrics, image_counts, pooled_metrics


def test_counts_by_hand_and_ignored_pixels():
    labels = np.array([[0, 0, 2], [2, 1, 1]])
    truth = np.array([[1, 1, 0], [-1, 0, -1]])
    assert confusion(labels, truth, n_classes=2).tolist() == [[0, 1, 1], [2, 0, 0]]
    assert confusion(labels, truth, n_classes=3, n_clusters=4).tolist() == [
        [0, 1, 1, 0],
        [2, 0, 0, 0],
        [0, 0, 0, 0],
    ]
    assert confusion(labels, truth, n_classes=2).dtype == np.int64


def test_counts_refuse_what_published_code_drops():
    with pytest.raises(ValueError, match=r"labels must be in 0\.\.1, got 0\.\.2"):
        confusion(np.array([0, 2]), np.array([0, 0]), n_classes=1, n_clusters=2)
    with pytest.raises(ValueError, match="truth must be below 2"):
        confusion(np.array([0, 0]), np.array([0, 2]), n_classes=2)
    with pytest.raises(ValueError, match="one shape"):
        confusion(np.zeros((2, 2), int), np.zeros((2, 3), int), n_classes=1)


def test_a_by_hand():
    # Clusters 0, 1, 2 take classes 1, 2, 0: 5 + 4 + 3 = 12 pixels, no other pairing has more.
    counts = np.array([[1, 0, 3], [5, 1, 0], [2, 4, 0]])
    found = dataset_metrics(counts)
    assert found.n_pixels == 16
    assert found.accuracy == 12 / 16
    # Class 0: 3 of (4 true + 3 found - 3); class 1: 5 of (6 + 8 - 5); class 2: 4 of (6 + 5 - 4).
    np.testing.assert_allclose(found.iou, [3 / 4, 5 / 9, 4 / 7])
    assert found.miou == pytest.approx((3 / 4 + 5 / 9 + 4 / 7) / 3)


def test_a_more_clusters_than_classes():
    # The third cluster stays alone: its 4 pixels are wrong, and no class has them as false ones.
    found = dataset_metrics(np.array([[5, 0, 3], [0, 6, 1]]))
    assert found.accuracy == 11 / 15
    np.testing.assert_allclose(found.iou, [5 / 8, 6 / 7])


def test_a_fewer_clusters_than_classes():
    found = dataset_metrics(np.array([[4], [6]]))
    assert found.accuracy == 0.6
    np.testing.assert_allclose(found.iou, [0, 6 / 10])


def test_a_absent_class_is_skipped_only_if_its_cluster_is_empty():
    empty = dataset_metrics(np.array([[4, 0, 0], [0, 6, 0], [0, 0, 0]]))
    assert np.isnan(empty.iou[2]) and empty.miou == 1
    # Class 2 is absent, but cluster 2 has 2 pixels of class 1 and no one else to go to.
    predicted = dataset_metrics(np.array([[4, 0, 0], [0, 6, 2], [0, 0, 0]]))
    np.testing.assert_allclose(predicted.iou, [1, 6 / 8, 0])
    assert predicted.miou == pytest.approx((1 + 6 / 8) / 3)


def test_a_matches_the_best_of_all_pairings():
    rng = np.random.default_rng(0)
    for _ in range(10):
        counts = rng.integers(0, 9, (4, 4))
        best = max(sum(counts[c, k] for c, k in enumerate(p)) for p in itertools.permutations(range(4)))
        assert dataset_metrics(counts).accuracy == pytest.approx(best / counts.sum())


def test_large_counts_are_exact():
    # COCO's 222 million pixels: in float32 the 1 would be lost.
    found = dataset_metrics(np.array([[222_000_001, 0], [0, 1]]))
    assert found.n_pixels == 222_000_002 and found.accuracy == 1
    with pytest.raises(TypeError, match="float64"):
        dataset_metrics(np.eye(2))


@pytest.mark.parametrize("match", ["present", "diffseg"])
def test_identity_is_perfect(match):
    counts = np.diag([5, 0, 7])
    assert dataset_metrics(counts).miou == 1
    got = pooled_metrics(image_counts(counts, match=match))
    assert (got.accuracy, got.miou) == (1, 1)


def test_renaming_clusters_changes_nothing_even_at_ties():
    rng = np.random.default_rng(1)
    for _ in range(30):
        counts = rng.integers(0, 3, (4, 5))  # few values, many ties
        a, b = dataset_metrics(counts), image_counts(counts)
        for _ in range(4):
            renamed = counts[:, rng.permutation(5)]
            np.testing.assert_array_equal(dataset_metrics(renamed).iou, a.iou)
            np.testing.assert_array_equal(image_counts(renamed), b)


def test_b_present_by_hand():
    # Classes 0 and 2 are in the image; segments 0 -> 2, 1 -> 0; segment 2 is left over.
    counts = np.array([[1, 6, 0], [0, 0, 0], [7, 1, 3]])
    hit, false, missed = image_counts(counts).tolist()
    assert hit == [6, 0, 7]
    assert false == [1, 0, 1]  # the 3 pixels of segment 2 are nobody's false ones
    assert missed == [1, 0, 4]  # but class 2 misses them
    found = pooled_metrics(image_counts(counts))
    assert found.accuracy == 13 / 18
    np.testing.assert_allclose(found.iou, [6 / 8, np.nan, 7 / 12])


def test_b_diffseg_gives_leftover_segments_to_absent_classes():
    counts = np.array([[1, 6, 0], [0, 0, 0], [7, 1, 3]])
    hit, false, missed = image_counts(counts, match="diffseg").tolist()
    assert (hit, missed) == ([6, 0, 7], [1, 0, 4])
    assert false == [1, 3, 1]  # class 1 is not in the image, and takes segment 2
    exact, ours = (pooled_metrics(image_counts(counts, match=m)) for m in ("diffseg", "present"))
    assert exact.accuracy == ours.accuracy
    assert exact.iou[1] == 0 and exact.miou == pytest.approx((6 / 8 + 7 / 12) / 3)


def test_b_diffseg_toy():
    # Five classes, classes 0, 2, 3 present; leftovers of 40 and 100 pixels fall to classes 1 and 4.
    counts = np.zeros((5, 5), int)
    counts[0, 0], counts[2, 1], counts[3, 2] = 300, 200, 150
    counts[0, 3], counts[3, 4] = 40, 100
    hit, false, missed = image_counts(counts, match="diffseg")
    assert hit.tolist() == [300, 0, 200, 150, 0]
    assert sorted(false[[1, 4]].tolist()) == [40, 100] and false[[0, 2, 3]].sum() == 0
    assert missed.tolist() == [40, 0, 0, 100, 0]
    _, false, missed = image_counts(counts)
    assert false.sum() == 0 and missed.sum() == 140


def test_b_more_segments_than_classes_of_the_data_set():
    # Two classes, four segments: those beyond two are missed, and nobody's false ones, in both forms.
    counts = np.array([[5, 0, 2, 0], [0, 4, 0, 1]])
    for match in ("present", "diffseg"):
        assert image_counts(counts, match=match).tolist() == [[5, 4], [0, 0], [2, 1]]


def test_b_pools_pixels_not_images():
    # One class. Image 1: 9 of 10 pixels in one segment; image 2: 1 of 2. 10 of 12, not (0.9 + 0.5) / 2.
    images = [image_counts(np.array([[9, 1]])), image_counts(np.array([[1, 1]]))]
    assert pooled_metrics(images).accuracy == pytest.approx(10 / 12)
    assert pooled_metrics(images).miou == pytest.approx(10 / 12)


def test_b_of_clusters_swapped_between_images_is_perfect_where_a_is_not():
    # The oracle in family B: the same two images, the second with the names of its clusters exchanged.
    first, second = np.array([[8, 0], [0, 2]]), np.array([[0, 8], [2, 0]])
    assert pooled_metrics([image_counts(first), image_counts(second)]).miou == 1
    assert dataset_metrics(first + second).accuracy == 0.5


def test_nothing_to_score_is_refused():
    with pytest.raises(ValueError, match="no pixel is left"):
        dataset_metrics(np.zeros((2, 2), int))
    with pytest.raises(ValueError, match="'present' or 'diffseg'"):
        image_counts(np.eye(2, dtype=int), match="best")
