"""A small model of nobody's family, which can break the rules, and an image for it."""

import numpy as np
import torch
from torch import nn

import ultra_kit as uk

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)


class OwnModule(nn.Module):
    """Patches of 8 x 8, nn.MultiheadAttention, no prefix; `fault` makes it break the rules."""

    def __init__(self, fault=""):
        super().__init__()
        self.patch = nn.Conv2d(3, 16, 8, 8)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(16, 2, 32, 0.1, batch_first=True, norm_first=fault != "post-norm")
            for _ in range(3)
        )
        self.fault = fault

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        first = x
        for i, block in enumerate(self.blocks):
            if self.fault == "raises" and i == 2:
                raise RuntimeError("broken")
            if self.fault == "detach" and i == 1:
                x = x.detach()
            if self.fault == "shrink" and i == 1:
                x = x[:, ::2]
            if self.fault == "skip" and i == 2:
                x = x + first
            x = block(x)
            first = x if i == 0 else first
        return x


def own_model(fault=""):
    torch.manual_seed(0)
    return uk.load(OwnModule(fault), size=(16, 24), grid=(2, 3), n_prefix=0)
