"""The picture on the front page: what four tokens of a photograph were made from, by a real model.

Run as ``python data/pictures/draw.py``.
"""

from pathlib import Path

import ultra_kit as uk

POINTS = ((188, 115), (262, 190), (60, 30), (420, 250))  # an eye, the nose, the forehead, the ground


def main() -> None:
    """Write ``both_eyes.png`` beside this file."""
    cap = uk.capture(uk.load("dinov2"), uk.data.photograph("chelsea"))
    maps = uk.explain(cap, layer=10, tokens=[cap.layout.token_at(x, y) for x, y in POINTS])
    figure = uk.plots.token_grid(maps, smooth=True)
    figure.savefig(Path(__file__).parent / "both_eyes.png", dpi=100, bbox_inches="tight")


if __name__ == "__main__":
    main()
