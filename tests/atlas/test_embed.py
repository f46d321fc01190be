"""Tokens of many inputs: what is placed, from where, and the same bytes each time."""

import contextlib
import dataclasses
import hashlib
import os
import re
import signal
import subprocess
import sys
import threading

import numpy as np
import psutil
import pytest
from joblib import parallel_config
from PIL import Image

import ultra_kit as uk
from ultra_kit.atlas import collecting
from ultra_kit.atlas.placing import between, cluster_names, place_vectors
from ultra_kit.types.workers import this_process

SCENES = [uk.data.scene(seed).image for seed in range(3)]


@pytest.fixture(scope="module")
def caps():
    model = uk.load("scenes")
    return [uk.capture(model, image) for image in SCENES]


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def test_latents_are_placed_as_directions(caps):
    emb = uk.embed(caps, layer=3, method="pca", tokens=0.25)
    assert len(emb) == 3 * 36 and emb.layer == 3
    for vector, (number, token) in zip(emb.vectors, emb.source, strict=True):
        np.testing.assert_allclose(vector, unit(caps[number].tokens(3)[token]), atol=1e-3)
    assert emb.source[:36, 1].tolist() == caps[0].layout.spread(0.25).tolist()


def test_by_map_a_token_lies_where_what_it_was_made_from_lies(caps):
    emb = uk.embed(caps[:1], layer=3, by="map", method="pca", tokens=6, since=1)
    for vector, (_, token) in zip(emb.vectors, emb.source, strict=True):
        (weights,) = uk.explain(caps[0], layer=3, tokens=[token], since=1).values.astype(float)
        mean = np.zeros(128)
        for j in range(caps[0].layout.n_prefix, caps[0].layout.n_tokens):
            if j != token:
                mean += weights[j] * unit(caps[0].tokens(1)[j])
        np.testing.assert_allclose(vector, unit(mean), atol=1e-3)


def test_the_strongest_entries_of_each_map_are_kept(caps):
    emb = uk.embed(caps[:1], method="pca", tokens=5, maps=True, since=-1)
    positions, weights = emb.mapped
    assert positions.shape == weights.shape == (5, 16)
    for row, (_, token) in enumerate(emb.source):
        (values,) = uk.explain(caps[0], tokens=[token], since=-1).values
        values[: caps[0].layout.n_prefix] = values[token] = 0
        assert positions[row].tolist() == np.argsort(-values, kind="stable")[:16].tolist()
        np.testing.assert_allclose(weights[row], values[positions[row]] / values.max(), rtol=1e-5)


def test_a_number_of_tokens_is_drawn_for_each_input_by_the_seed(caps):
    drawn = [uk.embed(caps, method="pca", tokens=10, seed=seed).source for seed in (0, 0, 1)]
    assert (drawn[0] == drawn[1]).all() and (drawn[0] != drawn[2]).any()
    each = [drawn[0][drawn[0][:, 0] == k, 1] for k in range(3)]
    assert all(len(set(t)) == 10 and t.min() >= caps[0].layout.n_prefix for t in each)
    assert (each[0] != each[1]).any()


@pytest.mark.parametrize("by", ["latent", "map"])
@pytest.mark.parametrize("since", [0, -1])
@pytest.mark.parametrize("layers", [(2, 4), (-1, 1, 3)])
def test_of_several_layers_it_holds_what_embeddings_of_each_hold(caps, by, since, layers):
    how = {"by": by, "since": since, "method": "pca", "tokens": 7, "seed": 3, "maps": True}
    emb, each = uk.embed(caps, layer=layers, **how), [uk.embed(caps, layer=k, **how) for k in layers]
    assert emb.layer == tuple(sorted(k % 6 for k in layers)) and len(emb) == 3 * 7 * len(layers)
    for one in each:
        there = emb.layers == one.layer
        assert (one.layers == one.layer).all()
        np.testing.assert_array_equal(emb.vectors[there], one.vectors)
        np.testing.assert_array_equal(emb.source[there], one.source)
        for ours, theirs in zip(emb.mapped, one.mapped, strict=True):
            np.testing.assert_array_equal(ours[there], theirs)
    # Input by input, in each layer by layer.
    assert emb.source[: 7 * len(layers), 0].max() == 0
    assert emb.layers[: 7 * len(layers)].tolist() == np.repeat(emb.layer, 7).tolist()


def test_words_and_phrases_go_with_the_tokens_of_each_layer(caps):
    emb = uk.embed(uk.data.brief(0).document, model="briefs", layer=[1, 3], method="pca", min_cluster_size=2)
    words = [emb.inputs[0].word(t).strip().lower() for t in emb.source[:, 1]]
    assert words[: len(words) // 2] == words[len(words) // 2 :]
    for number, name in enumerate(emb.names):
        assert set(re.sub(r" \d+$", "", name).split(", ")) - {""} <= {
            w for w, k in zip(words, emb.labels, strict=True) if k == number
        }
    phrases = {"phrases": ["a red star", "a blue ring"], "method": "pca", "min_cluster_size": 5}
    assert any(uk.embed(caps, layer=[1, 5], **phrases).names)


def test_an_atlas_of_several_layers_takes_new_tokens_at_each(caps, tmp_path):
    emb = uk.embed(caps[:2], layer=[1, 4], method="pca", tokens=0.25, maps=True, since=-1)
    again = emb.place(caps[1])
    there = emb.source[:, 0] == 1
    np.testing.assert_array_equal(again.points, emb.points[there])
    np.testing.assert_array_equal(again.layers, emb.layers[there])
    path = uk.save(emb, tmp_path / "two.npz")
    opened = uk.open(path)
    assert opened.layer == (1, 4) and opened.layers.tobytes() == emb.layers.tobytes()
    np.testing.assert_array_equal(opened.place(caps[2]).points, emb.place(caps[2]).points)
    assert uk.verify(path).same
    assert "layers 1, 4 by latent" in repr(opened)
    assert "layers 1, 4" in uk.export_html(emb, tmp_path / "two.html").read_text("utf-8")


def test_an_iterator_is_read_one_input_at_a_time(monkeypatch):
    events, rows_of = [], collecting.rows_of
    monkeypatch.setattr(
        collecting, "rows_of", lambda cap, *rest: (events.append("kept"), rows_of(cap, *rest))[1]
    )

    def reading():
        for image in SCENES:
            events.append("read")
            yield image

    uk.embed(reading(), model="scenes", method="pca", tokens=5, progress=False)
    assert events == ["read", "kept"] * 3


def test_processes_give_the_bytes_of_one(tmp_path):
    paths = [tmp_path / f"{k}.png" for k in range(3)]
    for path, image in zip(paths, SCENES, strict=True):
        Image.fromarray(image).save(path)
    how = {"model": "scenes", "method": "pca", "tokens": 0.25}
    alone = uk.embed(paths, **how)
    with parallel_config(backend="loky", n_jobs=2):
        spread = uk.embed(iter(paths), **how)
    for name in ("points", "labels", "probabilities", "source", "vectors"):
        assert getattr(alone, name).tobytes() == getattr(spread, name).tobytes(), name
    assert [placed.name for placed in spread.inputs] == ["0.png", "1.png", "2.png"]


def test_of_a_folder_all_images_are_taken(tmp_path):
    (tmp_path / "more").mkdir()
    for name, image in zip(("b.png", "a.PNG", "more/c.png"), SCENES, strict=True):
        Image.fromarray(image).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    how = {"method": "pca", "tokens": 5}
    listed = uk.embed([tmp_path / name for name in ("a.PNG", "b.png", "more/c.png")], model="scenes", **how)
    for folder in (tmp_path, str(tmp_path)):
        emb = uk.embed(folder, "scenes", **how)
        assert [placed.name for placed in emb.inputs] == ["a.PNG", "b.png", "c.png"]
        assert emb.points.tobytes() == listed.points.tobytes()
    assert len(listed.place(tmp_path / "more", model="scenes")) == 5


@pytest.mark.slow
def test_a_dask_cluster_gives_the_bytes_of_one_process(tmp_path, monkeypatch):
    from dask.distributed import Client, LocalCluster

    real, threads = collecting.rows_of, set()

    def rows_of(*given):
        threads.add(threading.current_thread())
        return real(*given)

    monkeypatch.setattr(collecting, "rows_of", rows_of)
    how = {"model": "scenes", "method": "pca", "tokens": 0.25, "layer": [2, 5], "maps": True, "since": -1}
    # The cluster's workers are threads here, so that no interpreter has to start; what they are sent is packed.
    cluster = LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, protocol="tcp", dashboard_address=None
    )
    with cluster, Client(cluster), parallel_config(backend="dask"):
        spread = uk.embed(iter(SCENES), **how)
    assert threads and threading.current_thread() not in threads
    alone = uk.embed(SCENES, **how)
    for name in ("points", "labels", "probabilities", "source", "vectors", "layers"):
        assert getattr(alone, name).tobytes() == getattr(spread, name).tobytes(), name
    for ours, theirs in zip(spread.mapped, alone.mapped, strict=True):
        assert ours.tobytes() == theirs.tobytes()


def test_workers_know_whose_end_is_theirs(monkeypatch, tmp_path):
    callers = []
    monkeypatch.setattr(collecting, "end_with", callers.append)
    Image.fromarray(SCENES[0]).save(tmp_path / "a.png")
    uk.embed([tmp_path / "a.png"], model="scenes", method="pca", tokens=5)
    assert callers == [
        this_process()
    ]  # of its own process it is let be; see the test of `evaluate`'s workers


STOPPED = """
import sys, time
from pathlib import Path
import joblib, numpy
import ultra_kit as uk
folder, when = Path(sys.argv[1]), sys.argv[2]

def given():
    for i in range(4 if when == "saving" else 10**6):
        if when == "embedding" and i == 7:  # so that both workers are at work
            print("now", flush=True)
        yield folder / "a.png"

def half(path, **arrays):
    Path(path).write_bytes(b"PK half of a file")
    print("now", flush=True)
    time.sleep(300)

with joblib.parallel_config(backend="loky", n_jobs=2):
    emb = uk.embed(given(), model="scenes", method="pca", tokens=5, progress=False)
numpy.savez_compressed = half
uk.save(emb, folder / "atlas.npz")
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "when"), [("SIGKILL", "saving"), ("SIGTERM", "embedding"), ("SIGINT", "embedding")]
)
def test_a_stopped_embed_leaves_no_worker_and_no_half_file(how, when, caps, tmp_path):
    """A real one with two workers; nobody asks about the killed process before its workers have to be gone."""
    folder = tmp_path / "files"
    whole = uk.save(uk.embed(caps, method="pca", tokens=5), folder / "atlas.npz").read_bytes()
    Image.fromarray(SCENES[0]).save(folder / "a.png")
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/model").write_text("fetched")
    held = os.stat(tmp_path / "cache"), os.stat(tmp_path / "cache/model")
    process = subprocess.Popen(
        [sys.executable, "-c", STOPPED, folder, when],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "ULTRA_KIT_CACHE": str(tmp_path / "cache")},
    )
    children = []
    try:
        assert process.stdout.readline() == "now\n"
        children = psutil.Process(process.pid).children(recursive=True)
        assert sum("LokyProcess" in " ".join(child.cmdline()) for child in children) == 2
        process.send_signal(getattr(signal, how))
        assert psutil.wait_procs(children, 60)[1] == []
        assert process.wait(60) != 0
    finally:
        for left in (process, *children):
            with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
                left.kill()
        process.wait()
        process.stdout.close()
    assert (folder / "atlas.npz").read_bytes() == whole and uk.open(folder / "atlas.npz")
    left = {p.name for p in folder.iterdir()} - {"a.png", "atlas.npz"}
    assert all(name.startswith(".atlas.") and ".part" in name for name in left) and bool(left) == (
        when == "saving"
    )
    now = os.stat(tmp_path / "cache"), os.stat(tmp_path / "cache/model")
    assert [(s.st_mtime_ns, s.st_size) for s in now] == [(s.st_mtime_ns, s.st_size) for s in held]


FRESH = """
import hashlib, torch
torch.set_num_threads(2)
import ultra_kit as uk
emb = uk.embed((uk.data.scene(seed).image for seed in range(3)), model="scenes", seed=4, progress=False)
print(hashlib.sha256(emb.points.tobytes() + emb.labels.tobytes()).hexdigest())
"""


@pytest.mark.slow
def test_a_fresh_process_of_two_threads_gives_the_same_bytes():
    emb = uk.embed(SCENES, model="scenes", seed=4)
    here = hashlib.sha256(emb.points.tobytes() + emb.labels.tobytes()).hexdigest()
    there = subprocess.run([sys.executable, "-c", FRESH], capture_output=True, text=True, check=True)
    assert there.stdout.strip() == here


@pytest.fixture(scope="module")
def blobs():
    """Four groups of 50 far apart in 60 dimensions, and one vector far from all."""
    rng = np.random.default_rng(0)
    centres = 10 * np.eye(60)[:4]
    vectors = np.vstack([np.repeat(centres, 50, axis=0), 40 * np.eye(60)[9:10]])
    return (vectors + 0.3 * rng.normal(size=vectors.shape)).astype(np.float16)


def test_groups_far_apart_are_the_clusters_and_what_is_alone_is_noise(blobs):
    # Two axes can't hold four centres of a simplex and the one outside apart; three groups on a line they can.
    line = np.repeat([[0.0], [10.0], [20.0]], 30, axis=0) * np.eye(5)[0]
    line = np.vstack([line + 0.1 * np.random.default_rng(1).normal(size=line.shape), [[0, 300, 0, 0, 0]]])
    found = place_vectors(line.astype(np.float16), "pca", 0, 10)
    assert len(set(found["labels"][:90].reshape(3, 30)[:, 0])) == 3 and found["labels"][90] == -1
    assert all(len(set(group)) == 1 for group in found["labels"][:90].reshape(3, 30))
    found = place_vectors(blobs, "umap", 0, 10)
    groups = found["labels"][:200].reshape(4, 50)
    assert all(len(set(group)) == 1 for group in groups) and len(set(groups[:, 0])) == 4 and groups.min() == 0
    assert found["points"].dtype == np.float32 and found["axes"] is None


def test_new_tokens_go_onto_the_axes_of_an_atlas(caps):
    emb = uk.embed(caps[:2], method="pca")
    again = emb.place(caps[1])
    np.testing.assert_array_equal(again.points, emb.points[emb.source[:, 0] == 1])
    assert len(emb) == 288 and again.inputs[0].sha256 == emb.inputs[1].sha256
    with pytest.raises(
        ValueError, match="place needs tokens of scenes layer 5, width 128, got briefs layer 3"
    ):
        emb.place("The fire.", model="briefs")


def test_a_new_vector_goes_between_its_nearest():
    old = np.float16([[0, 0], [3, 0], [100, 0], [100, 1], [100, 2], [100, 3]])
    points = np.float32([[0, 0], [9, 0], [0, 50], [0, 50], [0, 50], [0, 50]])
    labels = np.int32([4, 1, 0, 0, 0, 0])
    found, label, sure = between(np.float32([[1, 0], [3, 0]]), old, points, labels)
    # Weights 1/1 and 1/4 to the first two, about 1e-4 to each of the three far ones.
    np.testing.assert_allclose(found[0], [9 * 0.25 / 1.25, 0], atol=0.02)
    assert label.tolist() == [4, 1] and abs(sure[0] - 0.8) < 1e-3
    np.testing.assert_allclose(found[1], [9, 0], atol=1e-6)  # a token of the atlas stays where it is


@pytest.mark.parametrize("method", ["umap", "pca"])
def test_equal_vectors_are_one_place_and_noise(method):
    """As of a blank image: nothing tells them apart, and no library is asked to."""
    placed = place_vectors(np.full((40, 8), 0.1, np.float16), method, 0, 10)
    assert np.ptp(placed["points"], axis=0).max() < 1e-6 and (placed["labels"] == -1).all()


@pytest.mark.parametrize("odd", [np.nan, np.inf])
def test_latents_that_are_no_numbers_are_refused_with_the_input(odd, caps):
    """As half precision gives them where it overflows."""
    bad = dataclasses.replace(caps[1], latents=tuple(z.detach().clone() for z in caps[1].latents))
    bad.latents[4][9, 3] = odd
    with pytest.raises(uk.UltraError, match="those of input 1, layer 4 are not"):
        uk.embed([caps[0], bad], layer=4, method="pca", progress=False)
    with pytest.raises(uk.UltraError, match="must be finite"):
        uk.atlas.similar(caps[0], 40, among=[bad], layer=4, progress=False)


def test_clusters_of_texts_are_named_by_their_words():
    briefs = [uk.data.brief(seed).document for seed in range(4)]
    emb = uk.embed(briefs, model="briefs", layer=1, tokens=40)
    assert len(emb.names) == emb.n_clusters > 1 and all(emb.names)
    words = {word for text in briefs for word in text.lower().split()}
    assert {part for name in emb.names for part in name.split(", ")} <= words | {
        w.text.lower() for placed in emb.inputs for w in placed.words
    }


def test_names_are_words_commoner_here_than_elsewhere():
    labels = np.array([0] * 6 + [1] * 4 + [-1] * 2)
    words = ["fire", "fire", "the", "hot", ".", ".", "river", "the", "wet", "river", "the", "."]
    # Ranked by count x log lift. "the" is a quarter of all and of cluster 1, and less of 0; a full stop comes last.
    assert cluster_names(labels, words) == ("fire, hot", "river, wet")
    assert cluster_names(np.array([0, 0, 1, 1]), [",", ",", "a", "b"]) == (",", "a, b")
    assert cluster_names(labels, []) == ("", "")
    one_each = [*"aaabaaab", "c", "d"]  # "a" is commoner in 0 and 1 than in all, and 2 is of "c" and "d"
    assert cluster_names(np.repeat([0, 1, 2], [4, 4, 2]), one_each)[:2] == ("a, b", "a, b 2")


def test_phrases_name_clusters_where_the_model_has_a_text_tower(caps):
    emb = uk.embed(caps, method="pca", phrases=["a red star", "a blue ring"], min_cluster_size=5)
    parts = {re.sub(r" \d+$", "", name) for name in emb.names}
    assert {part for name in parts for part in name.split(", ")} <= {"a red star", "a blue ring", ""}
    named = [name for name in emb.names if name]
    assert len(set(named)) == len(named) > 1
    with pytest.raises(uk.UltraError, match="phrases need a model whose patches share a space"):
        uk.embed(["The fire."], model="briefs", phrases=["a"])


@pytest.mark.parametrize(
    ("inputs", "how", "error", "said"),
    [
        ([np.zeros((9, 9, 3), np.uint8)], {}, TypeError, "needs model= to capture inputs"),
        (5, {"model": "scenes"}, TypeError, r"embed\(images, model\); got int first"),
        (
            "scenes",
            {"model": SCENES},
            TypeError,
            r"got (list|tuple|ndarray); .*embed\(inputs, model\) second",
        ),
        ([], {"model": "scenes"}, ValueError, "at least one input"),
        (SCENES[0], {"model": "scenes", "tokens": 2}, ValueError, "at least 4 tokens, got 2"),
        (SCENES[0], {"model": "scenes", "tokens": 0}, ValueError, "tokens must be at least 1"),
        (SCENES[0], {"model": "scenes", "tokens": 1.5}, ValueError, "a share of the tokens"),
        (SCENES[0], {"model": "scenes", "by": "maps"}, ValueError, "by must be one of latent, map"),
        (SCENES[0], {"model": "scenes", "method": "tsne"}, ValueError, "method must be one of umap, pca"),
        (SCENES[0], {"model": "scenes", "min_cluster_size": 1}, ValueError, "min_cluster_size must be"),
        (SCENES[0], {"model": "scenes", "seed": "a"}, TypeError, "seed must be an int"),
        (SCENES[0], {"model": "scenes", "layer": [3, 1, -3]}, ValueError, r"none twice, got \(3, 1, -3\)"),
        (SCENES[0], {"model": "scenes", "layer": []}, ValueError, "layer must name at least one"),
        (SCENES[0], {"model": "scenes", "layer": [3, 6]}, ValueError, r"layer must be in -6\.\.5"),
        (SCENES[0], {"model": "scenes", "layer": [2.0]}, TypeError, "layer must be an int"),
        (SCENES[0], {"model": "scenes", "layer": "34"}, TypeError, "layer must be an int"),
        (
            "tests",
            {"model": "scenes"},
            ValueError,
            "at least one input, got none; of a folder it takes the images",
        ),
        (["tests"], {"model": "scenes"}, ValueError, "a folder; give its files"),
    ],
)
def test_what_cannot_be_is_refused(inputs, how, error, said):
    with pytest.raises(error, match=said):
        uk.embed(inputs, **how)


@pytest.mark.parametrize(
    "card", [{}, {"embedding": {}}, {"embedding": {"wanted": {"odd": 1}}, "model": {"name": "x"}}]
)
def test_an_atlas_whose_card_does_not_say_how_takes_no_tokens(card, caps):
    emb = dataclasses.replace(uk.embed(caps, method="pca", tokens=9), card=card)
    with pytest.raises(uk.UltraError, match="card does not say how it was made"):
        emb.place(caps[0])


def test_one_phrase_is_no_list_of_letters():
    emb = uk.embed(SCENES[0], model="scenes", phrases="a red star", method="pca")
    assert emb.card["embedding"]["wanted"]["phrases"] == ("a red star",)


def test_captures_of_two_models_are_refused(caps):
    other = uk.capture(uk.load("scenes", pretrained=False), SCENES[0])
    with pytest.raises(ValueError, match="must come from one model, at the same layers"):
        uk.embed([caps[0], other], tokens=5)
