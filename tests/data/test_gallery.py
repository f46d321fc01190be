"""Bundled photographs: each can be opened, has its line of origin and licence, and is small."""

import re

import numpy as np
import pytest

import ultra_kit as uk
from ultra_kit.models.loading import data_folder

README = (data_folder() / "images" / "README.md").read_text("utf-8")


def test_there_are_at_least_eight_with_origin_and_licence():
    rows = re.findall(r"^\| `(\w+)\.jpg` \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", README, re.M)
    assert tuple(sorted(name for name, *_ in rows)) == uk.data.photographs()
    assert len(rows) >= 8
    for name, _, origin, licence in rows:
        assert "scikit-" in origin, name
        assert re.match(r"CC0|CC BY 2\.0|public domain|no known copyright", licence), name


@pytest.mark.parametrize("name", uk.data.photographs())
def test_photograph_is_small_and_of_something(name):
    image = uk.data.photograph(name)
    assert image.dtype == np.uint8 and image.shape[2] == 3
    assert 200 < max(image.shape) <= 512 and image.std() > 20
    assert (data_folder() / "images" / f"{name}.jpg").stat().st_size < 100_000


def test_an_unknown_name_is_told_the_known_ones():
    with pytest.raises(ValueError, match=r"chelsea.*'../README'"):
        uk.data.photograph("../README")


def test_a_function_of_a_notebook_that_uses_the_package_can_be_sent_to_another_process():
    import pickle

    import cloudpickle

    assert pickle.loads(cloudpickle.dumps(uk)) is uk
