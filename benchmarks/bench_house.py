"""How large the house is: rooms, arrows upwards, lines of code and of docstrings, the door, and what a reader opens.

    python benchmarks/bench_house.py

Code lines are those without docstrings (of modules, classes, functions and constants), comments and blanks. A reader of
`explain` or `select` opens the file of the verb and, from there, each file whose names are used on the way: inside the room
every function is followed; a name of another room is an arrow, its file counts and is not followed; a class is a box, its
file counts and its methods are not followed; `types`, which every file shares, counts once.
"""

from __future__ import annotations

import ast
import itertools
import re
from pathlib import Path

import ultra_kit

ROOT = Path(ultra_kit.__file__).parent
ROOMS = (
    "types",
    "models",
    "maps",
    "images",
    "text",
    "atlas",
    "metrics",
    "data",
    "runs",
    "plots",
    "widgets",
    "files",
)
CORE = ("types", "models", "maps", "images", "text")
DOOR = "cli"


def docstring_lines(tree: ast.Module) -> set[int]:
    """Numbers of the lines that docstrings take, those below constants included."""
    found: set[int] = set()
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if not isinstance(body, list):
            continue
        holders = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        texts = body[:1] if isinstance(node, holders) else []
        texts += [b for a, b in itertools.pairwise(body) if isinstance(a, (ast.Assign, ast.AnnAssign))]
        for text in texts:
            if (
                isinstance(text, ast.Expr)
                and isinstance(text.value, ast.Constant)
                and isinstance(text.value.value, str)
            ):
                found |= set(range(text.lineno, (text.end_lineno or text.lineno) + 1))
    return found


def code_lines(source: str, docs: set[int], first: int = 1, last: int | None = None) -> int:
    """Lines from `first` to `last` that are neither blank, comment nor docstring."""
    lines = list(enumerate(source.split("\n"), 1))[first - 1 : last]
    return sum(bool(line.strip()) and not line.strip().startswith("#") and n not in docs for n, line in lines)


def room_of(path: Path) -> str:
    """The room that a file lies in; the top files are the door's own."""
    parts = path.relative_to(ROOT).parts
    return parts[0] if len(parts) > 1 else "door"


def module_of(path: Path) -> tuple[str, ...]:
    """Dotted parts of a file's module inside the package."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


FILES = {module_of(p): p for p in sorted(ROOT.rglob("*.py"))}
TREES = {p: ast.parse(p.read_text("utf-8")) for p in FILES.values()}


def sources(path: Path) -> dict[str, Path]:
    """Every name that a file imports from the package, and the file that defines it."""
    found: dict[str, Path] = {}
    package = module_of(path) if path.name == "__init__.py" else module_of(path)[:-1]
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = (
                *package[: len(package) - node.level + 1],
                *(node.module.split(".") if node.module else ()),
            )
            for alias in node.names:
                name = alias.asname or alias.name
                if (*base, alias.name) in FILES:
                    found[name] = FILES[(*base, alias.name)]
                elif base in FILES:
                    found[name] = defined_in(FILES[base], alias.name)
    return found


def defined_in(path: Path, name: str) -> Path:
    """The file behind a re-export."""
    if path.name != "__init__.py":
        return path
    return sources(path).get(name, path)


def definition(path: Path, name: str) -> ast.AST | None:
    """The function, class or constant of a name."""
    for node in TREES[path].body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if getattr(node, "name", None) == name or any(getattr(t, "id", None) == name for t in targets):
            return node
    return None


def opened(path: Path, name: str) -> set[str]:
    """What a reader of a verb opens; see the head of this file."""
    room, files, seen, todo = room_of(path), {path}, set(), [(path, name)]
    while todo:
        here, name = todo.pop()
        node = definition(here, name)
        if (here, name) in seen or node is None or (isinstance(node, ast.ClassDef) and len(seen) > 0):
            continue
        seen.add((here, name))
        imported = sources(here)
        used = [(imported.get(n.id, here), n.id) for n in ast.walk(node) if isinstance(n, ast.Name)]
        used += [
            (imported[n.value.id], n.attr)  # a name reached through its module
            for n in ast.walk(node)
            if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name) and n.value.id in imported
        ]
        for target, called in used:
            if definition(target, called) is not None:
                files.add(target)
                if room_of(target) == room:
                    todo.append((target, called))
    return {"types" if room_of(f) == "types" else f.stem for f in files}


def main() -> None:
    """Print the table."""
    rows: dict[str, list[int]] = {}
    long: list[str] = []
    upwards: list[str] = []
    order = ["door", *ROOMS, DOOR]
    for path in FILES.values():
        source, tree = path.read_text("utf-8"), TREES[path]
        docs = docstring_lines(tree)
        row = rows.setdefault(room_of(path), [0, 0, 0])
        row[0] += 1
        row[1] += code_lines(source, docs)
        row[2] += len(docs)
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                n = code_lines(source, docs, node.lineno, node.end_lineno)
                if n > 60:
                    long.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name} {n}")
        if room_of(path) != "door":
            below = {room_of(t) for t in sources(path).values() if room_of(t) in order}
            late = [r for r in below if order.index(r) > order.index(room_of(path))]
            upwards += [f"{path.relative_to(ROOT)} -> {r}" for r in late]
    print(f"{'room':10}{'files':>7}{'code':>7}{'docs':>7}")
    for room in sorted(rows, key=order.index):
        print(f"{room:10}{rows[room][0]:7}{rows[room][1]:7}{rows[room][2]:7}")
    code, docs = sum(r[1] for r in rows.values()), sum(r[2] for r in rows.values())
    core = sum(rows[r][1] for r in CORE if r in rows)
    widgets = [p for p in (ROOT / "widgets").glob("*.js")]
    print(
        f"{'all':10}{len(FILES):7}{code:7}{docs:7}   and {len(widgets)} scripts, "
        f"{sum(len(re.findall(r'^.*[^ ].*$', p.read_text(), re.M)) for p in widgets)} lines\n"
    )
    explain = opened(
        next(p for p in FILES.values() if definition(p, "explain") and room_of(p) == "maps"), "explain"
    )
    select = opened(
        next(p for p in FILES.values() if definition(p, "select") and room_of(p) == "images"), "select"
    )
    bars = (
        ("rooms beside cli", sum(r in ROOMS for r in rows), 12),
        ("arrows upwards", len(upwards), 0),
        ("code lines", code, 8300),
        (f"code lines of {', '.join(CORE)}", core, 3700),
        ("docstring lines a code line", round(docs / code, 2), 0.45),
        ("functions over 60 code lines", len(long), 0),
        ("public names of the door", len(ultra_kit.__all__), 26),
        (f"files of explain ({', '.join(sorted(explain))})", len(explain), 5),
        (f"files of select ({', '.join(sorted(select))})", len(select), 6),
    )
    for name, figure, bar in bars:
        print(f"{'met   ' if figure <= bar else 'missed'}  {name}: {figure} (at most {bar})")
    for line in (*upwards, *long):
        print("  ", line)


if __name__ == "__main__":
    main()
