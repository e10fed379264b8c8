"""What `plan` prints of a bank, against counts done by hand."""

import numpy as np

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


def test_more_workers_than_panels_share_the_filters():
    wide = Bank("b", ("a",), [0], [1], np.ones((128, 1, 3, 3)), np.zeros(128), tuple(map(str, range(128))))
    assert describe(wide, 1, 1, 8, 8, workers=4)[0].filter_groups == 4
    assert describe(wide, 1, 1, 8, 8, workers=1)[0].filter_groups == 1
