"""report/'s parts: which bands make a picture, stretch and components, charts, numbers in words."""

from __future__ import annotations

import base64
import io
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.errors import BlockError
from pipeline.report import (
    Features,
    Noise,
    ReportData,
    Source,
    Storage,
    charts,
    composites,
    default_rgb,
    picture_step,
    pictures,
    words,
)
from pipeline.report.svg import number, path, short, ticks

S2 = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")


@given(st.integers(1, 200_000), st.integers(1, 200_000))
@settings(deadline=None, max_examples=60)
def test_picture_step_keeps_pictures_small(height: int, width: int) -> None:
    step = picture_step(height, width)
    rows, columns = -(-height // step), -(-width // step)
    assert max(rows, columns) <= 900
    assert (height // step) * (width // step) <= 250_000
    if step > 1:
        finer = step - 1
        assert height * width > 250_000 * finer**2 or max(height, width) > 900 * finer


def test_palette_picture_keeps_colours_and_holes() -> None:
    rng = np.random.default_rng(5)
    few = rng.random((6, 3)).round(1)
    values = few[rng.integers(0, 6, (30, 20))]
    values[4:9, 3:5, 1] = np.nan
    picture = pictures.palette_picture(values)
    shown = np.array(Image.open(io.BytesIO(base64.b64decode(picture.uri.partition(",")[2]))).convert("RGBA"))
    hole = np.isnan(values).any(axis=-1)
    np.testing.assert_array_equal(shown[..., 3] == 0, hole)
    assert np.abs(shown[~hole][:, :3] / 255 - values[~hole]).max() < 0.01


def test_difference_is_symmetric() -> None:
    rng = np.random.default_rng(3)
    after = rng.gamma(4, 200, (40, 30)).astype(np.float32)
    before = after + rng.normal(0, 10, after.shape).astype(np.float32)
    scaled, limit = pictures.difference(before, after)
    assert limit == pytest.approx(np.percentile(np.abs(before.astype(float) - after), 98))
    mirrored, _ = pictures.difference(after, before)
    np.testing.assert_allclose(scaled + mirrored, 1, atol=1e-12)
    rare = before.copy()
    rare[0, 0] += 5
    scaled, limit = pictures.difference(rare, before)
    assert limit == pytest.approx(5, rel=1e-4)
    assert (scaled == 0.5).sum() == rare.size - 1


@given(st.integers(1, 7), st.integers(1, 12), st.integers(2, 12), st.integers(0, 99))
@settings(deadline=None, max_examples=25)
def test_principal_components_are_the_svd_of_standardised_features(
    count: int, height: int, width: int, seed: int
) -> None:
    rng = np.random.default_rng([seed, count])
    sample = (rng.normal(size=(count, height, width)) * rng.uniform(0.1, 1e4, (count, 1, 1)) + 50).astype(np.float32)
    sample[:, rng.random((height, width)) < 0.2] = np.nan
    valid = np.isfinite(sample[0])
    components, share = pictures.principal_components(sample)
    assert components.shape == (3, height, width)
    np.testing.assert_array_equal(np.isfinite(components[0]), valid)
    if valid.sum() <= 2 * count + 2:
        return
    rows = sample[:, valid].T.astype(np.float64)
    rows = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    left, size, _ = np.linalg.svd(rows, full_matrices=False)
    np.testing.assert_allclose(share[: min(3, count)], (size**2 / (size**2).sum())[:3], atol=1e-6)
    for index in range(min(3, count)):
        wanted, got = left[:, index] * size[index], components[index][valid]
        assert (
            min(np.abs(got - wanted).max(), np.abs(got + wanted).max()) < 1e-3 * size[0]
            or np.min(np.abs(np.diff(size))) < 1e-2 * size[0]
        )
    assert (components[count:, valid] == 0).all()


def test_principal_components_with_a_constant_feature_and_a_fixed_sign() -> None:
    sample = np.random.default_rng(4).gamma(4, 200, (3, 40, 30)).astype(np.float32)
    sample[2] = 1e4
    sample[2, ::2] = np.nextafter(np.float32(1e4), np.float32(2e4))
    components, share = pictures.principal_components(sample)
    assert share[2] == pytest.approx(0, abs=1e-9)
    np.testing.assert_allclose(components[2], 0, atol=1e-3)
    mirrored, _ = pictures.principal_components(-sample)
    np.testing.assert_allclose(mirrored[:2], -components[:2], atol=1e-3)


def test_chosen_pixels_are_valid_apart_and_unlike() -> None:
    ramp = np.broadcast_to(np.linspace(0, 1, 60, dtype=np.float32), (4, 50, 60)).copy()
    ramp[:, :10] = np.nan
    chosen = pictures.choose_pixels(ramp)
    assert len(chosen) == 5
    assert all(y >= 10 for y, _ in chosen)
    columns = [x for _, x in chosen]
    assert sorted(columns) == columns or sorted(columns, reverse=True) == columns
    assert min(np.abs(np.diff(columns))) >= 10
    whole = np.broadcast_to(np.linspace(0, 1, 60, dtype=np.float32), (4, 50, 60))
    assert all(0 < y < 49 and 0 < x < 59 for y, x in pictures.choose_pixels(whole))
    assert pictures.choose_pixels(np.full((2, 3, 3), np.nan, np.float32)) == []
    assert pictures.choose_pixels(np.ones((2, 1, 1), np.float32)) == [(0, 0)]


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (S2, (2, 1, 0)),
        (("B1", "B2", "B3", "B4", "B5", "B6", "B7"), (3, 2, 1)),
        (("SR_B2", "SR_B3", "SR_B4"), (2, 1, 0)),
        (("B1", "B2", "B3", "B4", "B5", "B7"), (2, 1, 0)),
        (("blue", "Green", "RED", "nir"), (2, 1, 0)),
        (("one",), (0, 0, 0)),
        (("one", "two"), (0, 1, 1)),
        (("1", "2", "3"), (0, 1, 2)),
        (tuple(f"B{index + 1}" for index in range(200)), (166, 100, 33)),
        (tuple(f"band {index + 1}" for index in range(6)), (5, 3, 1)),
    ],
)
def test_default_rgb(names: tuple[str, ...], wanted: tuple[int, int, int]) -> None:
    assert default_rgb(names) == wanted


def test_default_rgb_by_wavelength() -> None:
    nm = np.arange(400.0, 2500.0, 10.0)
    names = [f"band {index + 1}" for index in range(len(nm))]
    assert [nm[band] for band in default_rgb(names, nm)] == [660, 560, 480]
    assert [nm[band] for band in composites(names, nm)[1].bands] == [840, 660, 560]
    assert default_rgb(names, nm + 2000) == default_rgb(names)


def test_composites() -> None:
    assert [(found.label, found.bands) for found in composites(S2)] == [
        ("True colour", (2, 1, 0)),
        ("Near infrared", (6, 2, 1)),
    ]
    assert composites(("B1", "B2", "B3", "B4", "B5", "B6", "B7"))[1].bands == (4, 3, 2)  # Landsat 8: B5
    assert composites(("B1", "B2", "B3", "B4", "B5", "B7"))[1].bands == (3, 2, 1)  # Landsat 7: B4
    assert composites(("B2", "B3", "B4", "B5", "B8", "B8A"))[1].bands == (4, 2, 1)  # Sentinel-2: B8, not B5
    assert [found.label for found in composites(("a",))] == ["Grey"]
    assert [found.label for found in composites(("a", "b", "c"))] == ["Band composite"]
    assert composites(S2, rgb=(9, 6, 2))[0] == ("Band composite", (9, 6, 2))


def test_pictures_of_dates_are_of_one_date() -> None:
    names = [f"{date} {band}" for date in ("2016-01-17", "2016-02-06T15:56:22Z", "2016-02-26") for band in S2]
    assert default_rgb(names) == (22, 21, 20)  # the last
    assert [found.bands for found in composites(names)] == [(22, 21, 20), (26, 22, 21)]
    most = [0.95] * 10 + [0.96] * 10 + [0.7] * 10
    assert default_rgb(names, shares=most) == (12, 11, 10)
    assert [(found.label, found.bands) for found in composites(names, shares=most)] == [
        ("True colour", (12, 11, 10)),
        ("Near infrared", (16, 12, 11)),
    ]
    assert default_rgb(names, shares=[0.9951] * 10 + [0.9968] * 10 + [0.9953] * 10) == (22, 21, 20)
    nm = [480.0, 560.0, 660.0, 840.0] * 2
    unnamed = [f"{date} {band}" for date in ("2016-01-17", "2016-02-06") for band in "abcd"]
    assert [found.bands for found in composites(unnamed, nm)] == [(6, 5, 4), (7, 6, 5)]
    assert default_rgb([f"2016-01-{day} VV" for day in (17, 18, 19)]) == (2, 2, 2)
    assert default_rgb(["2016-01-17 B02", "B03", "B04"]) == (0, 1, 2)  # not ours


def test_noise_chart_draws_every_band_in_proportion() -> None:
    sigma = np.array([1.0, 2.0, 4.0, np.nan])
    chart = ElementTree.fromstring(charts.noise_chart(("a", "b", "c", "d"), sigma, sigma / 2, None, None))
    heights = np.array([float(bar.get("height", "")) for bar in chart.iter("rect")])
    np.testing.assert_allclose(heights / heights[0], [1, 2, 4], rtol=1e-3)
    marks = {label.text: float(label.get("y", "")) - 4 for label in chart.iter("text")}
    assert float(list(chart.iter("rect"))[2].get("y", "")) == pytest.approx(marks["4"], abs=0.02)
    middles = [float(dot.get("cy", "")) for dot in chart.iter("circle")]
    tops = [float(bar.get("y", "")) for bar in chart.iter("rect")]
    np.testing.assert_allclose(middles, np.add(tops, heights / 2), atol=0.02)


def test_noise_chart_of_many_bands_is_drawn_against_wavelength() -> None:
    many, nm = np.linspace(1, 2, 200), np.concatenate([np.linspace(400, 1300, 100), np.linspace(1600, 2500, 100)])
    chart = ElementTree.fromstring(charts.noise_chart([f"name {i}" for i in range(200)], many, many, many, nm))
    bars = list(chart.iter("rect"))
    lefts = np.array([float(bar.get("x", "")) for bar in bars])
    assert len(lefts) == 200
    np.testing.assert_allclose(np.diff(lefts) / np.diff(nm), (lefts[-1] - lefts[0]) / (nm[-1] - nm[0]), rtol=0.01)
    assert float(bars[0].get("width", "")) < np.diff(lefts).min()
    labels = [label.text for label in chart.iter("text")]
    assert "wavelength, nm" in labels
    assert "1500" in labels
    assert "name 0" not in labels


def test_spectrum_breaks_where_bands_are_missing() -> None:
    nm = np.concatenate([np.arange(400, 1000, 10), np.arange(1500, 2000, 10)]).tolist()
    values = np.linspace(1, 2, len(nm))
    chart = ElementTree.fromstring(charts.spectrum_chart("x", values, values, [""] * len(nm), nm))
    drawn = [line.get("d", "") for line in chart.iter("path") if "line" in line.get("class", "")]
    assert [d.count("M") for d in drawn] == [2, 2]


def test_tile_map_numbers_its_tiles() -> None:
    chart = ElementTree.fromstring(charts.tile_map(np.array([[3, -1], [7, 3]]), "components"))
    assert [label.text for label in chart.iter("text")] == ["3", "–", "7", "3"]
    fills = [square.get("fill") for square in chart.iter("rect")]
    assert fills == ["rgb(0,34,78)", None, "rgb(254,232,56)", "rgb(0,34,78)"]


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6), st.integers(2, 8))
@settings(deadline=None, max_examples=60)
def test_ticks_are_round_evenly_spaced_and_inside(low: float, length: float, count: int) -> None:
    high = low + length
    if not high > low:
        return
    marks = ticks(low, high, count)
    assert len(marks) <= count + 1
    assert all(low - 1e-6 * length <= mark <= high + 1e-6 * length for mark in marks)
    if len(marks) > 1:
        size = marks[1] - marks[0]
        np.testing.assert_allclose(np.diff(marks), size, rtol=1e-3)


def test_numbers_and_sizes_in_words() -> None:
    shown = [number(value) for value in (0.0, 1234567.0, -2.5, 0.00001, float("nan"), float("inf"), 12.0, 0.1234)]
    assert shown == ["0", "1234567", "−2.5", "1.00e−05", "–", "∞", "12", "0.123"]
    assert [number(value, trim=False) for value in (12.0, 0.99996, 999.96)] == ["12.0", "1.00", "1000"]
    assert [words.size(value) for value in (12, 1500, 2.5e6, 3e9)] == ["12 B", "1.5 kB", "2.5 MB", "3 GB"]
    assert [words.duration(value) for value in (0.25, 75, 7300)] == ["0.25 s", "1 min 15 s", "2 h 1 min"]
    assert [charts.compact(value) for value in (7, 999, 1000, 12_345, 3_400_000)] == ["7", "999", "1.0k", "12k", "3.4M"]
    assert [short(name) for name in ("B04", "ten chars.", "Landsat-7 band 12")] == ["B04", "ten chars.", "Land…nd 12"]
    assert path([0, 1, 2, 3], [0.0, 1.0, None, 2.0]) == "M0 0h0L1 1M3 2h0"
    assert words.option_rows({"a": {"b": None, "c": {}, "e": {"f": 1}}, "d": [1, True]}) == [
        ("a.b", "none"),
        ("a.c", "none"),
        ("a.e.f", "1"),
        ("d", "1, yes"),
    ]


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"after": np.zeros((10, 4, 4), np.float32)}, "before and after"),
        ({"band_names": ("a", "b")}, "2 band names"),
        ({"wavelengths": (1.0, 2.0)}, "wavelengths has 2"),
        ({"noise": Noise(np.ones(3), np.ones(10), np.ones(10))}, "noise.sigma has 3"),
        ({"storage": Storage(1, 1, rank_map=np.ones(4, int))}, "rank_map"),
        ({"features": Features(np.ones((4, 4), np.float32), "x")}, "features"),
        ({"rgb": (0, 1, 10)}, "rgb"),
    ],
)
def test_what_does_not_fit_is_refused_at_the_door(changes: dict[str, object], part: str) -> None:
    scene = np.zeros((10, 8, 6), np.float32)
    given_ = {"band_names": S2, "before": scene, "after": scene} | changes
    with pytest.raises(BlockError, match=part):
        ReportData(title="x", command="x", source=Source("x.tif", (10, 8, 6), "uint8"), **given_)
