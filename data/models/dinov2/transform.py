"""W for DINOv2, without labels: `python data/models/dinov2/transform.py VOC_ROOT`, an image for each name in its train.txt."""

import sys
from pathlib import Path

import torch

import ultra_kit as uk
from ultra_kit.data import PascalVOC2012


def main(root: str) -> None:
    """Train on every second photograph of train.txt, their truth unread, and write transform.safetensors beside this file."""
    torch.set_num_threads(1)
    images = [sample.image for sample in PascalVOC2012(root, "train")[::2]]
    model = uk.load("dinov2")
    w = uk.train_transform(
        model, images, layer=10, affinity="clipped", metric="hellinger", epochs=6, batch_size=8
    )
    w.save(Path(__file__).parent / "transform.safetensors")
    print(w, w.loss)


if __name__ == "__main__":
    main(sys.argv[1])
