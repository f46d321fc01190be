"""How large the house is: rooms, arrows upwards, lines of code and of docstrings, the door, what a reader opens; how soon it opens.

    python benchmarks/bench_house.py

Code lines are those without docstrings (of modules, classes, functions and constants), comments and blanks. A reader of
`explain` or `select` opens the file of the verb and, from there, each file whose names are used on the way: inside the room
every function is followed; a name of another room is an arrow, its file counts and is not followed; a class is a box, its
file counts and its methods are not followed; `types`, which every file shares, counts once. Times are medians of five fresh processes.
"""

from __future__ import annotations

import ast
import itertools
import re
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import ultra_kit

ROOT = Path(ultra_kit.__file__).parent
ROOMS = ultra_kit._ROOMS  # from above to below; a room imports only rooms above it
CORE = ("types", "models", "maps", "images", "text")
DOOR = "cli"
LONG = 60  # code lines of a function


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


@dataclass(frozen=True)
class House:
    """What was counted: files, code lines and docstring lines of every room, and what breaks a rule."""

    rooms: dict[str, list[int]]
    upwards: list[str]
    long: list[str]

    @property
    def code(self) -> int:
        """Code lines of all rooms."""
        return sum(code for _, code, _ in self.rooms.values())

    @property
    def docs(self) -> int:
        """Docstring lines of all rooms."""
        return sum(docs for *_, docs in self.rooms.values())


def survey() -> House:
    """Count every file of the package."""
    house = House({}, [], [])
    order = ["door", *ROOMS, DOOR]
    for path in FILES.values():
        source, tree, room = path.read_text("utf-8"), TREES[path], room_of(path)
        docs = docstring_lines(tree)
        row = house.rooms.setdefault(room, [0, 0, 0])
        for k, count in enumerate((1, code_lines(source, docs), len(docs))):
            row[k] += count
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                n = code_lines(source, docs, node.lineno, node.end_lineno)
                if n > LONG:
                    house.long.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name} {n}")
        if room != "door":
            used = {room_of(target) for target in sources(path).values()} & set(order)
            late = sorted(r for r in used if order.index(r) > order.index(room))
            house.upwards.extend(f"{path.relative_to(ROOT)} -> {r}" for r in late)
    return house


def reading(verb: str, room: str) -> set[str]:
    """What a reader of a verb opens, found from its room."""
    return opened(next(p for p in FILES.values() if room_of(p) == room and definition(p, verb)), verb)


@dataclass(frozen=True)
class Bar:
    """What was counted and the most that it may be; `of` names what was counted."""

    figure: float
    most: float
    of: str = ""

    @property
    def met(self) -> bool:
        """Whether the figure is below the bar or on it."""
        return self.figure <= self.most


# Lines that each later step may add to the rebuilt house (8,288 lines, 3,699 of them in the core): all, core.
STEPS = {"fast and real": (750, 400), "atlas": (1950, 150), "hard": (700, 500)}
SINCE = tuple(map(sum, zip(*STEPS.values(), strict=True)))


def bars(house: House) -> dict[str, Bar]:
    """Every bar by its name."""
    explain, select = reading("explain", "maps"), reading("select", "images")
    return {
        "rooms beside cli": Bar(len(house.rooms.keys() - {"door", DOOR}), 12),
        "arrows upwards": Bar(len(house.upwards), 0),
        "code lines": Bar(house.code, 8300 + SINCE[0], f"{SINCE[0]} of them for {', '.join(STEPS)}"),
        "code lines of the core": Bar(
            sum(house.rooms[r][1] for r in CORE), 3700 + SINCE[1], f"{', '.join(CORE)}; {SINCE[1]} since"
        ),
        "docstring lines per code line": Bar(round(house.docs / house.code, 2), 0.45),
        "functions over 60 code lines": Bar(len(house.long), 0),
        # 26 of the first house; 27 since `embed`, `name`, `intervene` and `diagnose` joined the 23 that there were.
        "public names of the door": Bar(len(ultra_kit.__all__), 27),
        "files of explain": Bar(len(explain), 5, ", ".join(sorted(explain))),
        "files of select": Bar(len(select), 6, ", ".join(sorted(select))),
    }


def seconds(*arguments: str, imported: str = "") -> float:
    """Median time of five fresh Pythons, or of what they took for one import."""
    times = []
    for _ in range(5):
        start = time.perf_counter()
        ran = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True)
        times.append(time.perf_counter() - start)
        if imported:  # "import time: self | cumulative | name", in microseconds
            (line,) = re.findall(rf"^import time:.*\| *(\d+) \| {imported}$", ran.stderr, re.M)
            times[-1] = int(line) / 1e6
    return round(statistics.median(times), 4)


def times() -> dict[str, Bar]:
    """How soon the package and its command are there; not among `bars`, since a busy machine is no fault of the code."""
    return {
        "seconds of import ultra_kit": Bar(
            seconds("-X", "importtime", "-c", "import ultra_kit", imported="ultra_kit"), 0.1
        ),
        "seconds of ultra-kit --help": Bar(seconds("-m", "ultra_kit", "--help"), 1),
    }


def main() -> None:
    """Print the table."""
    house = survey()
    print(f"{'room':10}{'files':>7}{'code':>7}{'docs':>7}")
    for room in sorted(house.rooms, key=["door", *ROOMS, DOOR].index):
        print(f"{room:10}" + "".join(f"{count:7}" for count in house.rooms[room]))
    scripts = list((ROOT / "widgets").glob("*.js"))
    lines = sum(len(re.findall(r"^.*[^ ].*$", p.read_text("utf-8"), re.M)) for p in scripts)
    print(
        f"{'all':10}{len(FILES):7}{house.code:7}{house.docs:7}   and {len(scripts)} scripts, {lines} lines\n"
    )
    for name, bar in {**bars(house), **times()}.items():
        of = f" ({bar.of})" if bar.of else ""
        print(f"{'met   ' if bar.met else 'missed'}  {name}{of}: {bar.figure} (at most {bar.most})")
    for line in (*house.upwards, *house.long):
        print("  ", line)


if __name__ == "__main__":
    main()
