"""The store is the journal: begun, resumed, refused, published; what killed writers left is swept."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import ResumeError
from pipeline.flow.journal import Plan, configuration_hash
from pipeline.raster.chunks import check_crc32c, chunk_path, is_whole, pack, put_chunk
from pipeline.raster.scene import SceneInfo
from pipeline.raster.zarr_store import Variable, read_attributes

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
    assert "denoise.quality was fast, is quality" in message
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
