"""The lists that have to agree: folders and packages, requirements and the lock."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[2]


def requirements(name):
    lines = (ROOT / name).read_text("utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_folder_of_the_package_is_in_the_wheel():
    listed = set(
        tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["packages"]
    )
    folders = {".".join(p.parent.relative_to(ROOT).parts) for p in (ROOT / "ultra_kit").rglob("__init__.py")}
    assert listed == {*folders, "ultra_kit._data"}


def test_every_file_beside_the_code_is_in_the_wheel():
    """Scripts, styles and templates: what the package reads with importlib.resources."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    package = ROOT / "ultra_kit"
    there = {p for p in package.rglob("*") if p.is_file() and p.suffix not in (".py", ".pyc")}
    assert there == {p for pattern in settings["package-data"]["ultra_kit"] for p in package.glob(pattern)}


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-test.txt"])
def test_requirements_are_floors_that_the_lock_satisfies(name):
    locked = {normal(r.name): str(r.specifier) for r in requirements("requirements-lock.txt")}
    for wanted in requirements(name):
        assert [s.operator for s in wanted.specifier] == [">="], f"{wanted} is no floor"
        pin = locked[normal(wanted.name)]
        assert pin.startswith("==")
        assert Version(pin.removeprefix("==")) in wanted.specifier


def test_the_lock_names_versions_only():
    for line in (ROOT / "requirements-lock.txt").read_text("utf-8").splitlines():
        assert line.startswith("#") or re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9._+]+", line), line


def test_torch_and_torchvision_stand_together():
    names = [r.name for r in requirements("requirements.txt")]
    assert "torchvision" in names and names.index("torchvision") == names.index("torch") + 1


def test_the_versions_of_python_are_said_alike():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    versions = re.findall(r"Python :: (3\.\d+)", "\n".join(project["classifiers"]))
    oldest, newest = versions[0], versions[-1]
    assert versions == sorted(versions, key=Version) and project["requires-python"] == f">={oldest}"
    said = f"With Python {oldest} or newer (tested on {oldest} and {newest})"
    assert said in (ROOT / "README.md").read_text("utf-8")
    for file in ("Makefile", "README.md", ".ci/lowest"):
        assert f"python{oldest}" in (ROOT / file).read_text("utf-8")


def test_the_examples_of_the_makefile_exist():
    text = (ROOT / "Makefile").read_text("utf-8")
    for target in ("run", "test", "lowest", "lab", "bench", "format", "notebooks", "help"):
        assert re.search(rf"^{target}:", text, re.M)
