"""The notebooks as stored and as executed afresh, and the runner that `make run` uses."""

import ast
import importlib.util
import json
import re
import sys
from pathlib import Path
from statistics import median

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

import ultra_kit as uk

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
PLACES = re.compile(r"/(?:home|Users|root|tmp|work|mnt)/\w|[A-Z]:\\\\Users")
TAUGHT = [
    "00_quickstart",
    "01_synthetic_validation",
    "02_segmentation",
    "03_object_selection",
    "05_atlas",
    "06_bring_your_own_model",
    "07_your_data_set",
]
VIEW = 'document.createElement("iframe")'
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


def faults_of_teaching(path: Path) -> list[str]:
    """What a notebook for a class must not be: long, without a view to touch, its exercise without an answer that was run."""
    cells = nbformat.read(path, as_version=4).cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    found = []
    words = sum(len(cell.source.split()) for cell in cells if cell.cell_type == "markdown")
    if words >= 700:
        found.append(f"{words} words of text, fewer than 700")
    lines = median(len(cell.source.splitlines()) for cell in code)
    if lines > 5:
        found.append(f"the median code cell has {lines} lines, at most 5")
    outputs = [o.get("data", {}) for cell in code for o in cell.outputs]
    if not any(VIEW in o.get("text/html", "") for o in outputs):
        found.append("no view to touch")
    exercises = sum(len(re.findall("^## Exercise", cell.source, re.M)) for cell in cells)
    answers = [cell for cell in code if "answer" in cell.metadata.get("tags", [])]
    if not exercises or len(answers) != exercises or any("assert" not in cell.source for cell in answers):
        found.append(f"{exercises} exercises and {len(answers)} answers, which assert what they say")
    if opened := [
        cell.source for cell in answers if not cell.metadata.get("jupyter", {}).get("source_hidden")
    ]:
        found.append(f"{len(opened)} answers are open")
    return found


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_stored_notebook(path):
    assert faults(path) == []


@pytest.mark.parametrize("name", TAUGHT)
def test_notebook_teaches(name):
    assert faults_of_teaching(FOLDER / f"{name}.ipynb") == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_each_exercise_has_a_folded_answer_that_is_run(path):
    assert [fault for fault in faults_of_teaching(path) if "answers" in fault] == []


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


def test_faults_of_teaching_are_seen(tmp_path):
    """One good notebook, and one fault planted at a time."""
    answer = ran("assert True", **PLAIN)
    answer.metadata.update(tags=["answer"], jupyter={"source_hidden": True})
    view, exercise = ran("1", **{"text/html": f"<script>{VIEW}</script>"}), new_markdown_cell("## Exercise")
    bare, is_open = ran("1", **PLAIN), ran("assert True", **PLAIN)
    bare.metadata.update(answer.metadata)
    is_open.metadata["tags"] = ["answer"]
    for cells, fault in (
        ([view, exercise, answer], None),
        ([view, exercise, answer, new_markdown_cell("word " * 700)], "702 words of text, fewer than 700"),
        (
            [ran("1\n" * 6, **view.outputs[0].data), exercise, answer, ran("1\n" * 6)],
            "the median code cell has 6",
        ),
        ([exercise, answer], "no view to touch"),
        ([view, exercise], "1 exercises and 0 answers"),
        ([view, exercise, bare], "1 exercises and 1 answers, which assert"),
        ([view, exercise, is_open], "1 answers are open"),
    ):
        found = faults_of_teaching(write(tmp_path / "x.ipynb", *cells))
        assert len(found) == bool(fault) and (not fault or found[0].startswith(fault)), (fault, found)


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


@pytest.mark.parametrize(
    "name", ["00_quickstart", "02_segmentation", "03_object_selection", "04_llm_summarization"]
)
def test_without_the_package_index_a_notebook_goes_on_with_a_bundled_model_and_says_so(
    name, monkeypatch, capsys
):
    """What stands round `uk.load` of a fetched model, run where nothing can be fetched."""
    source = "\n".join(
        c.source for c in nbformat.read(FOLDER / f"{name}.ipynb", 4).cells if c.cell_type == "code"
    )
    tries = [node for node in ast.parse(source).body if isinstance(node, ast.Try)]
    (loading,) = [n for n in tries if re.search("load\\(.(dinov2|smollm2)", ast.unparse(n))]
    real = uk.load

    def load(name):
        if name in ("dinov2", "smollm2"):
            raise uk.UltraError(f"cannot fetch {name}: the package index was not reached")
        return real(name)

    monkeypatch.setattr(uk, "load", load)
    names = {"uk": uk}
    exec(compile(ast.Module([loading], []), name, "exec"), names)
    said = capsys.readouterr().out
    assert "the package index was not reached" in said and "GOING ON WITH A SMALL BUNDLED MODEL" in said
    (model,) = [value for value in names.values() if hasattr(value, "module")]
    assert model.name == ("briefs" if name.startswith("04") else "photos")
