"""What a run wrote, given to the commands again: the item is the denoised scene, the folder is none."""

import json
import shutil
from pathlib import Path

import pytest

from pipeline.flow.sources import name_scenes
from tests.scenes import call, call_json, small_scene

WORKFLOW = """
version: 1
out: out
read: {tile: 64}
denoise: {quality: none}
features: {bank: classic, stride: 8}
write: {report: false}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The outputs of one scene of 4 bands, with features of another pixel size."""
    job = tmp_path_factory.mktemp("back")
    small_scene(job / "s.tif", height=80, width=90, holes=0.0)
    (job / "job.yaml").write_text(WORKFLOW)
    result = call("run", job / "job.yaml", job / "s.tif")
    assert result.exit_code == 0, result.stderr
    return job / "out" / "s"


def test_the_item_of_a_run_is_the_denoised_scene(folder: Path) -> None:
    item = json.loads((folder / "item.json").read_text())
    roles = {key: asset["roles"] for key, asset in item["assets"].items()}
    assert roles["scene"] == roles["denoised_cog"] == ["data"]
    assert roles["features"] == roles["features_cog"] == ["features"]
    assert call_json("inspect", folder / "item.json")["bands"] == call_json("inspect", folder / "denoised.tif")["bands"]
    asked = call_json("inspect", folder / "item.json", "--bands", "features_cog")
    assert asked["shape"] == call_json("inspect", folder / "features.tif")["shape"]


def test_an_item_of_before_is_too(folder: Path, tmp_path: Path) -> None:
    old = shutil.copytree(folder, tmp_path / "old")
    text = (old / "item.json").read_text()
    item = json.loads(text)
    for asset in item["assets"].values():
        asset["roles"] = ["data"] if asset["roles"] == ["features"] else asset["roles"]
    (old / "item.json").write_text(json.dumps(item))
    assert call_json("inspect", old / "item.json")["shape"] == [4, 80, 90]


def test_an_item_without_a_cog_of_the_scene_is_its_store(folder: Path, tmp_path: Path) -> None:
    bare = shutil.copytree(folder, tmp_path / "bare")
    item = json.loads((bare / "item.json").read_text())
    for key in ("denoised_cog", "features_cog"):
        del item["assets"][key]
        (bare / "item.json").write_text(json.dumps(item))
        facts = call_json("inspect", bare / "item.json")
        assert facts["bands"] == call_json("inspect", folder / "denoised.tif")["bands"]
        one = call_json("inspect", bare / "item.json", "--bands", "1188 nm")
        assert (one["bands"], one["shape"]) == (["1188 nm"], [1, 80, 90]), "a feature is called so too"
    shutil.rmtree(bare / "scene.zarr")
    result = call("inspect", bare / "item.json")
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    assert f"{bare / 'scene.zarr'}: there is no such store" in result.stderr


@pytest.mark.parametrize("words", ["inspect", "plan W", "run W", "fit -o b.npz", "compress z.zarr"])
def test_a_folder_of_outputs_is_no_scene(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    name, *more = words.split()
    last = [more.pop()] if name == "compress" else []
    more = [str(folder.parent.parent / "job.yaml") if word == "W" else word for word in more]
    result = call(name, *more, folder, *last, *(["--out", tmp_path / "new"] if name == "run" else []))
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1), result.stderr
    assert f"{folder} holds the outputs of a run, features too, and is no scene" in result.stderr
    assert result.stderr.endswith(f"give {folder / 'scene.zarr'} or {folder / 'denoised.tif'}\n")
    assert not any(tmp_path.iterdir())


def test_the_folders_of_a_run_are_none_either(folder: Path) -> None:
    with pytest.raises(ValueError, match="holds the outputs of a run"):
        name_scenes([str(folder.parent)])
    with pytest.raises(ValueError, match="is an output of a run in"):
        name_scenes([str(folder.parent)], str(folder.parent))


def test_what_lies_among_outputs_is_no_input_however_it_is_spelled(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "scenes" / "out"
    shutil.copytree(folder, out / "a")
    scene = small_scene(tmp_path / "scenes" / "a.tif", height=20, width=20)
    shutil.copy(scene, out / "a" / "groups.tif")  # a map made of them
    shutil.copy(scene, out / "other.tif")
    (tmp_path / "link").symlink_to("scenes")
    (tmp_path / "x").mkdir()
    monkeypatch.chdir(tmp_path / "x")
    for pattern in ("../scenes/**/*.tif", str(tmp_path / "scenes/**/*.tif"), "../link/**/*.tif"):
        assert set(name_scenes([pattern], str(out))) == {"a", "other"}
        assert set(name_scenes([pattern], "../scenes/out")) == {"a", "other"}


def test_one_scene_spelled_in_several_ways_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").mkdir()
    scene = small_scene(tmp_path / "a" / "s.tif", height=20, width=20)
    (tmp_path / "b").symlink_to("a")
    monkeypatch.chdir(tmp_path)
    ways = ["a/s.tif", str(scene), "./a/../a/s.tif", "b/s.tif", "a/*.tif"]
    assert list(name_scenes(ways)) == ["s"]
    (tmp_path / "latest.tif").symlink_to(scene)  # another name, and outputs of its own
    assert set(name_scenes([*ways, "latest.tif"])) == {"s", "latest"}
    shutil.copytree(tmp_path / "a", tmp_path / "c")
    with pytest.raises(ValueError, match="would both be written to s/"):
        name_scenes([*ways, "c/s.tif"])


def test_one_item_spelled_in_two_ways_is_one(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    items = [json.loads((folder / "item.json").read_text()) | {"id": name} for name in ("one", "two")]
    found = tmp_path / "found.json"
    found.write_text(json.dumps({"type": "FeatureCollection", "features": items}))
    monkeypatch.chdir(tmp_path)
    assert set(name_scenes(["found.json#one", f"{found}#one", "./found.json"])) == {"one", "two"}
