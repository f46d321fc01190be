"""The external matrix W: trained without labels, on a frozen model, so that maps agree with themselves.

With W the score of a token is ||W z|| in place of ||z|| (ULTra, arXiv 2411.12589, which does not give
its loss in full): the model stays as it is, and W says which directions of a latent count.
"""

from .consistency import self_consistency
from .result import Transform
from .training import train_transform

__all__ = ["Transform", "self_consistency", "train_transform"]
