"""One bar a task: named, with the time left, and none inside it."""

import inspect
import time
from pathlib import Path

import pytest
from PIL import Image

import ultra_kit as uk
from ultra_kit.runs import perturbing, synthetic_truth
from ultra_kit.types.progress import reporting


@pytest.fixture
def bars(monkeypatch):
    """The bars that are made, as tqdm would be asked for them."""
    made = []

    class Bar:
        def __init__(self, *, total, initial, desc, **how):
            self.total, self.n, self.desc, self.how = total, initial, desc, how
            if not how["disable"]:
                made.append(self)

        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

        def update(self, more):
            self.n += more

    monkeypatch.setattr("ultra_kit.types.progress.tqdm", Bar)
    return made


@pytest.fixture(scope="module")
def cap():
    return uk.capture(uk.load("scenes"), uk.data.scene(0).image)


def test_a_bar_says_task_amount_and_time_left(capsys):
    with reporting(True, 1400, "explain layer 10") as report:
        time.sleep(0.2)  # tqdm draws at most ten times a second
        report(700)
    said = capsys.readouterr().err
    assert "explain layer 10:" in said and "50%" in said and "700 of 1400 tokens" in said and "left" in said


def test_a_bar_whose_end_nobody_knows_counts(capsys):
    with reporting(True, 0, "embed: capture", "inputs") as report:
        time.sleep(0.15)
        report(3)
    assert "3 of ? inputs" in capsys.readouterr().err


def test_a_task_inside_a_task_shows_nothing_of_its_own(bars):
    counted = []
    for progress in (True, None, False, lambda done, total: counted.append((done, total))):
        with reporting(progress, 5, "outer", done=2) as report, reporting(True, 9, "inner") as inner:
            inner(9)
            report(3)
    assert [bar.desc for bar in bars] == ["outer", "outer"]
    assert [bar.n for bar in bars] == [5, 5] and counted == [(5, 5)]
    with pytest.raises(KeyError), reporting(True, 1, "stopped"):
        raise KeyError
    with reporting(True, 1, "afterwards"):
        pass
    assert bars[-1].desc == "afterwards", "a task that failed is over"


def scenes_folder(folder):
    for number in range(2):
        scene = uk.data.scene(number)
        for kind, pixels in {"images": scene.image, "masks": scene.instances}.items():
            (folder / kind).mkdir(exist_ok=True)
            Image.fromarray(pixels.astype("uint8")).save(folder / kind / f"{number}.png")
    return uk.data.Folder(folder)


def inner_explain(cap, tokens):
    """A method that would show a bar of its own."""
    return uk.explain(cap, layer=2, tokens=tokens, progress=True)


def name_of_a_word(folder):
    """With a cache that holds nothing yet."""
    with pytest.MonkeyPatch.context() as changed:
        changed.setenv("ULTRA_KIT_CACHE", str(folder))
        read = uk.capture(uk.load("briefs", pretrained=False), "The fire reached Selby.")
        uk.name(read, layer=2, among=["The fire reached Selby.", "The flood began."], progress=True)


CALLS = {
    "read sentences up to layer 2": lambda cap, at: name_of_a_word(at),
    "explain layer 3": lambda cap, at: uk.explain(cap, layer=3, tokens=[9, 10], progress=True),
    "gradient x input, layer 3": lambda cap, at: uk.baselines.gradient_x_input(
        cap, layer=3, tokens=[9, 10], progress=True
    ),
    "integrated gradients, layer 2": lambda cap, at: uk.baselines.integrated_gradients(
        cap, layer=2, tokens=[9, 10], n_steps=1, progress=True
    ),
    "train W for layer 2": lambda cap, at: uk.train_transform(
        cap.model, [uk.data.scene(n).image for n in range(3)], layer=2, epochs=1
    ),
    "diagnose": lambda cap, at: uk.diagnose(cap, tokens=[9], layers=[2, 3], progress=True),
    "evaluate layer 2": lambda cap, at: uk.evaluate("scenes", scenes_folder(at), out=at / "out", layer=2),
    "measure maps": lambda cap, at: synthetic_truth.measure_maps(cap.model, {"a": inner_explain}, [0, 1]),
    "measure segments": lambda cap, at: synthetic_truth.measure_segments(
        cap.model, {"a": inner_explain}, [0, 1]
    ),
    "measure perturbation": lambda cap, at: perturbing.measure_perturbation(
        cap.model,
        {"a": inner_explain},
        [uk.data.scene(n).image for n in range(2)],
        per_image=1,
        fractions=(0, 1),
    ),
}


@pytest.mark.parametrize("task", CALLS)
def test_every_long_call_shows_one_named_bar_to_its_end(bars, cap, tmp_path, task):
    CALLS[task](cap, tmp_path)
    assert [bar.desc for bar in bars] == [task]
    assert bars[0].n == bars[0].total == 2
    assert "{remaining} left" in bars[0].how["bar_format"]


def test_an_atlas_shows_a_bar_for_each_of_its_two_parts(bars):
    scenes = [uk.data.scene(seed).image for seed in range(2)]
    uk.embed(scenes, model="scenes", method="pca", tokens=5, progress=True)
    assert [(bar.desc, bar.n, bar.total) for bar in bars] == [
        ("embed: capture", 2, 2),
        ("embed: place", 3, 3),
    ]


def test_every_public_call_that_has_a_bar_is_tried_here():
    """`fetch` is tried with the models, `evidence` shows the bar of `explain`."""
    rooms = (uk, uk.baselines, synthetic_truth, perturbing)
    called = {name: f for room in rooms for name, f in inspect.getmembers(room, inspect.isfunction)}
    long = {name for name, f in called.items() if "progress" in inspect.signature(f).parameters}
    tried = {"explain", "gradient_x_input", "integrated_gradients", "train_transform", "evaluate", "evidence"}
    tried |= {
        "measure_maps",
        "measure_segments",
        "measure_evidence",
        "measure_perturbation",
        "name",
        "embed",
        "diagnose",
    }
    assert {name for name in long if name[0] != "_"} - {"reporting"} == tried


def test_no_other_file_makes_a_bar():
    room = Path(uk.__file__).parent
    users = [
        p.relative_to(room).as_posix() for p in room.rglob("*.py") if "tqdm.auto" in p.read_text("utf-8")
    ]
    assert users == ["types/progress.py"]
