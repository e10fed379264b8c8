"""Aligned arrays, and the memory that they leave to the next."""

import numpy as np
import pytest

from pipeline.gemm import memory


@pytest.fixture(autouse=True)
def empty(monkeypatch):
    monkeypatch.setattr(memory, "_kept", [])


@pytest.mark.parametrize("shape", [(1,), (3, 5, 7), (3, 700, 701)])
def test_arrays_start_with_a_cache_line(shape):
    array = memory.aligned(shape)
    assert array.shape == shape
    assert array.dtype == np.float32
    assert array.ctypes.data % memory.LINE_BYTES == 0
    assert array.flags.c_contiguous
    array[...] = 1


def test_memory_is_used_again_once_no_view_of_it_is_left():
    first = memory.aligned((600, 600))
    first[...] = 1
    address, view = first.ctypes.data, first[5:, ::2]
    del first
    second = memory.aligned((600, 600))
    second[...] = 2
    assert second.ctypes.data != address
    assert (view == 1).all()
    del view
    third = memory.aligned((600, 590))
    assert third.ctypes.data == address


def test_what_is_kept_is_bounded_and_the_oldest_goes(monkeypatch):
    monkeypatch.setattr(memory, "KEPT", 5 << 20)
    held = [memory.aligned((1 << 19,)) for _ in range(4)]
    addresses = [one.ctypes.data for one in held]
    while held:
        del held[0]
    assert sum(one.nbytes for one in memory._kept) <= 5 << 20
    assert memory.aligned((1 << 19,)).ctypes.data in addresses[-2:]


def test_memory_much_too_large_is_left_alone():
    large = memory.aligned((1 << 22,))
    address = large.ctypes.data
    del large
    small = memory.aligned((1 << 19,))
    assert not address <= small.ctypes.data < address + (1 << 24)
