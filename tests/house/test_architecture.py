"""The examples of ARCHITECTURE.md are complete: its files, written into a copy of the package, carry what stands beside them."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import ultra_kit

ROOT = Path(ultra_kit.__file__).parents[1]
PAGE = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
BLOCKS = re.findall(r"```(?:python|js)\n(.*?)```", PAGE, re.S)
NAMED = {m[1]: block for block in BLOCKS if (m := re.match(r"(?:#|//) (ultra_kit/\S+)\n", block))}
RUN = [block for block in BLOCKS if block not in NAMED.values()]


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("copy")
    shutil.copytree(ROOT / "ultra_kit", folder / "ultra_kit", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "data").symlink_to(ROOT / "data")
    for name, text in NAMED.items():
        assert not (folder / name).exists(), f"{name} is there already"
        (folder / name).write_text(text, "utf-8")
    return folder


def test_it_shows_how_to_add_the_four_things():
    assert len(NAMED) == 5 and len(RUN) == 4


@pytest.mark.parametrize("number", range(len(RUN)))
def test_examples_run(copy, tmp_path, number):
    env = os.environ | {"PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(
        [sys.executable, "-c", RUN[number]],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr


def test_names_of_files_on_the_page_are_there():
    for name in re.findall(r"`([\w/]+\.(?:py|md))`", PAGE):
        assert any((ROOT / top / name).is_file() for top in ("", "ultra_kit")), name
