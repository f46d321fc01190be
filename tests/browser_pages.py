"""What several browser tests read from a page or do to it."""

import time

import numpy as np
from matplotlib import colormaps

HOSTILE = [
    "</script><script>window.pwned = 1</script>",
    '<img src=x onerror="window.pwned = 1">',
    "<!-- <script>",
    "line\u2028separator",
    "\u202eשלום\u202c",
    "long " + "x" * 10_000,
]
SHADES = colormaps["YlOrBr"](np.linspace(0, 0.62, 256), bytes=True)[:, :3]


def wait_until(page, script, arg=None, timeout=120_000):
    """Ask the page until it says yes. (Playwright's own wait asks again by `eval`, which the policy forbids.)"""
    end = time.monotonic() + timeout / 1000
    while not page.evaluate(script, arg):
        assert time.monotonic() < end, f"never true: {script}"
        page.wait_for_timeout(50)


def summary_word(page, number):
    return page.locator(f'.uk-sum-said [data-word="{number}"]')


def summary_shades(page, panel=0):
    """The colour behind every word of a document, None where there is none."""
    return (
        page.locator(".uk-sum-panel")
        .nth(panel)
        .evaluate(
            """panel => [...panel.querySelectorAll(".uk-sum-word")].map((span) => {
          const found = getComputedStyle(span).backgroundColor.match(/^rgb\\((\\d+), (\\d+), (\\d+)\\)$/);
          return found ? found.slice(1).map(Number) : null; })"""
        )
    )


def expected_shades(ev, words):
    row = sum(ev.row(w).astype(float) for w in words)
    levels = np.floor(255 * row / row.max() + 0.5).astype(int)
    return [SHADES[k].tolist() if k else None for k in levels]


def wait_for_summary(page, **values):
    """Until the view says that it shows these."""
    for name, value in values.items():
        page.wait_for_function(
            "([n, v]) => [...document.querySelectorAll('[data-chosen]')].some((e) => e.dataset[n] === v)",
            arg=[name, value],
        )
