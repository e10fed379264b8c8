"""Footprints hold the places of a scene and no others: at the antimeridian, around poles, where the globe ends."""

from __future__ import annotations

import random

import numpy as np
import pyproj
import pytest
import shapely
from affine import Affine
from rasterio.crs import CRS
from shapely.geometry import shape

from pipeline.raster.footprint import footprint
from pipeline.raster.globe import Extent, bounding_box
from pipeline.raster.scene import Affine6, Georeference, SceneInfo

ROTATED = (
    "+proj=ob_tran +o_proj=longlat +o_lon_p=-162 +o_lat_p=39.25 +lon_0=180 +R=6371229 +to_meter=0.0174532925199433"
)
GOES = "+proj=geos +h=35786023 +lon_0={} +sweep=x +ellps=GRS80"
AROUND = 2 * 20037508.342789244
SPLIT, WHOLE = "MultiPolygon", "Polygon"

CASES = {  # crs, transform, height, width, type, bounding box, degrees or metres of x around the globe
    "web mercator, east of its end": (
        *("EPSG:3857", (1000, 0, AROUND / 2 - 50_000, 0, -1000, 1e6), 200, 180, SPLIT),
        *((179.551, 7.168, -178.832, 8.947), AROUND),
    ),
    "web mercator, west of its end": (
        *("EPSG:3857", (1000, 0, -AROUND / 2 - 50_000, 0, -1000, 1e6), 200, 180, SPLIT),
        *((179.551, 7.168, -178.832, 8.947), AROUND),
    ),
    "Ross Sea": (
        "EPSG:3031",
        (30, 0, -6e4, 0, -30, -1.2e6),
        7900,
        7900,
        SPLIT,
        (171.609, -78.988, -177.138, -76.732),
        0,
    ),
    "Wrangel": ("EPSG:3413", (30, 0, -1.5e6, 0, -30, 1.5e6), 7900, 7900, SPLIT, (175.097, 70.598, -175.097, 73.62), 0),
    "3995": ("EPSG:3995", (30, 0, -6e4, 0, -30, 1.4e6), 7900, 7900, SPLIT, (171.346, 77.065, -177.047, 79.326), 0),
    "Bering": ("EPSG:3571", (1e3, 0, -9e4, 0, -1e3, -1.9e6), 200, 180, SPLIT, (177.288, 71.089, -177.288, 72.921), 0),
    "Aleutians": ("EPSG:3338", (1e3, 0, -2.1e6, 0, -1e3, 9e5), 700, 700, SPLIT, (173.225, 47.668, -173.604, 55.92), 0),
    "UTM 60, turned": (
        "EPSG:32660",
        (700, 700, 7.8e5, 700, -700, 1e6),
        200,
        180,
        SPLIT,
        (179.547, 7.76, -178.04, 10.17),
        0,
    ),
    "no farther than the edge of the map": (
        *("+proj=sinu +R=6371007.181", (926.6, 0, -20015109, 0, -926.6, 1111950), 1200, 1200, WHOLE),
        *((-180, 0, -170, 10), 0),
    ),
    "the Arctic": ("EPSG:3413", (25e3, 0, -3.85e6, 0, -25e3, 5.85e6), 448, 304, WHOLE, (-180, 30.98, 180, 90), 0),
    "the South Pole, upside down": (
        *("EPSG:3031", (1000, 0, -9e4, 0, 1000, -1e5), 200, 180, WHOLE, (-180, -90, 180, -88.762), 0),
    ),
    "a corner in the pole": ("EPSG:3031", (1e3, 0, -18e4, 0, -1e3, 2e5), 200, 180, WHOLE, (-90, -90, 0, -87.524), 0),
    "an edge through the pole": ("EPSG:3995", (1e3, 0, -9e4, 0, -1e3, 0), 200, 180, WHOLE, (-90, 87.982, 90, 90), 0),
    "an edge through the pole, from Asia": (
        *("EPSG:3995", (1000, 0, -9e4, 0, -1000, 2e5), 200, 180, SPLIT, (90, 87.982, -90, 90), 0),
    ),
    "an edge half a metre from the pole": (
        *("EPSG:3995", (1000, 0, -9e4, 0, -1000, 0.5), 200, 180, WHOLE, (-180, 87.982, 180, 90), 0),
    ),
    "a turned pole, counted beyond 360": (
        *(ROTATED, (0.3, 0, 330, 0, -0.3, 20), 200, 180, WHOLE, (-180, -90, 180, -15.695), 360),
    ),
    "the world of a turned pole": (ROTATED, (1, 0, 0, 0, -1, 90), 180, 360, WHOLE, (-180, -90, 180, 90), 360),
    "full disk, GOES-East": (GOES.format(-75), (2004, 0, -5434894, 0, -2004, 5434894), 5424, 5424, WHOLE, None, 0),
    "full disk, GOES-West": (GOES.format(-137), (2004, 0, -5434894, 0, -2004, 5434894), 5424, 5424, SPLIT, None, 0),
    "half a disk": (GOES.format(140.7), (2000, 0, -5.5e6, 0, -2000, 5.5e6), 2000, 5500, SPLIT, None, 0),
    "Mollweide's world": (
        "ESRI:54009",
        (1e5, 0, -18040096, 0, -1e5, 9020048),
        181,
        361,
        WHOLE,
        (-180, -90, 180, 90),
        0,
    ),
    "a far cone": ("ESRI:102004", (5e4, 0, -2.5e7, 0, -5e4, 1.5e7), 600, 1000, WHOLE, (-180, -67, 180, 90), 0),
    "0 ... 360": ("EPSG:4326", (1, 0, 0, 0, -1, 90), 180, 360, WHOLE, (-180, -90, 180, 90), 360),
    "0 ... 360, another datum": ("EPSG:4267", (1, 0, 0, 0, -1, 90), 180, 360, WHOLE, (-180, -90, 180, 90), 360),
    "pixels about the edges": ("EPSG:4326", (1, 0, -180.5, 0, -1, 90.5), 181, 361, WHOLE, (-180, -90, 180, 90), 360),
    "beyond 180": ("EPSG:4326", (0.01, 0, 179, 0, -0.01, 10), 200, 180, SPLIT, (179, 8, -179.2, 10), 360),
    "beyond -180": ("EPSG:4326", (0.01, 0, -181, 0, -0.01, 10), 200, 180, SPLIT, (179, 8, -179.2, 10), 360),
    "all beyond 180": ("EPSG:4326", (0.01, 0, 190, 0, -0.01, 10), 200, 180, WHOLE, (-170, 8, -168.2, 10), 360),
    "up to 180": ("EPSG:4326", (0.01, 0, 178.2, 0, -0.01, 10), 200, 180, WHOLE, (178.2, 8, 180, 10), 360),
    "many turns on": ("EPSG:4326", (0.01, 0, 3.6e9 + 179, 0, -0.01, 10), 200, 180, SPLIT, (179, 8, -179.2, 10), 360),
    "beyond the pole": ("EPSG:4326", (0.5, 0, 10, 0, -0.5, -85), 11, 20, WHOLE, (10, -90, 20, -85), 360),
    "the world, in degrees as metres": (
        *("EPSG:32662", (111319.49, 0, -AROUND / 2, 0, -111319.49, 10018754.17), 180, 360, WHOLE, (-180, -90, 180, 90)),
        AROUND,
    ),
}


def _scene(crs: str, transform: Affine6, height: int, width: int) -> SceneInfo:
    geo = Georeference(crs_wkt=CRS.from_user_input(crs).to_wkt(), transform=transform)
    return SceneInfo("scene", ("a",), height, width, "uint8", geo=geo)


def _depth(pixels: np.ndarray) -> np.ndarray:
    """How far (n) places (n, 2) of 0 ... 1 lie inside of the unit square; less than 0 outside."""
    return np.minimum(pixels, 1 - pixels).min(axis=-1)


@pytest.mark.parametrize("case", CASES)
def test_a_footprint_holds_its_scene_and_nothing_beside_it(case: str) -> None:
    crs, transform, height, width, kind, box, around = CASES[case]
    info = _scene(crs, transform, height, width)
    geometry = footprint(info)
    assert geometry is not None
    outline = shape(geometry)
    assert (geometry["type"], outline.is_valid) == (kind, True)
    west, south, east, north = outline.bounds
    assert -180 <= west < east <= 180
    assert -90 <= south < north <= 90
    assert all(part.exterior.is_ccw for part in getattr(outline, "geoms", [outline]))
    if box is not None:
        np.testing.assert_allclose(bounding_box(geometry), box, atol=0.07 if "Mollweide" in case else 0.01)

    to_globe = pyproj.Transformer.from_crs(pyproj.CRS.from_wkt(str(info.geo.crs_wkt)), 4326, always_xy=True)
    to_pixels = ~(Affine(*transform) * Affine.scale(width, height))
    draw = np.random.default_rng(1)
    near = np.array(~to_pixels * draw.uniform(-0.5, 1.5, (2, 4000)))
    lon, lat = np.concatenate(
        [to_globe.transform(*near), (draw.uniform(-180, 180, 4000), np.degrees(np.arcsin(draw.uniform(-1, 1, 4000))))],
        axis=1,
    )
    x, y = to_globe.transform(lon, lat, direction="INVERSE")
    facts = np.array([lon, lat, x, y, *to_globe.transform(x, y)])
    lon, lat, x, y, lon_back, lat_back = facts[:, np.isfinite(facts).all(axis=0) & (np.abs(lat) <= 90)]
    # What lies behind a globe has pixels too, of its front.
    there = np.abs(lat_back - lat) < 1e-4
    there &= np.abs(np.sin(np.radians(lon_back - lon)) * np.cos(np.radians(lat))) < 1e-4
    assert there.sum() > 2000
    turns = [x[there] + turn * around for turn in ((-1, 0, 1) if around else (0,))]
    depth = np.max([_depth(np.stack(to_pixels * np.array([xs, y[there]]), axis=-1)) for xs in turns], axis=0)
    held = shapely.contains_xy(outline, (lon[there] + 180) % 360 - 180, lat[there])
    assert held[depth > 0.02].mean() > 0.98
    assert (depth < -0.02).sum() < 20 or held[depth < -0.02].mean() < 0.02


def test_a_scene_off_the_globe_lies_nowhere() -> None:
    assert footprint(_scene(GOES.format(0), (2000.0, 0, 6e6, 0, -2000.0, 6e6), 100, 100)) is None
    assert footprint(_scene("EPSG:4326", (1.0, 0, 0, 0, -1.0, 120), 10, 10)) is None
    assert footprint(_scene("EPSG:3031", (1e300, 0, -1e308, 0, -1e300, 1e308), 100, 100)) is None
    assert footprint(_scene("+proj=longlat +a=3396190 +b=3376200", (0.1, 0, 0, 0, -0.1, 10), 10, 10)) is None


def test_longitudes_of_no_globe_do_no_harm() -> None:
    absurd = footprint(_scene("EPSG:4326", (1e307, 0, -1e308, 0, -1e307, 1e308), 100, 100))
    assert absurd is not None
    assert shape(absurd).within(shapely.box(-180, -90, 180, 90))


@pytest.mark.parametrize(
    ("boxes", "around"),
    [
        ([(176, -20, 179, -15), (-179, -22, -177, -16), (179, -18, -179.5, -17)], (176, -22, -177, -15)),
        ([(176, -20, 179, -15), (-179, -22, -177, -16)], (-179, -22, 179, -15)),  # none of them crosses
        ([(170, 0, -170, 5), (-5, 0, 5, 5)], (-180, 0, 180, 5)),
        ([(170, 0, -170, 5), (20, 0, 30, 5)], (20, 0, -170, 5)),
        ([(170, 0, -170, 5), (-80, 0, -70, 5)], (170, 0, -70, 5)),
        ([(170, 0, -170, 5), (-180, -90, 180, 90)], (-180, -90, 180, 90)),
        ([(10, 0, -10, 5)], (10, 0, -10, 5)),
        ([(5, 0, 20, 5), (-5, 0, 1, 5)], (-5, 0, 20, 5)),
    ],
)
def test_the_box_of_boxes_is_the_least_one_in_any_order(
    boxes: list[tuple[float, ...]], around: tuple[float, ...]
) -> None:
    for seed in range(4):
        random.Random(seed).shuffle(boxes)
        extent = Extent()
        for box in boxes:
            extent.add(box)
        assert extent.bounds() == list(around)
    assert Extent().bounds() is None


def test_the_box_of_parts_leaves_the_widest_gap_out() -> None:
    def square(west: float, east: float) -> list[list[list[float]]]:
        return [[[west, 0], [east, 0], [east, 1], [west, 1], [west, 0]]]

    def box(*spans: tuple[float, float]) -> list[float]:
        return bounding_box({"type": "MultiPolygon", "coordinates": [square(*span) for span in spans]})

    assert box((-180, 10), (170, 180)) == [170, 0, 10, 1]
    assert box((170, 175), (-180, -178), (176, 180)) == [170, 0, -178, 1]
    assert box((1, 2), (3, 4)) == [1, 0, 4, 1]
    assert box((-170, -10), (0, 180)) == [-170, 0, 180, 1]


@pytest.mark.parametrize(("crs", "x", "y"), [("EPSG:23032", 428_000, 5_815_000), ("EPSG:26714", 500_000, 5_000_000)])
@pytest.mark.parametrize("pixel", [0.1, 2.0])
def test_fine_pixels_of_a_datum_with_several_ways_lie_where_they_are(
    crs: str, x: float, y: float, pixel: float
) -> None:
    """PROJ goes to WGS 84 one way and comes back another, metres off: that is no end of the globe."""
    geometry = footprint(_scene(crs, (pixel, 0, x, 0, -pixel, y), 1000, 1200))
    assert geometry is not None
    corners = [(x, y), (x + 1200 * pixel, y), (x + 1200 * pixel, y - 1000 * pixel), (x, y - 1000 * pixel)]
    there = pyproj.Transformer.from_crs(crs, 4326, always_xy=True).transform(*np.array(corners).T)
    expected = shapely.Polygon(np.stack(there, axis=-1))
    assert shape(geometry).symmetric_difference(expected).area < 0.02 * expected.area
