"""For every test: fixed seeds, and no network but this machine's own."""

import os
import random
import shutil
import socket
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

settings.register_profile("untimed", deadline=None)  # a busy machine is no fault of the code
settings.load_profile("untimed")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["MPLBACKEND"] = "agg"

LOCAL = ("127.0.0.1", "::1", "localhost")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROWSER_ARGS = (
    "--no-sandbox --disable-gpu --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()


@pytest.fixture(autouse=True)
def _seeds():
    import torch

    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - libraries under test may draw from it
    torch.manual_seed(0)


@pytest.fixture(autouse=True, scope="session")
def _no_network():
    """A test that reaches for another machine fails where it does so."""
    connect, connect_ex = socket.socket.connect, socket.socket.connect_ex

    def guarded(real):
        def call(self, address):
            if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in LOCAL:
                raise OSError(f"tests use no network, asked for {address}")
            return real(self, address)

        return call

    socket.socket.connect, socket.socket.connect_ex = guarded(connect), guarded(connect_ex)
    yield
    socket.socket.connect, socket.socket.connect_ex = connect, connect_ex


def _chromium() -> str | None:
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium; without one the test is skipped, or fails where ULTRA_KIT_REQUIRE_BROWSER is set."""
    path = _chromium()
    if path is None:
        missing = "no Chromium found: install one (Debian: apt-get install chromium) to run the browser tests"
        if os.environ.get("ULTRA_KIT_REQUIRE_BROWSER"):
            pytest.fail(missing)
        pytest.skip(missing)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=BROWSER_ARGS)
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser):
    """Opens a file; afterwards nothing may have been asked of the network, and nothing have gone wrong."""
    from browser_pages import wait_until

    context = browser.new_context(offline=True)
    page = context.new_page()
    page.set_default_timeout(120_000)  # a busy machine is slow, not wrong
    page.wait_for_function = lambda script, *, arg=None: wait_until(page, script, arg)
    requests, problems = [], []
    page.on("request", lambda r: requests.append(r.url))
    page.on("pageerror", lambda e: problems.append(str(e)))
    page.on("console", lambda m: problems.append(m.text) if m.type in ("error", "warning") else None)

    def visit(path: Path):
        page.goto(path.as_uri())
        return page

    yield visit
    context.close()
    outside = [url for url in requests if not url.startswith(("file:", "data:", "blob:"))]
    assert outside == []
    assert len([url for url in requests if url.startswith("file:")]) == 1
    own = [text for text in problems if "willReadFrequently" in text]  # the test's own reading of a canvas
    assert [text for text in problems if text not in own] == []


def pytest_terminal_summary(terminalreporter):
    """Say aloud that the browser tests did not run."""
    if _chromium() is None:
        terminalreporter.write_line(
            "BROWSER TESTS SKIPPED: no Chromium found. Debian and Ubuntu: apt-get install chromium; "
            "others: put chromium or google-chrome on the PATH.",
            yellow=True,
        )
