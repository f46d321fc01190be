"""What benchmarks share that choose among the options of methods: a family of them is a method with its choices."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Measures = dict[str, dict[str, float]]
Families = Mapping[str, Mapping[str, Any]]


def choose(
    measure: Callable[[Mapping[str, Any]], Measures], families: Families
) -> tuple[dict[str, tuple[str, Any]], Measures]:
    """The choice of each family with the best average precision, and that of every choice."""
    flat = {f"{f}: {c}": make for f, choices in families.items() for c, make in choices.items()}
    measured = measure(flat)
    every = {f: {c: measured[f"{f}: {c}"]["AP"] for c in choices} for f, choices in families.items()}
    best = {}
    for f, choices in every.items():
        for c in sorted(choices, key=lambda c: -choices[c]):
            print(f"  {choices[c]:.3f}  {f}: {c}")
            best.setdefault(f, (c, families[f][c]))
    return best, every


def show(measured: Measures, choices: Mapping[str, str]) -> None:
    """Print the measures of every method, the best average precision first."""
    for name, row in sorted(measured.items(), key=lambda kv: -kv[1]["AP"]):
        figures = "  ".join(f"{measure} {value:.3f}" for measure, value in row.items())
        print(f"  {name:26s} {figures}   {choices.get(name, '')}")
