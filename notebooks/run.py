"""Execute notebooks and write an executed copy and one self-contained HTML file of each.

`make run` calls it for every notebook here; by hand: python notebooks/run.py --out build 00_quickstart
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

from ultra_kit import export_html
from ultra_kit.files.notebook_html import notebook_html
from ultra_kit.types.whole_file import write_text

HERE = Path(__file__).parent
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
LIVE = "application/vnd.jupyter.widget-view+json"
FIGURES = ("image/png", "image/svg+xml", "application/vnd.plotly.v1+json")


@dataclass(frozen=True)
class Outcome:
    """What became of one notebook; `error` is empty if every cell ran."""

    name: str
    seconds: float
    size: int
    figures: int
    error: str = ""


def execute(
    path: Path, *, folder: Path, timeout: int = 600, progress=None
) -> tuple[nbformat.NotebookNode, str]:
    """Run a notebook in a fresh kernel of this very Python, with `folder` as its working directory.

    Returns the notebook with its outputs, and what went wrong in words (empty if every cell ran).
    """
    notebook = nbformat.read(path, as_version=4)
    cells = [i for i, cell in enumerate(notebook.cells) if cell.cell_type == "code"]
    # No folders of kernels: only the kernel of the running interpreter is left to choose.
    manager = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=KernelSpecManager(kernel_dirs=[]))
    client = NotebookClient(
        notebook,
        km=manager,
        timeout=timeout,
        record_timing=False,
        store_widget_state=False,
        extra_arguments=["--log-level=ERROR"],
        resources={"metadata": {"path": str(folder)}},
    )
    if progress is not None:
        client.on_cell_execute = lambda cell, cell_index: progress(
            sum(i <= cell_index for i in cells), len(cells)
        )
    error = ""
    # A backend named in the environment would draw into nothing; the kernel chooses its own, inline.
    environment = {k: v for k, v in os.environ.items() if k != "MPLBACKEND"}
    try:
        client.execute(env=environment)
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as failure:
        error = describe(failure, notebook)
    notebook.metadata.pop("widgets", None)
    drop_progress(notebook)
    return notebook, error


def drop_progress(notebook: nbformat.NotebookNode) -> None:
    """Take the progress bars out: a slow machine shows them, and a stored one is an error to read."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [o for o in cell.outputs if LIVE not in o.get("data", {})]


def figures_in(notebook: nbformat.NotebookNode) -> int:
    """Number of outputs that hold a picture."""
    outputs = [o for cell in notebook.cells for o in cell.get("outputs", [])]
    return sum(any(mime in o.get("data", {}) for mime in FIGURES) for o in outputs)


def describe(error: Exception, notebook: nbformat.NotebookNode) -> str:
    """Which cell failed, and the end of its traceback."""
    for number, cell in enumerate(notebook.cells, 1):
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                lines = COLOUR.sub("", "\n".join(output.traceback)).splitlines()
                return f"cell {number} failed:\n" + "\n".join(f"    {line}" for line in lines[-12:])
    return f"{type(error).__name__}: {COLOUR.sub('', str(error))[-2000:]}"


def run_one(path: Path, *, out: Path, store: bool, timeout: int, label: str) -> Outcome:
    """Execute a notebook, write its two files to `out`, and say how it went."""
    show_cells = sys.stdout.isatty()

    def progress(done: int, total: int) -> None:
        if show_cells:
            print(f"\r{label}  cell {done}/{total} ", end="", flush=True)

    print(label, end="" if show_cells else "\n", flush=True)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        notebook, error = execute(path, folder=Path(folder), timeout=timeout, progress=progress)
    seconds = time.perf_counter() - start
    if error:
        print(f"\r{label}  FAILED after {seconds:.0f} s: {error}", flush=True)
    target = out / path.name
    nbformat.write(notebook, target)
    if store and not error:
        nbformat.write(notebook, path)
    page = export_html(target, out / f"{path.stem}.html")
    if not error:
        print(f"\r{label}  done in {seconds:.0f} s ", flush=True)
    return Outcome(path.stem, seconds, page.stat().st_size, figures_in(notebook), error)


def table(outcomes: list[Outcome]) -> str:
    """The closing table: notebook, seconds, size of its page, figures."""
    width = max(len(o.name) for o in outcomes)
    lines = [f"{'notebook':<{width}}  {'seconds':>7}  {'HTML size':>9}  {'figures':>7}"]
    for o in outcomes:
        end = "  FAILED" if o.error else ""
        lines.append(f"{o.name:<{width}}  {o.seconds:>7.1f}  {o.size / 1e6:>6.2f} MB  {o.figures:>7}{end}")
    return "\n".join(lines)


def main() -> int:
    """Run the notebooks named on the command line, or all; 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="notebooks, such as 00_quickstart; all by default")
    parser.add_argument("--out", type=Path, default=Path("build"), help="folder of the results")
    parser.add_argument(
        "--store", action="store_true", help="also store the outputs in the notebooks themselves"
    )
    parser.add_argument(
        "--slides", action="store_true", help="execute nothing: the stored notebooks, cut into slides"
    )
    parser.add_argument("--timeout", type=int, default=600, help="seconds a cell may take")
    options = parser.parse_args()
    found = {path.stem: path for path in sorted(HERE.glob("*.ipynb"))}
    wanted = [Path(name).stem for name in options.names] or list(found)
    unknown = [name for name in wanted if name not in found]
    if unknown or not wanted:
        print(f"no notebook {', '.join(unknown)} in {HERE}; there are: {', '.join(found) or 'none'}")
        return 1
    options.out.mkdir(parents=True, exist_ok=True)
    if options.slides:
        for name in wanted:
            page = write_text(options.out / f"{name}.html", notebook_html(found[name], slides=True))
            print(f"{page}  {page.stat().st_size / 1e6:.2f} MB")
        return 0
    outcomes = [
        run_one(
            found[name],
            out=options.out,
            store=options.store,
            timeout=options.timeout,
            label=f"[{i}/{len(wanted)}] {name}",
        )
        for i, name in enumerate(wanted, 1)
    ]
    print(f"\n{table(outcomes)}\n\nExecuted notebooks and HTML files are in {options.out}/")
    return int(any(o.error for o in outcomes))


if __name__ == "__main__":
    sys.exit(main())
