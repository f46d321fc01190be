import json
import os
import pickle
import resource
import shutil
import subprocess
import sys
import zipfile
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from toys_embedding import image_embedding, text_embedding
from toys_text import evidence_of

import ultra_kit as uk
from ultra_kit.files import storage

LAYOUT = uk.types.Layout("image", n_prefix=1, grid=(2, 3), size=(20, 30))


def image_maps(**changes) -> uk.types.ExplanationMaps:
    values = np.random.default_rng(0).random((6, 7), np.float32)
    image = np.arange(20 * 30 * 3, dtype=np.uint8).reshape(20, 30, 3)
    card = {"model": {"name": "x"}, "steps": [1, 2.5, None], "pair": (3, "four"), "n": np.int64(5)}
    maps = uk.types.ExplanationMaps(values, np.arange(1, 7), 2, LAYOUT, input=image, card=card)
    return replace(maps, **changes)


def same(a, b) -> bool:
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if hasattr(a, "__dataclass_fields__"):
        return type(a) is type(b) and all(same(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, tuple):
        return isinstance(b, tuple) and len(a) == len(b) and all(map(same, a, b))
    return a == b


def atlas() -> uk.atlas.Embedding:
    scenes = [uk.data.scene(seed).image for seed in range(2)]
    return uk.embed(scenes, model="scenes", layer=2, method="pca", tokens=20, maps=True, since=-1)


def text_maps() -> uk.types.ExplanationMaps:
    layout = uk.types.Layout("text", n_prefix=1, tokens=("<s>", "</script>", "\u2028", "שלום"))
    return uk.types.ExplanationMaps(
        np.eye(4, dtype=np.float32), np.arange(4), 1, layout, input="</script>\u2028 שלום"
    )


@pytest.mark.parametrize(
    "obj",
    [
        image_maps(),
        image_maps(since=1, groups=((1,), (2, 3), (4,), (5, 1), (6,), (1, 2))),
        text_maps(),
        uk.segment(image_maps()),
        LAYOUT,
        atlas(),
    ],
    ids=["image", "groups", "text", "seg", "layout", "atlas"],
)
def test_round_trip_to_the_last_bit(obj, tmp_path):
    path = uk.save(obj, tmp_path / "deeper" / "x.npz")
    assert same(uk.open(path), obj)
    assert [p.name for p in path.parent.iterdir()] == ["x.npz"]


def test_same_sees_a_difference():
    other = image_maps()
    other.values[0, 0] += 1
    assert not same(image_maps(), other)


def test_opened_segments_can_be_cut_again(tmp_path):
    seg = uk.segment(image_maps())
    again = uk.open(uk.save(seg, tmp_path / "seg.npz"))
    np.testing.assert_array_equal(again.recut(n_segments=3).labels, seg.recut(n_segments=3).labels)


def test_the_file_holds_plain_arrays_and_a_readable_card(tmp_path):
    path = uk.save(image_maps(), tmp_path / "x.npz")
    with np.load(path, allow_pickle=False) as loaded:
        document = json.loads(str(loaded["card"]))
        np.testing.assert_array_equal(loaded["values"], image_maps().values)
    assert document["format"] == storage.FORMAT
    assert document["object"]["type"] == "ExplanationMaps"
    assert document["made_with"]["ultra_kit"] == uk.__version__


def test_what_cannot_be_stored_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"path must end with \.npz"):
        uk.save(image_maps(), tmp_path / "x.zip")
    with pytest.raises(TypeError, match=r"save takes .* got dict"):
        uk.save({}, tmp_path / "x.npz")
    with pytest.raises(TypeError, match=r"card\.made must be made of arrays and JSON, got object"):
        uk.save(image_maps(card={"made": object()}), tmp_path / "x.npz")
    with pytest.raises(TypeError, match="dtype object"):
        uk.save(image_maps(input=np.array([None])), tmp_path / "x.npz")
    with pytest.raises(ValueError, match="finite"):
        uk.save(image_maps(card={"loss": float("nan")}), tmp_path / "x.npz")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(uk.UltraError, match="cannot write"):
        uk.save(image_maps(), tmp_path / "file" / "x.npz")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = uk.save(image_maps(), tmp_path / "x.npz")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(uk.UltraError, match="No space left"):
        uk.save(image_maps(layer=1), path)
    assert uk.open(path).layer == 2
    assert [p.name for p in tmp_path.iterdir()] == ["x.npz"]


@pytest.mark.parametrize("suffix", ["npz", "html", "safetensors", "svg", "png"])
def test_what_a_full_disk_refuses_is_named_and_the_old_file_stays(suffix, tmp_path):
    """A limit of the size of files stands for the disk."""
    maps, w = (
        image_maps(values=np.random.default_rng(0).random((6, 7), np.float32)),
        np.eye(64, dtype=np.float32),
    )
    write = {
        "npz": lambda path: uk.save(maps, path),
        "html": lambda path: uk.export_html(maps, path),
        "safetensors": lambda path: uk.runs.Transform(w, 2, np.zeros((1, 2), np.float32)).save(path),
        "svg": lambda path: uk.widgets.TokenExplorer(maps).save_svg(path),
        "png": lambda path: uk.widgets.TokenExplorer(maps).save_png(path),
    }[suffix]
    path = tmp_path / f"x.{suffix}"
    write(path)
    whole, limits = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(uk.UltraError, match=rf"cannot write .*x\.{suffix}"):
            write(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == whole and [p.name for p in tmp_path.iterdir()] == [path.name]


class Payload:
    ran = False

    def __reduce__(self):
        return (setattr, (Payload, "ran", True))


def rewritten(path, edit):
    """The file with its card (as a dict) and arrays changed in place by `edit`."""
    with np.load(path) as loaded:
        arrays = dict(loaded)
    card = json.loads(str(arrays.pop("card")))
    edit(card, arrays)
    np.savez(path, card=np.array(json.dumps(card)), **arrays)
    return path


def test_a_pickle_in_a_file_is_not_run(tmp_path):
    for name, content in [("values", np.array([Payload()], object)), ("card", np.array(Payload(), object))]:
        path = uk.save(image_maps(), tmp_path / f"{name}.npz")
        with np.load(path) as loaded:
            arrays = {**loaded, name: content}
        np.savez(path, **arrays)
        with pytest.raises(uk.UltraError, match="not a file of"):
            uk.open(path)
        assert not Payload.ran
    pickle.loads(pickle.dumps(Payload()))  # the payload does run where pickles are loaded
    assert Payload.ran


@pytest.mark.parametrize(
    "edit",
    [
        lambda card, arrays: card["object"].update(type="Popen"),
        lambda card, arrays: card["object"]["fields"].pop("values"),
        lambda card, arrays: card["object"]["fields"].update(more=1),
        lambda card, arrays: arrays.pop("values"),
        lambda card, arrays: arrays.update(values=np.zeros((6, 9), np.float32)),
        lambda card, arrays: card.update(object=[1, 2]),
        lambda card, arrays: card.update(format=storage.FORMAT + 1),
        lambda card, arrays: card.pop("format"),
    ],
)
def test_a_card_that_does_not_fit_is_refused(edit, tmp_path):
    path = rewritten(uk.save(image_maps(), tmp_path / "x.npz"), edit)
    with pytest.raises(uk.UltraError, match="cannot open"):
        uk.open(path)


def put(*path, to):
    """An edit: another value in the card's tree of fields."""

    def edit(card, arrays):
        node = card["object"]
        for key in ("fields", *path[:-1]):
            node = node[key]
        node[path[-1]] = to

    return edit


def set_in(name, to, at=(0, 0)):
    """An edit: another number in an array, or another array."""

    def edit(card, arrays):
        if np.ndim(to):
            arrays[name] = to
        else:
            arrays[name] = arrays[name].copy()
            arrays[name][at[: arrays[name].ndim]] = to

    return edit


HOSTILE = {
    "threshold NaN": (uk.segment(image_maps()), put("threshold", to=float("nan"))),
    "table of the card": (image_maps(), put("card", "dict", "explanation", to=[1, 2])),
    "model of the card": (image_embedding(card={"model": {}}), put("card", "dict", "model", to=7)),
    "group outside": (image_maps(groups=((1,),) * 6), put("groups", "tuple", 0, to={"tuple": [99]})),
    "text among tokens": (image_maps(), set_in("tokens", np.full(6, "1"))),
    "complex values": (image_maps(), set_in("values", np.ones((6, 7), complex))),
    "token outside": (image_maps(), set_in("tokens", 7)),
    "labels below 0": (uk.segment(image_maps()), set_in("labels", -1)),
    "labels above K": (uk.segment(image_maps()), set_in("labels", 99)),
    "clusters as text": (uk.segment(image_maps()), set_in("clusters", np.full(6, "1"))),
    "tree of another shape": (uk.segment(image_maps()), set_in("linkage", np.zeros((1, 5, 4)))),
    "maps NaN": (uk.segment(image_maps()), set_in("maps", np.nan, (0, 0, 0))),
    "prefix below 0": (
        image_embedding(),
        put("inputs", "tuple", 0, "fields", "layout", "fields", "n_prefix", to=-9),
    ),
    "endless prefix": (LAYOUT, put("n_prefix", to=10**12)),
    "endless grid": (LAYOUT, put("grid", to={"tuple": [10**5, 10**5]})),
    "grid of parts": (LAYOUT, put("grid", to={"tuple": [2.5, 2]})),
    "pieces that are numbers": (
        text_embedding(),
        put("inputs", "tuple", 0, "fields", "layout", "fields", "tokens", "tuple", 1, to=7),
    ),
    "inputs that are texts": (image_embedding(), put("inputs", "tuple", 1, to="a")),
    "names that are numbers": (image_embedding(), put("names", "tuple", 0, to=7)),
    "too few names": (image_embedding(), put("names", to={"tuple": ["a"]})),
    "cluster outside": (image_embedding(), set_in("labels", 99)),
    "endless clusters": (image_embedding(names=()), set_in("labels", 2**31 - 1)),
    "noise below -1": (image_embedding(), set_in("labels", -7)),
    "input outside": (image_embedding(), set_in("source", 3)),
    "token of an input outside": (image_embedding(), set_in("source", 25, (0, 1))),
    "map outside": (image_embedding(), set_in("mapped.0", 9999)),
    "points NaN": (image_embedding(), set_in("points", np.nan)),
    "points as text": (image_embedding(), set_in("points", np.full((36, 2), "1"))),
    "axes of another shape": (
        image_embedding(axes=np.ones((3, 2), np.float32)),
        set_in("axes", np.ones((0, 2))),
    ),
    "words that are numbers": (evidence_of(), put("words", "tuple", 0, to=7)),
    "sentence that is a number": (evidence_of(), put("document_sentences", "tuple", 0, to=7)),
    "sentences that overlap": (
        evidence_of(),
        put("sentences", to={"tuple": [{"tuple": [0, 4]}, {"tuple": [3, 4]}]}),
    ),
    "sentences too short": (evidence_of(), put("document_sentences", to={"tuple": [{"tuple": [0, 1]}]})),
    "an empty sentence": (evidence_of(), put("sentences", "tuple", 0, "tuple", 1, to=0)),
    "row outside": (evidence_of(), set_in("rows", 99)),
    "shares that are texts": (evidence_of(), put("shares", "dict", "prompt", to="a")),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_no_save_writes_is_refused_when_it_is_opened(kind, tmp_path):
    obj, edit = HOSTILE[kind]
    path = uk.save(obj, tmp_path / "x.npz")
    uk.open(path)
    with pytest.raises(uk.UltraError, match=r"cannot open .*x\.npz"):
        uk.open(rewritten(path, edit))


@pytest.mark.parametrize("name", ["é" * 120, "a" * 245, "a\nb"])
def test_any_name_that_the_disk_takes_can_be_written(name, tmp_path):
    assert uk.open(uk.save(image_maps(), tmp_path / f"{name}.npz")).layer == 2


def test_a_file_name_in_another_code_is_shown(tmp_path):
    maps = text_maps()
    maps = replace(maps, card={"input_name": os.fsdecode(b"caf\xe9.txt")})
    assert uk.open(uk.save(maps, tmp_path / "x.npz")).card == maps.card
    assert "caf?.txt" in uk.export_html(maps, tmp_path / "x.html").read_text("utf-8")


def test_files_of_others_are_refused(tmp_path, monkeypatch):
    whole = uk.save(image_maps(), tmp_path / "whole.npz").read_bytes()
    for name, content in {"empty": b"", "text": b"hello", "cut": whole[:-40], "middle": whole[200:]}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(uk.UltraError, match=f"cannot open .*{name}"):
            uk.open(tmp_path / name)
    with zipfile.ZipFile(tmp_path / "other.npz", "w") as archive:
        archive.writestr("a.txt", "hello")
    with pytest.raises(uk.UltraError, match="not a file of"):
        uk.open(tmp_path / "other.npz")
    with pytest.raises(uk.UltraError, match="it is a folder"):
        uk.open(tmp_path)
    np.savez(tmp_path / "foreign.npz", a=np.arange(3))
    with pytest.raises(uk.UltraError, match=r"not a file of .*no provenance card"):
        uk.open(tmp_path / "foreign.npz")
    monkeypatch.setattr(storage, "MAX_BYTES", 1000)
    with pytest.raises(uk.UltraError, match="the limit is 1000"):
        uk.open(tmp_path / "whole.npz")


@pytest.mark.parametrize("name", ["maps", "segmentation", "selection", "evidence"])
def test_a_result_stored_by_version_0_1_0_opens(name):
    """The files in stored/ were written before the rooms of the package were moved."""
    found = uk.open(Path(__file__).parent / "stored" / f"{name}.npz")
    assert len(found.matrix if name == "evidence" else found.tokens) > 0
    if name != "evidence":
        assert uk.verify(Path(__file__).parent / "stored" / f"{name}.npz").same


def test_an_atlas_stored_before_there_were_several_layers_opens():
    path = Path(__file__).parent / "stored" / "embedding.npz"
    emb = uk.open(path)
    assert len(emb) == 32 and emb.layer == 5 and emb.layers.tolist() == [5] * 32
    assert uk.verify(path).same
    placed = emb.place(uk.data.scene(1).image, model="scenes")
    np.testing.assert_allclose(placed.points, emb.points[emb.source[:, 0] == 1], atol=1e-3)


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("maps", "values"),
        ("segmentation", "labels"),
        ("selection", "mask"),
        ("selection", "relevance"),
        ("evidence", "matrix"),
    ],
)
def test_an_array_of_another_shape_is_refused(name, array, tmp_path):
    path = shutil.copy(Path(__file__).parent / "stored" / f"{name}.npz", tmp_path)
    rewritten(path, lambda card, arrays: arrays.update({array: arrays[array][:, :-1]}))
    with pytest.raises(uk.UltraError, match=rf"cannot open .*{array} of shape"):
        uk.open(path)


def test_saving_opening_and_verifying_need_no_view_and_no_figure(tmp_path):
    """In a fresh process: neither the views nor the libraries behind them are loaded."""
    program = f"""
import sys
import ultra_kit as uk
maps = uk.open({str(Path(__file__).parent / "stored" / "maps.npz")!r})
if not uk.verify(uk.save(maps, {str(tmp_path / "again.npz")!r})):
    sys.exit("the maps are not the same")
heavy = "ipywidgets anywidget traitlets IPython matplotlib plotly nbconvert nbformat ultra_kit.widgets ultra_kit.plots"
found = [name for name in heavy.split() if name in sys.modules]
sys.exit(f"loaded: {{found}}" if found else 0)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("verb", [uk.open, uk.verify])
def test_a_result_in_place_of_its_file(verb):
    layout = uk.types.Layout("image", 0, grid=(1, 2), size=(8, 16))
    maps = uk.types.ExplanationMaps(np.ones((1, 2), np.float32), np.array([0]), 1, layout)
    with pytest.raises(TypeError, match="a stored file is needed, got ExplanationMaps: save"):
        verb(maps)
