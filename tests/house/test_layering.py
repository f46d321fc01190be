"""The rooms of the package: each imports only rooms above it, and the core knows no view."""

import ast
from pathlib import Path

import pytest

import ultra_kit

ROOT = Path(ultra_kit.__file__).parent
ROOMS = [*ultra_kit._ROOMS, "cli", "__main__"]  # from above to below
CORE = ROOMS[: ROOMS.index("plots")]
VIEW_LIBRARIES = {"matplotlib", "plotly", "ipywidgets", "anywidget", "IPython", "nbconvert", "nbformat"}
KNOWN_BY = {"timm": {"models"}, "transformers": {"models"}, "typer": {"cli"}}
FILES = sorted(ROOT.rglob("*.py"))


def room_of(path: Path) -> str:
    """The room a file belongs to: the first part of its path inside the package."""
    return path.relative_to(ROOT).with_suffix("").parts[0]


def imports(source: str, path: Path) -> list[tuple[str, str]]:
    """(top-level package, room or "") of every import, those inside functions included, type checking left out."""
    found = []
    package = ("ultra_kit", *path.relative_to(ROOT).parts[:-1])
    for node in _runtime_nodes(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [(*alias.name.split("."), "")[:2] for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = (*base, *(node.module or "").split(".")) if node.module else base
            found += [(*module, alias.name)[:2] for alias in node.names]
    return found


def paths_into_rooms(source: str) -> set[str]:
    """Rooms that a source reads by path: ``files("ultra_kit") / "widgets"``, or the name of a file that lies there."""
    nodes = list(ast.walk(ast.parse(source)))
    paths = [ast.unparse(n) for n in nodes if isinstance(n, (ast.Call, ast.BinOp))]
    here = [p for p in paths if "__file__" in p or "files(" in p]
    named = {n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)}
    owned = {f.name: room_of(f) for f in ROOT.rglob("*.*") if f.suffix in (".js", ".css", ".html")}
    return {room for room in ROOMS if any(f"'{room}'" in p for p in here)} | {
        owned[n] for n in named & owned.keys()
    }


def _runtime_nodes(tree):
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        yield node
        yield from _runtime_nodes(node)


def layering_faults(source: str, path: Path) -> list[str]:
    room = room_of(path)
    faults = []
    for package, other in imports(source, path):
        if package == "ultra_kit" and other in ROOMS and ROOMS.index(other) > ROOMS.index(room):
            faults.append(f"{room} imports {other}, which lies below it")
        if room in CORE and package in VIEW_LIBRARIES:
            faults.append(f"{room} imports {package}")
        if package in KNOWN_BY and room not in KNOWN_BY[package]:
            faults.append(f"{room} imports {package}, which only {KNOWN_BY[package]} may know")
    below = {other for other in paths_into_rooms(source) if ROOMS.index(other) > ROOMS.index(room)}
    return faults + [f"{room} reads files of {other}, which lies below it" for other in sorted(below)]


def style_faults(source: str) -> list[str]:
    faults = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Assert):
            faults.append(f"line {node.lineno}: assert")
        elif isinstance(node, ast.ExceptHandler) and node.type is None:
            faults.append(f"line {node.lineno}: bare except")
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in ("print", "eval")
        ):
            faults.append(f"line {node.lineno}: {node.func.id}()")
    return faults


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_file_keeps_the_rules(path):
    source = path.read_text("utf-8")
    if path != ROOT / "__init__.py":
        assert room_of(path) in ROOMS, "a new room: put it into ultra_kit._ROOMS, where it belongs"
        assert layering_faults(source, path) == []
    assert style_faults(source) == []


@pytest.mark.parametrize(
    ("path", "line", "fault"),
    [
        ("types/objects", "from ..plots import show_map", "types imports plots, which lies below it"),
        ("types/objects", "from .. import files", "types imports files, which lies below it"),
        ("maps/engine", "def f():\n    import matplotlib.pyplot", "maps imports matplotlib"),
        ("maps/engine", "import ultra_kit.images", "maps imports images, which lies below it"),
        (
            "maps/engine",
            "from ultra_kit.images.segmentation import cut",
            "maps imports images, which lies below it",
        ),
        (
            "plots/style",
            "from timm.models import create_model",
            "plots imports timm, which only {'models'} may know",
        ),
        (
            "models/timm_models",
            "from ..maps.engine import row_chunks",
            "models imports maps, which lies below it",
        ),
        (
            "plots/style",
            'Path(__file__).parent.parent / "widgets" / "a.css"',
            "plots reads files of widgets, which lies below it",
        ),
        (
            "runs/records",
            'files("ultra_kit").joinpath("widgets", name)',
            "runs reads files of widgets, which lies below it",
        ),
    ],
)
def test_a_forbidden_import_is_seen(path, line, fault):
    assert layering_faults(line, ROOT / f"{path}.py") == [fault]


def test_a_file_name_says_what_is_in_it():
    names = [path.stem for path in FILES if not path.stem.startswith("__")]
    assert sorted({name for name in names if names.count(name) > 1}) == []


def test_no_verb_has_the_name_of_a_module():
    modules = {path.stem for path in FILES}
    assert {name for name in ultra_kit.__all__ if name in modules and name not in ultra_kit._MODULES} == set()


def test_forbidden_words_are_seen():
    source = "try:\n    assert 1\nexcept:\n    print(2)"
    assert sorted(style_faults(source)) == ["line 2: assert", "line 3: bare except", "line 4: print()"]


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.js")), ids=lambda p: p.name)
def test_view_scripts_take_text_as_text(path):
    source = path.read_text("utf-8")
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"):
        assert word not in source
