"""A model over a data set: numbers against the metrics by hand, breaks, processes and clusters."""

import csv
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import joblib
import numpy as np
import pytest
import torch
from PIL import Image
from toys_datasets import bsds_truth
from typer.testing import CliRunner

import ultra_kit as uk
from ultra_kit.cli.options import app
from ultra_kit.runs import image_records
from ultra_kit.runs.image_records import colour_labels, majority
from ultra_kit.runs.record_pictures import side_by_side
from ultra_kit.types.grids import cell_grid

QUICK = {"method": "cosine", "layer": 2, "metric": "cosine", "threshold": 0.02, "progress": False}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Four scenes, each class a shape, in the layout of `Folder`."""
    folder = tmp_path_factory.mktemp("scenes")
    for seed in range(4):
        s = uk.data.scene(seed)
        classes = np.array([0, *(1 + i % 2 for i in range(len(s.objects)))], np.uint8)[s.instances]
        for kind, pixels in {"images": s.image, "masks": classes}.items():
            (folder / kind).mkdir(exist_ok=True)
            Image.fromarray(pixels).save(folder / kind / f"{seed}.png")
    return folder


@pytest.fixture(scope="module")
def data(root):
    return uk.data.Folder(root, classes=["ground", "odd", "even"])


@pytest.fixture(scope="module")
def straight(data, tmp_path_factory):
    """The job that all others must agree with, made in one go in this process."""
    out = tmp_path_factory.mktemp("straight")
    return uk.evaluate("scenes", data, out=out, **QUICK), out


def files(out):
    """Everything written that a user reads."""
    names = ("results.json", "images.csv")
    pictures = [p for kind in ("best", "worst") for p in sorted((out / kind).iterdir())]
    return {str(p.relative_to(out)): p.read_bytes() for p in (*(out / n for n in names), *pictures)}


def test_rows_agree_with_the_metrics(data, straight):
    found, _ = straight
    model = uk.load("scenes")
    present, exact, grid = [], [], 0
    for sample in data:
        cap = uk.capture(model, sample.image)
        seg = uk.segment(uk.baselines.cosine(cap, layer=2), threshold=0.02, metric="cosine")
        counts = uk.metrics.confusion(seg.labels, sample.truth, n_classes=3, n_clusters=seg.n_segments)
        present.append(uk.metrics.image_counts(counts))
        exact.append(uk.metrics.image_counts(counts, match="diffseg"))
        cell = np.arange(96) // 32
        grid += uk.metrics.confusion(cell[:, None] * 3 + cell, sample.truth, n_classes=3, n_clusters=9)
    for family, counts in (("B: image, present", present), ("B: image, DiffSeg", exact)):
        want, row = uk.metrics.pooled_metrics(counts), found.row("cosine", family)
        assert (row["accuracy"], row["miou"]) == (pytest.approx(want.accuracy), pytest.approx(want.miou))
    want = uk.metrics.dataset_metrics(grid)
    row = found.row("3 x 3 grid", "A")
    assert (row["K"], row["accuracy"], row["miou"]) == (9, want.accuracy, pytest.approx(want.miou))


def test_one_segment_scores_the_ground_by_hand(data, straight):
    found, _ = straight
    truth = np.stack([s.truth for s in data])
    ground = (truth == 0).mean()
    row = found.row("one segment", "A")
    assert (row["K"], row["accuracy"]) == (1, pytest.approx(ground))
    assert row["iou"] == [pytest.approx(ground), 0, 0]


def test_every_row_names_what_it_stands_for(straight):
    found, _ = straight
    families = set(found.rows["family"])
    assert families == {"A: data set, one match", "B: image, present classes", "B: image, DiffSeg"}
    methods = {
        "cosine",
        "k-means on colour",
        "one segment",
        "3 x 3 grid",
        "7 x 7 grid",
        "token grid's ceiling",
    }
    for family in families:
        assert set(found.rows["method"][found.rows["family"] == family]) == methods
    assert set(found.rows["crop"]) == {"full"} and set(found.rows["size"]) == {"96x96"}
    assert found.row("cosine", "A")["K"] == 3
    assert found.card["cut"] == "threshold 0.02"
    for words in ("scenes on", "cut: threshold 0.02", "token grid", "A: data set", "miou"):
        assert words in repr(found) and words in found._repr_html_()


def test_files_say_what_was_found(straight, data):
    found, out = straight
    stored = json.loads((out / "results.json").read_text())
    assert stored["rows"] == found.rows.to_dict("records")
    assert list(stored["rows"][0]) == "method family K accuracy miou iou crop size".split()
    k = [r["K"] for r in stored["rows"]]
    assert k[:6] == [3, 3, 1, 9, 49, 3] and all(type(v) is int for v in k[:6]) and type(k[6]) is float
    assert stored["card"]["dataset"]["images"] == 4
    rows = list(csv.DictReader((out / "images.csv").open()))
    assert [r["image"] for r in rows] == ["0", "1", "2", "3"]
    parts = [f"{m}{of}" for of in ("", " of one segment", " of the ceiling") for m in ("accuracy", "miou")]
    assert list(rows[0]) == ["index", "image", "segments", "classes", "family", *parts]
    miou = [float(r["miou"]) for r in rows]
    worst, best = sorted((out / "worst").iterdir())[0], sorted((out / "best").iterdir())[0]
    assert worst.name == f"01-{np.argmin(miou)}.png" and best.name == f"01-{np.argmax(miou)}.png"
    assert Image.open(worst).size == (3 * 96 + 8, 96)


def test_a_break_changes_nothing(straight, data, tmp_path, monkeypatch):
    _, whole = straight
    real, done = image_records.measure, []

    def breaks(job, sample):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(sample.name)
        return real(job, sample)

    monkeypatch.setattr(image_records, "measure", breaks)
    with pytest.raises(KeyboardInterrupt):
        uk.evaluate("scenes", data, out=tmp_path, **QUICK)
    mine, old, young = (
        tmp_path / "images" / name
        for name in ("a.part1.rar", f".000002.{'0' * 12}.part.npz", f".000003.{'f' * 12}.part.npz")
    )
    for path in (mine, old, young):
        path.write_bytes(b"half a record")
    os.utime(old, (0, 0))
    done[:] = ["a later run"]
    with pytest.raises(KeyboardInterrupt):  # one more image, then again
        uk.evaluate("scenes", data, out=tmp_path, **QUICK)
    assert done == ["a later run", "2"]  # 0 and 1 were not made again
    monkeypatch.setattr(image_records, "measure", real)
    uk.evaluate("scenes", data, out=tmp_path, **QUICK)
    assert files(tmp_path) == files(whole)
    # What nobody is at any more goes; what another process may be at, and what is not ours, stays.
    assert mine.exists() and young.exists() and not old.exists()


FORGED = [  # records of the right files that no measuring can have made
    lambda record: record.pop("counts:one segment"),
    lambda record: record.pop("features:cosine"),
    lambda record: record.update({"counts:cosine": record["counts:cosine"] - 10**6}),
    lambda record: record.update({"counts:cosine": 2 * record["counts:cosine"]}),
    lambda record: record.update({"counts:cosine": record["counts:cosine"][:1]}),
    lambda record: record.update({"counts:cosine": record["counts:cosine"] / 2}),
    lambda record: record.update({"features:cosine": record["features:cosine"][:1]}),
    lambda record: record.update(segments=record["segments"][:0]),
]


def test_only_what_was_made_from_the_same_bytes_is_taken(root, straight, tmp_path):
    """Images and masks under their old names, damaged records and a damaged card."""
    shutil.copytree(root, tmp_path / "data")
    shutil.copytree(straight[1], out := tmp_path / "out")
    data = uk.data.Folder(tmp_path / "data", classes=["ground", "odd", "even"])
    held = json.loads((out / "job.json").read_text())
    (out / "job.json").write_text(json.dumps({**held, "dataset": data.card}))
    times = {p.name: p.stat().st_mtime_ns for p in out.glob("images/*.npz")}

    def remade():
        uk.evaluate("scenes", data, out=out, **QUICK)
        now = {p.name: p.stat().st_mtime_ns for p in out.glob("images/*.npz")}
        changed = sorted(int(name[:6]) for name in now if now[name] != times[name])
        times.update(now)
        return changed

    assert remade() == []
    shutil.copy(root / "images/3.png", tmp_path / "data/images/0.png")
    shutil.copy(root / "masks/3.png", tmp_path / "data/masks/1.png")
    assert remade() == [0, 1]
    for index, content in enumerate(
        (b"", (out / "images/000001.npz").read_bytes()[:700], b"PK\x03\x04" + b"\0" * 50)
    ):
        (out / f"images/{index:06}.npz").write_bytes(content)
    times.update({p.name: p.stat().st_mtime_ns for p in out.glob("images/*.npz")})
    assert remade() == [0, 1, 2]
    for index, edit in enumerate(FORGED):
        path = out / f"images/{index % 4:06}.npz"
        with np.load(path) as stored:
            record = dict(stored)
        edit(record)
        np.savez_compressed(path, **record)
        times[path.name] = path.stat().st_mtime_ns
        assert remade() == [index % 4]
    (out / "job.json").unlink()  # who deletes the card of a job keeps its records, and no others
    assert remade() == []
    (out / "job.json").unlink()
    uk.evaluate(uk.load("scenes", pretrained=False), data, out=out, **QUICK)
    times = {p.name: p.stat().st_mtime_ns for p in out.glob("images/*.npz")}
    (out / "job.json").unlink()
    assert remade() == list(range(len(data)))
    for content in ("", "[", "[1]", "3", "[" * 10**5):
        (out / "job.json").write_text(content)
        with pytest.raises(ValueError, match=r"job\.json is damaged"):
            uk.evaluate("scenes", data, out=out, **QUICK)


def test_a_cell_of_the_table_is_no_formula(straight, tmp_path):
    found, _ = straight
    names = ["=1+1", "@SUM(A1)", "-2", "cat=1"]
    dataclasses.replace(found, images=found.images.assign(image=names)).save(tmp_path)
    rows = list(csv.DictReader((tmp_path / "images.csv").open()))
    assert [r["image"] for r in rows] == ["'=1+1", "'@SUM(A1)", "'-2", "cat=1"]


def test_a_worker_ends_soon_after_its_killed_caller():
    caller = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
    program = (
        "import time\nfrom ultra_kit.types.workers import end_with, this_process\n"
        f"end_with((this_process()[0], {caller.pid}))\nprint('ready', flush=True)\ntime.sleep(300)"
    )
    worker = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    try:
        assert worker.stdout.readline() == "ready\n" and worker.poll() is None
        caller.kill()  # and nobody has asked about its end yet
        assert worker.wait(60) == 1
    finally:
        caller.kill()
        caller.wait()
        worker.kill()
        worker.stdout.close()


def test_another_job_is_not_mixed_in(data, tmp_path, straight):
    _, whole = straight
    before = files(whole)
    for change, words in (
        ({"layer": 3}, "layer was 2, is 3"),
        ({"threshold": 0.3}, "cut was 'threshold 0.02', is 'threshold 0.3'"),
        ({"seed": 1}, "seed was 0, is 1"),
    ):
        with pytest.raises(ValueError, match=words):
            uk.evaluate("scenes", data, out=whole, **(QUICK | change))
    text = (whole / "job.json").read_text()
    held = json.loads(text)
    held["model"]["weights_sha256"] = "of another model"
    (whole / "job.json").write_text(json.dumps(held))
    with pytest.raises(ValueError, match=r"model was .*of another model"):
        uk.evaluate("scenes", data, out=whole, **QUICK)
    (whole / "job.json").write_text(text)
    with pytest.raises(ValueError, match="dataset was"):
        uk.evaluate("scenes", data[:2], out=whole, **QUICK)
    assert files(whole) == before


def test_a_run_of_an_earlier_version_goes_on(data, straight, tmp_path):
    """Its card of the model states less than today's; its records are taken as they are."""
    _, whole = straight
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    held = json.loads((tmp_path / "job.json").read_text())
    del held["model"]["config"], held["model"]["versions"]["timm"]
    (tmp_path / "job.json").write_text(json.dumps(held))
    (tmp_path / "images/000001.npz").unlink()
    kept = {p.name: p.stat().st_mtime_ns for p in tmp_path.glob("images/*.npz")}
    uk.evaluate("scenes", data, out=tmp_path, **QUICK)
    assert files(tmp_path) == files(whole) and len(kept) == 3
    assert all((tmp_path / "images" / n).stat().st_mtime_ns == t for n, t in kept.items())


@pytest.mark.slow
def test_a_killed_run_goes_on(root, data, straight, tmp_path):
    """A process, killed without warning after its first image, and this one, which ends its work."""
    _, whole = straight
    program = (
        "import ultra_kit as uk; "
        f"data = uk.data.Folder({str(root)!r}, classes=['ground', 'odd', 'even']); "
        f"uk.evaluate('scenes', data, out={str(tmp_path)!r}, **{QUICK!r})"
    )
    process = subprocess.Popen([sys.executable, "-c", program])
    try:
        while process.poll() is None and not list(tmp_path.glob("images/[0-9]*.npz")):
            time.sleep(0.005)
    finally:
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
        process.wait()
    kept = {p.name: p.stat().st_mtime_ns for p in tmp_path.glob("images/[0-9]*.npz")}
    assert kept
    uk.evaluate("scenes", data, out=tmp_path, **QUICK)
    assert files(tmp_path) == files(whole)
    assert all((tmp_path / "images" / n).stat().st_mtime_ns == t for n, t in kept.items())


@pytest.mark.slow
def test_processes_and_a_dask_cluster_give_the_same_numbers(data, straight, tmp_path, monkeypatch):
    from dask.distributed import Client, LocalCluster

    _, whole = straight
    real, threads = image_records.measure, set()

    def measure(job, sample):
        threads.add(threading.current_thread())
        return real(job, sample)

    monkeypatch.setattr(image_records, "measure", measure)
    with joblib.parallel_config(backend="loky", n_jobs=2):
        uk.evaluate("scenes", data, out=tmp_path / "loky", **QUICK)
    assert not threads  # all was done in other processes
    # The cluster's workers are threads here, so that no interpreter has to start; what they are sent is packed.
    cluster = LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, protocol="tcp", dashboard_address=None
    )
    with cluster, Client(cluster), joblib.parallel_config(backend="dask"):
        uk.evaluate("scenes", data, out=tmp_path / "dask", **QUICK)
    assert threads and threading.current_thread() not in threads
    assert files(tmp_path / "loky") == files(whole)
    assert files(tmp_path / "dask") == files(whole)


@pytest.mark.slow
def test_a_ray_cluster_gives_the_same_numbers(data, straight, tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # else it leaves a token in the home folder
    monkeypatch.setenv("RAY_agent_register_timeout_ms", "200000")
    ray = pytest.importorskip("ray", reason="needs the package ray")
    joblib_of_ray = pytest.importorskip("ray.util.joblib")
    here = dict(_node_ip_address="127.0.0.1", object_store_memory=10**8)
    try:
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, **here)
    except Exception as error:  # it gives up after half a minute where the machine is busy
        pytest.skip(f"ray does not start here: {error}")
    try:
        joblib_of_ray.register_ray()
        with joblib.parallel_config(backend="ray"):
            uk.evaluate("scenes", data, out=tmp_path, **QUICK)
    finally:
        ray.shutdown()
    assert files(tmp_path) == files(straight[1])


def test_another_process_works_with_one_thread(data, tmp_path, monkeypatch):
    """Two processes of two threads each slow one another; the caller's own process keeps its threads."""
    threads, before = [], torch.get_num_threads()
    monkeypatch.setattr(
        image_records, "measure", lambda job, sample: threads.append(torch.get_num_threads()) or {"a": 1}
    )
    job = image_records.Job("scenes", data, tmp_path, "cosine", {}, ({},), 0)
    here = image_records.this_process()
    torch.set_num_threads(2)
    try:
        for caller in (here, (here[0], here[1] + 1), ("another machine", here[1])):
            image_records.work(job, 0, caller)
            assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert threads == [2, 1, 1]


def test_true_k_reads_the_truth_and_says_so(data, tmp_path):
    found = uk.evaluate("scenes", data, out=tmp_path, **(QUICK | {"threshold": None, "n_segments": "true"}))
    assert "read from the truth" in found.card["cut"]
    assert (found.images["segments"] == found.images["classes"]).all()
    fixed = uk.evaluate("scenes", data, out=tmp_path / "5", **(QUICK | {"threshold": None, "n_segments": 5}))
    assert set(fixed.images["segments"]) == {5} and fixed.card["cut"] == "n_segments 5"


def test_ultra_and_a_loaded_model(data, tmp_path):
    found = uk.evaluate(
        uk.load("scenes"), data[:1], out=tmp_path, layer=1, rule="absolute", n_segments=2, progress=False
    )
    cap = uk.capture(uk.load("scenes"), data[0].image)
    seg = uk.segment(uk.explain(cap, layer=1, rule="absolute", progress=False), n_segments=2)
    counts = uk.metrics.confusion(seg.labels, data[0].truth, n_classes=3)
    want = uk.metrics.pooled_metrics(uk.metrics.image_counts(counts))
    assert found.row("ultra", "B: image, p")["miou"] == pytest.approx(want.miou)


def test_regions_and_human_agreement(tmp_path):
    """BSDS500: two scenes, three annotators each."""
    for seed in range(2):
        s = uk.data.scene(seed)
        path = tmp_path / f"images/val/{seed}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(s.image).save(path)
        maps = [s.instances + 1, np.minimum(s.instances, 1) + 1, np.ones_like(s.instances)]
        bsds_truth(tmp_path / f"groundTruth/val/{seed}.mat", maps)
    data = uk.data.BSDS500(tmp_path)
    cuts = [0.01, 0.1]
    found = uk.evaluate("scenes", data, out=tmp_path / "out", **(QUICK | {"threshold": cuts}))
    model, scores = uk.load("scenes"), []
    for sample in data:
        maps = uk.baselines.cosine(uk.capture(model, sample.image), layer=2)
        scores.append(
            uk.metrics.region_metrics(
                [uk.segment(maps, threshold=t, metric="cosine").labels for t in cuts], sample.truths
            )
        )
    want, row = uk.metrics.region_summary(scores), found.row("cosine", "regions")
    assert {k: row[k] for k in want} == pytest.approx(want)
    one = [uk.metrics.region_metrics([np.zeros((96, 96), int)], s.truths) for s in data]
    assert found.row("one segment", "regions")["covering_ods"] == pytest.approx(
        uk.metrics.region_summary(one)["covering_ods"]
    )
    each = [
        uk.metrics.region_metrics([drawn], [other for k, other in enumerate(s.truths) if k != p])
        for s in data
        for p, drawn in enumerate(s.truths)
    ]
    row = found.row("people", "regions")
    covered, area = (sum(getattr(e, name).sum() for e in each) for name in ("covered", "area"))
    assert row["covering_ods"] == pytest.approx(covered / area)
    assert row["pri_ods"] == pytest.approx(np.mean([e.rand[0] for e in each]))
    assert row["vi_ods"] == pytest.approx(np.mean([e.information[0] for e in each]))
    assert found.card["cut"] == "threshold 0.01, 0.1"
    stored = json.loads((tmp_path / "out/results.json").read_text())["rows"]
    assert stored == found.rows.to_dict("records")
    assert stored[-1]["method"] == "people" and stored[-1]["K"] is None
    assert list(stored[0]) == ["method", "family", "K", *want, "crop", "size"]
    covering = ["covering", "covering at its best cut", "pri", "vi", "covering of one segment"]
    columns = csv.DictReader((tmp_path / "out/images.csv").open()).fieldnames
    assert columns == ["index", "image", "segments", "family", *covering]
    with pytest.raises(ValueError, match="annotators disagree"):
        uk.evaluate(
            "scenes", data, out=tmp_path / "no", **(QUICK | {"threshold": None, "n_segments": "true"})
        )


def test_what_is_not_said_is_the_models_own(data, tmp_path):
    """As segment(explain(capture)) with nothing said, whose metric is not cosine for this model."""
    found = uk.evaluate("scenes", data[:1], out=tmp_path, progress=False)
    seg = uk.segment(uk.explain(uk.capture(uk.load("scenes"), data[0].image), progress=False))
    assert seg.card["segmentation"]["metric"] == "hellinger"
    assert found.images["segments"].tolist() == [seg.n_segments]
    assert found.card["cut"] == "the model's own threshold, hellinger"
    assert (found.card["layer"], found.card["score"], found.card["rule"]) == (-1, "norm", "positive")


def test_options_that_can_not_be_are_refused(data, tmp_path):
    for change, words in (
        ({"method": "guess"}, "method must be one of ultra, raw"),
        ({"threshold": [0.1, 0.2]}, "takes one threshold, got 2"),
        ({"n_segments": 3}, "either threshold or n_segments, got 0.02 and 3"),
        ({"threshold": None, "n_segments": "few"}, "numbers or 'true'"),
        ({"threshold": None, "n_segments": []}, "takes one n_segments, got 0"),
    ):
        with pytest.raises(ValueError, match=words):
            uk.evaluate("scenes", data, out=tmp_path / "out", **(QUICK | change))
    with pytest.raises(ValueError, match=r"n_segments must be in 1\.\.144"):
        uk.evaluate(
            "scenes", data[:1], out=tmp_path / "none", **(QUICK | {"threshold": None, "n_segments": 0})
        )
    with pytest.raises(ValueError, match="briefs is for text"):
        uk.evaluate("briefs", data, out=tmp_path / "out", **QUICK)
    assert not (tmp_path / "out").exists()
    with pytest.raises(ValueError, match="must name one row"):
        uk.evaluate("scenes", data[:1], out=tmp_path / "one", **QUICK).row("cosine", "B")


def test_trivial_baselines_by_hand():
    assert cell_grid((3, 4), (2, 2)).tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3]]
    # Cells of 4 pixels: (3, 1), (1, 3), (2, 2), (0, 0): classes 0, 1, 0 (a tie), 0.
    counts = np.array([[3, 1, 2, 0], [1, 3, 2, 0]])
    assert majority(counts).tolist() == [[5, 1], [3, 3]]
    image = np.zeros((4, 6, 3), np.uint8)
    image[:, 3:] = (200, 30, 90)
    labels, centres = colour_labels(image, 5)
    assert len(centres) == 2 and len(np.unique(labels[:, :3])) == len(np.unique(labels[:, 3:])) == 1
    np.testing.assert_allclose(centres[labels[0, 5]], np.array([200, 30, 90]) / 255)


def test_pictures_colour_segments_as_their_classes():
    truth = np.array([[0, 0, 1, 1], [0, 0, 1, -1]])
    sample = uk.data.Sample("a", np.full((2, 4, 3), 9, np.uint8), (truth,))
    pixels = np.asarray(side_by_side(sample, np.array([[7, 7, 3, 3], [7, 5, 3, 3]])))
    assert pixels.shape == (2, 4 * 3 + 8, 3)
    shown, found = pixels[:, 8:12], pixels[:, 16:20]
    assert (pixels[:, :4] == 9).all()
    np.testing.assert_array_equal(found[0], shown[0])  # 7 is class 0, 3 is class 1
    assert found[1, 1].tolist() == [150, 150, 150]  # left over
    assert shown[1, 3].tolist() == [0, 0, 0]  # ignored


def test_a_share_of_the_patches(root, data, tmp_path):
    """Segments are those of the maps of a share, completed; the card and another folder's records say so."""
    how = dict(layer=2, metric="cosine", n_segments=3, progress=False)
    found = uk.evaluate("scenes", data[:1], out=tmp_path / "a", share=0.1, **how)
    cap = uk.capture(uk.load("scenes"), data[0].image)
    few = uk.explain(cap, layer=2, tokens=uk.maps.medoids(cap, 0.1, layer=2))
    assert len(few) < 0.2 * cap.layout.n_content
    seg = uk.segment(uk.maps.complete(few, cap), metric="cosine", n_segments=3)
    with np.load(tmp_path / "a" / "images" / "000000.npz") as record:
        assert np.array_equal(record["labels"][0], seg.labels)
    assert found.card["share"] == 0.1
    with pytest.raises(ValueError, match=r"share was 0\.1, is None"):
        uk.evaluate("scenes", data[:1], out=tmp_path / "a", **how)
    with pytest.raises(ValueError, match=r"share=0\.1 is for the method 'ultra'"):
        uk.evaluate("scenes", data[:1], out=tmp_path / "b", method="cosine", share=0.1, **how)
    with pytest.raises(ValueError, match="a share of the tokens must be above 0"):
        uk.evaluate("scenes", data[:1], out=tmp_path / "c", share=2.0, **how)
    image = min((root / "images").iterdir())
    arguments = ["segment", str(image), "--model", "scenes", "--layer", "2", "--metric", "cosine"]
    arguments += ["--n-segments", "3", "--share", "0.1", "--out", str(tmp_path / "d")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    (stored,) = (tmp_path / "d").glob("*.npz")
    assert np.array_equal(uk.open(stored).labels, seg.labels)


def test_command_line(root, tmp_path):
    arguments = ["evaluate", "folder", str(root), "--model", "scenes", "--method", "cosine", "--layer", "2"]
    arguments += ["--metric", "cosine", "--threshold", "0.02"]
    result = CliRunner().invoke(app, [*arguments, "--limit", "1", "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert "token grid's ceiling" in result.output and (tmp_path / "out/images.csv").is_file()
    for more, words in (
        (["--n-segments", "3"], "either threshold or n_segments"),
        (["--split", "val"], "no splits"),
        (["--crop", "320"], "crop must be one of"),
    ):
        result = CliRunner().invoke(app, [*arguments, *more, "--out", str(tmp_path / "no")])
        assert result.exit_code == 1 and words in result.output
    result = CliRunner().invoke(app, ["evaluate", "voc-2012", str(root), "--out", str(tmp_path / "no")])
    assert result.exit_code == 1 and "its layout is" in result.output
