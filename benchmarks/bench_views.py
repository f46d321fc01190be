"""What a view costs: pointer to picture in a browser, a click that asks the kernel, frames of a plane, the size of a file.

Run it with ``python benchmarks/bench_views.py [--json FILE]``; it needs a Chromium. The bars are 16 ms
from pointer to picture at 784 tokens, 1.5 forward-and-backward passes a click (ViT-B/16, random weights),
and 2 MB for the file of a ViT-B/16 image with all layers; 60 frames per second while a plane of 50,000 tokens is moved, and
4 MB for the page of 10,000. A workbench of a large model must open without waiting for
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
from dataclasses import replace
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


# Moves the plane of an EmbeddingExplorer a little for each of 300 frames; gives milliseconds from frame to frame, of the
# whole frame's script (from its start to the first task after it) and of drawing the points.
MOVE = """async () => {
  const box = document.querySelector(".uk-emb-plot");
  const { left, top } = box.getBoundingClientRect();
  box.setPointerCapture = () => {};
  const send = (type, x, y) => box.dispatchEvent(new PointerEvent(type, { pointerId: 1, clientX: x, clientY: y, bubbles: true }));
  let [x, y] = [left + 300, top + 250];
  send("pointerdown", x, y);
  const found = [];
  let last = await new Promise(requestAnimationFrame);
  for (let k = 0; k < 300; k++) {
    x += 3 * Math.cos(k / 20);
    y += 3 * Math.sin(k / 20);
    send("pointermove", x, y);
    const now = await new Promise(requestAnimationFrame);
    const start = performance.now();
    await new Promise((done) => {
      const channel = new MessageChannel();
      channel.port1.onmessage = done;
      channel.port2.postMessage(0);
    });
    found.push([now - last, performance.now() - start, Number(box.dataset.work)]);
    last = now;
  }
  send("pointerup", x, y);
  return found;
}"""


# Lets the points of an EmbeddingExplorer move to the atlas beside; gives milliseconds from frame to frame until they are there.
GLIDE = """async () => {
  [...document.querySelectorAll("button")].find((one) => one.textContent === "by map").click();
  const shown = document.querySelector("[data-moved]").dataset;
  const found = [];
  let last = await new Promise(requestAnimationFrame);
  while (shown.moved !== "true") {
    const now = await new Promise(requestAnimationFrame);
    found.push(now - last);
    last = now;
  }
  return found;
}"""


def noise_embedding(m: int, per_input: int) -> uk.atlas.Embedding:
    """Random tokens of smooth pictures, 24 clusters, maps of noise: nothing of it packs well."""
    rng = np.random.default_rng(0)
    labels = rng.integers(-1, 24, m).astype(np.int32)
    points = (rng.normal(size=(25, 2))[labels] * 8 + rng.normal(size=(m, 2))).astype(np.float32)
    source = np.stack([np.arange(m) // per_input, 1 + np.arange(m) % per_input], axis=1).astype(np.int32)
    layout = uk.types.Layout("image", n_prefix=1, grid=(16, 16), size=(224, 224))
    coarse = rng.integers(0, 255, (m // per_input, 20, 20, 3), np.uint8)
    inputs = tuple(
        uk.atlas.PlacedInput(layout, np.kron(c, np.ones((8, 8, 1), np.uint8)), name=f"{i}.jpg")
        for i, c in enumerate(coarse)
    )
    mapped = rng.integers(1, 257, (m, 16)).astype(np.int32), rng.random((m, 16)).astype(np.float32)
    sure, vectors = np.ones(m, np.float32), rng.normal(size=(m, 3)).astype(np.float16)
    return uk.atlas.Embedding(points, labels, sure, source, vectors, inputs, mapped=mapped)


def beside(emb: uk.atlas.Embedding) -> uk.atlas.Embedding:
    """Another atlas of the same tokens, in no order that the first has."""
    rng = np.random.default_rng(1)
    return replace(emb, by="map", points=rng.permutation(emb.points), vectors=rng.permutation(emb.vectors))


def moving(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Milliseconds (frames, 3) while the plane of a page is moved: between frames, their script, drawing the points.

    And (frames,), from frame to frame, while its points move to the atlas beside.
    """
    chromium = next(p for name in BROWSERS if (p := shutil.which(name)))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=BROWSER_ARGS)
        page = browser.new_page(viewport={"width": 1100, "height": 900})
        page.goto(path.as_uri())
        page.wait_for_selector("[data-zoom][data-sheet]")
        page.wait_for_timeout(500)
        found = np.array(page.evaluate(MOVE))
        page.wait_for_timeout(500)
        glide = np.array(page.evaluate(GLIDE))
        browser.close()
    return found[10:], glide[2:]


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
        few = uk.export_html(noise_embedding(10_000, 100), f"{folder}/few.html")
        found["embedding_megabytes"] = few.stat().st_size / 1e6
        pair = uk.widgets.EmbeddingExplorer(
            noise_embedding(10_000, 100), beside=beside(noise_embedding(10_000, 100))
        )
        found["embedding_pair_megabytes"] = uk.export_html(pair, f"{folder}/pair.html").stat().st_size / 1e6
        many = noise_embedding(50_000, 100)
        view = uk.widgets.EmbeddingExplorer(many, beside=beside(many))
        frames, glide = moving(uk.export_html(view, f"{folder}/many.html"))
        found["load_at_moving"] = os.getloadavg()[0]
        view = uk.widgets.TokenExplorer([noise_maps((14, 14), k) for k in range(1, 13)])
        found["file_megabytes"] = uk.export_html(view, f"{folder}/vit.html").stat().st_size / 1e6
    for name, column in zip(("work", "canvas", "frame"), times.T, strict=True):
        found[f"hover_{name}_ms_median"] = float(np.median(column))
        found[f"hover_{name}_ms_95"] = float(np.quantile(column, 0.95))
    for name, column in zip(("between", "script", "points"), frames.T, strict=True):
        for part, share in (("least", 0.05), ("median", 0.5), ("95", 0.95)):
            found[f"frame_{name}_ms_{part}"] = float(np.quantile(column, share))
    for part, share in (("median", 0.5), ("95", 0.95)):
        found[f"glide_ms_{part}"] = float(np.quantile(glide, share))
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
    print("a plane of 50,000 tokens while it is moved (milliseconds: 5 %, median, 95 %):")
    for name, text in (
        ("between", "from frame to frame"),
        ("script", "a frame's work"),
        ("points", "its points"),
    ):
        parts = ", ".join(f"{found[f'frame_{name}_ms_{part}']:.1f}" for part in ("least", "median", "95"))
        print(f"  {text}: {parts}")
    print(
        f"  from frame to frame while its points move to the atlas beside: median {found['glide_ms_median']:.1f}, "
        f"95 % below {found['glide_ms_95']:.1f}"
    )
    print(f"  (load of the machine {found['load_at_moving']:.1f} on {found['processors']} processors)")
    print(
        f"page of an embedding of 10,000 tokens (noise, the worst case): {found['embedding_megabytes']:.2f} MB, "
        f"with another beside {found['embedding_pair_megabytes']:.2f} MB"
    )
    print(f"file of 12 layers of ViT-B/16 maps (noise, the worst case): {found['file_megabytes']:.2f} MB")


if __name__ == "__main__":
    main()
