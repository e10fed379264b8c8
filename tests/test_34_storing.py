"""flow/storing.py: squared errors of each band, of some tiles."""

import numpy as np
import pytest

from pipeline.codec import Bound, decode, encode
from pipeline.flow.storing import SAMPLED, sampled_tiles, squared_errors
from pipeline.grid import Grid


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_sums_are_those_of_an_element_at_a_time(dtype: str) -> None:
    rng = np.random.default_rng(2)
    block = rng.normal(60, [[[1]], [[5]], [[20]]], (3, 24, 31)).clip(0, 127).astype(dtype)
    real = rng.random(block.shape) > [[[0]], [[0.3]], [[2]]]
    chunk = encode(block, real, Bound("rmse", 2.0))
    stored = decode(chunk)[0]
    slow = [
        (
            int(kept.sum()),
            sum((float(a) - float(b)) ** 2 for a, b in zip(one[kept], other[kept], strict=True)),
        )
        for one, other, kept in zip(block, stored, real, strict=True)
    ]
    found = squared_errors(block, real, chunk)
    assert [count for count, _ in found] == [count for count, _ in slow]
    assert found[2] == (0, 0.0)
    assert found[0][1] > 0
    np.testing.assert_allclose([error for _, error in found], [error for _, error in slow])


def test_infinities_are_left_out() -> None:
    block = np.linspace(0, 9, 64, dtype=np.float32).reshape(1, 8, 8)
    block[0, 3, 3] = np.inf
    chunk = encode(block, np.ones((8, 8), bool), Bound("max_error", 0.5))
    ((count, error),) = squared_errors(block, np.ones((1, 8, 8), bool), chunk)
    assert count == 63
    assert np.isfinite(error)


@pytest.mark.parametrize("tiles", [(1, 1), (3, 4), (40, 50)])
def test_sampled_tiles_are_few_and_spread(tiles: tuple[int, int]) -> None:
    grid = Grid(7 * tiles[0], 7 * tiles[1], 7)
    numbers = sampled_tiles(grid)
    assert len(numbers) == min(SAMPLED, len(grid))
    assert numbers[0] == 0
    assert numbers[-1] == len(grid) - 1
    assert sorted(set(numbers)) == list(numbers)
