"""report/'s clouds of points and what is said of them: bits against error, arithmetic against bytes."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.codec import Bound
from pipeline.codec.container import Figures
from pipeline.flow.report import _rates
from pipeline.report import Noise, Rates, Stage, Storage, render
from pipeline.report.scatter import MOST_DOTS, rate_chart, roof_chart, roofs
from pipeline.report.sentences import about_rates, about_roofs
from tests.test_24_report import Page, example


def _cloud(mode: str = "snr", value: float | None = 40.0, count: int = 9, seed: int = 1) -> Rates:
    rng = np.random.default_rng(seed)
    bits, snr, rmse = rng.uniform(0.3, 3, count), rng.uniform(40, 41, count), rng.uniform(2, 5, count)
    if mode == "lossless":
        snr, rmse = snr + np.inf, 0 * rmse
    return Rates(bits, snr, rmse, (float(bits.mean()), float(snr.min()), float(rmse.mean())), 16, mode, value)


def _dots(svg: str, kind: str) -> np.ndarray:
    root = ElementTree.fromstring(svg)
    return np.array([(float(e.get("cx", 0)), float(e.get("cy", 0))) for e in root if e.get("class") == kind])


@given(st.integers(1, 60), st.sampled_from(["snr", "rmse", "max_error", "lossless", "plain"]), st.integers(0, 99))
def test_dots_lie_in_the_drawing_where_their_values_say(count: int, mode: str, seed: int) -> None:
    value = {"snr": 40.0, "rmse": 5.0, "max_error": 9.0}.get(mode)
    rates = _cloud(mode, value, count, seed)
    svg = rate_chart(rates)
    dots = _dots(svg, "tile")
    assert len(dots) == count
    assert ((dots >= 0) & (dots <= (460, 310))).all()
    slope, left = np.polyfit(np.log2(rates.bits), dots[:, 0], 1) if count > 1 else (1.0, 0.0)
    if count > 1:
        np.testing.assert_allclose(dots[:, 0], slope * np.log2(rates.bits) + left, atol=0.01)
    if mode != "lossless" and count > 1:
        kept = rates.rmse if mode in ("rmse", "max_error") else rates.snr
        up, base = np.polyfit(kept, dots[:, 1], 1)
        assert up < 0
        np.testing.assert_allclose(dots[:, 1], up * kept + base, atol=0.011)
        if value is not None:
            bound = re.search(r'd="M[\d.]+ ([\d.]+)H[^"]+" class="bound"', svg)
            assert bound is not None
            assert float(bound[1]) == pytest.approx(up * value + base, abs=0.05)
    assert len(_dots(svg, "whole")) == 1
    assert "nan" not in svg.lower()


def test_tiles_without_loss_lie_in_the_strip_with_the_raw_values() -> None:
    rates = _cloud()
    rates.snr[3], rates.rmse[3] = np.inf, 0.0
    svg = rate_chart(rates)
    raw = next(e for e in ElementTree.fromstring(svg) if e.get("class") == "raw")
    heights = _dots(svg, "tile")[:, 1]
    assert heights[3] == float(raw.get("y", 0)) + 5
    assert (np.delete(heights, 3) > heights[3] + 10).all()


def test_many_tiles_are_thinned() -> None:
    assert MOST_DOTS / 2 < len(_dots(rate_chart(_cloud(count=65_536)), "tile")) <= MOST_DOTS


def test_points_are_those_of_the_chunks_figures() -> None:
    rng = np.random.default_rng(3)
    blocks = [rng.normal(50, 9, (4, 8, size)) for size in (8, 5)]
    errors = [rng.normal(0, 1, block.shape) for block in blocks]
    known = [
        (100 * n, Figures(block.size, float((block**2).sum()), float((error**2).sum())))
        for n, (block, error) in enumerate(zip(blocks, errors, strict=True), 1)
    ]
    rates = _rates([*known, (40, Figures(0, 0, 0))], "uint16", Bound("snr", 30))
    assert rates is not None
    for n, (block, error) in enumerate(zip(blocks, errors, strict=True)):
        assert rates.bits[n] == pytest.approx(800 * (n + 1) / block.size)
        assert rates.rmse[n] == pytest.approx(np.sqrt((error**2).mean()))
        assert rates.snr[n] == pytest.approx(10 * np.log10((block**2).mean() / (error**2).mean()))
    both = np.concatenate([error.ravel() for error in errors])
    assert rates.whole[0] == pytest.approx(2400 / both.size)
    assert rates.whole[2] == pytest.approx(np.sqrt((both**2).mean()))
    assert _rates([(40, Figures(0, 0, 0))], "uint16", None) is None
    dark = _rates([(40, Figures(9, 0, 4)), (40, Figures(9, 0, 0))], "uint16", None)
    assert dark is not None
    assert math.isnan(dark.snr[0])
    assert dark.snr[1] == np.inf


def test_what_is_said_of_the_bits() -> None:
    rates = Rates(np.ones(2), np.array([40.0, 42.0]), np.array([3.0, 4.0]), (1.6, 40.5, 3.5), 16, "snr", 40.0)
    told = " ".join(about_rates(rates, Noise(np.array([7.0, 7.0]), np.ones(2), np.ones(2))))
    for words in (
        "1.6 of the raw 16 bits of a valid pixel (10\u00a0%)",
        "40.5 dB",
        "no dot lies below",
        "0.5 times the noise",
    ):
        assert words in told
    assert "noise" not in " ".join(about_rates(rates, None))
    assert "Nothing was lost" in " ".join(about_rates(_cloud("lossless", None), None))


def test_roofs_are_the_stages_that_multiply() -> None:
    stages = (
        Stage("denoise", 4.0, 4, 1_000_000, 500_000, 3e9, 2.0),
        Stage("found", 1.0, 0, 0, 0, 0.0),
        Stage("compress", 1.0, 4, 1_000_000, 1000),
        Stage("bare", 2.0, 4, 1_000, 1000, 4e6),
    )
    points = roofs(stages)
    assert [(p.name, p.intensity, p.rate) for p in points] == [("denoise", 2000.0, 1.5e9), ("bare", 2000.0, 2e6)]
    assert points[0].bytes_rate == 750_000
    (first, told), (second, bare) = about_roofs(stages)
    assert (first, second) == ("denoise", "bare")
    for words in ("2000 FLOP for each byte", "1.5 GFLOP", "750 kB/s", "50 % of its busy time; it waited"):
        assert words in told
    assert "busy" not in bare
    svg = roof_chart(points)
    dots = _dots(svg, "dot")
    assert dots[0, 0] == dots[1, 0]
    assert dots[0, 1] < dots[1, 1]
    assert "1 MB/s" in svg


@given(st.lists(st.tuples(st.floats(1e-6, 1e9), st.floats(1e-3, 1e14)), min_size=1, max_size=5))
def test_roofs_lie_in_the_drawing_and_lines_join_equal_bytes(points: list[tuple[float, float]]) -> None:
    stages = [Stage(f"s{n}", 1.0, 1, 1_000_000, 0, 1e6 * x, 1e6 * x / rate) for n, (x, rate) in enumerate(points)]
    svg = roof_chart(roofs(stages))
    dots = _dots(svg, "dot")
    assert ((dots >= 0) & (dots <= (460, 310))).all()


def test_the_page_has_both_clouds() -> None:
    storage = Storage(9000, 3000, 5.0, 41.5, "snr 40 dB", rates=_cloud())
    page = Page(render(example(storage=storage)))
    assert [svg["class"] for svg in page.all("svg")].count("cloud") == 2  # example() has a stage with FLOPs
    assert "Bits against what they keep" in page.text
    assert "Arithmetic against bytes" in page.text
