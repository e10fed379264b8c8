"""The Zarr v3 codec: found by its entry point, lazy, partial, sharded, padded at edges."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from zarr.storage import MemoryStore

from pipeline.codec import Bound, encode
from pipeline.codec.zarr_codec import LowRankCodec
from pipeline.errors import BlockError, ConfigError, FormatError

RMSE = 4.0


def scene(*shape: int) -> np.ndarray[Any, np.dtype[np.uint16]]:
    rng = np.random.default_rng(2)
    steps = rng.normal(0, 12, shape)
    return (3000 + np.cumsum(np.cumsum(steps, -1) / 9, -2)).astype(np.uint16)


def array(store: Any, shape: tuple[int, ...], chunks: tuple[int, ...], dtype: str = "uint16", **options: Any) -> Any:
    codec = LowRankCodec(**{"bound": "rmse", "value": RMSE} | options.pop("codec", {}))
    return zarr.create_array(
        store, shape=shape, chunks=chunks, dtype=dtype, serializer=codec, compressors=None, **options
    )


def rmse(a: Any, b: Any) -> float:
    return float(np.sqrt(np.mean(np.square(np.asarray(a, float) - np.asarray(b, float)))))


@pytest.mark.parametrize("shape", [(50, 70), (3, 50, 70), (2, 3, 50, 70)])
def test_any_number_of_axes_from_two(shape: tuple[int, ...]) -> None:
    data, store = scene(*shape), MemoryStore()
    array(store, shape, (*shape[:-2], 32, 32))[:] = data
    back = zarr.open_array(store, mode="r")
    assert 0 < rmse(back[:], data) <= RMSE
    np.testing.assert_array_equal(back[..., 30:40, 31:33], back[:][..., 30:40, 31:33])


def test_the_configuration_survives_json() -> None:
    for options in (
        {"nodata": float("nan")},
        {"nodata": np.float32(-1.5)},
        {"nodata": 0},
        {"nodata": math.inf},
        {"nodata": "-infinity"},
        {"bound": "lossless", "value": None},
    ):
        codec = LowRankCodec(**{"bound": "snr", "value": 40} | options)
        assert LowRankCodec.from_dict(codec.to_dict()) == codec
    assert LowRankCodec(bound="snr", value=40, nodata=float("nan")).to_dict() == {
        "name": "terrasketch.lowrank",
        "configuration": {"bound": "snr", "value": 40.0, "nodata": "NaN", "effort": "fast"},
    }


def test_a_store_is_read_by_whoever_has_the_package(tmp_path: Path) -> None:
    data = scene(4, 100, 90)
    np.save(tmp_path / "data.npy", data)
    write = f"""if True:
        import numpy, xarray
        from pipeline.codec.zarr_codec import LowRankCodec
        scene = xarray.Dataset({{"scene": (("band", "y", "x"), numpy.load({str(tmp_path / "data.npy")!r}))}})
        encoding = {{"chunks": (4, 64, 64), "serializer": LowRankCodec(bound="rmse", value={RMSE})}}
        encoding["compressors"] = None
        scene.to_zarr({str(tmp_path / "s.zarr")!r}, zarr_format=3, consolidated=False, encoding={{"scene": encoding}})
    """
    read = f"""if True:
        import sys, xarray
        scene = xarray.open_zarr({str(tmp_path / "s.zarr")!r}, consolidated=False)["scene"]
        assert scene.chunks == ((4,), (64, 36), (64, 26)), scene.chunks
        print(float(scene[:, 60:70, 60:70].astype(float).mean()))
        assert "pipeline.codec" in sys.modules and "pipeline.flow" not in sys.modules
    """
    for program in (write, read):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    assert float(done.stdout) == pytest.approx(data[:, 60:70, 60:70].mean(), abs=RMSE)


def test_a_region_reads_its_chunks_alone(tmp_path: Path) -> None:
    data = scene(2, 96, 96)
    target = array(tmp_path / "a.zarr", data.shape, (2, 32, 32))
    target[:] = data
    whole = target[:]
    for chunk in (tmp_path / "a.zarr" / "c").glob("*/*/*"):
        if chunk.relative_to(tmp_path / "a.zarr").as_posix() != "c/0/1/1":
            chunk.write_bytes(b"not to be read")
    np.testing.assert_array_equal(target[:, 33:60, 40:64], whole[:, 33:60, 40:64])
    with pytest.raises(FormatError):
        target[:, 31:60, 40:64]


def test_a_write_of_whole_chunks_leaves_the_others_and_a_partial_one_codes_its_chunk_again() -> None:
    data = scene(3, 64, 64)
    target = array(MemoryStore(), data.shape, (3, 32, 32))
    target[:] = data
    once = target[:]
    target[:, :32, :32] = data[:, :32, :32] + 9
    np.testing.assert_array_equal(target[:, 32:], once[:, 32:])
    assert rmse(target[:, :32, :32], data[:, :32, :32] + 9) <= RMSE
    target[:] = data
    target[:, 20:40, 20:40] = 7
    expected = data.copy()
    expected[:, 20:40, 20:40] = 7
    assert (target[:, :20, :20] != once[:, :20, :20]).any()
    assert rmse(target[:], expected) <= 2 * RMSE


@pytest.mark.parametrize(
    ("shape", "chunks"),
    [
        ((1, 5, 40, 40), (4, 5, 40, 40)),
        ((5, 5, 40, 40), (4, 5, 32, 32)),
        ((1, 7, 40, 40), (1, 4, 40, 40)),
        ((2, 1, 3, 40, 40), (3, 2, 3, 40, 40)),
        ((3, 5, 40, 40), (2, 4, 40, 40)),
        ((7, 40, 40), (3, 32, 32)),
    ],
)
@pytest.mark.parametrize("options", [{}, {"fill_value": 65535}, {"fill_value": 3000, "codec": {"nodata": 2}}])
@pytest.mark.parametrize("bound", [{}, {"bound": "snr", "value": 50.0}])
def test_padding_of_no_axis_takes_from_the_promise(
    shape: tuple[int, ...], chunks: tuple[int, ...], options: dict[str, Any], bound: dict[str, Any]
) -> None:
    data = scene(*shape)
    target = array(MemoryStore(), shape, chunks, **(options | {"codec": options.get("codec", {}) | bound}))
    target[:] = data
    for index in np.ndindex(*(-(-n // c) for n, c in zip(shape, chunks, strict=True))):
        part = tuple(slice(i * c, (i + 1) * c) for i, c in zip(index, chunks, strict=True))
        error = rmse(target[part], data[part])
        power = float(np.sqrt(np.mean(data[part].astype(float) ** 2)))
        assert 0 < error <= (10 ** (-50 / 20) * power * (1 + 1e-9) if bound else RMSE), (part, error)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(1, 8, 8), (2, 3, 8, 8)])
def test_lossless_keeps_the_signs_of_zeros(dtype: str, shape: tuple[int, ...]) -> None:
    data = np.full(shape, -0.0, dtype)
    data[..., 2, 2] = 1
    data[..., 4, :] = 0
    target = array(MemoryStore(), shape, shape, dtype, codec={"bound": "lossless", "value": None}, fill_value=0.0)
    target[:] = data
    assert target[:].tobytes() == data.tobytes()


@pytest.mark.parametrize("bound", ["snr", "rmse", "max_error"])
def test_a_lossy_bound_takes_a_fill_value_as_missing(bound: str) -> None:
    data = scene(3, 40, 40)
    gone = np.zeros(data.shape, bool)
    gone[:, 5:20, 8:30] = True
    gone[1, 0, :3] = True
    holes = np.where(gone, 65535, data).astype("uint16")
    target = array(MemoryStore(), data.shape, (3, 40, 40), codec={"bound": bound, "value": 40.0}, fill_value=65535)
    target[:] = holes
    np.testing.assert_array_equal(target[:] == 65535, gone)
    assert rmse(target[:][~gone], data[~gone]) <= (40 if bound != "snr" else 0.01 * rmse(data[~gone], 0))


def test_a_fill_value_of_nothing_stays_a_number() -> None:
    data = scene(2, 24, 24)
    data[:, :7] = 0
    target = array(MemoryStore(), data.shape, (2, 24, 24), codec={"value": 300.0})
    target[:] = data
    assert (target[:, :7] != 0).any()
    exact = array(
        MemoryStore(),
        data.shape,
        (2, 24, 24),
        codec={"bound": "lossless", "value": None},
        fill_value=int(data[0, 9, 9]),
    )
    exact[:] = data
    np.testing.assert_array_equal(exact[:], data)


def test_shards() -> None:
    data, store = scene(3, 128, 100), MemoryStore()
    array(store, data.shape, (3, 32, 32), shards=(3, 64, 64))[:] = data
    assert 0 < rmse(zarr.open_array(store, mode="r")[:], data) <= RMSE


def test_a_smaller_container_at_the_edge_is_padded(tmp_path: Path) -> None:
    data = scene(3, 40, 50)
    target = array(tmp_path / "a.zarr", data.shape, (3, 32, 32), fill_value=9)
    for i, j in np.ndindex(2, 2):
        tile = data[:, 32 * i : 32 * i + 32, 32 * j : 32 * j + 32]
        chunk = tmp_path / "a.zarr" / "c" / "0" / str(i) / str(j)
        chunk.parent.mkdir(parents=True, exist_ok=True)
        chunk.write_bytes(encode(tile, None, Bound("rmse", RMSE)))
    assert 0 < rmse(target[:], data) <= RMSE
    target.resize((3, 64, 64))
    assert (target[:, 40:, :] == 9).all()
    assert (target[:, :, 50:] == 9).all()
    assert rmse(target[:, :40, :50], data) <= RMSE


@pytest.mark.parametrize(
    "chunk",
    [
        b"",
        b"TSLR",
        encode(scene(4, 9, 9), None, Bound("rmse", 1.0)),
        encode(scene(3, 8, 8).astype("i4"), None, Bound("rmse", 1.0)),
    ],
)
def test_a_chunk_that_does_not_fit_is_one_clear_error(tmp_path: Path, chunk: bytes) -> None:
    target = array(tmp_path / "a.zarr", (3, 32, 32), (3, 32, 32))
    (tmp_path / "a.zarr" / "c" / "0" / "0").mkdir(parents=True)
    (tmp_path / "a.zarr" / "c" / "0" / "0" / "0").write_bytes(chunk)
    with pytest.raises(FormatError):
        target[:]


@pytest.mark.parametrize(("bands", "fits"), [(12, True), (9, True), (3, True), (4, False), (1, False), (15, False)])
def test_merged_bands_are_whole_steps_of_the_outermost_axis(tmp_path: Path, bands: int, fits: bool) -> None:
    block = scene(bands, 20, 24)
    target = array(tmp_path / "a.zarr", (1, 4, 3, 32, 32), (1, 4, 3, 32, 32), fill_value=9)
    (tmp_path / "a.zarr" / "c" / "0" / "0" / "0" / "0").mkdir(parents=True)
    (tmp_path / "a.zarr" / "c" / "0" / "0" / "0" / "0" / "0").write_bytes(encode(block, None, Bound("rmse", RMSE)))
    if not fits:
        with pytest.raises(FormatError):
            target[:]
        return
    back = target[:].reshape(12, 32, 32)
    assert rmse(back[:bands, :20, :24], block) <= RMSE
    assert (back[bands:] == 9).all()


def test_holes_and_floats() -> None:
    data = scene(2, 40, 40).astype(np.float32) / 10000
    data[:, :9] = np.nan
    target = array(MemoryStore(), data.shape, (2, 40, 40), "float32", codec={"value": 1e-3}, fill_value=np.nan)
    target[:] = data
    np.testing.assert_array_equal(np.isnan(target[:]), np.isnan(data))
    counts = scene(2, 40, 40)
    counts[:, :9] = 0
    target = array(MemoryStore(), counts.shape, (2, 40, 40), codec={"value": 50.0, "nodata": 0})
    target[:] = counts
    np.testing.assert_array_equal(target[:] == 0, counts == 0)


@pytest.mark.parametrize(
    ("dtype", "shape", "codec", "error"),
    [
        ("uint16", (30,), {}, BlockError),
        ("complex64", (30, 30), {}, BlockError),
        ("int64", (30, 30), {}, BlockError),
        ("uint8", (30, 30), {"nodata": -1}, ConfigError),
        ("uint8", (30, 30), {"nodata": "none"}, ConfigError),
        ("uint8", (30, 30), {"nodata": 10**400}, ConfigError),
        ("uint8", (30, 30), {"nodata": float("inf")}, ConfigError),
        ("uint8", (30, 30), {"bound": "psnr"}, ConfigError),
        ("uint8", (30, 30), {"effort": "most"}, ConfigError),
    ],
)
def test_what_cannot_be_stored_is_refused_when_the_array_is_made(
    dtype: str, shape: tuple[int, ...], codec: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        array(MemoryStore(), shape, shape, dtype, codec=codec)


@pytest.mark.parametrize("nodata", [math.inf, -math.inf])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_infinite_nodata(nodata: float, dtype: str) -> None:
    data = scene(2, 40, 40).astype(dtype)
    data[:, :9] = nodata
    store = MemoryStore()
    array(store, data.shape, (2, 40, 40), dtype, codec={"nodata": nodata})[:] = data
    back = zarr.open_array(store, mode="r")[:]
    np.testing.assert_array_equal(back == nodata, data == nodata)
    assert 0 < rmse(back[:, 9:], data[:, 9:]) <= RMSE
    assert np.isfinite(back[:, 9:]).all()


@pytest.mark.parametrize(
    ("shape", "chunks"), [((70000, 8, 8), (70000, 8, 8)), ((20000, 20000), (20000, 20000)), ((300, 300, 4, 4),) * 2]
)
def test_chunks_that_none_could_write_are_refused(shape: tuple[int, ...], chunks: tuple[int, ...]) -> None:
    with pytest.raises(BlockError, match="make them smaller"):
        array(MemoryStore(), shape, chunks)


def test_chunks_larger_than_the_array_count_as_large_as_it_is() -> None:
    data = scene(3, 40, 50)
    target = array(MemoryStore(), data.shape, (70000, 20000, 20000))
    assert target.shape == data.shape


def test_what_cannot_be_stored_is_refused_inside_of_shards_too() -> None:
    with pytest.raises(BlockError, match="without loss only"):
        array(MemoryStore(), (64, 64), (32, 32), "int64", shards=(64, 64))
    with pytest.raises(BlockError, match="drop_encoding"):
        array(MemoryStore(), (64,), (32,), shards=(64,))


def test_every_argument_has_a_default() -> None:
    assert LowRankCodec() == LowRankCodec(bound="snr", value=40)
    assert LowRankCodec.from_dict({"name": "terrasketch.lowrank"}) == LowRankCodec()
    with pytest.raises(ConfigError, match="finite number"):
        LowRankCodec(bound="rmse")


def test_an_effort_of_a_later_version_is_read_and_not_written(tmp_path: Path) -> None:
    data = scene(3, 40, 40)
    array(tmp_path / "a.zarr", data.shape, (3, 40, 40))[:] = data
    meta = tmp_path / "a.zarr" / "zarr.json"
    meta.write_text(meta.read_text().replace('"fast"', '"better"'))
    target = zarr.open_array(tmp_path / "a.zarr", mode="r+")
    assert 0 < rmse(target[:], data) <= RMSE
    with pytest.raises(ConfigError, match="'better' is not known"):
        target[:] = data


@pytest.mark.parametrize("nodata", [True, np.bool_(False)])
def test_a_truth_is_no_nodata(nodata: Any) -> None:
    with pytest.raises(ConfigError, match="nodata of"):
        LowRankCodec.from_dict({"name": "terrasketch.lowrank", "configuration": {"nodata": nodata}})


def test_unknown_words_in_the_configuration_are_named() -> None:
    with pytest.raises(ConfigError, match="quality"):
        LowRankCodec.from_dict(
            {"name": "terrasketch.lowrank", "configuration": {"bound": "snr", "value": 3, "quality": 2}}
        )
