"""The rooms of the package: each imports only rooms above it, and the core knows no view."""

import ast
from pathlib import Path

import pytest

import ultra_kit

ROOT = Path(ultra_kit.__file__).parent
CORE = """types rle synthetic models gallery capture scores engine planning progress relevance heads gradients baselines segmentation selection words language
evidence faithfulness perturbation transform embedding metrics clicks datasets classes evaluate validation storage
verification""".split()
VIEWS = "plots pictures pages widgets notebook_html export cli __main__".split()
ROOMS = CORE + VIEWS
VIEW_LIBRARIES = {"matplotlib", "plotly", "ipywidgets", "anywidget", "IPython", "nbconvert", "nbformat"}
KNOWN_BY = {"timm": {"models"}, "transformers": {"models"}, "typer": {"cli"}}
FILES = sorted(ROOT.rglob("*.py"))


def room_of(path: Path) -> str:
    """The room a file belongs to: the first part of its path inside the package."""
    return path.relative_to(ROOT).with_suffix("").parts[0]


def imports(source: str, path: Path) -> list[tuple[str, str]]:
    """(top-level package, room or "") of every import, those inside functions included, type checking left out."""
    found = []
    depth = len(path.relative_to(ROOT).parts)
    for node in _runtime_nodes(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [(*alias.name.split("."), "")[:2] for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == depth:  # from . or .room, seen from the top
            names = [node.module] if node.module else [alias.name for alias in node.names]
            found += [("ultra_kit", name.split(".")[0]) for name in names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.append((*str(node.module).split("."), "")[:2])
    return found


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
    return faults


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
        assert room_of(path) in ROOMS, "a new room: put it into the list above, where it belongs"
        assert layering_faults(source, path) == []
    assert style_faults(source) == []


@pytest.mark.parametrize(
    ("room", "line", "fault"),
    [
        ("types", "from .plots import show_map", "types imports plots, which lies below it"),
        ("types", "from . import export", "types imports export, which lies below it"),
        ("relevance", "def f():\n    import matplotlib.pyplot", "relevance imports matplotlib"),
        ("relevance", "import ultra_kit.segmentation", "relevance imports segmentation, which lies below it"),
        (
            "plots",
            "from timm.models import create_model",
            "plots imports timm, which only {'models'} may know",
        ),
        ("models/timm", "from ..capture import capture", "models imports capture, which lies below it"),
    ],
)
def test_a_forbidden_import_is_seen(room, line, fault):
    assert layering_faults(line, ROOT / f"{room}.py") == [fault]


def test_forbidden_words_are_seen():
    source = "try:\n    assert 1\nexcept:\n    print(2)"
    assert sorted(style_faults(source)) == ["line 2: assert", "line 3: bare except", "line 4: print()"]


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.js")), ids=lambda p: p.name)
def test_view_scripts_take_text_as_text(path):
    source = path.read_text("utf-8")
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"):
        assert word not in source
