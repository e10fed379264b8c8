"""Networks from the command line: maps, means, what is refused, workflows that resume, plans, and the xarray verb."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rioxarray  # noqa: F401  (registers .rio)
import xarray as xr

import pipeline
from pipeline.flow.network_mean import tree_sum
from pipeline.network import network_features
from pipeline.network.execute import Network
from pipeline.network.network_bank import NetworkBank
from pipeline.network.onnx_import import load
from tests.scenes import call, call_json, read, small_scene, snapshot
from tests.tiny_models import small_resnet, small_unet

MEAN = "globalaveragepool_6"
TIMES = ("receipt.json", "report.html", "item.json")
WORKFLOW = """
version: 1
out: out
read: {{tile: 64}}
denoise: {{quality: none}}
compress: {{lossless: true}}
features: {{bank: "onnx:models/head.onnx@{tensor}"}}
write: {{report: false}}
"""


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a scene of 4 bands of 150 x 170 with holes, three models, and workflows for two tensors of one."""
    folder = tmp_path_factory.mktemp("networks")
    small_scene(folder / "scene.tif")
    (folder / "models").mkdir()
    small_resnet(folder / "models/resnet.onnx", 4)
    small_resnet(folder / "models/head.onnx", 4, classifies=True)
    small_unet(folder / "models/unet.onnx", 4)
    for name, tensor in (("map", "add_5"), ("mean", MEAN)):
        (folder / f"{name}.yaml").write_text(WORKFLOW.format(tensor=tensor))
    return folder


def _whole(job: Path, model: str, tensor: str) -> np.ndarray:
    """A tensor of the whole scene at once, z-scored by hand; NaN where a cell has a hole."""
    raw = read(job / "scene.tif").astype(float)
    valid = (raw != 0).all(axis=0)
    mean, std = (raw[:, valid].mean(axis=1)[:, None, None], raw[:, valid].std(axis=1)[:, None, None])
    z = np.where(valid, (raw - mean) / std, 0).astype(np.float32)
    made = Network(load(job / "models" / model, [tensor]))(z[None])[0][0]
    s = -(-raw.shape[1] // made.shape[1])
    holes = np.pad(~valid, [(0, -length % s) for length in valid.shape])
    made[:, holes.reshape(made.shape[1], s, made.shape[2], s).any(axis=(1, 3))] = np.nan
    return made


def _close(a: np.ndarray, b: np.ndarray) -> None:
    np.testing.assert_array_equal(np.isnan(a), np.isnan(b))
    assert np.nanmax(np.abs(a - b)) <= 1e-5 * np.nanmax(np.abs(b))


def test_the_map_is_the_tensor_of_the_whole_scene(job: Path, tmp_path: Path) -> None:
    for model, tensor in (("resnet.onnx", "add_5"), ("unet.onnx", "conv_6")):
        wanted = _whole(job, model, tensor)
        for tile in (32, 512):
            target = tmp_path / f"{model}{tile}.zarr"
            bank = f"onnx:{job / 'models' / model}"
            assert call_json("features", job / "scene.tif", target, "--bank", bank, "--tile", tile)["tiles"] >= 1
            with xr.open_zarr(target) as opened:
                assert opened.feature.values[0] == f"{tensor}_000"
                assert opened.rio.transform().a == (80 if tensor == "add_5" else 20)
                _close(opened.features.values, wanted)


def test_exact_maps_are_the_same_bits_for_every_tile(
    job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network_features, "ANCHOR", 48)
    maps = []
    for tile in (16, 64, 512):
        words = ("--bank", f"onnx:{job}/models/unet.onnx", "--exact", "--tile", tile)
        assert call("features", job / "scene.tif", tmp_path / f"{tile}.tif", *words).exit_code == 0
        maps.append(read(tmp_path / f"{tile}.tif"))
    assert np.isfinite(maps[0]).any()
    for other in maps[1:]:
        np.testing.assert_array_equal(other, maps[0])


def test_exact_maps_go_into_one_byte(job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The range is found on windows that do not begin where anchored blocks do."""
    monkeypatch.setattr(network_features, "ANCHOR", 512)
    words = ("features", job / "scene.tif", "--bank", f"onnx:{job}/models/unet.onnx", "--exact")
    assert call(*words[:2], tmp_path / "float.tif", *words[2:]).exit_code == 0
    assert call(*words[:2], tmp_path / "byte.tif", *words[2:], "--dtype", "int8").exit_code == 0
    with rasterio.open(tmp_path / "byte.tif") as file:
        scale, offset = (np.array(values)[:, None, None] for values in (file.scales, file.offsets))
        codes = file.read(masked=True)
    wanted = read(tmp_path / "float.tif")
    np.testing.assert_array_less(np.abs(codes * scale + offset - wanted).compressed(), 0.51 * scale.max())


def test_pixels_go_in_as_they_are_if_asked(job: Path, tmp_path: Path) -> None:
    bank = f"onnx:{job}/models/resnet.onnx@conv_0"
    words = ("features", job / "scene.tif", tmp_path / "f.tif", "--bank", bank, "--normalise", "none")
    assert call(*words).exit_code == 0
    raw = read(job / "scene.tif").astype(np.float32)
    wanted = Network(load(job / "models/resnet.onnx", ["conv_0"]))(raw[None])[0][0]
    got = read(tmp_path / "f.tif")
    known = np.isfinite(got)
    np.testing.assert_allclose(got[known], wanted[known], rtol=1e-5)


def test_the_mean_is_what_the_final_pool_gives(job: Path, tmp_path: Path) -> None:
    wanted = np.nanmean(_whole(job, "head.onnx", "add_5"), axis=(1, 2))
    found = []
    for tile in (32, 64):
        target = tmp_path / f"{tile}.tif"
        words = ("--bank", f"onnx:{job}/models/head.onnx@{MEAN}", "--tile", tile)
        shown = call("features", job / "scene.tif", target, *words)
        assert shown.exit_code == 0
        assert re.search(r"\.tif: 1 tile, [\d.]+ k?B stored, ", shown.stdout), shown.stdout
        found.append(read(target))
        assert found[-1].shape == (3, 1, 1)
        np.testing.assert_allclose(found[-1][:, 0, 0], wanted, rtol=1e-5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["32.tif", "64.tif"]
    told = call_json("features", job / "scene.tif", target, *words, "--overwrite")
    assert told["raw_bytes"] is told["ratio"] is None


def test_a_tree_adds_neighbours_first() -> None:
    parts = [np.array([1e16]), np.array([1.0]), np.array([-1e16]), np.array([1.0]), np.array([3.0])]
    assert tree_sum(iter(parts))[0] == ((1e16 + 1.0) + (-1e16 + 1.0)) + 3.0
    assert tree_sum([parts[4]])[0] == 3.0


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--bank", "onnx:M/head.onnx"), 1, "GlobalAveragePool pools the whole scene before the end"),
        (("--bank", "onnx:M/head.onnx"), 1, "the last is add_5, or globalaveragepool_6, its mean over the scene"),
        (("--bank", "onnx:M/head.onnx@nothing"), 1, "it has no tensor 'nothing'; its outputs are gemm_8"),
        (("--bank", "onnx:M/none.onnx"), 1, "none.onnx: No such file"),
        (("--bank", "onnx:scene.tif"), 1, "scene.tif"),
        (("--bank", "onnx:M/unet.onnx", "-b", "1,2"), 1, "takes 4 bands, got 2 (662 nm, 1188 nm); choose and order"),
        (("--bank", "onnx:M/resnet.onnx", "--stride", "6"), 1, "--stride 6 is not a multiple of 4"),
        (("--bank", "onnx:M/resnet.onnx", "--count", "6"), 2, "--count with the bank onnx:"),
        (("--bank", "classic", "--exact"), 2, "--exact with the bank classic"),
        (("--bank", "classic", "--normalise", "none"), 2, "--normalise with the bank classic"),
        (("--bank", f"onnx:M/head.onnx@{MEAN}", "--pool", "4"), 1, "leave out --pool and --stride"),
    ],
)
def test_what_cannot_be_is_one_line_before_any_work(
    job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], code: int, said: str
) -> None:
    monkeypatch.chdir(job)
    given = [word.replace("M/", "models/") for word in words]
    result = call("features", "scene.tif", tmp_path / "f.zarr", *given)
    assert (result.exit_code, result.stdout) == (code, "")
    assert said in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("name", "words"), [("f.tif", ("--dtype", "int8")), ("f.parquet", ())])
def test_one_mean_goes_into_no_byte_and_no_table(job: Path, tmp_path: Path, name: str, words: tuple[str, ...]) -> None:
    bank = f"onnx:{job}/models/head.onnx@{MEAN}"
    result = call("features", job / "scene.tif", tmp_path / name, "--bank", bank, *words)
    assert result.exit_code == 2
    assert "is one mean over the scene: it goes to .zarr or .tif in float32" in result.stderr
    text = (job / "mean.yaml").read_text().replace("features: {", "features: {dtype: int8, ")
    (job / "byte.yaml").write_text(text)
    result = call("run", job / "byte.yaml", job / "scene.tif", "--out", tmp_path / "out")
    assert "is one mean over the scene" in result.stderr
    assert not (tmp_path / "out/scene/scene.zarr").exists()


def test_a_run_with_other_bands_ends_before_the_scene_is_denoised(job: Path, tmp_path: Path) -> None:
    text = (job / "map.yaml").read_text()
    (job / "bands.yaml").write_text(text.replace("read: {", "read: {bidx: [1, 2], "))
    result = call("run", job / "bands.yaml", job / "scene.tif", "--out", tmp_path / "out")
    assert result.exit_code != 0
    assert "takes 4 bands, got 2" in result.stderr
    assert not (tmp_path / "out/scene/scene.zarr").exists()


def test_a_misspelt_tensor_is_shown_its_neighbours(job: Path, tmp_path: Path) -> None:
    result = call(
        "features", job / "scene.tif", tmp_path / "f.zarr", "--bank", f"onnx:{job}/models/resnet.onnx@conv_00"
    )
    assert "others are conv_0" in result.stderr


@pytest.mark.parametrize("name", ["map", "mean"])
def test_a_run_resumes_to_the_same_bytes(job: Path, tmp_path: Path, name: str) -> None:
    words = ["run", job / f"{name}.yaml", job / "scene.tif", "--out", tmp_path]
    first = call(*words)
    assert first.exit_code == 0, first.stderr
    folder = tmp_path / "scene"
    before = snapshot(folder, leave_out=TIMES)
    assert "complete" in call(*words).stdout
    assert snapshot(folder, leave_out=TIMES) == before
    (folder / "features.tif").unlink()
    shutil.move(folder / "features.zarr", folder / "features.zarr.partial")
    for chunk in sorted((folder / "features.zarr.partial/features/c").rglob("*")):
        if chunk.is_file():
            chunk.unlink()
            break
    assert call(*words).exit_code == 0
    assert snapshot(folder, leave_out=TIMES) == before
    bank = NetworkBank.load(folder / "bank.npz", job / "models/head.onnx")
    assert len(bank.bands) == 4
    assert call_json("inspect", folder / "bank.npz")["bank"] == bank.name


def test_another_model_under_the_name_is_refused_by_a_store_that_was_begun(job: Path, tmp_path: Path) -> None:
    shutil.copytree(job / "models", tmp_path / "models")
    (tmp_path / "map.yaml").write_text((job / "map.yaml").read_text())
    words = ["run", tmp_path / "map.yaml", job / "scene.tif"]
    assert call(*words).exit_code == 0
    small_resnet(tmp_path / "models/head.onnx", 4)
    result = call(*words)
    assert result.exit_code in (1, 3)
    assert "was begun under another configuration" in result.stderr
    assert "the bank's contents changed" in result.stderr


def test_a_bad_model_ends_a_run_before_its_first_scene(job: Path, tmp_path: Path) -> None:
    for bank, code, said in (
        ("onnx:none.onnx", 1, "none.onnx"),
        (f"onnx:{job}/models/head.onnx", 1, "take an earlier tensor with @TENSOR"),
        ("onnx:a.onnx, count: 3", 2, "a network has its filters already"),
        ("classic, exact: true", 2, "exact and normalise are for networks"),
    ):
        (tmp_path / "job.yaml").write_text(f"version: 1\nfeatures: {{bank: {bank}}}\n")
        result = call("run", tmp_path / "job.yaml", job / "scene.tif", "--out", tmp_path / "out")
        assert result.exit_code == code, result.stderr
        assert said in result.stderr
        assert not (tmp_path / "out").exists()


def test_the_plan_knows_a_networks_layers_halo_and_stride(job: Path) -> None:
    (scene,) = call_json("plan", job / "map.yaml", job / "scene.tif")["scenes"]
    stage = scene["stages"][1]
    assert (stage["tiles"], stage["halo"]) == (9, 12)
    rows = {row[0]: row[1:4] for row in scene["products"]}
    assert rows["conv 5x5 conv_0"] == [str(75 * 85), "3", "100"]
    assert rows["conv 3x3 conv_4"] == [str(38 * 43), "3", "27"]
    assert "head.onnx@add_5: 3 features every 4 pixels" in call("plan", job / "map.yaml", job / "scene.tif").stdout
    assert "their mean over the scene" in call("plan", job / "mean.yaml", job / "scene.tif").stdout


def test_xarray_in_xarray_out(job: Path) -> None:
    raw = read(job / "scene.tif").astype(np.float32)
    raw[:, (raw == 0).any(axis=0)] = np.nan
    scene = xr.DataArray(raw, dims=("band", "y", "x"), coords={"y": np.arange(150.0), "x": np.arange(170.0)})
    bank = f"onnx:{job}/models/resnet.onnx"
    result = pipeline.features(scene.chunk({"band": -1, "y": 40, "x": 64}), bank)
    assert result.shape == (3, 38, 43)
    assert result.y.values[0] == 1.5
    _close(result.values, _whole(job, "resnet.onnx", "add_5"))


def test_inspect_lists_the_tensors_of_a_network(job: Path) -> None:
    facts = call_json("inspect", job / "models" / "head.onnx")
    assert (facts["bands"], facts["inputs"]) == (4, ["x"])
    tensors = {tensor["tensor"]: tensor for tensor in facts["tensors"]}
    assert tensors[MEAN]["mean"] is True
    model = load(job / "models" / "head.onnx")
    assert set(tensors) == {name for node in model.nodes for name in node.outputs if name}
    refused = [tensor for tensor in tensors.values() if "refused" in tensor]
    bank_of = {
        name: NetworkBank(job / "models" / "head.onnx", name, tuple("abcd"), np.zeros(4), np.ones(4))
        for name, tensor in tensors.items()
        if "refused" not in tensor
    }
    assert refused
    for name, bank in bank_of.items():
        assert tensors[name]["features"] == len(bank.features)
        assert tensors[name]["stride"] == [float(step) for step in bank.field.stride]
    printed = call("inspect", job / "models" / "head.onnx")
    assert printed.exit_code == 0
    assert all(name in printed.stdout for name in tensors)
    assert "no: " in printed.stdout
