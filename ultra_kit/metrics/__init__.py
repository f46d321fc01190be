"""Scores with a known truth: of explanation maps, segments, classes, people's regions and single objects."""

from .confusion import ClassMetrics, confusion, dataset_metrics, image_counts, pooled_metrics
from .map_agreement import average_precision, energy_inside, iou_at_otsu, pointing_game, prevalence
from .masks import box_around, box_iou, corloc, mask_iou, max_f_beta
from .regions import (
    RegionMetrics,
    covering,
    rand_index,
    region_metrics,
    region_summary,
    variation_of_information,
)
from .segment_matching import best_overlap_miou, grid_ceiling, hungarian_miou, patch_labels

__all__ = [
    "ClassMetrics",
    "RegionMetrics",
    "average_precision",
    "best_overlap_miou",
    "box_around",
    "box_iou",
    "confusion",
    "corloc",
    "covering",
    "dataset_metrics",
    "energy_inside",
    "grid_ceiling",
    "hungarian_miou",
    "image_counts",
    "iou_at_otsu",
    "mask_iou",
    "max_f_beta",
    "patch_labels",
    "pointing_game",
    "pooled_metrics",
    "prevalence",
    "rand_index",
    "region_metrics",
    "region_summary",
    "variation_of_information",
]
