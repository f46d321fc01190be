"""Scores with a known truth: of explanation maps, of segments, of classes and of people's regions."""

from .maps import average_precision, energy_inside, iou_at_otsu, pointing_game, prevalence
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
    "RegionScores",
    "average_precision",
    "best_overlap_miou",
    "covering",
    "energy_inside",
    "grid_ceiling",
    "hungarian_miou",
    "iou_at_otsu",
    "patch_labels",
    "pointing_game",
    "prevalence",
    "rand_index",
    "region_scores",
    "region_summary",
    "variation_of_information",
]
