"""Object stores, against a real S3 server in a process of its own: the same bytes as on disk, whatever is killed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import obstore.store
import pytest
import rasterio
import xarray as xr
import zarr.storage
from rio_cogeo.cogeo import cog_validate

import pipeline
import pipeline.flow.compress
import pipeline.flow.lock
from pipeline.errors import Interrupted, OutputError, SourceError
from pipeline.flow.journal import alone
from pipeline.flow.read import open_scene
from pipeline.grid import Window
from pipeline.network import Bank
from pipeline.raster import cache, object_stores
from pipeline.raster.gdal import gdal_env
from pipeline.storage import ObjectPath, place
from pipeline.storage.variables import NAMES
from tests.scenes import call, call_json, read, small_scene, snapshot
from tests.servers import BUCKET, S3, free_port, s3_server
from tests.stac_files import item

WORKFLOW = "version: 1\nread: {tile: 64}\nfeatures: {bank: rcf-mixed, count: 16, stride: 4}\n"
PAPERS = ("item.json", "report.html", "receipt.json")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """One server for all tests of this file."""
    with s3_server(tmp_path_factory.mktemp("moto")) as running:
        yield running


@pytest.fixture
def s3(server: S3, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> tuple[S3, str]:
    """The server, its variables set, and a prefix for this test."""
    for name in NAMES:
        if name != "HOME":
            monkeypatch.delenv(name, raising=False)
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return server, request.node.name.replace("[", "-").replace("]", "")


def _url(prefix: str, *names: str) -> str:
    return "/".join((f"s3://{BUCKET}/{prefix}", *names))


def test_a_run_in_s3_writes_what_a_run_on_disk_writes(s3: tuple[S3, str], tmp_path: Path) -> None:
    server, prefix = s3
    scene = small_scene(tmp_path / "scene.tif")
    (tmp_path / "job.yaml").write_text(WORKFLOW)
    server.client.upload_file(str(scene), BUCKET, f"{prefix}/scene.tif")
    assert call("run", tmp_path / "job.yaml", scene, "--out", tmp_path / "out").exit_code == 0
    words = ["run", tmp_path / "job.yaml", _url(prefix, "scene.tif"), "--out", _url(prefix, "out")]
    result = call(*words)
    assert result.exit_code == 0, result.stderr
    assert f"written to {_url(prefix, 'out', 'scene')}" in result.stdout
    local, remote = snapshot(tmp_path / "out", PAPERS), server.objects(f"{prefix}/out")
    assert {name: data for name, data in remote.items() if not name.endswith(PAPERS)} == local
    assert {name.rpartition("/")[2] for name in remote if name.endswith(PAPERS)} == set(PAPERS)
    receipt = json.loads(remote["scene/receipt.json"])
    assert receipt["outputs"]["bank.npz"] == len(local["scene/bank.npz"])
    assert receipt["outputs"]["scene.zarr"] > 0

    again = call(*words)
    assert (again.exit_code, "complete" in again.stdout) == (0, True)
    assert server.objects(f"{prefix}/out") == remote


@pytest.mark.parametrize("whole", [False, True])
def test_a_search_on_stdin_finds_files_of_this_machine_though_it_is_kept_in_s3(
    s3: tuple[S3, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    server, prefix = s3
    (tmp_path / "in").mkdir()
    small_scene(tmp_path / "in/x.tif")
    (tmp_path / "job.yaml").write_text(WORKFLOW)
    found = {"type": "FeatureCollection", "features": [item("x", str(tmp_path / "in/x.tif") if whole else "in/x.tif")]}
    monkeypatch.chdir(tmp_path)
    result = call("run", "job.yaml", "-", "--out", _url(prefix, "out"), stdin=json.dumps(found))
    assert result.exit_code == 0, result.stderr
    names = server.objects(f"{prefix}/out")
    assert "x/scene.zarr/zarr.json" in names
    assert any(name.startswith("search-") for name in names)


def test_xarray_opens_it_through_zarrs_own_object_store(s3: tuple[S3, str], tmp_path: Path) -> None:
    server, prefix = s3
    scene = small_scene(tmp_path / "scene.tif")
    assert call("compress", scene, _url(prefix, "s.zarr"), "--lossless", "--tile", 64).exit_code == 0
    bucket = obstore.store.S3Store(
        BUCKET, prefix=f"{prefix}/s.zarr", endpoint=server.url, client_options={"allow_http": True}
    )
    with xr.open_zarr(zarr.storage.ObjectStore(bucket, read_only=True), mask_and_scale=False) as opened:
        assert opened.scene.chunks is not None
        np.testing.assert_array_equal(opened.scene.values, read(scene))


def test_a_store_is_not_overwritten_by_what_reads_from_it(s3: tuple[S3, str], tmp_path: Path) -> None:
    server, prefix = s3
    scene, url = small_scene(tmp_path / "scene.tif", height=64, width=70), _url(prefix, "s.zarr")
    assert call("compress", scene, url, "--lossless", "--tile", 64).exit_code == 0
    bucket = obstore.store.S3Store(
        BUCKET, prefix=f"{prefix}/s.zarr", endpoint=server.url, client_options={"allow_http": True}
    )
    foreign = xr.open_zarr(zarr.storage.ObjectStore(bucket, read_only=True), mask_and_scale=False).scene
    stored = pipeline.open_scene(url)
    assert not stored.equals(stored + 1)  # its chunks are there
    for lazy in (stored, stored.terrasketch.denoise(), stored[:, :40].astype("float32") * 2, foreign):
        with pytest.raises(OutputError, match="what the scene is read from; give another output, or compute"):
            lazy.terrasketch.compress(url, lossless=True, overwrite=True)
        np.testing.assert_array_equal(pipeline.open_scene(url), read(scene))
    beside = pipeline.open_scene(scene).terrasketch.compress(_url(prefix, "s.zarr.other.zarr"), overwrite=True)
    assert beside.shape == stored.shape
    grid = {
        "time": np.array(["2020-01-01", "2020-02-01"], "M8[ns]"),
        "lat": np.linspace(60, 50, 20),
        "lon": np.arange(30),
    }
    labelled = xr.DataArray(np.arange(1200.0).reshape(2, 20, 30), dims=tuple(grid), coords=grid | {"orbit": 7})
    again = labelled.terrasketch.compress(_url(prefix, "labelled.zarr"), lossless=True)
    xr.testing.assert_equal(again.compute(), labelled)
    twice = stored.compute().terrasketch.compress(url, rmse=5, overwrite=True)
    assert twice.shape == stored.shape
    pipeline.open_scene(scene).terrasketch.compress(url, lossless=True, overwrite=True)
    np.testing.assert_array_equal(pipeline.open_scene(url), read(scene))


def test_every_command_takes_addresses(s3: tuple[S3, str], tmp_path: Path) -> None:
    server, prefix = s3
    scene = small_scene(tmp_path / "scene.tif")
    for where in (str(tmp_path), _url(prefix)):
        store, bank = f"{where}/s.zarr", f"{where}/b.npz"
        for words in (
            ["compress", scene, store, "--tile", 64],
            ["decompress", store, f"{where}/back.tif"],
            ["fit", store, "-o", bank, "--bank", "classic"],
            ["features", store, f"{where}/f.tif", "--bank", bank, "--stride", 8],
            ["features", f"{where}/back.tif", f"{where}/f.parquet", "--bank", bank, "--stride", 8],
            ["denoise", store, f"{where}/clean.tif", "--basis", "scene", "--tile", 64],
            ["denoise", store, f"{where}/clean.zarr", "--tile", 64],
        ):
            result = call(*words)
            assert result.exit_code == 0, (words, result.stderr)
    local = snapshot(tmp_path, ("scene.tif", "moto.log"))
    assert server.objects(prefix) == local
    for name in ("back.tif", "clean.tif", "f.tif"):
        with gdal_env(_url(prefix, name)):
            assert cog_validate(_url(prefix, name), strict=True)[:2] == (True, [])
    assert call_json("compare", _url(prefix, "back.tif"), _url(prefix, "s.zarr"))["overall"]["rmse"] == 0
    facts = [call_json("inspect", f"{where}/s.zarr") for where in (tmp_path, _url(prefix))]
    assert facts[0] == facts[1]
    assert call_json("inspect", _url(prefix, "b.npz"))["features"] == len(Bank.load(_url(prefix, "b.npz")).features)


def test_a_crs_without_keys_lies_beside_its_cog_and_goes_with_it(s3: tuple[S3, str], tmp_path: Path) -> None:
    server, prefix = s3
    for crs, names in (("+proj=healpix", {"a.tif", "a.tif.aux.xml"}), ("EPSG:32618", {"a.tif"})):
        scene = small_scene(tmp_path / "scene.tif", height=64, width=70)
        with rasterio.open(scene, "r+") as file:
            file.crs = crs
        with rasterio.open(scene) as file:
            told = file.crs
        for words in (
            ["compress", scene, tmp_path / "s.zarr"],
            ["decompress", tmp_path / "s.zarr", _url(prefix, "a.tif")],
        ):
            result = call(*words, "--overwrite")
            assert result.exit_code == 0, result.stderr
        found = server.objects(prefix)
        assert set(found) == names
        (tmp_path / "back").mkdir(exist_ok=True)
        for name in names:
            (tmp_path / "back" / name).write_bytes(
                server.client.get_object(Bucket=BUCKET, Key=f"{prefix}/{name}")["Body"].read()
            )
        with rasterio.open(tmp_path / "back" / "a.tif") as file:
            assert file.crs == told
        shutil.rmtree(tmp_path / "back")


def test_an_output_that_is_there_is_kept_unless_it_may_go(
    s3: tuple[S3, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, prefix = s3
    scene = small_scene(tmp_path / "scene.tif")
    words = ["compress", scene, _url(prefix, "s.zarr"), "--tile", 64]
    assert call(*words).exit_code == 0
    before = server.objects(prefix)
    refused = call(*words)
    assert (refused.exit_code, "exists" in refused.stderr) == (1, True)
    assert server.objects(prefix) == before

    seen: list[set[str]] = []

    def broken(*_words: object, **_named: object) -> bytes:
        seen.append(set(server.objects(prefix)))
        raise OutputError("broken")

    monkeypatch.setattr(pipeline.flow.compress, "encode", broken)
    assert call(*words, "--overwrite").exit_code == 1
    assert seen
    assert not [name for names in seen for name in names if name.endswith("zarr.json")]
    assert server.objects(prefix) == {}


def test_objects_that_are_no_store_are_not_replaced(s3: tuple[S3, str], tmp_path: Path) -> None:
    server, prefix = s3
    scene = small_scene(tmp_path / "scene.tif")
    server.client.put_object(Bucket=BUCKET, Key=f"{prefix}/mine.zarr/notes.txt", Body=b"mine")
    result = call("compress", scene, _url(prefix, "mine.zarr"), "--overwrite")
    assert (result.exit_code, "not ours to replace" in result.stderr) == (1, True)
    assert server.objects(prefix) == {"mine.zarr/notes.txt": b"mine"}


def test_objects_that_no_run_wrote_are_not_replaced_unless_they_may_be(s3: tuple[S3, str], tmp_path: Path) -> None:
    server, prefix = s3
    scene = small_scene(tmp_path / "scene.tif", height=64, width=64)
    (tmp_path / "job.yaml").write_text("version: 1\ndenoise: {quality: none}\nfeatures: null\n")
    for name in ("receipt.json", "denoised.tif", "features.zarr/notes.txt"):
        server.client.put_object(Bucket=BUCKET, Key=f"{prefix}/{name[0]}/scene/{name}", Body=b"{}")
        words = ["run", tmp_path / "job.yaml", scene, "--out", _url(prefix, name[0])]
        result = call(*words)
        told = f"{_url(prefix, name[0], 'scene', name.partition('/')[0])} is no output of a run; give another --out"
        assert (result.exit_code, told in result.stderr) == (1, True)
        assert server.objects(f"{prefix}/{name[0]}") == {f"scene/{name}": b"{}"}
        assert call(*words, "--overwrite").exit_code == 0
        assert "complete" in call(*words).stdout


def test_a_run_killed_while_its_store_is_begun_goes_on(
    s3: tuple[S3, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Coordinates are there, and no journal."""
    server, prefix = s3
    scene = small_scene(tmp_path / "scene.tif", height=64, width=64)
    (tmp_path / "job.yaml").write_text("version: 1\ndenoise: {quality: none}\nfeatures: null\n")
    words = ["run", tmp_path / "job.yaml", scene, "--out", _url(prefix)]
    put = object_stores.put_object

    def killed(path: ObjectPath, data: bytes) -> None:
        if path.name == object_stores.JOURNAL:
            raise Interrupted("stopped")  # lets the lock go, as five minutes would
        put(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(object_stores, "put_object", killed)
        assert call(*words).exit_code == 130
    for name in server.objects(prefix):  # who is killed writes no receipt
        if name.endswith("receipt.json"):
            server.client.delete_object(Bucket=BUCKET, Key=f"{prefix}/{name}")
    left = server.objects(f"{prefix}/scene/scene.zarr")
    assert left
    assert not [name for name in left if name.endswith(object_stores.JOURNAL)]
    again = call(*words)
    assert again.exit_code == 0, again.stderr
    assert "complete" in call(*words).stdout
    assert not [name for name in server.objects(prefix) if ".partial" in name]


def test_the_metadata_come_last_and_the_groups_at_the_very_last(s3: tuple[S3, str], tmp_path: Path) -> None:
    server, prefix = s3
    scene = small_scene(tmp_path / "scene.tif")
    before = len(server.requests())
    assert call("compress", scene, _url(prefix, "s.zarr"), "--tile", 64).exit_code == 0
    puts = [line.partition("s.zarr/")[2] for line in server.requests()[before:] if line.startswith("PUT")]
    metadata = [name.endswith("zarr.json") for name in puts if name]
    assert metadata == sorted(metadata)
    assert [name for name in puts if name][-1] == "zarr.json"


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_bytes(s3: tuple[S3, str], tmp_path: Path) -> None:
    server, prefix = s3
    scene = small_scene(tmp_path / "scene.tif", height=640, width=640)
    (tmp_path / "job.yaml").write_text(WORKFLOW)
    words = ["run", str(tmp_path / "job.yaml"), str(scene), "--workers", "2", "--out"]
    assert call(*words, tmp_path / "out").exit_code == 0
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli", *words, _url(prefix, "out"), "--quiet"], stderr=subprocess.PIPE
    )
    store = f"{prefix}/out/scene/scene.zarr"
    for _ in range(3000):
        done = [name for name in server.objects(store) if name.startswith("scene/c/")]
        if len(done) >= 5 or process.poll() is not None:
            break
        time.sleep(0.02)
    process.kill()
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == -signal.SIGKILL, stderr
    half = server.objects(store)
    assert 5 <= len([name for name in half if name.startswith("scene/c/")]) < 100
    assert not [name for name in half if name.endswith("zarr.json")]
    opened = call("inspect", _url(prefix, "out/scene/scene.zarr"))
    assert opened.exit_code == 1

    result = call_json(*words, _url(prefix, "out"))
    stage = result["scenes"][0]["stages"][0]
    assert stage["tiles"] == 100
    assert stage["resumed"] >= 5
    local, remote = snapshot(tmp_path / "out", PAPERS), server.objects(f"{prefix}/out")
    assert {name: data for name, data in remote.items() if not name.endswith(PAPERS)} == local


def test_damaged_and_lost_chunks_are_named_and_computed_again(
    s3: tuple[S3, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, prefix = s3
    scene = small_scene(tmp_path / "scene.tif")
    (tmp_path / "job.yaml").write_text("version: 1\nread: {tile: 64}\nfeatures: null\n")
    words = ["run", tmp_path / "job.yaml", scene, "--out", _url(prefix)]
    assert call(*words).exit_code == 0
    whole = server.objects(f"{prefix}/scene/scene.zarr")
    torn, lost = "scene/c/0/1/2", "scene/c/0/0/0"
    server.client.put_object(Bucket=BUCKET, Key=f"{prefix}/scene/scene.zarr/{torn}", Body=whole[torn][:-7])
    server.client.delete_object(Bucket=BUCKET, Key=f"{prefix}/scene/scene.zarr/{lost}")
    told = call("inspect", _url(prefix, "scene/scene.zarr"), "--verify")
    assert (told.exit_code, told.stdout.count("cut_short")) == (1, 1)
    assert f"chunks 1 damaged, 1 missing: {lost}, {torn}; write them again" in told.stderr
    monkeypatch.setattr(cache, "shared", cache.Cache())  # the run has them in memory
    source = open_scene(_url(prefix, "scene/scene.zarr"))
    with pytest.raises(SourceError, match=r"scene/c/0/1/2: damaged chunk \(rows 64:128, columns 128:170\)"):
        source.read(Window(70, 80, 130, 140))
    with pytest.raises(SourceError, match=r"scene/c/0/0/0: missing chunk"):
        source.read(Window(0, 9, 0, 9))
    result = call_json(*words)
    assert result["scenes"][0]["stages"][0]["resumed"] == 7
    assert server.objects(f"{prefix}/scene/scene.zarr") == whole


@pytest.mark.cluster
@pytest.mark.slow
def test_workers_in_other_processes_read_basis_and_bank_from_the_store(s3: tuple[S3, str], tmp_path: Path) -> None:
    server, prefix = s3
    scene = small_scene(tmp_path / "scene.tif")
    (tmp_path / "job.yaml").write_text(WORKFLOW + "denoise: {basis: scene}\n")
    words = ["run", tmp_path / "job.yaml", scene, "--out"]
    assert call(*words, tmp_path / "out").exit_code == 0
    result = call(*words, _url(prefix), "--scheduler", "processes", "--workers", 2)
    assert result.exit_code == 0, result.stderr
    local, remote = snapshot(tmp_path / "out", PAPERS), server.objects(prefix)
    assert {name: data for name, data in remote.items() if not name.endswith(PAPERS)} == local


def test_two_runs_do_not_write_one_output(s3: tuple[S3, str], tmp_path: Path) -> None:
    _, prefix = s3
    (tmp_path / "job.yaml").write_text(WORKFLOW)
    scene = small_scene(tmp_path / "scene.tif")
    with alone(place(_url(prefix, "scene/.running"))):
        result = call("run", tmp_path / "job.yaml", scene, "--out", _url(prefix))
    assert result.exit_code == 1
    assert f"another run is writing here (process {os.getpid()} on " in result.stderr


def test_a_stale_lock_is_taken_and_a_living_one_is_kept(
    s3: tuple[S3, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    server, prefix = s3
    lock = place(_url(prefix, ".running"))
    assert isinstance(lock, ObjectPath)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    here = {"host": "h", "machine": pipeline.flow.lock._machine(), "run": "other"}
    lock.write_bytes(json.dumps(here | {"pid": dead.pid}).encode())
    with alone(lock):
        assert json.loads(lock.read_bytes())["pid"] == os.getpid()
    assert not lock.is_file()

    lock.write_bytes(json.dumps(here | {"machine": "elsewhere", "pid": 1}).encode())
    with pytest.raises(OutputError, match="process 1 on h"), alone(lock):
        raise AssertionError
    monkeypatch.setattr(pipeline.flow.lock, "STALE_SECONDS", -1.0)
    with alone(lock):
        pass
    assert server.objects(prefix) == {}


def test_a_lock_beats_while_its_run_lives(s3: tuple[S3, str], monkeypatch: pytest.MonkeyPatch) -> None:
    _, prefix = s3
    lock = place(_url(prefix, ".running"))
    monkeypatch.setattr(pipeline.flow.lock, "BEAT_SECONDS", 0.01)
    with alone(lock):
        for _ in range(1000):
            if json.loads(lock.read_bytes()).get("beats", 0) >= 2:
                break
            time.sleep(0.01)
        else:
            raise AssertionError(lock.read_bytes())
    assert not lock.is_file()


REFUSED = {
    "bucket": ({}, ["compress", "SCENE", "s3://nobucket/x.zarr"], "there is no such bucket; make it first"),
    "bucket of a COG": ({}, ["denoise", "SCENE", "s3://nobucket/x.tif"], "there is no such bucket"),
    "object": ({}, ["inspect", f"s3://{BUCKET}/nothing.tif"], "there is no such object"),
    "bank": ({}, ["inspect", f"s3://{BUCKET}/nothing.npz"], "there is no such object; make one with"),
    "web": ({}, ["compress", "SCENE", "https://127.0.0.1/x.zarr"], "outputs are local, or at s3://, gs://, az://"),
    "keys": (
        {"AWS_ACCESS_KEY_ID": ""},
        ["compress", "SCENE", f"s3://{BUCKET}/x.zarr"],
        "no credentials were found; set AWS_ACCESS_KEY_ID",
    ),
    "refused": (
        {"AWS_ENDPOINT_URL": "http://127.0.0.1:PORT"},
        ["compress", "SCENE", f"s3://{BUCKET}/x.zarr"],
        "connection refused by http://127.0.0.1:PORT; check AWS_ENDPOINT_URL",
    ),
    "refused to GDAL": (
        {"AWS_ENDPOINT_URL": "http://127.0.0.1:PORT"},
        ["inspect", f"s3://{BUCKET}/x.tif"],
        "connection refused by http://127.0.0.1:PORT; check AWS_ENDPOINT_URL",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_one_line(
    s3: tuple[S3, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    variables, words, expected = REFUSED[case]
    port = str(free_port())
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in variables.items():
        monkeypatch.setenv(name, value.replace("PORT", port)) if value else monkeypatch.delenv(name)
    scene = small_scene(tmp_path / "scene.tif", height=64, width=64)
    result = call(*[str(scene) if word == "SCENE" else word for word in words])
    assert result.exit_code == (2 if case == "web" else 1)
    assert len(result.stderr.strip().splitlines()) == 1
    assert expected.replace("PORT", port) in result.stderr
    if case in ("bucket", "keys", "refused"):  # which say what to do
        assert "check its rights" not in result.stderr


def test_a_denied_request_says_so(s3: tuple[S3, str], tmp_path: Path) -> None:
    server, _ = s3
    scene = small_scene(tmp_path / "scene.tif", height=64, width=64)
    policy = {
        "Statement": [{"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::closed/*"}]
    }
    server.client.create_bucket(Bucket="closed")
    server.client.put_bucket_policy(Bucket="closed", Policy=json.dumps(policy))
    result = call("fit", scene, "-o", "s3://closed/b.npz", "--bank", "classic")
    assert result.exit_code == 1
    assert "access denied; set AWS_ACCESS_KEY_ID" in result.stderr


def test_parts_of_an_object_are_read_as_of_a_file(s3: tuple[S3, str]) -> None:
    _, prefix = s3
    data = np.random.default_rng([1]).bytes(200_000)
    for size in (0, 1, 65_536, 65_537, 200_000):
        path = place(_url(prefix, str(size)))
        path.write_bytes(data[:size])
        with path.open("rb") as file:
            assert file.read(10) == data[:size][:10]
            assert file.seek(0, os.SEEK_END) == size
            assert file.seek(max(0, size - 24)) == max(0, size - 24)
            assert file.read() == data[:size][-24:] if size else True
            file.seek(0)
            assert file.read() == data[:size]
        assert path.stat().st_size == size
    with pytest.raises(FileNotFoundError):
        place(_url(prefix, "none")).open("rb")


def test_gdal_reads_what_was_written_and_nothing_older(s3: tuple[S3, str], tmp_path: Path) -> None:
    server, prefix = s3
    for seed in (1, 2):
        scene = small_scene(tmp_path / f"{seed}.tif", seed=seed)
        server.client.upload_file(str(scene), BUCKET, f"{prefix}/scene.tif")
        source = open_scene(_url(prefix, "scene.tif"))
        assert source.info.fingerprint == open_scene(str(scene)).info.fingerprint
        with gdal_env(_url(prefix, "scene.tif")), rasterio.open(_url(prefix, "scene.tif")) as file:
            np.testing.assert_array_equal(file.read(), read(scene))
