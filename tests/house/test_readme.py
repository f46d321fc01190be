"""What the README and the citation promise: its ten lines run, what they name is there, both name the same paper."""

import re
import shlex
from pathlib import Path

import matplotlib
import pytest
import yaml

import ultra_kit as uk

TOP = Path(__file__).parents[2]
README = (TOP / "README.md").read_text("utf-8")
PAGES = [TOP / name for name in ("README.md", "ARCHITECTURE.md", "SECURITY.md", "notebooks/README.md")]


def first_code() -> str:
    return README.split("```python\n")[1].split("```")[0]


def test_one_picture_and_ten_lines_run(tmp_path, monkeypatch):
    before = README.split("```python")[0]
    assert len(re.findall(r"^!\[", before, re.M)) == 1
    code = first_code()
    assert len([line for line in code.splitlines() if line]) <= 10
    # The bundled model in place of the real one, which need not be here.
    for real, bundled in (('"dinov2")  # real; ', '"photos")  # '), ("layer=10", "layer=4")):
        assert code.count(real) == 1
        code = code.replace(real, bundled)
    monkeypatch.chdir(tmp_path)
    matplotlib.use("agg")
    names = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["sel"].mask.any() and uk.verify("eye.npz").same
    assert len(uk.open("eye.npz")) == 1 and (tmp_path / "eye.html").stat().st_size > 10_000


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(TOP)))
def test_links_lead_somewhere(page):
    found = re.findall(r"\]\(([^)#\s]+)\)", page.read_text("utf-8"))
    lost = [link for link in found if "://" not in link and not (page.parent / link).exists()]
    assert not lost, lost


def commands() -> list[str]:
    return re.findall(r"^    python (benchmarks/\S+\.py.*)$", README, re.M)


def faults(command: str) -> list[str]:
    """What a command of the README names that is not there."""
    # A long explanation stands behind two spaces.
    script, *words = shlex.split(re.split(r"\s{2,}", command)[0])
    if not (TOP / script).exists():
        return [script]
    text = (TOP / script).read_text("utf-8") + (TOP / "benchmarks/real_data.py").read_text("utf-8")
    options = [word for word in words if word.startswith("--")]
    return [word for word in options if f'"{word}"' not in text and f'"{word[2:]}"' not in text]


def test_each_figure_has_a_command_that_is_there():
    assert len(commands()) > 20
    assert {command: found for command in commands() if (found := faults(command))} == {}
    assert faults("benchmarks/bench_atlas.py --trueth") == ["--trueth"]
    assert faults("benchmarks/bench_atlases.py") == ["benchmarks/bench_atlases.py"]


def test_the_citation_names_this_version_and_the_paper_of_the_readme():
    cited = yaml.safe_load((TOP / "CITATION.cff").read_text("utf-8"))
    assert cited["cff-version"] == "1.2.0" and cited["version"] == uk.__version__
    assert {"message", "title", "authors", "license"} <= set(cited)
    paper, bibtex = cited["preferred-citation"], README.split("```bibtex\n")[1].split("```")[0]
    authors = " and ".join(f"{one['family-names']}, {one['given-names']}" for one in paper["authors"])
    assert f"author  = {{{authors}}}" in bibtex
    assert paper["title"] in bibtex.replace("{ULTra}", "ULTra")
    assert str(paper["year"]) in bibtex and paper["identifiers"][0]["value"] in bibtex
