"""Sinks, high norms and where attention and relevance lie, worked by hand; and what is said of it in words."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from toys_captures import attention_stack, make_capture

import ultra_kit as uk
from ultra_kit.runs.diagnosing import _first_axis, _flag, _received, _warnings

# Rows are queries: prefix, then tokens 1..3. Token 1 is a sink: 0.6, 0.5 and 0.4 of the three others' attention.
SINKING = np.array([[0.2, 0.6, 0.1, 0.1], [0.1, 0.7, 0.1, 0.1], [0.3, 0.5, 0.1, 0.1], [0.3, 0.4, 0.2, 0.1]])


def capture_of(attention=SINKING, lengths=(9.0, 1.0, 2.0, 8.0), prefix=1):
    """Two layers: latents of unit norm, then of these lengths; in one graph with the attention."""
    x = torch.eye(4, dtype=torch.float64, requires_grad=True)
    weights = torch.tensor(attention)[None].expand(2, 4, 4) + 0 * x.sum()
    z = (weights.mean(0) @ x) * 0 + torch.diag(torch.tensor(lengths, dtype=torch.float64))
    return make_capture((x, z), [weights], prefix=prefix)


def test_attention_received_of_the_others():
    np.testing.assert_allclose(_received(SINKING), [0.7 / 3, 1.5 / 3, 0.4 / 3, 0.3 / 3])


def test_sinks_and_high_norms_worked_by_hand():
    found = _flag(capture_of())
    assert found["prefix"].tolist() == [0]
    assert found["sinks"].tolist() == [
        1
    ]  # 0.5 of the others' attention, over 0.3; the own 0.7 does not count
    assert found["high"].tolist() == [
        3
    ]  # 8 against a median of 2 of the tokens 1, 2, 8; the prefix's 9 is no content
    prefix_is_sink = SINKING[:, [1, 0, 2, 3]][[1, 0, 2, 3]]
    assert _flag(capture_of(prefix_is_sink))["sinks"].tolist() == [0]


def test_a_norm_of_three_medians_is_not_high_yet():
    assert _flag(capture_of(lengths=(1.0, 2.0, 2.0, 6.0)))["high"].tolist() == []
    assert _flag(capture_of(lengths=(1.0, 2.0, 2.0, 6.1)))["high"].tolist() == [3]


def test_shares_add_each_position_once():
    cap = attention_stack(6, seed=1, prefix=1)
    found = uk.diagnose(cap, tokens=[2, 4], layers=[3])
    layers, special = found.layers, np.concatenate(list(found.flagged[0].values()))
    received = _received(cap.attention(3).mean(0))
    assert layers.loc[3, "attention prefix"] == pytest.approx(received[0] / received.sum())
    values = uk.explain(cap, layer=3, tokens=[2, 4], since=0).values
    values[[0, 1], [2, 4]] = 0  # own positions
    expected = (values[:, 0] / values.sum(1)).mean()
    assert layers.loc[3, "relevance prefix"] == pytest.approx(expected)
    assert layers.loc[1:2, "relevance prefix"].isna().all() and np.isnan(layers.loc[0, "attention prefix"])
    assert layers.loc[3, "top"] == np.isin(values.argmax(1), special).mean()


def test_a_position_of_two_kinds_counts_for_the_first():
    both = capture_of(lengths=(1.0, 9.0, 2.0, 2.0))  # token 1 is a sink and long
    layers = uk.diagnose(both, layers=[]).layers
    assert layers.loc[1, "attention sinks"] == pytest.approx(1.5 / 2.9)
    assert layers.loc[1, "attention high"] == 0
    assert layers.loc[1, "high norm"] == pytest.approx(1 / 3) and layers.loc[1, "largest"] == 4.5


def test_first_axis_worked_by_hand():
    # Variances 2 * 3**2 along x and 2 * 1 along y: 18 of 20.
    assert _first_axis(np.array([[3.0, 0], [-3, 0], [0, 1], [0, -1]])) == pytest.approx(0.9)
    assert _first_axis(np.ones((3, 2))) == 0 and _first_axis(np.ones((0, 2))) == 0


def test_one_long_token_rules_the_first_axis_and_is_named():
    found = uk.diagnose(capture_of(lengths=(1.0, 1.0, 1.0, 99.0)), layers=[])
    row = found.layers.loc[1]
    assert row["axis"] > 0.99 and row["axis without"] <= 1
    said = "\n".join(found.warnings)
    assert "layer 1: over half of the attention goes to such positions" in said
    assert "layer 1: some content tokens are over 3 medians long" in said
    assert "Warning: layer 1" in repr(found) and "1 sinks (0 of them prefix)" in repr(found)


def test_nothing_is_said_of_a_plain_model():
    even = np.full((4, 4), 0.25)
    found = uk.diagnose(capture_of(even, lengths=(1.0, 1.0, 1.1, 1.2), prefix=0), layers=[])
    assert found.warnings == () and "No warning" in repr(found)


def test_layers_in_words():
    layers = uk.diagnose(capture_of(np.full((4, 4), 0.25), prefix=0), layers=[]).layers
    table = layers.iloc[[0]].loc[[0] * 8].reset_index(drop=True)
    table["top"] = [0.0, 0, 0.9, 0.9, 0.9, 0, 0, 1]
    assert _warnings(table)[0].startswith("layers 2 to 4, 7: the strongest position")


def test_means_over_captures_of_one_model():
    caps = [capture_of(lengths=(1.0, 1, 2, length)) for length in (2.0, 4.0)]
    assert uk.diagnose(caps, layers=[]).layers.loc[1, "largest"] == pytest.approx((1 + 2) / 2)
    other = attention_stack(4, seed=1, prefix=1)
    with pytest.raises(ValueError, match="of one model"):
        uk.diagnose([caps[0], other])
    for wrong in ("a text", None, uk.explain(other, layer=1, tokens=[1])):
        with pytest.raises(TypeError, match="needs captures"):
            uk.diagnose(wrong)


def test_layers_are_whole_numbers_one_or_several():
    cap = attention_stack(4, seed=1, prefix=1)
    assert np.flatnonzero(uk.diagnose(cap, tokens=[1], layers=1).layers["top"].notna()).tolist() == [1]
    for wrong in ("1", [1.7]):
        with pytest.raises(TypeError, match="layer must be an int"):
            uk.diagnose(cap, layers=wrong)
    assert uk.diagnose(cap, layers=[]).layers["top"].isna().all()  # none, not all


@pytest.mark.parametrize("odd", [np.nan, np.inf])
def test_latents_that_are_no_numbers_are_named(odd):
    cap = uk.capture(uk.load("scenes"), uk.data.scene(0).image)
    maps = uk.explain(cap, layer=2, tokens=[9])
    bad = replace(cap, latents=tuple(z.detach().clone() for z in cap.latents))
    bad.latents[2][9, 3] = odd
    for call in (
        lambda: uk.diagnose(bad),
        lambda: uk.intervene(bad, remove=[30], layer=2),
        lambda: uk.runs.perturb(bad, maps),
        lambda: uk.name(bad, tokens=[9], layer=2, by="patches", among=[cap]),
    ):
        with pytest.raises(uk.UltraError, match="latents must be finite, those of layer 2 are not"):
            call()


def test_each_line_of_what_is_said_is_one_in_a_notebook():
    found = uk.diagnose(attention_stack(4, seed=1, prefix=1), layers=[])
    said = found._repr_html_().split("</p>")[0]
    assert said.count("<br>") == max(len(found.warnings), 1) and "\n" not in said


def test_the_figure_shows_the_shares():
    found = uk.diagnose(attention_stack(6, seed=1, prefix=1), tokens=[2], layers=[1, 3])
    axes = uk.plots.show_diagnosis(found).axes
    assert [ax.get_title().split(",")[0] for ax in axes[2:]] == ["attention", "relevance"]
    np.testing.assert_allclose(axes[0].lines[0].get_ydata(), found.layers["largest"])


def test_the_lengths_of_the_figure_stand_in_plain_decimals():
    found = uk.diagnose(uk.capture(uk.load("scenes"), uk.data.scene(0).image), tokens=[30], layers=[3])
    figure = uk.plots.show_diagnosis(found)
    figure.draw_without_rendering()
    low, high = figure.axes[0].get_ylim()
    labels = [
        label.get_text()
        for label in figure.axes[0].get_yticklabels(which="both")
        if low <= label.get_position()[1] <= high and label.get_text()
    ]
    assert len(labels) >= 2 and all(f"{float(label):g}" == label for label in labels)


def test_the_figure_shows_the_relevance_of_one_layer():
    found = uk.diagnose(attention_stack(6, seed=1, prefix=1), tokens=[2], layers=2)
    bars = uk.plots.show_diagnosis(found).axes[3].patches
    assert [bar.get_x() + bar.get_width() / 2 for bar in bars] == [2, 2, 2]
    shares = found.layers.loc[2, [f"relevance {kind}" for kind in ("prefix", "sinks", "high")]].to_numpy(
        float
    )
    np.testing.assert_allclose([bar.get_height() for bar in bars], shares)
    np.testing.assert_allclose([bar.get_y() for bar in bars], [0, *np.cumsum(shares)[:2]])
