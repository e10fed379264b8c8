"""The one label of a cell, against areas found cell by cell and against GDAL's rasterising."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from rasterio import Affine
from rasterio.features import rasterize

from pipeline.grid import Grid
from pipeline.raster.owners import HALF_OPEN, Owned, owned, shares
from pipeline.raster.places import Places

HEIGHT, WIDTH = 9, 11


def label_of(shapes: list[Any], labels: Any, classes: bool, tile: int = 16) -> tuple[NDArray[Any], list[Owned]]:
    """The labels of all cells, NaN for none; each cell at most once."""
    grid = Grid(HEIGHT, WIDTH, tile)
    places = Places(np.array(shapes, object), grid, HALF_OPEN)
    found, parts = np.full((HEIGHT, WIDTH), np.nan), []
    for number in places.tiles:
        part, window = owned(places, number, np.asarray(labels, np.float64), classes), grid[number].window
        own = part.rows + window.y0, part.columns + window.x0
        assert len(set(zip(*(axis.tolist() for axis in own), strict=True))) == len(part.rows)
        assert np.isnan(found[own]).all()
        found[own] = part.labels
        parts.append(part)
    return found, parts


corners = st.tuples(st.integers(-2, 24), st.integers(-2, 20)).map(lambda at: (at[0] / 2, at[1] / 2))
polygons = st.one_of(
    st.builds(lambda a, b, c: shapely.Polygon([a, b, c]), corners, corners, corners),
    st.builds(
        lambda a, w, h: shapely.box(*a, a[0] + w / 4, a[1] + h / 4), corners, st.integers(1, 20), st.integers(1, 9)
    ),
).filter(lambda shape: shape.is_valid and shape.area > 0)


@given(st.lists(polygons, min_size=1, max_size=5), st.integers(1, 7), st.data())
def test_a_cell_is_of_the_class_with_most_of_its_area(shapes: list[Any], tile: int, data: st.DataObject) -> None:
    kinds = data.draw(st.lists(st.integers(0, 2), min_size=len(shapes), max_size=len(shapes)))
    found, parts = label_of(shapes, kinds, True, tile)
    numbers, _ = label_of(shapes, [10.0**kind for kind in kinds], False, tile)
    inner = [shape.buffer(-1e-5) for shape in shapes]
    ties = 0
    for row, column in np.ndindex(HEIGHT, WIDTH):
        cell, middle = (
            shapely.box(column, row, column + 1, row + 1),
            shapely.Point(column + HALF_OPEN[0], row + HALF_OPEN[1]),
        )
        area = np.array([shape.intersection(cell).area for shape in shapes])
        holds = np.array([shape.covers(middle) for shape in shapes])
        small = np.array([not any_centre(shape) for shape in shapes]) & (area > 1e-9)
        if not (holds | small).any():
            assert np.isnan(found[row, column]) or any(one.boundary.distance(middle) < 1e-5 for one in inner)
            continue
        total = np.bincount(kinds, area, 3)
        top = np.flatnonzero(total >= total.max() * (1 - 1e-6))
        centred = [kind for kind in top if holds[np.array(kinds) == kind].any()]
        winner = top[0] if len(top) == 1 else centred[0] if len(centred) == 1 else np.nan
        ties += bool(np.isnan(winner))
        assert found[row, column] == winner or (np.isnan(winner) and np.isnan(found[row, column]))
        assert numbers[row, column] == pytest.approx((area * 10.0 ** np.array(kinds)).sum() / area.sum(), rel=1e-5)
    assert sum(part.tied for part in parts) == ties


def any_centre(shape: Any) -> bool:
    """Whether a shape holds the centre of any cell of the map."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return bool(shapely.intersects_xy(shape, columns + HALF_OPEN[0], rows + HALF_OPEN[1]).any())


@given(st.lists(st.integers(1, 21), min_size=1, max_size=4, unique=True), st.booleans())
def test_a_centre_on_a_shared_border_is_held_by_one(cuts: list[int], across: bool) -> None:
    edges = [-1.0, *(cut / 2 for cut in sorted(cuts)), 12.0]
    strips = [
        shapely.box(-1, low, 12, high) if across else shapely.box(low, -1, high, 12) for low, high in pairwise(edges)
    ]
    found, parts = label_of(strips, range(len(strips)), True)
    assert not np.isnan(found).any()
    assert parts[0].tied == 0
    if not across:  # along rows GDAL goes by the order that it burns in
        burnt = rasterize(
            list(zip(strips, range(len(strips)), strict=True)), (HEIGHT, WIDTH), transform=Affine.identity()
        )
        assert np.array_equal(found, burnt)


def test_points_come_first_and_several_are_counted_out() -> None:
    field = shapely.box(0, 0, 6, 6)
    shapes = [field, *(shapely.Point(2.2, 3.3 + step) for step in (0, 0.1, 0.2)), shapely.Point(4.5, 4.5)]
    found, (part,) = label_of([*shapes, shapely.Point(4.6, 4.6)], [0, 1, 1, 2, 1, 2], True)
    assert (found[3, 2], found[0, 0], part.tied) == (1, 0, 1)
    assert np.isnan(found[4, 4])
    assert part.claiming.tolist() == [0, 1, 2, 3, 4, 5]
    assert part.heard.tolist() == [0, 1, 2]
    numbers, _ = label_of([*shapes, shapely.Point(4.6, 4.6)], [0, 1, 1, 4, 1, 2], False)
    assert (numbers[3, 2], numbers[4, 4]) == (2, 1.5)


def test_what_holds_no_centre_has_the_cells_it_lies_in_and_none_that_it_borders_on() -> None:
    plot = shapely.box(3.6, 3.6, 4.0, 4.0)
    found, (part,) = label_of([plot, shapely.LineString([(1, 6.2), (3.5, 6.2)])], [5, 7], False)
    assert np.argwhere(found == 5).tolist() == [[3, 3]]
    assert np.argwhere(found == 7).tolist() == [[6, 1], [6, 2], [6, 3]]
    lost, (part,) = label_of([shapely.box(0, 0, 8, 8), plot], [0, 1], True)
    assert not (lost == 1).any()
    assert (part.claiming.tolist(), part.heard.tolist()) == ([0, 1], [0])


@given(polygons, polygons)
def test_shares_are_areas_of_intersections(outer: Any, hole: Any) -> None:
    shape = outer.difference(hole)
    rows, columns = (axis.ravel() for axis in np.mgrid[:HEIGHT, :WIDTH])
    cells = shapely.box(columns, rows, columns + 1, rows + 1)
    wanted = shapely.area(shapely.intersection(shape, cells))
    if shape.area > 0:
        np.testing.assert_allclose(shares(shape, rows, columns), wanted, atol=1e-8)


def test_outlines_that_cross_themselves_are_no_error() -> None:
    bow = shapely.Polygon([(1, 1), (6, 6), (6, 1), (1, 6)])
    found, _ = label_of([bow, shapely.box(0, 0, 4, 9)], [1, 0], True)
    assert {0.0, 1.0} <= set(np.unique(found[~np.isnan(found)]).tolist())
