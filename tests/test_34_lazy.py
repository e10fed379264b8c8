"""The verbs on Dask arrays: what neighbouring tiles need is made once, whatever the chunks and the scheduler."""

import asyncio
import pickle
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from distributed import Client, LocalCluster
from numpy.typing import NDArray

import pipeline
from pipeline.flow import denoise
from pipeline.network import Bank, fit_bank

SIDE = 96


@dataclass
class _Read:
    """A source that counts how often it is read."""

    calls: Counter[str]

    def __call__(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        self.calls["source"] += 1
        return block


def _scene(chunks: tuple[object, object, object], calls: Counter[str] | None = None, side: int = SIDE) -> xr.DataArray:
    pixels = np.cumsum(np.random.default_rng([34]).normal(0, 3, (3, side, side)), axis=1).astype("float32") + 200
    read, meta = _Read(Counter() if calls is None else calls), np.empty((0, 0, 0), "float32")
    data = da.from_array(pixels, chunks=chunks).map_blocks(read, dtype="float32", meta=meta)
    return xr.DataArray(data, dims=("band", "y", "x"), coords={"band": list("abc")})


@pytest.fixture(scope="module")
def bank() -> Bank:
    """Fitted already: nothing of a scene is computed to fit it."""
    pixels = _scene((3, SIDE, SIDE)).values
    return fit_bank("classic", [(pixels, np.ones(pixels.shape[1:], bool))], bands=list("abc"), seed=0)


@pytest.mark.parametrize("scheduler", ["threads", "synchronous"])
def test_what_several_tiles_need_is_made_once(monkeypatch: pytest.MonkeyPatch, bank: Bank, scheduler: str) -> None:
    calls: Counter[str] = Counter()
    true = denoise.denoise_block

    def counted(*args: object, **words: object) -> object:
        calls["denoise"] += 1
        return true(*args, **words)  # type: ignore[arg-type]

    monkeypatch.setattr(denoise, "denoise_block", counted)
    chain = _scene((3, 32, 32), calls).terrasketch.denoise().terrasketch.features(bank, stride=4)
    assert calls == {}
    with dask.config.set(scheduler=scheduler):
        chain.compute()
    assert calls == {"source": 9, "denoise": 9}


def test_graphs_grow_with_the_chunks_and_have_names_of_what_they_are_made_of(bank: Bank) -> None:
    def chain(side: int) -> xr.DataArray:
        scene = xr.DataArray(da.zeros((3, side, side), chunks=(3, 64, 64), dtype="float32"), dims=("band", "y", "x"))
        return scene.terrasketch.denoise().terrasketch.features(bank, stride=4)

    few, many = chain(64 * 4), chain(64 * 12)
    assert len(many.__dask_graph__()) < 3.2 * 144
    (part,) = dask.optimize(many[:, :2, :2])
    assert len(part.__dask_graph__()) < 20
    assert few.data.name == chain(64 * 4).data.name != many.data.name
    assert few.data.name != few.terrasketch.denoise().data.name


@pytest.mark.parametrize(
    "chunks",
    [
        ((2, 1), (37, 1, 58), (5, 50, 41)),
        ((3,), (8,) * 12, (96,)),  # halos wider than chunks
        ((3,), (0, 40, 0, 56), (96, 0)),
        ((1, 2), (96,), (96,)),
    ],
)
def test_chunks_of_any_sides_give_what_the_same_tiles_of_pixels_give(bank: Bank, chunks: tuple[object, ...]) -> None:
    scene = _scene(chunks, side=SIDE)  # type: ignore[arg-type]
    whole = scene.compute()
    given = scene.terrasketch.features(bank, stride=1).compute()
    expected = whole.terrasketch.features(bank, stride=1, tile=SIDE)
    assert np.array_equal(np.isnan(given), np.isnan(expected))
    assert np.nanmax(np.abs(given - expected)) < 1e-4 * np.nanmax(np.abs(expected))
    clean = scene.terrasketch.denoise(sigma=3)
    assert clean.shape == scene.shape
    assert np.isfinite(clean).all()


def test_persisted_and_pickled_scenes_give_the_same_bits(bank: Bank) -> None:
    scene = _scene((3, 40, 64))
    clean = scene.terrasketch.denoise()
    expected = clean.terrasketch.features(bank, stride=4).compute()
    for given in (clean.persist(), pickle.loads(pickle.dumps(clean))):
        result = pickle.loads(pickle.dumps(given.terrasketch.features(bank, stride=4)))
        assert np.array_equal(result.compute(), expected, equal_nan=True)


@pytest.mark.parametrize("processes", [False, True])
def test_clusters_give_the_same_bits(bank: Bank, tmp_path: Path, processes: bool) -> None:
    def made() -> xr.DataArray:
        return _scene((3, 40, 64)).terrasketch.denoise().terrasketch.features(bank, stride=4)

    expected = made().compute(scheduler="synchronous")
    options = {"n_workers": 1, "threads_per_worker": 2, "processes": processes, "dashboard_address": "127.0.0.1:0"}
    with LocalCluster(**options, local_directory=tmp_path) as cluster, Client(cluster):
        assert np.array_equal(made().compute(), expected, equal_nan=True)
        assert np.array_equal(made().persist().compute(), expected, equal_nan=True)


@pytest.fixture
def one_thread(tmp_path: Path) -> Iterator[Client]:
    """A cluster that cannot do two things at once."""
    options = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "dashboard_address": "127.0.0.1:0"}
    with LocalCluster(**options, local_directory=tmp_path) as cluster, Client(cluster) as client:
        yield client


def _compress(scene: xr.DataArray, path: Path) -> int:
    return scene.terrasketch.compress(path, lossless=True, workers=2).shape[1]


def test_what_is_kept_on_a_cluster_is_compressed(one_thread: Client, tmp_path: Path) -> None:
    scene = _scene((3, 64, 64))
    assert _compress(scene.persist(), tmp_path / "a.zarr") == SIDE
    assert np.array_equal(pipeline.open_scene(tmp_path / "a.zarr"), scene.compute())


@pytest.mark.parametrize("kept", [False, True])
def test_a_task_of_a_cluster_may_compress_by_that_cluster(one_thread: Client, tmp_path: Path, kept: bool) -> None:
    scene = _scene((3, 64, 64)).persist() if kept else _scene((3, 64, 64))
    work = partial(_compress, scene, tmp_path / "a.zarr")
    assert one_thread.submit(work, pure=False).result(timeout=120) == SIDE
    assert np.array_equal(pipeline.open_scene(tmp_path / "a.zarr"), _scene((3, 64, 64)).compute())
    assert one_thread.submit(lambda: 1).result(timeout=60) == 1


def test_an_explicit_scheduler_or_an_asynchronous_client_is_no_hindrance(tmp_path: Path) -> None:
    with dask.config.set(scheduler="threads"):
        assert _compress(_scene((3, 64, 64)), tmp_path / "a.zarr") == SIDE

    async def beside() -> int:
        async with Client(
            processes=False, dashboard_address="127.0.0.1:0", asynchronous=True, local_directory=tmp_path
        ):
            return _compress(_scene((3, 64, 64)), tmp_path / "b.zarr")

    assert asyncio.run(beside()) == SIDE
