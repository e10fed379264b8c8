"""A store is looked at quickly by default, and read against its checksums where that is asked for."""

import json
from pathlib import Path

import pytest

from pipeline.flow import verify as module
from pipeline.flow.read import open_scene
from tests.scenes import call, call_json, small_scene


@pytest.fixture
def stores(tmp_path: Path) -> dict[str, Path]:
    """One scene of 3 x 3 tiles with holes: coded, plain, and its features."""
    scene = small_scene(tmp_path / "x.tif")
    made = {name: tmp_path / f"{name}.zarr" for name in ("coded", "plain", "features")}
    call_json("compress", scene, made["coded"], "--tile", 64)
    call_json("denoise", scene, made["plain"], "--tile", 64, "--quality", "none")
    call_json("features", scene, made["features"], "--bank", "classic", "--stride", 2, "--tile", 64)
    return made


def chunk(store: Path, row: int, column: int, variable: str = "") -> Path:
    name = variable or ("features" if (store / "features").is_dir() else "scene")
    return store / name / "c" / ("" if name == "valid" else "0") / str(row) / str(column)


def spoil(path: Path) -> None:
    """Another byte in the middle; the length stays."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x55
    path.write_bytes(data)


NAMES = pytest.mark.parametrize("name", ["coded", "plain", "features"])


@NAMES
def test_a_whole_store_is_verified(stores: dict[str, Path], name: str) -> None:
    facts = call_json("inspect", stores[name], "--verify")
    arrays = 2 if (stores[name] / "valid").is_dir() else 1
    assert (facts["verified"], facts["missing"], facts["damaged"], facts["cut_short"]) == (9 * arrays, 0, 0, 0)
    assert "damaged_or_missing" not in facts
    assert not {"verified", "damaged"} & call_json("inspect", stores[name]).keys()


@NAMES
def test_a_byte_in_the_middle_shows_to_verify_alone(stores: dict[str, Path], name: str) -> None:
    store = stores[name]
    spoil(chunk(store, 1, 2))
    chunk(store, 2, 0).unlink()
    quick = call_json("inspect", store)
    assert (quick["missing"], quick["cut_short"]) == (1, 0)
    result = call("inspect", store, "--verify", "--json")
    facts = json.loads(result.stdout)
    names = [str(chunk(store, *at).relative_to(store)) for at in ((1, 2), (2, 0))]
    assert (result.exit_code, facts["missing"], facts["damaged"]) == (1, 1, 1)
    assert facts["damaged_or_missing"] == names
    (line,) = result.stderr.splitlines()
    assert f"{store}: of {facts['verified']} chunks 1 damaged, 1 missing: {', '.join(names)}; write them again" in line


@NAMES
def test_a_chunk_cut_short_shows_at_once(stores: dict[str, Path], name: str) -> None:
    path = chunk(stores[name], 0, 1)
    path.write_bytes(path.read_bytes()[:-9])
    chunk(stores[name], 1, 1).write_bytes(b"")
    assert call_json("inspect", stores[name])["cut_short"] == 2
    assert json.loads(call("inspect", stores[name], "--verify", "--json").stdout)["damaged"] == 2


def test_what_says_which_pixels_are_valid_is_verified_too(stores: dict[str, Path]) -> None:
    spoil(chunk(stores["coded"], 1, 1, "valid"))
    result = call("inspect", stores["coded"], "--verify")
    assert (result.exit_code, "valid/c/1/1" in result.stderr) == (1, True)


def test_few_chunks_are_named_and_none_is_decoded(stores: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [chunk(stores["coded"], row, column) for row in range(3) for column in range(3)]
    for path in paths:
        spoil(path)
    line = call("inspect", stores["coded"], "--verify").stderr
    assert line.count("scene/c/0/") == module.NAMED
    assert f" and {9 - module.NAMED} more; " in line

    def never(*_: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr("pipeline.codec.zarr_codec.decode", never)
    assert module.verify(open_scene(str(stores["coded"]))).damaged == 9


@pytest.mark.parametrize("names", [["x.tif"], ["x.tif", "coded.zarr"]])
def test_only_a_store_is_verified(stores: dict[str, Path], names: list[str]) -> None:
    result = call("inspect", *(stores["coded"].with_name(name) for name in names), "--verify")
    assert result.exit_code == 2
    assert "--verify reads the chunks of one store of ours" in result.stderr


def test_a_store_that_is_not_there_is_said_to_be_so(tmp_path: Path) -> None:
    result = call("inspect", tmp_path / "gone.zarr", "--verify")
    assert result.exit_code == 1
    assert "gone.zarr: there is no such store to verify" in result.stderr


def test_a_mask_does_not_stand_in_the_way(stores: dict[str, Path], tmp_path: Path) -> None:
    spoil(chunk(stores["coded"], 1, 2))
    small_scene(tmp_path / "mask.tif", bands=1)
    words = ("--mask-band", f"scl:{tmp_path / 'mask.tif'}")
    assert "1 damaged, 0 missing" in call("inspect", stores["coded"], "--verify", *words).stderr
