"""W: the loss by hand, the maps against the engine, and training that is blind, repeatable and leaves no trace."""

import importlib.util
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from typer.testing import CliRunner

import ultra_kit as uk
from ultra_kit.cli.options import app
from ultra_kit.models.weights_hash import weights_hash
from ultra_kit.runs.self_consistency import LOSSES, affinities, first_steps, self_consistency
from ultra_kit.runs.transform import Transform
from ultra_kit.runs.transform_training import train_transform

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(5)
    module = VisionTransformer(img_size=32, patch_size=8, embed_dim=12, depth=2, num_heads=2, num_classes=0)
    return uk.load(module.eval())


@pytest.fixture(scope="module")
def images():
    return [uk.data.scene(seed, size=(48, 48)).image for seed in range(6)]


def small(model, images, **options):
    return train_transform(model, images, **{"layer": 2, "epochs": 2, "progress": False, **options})


def test_weighted_loss_by_hand():
    # Cosines 0.6 (tokens 0, 1), 0 (0, 2), 0.8 (1, 2); affinities 1, 0, 0.5 with mean 0.5 and, each
    # pair counted twice, a standard deviation of sqrt(6 * (1 / 6) / 5) = sqrt(0.2).
    maps = torch.tensor([[3.0, 0], [3, 4], [0, 2]])
    affinity = torch.tensor([[9, 1, 0], [1, 9, 0.5], [0, 0.5, 9]])
    # Weights 0.5, -0.5, 0 over sqrt(0.2): the mean over pairs of weight * cosine is 0.5 * 0.6 / 3.
    assert float(self_consistency(maps, affinity, loss="weighted")) == pytest.approx(-0.1 / math.sqrt(0.2))


def test_loss_of_hellinger_likeness_by_hand():
    # Shares (1, 0), (1/2, 1/2), (0, 1): their roots have the scalar products sqrt(1/2), 0, sqrt(1/2).
    maps = torch.tensor([[3.0, 0], [4, 4], [0, 2]])
    affinity = torch.tensor([[9, 1, 0], [1, 9, 0.5], [0, 0.5, 9]])
    found = float(self_consistency(maps, affinity, metric="hellinger"))
    assert found == pytest.approx(
        -math.sqrt(0.5) * 0.5 / 3 / math.sqrt(0.2), rel=5e-3
    )  # cosine: the same here
    unequal = torch.tensor([[3.0, 0], [9, 1], [0, 2]])  # roots of shares 0.9 and 0.1
    wanted = -math.sqrt(0.9) * 0.5 / 3 / math.sqrt(0.2)
    assert float(self_consistency(unequal, affinity, metric="hellinger")) == pytest.approx(wanted, rel=5e-3)
    assert float(self_consistency(unequal, affinity)) != pytest.approx(wanted, rel=2e-2)


def test_contrast_loss_by_hand():
    maps = torch.tensor([[3.0, 0], [3, 4], [0, 2]])
    affinity = torch.tensor([[9, 1, 0.9], [1, 9, 1], [0.9, 1, 9]])
    near = 1 / (1 + math.exp(-1))  # softmax of (1, 0.9) / 0.1

    def cross(p, a, b):  # entropy of (p, 1 - p) against softmax of (a, b) / 0.1
        total = math.log(math.exp(a / 0.1) + math.exp(b / 0.1))
        return total - p * a / 0.1 - (1 - p) * b / 0.1

    wanted = (cross(near, 0.6, 0) + cross(0.5, 0.6, 0.8) + cross(1 - near, 0, 0.8)) / 3
    assert float(self_consistency(maps, affinity, loss="contrast")) == pytest.approx(wanted, rel=1e-5)


def test_neither_collapse_pays():
    group = torch.arange(8) // 4
    affinity = (group[:, None] == group).float()
    for loss in LOSSES:
        right = self_consistency(affinity + 0.01, affinity, loss=loss)
        for collapsed in (torch.ones(8, 8), torch.eye(8)):
            assert right < self_consistency(collapsed, affinity, loss=loss) - 0.2


def test_first_steps_are_those_of_a_pass_a_token(model, images):
    cap = uk.capture(model, images[0])
    w = torch.eye(12) + 0.3 * torch.randn(12, 12)
    z, attention = cap.latents[2], cap.steps[1].weights
    keep = {"positive": torch.relu, "negative": lambda x: torch.relu(-x), "absolute": torch.abs}
    for rule, part in keep.items():
        found = first_steps(cap, 2, w, rule)
        assert found.shape == (16, 16)
        for i in (0, 5, 15):
            g = torch.autograd.grad((w @ z[1 + i]).norm(), attention, retain_graph=True)[0]
            row = part(attention.detach() * g).mean(0)[1 + i, 1:]
            row[i] = max(row[j] for j in range(16) if j != i)
            torch.testing.assert_close(found[i].detach(), row, atol=1e-6, rtol=1e-4)


def test_affinities_by_a_slow_count(model, images):
    cap = uk.capture(model, images[0])
    mean = torch.tensor(cap.attention(2)).mean(0).numpy()[1:, 1:]
    rows = {"latent": cap.tokens(2)[1:], "below": cap.tokens(1)[1:], "attention": mean}
    for kind, values in rows.items():
        values = values.copy()
        if kind == "attention":
            for i in range(16):
                values[i, i] = max(values[i, j] for j in range(16) if j != i)
        found = affinities(cap, 2, kind)
        for i, j in ((0, 1), (3, 9)):
            a, b = values[i], values[j]
            cosine = float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
            assert float(found[i, j]) == pytest.approx(cosine, abs=1e-5)
    assert not torch.allclose(affinities(cap, 2, "rollout"), found)
    like, clipped = affinities(cap, 2, "latent").numpy(), affinities(cap, 2, "clipped").numpy()
    assert (like < 0).any() and (clipped[like < 0] == 0).all()
    np.testing.assert_array_equal(clipped[like >= 0], like[like >= 0])


@pytest.mark.parametrize("metric", ["cosine", "hellinger"])
def test_gradient_of_w_is_that_of_finite_differences(images, metric):
    torch.manual_seed(5)
    module = VisionTransformer(img_size=32, patch_size=8, embed_dim=12, depth=2, num_heads=2, num_classes=0)
    cap = uk.capture(uk.load(module.double().eval()), images[0])
    like = affinities(cap, 2, "latent")

    def value(w):
        maps = first_steps(cap, 2, w, "positive")
        return self_consistency(maps, like, loss="contrast", metric=metric)

    w = (torch.eye(12) + 0.1 * torch.randn(12, 12)).double().requires_grad_()
    (gradient,) = torch.autograd.grad(value(w), w, retain_graph=True)
    for i, j in ((0, 0), (3, 8), (11, 2)):
        step = torch.zeros(12, 12, dtype=torch.double)
        step[i, j] = 1e-6
        slope = (value(w.detach() + step) - value(w.detach() - step)) / 2e-6
        assert float(gradient[i, j]) == pytest.approx(float(slope), rel=1e-4, abs=1e-8)


def test_training_lowers_the_held_out_loss_and_leaves_the_model(model, images):
    before, needed = weights_hash(model.module), [p.requires_grad for p in model.module.parameters()]
    w = small(model, images, epochs=6, patience=6, learning_rate=0.01)
    assert w.matrix.shape == (12, 12) and w.layer == 2
    assert w.loss.shape == (7, 2) and w.loss[:, 1].min() < w.loss[0, 1]
    assert weights_hash(model.module) == before
    assert needed == [p.requires_grad for p in model.module.parameters()]
    assert all(p.grad is None for p in model.module.parameters())
    assert w.card["training"]["images"] == 6 and w.card["training"]["held_out"] == 1


def test_same_seed_same_matrix_other_seed_another(model, images):
    one, again, other = (small(model, images, patience=2, seed=seed).matrix for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


def test_a_step_goes_against_the_mean_gradient_of_its_images(model, images):
    # Adam's first step is its learning rate against the sign of the gradient; W - 1 is 0 there, so decay says nothing.
    one, slope = torch.eye(12, requires_grad=True), torch.zeros(12, 12)
    for image in images[1:3]:  # the first is held out
        cap = uk.capture(model, image)
        maps = first_steps(cap, 2, one, "positive")
        slope += torch.autograd.grad(self_consistency(maps, affinities(cap, 2, "clipped")), one)[0]
    w = small(model, images[:3], epochs=1, batch_size=2, affinity="clipped", learning_rate=1e-3)
    assert w.loss[1, 1] < w.loss[0, 1]
    np.testing.assert_allclose(w.matrix - np.eye(12), -1e-3 * slope.sign(), atol=2e-5)


def test_stops_when_the_held_out_loss_does_not_fall(model, images):
    wild = small(model, images, epochs=9, patience=2, learning_rate=1.0)
    best = int(wild.loss[:, 1].argmin())
    assert len(wild.loss) - 1 == min(9, best + 2)
    if best == 0:
        np.testing.assert_array_equal(wild.matrix, np.eye(12))
    fewer = small(model, images, epochs=9, patience=1, learning_rate=1.0)
    assert len(fewer.loss) <= len(wild.loss)
    still = small(model, images, learning_rate=1e-12)
    np.testing.assert_allclose(still.matrix, np.eye(12), atol=1e-6)


def test_is_taken_wherever_a_matrix_is(model, images):
    cap = uk.capture(model, images[0])
    w = Transform(np.diag(np.arange(12.0)).astype(np.float32), 2, np.zeros((1, 2), np.float32))
    for make in (uk.explain, uk.baselines.gradient_x_input):
        a, b, plain = (make(cap, layer=2, tokens=[3], transform=t).values for t in (w, w.matrix, None))
        np.testing.assert_array_equal(a, b)
        assert not np.array_equal(a, plain)


def test_an_orthogonal_matrix_changes_nothing(model, images):
    cap = uk.capture(model, images[0])
    turn, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((12, 12)))
    turned, plain = (uk.explain(cap, layer=2, transform=t).values for t in (turn, None))
    np.testing.assert_allclose(turned, plain, atol=1e-5)


def test_benchmark_makes_the_maps_of_explain(model, images):
    spec = importlib.util.spec_from_file_location("bench", ROOT / "benchmarks" / "bench_transform.py")
    bench = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    cap = uk.capture(model, images[0])
    w = np.random.default_rng(0).standard_normal((12, 12))
    tokens = np.array([2, 9])
    found = bench.maps_of(cap, 2, tokens, w, ("positive", "negative"), (1.0, 4.0))
    for (rule, scale), maps in found.items():
        wanted = uk.explain(cap, layer=2, tokens=tokens, rule=rule, transform=scale * w)
        np.testing.assert_allclose(maps.values, wanted.values, rtol=1e-4, atol=1e-6)


def test_file_holds_matrix_curve_and_card(model, images, tmp_path):
    w = small(model, images, epochs=1)
    again = Transform.load(w.save(tmp_path / "folder" / "w.safetensors"))
    np.testing.assert_array_equal(again.matrix, w.matrix)
    np.testing.assert_array_equal(again.loss, w.loss)
    assert again.layer == w.layer and again.card == json.loads(json.dumps(w.card))


def test_dinov2_comes_with_a_w():
    w = Transform.load("dinov2")
    assert w.matrix.shape == (384, 384) and w.layer == 10 and not np.allclose(w.matrix, np.eye(384))
    assert w.loss[-1, 1] < w.loss[0, 1] - 0.05  # held-out photographs
    assert w.card["training"]["metric"] == "hellinger" and w.card["model"]["name"] == "dinov2"
    folder = ROOT / "data" / "models" / "dinov2"
    assert sum(p.stat().st_size for p in folder.glob("*.safetensors")) < 1_000_000
    clicks = Transform.load(folder / "clicks.safetensors")  # what `select` reads through
    assert clicks.matrix.shape == (384, 384) and clicks.layer == 12 and clicks.loss[-1, 1] < clicks.loss[0, 1]


def test_refuses_files_that_are_none(tmp_path):
    with pytest.raises(uk.UltraError, match=r"no file transform\.safetensors"):
        Transform.load("briefs")
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(b"no")
    with pytest.raises(uk.UltraError, match="no transform"):
        Transform.load(bad)
    with pytest.raises(ValueError, match=r"must end with \.safetensors"):
        Transform(np.eye(2), 1, np.zeros((1, 2))).save(tmp_path / "w.npz")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer": 0}, "layer must be 1"),
        ({"affinity": "colour"}, "affinity must be one of"),
        ({"loss": "mse"}, "loss must be one of"),
        ({"rule": "both"}, "rule must be one of"),
        ({"epochs": 0}, "epochs, patience and batch_size must be at least 1"),
        ({"patience": 0}, "got 2, 0 and 1"),
        ({"batch_size": 0}, "got 2, 2 and 0"),
    ],
)
def test_refuses_options_out_of_range(model, images, options, message):
    with pytest.raises(ValueError, match=message):
        small(model, images, **options)


def test_refuses_one_image_and_text_models(model, images):
    with pytest.raises(ValueError, match="at least 2"):
        small(model, images[:1])
    with pytest.raises(ValueError, match="needs an image model"):
        small(uk.load("briefs", pretrained=False), ["a", "b"])


def test_command_trains_and_writes(tmp_path):
    from PIL import Image

    for seed in range(2):
        Image.fromarray(uk.data.scene(seed).image).save(tmp_path / f"{seed}.png")
    out = tmp_path / "w.safetensors"
    options = ["--layer", "1", "--epochs", "1", "--out", str(out)]
    done = CliRunner().invoke(app, ["train-transform", str(tmp_path), "--model", "scenes", *options])
    assert done.exit_code == 0, done.output
    assert Transform.load(out).layer == 1 and out.with_suffix(".png").is_file()
    empty = CliRunner().invoke(app, ["train-transform", str(tmp_path / "none")])
    assert empty.exit_code == 1 and "there is no folder" in empty.output
