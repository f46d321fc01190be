"""Every file that anything writes is there whole or not at all, whatever fails and whoever writes or reads at the same time."""

import json
import threading

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import ultra_kit as uk
from ultra_kit.cli import app
from ultra_kit.runs.transform import Transform
from ultra_kit.types.whole_file import write_text


@pytest.fixture(scope="module")
def maps():
    return uk.explain(uk.capture(uk.load("scenes"), uk.data.scene(3).image), layer=1, tokens=[40, 41])


def evaluated(folder):
    shape = {"images": uk.data.scene(0).image, "masks": uk.data.scene(0).instances.astype(np.uint8)}
    for kind, pixels in shape.items():
        (folder.parent / "data" / kind).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder.parent / "data" / kind / "a.png")
    data = uk.data.Folder(folder.parent / "data", classes=["ground", *"123456789"])
    how = {"method": "cosine", "layer": 2, "metric": "cosine", "threshold": 0.02, "progress": False}
    uk.evaluate("scenes", data, out=folder, **how)


def command(maps, folder):
    Image.fromarray(maps.input).save(folder.parent / "scene.png")
    call = [
        "explain",
        str(folder.parent / "scene.png"),
        "--token",
        "50",
        "--layer",
        "1",
        "--out",
        str(folder),
    ]
    result = CliRunner().invoke(app, call)
    if result.exit_code:
        raise uk.UltraError(result.output)


# What writes into a folder, and the endings that it leaves there.
WRITERS = {
    "save": (lambda maps, folder: uk.save(maps, folder / "a.npz"), {".npz"}),
    "export_html": (lambda maps, folder: uk.export_html(maps, folder / "a.html"), {".html"}),
    "save_png": (lambda maps, folder: uk.widgets.TokenExplorer(maps).save_png(folder / "a.png"), {".png"}),
    "save_svg": (lambda maps, folder: uk.widgets.TokenExplorer(maps).save_svg(folder / "a.svg"), {".svg"}),
    "a W": (
        lambda maps, folder: Transform(np.eye(4, dtype=np.float32), 1, np.zeros((1, 2), np.float32)).save(
            folder / "w.safetensors"
        ),
        {".safetensors"},
    ),
    "segments": (
        lambda maps, folder: uk.widgets.SegmentExplorer(uk.segment(maps, n_segments=2)).save_json(
            folder / "a.json"
        ),
        {".json"},
    ),
    "evaluate": (lambda maps, folder: evaluated(folder), {".json", ".csv", ".npz", ".png"}),
    "the command line": (command, {".npz", ".json", ".png"}),
}


def contents(folder):
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("name", WRITERS)
def test_what_cannot_be_written_leaves_the_file_that_is_there(name, maps, tmp_path, monkeypatch):
    write, endings = WRITERS[name]
    folder = tmp_path / "out"
    folder.mkdir()
    write(maps, folder)
    assert {p.suffix for p in contents(folder)} == endings
    for path in contents(folder):
        if path.name != "job.json":  # that one is read again
            path.write_text("the older one")
    old = contents(folder)
    seen = []

    def full(partial, target):
        seen.append(partial.stat().st_size)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ultra_kit.types.whole_file.os.replace", full)
    with pytest.raises(uk.UltraError, match="No space left on device"):
        write(maps, folder)
    assert seen and seen[0] > 0  # it was written beside the file, and would have been moved over it
    assert contents(folder) == old


SIZES = (5, 40, 300)


def numbered(k):
    return uk.types.ExplanationMaps(
        np.full((SIZES[k], 7), k, np.float32),
        np.arange(SIZES[k]) % 7,
        1,
        uk.types.Layout("image", 1, (2, 3), (4, 6)),
    )


@pytest.mark.parametrize("name", ["npz", "html", "json"])
def test_many_writers_and_readers_of_one_file(name, tmp_path):
    """Three writers of contents of three sizes, two readers: every read is one of them, whole."""
    path, faults, done = tmp_path / f"a.{name}", [], threading.Event()
    arrays = [np.full((size, 7), k, np.float32) for k, size in enumerate(SIZES)]

    def write(k):
        if name == "npz":
            uk.save(numbered(k), path)
        elif name == "html":
            write_text(path, f"<html>{k}{'x' * SIZES[k] * 1000}</html>")
        else:
            write_text(path, json.dumps(arrays[k].tolist()))

    def read():
        if name == "npz":
            found = uk.open(path).values
        elif name == "html":
            text = path.read_text()
            return text in {f"<html>{k}{'x' * n * 1000}</html>" for k, n in enumerate(SIZES)}
        else:
            found = np.array(json.loads(path.read_text()), np.float32)
        return any(np.array_equal(found, c) for c in arrays)

    def kept(work):
        try:
            work()
        except Exception as e:
            faults.append(e)

    def reader():
        while not done.is_set():
            if not read():
                faults.append("a read of none of the contents")

    write(0)
    readers = [threading.Thread(target=kept, args=(reader,)) for _ in range(2)]
    writers = [
        threading.Thread(target=kept, args=(lambda k=k: [write(k) for _ in range(30)],)) for k in range(3)
    ]
    for t in (*readers, *writers):
        t.start()
    for t in writers:
        t.join()
    done.set()
    for t in readers:
        t.join()
    assert faults == [] and read() and [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_link_stays_one_and_a_file_keeps_its_mode(tmp_path):
    target, link = tmp_path / "far" / "a.json", tmp_path / "b.json"
    link.symlink_to(target)
    assert write_text(link, "1") == link and target.read_text() == "1"  # what it leads to need not be there
    target.chmod(0o600)
    write_text(link, "2")
    assert link.is_symlink() and target.read_text() == "2" and target.stat().st_mode & 0o777 == 0o600
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["a.json", "b.json", "far"]
