"""Floor 1's integers: tiles cover the scene once, trim undoes expand at every edge."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ConfigError
from pipeline.grid import Grid, Halo, Window

sizes = st.integers(1, 90)


@given(sizes, sizes, st.integers(1, 40))
def test_tiles_cover_every_pixel_once(height: int, width: int, tile: int) -> None:
    grid = Grid(height, width, tile)
    count = np.zeros((height, width), int)
    for place in grid:
        count[place.window.slices] += 1
        assert max(place.window.shape) <= tile
    assert (count == 1).all()
    assert len(list(grid)) == len(grid) == grid.rows * grid.columns


@given(sizes, sizes, st.integers(1, 40), st.tuples(*[st.integers(0, 50)] * 4), st.data())
def test_trim_undoes_expand(height: int, width: int, tile: int, halo: tuple[int, ...], data: st.DataObject) -> None:
    scene = np.arange(height * width).reshape(height, width)
    grid = Grid(height, width, tile)
    window = grid[data.draw(st.integers(0, len(grid) - 1))].window
    outer = window.expand(Halo(*halo), height, width)
    assert np.array_equal(scene[outer.slices][window.within(outer)], scene[window.slices])
    assert outer.y0 == max(0, window.y0 - halo[0])
    assert outer.x1 == min(width, window.x1 + halo[3])


def test_halo_is_clipped_not_padded() -> None:
    assert Window(0, 4, 4, 8).expand(Halo.even(3), 8, 8) == Window(0, 7, 1, 8)


def test_tiles_are_counted_in_raster_order() -> None:
    grid = Grid(10, 10, 4)
    assert [(tile.row, tile.column) for tile in grid][:4] == [(0, 0), (0, 1), (0, 2), (1, 0)]
    with pytest.raises(IndexError):
        grid[9]


def test_a_grid_without_pixels_is_refused() -> None:
    with pytest.raises(ConfigError, match="tiles of 0"):
        Grid(10, 10, 0)


@pytest.mark.parametrize("tiles", [(1, 1), (3, 4), (1, 17), (40, 50)])
@pytest.mark.parametrize("count", [1, 9, 16, 64])
def test_tiles_spread_over_a_grid_are_few_and_in_even_steps(tiles: tuple[int, int], count: int) -> None:
    grid = Grid(7 * tiles[0], 7 * tiles[1], 7)
    numbers = grid.spread(count)
    assert len(numbers) == min(count, len(grid))
    assert numbers == tuple(np.linspace(0, len(grid) - 1, len(numbers)).round().astype(int))
