"""One run of a real JupyterLab: a click in the page reaches Python, and Python redraws the page."""

import os
import socket
import subprocess
import sys
import time
import urllib.request

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PATIENCE = 240  # seconds for a step; a busy machine is slow, not wrong
CELLS = [
    """import numpy as np, ultra_kit as uk
layout = uk.types.Layout("image", n_prefix=1, grid=(3, 5), size=(60, 100))
values = np.random.default_rng(0).random((15, 16), np.float32)
maps = uk.types.ExplanationMaps(values, layout.content, 4, layout, input=np.zeros((60, 100, 3), np.uint8))
view = uk.widgets.TokenExplorer(maps)
view.live()""",
    'print("the kernel has token", view.pinned)',
    "view.pinned = 15",
    "view",
]


@pytest.fixture
def lab(tmp_path):
    """Address of a JupyterLab with a home of its own, and a notebook in it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    cells = [new_code_cell(source) for source in CELLS]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": kernel}), tmp_path / "live.ipynb")
    names = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR", "HOME")
    homes = {name: str(tmp_path / "home" / name) for name in names}
    for folder in homes.values():
        os.makedirs(folder)
    options = [f"--port={port}", "--ip=127.0.0.1", "--no-browser", f"--notebook-dir={tmp_path}"]
    options += ["--ServerApp.port_retries=0", "--IdentityProvider.token=tok", "--expose-app-in-browser"]
    options += ["--allow-root", "--LabApp.extension_manager=readonly", "--LabApp.news_url="]
    log = (tmp_path / "lab.log").open("w")
    server = subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", *options],
        env={**os.environ, **homes},
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    try:
        _wait_for(f"http://127.0.0.1:{port}/api?token=tok", server)
        yield f"http://127.0.0.1:{port}/lab/tree/live.ipynb?token=tok&reset"
    finally:
        server.terminate()
        server.wait(30)
        log.close()


def _wait_for(address, server):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if server.poll() is not None:
            pytest.fail(f"JupyterLab ended with {server.returncode}")
        try:
            urllib.request.urlopen(address, timeout=5).close()
        except OSError:
            time.sleep(0.5)
        else:
            return
    pytest.fail("JupyterLab did not start")


def run_cell(page, index):
    page.evaluate(
        """async (index) => {
            const panel = window.jupyterapp.shell.currentWidget;
            panel.content.activeCellIndex = index;
            panel.content.deselectAll();
            await window.jupyterapp.commands.execute("notebook:run-cell");
        }""",
        index,
    )


def test_a_click_reaches_python_and_python_redraws_the_page(browser, lab):
    page = browser.new_page(viewport={"width": 1200, "height": 1000})
    page.set_default_timeout(PATIENCE * 1000)
    asked, problems = [], []
    page.on("request", lambda r: asked.append(r.url))
    page.on("pageerror", lambda e: problems.append(str(e)))
    page.goto(lab)
    page.wait_for_selector(".jp-Notebook .jp-CodeCell")
    page.wait_for_function(
        "window.jupyterapp.shell.currentWidget.sessionContext?.session?.kernel?.status === 'idle'"
    )
    run_cell(page, 0)
    view = page.locator(".jp-OutputArea [data-token]")
    view.wait_for()
    assert view.get_attribute("data-token") == "8"  # the middle patch
    picture = page.locator(".jp-OutputArea .uk-pointed")
    picture.scroll_into_view_if_needed()
    box = picture.bounding_box()
    page.mouse.click(box["x"] + 0.7 * box["width"], box["y"] + 0.2 * box["height"])  # patch (0, 3), token 4
    page.wait_for_selector(".jp-OutputArea [data-token='4']")
    run_cell(page, 1)
    page.get_by_text("the kernel has token 4").wait_for()
    page.mouse.move(0, 0)
    run_cell(page, 2)
    page.wait_for_selector(".jp-OutputArea [data-token='15']")
    run_cell(page, 3)  # what is stored: a frame, not a widget
    page.wait_for_selector(".jp-OutputArea iframe[sandbox]")
    frame = next(f for f in page.frames if f.parent_frame is not None)
    frame.wait_for_selector("[data-token='15']")
    assert [url for url in asked if not url.startswith((lab[:21], "ws://127", "data:", "blob:"))] == []
    assert problems == []
    page.close()
