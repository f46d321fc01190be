"""The wheel: builds, works where no checkout is, finds its data; the door opens without heavy libraries."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = "numpy torch transformers timm matplotlib scipy pandas sklearn plotly PIL joblib captum umap".split()


def python(*arguments, **options):
    ran = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False, **options)
    assert ran.returncode == 0, ran.stderr[-2000:]
    return ran.stdout


@pytest.mark.parametrize("arguments", [[], ["--help"], ["--version"], ["explain", "--help"]])
def test_the_door_opens_without_heavy_libraries(arguments):
    """Each of them takes longer than the tenth of a second that an import, or the second that a help may."""
    run = f"sys.argv = ['ultra-kit', *{arguments}]\ntry: runpy.run_module('ultra_kit', run_name='__main__')\nexcept SystemExit: pass\n"
    program = f"import sys, runpy\n{run if arguments else 'import ultra_kit'}\nprint('\\nheld', *({set(HEAVY)} & set(sys.modules)))"
    assert python("-c", program).splitlines()[-1] == "held"
    assert (
        python("-c", "import sys, torch\nprint('torch' in sys.modules)") == "True\n"
    )  # the question can be answered yes


@pytest.mark.slow
def test_the_wheel_works_where_no_checkout_is(tmp_path):
    pytest.importorskip("setuptools")
    source, site, elsewhere = tmp_path / "source", tmp_path / "site", tmp_path / "elsewhere"
    unwanted = shutil.ignore_patterns("__pycache__", "*.egg-info", "build")
    for name in ("ultra_kit", "data"):
        shutil.copytree(ROOT / name, source / name, ignore=unwanted)
    for name in ("pyproject.toml", "requirements.txt", "requirements-test.txt", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    python("-m", "pip", "wheel", str(source), "--no-deps", "--no-build-isolation", "-q", "-w", str(tmp_path))
    (wheel,) = tmp_path.glob("*.whl")
    python("-m", "pip", "install", "--no-deps", "--no-compile", "-q", "--target", str(site), str(wheel))
    elsewhere.mkdir()
    there = {"cwd": elsewhere, "env": {"PYTHONPATH": str(site), "PATH": "", "HOME": str(tmp_path)}}
    program = (
        "import sys; from pathlib import Path; import ultra_kit as uk\n"
        "assert Path(uk.__file__).is_relative_to(sys.argv[1]), uk.__file__\n"
        "cap = uk.capture(uk.load('scenes'), uk.data.scene(3).image); maps = uk.explain(cap, layer=2, tokens=[30])\n"
        "assert uk.data.photographs() and uk.load('photos') and uk.load('briefs') and uk.runs.Transform.load('scenes')\n"
        "assert 'Provenance' in uk.export_html(maps, 'maps.html').read_text('utf-8'); uk.widgets.TokenExplorer(maps).save_png('a.png')\n"
    )
    python("-c", program, str(site), **there)

    command = str(site / "bin" / "ultra-kit")  # the script that pip makes
    assert "explain" in python(command, "--help", **there)
    picture = site / "ultra_kit" / "_data" / "images" / "chelsea.jpg"
    python(
        command, "explain", str(picture), "--model", "photos", "--point", "100,100", "--out", "out", **there
    )
    made = {p.suffix for p in (elsewhere / "out").iterdir()}
    assert {".npz", ".json", ".png"} <= made, made
