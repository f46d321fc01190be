"""Mean of the teachers of several checkpoints: `python data/models/scenes/average.py RUN/state.pt ... --out FOLDER`.

A teacher is already a moving mean of its student; the mean over two runs that share a start goes on
with that. Writes what `ultra_kit.load` and `train.py --start` read; `config.json` is the last run's.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file

LEFT = ("mask_token", "scale", "bias")


def tensors(checkpoint: dict) -> dict[str, torch.Tensor]:
    """The teacher with the text tower and what else is published."""
    model = checkpoint["model"]
    out = {f"vision.{k}": v for k, v in checkpoint["teacher"].items()}
    out |= {k: v for k, v in model.items() if k.startswith("text.")}
    return out | {"prototypes": checkpoint["proto"]} | {f"training.{k}": model[k] for k in LEFT}


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("checkpoints", nargs="+", type=Path)
    p.add_argument("--out", required=True, type=Path)
    a = p.parse_args()
    parts = [tensors(torch.load(c, map_location="cpu", weights_only=True)) for c in a.checkpoints]
    mean = {
        k: torch.stack([part[k].float() for part in parts]).mean(0).to(v.dtype) for k, v in parts[0].items()
    }
    a.out.mkdir(parents=True, exist_ok=True)
    save_file(mean, a.out / "model.safetensors")
    shutil.copy(a.checkpoints[-1].parent / "config.json", a.out)


if __name__ == "__main__":
    main()
