"""How large the house may be, and that every list of its rooms is the same."""

import ast
import re
import sys
import tomllib
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

import ultra_kit

TOP = Path(__file__).parents[2]
spec = spec_from_file_location("bench_house", TOP / "benchmarks/bench_house.py")
house = sys.modules["bench_house"] = module_from_spec(spec)
spec.loader.exec_module(house)

BARS = house.bars(house.survey())


@pytest.mark.parametrize("name", BARS)
def test_bar(name):
    bar = BARS[name]
    assert bar.figure <= bar.most, bar.of


def test_what_counts_as_code_and_as_docstring():
    source = '''"""Module."""

# comment
SIZE = 3
"""About the size."""


def f(x):
    """One.

    Two.
    """
    text = """no
    docstring"""
    return text  # code with a comment
'''
    docs = house.docstring_lines(ast.parse(source))
    assert sorted(docs) == [1, 5, 9, 10, 11, 12]
    assert house.code_lines(source, docs) == 5  # SIZE, def, text on two lines, return
    assert house.code_lines(source, docs, 8, 15) == 4


def test_a_reader_opens_the_files_of_what_is_used(tmp_path, monkeypatch):
    """Inside a room functions are followed; another room's file counts and is not; types count once."""
    sources = {
        "types/a.py": "class Box: ...",
        "types/b.py": "class Other: ...",
        "maps/verb.py": "from ..types.a import Box\nfrom ..types.b import Other\nfrom .step import step\n"
        "def verb():\n    return step(Box, Other)\ndef unused():\n    from .never import x\n    return x",
        "maps/step.py": "from ..models import load\ndef step(*boxes):\n    return load()",
        "maps/never.py": "x = 1",
        "models/__init__.py": "from .loading import load",
        "models/loading.py": "from .deep import deep\ndef load():\n    return deep()",
        "models/deep.py": "def deep(): ...",
    }
    for name, source in sources.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(source)
    monkeypatch.setattr(house, "ROOT", tmp_path)
    files = {house.module_of(p): p for p in tmp_path.rglob("*.py")}
    monkeypatch.setattr(house, "FILES", files)
    monkeypatch.setattr(house, "TREES", {p: ast.parse(p.read_text()) for p in files.values()})
    assert house.reading("verb", "maps") == {"verb", "step", "loading", "types"}


def test_every_list_names_the_same_rooms_in_the_same_order():
    rooms = list(ultra_kit._ROOMS)
    folders = {p.parent.name for p in (TOP / "ultra_kit").glob("*/__init__.py")}
    assert folders == {*rooms, "cli"}
    assert list(house.ROOMS) == rooms and set(house.CORE) <= set(rooms)
    settings = tomllib.loads((TOP / "pyproject.toml").read_text("utf-8"))["tool"]
    packages = settings["setuptools"]["packages"]
    assert packages == ["ultra_kit", *(f"ultra_kit.{room}" for room in (*rooms, "cli")), "ultra_kit._data"]
    readme = (TOP / "README.md").read_text("utf-8")
    table = readme.split("## Map")[1].split("\n## ")[0]
    assert re.findall(r"^\| `(\w+)/` \|", table, re.M) == [*rooms, "cli"]


def test_tests_lie_in_the_rooms_of_what_they_test():
    folders = {p.name for p in (TOP / "tests").iterdir() if any(p.glob("test_*.py"))}
    assert folders | {"types"} == {*ultra_kit._ROOMS, "cli", "house"}
