"""What the maps are for in images: segments that nobody labelled (`segment`), the object under a click, a box or a phrase (`select`), and masks as run-length codes."""

from .clustering import METHODS, METRICS, segment
from .run_length import from_rle, to_rle
from .segmentation import Segmentation
from .selecting import select
from .selection import Selection

__all__ = ["METHODS", "METRICS", "Segmentation", "Selection", "from_rle", "segment", "select", "to_rle"]
