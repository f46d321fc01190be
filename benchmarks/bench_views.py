"""What a view costs: pointer to picture in a browser, a click that asks the kernel, the size of a file.

Run it with ``python benchmarks/bench_views.py [--json FILE]``; it needs a Chromium. The bars are 16 ms
from pointer to picture at 784 tokens, 1.5 forward-and-backward passes a click (ViT-B/16, random weights),
and 2 MB for the file of a ViT-B/16 image with all layers. A workbench of a large model must open without waiting for
the whole maps of all tokens.

Other work on the machine stands between a pointer and its picture too, so the load is reported, and beside
the waiting the work: processor time of all Chromium's processes for one move of the pointer.
"""

from __future__ import annotations

import argparse
import json
import os
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
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROWSER_ARGS = "--no-sandbox --disable-gpu --no-first-run --disable-background-networking".split()
# Times a pointer event from its own time stamp: to the view's work on it, to the end of that work (the canvas is
# painted), and to the end of the frame that shows it (the first task after the frame's style, layout and paint).
LISTEN = """() => {
  window.times = [];
  let begun = 0;
  window.addEventListener("pointermove", () => { begun = performance.now(); }, true);
  window.addEventListener("pointermove", (event) => {
    const [from, start, done] = [event.timeStamp, begun, performance.now()];
    requestAnimationFrame(() => {
      const channel = new MessageChannel();
      channel.port1.onmessage = () => window.times.push([done - start, done - from, performance.now() - from]);
      channel.port2.postMessage(0);
    });
  });
}"""


def noise_maps(grid: tuple[int, int], layer: int) -> uk.types.ExplanationMaps:
    """Random maps of all patches of an image of noise: the worst to pack, and to draw as any."""
    rng = np.random.default_rng(layer)
    layout = uk.types.Layout("image", n_prefix=1, grid=grid, size=(16 * grid[0], 16 * grid[1]))
    values = rng.random((layout.n_content, layout.n_tokens), np.float32) ** 4
    image = rng.integers(0, 255, (*layout.size, 3), np.uint8)
    return uk.types.ExplanationMaps(values, layout.content, layer, layout, input=image)


def spent_by_chromium() -> float:
    """Processor seconds of all processes of Chromium so far; NaN where the system has no /proc."""
    total = 0.0 if Path("/proc/self/stat").exists() else float("nan")
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            name, _, rest = (entry / "stat").read_text().partition("(")[2].rpartition(")")
        except OSError:
            continue  # ended meanwhile
        if name.startswith("chrom"):
            total += sum(map(int, rest.split()[11:13])) / os.sysconf("SC_CLK_TCK")
    return total


def hover(path: Path) -> tuple[np.ndarray, float]:
    """Move the pointer over every seventh patch of a page, twice.

    Gives milliseconds (moves, 3): work of the view, to the canvas, to the frame; and processor milliseconds a move.
    """
    chromium = next(p for name in BROWSERS if (p := shutil.which(name)))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=BROWSER_ARGS)
        page = browser.new_page()
        page.goto(path.as_uri())
        page.wait_for_selector("[data-token]")
        page.evaluate(LISTEN)
        box = page.locator(".uk-pointed").bounding_box()
        cells = [*range(0, 784, 7), *range(0, 784, 7)]
        before = spent_by_chromium()
        for cell in cells:
            row, column = divmod(cell, 28)
            page.mouse.move(
                box["x"] + (column + 0.5) * box["width"] / 28, box["y"] + (row + 0.5) * box["height"] / 28
            )
            page.wait_for_timeout(20)  # a hand is no faster
        spent = 1000 * (spent_by_chromium() - before) / len(cells)
        times = page.evaluate("window.times")
        browser.close()
    return np.array(times[5:]), spent


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


def opening() -> dict[str, float]:
    """Processor seconds until a workbench of DINOv2 on a photograph is there, live or as a page, and of all whole maps."""
    torch.set_num_threads(1)
    model, image = uk.load("dinov2"), uk.data.photograph("chelsea")
    cap = uk.capture(model, image)
    one = busy(lambda: uk.explain(cap, layer=12, since=0, tokens=[100]))
    made = [uk.widgets.workbench(model, image)]
    return {
        "workbench_seconds": busy(lambda: uk.widgets.workbench(model, image)),
        "workbench_page_seconds": busy(lambda: made[0].fragment(with_still=False)),
        "capture_seconds": busy(lambda: uk.capture(model, image)),
        "whole_maps_seconds": one * cap.layout.n_content,
    }


def measure() -> dict[str, float]:
    """All figures by name, with the load of the machine (processes that want a processor) meanwhile."""
    found: dict[str, float] = {"processors": os.cpu_count() or 1}
    with tempfile.TemporaryDirectory() as folder:
        times, found["chromium_cpu_ms_per_move"] = hover(
            uk.export_html(noise_maps((28, 28), 12), f"{folder}/hover.html")
        )
        found["load_at_hover"] = os.getloadavg()[0]
        view = uk.widgets.TokenExplorer([noise_maps((14, 14), k) for k in range(1, 13)])
        found["file_megabytes"] = uk.export_html(view, f"{folder}/vit.html").stat().st_size / 1e6
    for name, column in zip(("work", "canvas", "frame"), times.T, strict=True):
        found[f"hover_{name}_ms_median"] = float(np.median(column))
        found[f"hover_{name}_ms_95"] = float(np.quantile(column, 0.95))
    found["click_seconds"], found["forward_and_backward_seconds"] = click()
    found |= opening()
    found["click_passes"] = found["click_seconds"] / found["forward_and_backward_seconds"]
    return found


def main() -> None:
    options = argparse.ArgumentParser(description="What a view costs.")
    options.add_argument("--json", type=Path, help="also write the figures there")
    path = options.parse_args().json
    found = measure()
    if path:
        path.write_text(json.dumps(found, indent=1))
    for name, text in (
        ("work", "the view's own work on a pointer event"),
        ("canvas", "pointer to canvas"),
        ("frame", "pointer to the end of its frame"),
    ):
        median, most = found[f"hover_{name}_ms_median"], found[f"hover_{name}_ms_95"]
        print(f"{text}, 784 tokens: median {median:.1f} ms, 95 % below {most:.1f} ms")
    print(f"Chromium's processor time a move: {found['chromium_cpu_ms_per_move']:.1f} ms ", end="")
    print(f"(load of the machine {found['load_at_hover']:.1f} on {found['processors']} processors)")
    print(
        f"a click that asks the kernel, ViT-B/16 layer 12: {found['click_seconds']:.2f} s of one core, ",
        end="",
    )
    print(
        f"{found['click_passes']:.2f} forward-and-backward passes ({found['forward_and_backward_seconds']:.2f} s)"
    )
    print(
        f"workbench of dinov2 on a photograph: {found['workbench_seconds']:.2f} s of one core "
        f"({found['capture_seconds']:.2f} of them the capture), its page {found['workbench_page_seconds']:.2f} s; "
        f"the whole maps of all tokens: {found['whole_maps_seconds']:.0f} s"
    )
    print(f"file of 12 layers of ViT-B/16 maps (noise, the worst case): {found['file_megabytes']:.2f} MB")


if __name__ == "__main__":
    main()
