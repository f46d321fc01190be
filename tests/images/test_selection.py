"""Selection of objects: each step worked by hand, and the whole on maps whose answer is known."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from toys_selection import CAP, IMAGE, LAYOUT, MAPS, PARTS, PIXELS, Speaking, capture_of, maps_of

import ultra_kit as uk
from ultra_kit.images import pixel_relevance as steps
from ultra_kit.images.selecting import best_patch
from ultra_kit.types import AttentionStep, Capture, Layout, Settings


def test_links_by_hand():
    # Rows without the diagonal, to sum 1: [0, .5, .5], [1, 0, 0], [0, 0, 0]; mean with the transpose:
    # [0, .75, .25], [.75, 0, 0], [.25, 0, 0]; to sum 1 again.
    found = steps.links(np.array([[7.0, 2, 2], [3, 7, 0], [0, 0, 7]]))
    np.testing.assert_allclose(found, [[0, 0.75, 0.25], [1, 0, 0], [1, 0, 0]])


def test_walk_by_simulation():
    """The chance, estimated by walking: nine walkers of ten survive a step."""
    rng = np.random.default_rng(3)
    maps = rng.random((6, 6)) ** 3
    step = steps.links(maps)
    found = steps.walk(maps, [0], [5])
    for start in (1, 3):
        hits = 0
        for _ in range(4000):
            here = start
            while here not in (0, 5) and rng.random() < 0.9:
                here = rng.choice(6, p=step[here])
            hits += here == 0
        assert found[start] == pytest.approx(hits / 4000, abs=0.03)
    assert found[5] == 0
    # A walk that starts at the wanted token comes back to it, or the best of the others is taken.
    assert found[0] == pytest.approx(
        max(0.9 * step[0] @ np.where(np.arange(6) == 0, 1, found), found[1:].max())
    )


CHAIN = np.array([[0, 1, 0, 0], [1, 0, 0, 0], [1, 0, 0, 1], [0, 0, 1, 0]], float)


def test_walk_by_hand():
    # Shares as they are but for row 2, halved; the mean with the transpose links 0 to 1 and 2 as 4 to 1 and
    # 2 to 0 and 3 as 1 to 3. Token 1 steps to 0 with 0.9; 2 steps to 0 with 0.9 / 4, else to 3 and is lost;
    # token 0 comes back by 1 and 2: 0.9 (0.8 * 0.9 + 0.2 * 0.225) < 0.9, so it takes the best of the others.
    np.testing.assert_allclose(steps.walk(CHAIN, [0], [3]), [0.9, 0.9, 0.225, 0])


def test_a_further_patch_is_a_new_part_where_the_walk_does_not_reach():
    # Patches in a row; 1 was made from 0, 3 and 4 from 2. Patch 2 lies beside 1, which 0 reaches; 3 does not.
    maps = np.zeros((5, 5))
    maps[[0, 1, 2, 3, 4], [1, 0, 3, 2, 2]] = 1
    assert steps.new_parts(maps, [0, 2], [], (1, 5), steps.walk) == [0]
    assert steps.new_parts(maps, [0, 3], [], (1, 5), steps.walk) == [0, 3]
    assert steps.new_parts(maps, [], [], (1, 5), steps.walk) == []


def test_difference_by_hand():
    maps = np.array([[9.0, 4, 2, 0], [0, 9, 3, 0], [0, 0, 9, 0], [0, 0, 5, 9]])
    # Wanted 0 and 1: (1, 1, .5, 0) and (0, 1, 1, 0), mean (.5, 1, .75, 0); unwanted 3: (0, 0, 1, 1).
    np.testing.assert_allclose(steps.difference(maps, [0, 1], []), [0.5, 1, 0.75, 0])
    np.testing.assert_allclose(steps.difference(maps, [0, 1], [3]), [0.5, 1, 0, 0])


@pytest.mark.parametrize("combine", [steps.walk, steps.difference])
def test_a_token_that_is_wanted_and_unwanted_is_wanted(combine):
    maps = np.random.default_rng(0).random((4, 4))
    np.testing.assert_array_equal(combine(maps, [0, 1], [1, 3]), combine(maps, [0, 1], [3]))
    assert combine(maps, [0, 1], [1, 3])[1] > 0


def test_odds_put_otsu_at_one_half():
    values = np.array([0.0, 0.1, 0.2, 5.0, 5.5])
    np.testing.assert_array_equal(steps.odds(values) > 0.5, [False, False, False, True, True])
    assert not steps.odds(np.zeros(4)).any()


def test_otsu_lies_half_way_between_the_classes():
    assert steps.otsu(np.array([0.0, 0.0, 2.0, 2.0])) == 1
    assert steps.odds(np.array([0.0, 0.0, 3.0, 3.0])).tolist() == [0, 0, 3 / 4.5, 3 / 4.5]


def test_smoothing_solves_its_equation():
    """The minimum, found by brute force: a dense system written from the energy, with the chosen weights."""
    rng = np.random.default_rng(0)
    image, values = rng.integers(0, 255, (4, 5, 3)).astype(np.uint8), rng.random((4, 5))
    held, ruled_out = np.zeros((4, 5), bool), np.zeros((4, 5), bool)
    ruled_out[3, 4] = True
    matrix, right = np.zeros((20, 20)), np.zeros(20)
    for y in range(4):
        for x in range(5):
            i = y * 5 + x
            held[y, x] = (x - 1) ** 2 + (y - 0) ** 2 <= 1
            goal = 0.0 if ruled_out[y, x] else 1.0 if held[y, x] else values[y, x]
            pull = 1.0 if held[y, x] or ruled_out[y, x] else 0.0015
            matrix[i, i] += pull
            right[i] += pull * goal
            for v, u in ((y, x + 1), (y + 1, x)):
                if v < 4 and u < 5:
                    j = v * 5 + u
                    apart = ((image[y, x].astype(float) - image[v, u]) ** 2).sum() / 255**2
                    w = np.exp(-100 * apart) + 0.001
                    matrix[i, i] += w
                    matrix[j, j] += w
                    matrix[i, j] -= w
                    matrix[j, i] -= w
    expected = np.linalg.solve(matrix, right).reshape(4, 5)
    np.testing.assert_array_equal(steps.near_points((4, 5), [(1.5, 0.5)], 1), held)
    np.testing.assert_allclose(steps.smooth(image, values, held, ruled_out, Settings()), expected, atol=1e-3)


def test_what_a_point_says_halves_every_18_pixels_of_one_colour():
    """Between like pixels w is 1.001 and the pull 0.0015: x[k + 1] = r x[k] with r + 1 / r = 2 + 0.0015 / 1.001."""
    q = 0.0015 / 1.001
    r = 1 + q / 2 - np.sqrt(q + q * q / 4)
    held, none = np.arange(240)[None] < 1, np.zeros((1, 240), bool)
    found = steps.smooth(np.zeros((1, 240, 3), np.uint8), np.zeros((1, 240)), held, none, Settings())[0]
    assert found[20 + 18] / found[20] == pytest.approx(r**18, rel=0.01)
    assert r**18 == pytest.approx(0.5, abs=0.003)


def test_smoothing_fills_a_patch_of_one_colour_and_does_not_cross_its_edge():
    image, values, none = np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8)), np.zeros((8, 8), bool)
    image[:, 4:] = 255
    values[:6, :4] = 1
    found = steps.smooth(image, values, none, none, Settings())
    assert found[:, :4].min() > 0.5 > found[:, 4:].max()


@pytest.mark.parametrize(("b", "best"), [(0.3, 3), (0.4, 1)])
def test_a_lone_patch_counts_its_own_likeness_at_0_35(b, best):
    """Patch 2 is all like the text and what it attends to is not: 0.35. Patches 0 and 1 attend to each other: b."""
    import torch

    class Likeness(Speaking):
        def encode_text(self, texts):
            return torch.ones(1, 1)

    attention = torch.eye(5)[[0, 2, 1, 4, 4]][None]
    latents = torch.tensor([0, b, b, 1, 0])[:, None]
    layout = Layout("image", n_prefix=1, grid=(2, 2), size=(32, 48))
    cap = Capture(Likeness(), layout, IMAGE, (latents, latents), (AttentionStep(attention, 1),), {})
    assert best_patch(cap, "thing") == best


def test_a_mask_is_worked_out_at_160_pixels_at_most():
    assert steps.working_size((96, 96)) == (96, 96) and steps.working_size((640, 480)) == (160, 120)
    assert steps.working_size((1, 1600)) == (1, 160)


def test_texture_goes_and_edges_stay():
    image = np.full((16, 16, 3), 200, np.uint8)
    image[:, :8] = np.where(np.arange(8) % 2, 40, 20)[:, None]
    flat = steps.flatten(image).astype(int)
    assert np.ptp(flat[:, 1:7]) < 20 and (flat[:, 8] - flat[:, 7]).min() > 60


@pytest.mark.parametrize("width", [1, 4, 5])
def test_a_dark_line_is_thinner_than_5_pixels(width):
    image = np.full((13, 13, 3), 255, np.uint8)
    image[:, 4 : 4 + width] = 0
    expected = (image[:, :, 0] == 0) * 255 if width < 5 else np.zeros((13, 13))
    np.testing.assert_array_equal(steps.dark_lines(image), expected)


def test_total_variation_moves_a_field_by_the_weight_over_its_width():
    """Between fields n pixels wide the minimum of |x'| + (x - v)^2 / (2 * 0.25) is 0.25 / n off (Strong and Chan, 2003)."""
    image = np.zeros((8, 8, 3), np.uint8)
    image[:, 4:] = 255
    flat = steps.flatten(image).astype(float) / 255
    np.testing.assert_allclose(flat[:, :4], 0.25 / 4, atol=0.01)
    np.testing.assert_allclose(flat[:, 4:], 1 - 0.25 / 4, atol=0.01)


def test_connected_part():
    mask = np.array([[1, 1, 0, 1], [0, 0, 0, 1], [1, 0, 0, 0]], bool)
    expected = np.array([[0, 0, 0, 1], [0, 0, 0, 1], [1, 0, 0, 0]], bool)
    np.testing.assert_array_equal(steps.connected_part(mask, [(3.2, 1.9), (0, 2)]), expected)
    np.testing.assert_array_equal(steps.connected_part(mask, [(2, 1)]), mask)


@pytest.mark.parametrize("combine", ["walk", "difference"])
def test_one_point_selects_its_object(combine):
    sel = uk.select(CAP, points=[(13, 20)], maps=MAPS, combine=combine)
    np.testing.assert_array_equal(sel.mask, PIXELS == 1)
    assert sel.tokens.tolist() == [1 + 2 * 6 + 1]
    assert sel.mask.dtype == bool and sel.relevance.dtype == np.float32
    assert 0 <= sel.relevance.min() and sel.relevance.max() <= 1


def test_two_objects_by_two_points_and_one_taken_back():
    both = uk.select(CAP, points=[(13, 20), (36, 4)], maps=MAPS)
    np.testing.assert_array_equal(both.mask, PIXELS > 0)
    joined = maps_of(np.where(PARTS == 2, 1, PARTS), leak=0.01)  # a model that takes the two for one
    assert uk.select(CAP, points=[(13, 20)], maps=joined, connected=False).mask[PIXELS == 2].all()
    less = uk.select(CAP, points=[(13, 20)], unwanted=[(36, 4), (36, 28)], maps=joined, connected=False)
    assert less.mask[PIXELS == 1].all() and not less.mask[4, 36] and not less.mask[28, 36]


def test_a_box_selects_what_stays_inside():
    # The box reaches into the ground on both sides; the bar on the right is outside.
    sel = uk.select(CAP, box=(0, 0, 32, 32), maps=MAPS)
    np.testing.assert_array_equal(sel.mask, PIXELS == 1)
    assert not uk.select(CAP, box=(8, 0, 16, 32), maps=MAPS).mask[:, 16:].any()


def test_a_box_selects_something_where_no_edge_holds_the_relevance():
    coarse = np.zeros((6, 6))
    coarse[2:4, 2:4] = 1
    grey = np.full((48, 48, 3), 128, np.uint8)
    found = steps.pixel_relevance(coarse, grey, (), (), (12, 12, 36, 36), own=Settings())
    assert found[20:28, 20:28].min() > 0.5 > found[12:14, 12:14].max()
    assert not steps.pixel_relevance(coarse, grey, (), (), (12.0, 12.0, 12.1, 12.1), own=Settings()).any()


def test_equal_values_but_for_rounding_have_no_two_classes():
    values = 1 + np.finfo(float).eps * np.arange(4)
    assert steps.otsu(values) == values.max()


def test_a_text_selects_what_it_names():
    sel = uk.select(CAP, text="bar", maps=MAPS)
    np.testing.assert_array_equal(sel.mask, PIXELS == 2)
    assert sel.code == "uk.select(cap, text='bar', layer=-1)"


def test_threshold_moves_the_cut():
    sel = uk.select(CAP, points=[(13, 20)], maps=MAPS, connected=False)
    strict, loose = sel.recut(threshold=0.95), sel.recut(threshold=0.0)
    np.testing.assert_array_equal(strict.mask, sel.relevance > 0.95)
    assert strict.share <= sel.share <= loose.share
    again = uk.select(CAP, points=[(13, 20)], maps=MAPS, connected=False, threshold=0.95)
    np.testing.assert_array_equal(again.mask, strict.mask)
    np.testing.assert_array_equal(sel.recut(threshold="otsu").mask, sel.mask)


def test_large_images_are_worked_out_small_and_given_back_large():
    large = IMAGE.repeat(12, 0).repeat(12, 1)
    layout = Layout("image", 1, (4, 6), large.shape[:2])
    cap, maps = capture_of(layout=layout, image=large), maps_of(layout=layout, leak=0.01)
    sel = uk.select(cap, points=[(13 * 12, 20 * 12)], maps=maps)
    truth = (PIXELS == 1).repeat(12, 0).repeat(12, 1)
    assert sel.mask.shape == truth.shape
    assert uk.metrics.mask_iou(sel.mask, truth) > 0.95


def test_rle_and_storage(tmp_path):
    sel = uk.select(CAP, points=[(13, 20)], unwanted=[(2, 2)], box=(0, 0, 47, 31.5), maps=MAPS)
    np.testing.assert_array_equal(uk.images.from_rle(sel.to_rle()), sel.mask)
    again = uk.open(uk.save(sel, tmp_path / "x.npz"))
    for name in ("mask", "relevance", "tokens", "unwanted_tokens", "input"):
        np.testing.assert_array_equal(getattr(again, name), getattr(sel, name))
    assert (again.points, again.unwanted, again.box, again.code) == (
        sel.points,
        sel.unwanted,
        sel.box,
        sel.code,
    )


@pytest.fixture(scope="module")
def real():
    return uk.capture(uk.load("scenes"), uk.data.scene(19).image)


def test_the_line_of_code_repeats_the_selection(real):
    sel = uk.select(
        real,
        points=[(48, 50.5)],
        unwanted=[(3, 4)],
        layer=1,
        rule="absolute",
        combine="difference",
        threshold=0.4,
    )
    again = eval(sel.code, {"uk": uk, "cap": real})
    np.testing.assert_array_equal(again.mask, sel.mask)
    assert again.code == sel.code
    maps = uk.explain(real, layer=4, since=3, rule="negative")  # of another layer than the model's own
    sel = uk.select(real, points=[(40, 40)], maps=maps)
    assert sel.code.endswith(", maps=uk.explain(cap, layer=4, rule='negative', since=3))")
    np.testing.assert_array_equal(eval(sel.code, {"uk": uk, "cap": real}).relevance, sel.relevance)


def test_verify_makes_it_again(real, tmp_path):
    sel = uk.select(real, points=[(48, 50)], layer=1, combine="difference")
    path = uk.save(sel, tmp_path / "x.npz")
    assert uk.verify(path)
    assert not uk.verify(uk.save(replace(sel, mask=~sel.mask), path))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "nothing is picked"),
        ({"unwanted": [(1, 1)]}, "nothing is picked"),
        ({"points": [(48, 1)]}, "0 <= x < 48"),
        ({"points": [(1, 1)], "unwanted": [(1, -1)]}, "0 <= y < 32"),
        ({"box": (5, 5, 5, 9)}, "x0 < x1"),
        ({"box": (5, 5, 49, 9)}, "x1 <= 48"),
        ({"points": [(1, 1)], "threshold": 1.5}, "threshold"),
        ({"points": [(1, 1)], "threshold": "best"}, "threshold"),
        ({"points": [(1, 1)], "combine": "sum"}, "walk, difference"),
        ({"points": [(1, 1)], "layer": 1}, "made already"),
    ],
)
def test_errors_say_what_must_hold(options, message):
    with pytest.raises(ValueError, match=message):
        uk.select(CAP, maps=MAPS, **options)


def test_errors_of_type_and_model():
    with pytest.raises(TypeError, match=r"list of \(x, y\)"):
        uk.select(CAP, points=[3], maps=MAPS)
    with pytest.raises(TypeError, match="x0, y0, x1, y1"):
        uk.select(CAP, box=(1, 2), maps=MAPS)

    class Mute:
        name = "mute"

    with pytest.raises(uk.UltraError, match="'mute' has none"):
        uk.select(capture_of(model=Mute()), text="bar", maps=MAPS)
    other = Layout("image", 1, (4, 6), (64, 96))
    with pytest.raises(ValueError, match="same capture"):
        uk.select(CAP, points=[(1, 1)], maps=maps_of(layout=other))
    text = Layout("text", 0, tokens=("a", "b"))
    with pytest.raises(ValueError, match="needs an image"):
        uk.select(capture_of(layout=text), points=[(1, 1)])


def test_a_word_that_no_caption_had_is_said():
    model = uk.load("scenes")
    with pytest.warns(UserWarning, match="not 'zebra'"):
        model.encode_text(["a red zebra"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.encode_text([uk.data.scene(3).caption])


def test_a_further_point_beside_what_is_selected_corrects_the_outline_only():
    """Patch (0, 3) is ground that holds a sliver of the object: its token must not bring the ground in."""
    first, sliver, far = (13, 20), (24.5, 3), (36, 20)
    one = uk.select(CAP, points=[first], maps=MAPS)
    both = uk.select(CAP, points=[first, sliver], maps=MAPS)
    assert both.tokens.tolist() == one.tokens.tolist()
    assert both.mask[3, 24] and not one.mask[3, 24]
    assert both.mask[:, :8].sum() == 0 and both.mask[:, 40:].sum() == 0
    third = uk.select(CAP, points=[first, far], maps=MAPS)
    assert third.tokens.tolist() == sorted([*one.tokens.tolist(), LAYOUT.token_at(*far)])
    assert third.mask[:, 8:24].all() and third.mask[:, 32:40].all()


def test_outlines_that_texture_hides_stop_the_flow():
    """A dark line between two fields of one colour, which total variation alone would smooth away."""
    image = np.full((24, 24, 3), (150, 40, 40), np.uint8)
    image[:, 12] = 30
    values = np.zeros((24, 24))
    values[:, :12] = 0.9
    held = steps.near_points((24, 24), [(4, 12)], 1)
    found = steps.smooth(steps.looks(image, (24, 24)), values, held, np.zeros((24, 24), bool), Settings())
    assert found[:, :11].min() > 0.5 > found[:, 14:].max()
    assert steps.dark_lines(image)[:, 12].min() > 60 and steps.dark_lines(image)[:, :11].max() == 0


def test_a_box_round_the_whole_image_selects_it():
    """Everything stays inside: there are no two classes, and nothing to leave out."""
    assert uk.select(CAP, box=(0, 0, 48, 32), maps=MAPS).mask.all()
    # Round the whole image, but with a point that says which: as without the box.
    pointed = uk.select(CAP, box=(0, 0, 48, 32), points=[(13, 20)], maps=MAPS)
    np.testing.assert_array_equal(pointed.mask, PIXELS == 1)


def test_a_place_cannot_be_both():
    with pytest.raises(
        ValueError, match=r"foreground or background, \(13.0, 20.0\) is in points and in unwanted"
    ):
        uk.select(CAP, points=[(13, 20), (36, 4)], unwanted=[(13, 20)], maps=MAPS)


def test_an_empty_mask_is_said():
    with pytest.warns(UserWarning, match="nothing is selected: no relevance is above 1"):
        assert not uk.select(CAP, points=[(13, 20)], maps=MAPS, refine=False, threshold=1.0).mask.any()


@pytest.mark.parametrize("place", [("a", 10), ((3, 4),), (3,), (None, 2)])
def test_a_point_is_two_numbers(place):
    with pytest.raises(TypeError, match=r"two numbers, as in token_at\(188, 115\), got"):
        LAYOUT.token_at(*place)


def test_reach_by_hand():
    """Four patches in a row, sigma half a mean side of 2: one patch apart exp(-1/2), three exp(-9/2)."""
    found = steps.within_reach(np.full((4, 4), 2.0), (1, 4), 0.5)
    np.testing.assert_allclose(found[0], 2 * np.exp([0, -0.5, -2, -4.5]))
    np.testing.assert_array_equal(steps.within_reach(MAPS.content, (4, 6), 0), MAPS.content)


def test_a_model_of_its_own_settings_reads_clicks_through_its_w(real, tmp_path):
    """W, the reach and the refinement of the model decide where nothing is said; the line of code and `verify` follow."""
    W = np.random.default_rng(0).normal(size=(128, 128)).astype(np.float32)
    own = Settings(layer=2, since=-1, transform=True, reach=0.3, beta=900.0, gamma=0.02, radius=3.0)
    model = replace(real.model, settings=own, own_transform=W)
    cap = replace(real, model=model, card={**real.card, "model": model.card()})
    sel = uk.select(cap, points=[(48, 50)])
    assert sel.code == "uk.select(cap, points=[(48, 50)])"
    coarse = steps.within_reach(uk.explain(cap, transform=W).content.astype(float), (12, 12), 0.3)
    walked = steps.walk(coarse, [cap.layout.token_at(48, 50) - 4], []).reshape(12, 12)
    expected = steps.pixel_relevance(walked, cap.input, [(48, 50)], (), None, own)
    np.testing.assert_allclose(sel.relevance, expected, atol=1e-6)
    for other in (uk.select(cap, points=[(48, 50)], layer=2), uk.select(real, points=[(48, 50)], layer=2)):
        assert abs(other.relevance - sel.relevance).max() > 0.05
    view = uk.widgets.ObjectSelector(cap)
    view.wanted = [[48, 50]]
    np.testing.assert_array_equal(view.selection.relevance, sel.relevance)
    numbers = view.data()["numbers"]
    assert (numbers["beta"], numbers["gamma"], numbers["radius"]) == (900, 0.02, 3)
    path = uk.save(sel, tmp_path / "x.npz")
    assert uk.verify(path, model=model)
    # A file of another day is made again with the settings of its day.
    assert uk.verify(path, model=replace(model, settings=replace(own, reach=0.0, gamma=0.5)))
    assert not uk.verify(path, model=replace(model, own_transform=W + np.eye(128, dtype=np.float32)))
