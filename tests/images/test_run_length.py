import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from ultra_kit.images.run_length import _to_text, from_rle, to_rle

masks = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=40))


def test_runs_go_down_the_columns_and_begin_with_zeros():
    mask = np.array([[1, 0, 0], [1, 1, 0]], bool)  # column by column: 1 1, 0 1, 0 0
    assert to_rle(mask) == {"size": [2, 3], "counts": [0, 2, 1, 1, 2]}
    assert to_rle(np.zeros((2, 3), bool))["counts"] == [6]
    assert to_rle(np.ones((2, 3), bool))["counts"] == [0, 6]


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        # Five bits a character, the lowest first, 0x20 for "more follows", 48 added; 0x10 is the sign.
        ([6], "6"),  # 6 -> 54
        ([16], "`0"),  # 0b10000: its top bit would read as a sign, so 0x10 + 0x20 -> 96 "`", then 0 -> "0"
        ([100], "T3"),  # 100 = 3 * 32 + 4: 4 + 0x20 -> 84 "T", then 3 -> 51
        ([5, 7, 2, 4], "572M"),  # the fourth is 4 - 7 = -3 -> 0b11101 -> 77 "M"
    ],
)
def test_compressed_counts_worked_by_hand(counts, text):
    mask = np.repeat(np.arange(len(counts)) % 2 == 1, counts)[:, None]
    assert to_rle(mask, compressed=True)["counts"] == text
    np.testing.assert_array_equal(from_rle({"size": mask.shape, "counts": text}), mask)


@given(masks, st.booleans())
def test_round_trip(mask, compressed):
    np.testing.assert_array_equal(from_rle(to_rle(mask, compressed=compressed)), mask)


@given(masks)
def test_area_is_the_sum_of_every_second_run(mask):
    assert sum(to_rle(mask)["counts"][1::2]) == mask.sum()


@pytest.mark.parametrize("mask", [np.zeros(3), np.zeros((0, 3)), np.full((2, 2), 0.5)])
def test_what_is_no_mask_is_refused(mask):
    with pytest.raises(ValueError, match="mask must"):
        to_rle(mask)


@pytest.mark.parametrize("counts", [[3], [5, -1], "z~", [2, 3]])
def test_damaged_codes_are_refused(counts):
    with pytest.raises(ValueError, match="counts must"):
        from_rle({"size": [2, 2], "counts": counts})


WRAPS = [2**62] * 4 + [4]  # whose sum is 4 modulo 2^64


@pytest.mark.parametrize(
    ("size", "counts", "words"),
    [
        ([2, 2], WRAPS, "add up to"),
        ([2, 2], _to_text(WRAPS), "64 bits|add up to"),
        ([2, 2], [2.0, 2.0], "whole numbers"),
        ([2, 2], [True, 3], "whole numbers"),
        ([2, 2], [[1, 1, 5, 1]], "polygon"),
        ([2, 2], "4P", "cut off"),
        ([2, 2], "\u00e9", "made of the characters"),
        ([2, 2], {"a": 1}, "whole numbers"),
        ([10**6, 10**6], [10**12], "at most"),
        ([2**40, 2**40], [0], "size must be"),
        ([2], [2], "size must be"),
        ([2.0, 2], [4], "size must be"),
        ("22", [4], "size must be"),
        ([0, 4], [0], "size must be"),
    ],
)
def test_hostile_codes_are_refused(size, counts, words):
    with pytest.raises(ValueError, match=words):
        from_rle({"size": size, "counts": counts})


@pytest.mark.parametrize("given_", [[[1, 1, 5, 1, 5, 5]], None, "6", {"size": [2, 2]}])
def test_what_is_no_code_is_refused(given_):
    with pytest.raises(TypeError, match=r"mapping with size and counts.*polygon"):
        from_rle(given_)
