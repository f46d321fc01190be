"""The region metrics of the BSDS500 benchmark: one segmentation against those of several annotators.

As in Arbelaez, Maire, Fowlkes and Malik, "Contour Detection and Hierarchical Image Segmentation"
(2011). A method may give several segmentations, one per *scale* (a threshold, a number of segments):
ODS is the best single scale for the whole data set, OIS the best scale of each image.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from .contingency import contingency, distinct, table_overlap


@dataclass(frozen=True, eq=False)
class RegionMetrics:
    """Metrics of one image at K scales against the R regions that all its annotators drew, float64.

    `covered` (K, R) has the pixels of each true region times its overlap (IoU) with the best segment, `area` (R,)
    its pixels. Means over the annotators: `rand` (K,), the probabilistic Rand index, the share of pixel pairs on
    which both agree that they are together or apart; `information` (K,), the variation of information
    ``H(S | T) + H(T | S)`` in bits, where less is better.
    """

    covered: np.ndarray
    area: np.ndarray
    rand: np.ndarray
    information: np.ndarray

    @property
    def covering(self) -> np.ndarray:
        """Mean of the best overlaps, weighted by area, at each scale: float64 of shape (K,), in [0, 1]."""
        return self.covered.sum(axis=1) / self.area.sum()


def region_metrics(segmentations: Sequence[np.ndarray], truths: Sequence[np.ndarray]) -> RegionMetrics:
    """Compare the segmentations of one image with those of its annotators.

    Parameters
    ----------
    segmentations, truths : sequence of ndarray of int, shape (H, W)
        One segmentation for each of K scales, one truth for each annotator; the labels are names
        only. None at all, or different shapes, are a ValueError.

    Returns
    -------
    RegionMetrics

    Examples
    --------
    >>> halves = np.array([[0, 0, 1, 1]])
    >>> found = region_metrics([np.zeros_like(halves)], [halves])
    >>> found.covering, found.information
    (array([0.5]), array([1.]))
    """
    found, true = ([distinct(x)[1] for x in given] for given in (segmentations, truths))
    shapes = {x.shape for x in (*found, *true)}
    if not found or not true or len(shapes) != 1:
        raise ValueError(
            f"region_metrics needs at least one segmentation and one truth, all of one shape, got {len(found)} and "
            f"{len(true)} of shapes {sorted(shapes)}"
        )
    covered, rand, information = [], [], []
    for s in found:
        tables = [contingency(t, s).astype(float) for t in true]
        covered.append(np.concatenate([n.sum(1) * table_overlap(n).max(axis=1) for n in tables]))
        rand.append(np.mean([_rand(n) for n in tables]))
        information.append(np.mean([_information(n) for n in tables]))
    area = np.concatenate([n.sum(axis=1) for n in tables])
    return RegionMetrics(np.stack(covered), area, np.array(rand), np.array(information))


def region_summary(images: Iterable[RegionMetrics]) -> dict[str, float]:
    """Metrics of a data set, as the BSDS500 benchmark prints them.

    Parameters
    ----------
    images : iterable of RegionMetrics
        At least one, all with the same K scales in the same order, else a ValueError.

    Returns
    -------
    dict of str to float
        ``covering_ods``, ``covering_ois`` and ``covering_best`` (the best scale for each true
        region), areas pooled over images; ``pri_ods``, ``pri_ois``, ``vi_ods`` and ``vi_ois``,
        means over images; ``covering_scale``, ``pri_scale`` and ``vi_scale``, the index of the
        ODS scale. With one scale ODS, OIS and best are equal.

    Examples
    --------
    >>> one, halves = np.zeros((2, 4), int), np.arange(8).reshape(2, 4) % 4 // 2
    >>> images = [region_metrics([one, halves], [halves]), region_metrics([halves, one], [halves])]
    >>> found = region_summary(images)
    >>> found["covering_ods"], found["covering_ois"], found["vi_ods"], found["vi_ois"]
    (0.75, 1.0, 0.5, 0.0)
    """
    images = list(images)
    scales = {len(i.rand) for i in images}
    if len(scales) != 1:
        raise ValueError(
            "region_summary needs images that all have the same number of scales, got "
            f"{sorted(scales)} scales in {len(images)} images"
        )
    area = sum(i.area.sum() for i in images)
    covered = sum(i.covered.sum(axis=1) for i in images) / area
    rand = np.mean([i.rand for i in images], axis=0)
    information = np.mean([i.information for i in images], axis=0)
    return {
        "covering_ods": float(covered.max()),
        "covering_ois": float(sum(i.covered.sum(axis=1).max() for i in images) / area),
        "covering_best": float(sum(i.covered.max(axis=0).sum() for i in images) / area),
        "pri_ods": float(rand.max()),
        "pri_ois": float(np.mean([i.rand.max() for i in images])),
        "vi_ods": float(information.min()),
        "vi_ois": float(np.mean([i.information.min() for i in images])),
        "covering_scale": int(covered.argmax()),
        "pri_scale": int(rand.argmax()),
        "vi_scale": int(information.argmin()),
    }


def _rand(table: np.ndarray) -> float:
    apart = ((table.sum(axis=1) ** 2).sum() + (table.sum(axis=0) ** 2).sum()) / 2 - (table**2).sum()
    n = table.sum()
    return 1 - apart / max(n * (n - 1) / 2, 1)


def _information(table: np.ndarray) -> float:
    return max(0.0, 2 * _entropy(table) - _entropy(table.sum(axis=1)) - _entropy(table.sum(axis=0)))


def _entropy(counts: np.ndarray) -> float:
    p = counts[counts > 0] / counts.sum()
    return float(-(p * np.log2(p)).sum())
