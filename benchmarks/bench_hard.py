"""Damaged files and odd arguments: how many gave a result, an error of ours, another error, a crash, a hang or a wrong result.

    python benchmarks/bench_hard.py                     10,000 cases, a few minutes (`make fuzz`)
    python benchmarks/bench_hard.py --cases 500
    python benchmarks/bench_hard.py --kind "W files" --first 17 --cases 1

Each kind runs in a process of its own, so that a crash is counted and not the end; a case of more than 30 s is a hang.
Bars: 0 untyped, 0 crashes, 0 hangs, 0 wrong.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
COLUMNS = ("tried", "result", "typed", "untyped", "crash", "hang", "wrong")


def work(kind: str, first: int, cases: int) -> None:
    """Print a line of JSON for every hundred cases of a kind, so that a crash loses no more."""
    from fuzz_cases import LIMIT, run

    with tempfile.TemporaryDirectory() as folder:
        for start in range(first, first + cases, 100):
            faulthandler.dump_traceback_later(100 * LIMIT, exit=True)
            counts, shown = run(kind, start, min(100, first + cases - start), Path(folder))
            print(json.dumps([counts, shown]), flush=True)


def tried(kind: str, first: int, cases: int) -> dict[str, int]:
    """The row of a kind; what went wrong is printed."""
    command = [
        sys.executable,
        __file__,
        "--kind",
        kind,
        "--first",
        str(first),
        "--cases",
        str(cases),
        "--worker",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    row = dict.fromkeys(COLUMNS, 0)
    for line in done.stdout.splitlines():
        counts, shown = json.loads(line)
        for name, n in counts.items():
            row[name] += n
        print(*shown, sep="\n", end="\n" if shown else "")
    row["tried"] = sum(row.values())
    if done.returncode:
        row["crash"] += 1
        print(f"{kind}: the process ended with {done.returncode}\n{done.stderr[-2000:]}")
    return row


def main() -> None:
    """Print the table."""
    from fuzz_cases import KINDS, SEED

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--kind", choices=KINDS)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.worker:
        return work(asked.kind, asked.first, asked.cases)
    start, total = time.perf_counter(), dict.fromkeys(COLUMNS, 0)
    print(f"{'kind':20}" + "".join(f"{name:>9}" for name in COLUMNS))
    for kind, (share, _) in KINDS.items():
        if asked.kind in (None, kind):
            row = tried(kind, asked.first, asked.cases if asked.kind else round(asked.cases * share))
            total = {name: total[name] + n for name, n in row.items()}
            print(f"{kind:20}" + "".join(f"{row[name]:9}" for name in COLUMNS), flush=True)
    print(f"{'all':20}" + "".join(f"{total[name]:9}" for name in COLUMNS))
    print(f"seed {SEED}, {time.perf_counter() - start:.0f} s")
    bad = {name: total[name] for name in ("untyped", "crash", "hang", "wrong")}
    print(
        "met" if not any(bad.values()) else "missed",
        "bars of 0:",
        ", ".join(f"{n} {name}" for name, n in bad.items()),
    )
    sys.exit(any(bad.values()))


if __name__ == "__main__":
    main()
