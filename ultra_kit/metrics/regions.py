"""Region scores of the BSDS500 benchmark: one segmentation against several people's.

Covering, probabilistic Rand index and variation of information as defined by Arbelaez, Maire,
Fowlkes and Malik, "Contour Detection and Hierarchical Image Segmentation" (2011). A method may give
several segmentations of an image, one for each *scale* (a threshold, a number of segments): ODS is
the best single scale for the whole data set, OIS the best scale of each image.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class RegionMetrics:
    """Scores of one image at K scales against the R regions that all its annotators drew.

    Attributes
    ----------
    covered : ndarray of shape (K, R), float64
        Pixels of each true region times its overlap (IoU) with the best segment.
    area : ndarray of shape (R,), float64
        Pixels of each true region.
    rand : ndarray of shape (K,), float64
        Probabilistic Rand index, mean over the annotators.
    information : ndarray of shape (K,), float64
        Variation of information in bits, mean over the annotators.
    """

    covered: np.ndarray
    area: np.ndarray
    rand: np.ndarray
    information: np.ndarray

    @property
    def covering(self) -> np.ndarray:
        """Covering of this image at each scale: float64 of shape (K,), in [0, 1]."""
        return self.covered.sum(axis=1) / self.area.sum()


def region_metrics(segmentations: Sequence[np.ndarray], truths: Sequence[np.ndarray]) -> RegionMetrics:
    """Score the segmentations of one image against those of its annotators.

    Parameters
    ----------
    segmentations : sequence of ndarray of int, shape (H, W)
        One for each of K scales; the labels are names only.
    truths : sequence of ndarray of int, shape (H, W)
        One for each annotator.

    Returns
    -------
    RegionMetrics

    Raises
    ------
    ValueError
        If either is empty or the shapes disagree.

    Examples
    --------
    >>> one, halves = np.zeros((2, 4), int), np.arange(8).reshape(2, 4) % 4 // 2
    >>> scores = region_metrics([one, halves], [halves])
    >>> scores.covering, scores.information
    (array([0.5, 1. ]), array([1., 0.]))
    """
    found, true = [_dense(s) for s in segmentations], [_dense(t) for t in truths]
    shapes = {np.shape(x) for x in (*segmentations, *truths)}
    if not found or not true or len(shapes) != 1:
        raise ValueError(
            f"region_metrics needs at least one segmentation and one truth, all of one shape, got {len(found)} and "
            f"{len(true)} of shapes {sorted(shapes)}"
        )
    covered, rand, information = [], [], []
    for s in found:
        tables = [_joint(t, s) for t in true]
        covered.append(np.concatenate([n.sum(1) * _overlaps(n).max(axis=1) for n in tables]))
        rand.append(np.mean([_rand(n) for n in tables]))
        information.append(np.mean([_information(n) for n in tables]))
    area = np.concatenate([np.bincount(t.ravel()) for t in true]).astype(float)
    return RegionMetrics(np.stack(covered), area, np.array(rand), np.array(information))


def covering(labels: np.ndarray, truths: Sequence[np.ndarray]) -> float:
    """Covering of the annotators' regions by one segmentation of one image.

    Parameters
    ----------
    labels : ndarray of int, shape (H, W)
    truths : sequence of ndarray of int, shape (H, W)
        One for each annotator.

    Returns
    -------
    float
        In [0, 1], higher is better: overlap (IoU) of each true region with its best segment,
        weighted by the region's area. A data set's value pools areas over images, see
        `region_summary`.

    Raises
    ------
    ValueError
        As `region_metrics`.

    Examples
    --------
    >>> covering(np.array([[0, 0, 0, 0]]), [np.array([[1, 1, 1, 2]])])
    0.625
    """
    return float(region_metrics([labels], truths).covering[0])


def rand_index(labels: np.ndarray, truths: Sequence[np.ndarray]) -> float:
    """Probabilistic Rand index: share of pixel pairs on which segmentation and annotators agree.

    Parameters
    ----------
    labels, truths
        As in `covering`.

    Returns
    -------
    float
        In [0, 1], higher is better; the mean over the annotators.

    Raises
    ------
    ValueError
        As `region_metrics`.

    Examples
    --------
    Of six pairs of pixels, the three without the last one are together in both:

    >>> rand_index(np.array([[0, 0, 0, 0]]), [np.array([[1, 1, 1, 2]])])
    0.5
    """
    return float(region_metrics([labels], truths).rand[0])


def variation_of_information(labels: np.ndarray, truths: Sequence[np.ndarray]) -> float:
    """Variation of information, ``H(S | T) + H(T | S)``, mean over the annotators.

    Parameters
    ----------
    labels, truths
        As in `covering`.

    Returns
    -------
    float
        In bits (logarithm to base 2), 0 for equal segmentations, lower is better.

    Raises
    ------
    ValueError
        As `region_metrics`.

    Examples
    --------
    >>> variation_of_information(np.array([[0, 0, 0, 0]]), [np.array([[1, 1, 2, 2]])])
    1.0
    """
    return float(region_metrics([labels], truths).information[0])


def region_summary(images: Iterable[RegionMetrics]) -> dict[str, float]:
    """Scores of a data set, as the BSDS500 benchmark prints them.

    Parameters
    ----------
    images : iterable of RegionMetrics
        All with the same K scales in the same order.

    Returns
    -------
    dict of str to float
        ``covering_ods``, ``covering_ois`` and ``covering_best`` (the best scale for each true
        region), areas pooled over images; ``pri_ods``, ``pri_ois``, ``vi_ods`` and ``vi_ois``,
        means over images; ``covering_scale``, ``pri_scale`` and ``vi_scale``, the index of the
        ODS scale. With one scale ODS, OIS and best are equal.

    Raises
    ------
    ValueError
        If there are no images, or they differ in the number of scales.

    Examples
    --------
    The two halves are best found at the second scale of one image and at the first of the other:

    >>> one, halves = np.zeros((2, 4), int), np.arange(8).reshape(2, 4) % 4 // 2
    >>> images = [region_metrics([one, halves], [halves]), region_metrics([halves, one], [halves])]
    >>> found = region_summary(images)
    >>> found["covering_ods"], found["covering_ois"], found["vi_ods"], found["vi_ois"]
    (0.75, 1.0, 0.5, 0.0)
    """
    images = list(images)
    if not images or len({len(i.rand) for i in images}) != 1:
        raise ValueError(
            "region_summary needs images that all have the same number of scales, got "
            f"{sorted({len(i.rand) for i in images})} scales in {len(images)} images"
        )
    area = sum(i.area.sum() for i in images)
    covered = sum(i.covered.sum(axis=1) for i in images) / area
    rand = np.mean([i.rand for i in images], axis=0)
    information = np.mean([i.information for i in images], axis=0)
    found = {
        "covering_ods": covered.max(),
        "covering_ois": sum(i.covered.sum(axis=1).max() for i in images) / area,
        "covering_best": sum(i.covered.max(axis=0).sum() for i in images) / area,
        "pri_ods": rand.max(),
        "pri_ois": np.mean([i.rand.max() for i in images]),
        "vi_ods": information.min(),
        "vi_ois": np.mean([i.information.min() for i in images]),
    }
    scales = {
        "covering_scale": covered.argmax(),
        "pri_scale": rand.argmax(),
        "vi_scale": information.argmin(),
    }
    return {k: float(v) for k, v in found.items()} | {k: int(v) for k, v in scales.items()}


def _dense(labels: np.ndarray) -> np.ndarray:
    """Labels renamed to 0..n-1."""
    labels = np.asarray(labels)
    if labels.size and 0 <= labels.min() and labels.max() < labels.size:  # no sorting: many times quicker
        used = np.bincount(labels.ravel()) > 0
        return (np.cumsum(used) - 1)[labels]
    return np.unique(labels, return_inverse=True)[1].reshape(labels.shape)


def _joint(truth: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Pixels of every pair of a true region (row) and a segment (column): float64."""
    rows, columns = truth.max() + 1, found.max() + 1
    counts = np.bincount((truth * columns + found).ravel(), minlength=rows * columns)
    return counts.reshape(rows, columns).astype(float)


def _overlaps(joint: np.ndarray) -> np.ndarray:
    return joint / (joint.sum(axis=1, keepdims=True) + joint.sum(axis=0) - joint)


def _rand(joint: np.ndarray) -> float:
    apart = ((joint.sum(axis=1) ** 2).sum() + (joint.sum(axis=0) ** 2).sum()) / 2 - (joint**2).sum()
    n = joint.sum()
    return 1 - apart / max(n * (n - 1) / 2, 1)


def _information(joint: np.ndarray) -> float:
    return max(0.0, 2 * _entropy(joint) - _entropy(joint.sum(axis=1)) - _entropy(joint.sum(axis=0)))


def _entropy(counts: np.ndarray) -> float:
    p = counts[counts > 0] / counts.sum()
    return float(-(p * np.log2(p)).sum())
