"""The store is the journal: begun, resumed, refused, published; what killed writers left is swept."""

import fcntl
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import OutputError, ResumeError
from pipeline.flow.journal import Plan, alone, configuration_hash
from pipeline.raster.chunks import check_crc32c, chunk_path, is_whole, pack, put_chunk, remove_tree
from pipeline.raster.scene import Georeference, SceneInfo
from pipeline.raster.zarr_store import Variable, read_attributes
from tests.scenes import snapshot

INFO = SceneInfo("s", ("a", "b"), 20, 30, "uint16")


def _plan(folder: Path, **configuration: object) -> Plan:
    scene = Variable("scene", "uint16", 0, "band", INFO.bands)
    return Plan(folder / "s.zarr", INFO, 16, (scene,), {"tile": 16, "denoise": configuration})


def test_a_store_has_another_name_until_it_is_whole(tmp_path: Path) -> None:
    plan = _plan(tmp_path)
    path = plan.begin()
    assert path == tmp_path / "s.zarr.partial"
    assert plan.begin() == path
    assert plan.finish(path) == tmp_path / "s.zarr"
    assert [entry.name for entry in tmp_path.iterdir()] == ["s.zarr"]
    assert plan.begin() == tmp_path / "s.zarr"


def test_another_configuration_is_refused_with_both_hashes_and_the_difference(tmp_path: Path) -> None:
    first, second = _plan(tmp_path, quality="fast", sigma=3), _plan(tmp_path, quality="quality", sigma=3)
    first.begin()
    with pytest.raises(ResumeError) as caught:
        second.begin()
    message = str(caught.value)
    assert "denoise.quality: fast -> quality" in message
    assert "sigma" not in message
    assert configuration_hash(first.configuration)[:12] in message
    assert configuration_hash(second.configuration)[:12] in message


def test_leftovers_are_swept_when_a_store_is_taken_up_again(tmp_path: Path) -> None:
    path = _plan(tmp_path).begin()
    leftover = path / ".partial" / "torn"
    leftover.parent.mkdir()
    leftover.write_bytes(b"half a ch")
    _plan(tmp_path).begin()
    assert not leftover.exists()


def test_a_half_made_store_is_made_again(tmp_path: Path) -> None:
    (tmp_path / "s.zarr.draft.partial").mkdir()
    (tmp_path / "s.zarr.partial").mkdir()
    path = _plan(tmp_path).begin()
    assert read_attributes(path)["variable"] == "scene"


def test_coordinates_and_metadata_that_are_lost_or_torn_are_put_back(tmp_path: Path) -> None:
    placed = replace(INFO, geo=Georeference(transform=(20.0, 0.0, 4e5, 0.0, -20.0, 4e6)))
    plan = replace(_plan(tmp_path), info=placed)
    path = plan.begin()
    put_chunk(path, chunk_path(path, "scene", 0, 0, 1), b"not looked at here")
    before = snapshot(path)
    (path / "x/c/0").unlink()
    (path / "y/c/0").write_bytes((path / "y/c/0").read_bytes()[:5])
    (path / "scene/zarr.json").unlink()
    assert plan.begin() == path
    assert snapshot(path) == before


def test_a_lock_that_its_last_holder_has_just_removed_holds_nobody_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = tmp_path / ".running"
    locked = fcntl.flock

    def too_late(file: object, how: int) -> None:
        lock.unlink()
        locked(file, how)

    monkeypatch.setattr(fcntl, "flock", too_late)
    with pytest.raises(OutputError, match="another run"), alone(lock):
        pass


def test_a_store_that_is_removed_has_lost_its_name_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _plan(tmp_path).begin()

    def killed(*_args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            remove_tree(path)
    assert not path.exists()
    remove_tree(path)
    assert list(tmp_path.iterdir()) == []


def test_a_chunk_is_whole_or_not_there(tmp_path: Path) -> None:
    path = chunk_path(tmp_path, "scene", 0, 0, 1)
    assert not is_whole(path, check_crc32c)
    data = pack(np.arange(24, dtype="uint16").reshape(2, 3, 4), (2, 4, 4), 0)
    put_chunk(tmp_path, path, data)
    assert is_whole(path, check_crc32c)
    for damaged in (data[:-1], data[:30] + bytes([data[30] ^ 1]) + data[31:], b""):
        path.write_bytes(damaged)
        assert not is_whole(path, check_crc32c)


def test_the_same_store_has_the_same_bytes(tmp_path: Path) -> None:
    files = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        path = _plan(tmp_path / name, sigma=2).begin()
        files.append({str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()})
    assert files[0] == files[1]
