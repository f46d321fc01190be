"""What the figures draw: data, colours' range, labels and outlines; no pixel comparisons."""

import inspect
import re
from dataclasses import replace

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgba

from ultra_kit import plots
from ultra_kit.data.drawn_scenes import scene
from ultra_kit.images.clustering import segment
from ultra_kit.plots.style import FOCUS, PLAIN
from ultra_kit.runs import Perturbation, Transform
from ultra_kit.types import ExplanationMaps, Layout


def maps_of(layer=3, method="ultra", rule="positive", factor=1.0, image=True):
    """Maps of a 2 x 4 grid over 16 x 40 pixels: two halves, growing from left to right, one prefix token."""
    layout = Layout("image", n_prefix=1, grid=(2, 4), size=(16, 40))
    side = np.arange(8) % 4 // 2
    values = (side[:, None] == side) * (1 + np.arange(8)) * factor
    values = np.concatenate([np.full((8, 1), 50.0), values + 100 * np.eye(8)], axis=1).astype(np.float32)
    shown = np.full((16, 40, 3), 200, np.uint8) if image else None
    return ExplanationMaps(values, layout.content, layer, layout, method=method, rule=rule, input=shown)


def map_image(ax):
    """The map among the images of an axes: the one with values, not colours."""
    (found,) = [im for im in ax.images if im.get_array().ndim == 2]
    return found


def outlines(ax):
    return {tuple(p.get_bbox().bounds) for p in ax.patches if p.get_label().startswith("token")}


@pytest.fixture(autouse=True)
def _leaves_pyplot_alone():
    before = dict(mpl.rcParams)
    yield
    assert dict(mpl.rcParams) == before
    assert [n for n in plt.get_fignums() if plt.figure(n).get_label() != "mine"] == []
    plt.close("all")


def test_map_is_drawn_without_the_spike_and_with_its_patch_outlined():
    figure = plots.show_map(maps_of(), 1 + 2)  # patch (0, 2)
    ax = figure.axes[0]
    # Positions 2, 3, 6, 7 hold 3, 4, 7, 8; the own one, 2, takes the largest other value.
    np.testing.assert_array_equal(map_image(ax).get_array(), [[0, 0, 8, 4], [0, 0, 7, 8]])
    assert map_image(ax).get_clim() == (0, 8)
    assert list(map_image(ax).get_extent()) == [0, 40, 16, 0]
    assert outlines(ax) == {(20, 0, 10, 8)}
    assert ax.get_title() == "row 0, column 2, layer 3"
    (bar,) = [a for a in figure.findobj(mpl.axes.Axes) if a.get_ylabel()]
    assert bar.get_ylabel() == "ultra (positive), own scale"


def test_a_figure_says_since_when_and_a_group_is_drawn_without_all_its_spikes():
    maps = replace(maps_of(), since=2, groups=((1, 2, 3), *((t,) for t in range(2, 9))))
    assert plots.show_map(maps, 1).axes[0].get_title() == "row 0, column 0, layer 3 since 2"
    assert plots.token_grid(maps, [1, 2]).get_suptitle().startswith("layer 3 since 2, ultra")
    # Positions 0, 1, 4, 5 hold 1, 2, 5, 6 and the own one 100 more; those of the group, 0 to 2, take the largest other.
    drawn = map_image(plots.show_map(maps, 1).axes[0]).get_array()
    np.testing.assert_array_equal(drawn, [[6, 6, 6, 0], [5, 6, 0, 0]])


def test_own_patch_shows_the_image_itself():
    ax = plots.show_map(maps_of(), 3).axes[0]
    ground, _, patch = ax.images
    assert (np.asarray(patch.get_array()) == 200).all()
    clip = patch.get_clip_box().transformed(ax.transData.inverted())
    np.testing.assert_allclose(clip.extents, [20, 8, 30, 0], atol=1e-9)  # y runs down
    assert (np.asarray(ground.get_array()) < 200).all()  # darkened, so that the map stands out
    assert len(plots.show_map(maps_of(image=False), 3).axes[0].images) == 1


def test_given_scale_is_used_and_named():
    figure = plots.show_map(maps_of(), 3, highest=20.0)
    assert map_image(figure.axes[0]).get_clim() == (0, 20)
    assert any("given scale" in a.get_ylabel() for a in figure.findobj(mpl.axes.Axes))


def test_smooth_map_has_the_images_size():
    assert map_image(plots.show_map(maps_of(), 3, smooth=True).axes[0]).get_array().shape == (16, 40)


def test_map_of_a_prefix_token_has_no_patch_to_mark():
    maps = maps_of()
    maps = ExplanationMaps(maps.values[:1], np.array([0]), 3, maps.layout, input=maps.input)
    ax = plots.show_map(maps).axes[0]
    assert ax.get_title() == "prefix token 0, layer 3" and outlines(ax) == set()
    # No own position among the patches: the row stays as it is.
    np.testing.assert_array_equal(map_image(ax).get_array(), [[101, 2, 0, 0], [5, 6, 0, 0]])


def test_a_map_of_nothing_but_zeros_is_drawn_dark():
    maps = maps_of()
    empty = ExplanationMaps(np.zeros_like(maps.values), maps.tokens, 3, maps.layout)
    assert map_image(plots.show_map(empty, 3).axes[0]).get_clim() == (0, 1)


@pytest.mark.parametrize("draw", ["map", "segments", "tree", "scores"])
def test_figures_go_into_a_given_axes(draw):
    figure, ax = plt.subplots(label="mine", num="mine")
    seg = segment(maps_of())
    got = {
        "map": lambda: plots.show_map(maps_of(), 3, ax=ax),
        "segments": lambda: plots.show_segments(seg, ax=ax),
        "tree": lambda: plots.show_dendrogram(seg, ax=ax),
        "scores": lambda: plots.metric_table({"ULTra": 0.5}, ax=ax),
    }[draw]()
    assert got is figure and ax.has_data()


def test_layers_on_their_own_and_on_one_scale():
    layers = [maps_of(layer=1), maps_of(layer=2, factor=3)]
    own = plots.layer_strip(layers, 3)
    assert [a.get_title() for a in own.axes[:3]] == ["row 0, column 2", "layer 1", "layer 2"]
    assert [map_image(a).get_clim()[1] for a in own.axes[1:3]] == [8, 24]
    assert "each panel on its own scale" in own.get_suptitle()
    assert [t.get_text() for t in own.axes[-1].get_yticklabels()] == ["0", "largest"]
    assert all(outlines(a) == {(20, 0, 10, 8)} for a in own.axes[:3])
    shared = plots.layer_strip(layers, 3, scale="shared")
    assert [map_image(a).get_clim()[1] for a in shared.axes[1:3]] == [24, 24]
    assert "one scale for all panels" in shared.get_suptitle()


def test_panels_of_nothing_but_zeros_share_a_scale():
    maps = maps_of()
    empty = ExplanationMaps(np.zeros_like(maps.values), maps.tokens, 3, maps.layout)
    tops = [map_image(a).get_clim() for a in plots.layer_strip([empty, empty], 3, scale="shared").axes[1:3]]
    assert tops == [(0, 1), (0, 1)]
    # A panel of zeros does not raise the scale of the others.
    tops = [
        map_image(a).get_clim()[1]
        for a in plots.layer_strip([empty, maps_of(factor=0.01)], 3, scale="shared").axes[1:3]
    ]
    np.testing.assert_allclose(tops, 0.08, rtol=1e-6)


def test_many_layers_take_balanced_rows():
    axes = plots.layer_strip([maps_of(layer=k) for k in range(1, 7)], 3).axes
    assert {a.get_subplotspec().get_gridspec().get_geometry() for a in axes[:8]} == {(2, 4)}
    assert not axes[7].axison


def test_methods_side_by_side():
    both = [maps_of(), maps_of(rule="negative"), maps_of(method="raw_attention")]
    titles = [a.get_title() for a in plots.compare_methods(both, 3).axes[1:4]]
    assert titles == ["ultra, positive", "ultra, negative", "raw attention"]
    named = plots.compare_methods(both, 3, names=["a", "b", "c"])
    assert [a.get_title() for a in named.axes[1:4]] == ["a", "b", "c"]
    with pytest.raises(ValueError, match=r"one per map \(3\), got 1"):
        plots.compare_methods(both, 3, names=["a"])


def test_token_grid_marks_each_tokens_own_patch():
    figure = plots.token_grid(maps_of(), [1, 8], columns=1)
    assert [a.get_title() for a in figure.axes[:2]] == ["row 0, column 0", "row 1, column 3"]
    assert [outlines(a) for a in figure.axes[:2]] == [{(0, 0, 10, 8)}, {(30, 8, 10, 8)}]
    titles = [a.get_title() for a in plots.token_grid(maps_of()).axes]
    assert len([t for t in titles if t.startswith("row ")]) == 8


def test_what_no_figure_can_show_is_refused():
    with pytest.raises(ValueError, match="maps must hold token 0, got maps of 8 tokens from 1 to 8"):
        plots.show_map(maps_of(), 0)
    with pytest.raises(ValueError, match="at least one entry"):
        plots.layer_strip([], 3)
    with pytest.raises(ValueError, match="'own' or 'shared', got 'log'"):
        plots.layer_strip([maps_of()], 3, scale="log")
    with pytest.raises(ValueError, match="at least one token"):
        plots.token_grid(maps_of(), [])
    text = Layout("text", n_prefix=0, tokens=("a", "b"))
    with pytest.raises(ValueError, match="maps of an image"):
        plots.show_map(ExplanationMaps(np.ones((2, 2), np.float32), np.arange(2), 1, text))


def test_segments_are_coloured_outlined_numbered_and_listed():
    seg = segment(maps_of())
    ax = plots.show_segments(seg).axes[0]
    colours = np.asarray(ax.images[-1].get_array())
    assert len(np.unique(colours[seg.mask(0)], axis=0)) == len(np.unique(colours[seg.mask(1)], axis=0)) == 1
    assert not np.array_equal(colours[0, 0], colours[0, -1])
    assert sorted(t.get_text() for t in ax.texts) == ["0", "1"]
    for text in ax.texts:
        x, y = text.get_position()
        assert seg.labels[int(y), int(x)] == int(text.get_text())
    shares = [f"{k}: {round(100 * s)} %" for k, s in enumerate(seg.shares)]
    assert [t.get_text() for t in ax.get_legend().get_texts()] == shares
    # The outline runs where the label changes along the first row.
    edge = int(np.flatnonzero(np.diff(seg.labels[0]))[0]) + 1
    drawn = np.concatenate([p.vertices for c in ax.collections for p in c.get_paths() if len(p.vertices)])
    assert edge in drawn[:, 0].round(6)


def test_a_long_legend_is_cut_short():
    rng = np.random.default_rng(0)
    layout = Layout("image", n_prefix=0, grid=(4, 4), size=(32, 32))
    seg = segment(ExplanationMaps(rng.random((16, 16), np.float32), np.arange(16), 1, layout), n_segments=13)
    texts = [t.get_text() for t in plots.show_segments(seg).axes[0].get_legend().get_texts()]
    assert len(texts) == 11 and texts[-1] == "and 3 smaller"


def test_tree_is_cut_where_the_segmentation_was():
    seg = segment(maps_of())
    axes = plots.show_segments(seg, tree=True).axes
    assert len(axes) == 2 and axes[1].get_title() == "cut at 0.25: 2 segments"
    (line,) = axes[1].lines
    assert list(line.get_ydata()) == [0.25, 0.25]
    assert sorted(t.get_text() for t in axes[1].get_xticklabels()) == ["0", "1"]
    # By number: the line parts the merges that were made from those that were undone.
    (line,) = plots.show_dendrogram(seg.recut(n_segments=2)).axes[0].lines
    assert seg.linkage[-2, 2] < line.get_ydata()[0] < seg.linkage[-1, 2]
    with pytest.raises(ValueError, match="cannot hold the tree"):
        plots.show_segments(seg, ax=axes[0], tree=True)


def line_of(seg):
    """Height of the line in the picture of a tree, and whether it is in sight."""
    ax = plots.show_dendrogram(seg).axes[0]
    (line,) = ax.lines
    low, high = ax.get_ylim()
    y = set(line.get_ydata())
    assert len(y) == 1 and f"cut at {min(y):.2g}: " in ax.get_title()
    return min(y), low < min(y) < high


def test_the_line_of_a_cut_by_number_crosses_as_many_branches_as_there_are_segments():
    rng = np.random.default_rng(0)
    layout = Layout("image", n_prefix=0, grid=(3, 4), size=(6, 8))
    seg = segment(ExplanationMaps(rng.random((12, 12), np.float32), np.arange(12), 1, layout))
    heights = seg.linkage[:, 2]
    for n in range(1, 13):
        by_number = seg.recut(n_segments=n)
        line, seen = line_of(by_number)
        # 12 branches begin at 0, and each merge below the line makes two of them one.
        assert 12 - (heights < line).sum() == n and seen
        np.testing.assert_array_equal(by_number.clusters, seg.recut(threshold=line).clusters)
        # The middle of the two merges that it parts; with nothing above it, 5 % above the last.
        between = [0, *heights, 1.1 * heights[-1]]
        assert line == pytest.approx((between[12 - n] + between[13 - n]) / 2, rel=1e-12)
    assert line_of(seg.recut(n_segments=1))[0] == pytest.approx(1.05 * heights[-1], rel=1e-12)


def test_segments_merged_by_hand_leave_the_line_where_it_was():
    rng = np.random.default_rng(1)
    layout = Layout("image", n_prefix=0, grid=(3, 4), size=(6, 8))
    seg = segment(ExplanationMaps(rng.random((12, 12), np.float32), np.arange(12), 1, layout), n_segments=5)
    merged = seg.merge(0, 1).merge(1, 3)
    assert merged.n_segments == 3 and line_of(merged) == line_of(seg)


def test_branches_take_the_colours_of_their_segments():
    seg = segment(maps_of())
    ax = plots.show_dendrogram(seg).axes[0]
    drawn = {tuple(c) for lines in ax.collections for c in lines.get_colors()}
    segments = {to_rgba(c) for c in plots.style.SEGMENT_COLOURS[:2]}
    assert segments < drawn and len(drawn) == 3  # and grey above the cut


@pytest.mark.parametrize("n", [1, 300])
def test_trees_at_the_ends_of_the_range(n):
    rng = np.random.default_rng(0)
    layout = Layout("image", n_prefix=0, grid=(15, 20), size=(15, 20))
    values = rng.random((300, 300), np.float32)
    seg = segment(ExplanationMaps(values, np.arange(300), 1, layout), n_segments=n, method="single")
    assert f"{n} segment" in plots.show_dendrogram(seg).axes[0].get_title()


def test_no_contrast_no_tree():
    layout = Layout("image", n_prefix=0, grid=(2, 2), size=(8, 8))
    seg = segment(ExplanationMaps(np.ones((4, 4), np.float32), np.arange(4), 1, layout))
    axes = plots.show_segments(seg, tree=True).axes
    assert axes[0].get_title() == "1 segment" and axes[1].get_title().startswith("no tree")


def test_score_bars_chance_and_focus():
    figure = plots.metric_table(
        {"ULTra, negative": {"AP": 0.6, "energy": 0.4}, "rollout": {"AP": 0.3, "energy": float("nan")}},
        chance={"AP": 0.14},
    )
    left, right = figure.axes
    assert (left.get_title(), right.get_title()) == ("AP", "energy")
    assert [bar.get_width() for bar in left.patches] == [0.6, 0.3]
    assert [bar.get_facecolor() for bar in left.patches] == [to_rgba(FOCUS), to_rgba(PLAIN)]
    assert [t.get_text() for t in left.get_yticklabels()] == ["ULTra, negative", "rollout"]
    assert left.yaxis_inverted()
    assert list(left.lines[0].get_xdata()) == [0.14, 0.14]
    assert left.get_legend().get_texts()[0].get_text() == "chance 0.14"
    assert len(right.lines) == 0 and [t.get_text() for t in right.texts] == ["0.40", "none"]


def test_score_table_reads_data_frames_and_plain_scores():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"AP": [0.6, 0.3], "IoU": [0.5, 0.2]}, index=["ultra", "rollout"])
    assert [a.get_title() for a in plots.metric_table(frame).axes] == ["AP", "IoU"]
    (ax,) = plots.metric_table({"a": 0.5, "b": -0.25}, chance=0.9, chance_label="ceiling").axes
    assert [bar.get_width() for bar in ax.patches] == [0.5, -0.25]
    low, high = ax.get_xlim()
    assert low == -0.25 and high > 0.9
    with pytest.raises(ValueError, match="at least one method"):
        plots.metric_table({})
    with pytest.raises(ValueError, match="one measure, got 2: AP, IoU"):
        plots.metric_table(frame, ax=ax)


def test_scene_is_shown_with_its_truth_and_caption():
    made = scene(3, size=(64, 96), n_objects=3)
    figure = plots.show_scene(made)
    image, truth = figure.axes
    np.testing.assert_array_equal(image.images[0].get_array(), made.image)
    alpha = np.asarray(truth.images[-1].get_array())[..., 3]
    np.testing.assert_array_equal(alpha > 0, made.instances > 0)
    assert [t.get_text() for t in truth.get_legend().get_texts()] == [
        f"{k + 1}: {p}" for k, p in enumerate(made.phrases)
    ]
    assert figure.get_suptitle().replace("\n", " ") == made.caption


def test_map_colours_rise_in_lightness_over_a_dark_ground():
    colours = plots.style.map_colours(True)(np.linspace(0, 1, 20))
    dark = to_rgba(plots.style.GROUND)
    shown = colours[:, :3] * colours[:, 3:] + np.array(dark[:3]) * (1 - colours[:, 3:])
    lightness = shown @ [0.299, 0.587, 0.114]
    assert (np.diff(lightness[3:]) > 0).all() and lightness[-1] - lightness[0] > 0.6


def test_perturbation_curves_are_the_means_of_the_tokens():
    shares = np.array([0.0, 0.5, 1.0])
    deletion = np.array([[1, 0.9, 0.6], [1, 0.2, 0.0], [1, 0.4, 0.3]], np.float32)  # means 1, 0.5, 0.3
    insertion = np.array([[0.5, 0.9, 1], [0.1, 0.3, 1], [0, 0.9, 1]], np.float32)  # means 0.2, 0.7, 1
    found = {
        "ULTra": Perturbation(shares, deletion, insertion, 4),
        "random": Perturbation(shares, insertion, deletion, 4),
        "cosine": Perturbation(shares, deletion[:1], insertion[:1], 4),
        "ultra, negative": Perturbation(shares, deletion[1:2], insertion[1:2], 4),
    }
    left, right = plots.perturbation_curves(found).axes
    for ax, means in ((left, ([1, 0.5, 0.3], [0.2, 0.7, 1])), (right, ([0.2, 0.7, 1], [1, 0.5, 0.3]))):
        for line, mean in zip(ax.lines, means, strict=False):
            np.testing.assert_array_equal(line.get_xdata(), shares)
            np.testing.assert_allclose(line.get_ydata(), mean, rtol=1e-6)
    # Areas by the trapezoidal rule: (1 + 0.5) / 4 + (0.5 + 0.3) / 4 and (0.2 + 0.7) / 4 + (0.7 + 1) / 4.
    said = [text.get_text() for text in left.get_legend().get_texts()]
    assert said == ["ULTra  0.575", "random  0.650", "cosine  0.850", "ultra, negative  0.350"]
    looks = [(line.get_color(), line.get_linestyle(), line.get_linewidth()) for line in left.lines]
    assert looks[0] == (FOCUS, "-", 4) and looks[3] == (FOCUS, "--", 4)
    assert looks[1][1] == ":" and len({colour for colour, _, _ in looks}) == 3
    assert left.get_ylim() == right.get_ylim() and left.get_ylim()[1] == 1.01
    with pytest.raises(ValueError, match="at least one method"):
        plots.perturbation_curves({})


def test_loss_curve_marks_the_best_epoch():
    loss = np.array([[np.nan, 3.0], [2.9, 2.5], [2.7, 2.2], [2.6, 2.4]], np.float32)
    (ax,) = plots.loss_curve(Transform(np.eye(2, dtype=np.float32), 4, loss)).axes
    trained, held_out, kept = ax.lines
    np.testing.assert_array_equal(trained.get_ydata(), loss[:, 0])
    np.testing.assert_array_equal(held_out.get_ydata(), loss[:, 1])
    assert (list(kept.get_xdata()), list(kept.get_ydata())) == ([2], [loss[2, 1]])


@pytest.mark.parametrize("name", plots.__all__)
def test_docstrings_hold_what_all_figures_share_once_and_in_order(name):
    doc = inspect.getdoc(getattr(plots, name))
    heads = [line for line in ("Parameters", "Returns", "Examples") if f"\n{line}\n---" in doc]
    assert heads[:2] == ["Parameters", "Returns"]
    assert [doc.index(f"\n{head}\n") for head in heads] == sorted(doc.index(f"\n{head}\n") for head in heads)
    for parameter in inspect.signature(getattr(plots, name)).parameters:
        assert len(re.findall(rf"^(?:\*\*)?{parameter}(?: :|$)", doc, re.M)) == 1, parameter


def atlas_of(**changes):
    """Five tokens of a 2 x 4 grid: two clusters and one noise token."""
    from ultra_kit.atlas import Embedding, PlacedInput

    picture = PlacedInput(Layout("image", 1, grid=(2, 4), size=(16, 40)), np.zeros((16, 40, 3), np.uint8))
    fields = {
        "points": np.float32([[0, 0], [0, 1], [5, 0], [5, 1], [2, 2]]),
        "labels": np.int32([0, 0, 1, 1, -1]),
        "probabilities": np.ones(5, np.float32),
        "source": np.int32([[0, 1], [0, 4], [0, 5], [0, 8], [0, 2]]),
        "vectors": np.eye(5, dtype=np.float16),
        "inputs": (picture,),
        "names": ("fire", ""),
    }
    return Embedding(**fields | changes)


def test_atlas_has_a_point_for_each_token_a_name_or_a_patch_for_each_cluster():
    emb = atlas_of()
    (ax,) = plots.atlas(emb).axes
    dots = ax.collections[0]
    drawn = {tuple(p): tuple(c[:3]) for p, c in zip(dots.get_offsets(), dots.get_facecolors(), strict=True)}
    assert drawn.keys() == {tuple(p) for p in emb.points.tolist()}
    assert drawn[0, 0] == drawn[0, 1] != drawn[5, 0] == drawn[5, 1] and drawn[2, 2] == (0.8, 0.8, 0.8)
    assert [t.get_text() for t in ax.texts] == ["fire"]  # the other has no name: a patch stands there
    (patch,) = [a for a in ax.artists if isinstance(a, mpl.offsetbox.AnnotationBbox)]
    assert patch.xy == (5, 0.5)


def test_no_name_or_patch_of_an_atlas_covers_another():
    """Four clusters lie nearly on one spot, the last alone: of the four two fit, the largest above its points."""
    sizes = [3, 5, 2, 4, 1]
    labels = np.repeat(np.arange(5), sizes).astype(np.int32)
    points = np.float32([[0.01 * k if k < 4 else 9, 0] for k in labels])
    rows = {"points": points, "labels": labels, "probabilities": np.ones(15, np.float32)}
    rows |= {"source": np.int32([[0, 1 + i % 8] for i in range(15)]), "vectors": np.eye(15, dtype=np.float16)}
    (ax,) = plots.atlas(atlas_of(**rows, names=("some", "most", "few", "many", "alone"))).axes
    assert {t.get_text(): t.get_position()[1] for t in ax.texts} == {"most": 7, "many": -7, "alone": 7}
    (ax,) = plots.atlas(atlas_of(**rows, names=())).axes
    patches = [a.xy[0] for a in ax.artists if isinstance(a, mpl.offsetbox.AnnotationBbox)]
    np.testing.assert_allclose(patches, [0.01, 9], atol=1e-6)


def test_atlas_is_coloured_by_position_by_a_scale_and_by_classes():
    emb = atlas_of()

    def colours(colour):
        dots = plots.atlas(emb, colour=colour).axes[0].collections[0]
        return {
            tuple(p): tuple(c[:3]) for p, c in zip(dots.get_offsets(), dots.get_facecolors(), strict=True)
        }

    found = colours("position")
    blue, orange = np.array([0, 114, 178]) / 255, np.array([230, 159, 0]) / 255
    corners = {(0, 0): blue + 0.45 * (1 - blue), (0, 1): orange + 0.45 * (1 - orange), (5, 0): 0.55 * blue}
    for place, colour in corners.items():
        np.testing.assert_allclose(found[place], colour, atol=1e-6)
    found = colours(np.array([0.0, 1, 0, 1, 0.5]))
    assert found[0, 0] == found[5, 0] == mpl.colormaps["viridis"](0.0)[:3] != found[0, 1]
    figure = plots.atlas(emb, colour=["cat", "dog", "cat", "dog", "cat"])
    assert [t.get_text() for t in figure.axes[0].get_legend().get_texts()] == ["cat", "dog"]
    dots = plots.atlas(emb, selected=[1, 4]).axes[0].collections[0]
    clear = {tuple(p) for p, a in zip(dots.get_offsets(), dots.get_alpha(), strict=True) if a > 0.5}
    assert clear == {(0, 1), (2, 2)}
    with pytest.raises(ValueError, match="one entry for each of 5 tokens"):
        plots.atlas(emb, colour=[1, 2])
    with pytest.raises(ValueError, match="colour must be cluster, input, layer, position or an array"):
        plots.atlas(emb, colour="depth")
    with pytest.raises(TypeError, match="atlas needs Embedding, got ExplanationMaps"):
        plots.atlas(maps_of())


def test_an_atlas_of_several_layers_says_which_is_which():
    emb = atlas_of(layer=(2, 9), layers=np.int32([9, 2, 2, 9, 2]))
    figure = plots.atlas(emb, colour="layer")
    (ax,) = figure.axes
    assert ax.get_title() == "5 tokens of 1 input, layers 2, 9 by latent"
    dots = ax.collections[0]
    drawn = {tuple(p): tuple(c[:3]) for p, c in zip(dots.get_offsets(), dots.get_facecolors(), strict=True)}
    legend = ax.get_legend()
    assert [t.get_text() for t in legend.get_texts()] == ["layer 2", "layer 9"]
    low, high = (tuple(h.get_facecolor()[0, :3]) for h in legend.legend_handles)
    assert sum(low) < sum(high)  # deeper is lighter
    assert [drawn[tuple(p)] for p in emb.points.tolist()] == [high, low, low, high, low]
    (marks,) = plots.atlas_hover(emb, colour="layer").data
    assert marks.hovertext[1] == "input 0<br>row 0, column 3<br>layer 2<br>cluster 0 fire"


def test_the_largest_classes_take_the_eight_colours_and_the_next_are_lighter():
    from ultra_kit.plots.atlas_figures import class_colours
    from ultra_kit.plots.style import SEGMENT_COLOURS

    found = class_colours(np.array([1, 50, *range(30, 40)]))
    assert mpl.colors.to_hex(found[1]).upper() == SEGMENT_COLOURS[0]
    assert mpl.colors.to_hex(found[11]).upper() == SEGMENT_COLOURS[1]
    assert len({tuple(c) for c in found}) == 12
    first = np.array(mpl.colors.to_rgb(SEGMENT_COLOURS[3]))
    np.testing.assert_allclose(found[0], first + 0.45 * (1 - first))  # the twelfth by size


def test_hover_says_input_place_and_cluster():
    (marks,) = plots.atlas_hover(atlas_of()).data
    assert marks.hovertext[1] == "input 0<br>row 0, column 3<br>cluster 0 fire"
    assert marks.hovertext[4] == "input 0<br>row 0, column 1<br>noise"
    assert marks.x.tolist() == [0, 0, 5, 5, 2]


def test_cards_show_the_patches_of_each_cluster():
    figure = plots.exemplar_cards(atlas_of(), n=2)
    assert [ax.get_ylabel() for ax in figure.axes] == ["0: 2", "", "1: 2", ""]
    assert all(len(ax.images) == 1 for ax in figure.axes)
