"""One convolution over a real cluster of two workers, cut along m, n and k; a wide bank on one tile; the same bytes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from pipeline.errors import BlockError
from pipeline.flow.partitioned import collect, spread, tree_sum
from pipeline.gemm import conv2d, convolution
from pipeline.gemm.partition import cuts
from tests.scenes import call, snapshot, write_tif
from tests.test_22_network_features import random_bank


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """Two workers in processes of their own, one thread each."""
    distributed = pytest.importorskip("distributed")
    words = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": "127.0.0.1:0"}
    with distributed.LocalCluster(host="127.0.0.1", **words) as cluster, distributed.Client(cluster) as client:
        yield client


def layer(channels: int, n: int, side: int) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng([channels, n])
    shapes = ((channels, side, side), (n, channels, 3, 3), (n,))
    x, filters, bias = (rng.standard_normal(shape).astype(np.float32) for shape in shapes)
    return x, filters, bias


@pytest.mark.cluster
@pytest.mark.slow
def test_a_wide_bank_of_200_bands_is_the_local_one_to_the_bit(client: Any) -> None:
    """n alone is cut: every filter sees the same sums as at home, whoever computes it."""
    x, filters, bias = layer(200, 2048, 34)
    cut = cuts(32 * 32, 2048, 1800, taps=9)
    assert (cut.groups, cut.slices) == (8, 1)
    blocks = spread(client, x, filters, bias, cut, relu=True)
    found = collect(blocks)
    local = np.concatenate([conv2d(x, filters[own], bias[own], relu=True) for own in cut.filters])
    assert_array_equal(found, local)
    assert_allclose(found, conv2d(x, filters, bias, relu=True), atol=1e-5 * local.std())
    held = {worker for where in client.who_has([one for row in blocks for one in row]).values() for worker in where}
    assert len(held) == 2


@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.parametrize("tiles", [1, 3])
def test_rows_and_channels_are_cut_too(client: Any, tiles: int) -> None:
    x, filters, bias = layer(50, 40, 27)
    cut = cuts(25 * 25, 40, 450, taps=9, tiles=tiles, worker_bytes=60_000 if tiles == 1 else 30_000)
    assert (cut.rows, cut.slices > 1, cut.groups) == (tiles, True, 3)
    found = collect(spread(client, x, filters, bias, cut))
    wanted = conv2d(x, filters, bias)
    assert np.abs(found - wanted).max() <= 1e-5 * np.abs(wanted).max()
    again = collect(spread(client, x, filters, bias, cut))
    assert_array_equal(found, again)


@pytest.mark.cluster
@pytest.mark.slow
def test_features_of_one_tile_and_2048_filters_use_both_workers(tmp_path: Path) -> None:
    """The same bytes as one thread alone, which does the groups in turn."""
    block = np.random.default_rng(0).integers(1000, 4000, (20, 48, 50)).astype(np.uint16)
    scene = write_tif(tmp_path / "scene.tif", block)
    bank = random_bank(1, bands=20, count=2048, spectra=True)
    names = tuple(f"band_{number}" for number in range(1, 21))
    fields = {name: getattr(bank, name) for name in ("name", "mean", "std", "filters", "bias", "labels", "signs")}
    type(bank)(bands=names, **fields, pool=9, spectra=True).save(tmp_path / "wide.npz")
    stores = []
    for scheduler, workers in (("threads", 1), ("processes", 2)):
        out = tmp_path / f"{scheduler}.zarr"
        words = ["--bank", tmp_path / "wide.npz", "--stride", 5, "--scheduler", scheduler, "--workers", workers]
        result = call("features", scene, out, *words)
        assert result.exit_code == 0, result.stderr
        stores.append(snapshot(out))
    assert stores[0] == stores[1]


def test_threads_without_a_tile_share_the_convolutions_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = write_tif(
        tmp_path / "scene.tif", np.random.default_rng(1).integers(0, 4000, (4, 400, 420)).astype(np.uint16)
    )
    asked: list[int] = []
    pool = convolution._pool
    monkeypatch.setattr(convolution, "_pool", lambda threads: asked.append(threads) or pool(threads))
    for workers in (1, 4):
        words = ("--tile", 512, "--stride", 3, "--workers", workers)
        assert call("features", scene, tmp_path / f"{workers}.zarr", *words).exit_code == 0
    assert snapshot(tmp_path / "1.zarr") == snapshot(tmp_path / "4.zarr")
    assert asked
    assert set(asked) <= {2, 3, 4}


def test_the_tree_adds_neighbours_first() -> None:
    assert tree_sum(list("abcde"), lambda one, other: f"({one}{other})") == "(((ab)(cd))e)"
    assert tree_sum(["a"], lambda one, other: "") == "a"


def test_a_cut_of_another_convolution_is_refused() -> None:
    x, filters, bias = layer(4, 8, 10)
    for cut in (cuts(64, 9, 36, taps=9), cuts(64, 8, 45, taps=9), cuts(64, 8, 36, taps=9, tiles=9)):
        with pytest.raises(BlockError, match="does not cut"):
            spread(None, x, filters, bias, cut)
