"""Features of a compressed store from its factors and from its pixels; wide banks in groups; any number of workers."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import zarr
from numpy.testing import assert_array_equal

from pipeline.errors import BankError, SourceError
from pipeline.flow import factored
from pipeline.flow.crew import Crew
from pipeline.flow.factored import choose_domain, mosaic_of
from pipeline.flow.feature_job import FeatureJob, filter_groups, put_slab, shared_slabs
from pipeline.flow.stages import write_features
from pipeline.grid import Grid, Window
from pipeline.network import Bank, features_mosaic
from pipeline.raster.chunks import chunk_path
from pipeline.raster.store_source import StoreSource, open_store
from tests.scenes import call, call_json, snapshot, write_tif
from tests.test_22_network_features import random_bank

BANDS = 24


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A low-rank scene with holes as a GeoTIFF, as stores in tiles of 64, and banks for it."""
    folder = tmp_path_factory.mktemp("domains")
    rng = np.random.default_rng(11)
    scores = np.cumsum(np.cumsum(rng.standard_normal((3, 150, 170)), axis=1), axis=2)
    scores /= np.abs(scores).max()
    block = 4000 + np.tensordot(rng.normal(0, 900, (BANDS, 3)), scores, 1) + rng.normal(0, 8, (BANDS, 150, 170))
    block = np.rint(block).astype(np.uint16)
    block[:, 60:63, 20:90] = 0
    block[3, 100, 100] = 20000  # a target of one band
    write_tif(folder / "scene.tif", block, nodata=0)
    write_tif(folder / "float.tif", np.where(block == 0, np.nan, block).astype(np.float32))
    for name, words in {"store": ["--snr", "35"], "exact": ["--lossless"]}.items():
        assert call("compress", folder / "scene.tif", folder / f"{name}.zarr", "--tile", 64, *words).exit_code == 0
    assert call("compress", folder / "float.tif", folder / "float.zarr", "--tile", 64, "--snr", "35").exit_code == 0
    call_json("fit", folder / "store.zarr", "-o", folder / "bank.npz", "--count", "8")
    return folder


def features_of(folder: Path, name: str, out: Path, *words: object) -> np.ndarray:
    domain = () if "--domain" in words else ("--domain", "factors")
    result = call("features", folder / f"{name}.zarr", out, "--bank", folder / "bank.npz", *domain, *words)
    assert result.exit_code == 0, result.stderr
    array = zarr.open_array(out / "features", mode="r")
    return np.asarray(array[:])


@pytest.mark.parametrize("words", [(), ("--stride", 3, "--tile", 50), ("--pool", 4, "--stride", 2, "--tile", 200)])
@pytest.mark.parametrize("name", ["store", "float"])
def test_factors_give_the_features_of_the_pixels(folder: Path, tmp_path: Path, name: str, words: tuple[object]) -> None:
    found = features_of(folder, name, tmp_path / "a.zarr", *words)
    wanted = features_of(folder, name, tmp_path / "b.zarr", "--domain", "pixels", *words)
    assert_array_equal(np.isnan(found), np.isnan(wanted))
    assert 0.01 < np.isnan(wanted).mean() < 0.9
    bank = Bank.load(folder / "bank.npz").over_bands()
    # Integers were rounded: half a unit in each pixel at most, through filters of z-scored bands. Floats were not.
    gain = np.abs(bank.filters / bank.std[:, None, None]).sum(axis=(1, 2, 3)).max()
    bound = max(0.5 * gain, 0.5 / bank.std.min()) if name == "store" else 1e-4 * np.nanstd(wanted)
    assert 0 < np.nanmax(np.abs(found - wanted)) <= bound


def test_the_bytes_do_not_depend_on_the_workers_but_the_hash_on_the_domain(folder: Path, tmp_path: Path) -> None:
    for out, words in {"one": ["--workers", 1], "two": ["--workers", 2], "pixels": ["--domain", "pixels"]}.items():
        features_of(folder, "store", tmp_path / f"{out}.zarr", *words)
    assert snapshot(tmp_path / "one.zarr") == snapshot(tmp_path / "two.zarr")
    facts = [call_json("inspect", tmp_path / f"{name}.zarr") for name in ("one", "pixels")]
    assert facts[0]["configuration_hash"] != facts[1]["configuration_hash"]
    assert facts[0]["features"]["domain"] == "factors"
    assert "domain" not in facts[1]["features"]


def test_it_says_which_way_it_goes(folder: Path, tmp_path: Path) -> None:
    words = ["--bank", folder / "bank.npz", "-v"]
    first = call("features", folder / "store.zarr", tmp_path / "a.zarr", *words, "--domain", "factors")
    assert "from factors (rank 3.1 of 24 bands)" in first.stderr
    second = call("features", folder / "exact.zarr", tmp_path / "b.zarr", *words)
    assert "from pixels" in second.stderr
    refused = call("features", folder / "scene.tif", tmp_path / "c.zarr", *words, "--domain", "factors")
    assert refused.exit_code == 2
    assert "leave out the domain" in refused.stderr


def test_chunks_without_factors_are_taken_as_pixels(folder: Path, tmp_path: Path) -> None:
    """Forced onto a lossless store: nothing is rounded, so the features are those of the pixels."""
    found = features_of(folder, "exact", tmp_path / "a.zarr", "--domain", "factors", "--stride", 4)
    wanted = features_of(folder, "exact", tmp_path / "b.zarr", "--domain", "auto", "--stride", 4)
    assert_array_equal(np.isnan(found), np.isnan(wanted))
    # The projection is folded into the filters for the one, and comes before them for the other.
    assert np.nanmax(np.abs(found - wanted)) <= 5e-5 * np.nanstd(wanted)


def test_each_chunk_is_read_once_for_all_its_neighbours(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(folder / "store.zarr")
    count = []
    decode = factored.decode_factors
    monkeypatch.setattr(factored, "decode_factors", lambda data: (count.append(1), decode(data))[1])
    for path in (folder / "store.zarr" / "scene" / "c").rglob("*"):
        path.touch()  # so that no other test has left them in the cache
    bank = Bank.load(folder / "bank.npz").over_bands()
    for tile in Grid(150, 170, 64):
        features_mosaic(mosaic_of(store, tile.window, bank.halo()), bank, window=tile.window)
    assert len(count) == 9


def test_a_tile_reads_no_chunk_beyond_its_halo(folder: Path) -> None:
    store = open_store(folder / "store.zarr")
    assert set(mosaic_of(store, Window(10, 50, 10, 50), 5).pieces) == {0}
    assert set(mosaic_of(store, Window(64, 128, 64, 128), 5).pieces) == set(range(9))
    assert set(mosaic_of(store, Window(0, 60, 0, 128), 5).pieces) == {0, 1, 2, 3, 4, 5}


def test_damaged_and_missing_chunks_are_named(folder: Path, tmp_path: Path) -> None:
    assert call("compress", folder / "scene.tif", tmp_path / "s.zarr", "--tile", 64, "--snr", 35).exit_code == 0
    path = chunk_path(tmp_path / "s.zarr", "scene", 0, 1, 1)
    data = bytearray(path.read_bytes())
    data[-9] ^= 1
    path.write_bytes(data)
    store = open_store(tmp_path / "s.zarr")
    with pytest.raises(SourceError, match="damaged chunk"):
        mosaic_of(store, Window(0, 64, 0, 64), 5)
    path.unlink()
    with pytest.raises(SourceError, match="missing chunk"):
        mosaic_of(store, Window(0, 64, 0, 64), 5)


def test_the_rank_of_the_store_decides(folder: Path) -> None:
    bank = Bank.load(folder / "bank.npz").over_bands()
    store = open_store(folder / "store.zarr")
    wide = random_bank(bands=BANDS, count=2048)
    assert choose_domain(store, wide, 9, 1).name == "factors"
    assert choose_domain(store, wide, 9, 1, "pixels").name == "pixels"
    assert choose_domain(store, wide, 99, 1).name == "pixels"  # seams as wide as the tiles
    assert choose_domain(open_store(folder / "exact.zarr"), wide, 9, 1).name == "pixels"
    assert choose_domain(store, bank, 9, 1).name == "pixels"  # eight filters on small tiles: nothing to win
    assert choose_domain(store, random_bank(bands=BANDS, count=2040, groups=BANDS), 9, 1).name == "pixels"


@pytest.mark.parametrize("domain", ["factors", "pixels"])
def test_slabs_of_a_wide_bank_are_what_one_worker_computes(folder: Path, tmp_path: Path, domain: str) -> None:
    """One tile, 520 filters: three groups as tasks of their own, or in turn: the same bytes, and no slab is left."""
    store = open_store(folder / "store.zarr")
    fitted = Bank.load(folder / "bank.npz")
    wide = random_bank(2, bands=BANDS, count=520, spectra=True)
    bank = Bank(**{**vars(wide), "bands": fitted.bands, "mean": fitted.mean, "std": fitted.std})
    bank.save(tmp_path / "wide.npz")
    assert [part.stop - part.start for part in filter_groups(bank)] == [176, 176, 168]
    seen = []
    for workers in (1, 4):
        out = tmp_path / f"{workers}.zarr"
        with ThreadPoolExecutor(workers) as pool:
            crew = Crew(pool, workers)
            write_features(store, out, 260, bank, tmp_path / "wide.npz", 9, 5, crew, domain=domain)
        seen.append(snapshot(out))
    assert seen[0] == seen[1]
    assert not any("slab" in name for name in seen[1])
    found = np.asarray(zarr.open_array(tmp_path / "1.zarr" / "features", mode="r")[:])
    assert found.shape == (len(bank.features), 30, 34)
    window = Window(0, 150, 0, 170)
    if domain == "factors":
        whole, _ = features_mosaic(mosaic_of(store, window, bank.halo(9, 5)), bank, pool=9, stride=5, window=window)
        assert_array_equal(np.isnan(found), np.isnan(whole))
        assert np.nanmax(np.abs(found - whole)) <= 1e-5 * np.nanstd(whole)


def test_groups_are_tasks_only_where_tiles_are_fewer_than_workers(folder: Path, tmp_path: Path) -> None:
    store: StoreSource = open_store(folder / "store.zarr")
    wide, narrow = random_bank(2, bands=BANDS, count=520), Bank.load(folder / "bank.npz")
    wide.save(tmp_path / "wide.npz")
    job = FeatureJob(store, str(tmp_path / "f.zarr"), 256, str(tmp_path / "wide.npz"), wide.digest(), 9, 5)
    assert len(shared_slabs(job, 2)) == 3
    assert shared_slabs(job, 1) == []
    one = FeatureJob(store, str(tmp_path / "f.zarr"), 256, str(folder / "bank.npz"), narrow.digest(), 9, 5)
    assert shared_slabs(one, 8) == []
    (tmp_path / "f.zarr").mkdir()
    put_slab(shared_slabs(job, 2)[1])
    assert [path.name for path in (tmp_path / "f.zarr" / ".partial").iterdir()] == ["0.0.1.slab"]


def test_a_bank_fitted_anew_at_the_same_path_is_the_one_that_is_used(folder: Path, tmp_path: Path) -> None:
    """In one process, as workers that outlive a run are."""
    store = folder / "exact.zarr"
    for name, count in (("one", 8), ("two", 5)):
        call_json("fit", store, "-o", tmp_path / "bank.npz", "--count", count, "--overwrite")
        call_json("features", store, tmp_path / f"{name}.zarr", "--bank", tmp_path / "bank.npz")
    call_json("fit", store, "-o", tmp_path / "fresh.npz", "--count", 5)
    call_json("features", store, tmp_path / "fresh.zarr", "--bank", tmp_path / "fresh.npz")
    one, two, fresh = (zarr.open_array(tmp_path / f"{name}.zarr/features")[:] for name in ("one", "two", "fresh"))
    assert one.shape != two.shape
    assert_array_equal(two, fresh)
    assert np.isfinite(fresh).any()


def test_a_bank_that_is_another_one_by_now_is_refused(folder: Path, tmp_path: Path) -> None:
    random_bank(1, bands=BANDS, count=8).save(tmp_path / "bank.npz")
    digest = random_bank(2, bands=BANDS, count=8).digest()
    job = FeatureJob(open_store(folder / "store.zarr"), "f.zarr", 64, str(tmp_path / "bank.npz"), digest, 9, 5)
    with pytest.raises(BankError, match=r"bank\.npz: the bank has been replaced since the run began; run again"):
        job.compute(job.grid[0])
