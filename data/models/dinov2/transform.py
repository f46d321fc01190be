"""The two W of DINOv2, without labels: `python data/models/dinov2/transform.py VOC_ROOT`, an image for each name in its train.txt."""

import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

import ultra_kit as uk
from ultra_kit.data import PascalVOC2012


def main(root: str) -> None:
    """Train on photographs of train.txt, their truth unread, and write two files beside this one: for segments, and for clicks."""
    torch.set_num_threads(1)
    here, photographs = Path(__file__).parent, PascalVOC2012(root, "train")
    train = partial(uk.train_transform, uk.load("dinov2"), metric="hellinger")
    w = train([s.image for s in photographs[::2]], layer=10, affinity="clipped", epochs=6, batch_size=8)
    w.save(here / "transform.safetensors")
    print(w, w.loss)
    w = train([s.image for s in photographs[::3]], layer=12, affinity="below", epochs=1)
    replace(w, matrix=w.matrix.astype(np.float16)).save(here / "clicks.safetensors")
    print(w, w.loss)


if __name__ == "__main__":
    main(sys.argv[1])
