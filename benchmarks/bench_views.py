"""What a view costs: pointer to picture in a browser, a click that asks the kernel, the size of a file.

Run it with ``python benchmarks/bench_views.py``; it needs a Chromium. The bars are 16 ms from pointer
to picture at 784 tokens, 1.5 forward-and-backward passes a click (ViT-B/16, random weights), and 2 MB
for the file of a ViT-B/16 image with all layers.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from playwright.sync_api import sync_playwright
from timm.models.vision_transformer import VisionTransformer

import ultra_kit as uk

REPEATS = 7
# Times a pointer event from its own time stamp: to the end of the view's work on it, and to the next frame.
LISTEN = """() => {
  window.times = [];
  window.addEventListener("pointermove", (event) => {
    const done = performance.now();
    requestAnimationFrame(() => window.times.push([done - event.timeStamp, performance.now() - event.timeStamp]));
  });
}"""


def noise_maps(grid: tuple[int, int], layer: int) -> uk.ExplanationMaps:
    """Random maps of all patches of an image of noise: the worst to pack, and to draw as any."""
    rng = np.random.default_rng(layer)
    layout = uk.Layout("image", n_prefix=1, grid=grid, size=(16 * grid[0], 16 * grid[1]))
    values = rng.random((layout.n_content, layout.n_tokens), np.float32) ** 4
    image = rng.integers(0, 255, (*layout.size, 3), np.uint8)
    return uk.ExplanationMaps(values, layout.content, layer, layout, input=image)


def hover(path: Path) -> np.ndarray:
    """Move the pointer over every seventh patch of a page: milliseconds, (moves, 2)."""
    chromium = next(p for name in ("chromium", "google-chrome") if (p := shutil.which(name)))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(path.as_uri())
        page.wait_for_selector("[data-token]")
        page.evaluate(LISTEN)
        box = page.locator(".uk-pointed").bounding_box()
        for cell in range(0, 784, 7):
            row, column = divmod(cell, 28)
            page.mouse.move(
                box["x"] + (column + 0.5) * box["width"] / 28, box["y"] + (row + 0.5) * box["height"] / 28
            )
        times = page.evaluate("window.times")
        browser.close()
    return np.array(times[5:])


def busy(run: Callable[[], object]) -> float:
    """Median processor seconds of a call; other work on the machine does not count."""
    run()
    spent = []
    for _ in range(REPEATS):
        start = time.process_time()
        run()
        spent.append(time.process_time() - start)
    return statistics.median(spent)


def click() -> tuple[float, float]:
    """Processor seconds of one click that asks the kernel, and of one forward-and-backward pass."""
    torch.set_num_threads(1)
    model = VisionTransformer(num_classes=0).eval()
    image = np.random.default_rng(0).integers(0, 255, (224, 224, 3), np.uint8)
    cap = uk.capture(model, image)
    view = uk.widgets.TokenExplorer(cap)
    tokens = iter(range(1, 197))
    asked = {"side": 0, "kind": "ULTra: norm, positive", "layer": 12}
    pixels = torch.randn(1, 3, 224, 224)

    def both() -> None:
        model.zero_grad()
        model(pixels).norm().backward()

    return busy(lambda: view.answer({**asked, "token": next(tokens)})), busy(both)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        times = hover(uk.export_html(noise_maps((28, 28), 12), f"{folder}/hover.html"))
        view = uk.widgets.TokenExplorer([noise_maps((14, 14), k) for k in range(1, 13)])
        size = uk.export_html(view, f"{folder}/vit.html").stat().st_size
    for name, column in (("pointer to canvas", times[:, 0]), ("pointer to next frame", times[:, 1])):
        print(
            f"{name}, 784 tokens: median {np.median(column):.1f} ms, 95 % below {np.quantile(column, 0.95):.1f} ms"
        )
    asked, passes = click()
    print(f"a click that asks the kernel, ViT-B/16 layer 12: {asked:.2f} s of one core, ", end="")
    print(f"{asked / passes:.2f} forward-and-backward passes ({passes:.2f} s)")
    print(f"file of 12 layers of ViT-B/16 maps (noise, the worst case): {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
