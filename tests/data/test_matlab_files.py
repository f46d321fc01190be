"""A MATLAB file whose damage SciPy's reader dies of: a typed error, and the next file is read."""

import io
import multiprocessing
import os
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy.io import savemat

from ultra_kit.data import matlab_files
from ultra_kit.data.matlab_files import read_mat
from ultra_kit.data.official_layouts import _read_mat_truth

GT = np.arange(6, dtype=np.int32).reshape(2, 3)


@pytest.fixture
def whole(tmp_path):
    savemat(tmp_path / "whole.mat", {"gt": GT})
    return tmp_path / "whole.mat"


@pytest.fixture
def deadly(tmp_path):
    buffer = io.BytesIO()
    savemat(buffer, {"gt": GT}, do_compression=False)
    data = bytearray(buffer.getvalue())
    assert data[176:184] == bytes([5, 0, 0, 0, 24, 0, 0, 0])  # the numbers' tag: int32, 24 bytes
    data[176:180] = bytes([40, 0, 0, 0])  # no type of the format; SciPy takes what lies behind its table
    (tmp_path / "deadly.mat").write_bytes(data)
    return tmp_path / "deadly.mat"


def test_a_file_that_kills_is_named_and_the_next_is_read(whole, deadly):
    for _ in range(2):
        with pytest.raises(ValueError, match=r"deadly\.mat is no MATLAB file .* reader died of it"):
            _read_mat_truth(deadly)
        assert (_read_mat_truth(whole) == GT).all()


def test_one_process_reads_all_files_also_of_several_threads(whole):
    read_mat(whole)
    before = matlab_files._reader.cache_info().misses
    with ThreadPoolExecutor(4) as threads:
        assert all((found["gt"] == GT).all() for found in threads.map(read_mat, [whole] * 12))
    assert matlab_files._reader.cache_info().misses == before


def _read_both(whole, deadly):
    with pytest.raises(ValueError, match="died"):
        read_mat(deadly)
    return read_mat(whole)["gt"]


def test_a_daemonic_worker_reads_too(whole, deadly):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert (pool.apply(_read_both, (whole, deadly)) == GT).all()


def test_what_takes_too_long_or_too_much_is_given_up(whole, tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "endless.mat")
    monkeypatch.setattr(matlab_files, "_SECONDS", 0.2)
    with pytest.raises(ValueError, match=r"took more than 0\.2 s"):
        read_mat(tmp_path / "endless.mat")
    monkeypatch.undo()
    assert (read_mat(whole)["gt"] == GT).all()
    monkeypatch.setattr(matlab_files, "_DISK_BYTES", whole.stat().st_size - 1)
    with pytest.raises(ValueError, match=r"more than .* bytes"):
        read_mat(whole)


@pytest.mark.skipif(sys.platform != "linux", reason="only there memory is bounded")
def test_a_file_that_asks_for_more_memory_than_the_bound_is_an_error(deadly):
    data = bytearray(deadly.read_bytes())
    data[176:184] = bytes([5, 0, 0, 0, 0, 0, 0, 255])  # int32, almost 4 GiB of them
    deadly.write_bytes(data)
    with pytest.raises(ValueError, match="MemoryError"):
        read_mat(deadly)


def test_an_interrupted_reading_leaves_no_answer_for_the_next_file(whole, deadly, monkeypatch):
    read_mat(whole)

    def interrupted(file):
        raise KeyboardInterrupt

    with monkeypatch.context() as m, pytest.raises(KeyboardInterrupt):
        m.setattr(matlab_files.pickle, "load", interrupted)
        read_mat(whole)
    with pytest.raises(ValueError, match="died"):
        read_mat(deadly)
    assert (read_mat(whole)["gt"] == GT).all()
