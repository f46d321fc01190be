"""The bundled backbone for photographs: any shape of image, small weights; and the geometry of its training."""

import runpy

import numpy as np
import pytest
import torch
from PIL import Image

import ultra_kit as uk
from ultra_kit.models.image_backbone import KeepAspect
from ultra_kit.models.loading import data_folder

FOLDER = data_folder() / "models" / "photos"


@pytest.fixture(scope="module")
def model():
    return uk.load("photos")


@pytest.fixture(scope="module")
def training():
    return runpy.run_path(str(FOLDER / "train.py"))


@pytest.mark.parametrize(
    ("width", "height", "grid"),
    [
        (481, 321, (12, 18)),
        (321, 481, (18, 12)),
        (100, 100, (18, 18)),
        (1000, 10, (1, 18)),
        (36, 30, (15, 18)),
        (500, 375, (14, 18)),  # 13.5 rows
    ],
)
def test_grid_follows_the_shape_of_the_image(model, width, height, grid):
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    cap = uk.capture(model, image)
    assert cap.layout.grid == grid and cap.layout.size == (height, width)
    assert len(cap.tokens(-1)) == cap.layout.n_prefix + grid[0] * grid[1]


def test_the_whole_image_is_in_view_and_scaled_to_one():
    image = np.zeros((50, 100, 3), np.uint8)
    image[:, 50:] = 255
    seen = KeepAspect(8, 16, measure=max)(Image.fromarray(image))
    assert seen.shape == (3, 8, 16)
    assert torch.allclose(seen[..., 0], torch.tensor(-1.0)) and torch.allclose(
        seen[..., -1], torch.tensor(1.0)
    )


def test_weights_are_small_trained_and_in_half_precision(model):
    from safetensors.torch import load_file

    path = FOLDER / "model.safetensors"
    assert path.stat().st_size < 10_000_000
    assert {t.dtype for t in load_file(path).values() if t.is_floating_point()} == {torch.float16}
    assert {p.dtype for p in model.module.parameters()} == {torch.float32}
    random = uk.load("photos", pretrained=False)
    assert random.card()["weights_sha256"] != model.card()["weights_sha256"]


def test_the_head_names_prototypes(model):
    cap = uk.capture(model, uk.data.photograph("chelsea"))
    logits = model.head(cap.latents[-1].detach())
    z, w = cap.latents[-1].detach(), model.module.prototypes
    assert torch.allclose(w.norm(dim=-1), torch.ones(len(w)), atol=1e-4)
    assert torch.allclose(logits, z @ w.T)
    assert uk.load("photos", pretrained=False).head(z) is None


def test_it_is_supported_and_can_be_explained(model):
    report = uk.check(model)
    assert report.supported and not report.flat_norm
    cap = uk.capture(model, uk.data.photograph("coffee"))
    token = cap.layout.token_at(240, 150)
    maps = uk.explain(cap, layer=-1, tokens=[token], progress=False)
    assert maps.values.shape == (1, cap.layout.n_tokens) and maps.without_own.max() > 0


def test_small_crops_lie_where_they_say(training):
    # A picture whose red is x and whose green is y: every crop says by its colours where it was cut.
    y, x = np.mgrid[:320, :480]
    ramp = Image.fromarray(np.stack([x * 255 // 480, y * 255 // 320, 0 * x], -1).astype(np.uint8))
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(6):
        views = training["cut"]([ramp], (12, 18), 3, rng)
        mirrored = bool(views.large[0, 0, 0, -1] < views.large[0, 0, 0, 0])
        seen.add(mirrored)
        large = views.large.unfold(2, 8, 8).unfold(3, 8, 8).mean((-1, -2)).flatten(2).mT
        small = views.small.unfold(2, 8, 8).unfold(3, 8, 8).mean((-1, -2)).flatten(2).mT
        told = training["at_places"](large, (12, 18), views.where)
        # Patches at the border of the large crop are read at their middle, so the outermost may differ.
        assert (told - small).abs().mean() < 0.01
    assert seen == {True, False}


def test_positions_of_the_whole_plane_are_the_embedding_itself(training):
    v = uk.models.photos_model.build_photos(16, 1, 2)
    with torch.no_grad():
        v.pos_embed.normal_()
    side = training["SIDE"]
    found = training["positions"](v, (side, side), (0.0, 0.0, 1.0, 1.0))
    torch.testing.assert_close(found, v.pos_embed[:, v.num_prefix_tokens :], rtol=1e-4, atol=1e-4)
    quarter = training["positions"](v, (side // 2, side // 2), (0.5, 0.0, 1.0, 0.5))
    wanted = v.pos_embed[0, v.num_prefix_tokens :].unflatten(0, (side, side))[side // 2 :, : side // 2]
    torch.testing.assert_close(quarter[0], wanted.flatten(0, 1), rtol=1e-4, atol=1e-4)


def test_a_walk_stays_among_like_patches(training):
    # Left half and right half of a 4 x 6 grid have opposite latents.
    half = torch.tensor([1.0, 1, 1, -1, -1, -1]).repeat(4)
    latents = torch.stack([half, -half], 1)[None]
    p = training["walk"](latents, (4, 6), 6.0, 2.0, 4)[0]
    torch.testing.assert_close(p.sum(1), torch.ones(24))
    assert p.diagonal().abs().max() == 0
    same = half[:, None] == half
    assert (p * same).sum(1).min() > 0.95
    # By symmetry all steps taken, a far patch of one's own half is likelier than a near one of the other.
    assert p[2, 0] > 10 * p[2, 3]


def test_training_forward_is_the_models_own(training):
    v = uk.models.photos_model.build_photos(16, 2, 2).eval()
    x = torch.randn(2, 3, 144, 144)
    with torch.no_grad():
        for p in v.parameters():  # small initial weights would hide mistakes
            if p.ndim > 1:
                p.normal_(0, 0.3)
        place = training["positions"](v, (18, 18), (0.0, 0.0, 1.0, 1.0))
        z, attentions = training["forward"](v, x, place, None, None)
        plain = v.forward_features(x)[:, v.num_prefix_tokens :]
    torch.testing.assert_close(z, plain, rtol=1e-3, atol=1e-3)
    assert [a.shape for a in attentions] == [(2, 2, 328, 328)] * 2
    look = training["shares"](attentions[1].mean(1), v.num_prefix_tokens)
    torch.testing.assert_close(look.sum(-1), torch.ones(2, 324), rtol=1e-4, atol=1e-4)
    assert look.diagonal(dim1=1, dim2=2).abs().max() == 0


def test_first_relevance_is_the_first_step_of_a_map(training):
    """With one block a length depends on its own row alone: the sum's gradient is each one's own."""
    torch.manual_seed(0)
    v = uk.models.photos_model.build_photos(16, 1, 2).eval()
    with torch.no_grad():
        for p in v.parameters():
            if p.ndim > 1:
                p.normal_(0, 0.3)
    place = training["positions"](v, (3, 4), (0.0, 0.0, 1.0, 1.0))
    z, attentions = training["forward"](v, torch.randn(1, 3, 24, 32), place, None, None)
    found = training["first_relevance"](z, attentions)[0]
    for token in (0, 7, 11):
        (gradient,) = torch.autograd.grad(z[0, token].norm(), attentions, retain_graph=True)
        row = (attentions[0] * gradient).relu().mean(1)[0, v.num_prefix_tokens + token]
        torch.testing.assert_close(found[v.num_prefix_tokens + token], row, rtol=1e-4, atol=1e-6)
        assert row.max() > 0
