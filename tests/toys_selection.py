"""An image whose objects are known, and a capture and maps of it that know them too."""

import numpy as np
import torch

from ultra_kit.types import Capture, ExplanationMaps, Layout

# A 4 x 6 grid of patches of 8 pixels: an object in columns 1 to 2, another in column 4, ground around.
PARTS = np.tile([0, 1, 1, 0, 2, 0], (4, 1))
LAYOUT = Layout("image", n_prefix=1, grid=(4, 6), size=(32, 48))
COLOURS = np.array([[30, 120, 40], [220, 60, 50], [220, 60, 50]], np.uint8)
IMAGE = COLOURS[PARTS].repeat(8, 0).repeat(8, 1)
PIXELS = PARTS.repeat(8, 0).repeat(8, 1)


class Speaking:
    """A model that shares a space with texts: a latent's three numbers are its parts."""

    name, modality = "speaking", "image"

    def encode_text(self, texts):
        return torch.eye(3)[[("ground", "object", "bar").index(t) for t in texts]]

    def project(self, latents):
        return latents


def capture_of(parts=PARTS, model=None, layout=LAYOUT, image=IMAGE):
    latents = torch.eye(3)[torch.tensor([0, *parts.ravel()])]
    return Capture(model or Speaking(), layout, image, (latents, latents), (), {})


def maps_of(parts=PARTS, layout=LAYOUT, leak=0.0):
    """Every token was made from its own part."""
    label = parts.ravel()
    values = np.zeros((label.size, label.size + 1), np.float32)
    values[:, 1:] = (label[:, None] == label) + leak
    return ExplanationMaps(values, layout.content, 1, layout, input=IMAGE, card={})


CAP, MAPS = capture_of(), maps_of(leak=0.01)
