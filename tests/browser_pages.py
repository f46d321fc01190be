"""What several browser tests read from a page or do to it."""

import base64
import json
import time

import numpy as np
from matplotlib import colormaps

from ultra_kit.widgets import page_host

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
    rows = [ev.row(w).astype(float) for w in words]
    row = rows[0] if len(rows) == 1 else sum(row / row.sum() for row in rows)  # no word rules a sentence
    levels = np.floor(255 * row / row.max() + 0.5).astype(int)
    return [SHADES[k].tolist() if k else None for k in levels]


def wait_for_summary(page, **values):
    """Until the view says that it shows these."""
    for name, value in values.items():
        page.wait_for_function(
            "([n, v]) => [...document.querySelectorAll('[data-chosen]')].some((e) => e.dataset[n] === v)",
            arg=[name, value],
        )


def alive(view, path):
    """A page of a view that believes in a kernel: what it sends waits in window.sent."""
    fragment = page_host.view(view._name, {**view.data(), **view.state, "has_kernel": True})
    for old, new in (
        ("send: () => {},", "send: (message) => { (window.sent ||= []).push(message); },"),
        (
            "render({ model: makeModel(state), el });",
            "window.model = makeModel(state); render({ model, el });",
        ),
        ("const listeners = {};", "const listeners = (window.listeners = {});"),
    ):
        assert fragment.count(old) == 1
        fragment = fragment.replace(old, new)
    path.write_text(page_host.page(fragment, title="alive"), "utf-8")
    return path


def answer(page, view):
    """Let Python answer the oldest question of the page; gives the question."""
    page.wait_for_function("window.sent && window.sent.length")
    message = page.evaluate("window.sent.shift()")
    content, buffers = view.answer(message)
    page.evaluate(
        """([content, packed]) => listeners["msg:custom"].forEach((f) => f(content, packed.map((text) =>
          new DataView(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer))))""",
        [json.loads(json.dumps(content)), [base64.b64encode(b).decode() for b in buffers]],
    )
    return message
