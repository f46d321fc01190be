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


DOORS = [ultra_kit, *(importlib.import_module(f"ultra_kit.{room}") for room in ultra_kit._ROOMS)]
PUBLIC = {
    f"{door.__name__}.{name}": thing
    for door in DOORS
    for name in door.__all__
    if inspect.isfunction(inspect.unwrap(thing := getattr(door, name))) or inspect.isclass(thing)
}


def own_functions(module):
    """Functions and classes that a module defines without a leading underscore."""
    for name, thing in vars(module).items():
        if not name.startswith("_") and getattr(thing, "__module__", None) == module.__name__:
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


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names_are_explained(name):
    assert missing_sections(name, PUBLIC[name]) == []


@pytest.mark.parametrize("module", MODULES)
def test_internal_functions_say_what_they_do(module):
    assert [
        n for n, thing in own_functions(importlib.import_module(module)) if not inspect.getdoc(thing)
    ] == []


@pytest.mark.parametrize("name", ultra_kit.__all__)
def test_verbs_have_an_example(name):
    thing = getattr(ultra_kit, name)
    assert inspect.getdoc(thing)
    if inspect.isfunction(inspect.unwrap(thing)):
        assert ">>>" in inspect.getdoc(thing), f"{name} has no example"


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
