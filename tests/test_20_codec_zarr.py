"""The Zarr v3 codec: found by its entry point, lazy, partial, sharded, padded at edges."""

from __future__ import annotations

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


def test_a_partial_write_keeps_the_promise() -> None:
    data = scene(3, 64, 64)
    target = array(MemoryStore(), data.shape, (3, 32, 32))
    target[:] = data
    target[:, 20:40, 20:40] = 7
    expected = data.copy()
    expected[:, 20:40, 20:40] = 7
    assert rmse(target[:], expected) <= 2 * RMSE


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
        ("uint8", (30, 30), {"bound": "psnr"}, ConfigError),
        ("uint8", (30, 30), {"effort": "most"}, ConfigError),
    ],
)
def test_what_cannot_be_stored_is_refused_when_the_array_is_made(
    dtype: str, shape: tuple[int, ...], codec: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        array(MemoryStore(), shape, shape, dtype, codec=codec)


def test_unknown_words_in_the_configuration_are_named() -> None:
    with pytest.raises(ConfigError, match="quality"):
        LowRankCodec.from_dict(
            {"name": "terrasketch.lowrank", "configuration": {"bound": "snr", "value": 3, "quality": 2}}
        )
