"""What benchmarks on real photographs share: a run that goes on where it stopped, paired intervals, tables."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import ultra_kit as uk
from ultra_kit.data import Dataset


class Checkpoint:
    """Results by key in a file of JSON lines, so that a stopped run goes on; the first line holds the options.

    A file made with other options is refused.
    """

    def __init__(self, path: Path, options: Mapping[str, Any]) -> None:
        self.path, self.done = path, dict[str, Any]()
        asked = json.loads(json.dumps(options))
        if path.is_file():
            first, *rest = map(json.loads, path.read_text("utf-8").splitlines())
            if first != asked:
                raise SystemExit(f"{path} was made with {first}, not with {asked}; give another --checkpoint")
            self.done = dict(rest)
        else:
            path.write_text(json.dumps(asked) + "\n", "utf-8")

    def __contains__(self, key: str) -> bool:
        return key in self.done

    def __getitem__(self, key: str) -> Any:
        return self.done[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.done[key] = value
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps([key, value]) + "\n")


def arguments(description: str, checkpoint: str, data: str) -> argparse.ArgumentParser:
    """The options that all of them have."""
    parser = argparse.ArgumentParser(description=description.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help=data)
    parser.add_argument("--model", default="dinov2", help="what ultra_kit.load takes")
    parser.add_argument("--seed", type=int, default=0, help="draws photographs and tokens")
    parser.add_argument(
        "--checkpoint", type=Path, default=Path(checkpoint), help="a stopped run goes on here"
    )
    parser.add_argument("--report", action="store_true", help="only print what the checkpoint holds")
    return parser


def start(model: str) -> Any:
    """The model, on one thread."""
    torch.set_num_threads(1)
    return uk.load(model)


def some_of(data: Dataset, count: int, seed: int) -> list[int]:
    """Indices of `count` images, drawn, ascending."""
    return sorted(
        np.random.default_rng([seed, len(data)])
        .choice(len(data), min(count, len(data)), replace=False)
        .tolist()
    )


def paired(
    ours: Sequence[float], other: Sequence[float], groups: Sequence[Any], draws: int = 10_000
) -> tuple[float, float, float]:
    """Mean of `ours` less `other`, and its 95 % bootstrap interval: whole groups (photographs) are drawn again."""
    apart = np.subtract(ours, other)
    _, index = np.unique(np.asarray(groups), return_inverse=True)
    total, count = np.bincount(index, apart), np.bincount(index)
    drawn = np.random.default_rng(0).integers(len(total), size=(draws, len(total)))
    means = total[drawn].sum(1) / count[drawn].sum(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(apart.mean()), float(low), float(high)


def interval(found: tuple[float, float, float]) -> str:
    return f"{found[0]:+.3f} ({found[1]:+.3f} to {found[2]:+.3f})"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def command() -> str:
    """How this was run."""
    return f"`python benchmarks/{Path(sys.argv[0]).name} {shlex.join(a for a in sys.argv[1:] if a != '--report')}`"
