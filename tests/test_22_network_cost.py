"""What `plan` prints of a bank, against counts done by hand."""

import numpy as np
import pytest

from pipeline.gemm import Convolution, convolution, pooled, pooled_responses, responses_at_once
from pipeline.network import Bank, describe


def bank(groups):
    return Bank(
        "b",
        tuple("abcd"),
        np.zeros(4),
        np.ones(4),
        np.ones((8, 4 // groups, 3, 3)),
        np.zeros(8),
        tuple("12345678"),
        spectra=True,
    )


def test_layers_of_a_scene_done_by_hand():
    conv, pool, mean5, cell = describe(bank(1), 9, 4, 101, 80)
    assert (conv.name, conv.m, conv.n, conv.k) == ("conv 3x3", (25 * 4 + 9) * (19 * 4 + 9), 8, 36)
    assert conv.flops == 2 * conv.m * 8 * 36
    assert conv.bytes == 4 * (4 * conv.m + 8 * 36)
    assert 0 < conv.panel_rows <= conv.m
    assert (pool.name, pool.m, pool.n, pool.k) == ("pool 9x9 every 4", 26 * 20, 16, 81)
    assert pool.bytes == 4 * 26 * 20 * 16
    assert pool.flops == 16 * 26 * 9 * (19 * 4 + 9 + 20)
    assert [(layer.name, layer.n) for layer in (mean5, cell)] == [("mean 5x5 every 4", 4), ("mean 4x4 every 4", 4)]
    assert conv.intensity == conv.flops / conv.bytes


def test_filters_of_one_band_cost_one_band():
    assert describe(bank(4), None, 1, 64, 64)[0].flops * 4 == describe(bank(1), None, 1, 64, 64)[0].flops


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize(("count", "pool", "stride"), [(8, 9, 4), (64, 9, 1), (64, 5, 5), (8, 70, 33)])
def test_the_panel_is_the_one_that_the_engine_takes(monkeypatch, exact, count, pool, stride):
    """Units of the call, times the responses of one, are the responses of the map and what hangs over."""
    x, filters = np.zeros((20, 300, 420), np.float32), np.ones((count, 20, 3, 3), np.float32)
    units = []
    for module in (convolution, pooled):
        monkeypatch.setattr(module, "share_out", lambda work, number, threads: (units.append(number), work(0, 1)))
    own = Convolution(filters, exact=exact)
    responses = np.full((count, 298, 418), np.nan, np.float32)
    own(x, out=responses)
    first = np.isfinite(responses).all(axis=0)
    rows, columns = first.any(axis=1).sum(), first.any(axis=0).sum()
    assert own.at_once(x.shape) == first.sum() == rows * columns
    assert units[0] == -(-298 // rows) * -(-418 // columns) < 1.5 * 298 * 418 / own.at_once(x.shape)
    if pool <= pooled.LARGEST:
        cells = [(side - pool) // stride + 1 for side in (298, 418)]
        pooled_responses(x, own, pool, stride, np.empty((count, *cells), np.float32))
        once = responses_at_once(own, x.shape, pool, stride)
        assert ((cells[0] - 1) * stride + pool) * ((cells[1] - 1) * stride + pool) <= once * units[1] < 2 * 298 * 418


def test_tiles_have_smaller_panels_than_the_scene():
    whole, tiled = (describe(bank(1), 9, 4, 1000, 1000, tile=tile)[0].panel_rows for tile in (None, 16))
    assert 0 < tiled <= 21 * 21 < whole
