"""Every public name is explained, and every example in an explanation runs."""

import ast
import doctest
import importlib
import inspect
import pkgutil

import pytest

import ultra_kit

MODULES = sorted(
    info.name
    for info in pkgutil.walk_packages(ultra_kit.__path__, "ultra_kit.")
    # A command's docstring is its help text, and importing __main__ would run it.
    if not any(part in info.name for part in ("._data", ".cli", ".__main__"))
)
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def public_functions(module):
    """Functions and classes that a module defines without a leading underscore, and the classes' own methods."""
    for name, thing in vars(module).items():
        if name.startswith("_") or getattr(thing, "__module__", None) != module.__name__:
            continue
        if inspect.isfunction(thing) or inspect.isclass(thing):
            yield name, thing


def missing_sections(name, thing) -> list[str]:
    """What a docstring lacks."""
    doc = inspect.getdoc(thing) or ""
    if not doc:
        return [f"{name}: no docstring"]
    if not inspect.isfunction(inspect.unwrap(thing)):
        return []
    tree = ast.parse(inspect.cleandoc("\n" + inspect.getsource(inspect.unwrap(thing)))).body[0]
    arguments = [a.arg for a in (*tree.args.posonlyargs, *tree.args.args, *tree.args.kwonlyargs)]
    lacks = []
    if arguments and "Parameters\n-----" not in doc:
        lacks.append(f"{name}: no Parameters section")
    for argument in arguments:
        if "Parameters\n-----" in doc and argument not in doc:
            lacks.append(f"{name}: {argument} is not explained")
    returns = ast.unparse(tree.returns) if tree.returns else "None"
    if returns not in ("None", "NoReturn") and "Returns\n-----" not in doc and "Yields\n-----" not in doc:
        lacks.append(f"{name}: no Returns section")
    return lacks


@pytest.mark.parametrize("module", [m for m in MODULES if "._" not in m])
def test_public_functions_are_explained(module):
    loaded = importlib.import_module(module)
    lacks = [line for name, thing in public_functions(loaded) for line in missing_sections(name, thing)]
    assert lacks == []


@pytest.mark.parametrize("name", [n for n in ultra_kit.__all__ if not n.startswith("_")])
def test_exported_names_have_an_example(name):
    thing = getattr(ultra_kit, name)
    doc = inspect.getdoc(thing) or ""
    assert doc, f"{name} has no docstring"
    if inspect.isfunction(inspect.unwrap(thing)):
        assert ">>>" in doc, f"{name} has no example"


def test_a_missing_section_is_seen():
    def bare(x: int) -> int:
        """Do something."""
        return x

    assert missing_sections("bare", bare) == ["bare: no Parameters section", "bare: no Returns section"]


@pytest.mark.parametrize("module", MODULES)
def test_examples_run(module, tmp_path, monkeypatch):
    """The doctests of a module, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    failed, _ = doctest.testmod(importlib.import_module(module), optionflags=FLAGS)
    assert failed == 0
    assert list(tmp_path.iterdir()) == [], "an example left a file behind"
