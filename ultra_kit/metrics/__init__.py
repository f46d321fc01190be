"""Scores with a known truth: of explanation maps, segments, classes, people's regions and single objects."""

from .confusion import ClassScores, confusion, dataset_scores, image_counts, pooled_scores
from .maps import average_precision, energy_inside, iou_at_otsu, pointing_game, prevalence
from .objects import box_around, box_iou, corloc, mask_iou, max_f_beta
from .regions import (
    RegionScores,
    covering,
    rand_index,
    region_scores,
    region_summary,
    variation_of_information,
)
from .segments import best_overlap_miou, grid_ceiling, hungarian_miou, patch_labels

__all__ = [
    "ClassScores",
    "RegionScores",
    "average_precision",
    "best_overlap_miou",
    "box_around",
    "box_iou",
    "confusion",
    "corloc",
    "covering",
    "dataset_scores",
    "energy_inside",
    "grid_ceiling",
    "hungarian_miou",
    "image_counts",
    "iou_at_otsu",
    "mask_iou",
    "max_f_beta",
    "patch_labels",
    "pointing_game",
    "pooled_scores",
    "prevalence",
    "rand_index",
    "region_scores",
    "region_summary",
    "variation_of_information",
]
