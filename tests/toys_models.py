"""Small models: of nobody's family, which can break the rules; worked by hand; and of random weights."""

import numpy as np
import torch
from torch import nn

import ultra_kit as uk
from ultra_kit.types import Capture, Layout

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


class Mixer:
    """Token j is (grey - 25) along axis j, so a blank image has none; the one block mixes them to (1, 2, 2, 4)."""

    name, modality, module, n_blocks = "mixer", "image", torch.nn.Identity(), 1

    def prepare(self, x):
        return {"x": torch.tensor(x[::2, ::2, 0].reshape(4) - 25.0)}, Layout("image", 0, (2, 2), (4, 4)), x

    def run(self, inputs):
        start = torch.diag(inputs["x"])
        return [start, self.run_from(inputs, start[None], 1)[0]], []

    def run_from(self, inputs, embeddings, layer):
        mix = torch.tensor([[-1 / 15, -2 / 5, 2 / 5, 4 / 15]], dtype=embeddings.dtype).repeat(4, 1)
        return mix @ embeddings

    def head(self, latents):
        return None

    def card(self):
        return {}


def mixed():
    """A capture of `Mixer`, whose four patches have the greys 10, 20, 30 and 40; their mean is 25."""
    greys = np.array([[10, 20], [30, 40]], np.uint8)
    model = Mixer()
    inputs, layout, original = model.prepare(greys.repeat(2, 0).repeat(2, 1)[..., None].repeat(3, 2))
    latents, steps = model.run(inputs)
    return Capture(model, layout, original, tuple(latents), tuple(steps), inputs)


def loud_briefs():
    """The bundled causal model and tokenizer, with random weights large enough to tell tokens apart, in float64."""
    torch.manual_seed(0)
    model = uk.load("briefs", pretrained=False)
    for p in model.module.parameters():
        if p.ndim > 1:
            torch.nn.init.normal_(p, std=0.15)
    model.module.double()
    return model
