"""Metrics with a known truth: of explanation maps, segments, classes, annotators' regions, single objects and clicks."""

from .clicks import Clicks, next_click, simulate_clicks
from .confusion import ClassMetrics, confusion, dataset_metrics, image_counts, pooled_metrics
from .map_agreement import average_precision, energy_inside, iou_at_otsu, pointing_game, prevalence
from .masks import box_around, mask_iou
from .regions import RegionMetrics, region_metrics, region_summary
from .segment_matching import grid_ceiling, hungarian_miou, patch_labels

__all__ = [
    "ClassMetrics",
    "Clicks",
    "RegionMetrics",
    "average_precision",
    "box_around",
    "confusion",
    "dataset_metrics",
    "energy_inside",
    "grid_ceiling",
    "hungarian_miou",
    "image_counts",
    "iou_at_otsu",
    "mask_iou",
    "next_click",
    "patch_labels",
    "pointing_game",
    "pooled_metrics",
    "prevalence",
    "region_metrics",
    "region_summary",
    "simulate_clicks",
]
