"""W for DINOv2, without labels: `python data/models/dinov2/transform.py VOC_ROOT`, an image for each name in its train.txt."""

import sys
from pathlib import Path

import torch

import ultra_kit as uk
from ultra_kit.data import PascalVOC2012


def main(root: str, every: int = 3) -> None:
    """Train on every third photograph of train.txt, their truth unread, and write transform.safetensors beside this file."""
    torch.set_num_threads(1)
    images = [sample.image for sample in PascalVOC2012(root, "train")[::every]]
    w = uk.train_transform(
        uk.load("dinov2"), images, layer=12, affinity="below", metric="hellinger", epochs=1
    )
    w.save(Path(__file__).parent / "transform.safetensors")
    print(w, w.loss)


if __name__ == "__main__":
    main(sys.argv[1])
