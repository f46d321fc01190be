"""Everything that makes the maps S_i: one forward pass (`capture`), the scores and the one engine (`explain`, `plan`), and the baselines beside it."""

from .explanation import ConstantNormWarning, Interrupted, explain, make_maps
from .forward_pass import capture
from .heads import head_shares
from .planning import Plan, plan
from .shares import complete, explain_share, medoids

__all__ = [
    "ConstantNormWarning",
    "Interrupted",
    "Plan",
    "capture",
    "complete",
    "explain",
    "explain_share",
    "head_shares",
    "make_maps",
    "medoids",
    "plan",
]
