"""The notebooks as stored and as executed afresh, and the runner that `make run` uses."""

import importlib.util
import json
import re
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
PLACES = re.compile(r"/(?:home|Users|root|tmp|work|mnt)/\w|[A-Z]:\\\\Users")
FORBIDDEN = ("application/vnd.jupyter.widget-view+json", "application/javascript")

spec = importlib.util.spec_from_file_location("run_notebooks", FOLDER / "run.py")
runner = importlib.util.module_from_spec(spec)
sys.modules["run_notebooks"] = runner
spec.loader.exec_module(runner)


def faults(path: Path) -> list[str]:
    """What a stored notebook must not have."""
    text = path.read_text("utf-8")
    notebook = nbformat.reads(text, as_version=4)
    found = []
    if len(text) > 3_000_000:
        found.append(f"{len(text)} bytes, at most 3 MB")
    if "widgets" in notebook.metadata:
        found.append("widget state is stored")
    code = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    if [cell.execution_count for cell in code] != list(range(1, len(code) + 1)):
        found.append("not executed from top to bottom")
    for number, cell in enumerate(notebook.cells, 1):
        if cell.cell_type == "code" and len(cell.source.splitlines()) > 15:
            found.append(f"cell {number}: more than 15 lines")
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                found.append(f"cell {number}: an error is stored")
            found += [f"cell {number}: {mime}" for mime in FORBIDDEN if mime in output.get("data", {})]
            plain = {k: v for k, v in output.get("data", {}).items() if not k.startswith("image/")}
            if PLACES.search(json.dumps([plain, output.get("text", "")])):
                found.append(f"cell {number}: a path of some machine")
    if not any(cell.outputs for cell in code):
        found.append("no outputs are stored")
    return found


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_stored_notebook(path):
    assert faults(path) == []


@pytest.mark.notebook
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_runs(path, tmp_path):
    notebook, error = runner.execute(path, folder=tmp_path, timeout=600)
    assert error == ""
    # The same pictures as are stored: none is lost, none is only there after a click.
    assert runner.figures_in(notebook) == runner.figures_in(nbformat.read(path, as_version=4))


def write(path, *cells, **metadata):
    nbformat.write(new_notebook(cells=list(cells), metadata=metadata), path)
    return path


def ran(source, count=1, **output):
    return new_code_cell(source, execution_count=count, outputs=[new_output("display_data", output)])


PLAIN = {"text/plain": "1"}


@pytest.mark.parametrize(
    ("cells", "fault"),
    [
        ([ran("1", **PLAIN), new_markdown_cell("text")], None),
        ([ran("1\n" * 16, **PLAIN)], "cell 1: more than 15 lines"),
        ([ran("1", 2, **PLAIN)], "not executed from top to bottom"),
        ([ran("1", **{FORBIDDEN[0]: {}})], f"cell 1: {FORBIDDEN[0]}"),
        ([ran("1", **{"text/plain": "/home/ada/x.png"})], "cell 1: a path of some machine"),
        ([new_code_cell("1", execution_count=1)], "no outputs are stored"),
        ([ran("1", **{"text/plain": "1" * 3_000_001})], None),
    ],
)
def test_faults_of_stored_notebooks_are_seen(tmp_path, cells, fault):
    found = faults(write(tmp_path / "x.ipynb", *cells))
    if fault is None:
        assert found == [] or "at most 3 MB" in found[0]
    else:
        assert found == [fault]


def test_stored_errors_and_widget_state_are_seen(tmp_path):
    error = new_output("error", ename="ValueError", evalue="no", traceback=[])
    cell = new_code_cell("1", execution_count=1, outputs=[error])
    found = faults(write(tmp_path / "x.ipynb", cell, widgets={"state": {}}))
    assert found == ["widget state is stored", "cell 1: an error is stored"]


@pytest.mark.notebook
def test_the_runner_reports_failures_and_goes_on(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(runner, "HERE", tmp_path)
    picture = "import IPython.display as d\nd.Image(data=b'\\x89PNG\\r\\n\\x1a\\n' + b'0' * 24, format='png')"
    write(
        tmp_path / "a_bad.ipynb",
        new_markdown_cell("# Bad"),
        new_code_cell("def f():\n    raise ValueError('oh no')\nf()"),
    )
    write(tmp_path / "b_good.ipynb", new_code_cell(picture), new_code_cell("open('left.txt', 'w').close()"))
    before = {p.name: p.read_bytes() for p in tmp_path.glob("*.ipynb")}
    out = tmp_path / "build"
    monkeypatch.setattr(sys, "argv", ["run.py", "--out", str(out)])
    assert runner.main() == 1
    said = capsys.readouterr().out
    assert "a_bad  FAILED" in said and "cell 2 failed" in said and "ValueError: oh no" in said
    assert "\x1b[" not in said
    row = next(line.split() for line in said.splitlines() if line.startswith("b_good"))
    assert row[0] == "b_good" and row[-1] == "1"
    assert {p.name for p in out.iterdir()} == {"a_bad.ipynb", "a_bad.html", "b_good.ipynb", "b_good.html"}
    assert {p.name: p.read_bytes() for p in tmp_path.glob("*.ipynb")} == before
    assert not (tmp_path / "left.txt").exists()
    # --store writes the outputs back, but only of notebooks that ran.
    monkeypatch.setattr(sys, "argv", ["run.py", "--out", str(out), "--store", "b_good"])
    assert runner.main() == 0
    stored = nbformat.read(tmp_path / "b_good.ipynb", as_version=4)
    assert runner.figures_in(stored) == 1 and "execution" not in stored.cells[0].metadata


def test_the_runner_names_what_is_missing(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(sys, "argv", ["run.py", "--out", str(tmp_path), "99_nothing"])
    assert runner.main() == 1
    assert "no notebook 99_nothing" in capsys.readouterr().out
