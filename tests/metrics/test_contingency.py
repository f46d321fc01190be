"""The one table and the one overlap: against the libraries' own, and at the edges of what they are given."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from sklearn.metrics import jaccard_score
from sklearn.metrics.cluster import contingency_matrix

from ultra_kit.metrics.contingency import contingency, distinct, overlap, table_overlap


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.uint16, np.int32, np.int64, np.uint64, float])
@given(data=st.data())
def test_distinct_is_unique(dtype, data):
    labels = data.draw(arrays(np.int8, array_shapes(max_dims=2, max_side=5))).astype(dtype)
    names, index = distinct(labels)
    want_names, want_index = np.unique(labels, return_inverse=True)
    np.testing.assert_array_equal(names, want_names)
    np.testing.assert_array_equal(index, want_index.reshape(labels.shape))
    assert names.dtype == labels.dtype and index.shape == labels.shape


def test_no_labels_are_none():
    names, index = distinct(np.zeros((0, 3), int))
    assert names.shape == (0,) and index.shape == (0, 3)


@given(arrays(np.int16, 12), arrays(np.int16, 12))
def test_table_of_two_labellings(first, second):
    found = contingency(distinct(first)[1], distinct(second)[1])
    np.testing.assert_array_equal(found, contingency_matrix(first, second))
    assert found.dtype == np.int64


def test_a_given_shape_holds_what_does_not_occur():
    assert contingency(np.array([0, 2]), np.array([1, 1]), (3, 3)).tolist() == [
        [0, 1, 0],
        [0, 0, 0],
        [0, 1, 0],
    ]
    assert contingency(np.zeros(0, int), np.zeros(0, int), (2, 1)).tolist() == [[0], [0]]


@given(arrays(bool, 12), arrays(bool, 12))
def test_overlap_is_jaccards(first, second):
    found = overlap((first & second).sum(), first.sum(), second.sum(), empty=1)
    assert found == jaccard_score(first, second, zero_division=1)


def test_overlap_of_nothing_and_of_a_table():
    np.testing.assert_array_equal(
        overlap(np.array([0, 1]), np.array([0, 1]), np.array([0, 2])), [np.nan, 0.5]
    )
    # 4 and 2 against 3 and 3: 3 of 4, 1 of 6, 0 of 5, 2 of 3.
    np.testing.assert_allclose(table_overlap(np.array([[3, 1], [0, 2]])), [[3 / 4, 1 / 6], [0, 2 / 3]])
