"""Bands whose pixels were repeated onto a finer grid: each grid a layer of its own, one promise for all."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.codec import Bound, chunk, decode, decode_factors, encode, parts, read_figures, read_header
from pipeline.codec.container import Kind
from pipeline.errors import FormatError
from pipeline.repeated import Grid
from tests.test_20_codec_bounds import keeps
from tests.test_21_denoise_grids import repeated

GRIDS = [Grid(), Grid(2, 2, 0, 0), Grid(2, 2, 1, 0), Grid(3, 2, 2, 1), Grid(6, 6, 0, 0), Grid(1, 3, 0, 2)]


def scene(rng: np.random.Generator, bands: int, shape: tuple[int, int]) -> NDArray[np.float64]:
    """Bands (band, y, x) of a few fields in common, 0 to 1 about, and a little noise."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    waves = [np.sin(x / a + y / b) for a, b in rng.uniform(4, 20, (3, 2))]
    mixed = np.tensordot(rng.uniform(-1, 1, (bands, 3)), waves, 1) / 6 + 0.5
    return np.asarray(mixed + rng.normal(0, 0.01, mixed.shape))


def stacked(grids: list[Grid], dtype: Any, seed: int, shape: tuple[int, int] = (96, 90)) -> NDArray[Any]:
    """A block (band, y, x) with a band on each of these grids."""
    rng = np.random.default_rng(seed)
    bands = [repeated(band, grid, shape) for band, grid in zip(scene(rng, len(grids), (100, 100)), grids, strict=True)]
    scale = 1.0 if np.dtype(dtype).kind == "f" else 200.0 if np.dtype(dtype).itemsize == 1 else 5000.0
    return np.clip(np.array(bands) * scale, 0, None).astype(dtype)


def of_one_ground(dtype: Any, scale: float = 5000.0) -> NDArray[Any]:
    """Three bands of the grid and two of 2 x 2 pixels (band, y, x), which show the same."""
    rng = np.random.default_rng(1)
    ground = ndimage.gaussian_filter(rng.standard_normal((2, 96, 90)), (0, 1, 1))
    bands = (0.5 + np.tensordot(rng.uniform(0.1, 0.3, (5, 2)), ground, 1)) * scale
    bands[3:] = bands[3:].reshape(2, 48, 2, 45, 2).mean(axis=(2, 4)).repeat(2, axis=1).repeat(2, axis=2)
    return np.clip(bands, 0, None).astype(dtype)


@settings(max_examples=60)
@given(
    grids=st.lists(st.sampled_from(GRIDS), min_size=2, max_size=6),
    dtype=st.sampled_from(["u1", "i2", "u2", "i4", "f4", "f8"]),
    mode=st.sampled_from(["snr", "rmse"]),
    level=st.floats(20, 45),
    holes=st.sampled_from(["none", "pixels", "elements", "nodata"]),
    effort=st.sampled_from(["fast", "best"]),
    seed=st.integers(0, 2**32),
)
def test_bounds_hold_over_all_parts(
    grids: list[Grid], dtype: str, mode: Any, level: float, holes: str, effort: str, seed: int
) -> None:
    block, rng = stacked(grids, dtype, seed), np.random.default_rng(seed)
    rms = math.sqrt(np.square(block.astype(float)).mean())
    bound = Bound(mode, level if mode == "snr" else rms * 10 ** (-level / 20))
    valid = {"pixels": rng.random(block.shape[1:]) < 0.9, "elements": rng.random(block.shape) < 0.9}.get(holes)
    nodata = block[0, 40, 40].item() if holes == "nodata" else math.nan if dtype[0] == "f" and seed % 2 else None
    decoded, real = decode(encode(block, valid, bound, nodata=nodata, effort=effort))
    expected = np.broadcast_to(True if valid is None else valid, block.shape)
    if holes == "nodata":
        expected = expected & (block != nodata)
        assert (decoded[expected] != nodata).all()
    np.testing.assert_array_equal(np.broadcast_to(real, block.shape), expected)
    assert keeps(bound, block[expected], decoded[expected])


def whole(monkeypatch: pytest.MonkeyPatch, block: Any, valid: Any, bound: Bound, **words: Any) -> bytes:
    """The container as it would be without parts."""
    with monkeypatch.context() as patch:
        patch.setattr(parts, "pieces", lambda *_: [])
        return encode(block, valid, bound, **words)


@pytest.mark.parametrize("effort", ["fast", "best"])
@pytest.mark.parametrize("bound", [Bound("snr", 40.0), Bound("rmse", 10.0), Bound("rmse", 60.0)])
def test_a_real_stack_takes_a_quarter_less_and_spends_what_it_may(
    sample_scene: Any, bound: Bound, effort: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with rasterio.open(sample_scene) as source:
        block = source.read(window=((0, 256), (100, 356)))
    coarse = [3, 4, 5, 7, 8, 9]
    small = block[coarse].reshape(6, 128, 2, 128, 2).mean(axis=(2, 4))
    block[coarse] = np.rint(small).astype(block.dtype).repeat(2, axis=1).repeat(2, axis=2)
    data = encode(block, None, bound, effort=effort)
    assert set(read_header(data).section_bytes()) == {"parts", "figures"}
    assert len(data) < 0.75 * len(whole(monkeypatch, block, None, bound, effort=effort))
    decoded, _ = decode(data)
    np.testing.assert_array_equal(decoded[coarse, ::2, ::2].repeat(2, axis=1).repeat(2, axis=2), decoded[coarse])
    x, e = block.astype(float), block.astype(float) - decoded
    asked = bound.value if bound.mode == "rmse" else math.sqrt(np.square(x).mean() / 10 ** (bound.value / 10))
    assert 0.985 * asked <= math.sqrt(np.square(e).mean()) <= asked
    figures = read_figures(read_header(data), data)
    assert figures is not None
    assert figures.error == pytest.approx(np.square(e).sum())
    finer, own = (np.square(e[bands]).mean() for bands in (coarse, [0, 1, 2, 6]))
    assert finer < 0.5 * own


@pytest.mark.parametrize("effort", ["fast", "best"])
def test_no_element_of_any_part_is_off_by_eight_times_what_is_asked(effort: str) -> None:
    """The finer parts lose less than that, the others more: what a ship is off by counts beside what was asked for."""
    plain, rng = stacked([Grid(), Grid(), Grid(2, 2, 0, 0), Grid(3, 3, 1, 2)], "u2", 7), np.random.default_rng(7)
    for rmse in (5.0, 40.0):
        block = plain.copy()
        block[0, rng.integers(0, 96, 20), rng.integers(0, 90, 20)] += np.uint16(9.5 * rmse)
        block[2, 40:42, 60:62] += 3000
        data = encode(block, None, Bound("rmse", rmse), effort=effort)
        assert Kind.PARTS in {kind for kind, _, _ in read_header(data).sections}
        assert np.abs(block.astype(float) - decode(data)[0]).max() <= 8 * rmse


@pytest.mark.parametrize(("dtype", "scale"), [("u1", 200.0), ("i2", 5000.0), ("u2", 60000.0), ("f4", 1.0), ("f8", 1.0)])
@pytest.mark.parametrize("holes", [False, True])
def test_coarser_bands_are_foretold_by_finer_ones(dtype: str, scale: float, holes: bool) -> None:
    block, rng = of_one_ground(dtype, scale), np.random.default_rng(2)
    valid = rng.random((96, 90)) < 0.8 if holes else None
    bound, nodata = Bound("rmse", 0.004 * scale), block[4, 0, 0].item()
    data = encode(block, valid, bound, nodata=nodata)
    header, sections = chunk.container.unpack(data)
    assert [part.weights.shape for part in parts.read_parts(header, sections[Kind.PARTS])] == [(3, 0), (2, 4)]
    decoded, real = decode(data)
    real = np.broadcast_to(real, block.shape)
    assert not (decoded[real] == nodata).any()
    assert keeps(bound, block[real], decoded[real])
    # Alone, with as much error, a layer of its own takes more.
    missed = np.sqrt(np.square(np.where(real, decoded.astype(float) - block, 0))[3:].mean() / real[3:].mean())
    there = None if valid is None else valid.reshape(48, 2, 45, 2).any(axis=(1, 3))
    alone = encode(np.ascontiguousarray(block[3:, ::2, ::2]), there, Bound("rmse", float(missed)))
    assert len(list(parts.read_parts(header, sections[Kind.PARTS]))[1].container) < 0.8 * len(alone)


def test_wider_integers_are_not_foretold() -> None:
    data = encode(of_one_ground("i4", 1e6), None, Bound("rmse", 4000.0))
    header, sections = chunk.container.unpack(data)
    assert [part.weights.shape for part in parts.read_parts(header, sections[Kind.PARTS])] == [(3, 0), (2, 0)]


def test_what_is_stored_exactly_or_is_small_has_no_parts() -> None:
    block = stacked([Grid(), Grid(2, 2, 0, 0)], "u2", 3)
    for bound in (Bound("lossless"), Bound("max_error", 5.0), Bound("rmse", 0.3)):
        assert "parts" not in read_header(encode(block, None, bound)).section_bytes()
    assert "parts" not in read_header(encode(block[:, :32, :32], None, Bound("rmse", 20.0))).section_bytes()
    plain = stacked([Grid(), Grid()], "u2", 3)
    assert "parts" not in read_header(encode(plain, None, Bound("rmse", 20.0))).section_bytes()


def test_parts_have_no_factors_in_common() -> None:
    data = encode(stacked([Grid(), Grid(2, 2, 0, 0)], "u2", 4), None, Bound("rmse", 20.0))
    assert "parts" in read_header(data).section_bytes()
    assert decode_factors(data) is None
    assert read_header(data).rank >= 2


def test_a_band_without_a_pixel_is_no_part(monkeypatch: pytest.MonkeyPatch) -> None:
    block = stacked([Grid(), Grid(2, 2, 0, 0), Grid(2, 2, 0, 0)], "u2", 5)
    valid = np.ones(block.shape, bool)
    valid[0] = False
    bound = Bound("rmse", 20.0)
    assert encode(block, valid, bound) == whole(monkeypatch, block, valid, bound)


@pytest.mark.parametrize("effort", ["fast", "best"])
def test_where_next_to_nothing_is_kept_one_layer_may_be_less(effort: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    waves = [np.sin(x / 9 + y / 7 * k) for k, (y, x) in enumerate([np.mgrid[:96, :90]] * 3)]
    block = 1000 + 300 * np.tensordot(rng.uniform(-1, 1, (10, 3)), waves, 1)
    for number, side in enumerate((1, 1, 2, 2, 3, 3, 4, 4, 5, 6)):
        block[number] = block[number, ::side, ::side].repeat(side, 0).repeat(side, 1)[:96, :90]
    block = block.astype(np.float32)
    for level in (10.0, 20.0, 40.0):
        bound = Bound("snr", level)
        assert len(encode(block, None, bound, effort=effort)) <= len(
            whole(monkeypatch, block, None, bound, effort=effort)
        )


def test_as_many_bands_as_there_may_be_lie_on_a_coarser_grid() -> None:
    cells = np.random.default_rng(0).integers(0, 255, (1 << 16, 9, 8), np.uint8)
    block = cells.repeat(2, axis=1).repeat(2, axis=2)
    decoded, _ = decode(encode(block, None, Bound("rmse", 60.0)))
    assert np.sqrt(np.square(decoded.astype(float) - block).mean()) <= 60


def test_few_bytes_do_not_decode_for_long_or_to_much() -> None:
    block = of_one_ground("f4", 1.0)
    header, sections = chunk.container.unpack(encode(block, None, Bound("rmse", 0.01)))
    fine, coarse = parts.read_parts(header, sections[Kind.PARTS])
    for some in ([fine] * 17, [fine._replace(grid=Grid(17, 1, 0, 0)), coarse]):
        with pytest.raises(FormatError, match="do not make up"):
            decode(container_of(header, some))
    for kind in (Kind.MEAN, Kind.RESIDUAL, Kind.OUTLIERS):
        both = {kind: chunk.container.Section(1, b"x"), Kind.PARTS: sections[Kind.PARTS]}
        with pytest.raises(FormatError, match="beside them"):
            decode(chunk.container.pack(header, both))


def container_of(header: Any, found: list[parts.Part]) -> bytes:
    """A container of these parts, right or wrong."""
    return chunk.container.pack(header, {Kind.PARTS: chunk.container.Section(parts.NESTED, parts._pack(found))})


def test_parts_that_do_not_make_up_a_block_are_refused() -> None:
    block = of_one_ground("i2")
    header, sections = chunk.container.unpack(encode(block, None, Bound("rmse", 20.0)))
    section = sections[Kind.PARTS]
    found = list(parts.read_parts(header, section))
    assert [part.bands.tolist() for part in found] == [[0, 1, 2], [3, 4]]
    assert [part.weights.shape for part in found] == [(3, 0), (2, 4)]
    fine, coarse = found
    lossless, holed = (
        encode(block[:3], None, Bound("lossless")),
        encode(block[:3], np.eye(96, 90) < 1, Bound("rmse", 9.0)),
    )
    alone, none = encode(block[3:, ::2, ::2].astype("i2"), None, Bound("rmse", 9.0)), np.empty((2, 0), np.float32)
    assert decode(container_of(header, [fine, coarse._replace(container=alone, weights=none)]))[0].shape == block.shape
    wrong = [
        [coarse],
        [fine],
        [coarse, fine],
        [fine, coarse, fine],
        [fine._replace(bands=np.array([0, 1, 5])), coarse],
        [fine, coarse._replace(bands=np.array([4, 3]))],
        [fine, coarse._replace(grid=Grid(2, 2, 2, 0))],
        [fine, coarse._replace(grid=Grid(0, 2, 0, 0))],
        [fine, coarse._replace(grid=Grid(3, 2, 0, 0))],
        [fine, coarse._replace(bands=np.array([2, 3]))],
        [fine, coarse._replace(weights=np.float32(coarse.weights * np.nan))],
        [fine, coarse._replace(weights=np.ones((2, 3), np.float32))],
        [fine, coarse._replace(weights=none)],
        [fine, coarse._replace(container=alone)],
        [fine._replace(container=lossless), coarse],
        [fine._replace(container=holed), coarse],
        [fine._replace(container=encode(block[:3].astype("i4"), None, Bound("rmse", 9.0))), coarse],
        [fine._replace(container=encode(block[:3], None, Bound("rmse", 9.0), nodata=-9)), coarse],
        [fine._replace(container=fine.container[:-1]), coarse],
        [fine._replace(container=encode(block, None, Bound("rmse", 20.0))), coarse],
    ]
    for some in wrong:
        with pytest.raises(FormatError):
            decode(container_of(header, some))
    whole_payload = bytes(section.payload)
    for payload in (
        b"",
        whole_payload[:1],
        whole_payload[:9],
        whole_payload[:17],
        whole_payload[:-1],
        whole_payload + b"x",
    ):
        with pytest.raises(FormatError):
            decode(chunk.container.pack(header, {Kind.PARTS: section._replace(payload=payload)}))
    with pytest.raises(FormatError, match="coder 2"):
        decode(chunk.container.pack(header, {Kind.PARTS: section._replace(coder=2)}))
