"""What networks are given and give: pixels of integers as they are, scenes that are too small, features that are no
numbers; the same from the command, a workflow and the xarray verb."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import rasterio
import rioxarray  # noqa: F401  (registers .rio)
import xarray as xr
from onnx import ModelProto, TensorProto

from pipeline.errors import BankError, ModelError
from pipeline.network.network_bank import NetworkBank
from pipeline.network.onnx_import import load, read
from pipeline.network.survey import survey
from pipeline.network.tiling import Axis
from tests.onnx_models import floats, model, node
from tests.scenes import call, call_json, write_tif
from tests.scenes import read as pixels
from tests.tiny_models import small_unet

SIDES = (70, 61)
CONV = {"pads": [1, 1, 1, 1]}
WORKFLOW = """
version: 1
out: out
read: {{tile: 64}}
denoise: {{quality: none}}
compress: {{lossless: true}}
features: {{bank: "onnx:{path}"{more}}}
write: {{report: false}}
"""


def _integers(kind: int = TensorProto.UINT8, bands: int = 3) -> ModelProto:
    """Pixels over 255, and a convolution."""
    nodes = [node("Cast", "x", "f", to=1), node("Div", "f,d", "s"), node("Conv", "s,w", "y", **CONV)]
    return model(nodes, constants={"d": np.float32(255), "w": floats(4, bands, 3, 3)}, kind=kind)


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scenes of 3 bands in four types, with a hole of 0, and networks."""
    folder = tmp_path_factory.mktemp("pixels")
    block = np.random.default_rng(3).integers(1, 255, (3, *SIDES))
    block[:, 20:24, 30:33] = 0
    for dtype in ("uint8", "int16", "uint16", "float32"):
        write_tif(folder / f"{dtype}.tif", block.astype(dtype), nodata=0)
    models = {
        "uint8": _integers(),
        "int32": _integers(TensorProto.INT32),
        "bool": _integers(TensorProto.BOOL),
        "straight": model([node("Conv", "x,w", "y")], constants={"w": floats(4, 3, 3, 3)}, kind=TensorProto.UINT8),
        "wide": model([node("Conv", "x,w", "y")], constants={"w": floats(2, 3, 65, 65)}),
        "steep": model([node("Conv", "x,w", "h", **CONV), node("Exp", "h", "y")], constants={"w": floats(4, 3, 3, 3)}),
    }
    weights = floats(4, 3, 3, 3)
    weights[2, 0, 0, 0] = np.nan
    models["holed"] = model([node("Conv", "x,w", "y", **CONV)], constants={"w": weights})
    pooled = [node("Conv", "x,w", "h", **CONV), node("GlobalAveragePool", "h", "y")]
    models["pooled"] = model(pooled, constants={"w": weights})
    for name, made in models.items():
        onnx.save(made, folder / f"{name}.onnx")
    return folder


def _seen(job: Path) -> np.ndarray:
    """What the network of uint8 makes of the scene by hand: zeros in the hole, and around the scene."""
    w, block = floats(4, 3, 3, 3).astype(float), pixels(job / "uint8.tif") / 255
    views = np.lib.stride_tricks.sliding_window_view(np.pad(block, [(0, 0), (1, 1), (1, 1)]), (3, 3), (1, 2))
    made = np.einsum("cyxij,fcij->fyx", views, w)
    made[:, 20:24, 30:33] = np.nan
    return made


def _check(found: np.ndarray, wanted: np.ndarray) -> None:
    np.testing.assert_array_equal(np.isnan(found), np.isnan(wanted))
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("scene", "network"), [("uint8", "uint8"), ("uint8", "int32"), ("uint16", "int32")])
@pytest.mark.parametrize("more", [(), ("--normalise", "none"), ("--exact",)])
def test_a_network_of_integers_is_given_the_pixels(
    job: Path, tmp_path: Path, scene: str, network: str, more: tuple[str, ...]
) -> None:
    words = ("features", job / f"{scene}.tif", tmp_path / "f.tif", "--bank", f"onnx:{job}/{network}.onnx", "-v", *more)
    shown = call(*words, "--tile", 32)
    assert shown.exit_code == 0, shown.stderr
    assert f"given the pixels as they are ({network})" in shown.stderr or more == ("--normalise", "none")
    _check(pixels(tmp_path / "f.tif"), _seen(job))


def test_so_are_those_of_workflows_and_of_xarray(job: Path, tmp_path: Path) -> None:
    for name, more in (("default", ""), ("none", ", normalise: none")):
        (tmp_path / f"{name}.yaml").write_text(WORKFLOW.format(path=job / "uint8.onnx", more=more))
        shown = call("run", tmp_path / f"{name}.yaml", job / "uint8.tif", "--out", tmp_path / "out", "--json")
        assert shown.exit_code == 0, shown.stderr
        with xr.open_zarr(tmp_path / "out/uint8/features.zarr") as opened:
            _check(opened.features.values, _seen(job))
    assert json.loads((tmp_path / "out/uint8/receipt.json").read_text())["status"] in ("done", "complete")
    scene = xr.DataArray(pixels(job / "uint8.tif"), dims=("band", "y", "x")).rio.write_nodata(0)
    for given in (scene, scene.chunk(y=32, x=32)):
        _check(given.terrasketch.features(f"onnx:{job}/uint8.onnx").values, _seen(job))


@pytest.mark.parametrize(
    ("scene", "network", "more", "code", "said"),
    [
        ("uint8", "uint8", ("--normalise", "scene"), 2, "its input is uint8, the pixels as they are; leave it out"),
        ("uint16", "uint8", (), 1, "uint16 has pixels of uint16, onnx:uint8.onnx@y takes uint8; convert the scene"),
        ("int16", "uint8", (), 1, "has pixels of int16, onnx:uint8.onnx@y takes uint8"),
        ("float32", "int32", (), 1, "has pixels of float32, onnx:int32.onnx@y takes int32"),
        ("uint8", "bool", (), 1, "onnx:bool.onnx@y takes bool; no scene has such"),
        ("uint8", "straight", (), 1, "operator Conv that makes 'y' takes no uint8, which its input 'x' is"),
        ("uint8", "wide", (), 1, "the network needs at least 65 columns of pixels, got 61; take a larger scene"),
    ],
)
def test_what_a_network_does_not_take_is_one_line_before_any_output(
    job: Path, tmp_path: Path, scene: str, network: str, more: tuple[str, ...], code: int, said: str
) -> None:
    words = ("features", job / f"{scene}.tif", tmp_path / "f.zarr", "--bank", f"onnx:{job}/{network}.onnx", *more)
    result = call(*words)
    assert (result.exit_code, result.stdout) == (code, "")
    assert said in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())
    normalise = "".join(f", {name[2:]}: {word}" for name, word in zip(more[::2], more[1::2], strict=True))
    (tmp_path / "a.yaml").write_text(WORKFLOW.format(path=job / f"{network}.onnx", more=normalise))
    for command in (("run", "--out", tmp_path / "out"), ("plan",)):
        result = call(*command, tmp_path / "a.yaml", job / f"{scene}.tif")
        assert result.exit_code != 0
        assert said in result.stderr
    assert not (tmp_path / f"out/{scene}/scene.zarr").exists()
    if not more:
        block = xr.DataArray(pixels(job / f"{scene}.tif"), dims=("band", "y", "x"))
        with pytest.raises((BankError, ModelError), match=said.split(";")[0].removeprefix("uint16 ")):
            block.chunk(y=32, x=32).terrasketch.features(f"onnx:{job}/{network}.onnx")


def test_a_bank_of_integers_has_no_normalisation(job: Path) -> None:
    with pytest.raises(BankError, match="takes pixels of uint8 as they are"):
        NetworkBank(job / "uint8.onnx", "y", ("a", "b", "c"), np.ones(3), np.ones(3))


def test_integers_are_followed_through_what_moves_them_about() -> None:
    weights = {"w": floats(4, 3, 3, 3)}
    moved = [node("Transpose", "x", "t", perm=[0, 3, 1, 2]), node("Conv", "t,w", "y")]
    with pytest.raises(ModelError, match="operator Conv that makes 'y' takes no uint8, which its input 't' is"):
        read(model(moved, constants=weights, kind=TensorProto.UINT8))
    with pytest.raises(ModelError, match="operator Sigmoid that makes 'y' takes no bool, which its input 'x' is"):
        read(model([node("Sigmoid", "x", "y")], kind=TensorProto.BOOL))
    assert read(model(moved, constants=weights)).dtypes == {"x": np.float32}
    cast = [moved[0], node("Cast", "t", "f", to=1), node("Conv", "f,w", "y")]
    assert read(model(cast, constants=weights, kind=TensorProto.UINT8)).dtypes == {"x": np.uint8}


def test_inspect_says_what_a_network_takes(job: Path) -> None:
    assert call_json("inspect", job / "uint8.onnx")["dtype"] == "uint8"
    assert call_json("inspect", job / "wide.onnx")["dtype"] == "float32"


def test_a_scene_as_large_as_what_the_network_sees_is_one_cell(job: Path) -> None:
    field = survey(load(job / "wide.onnx"), 3).field("y")
    assert Axis(field, 0, 65).places == 1
    for length, least in ((64, 65), (2, 65), (1, 65)):
        with pytest.raises(BankError, match=f"needs at least {least} columns of pixels, got {length}"):
            Axis(field, 1, length)


def test_blocks_that_are_continued_stay(tmp_path: Path) -> None:
    """A U-Net's first length is its block, of which a scene may be a part; one without pads asks for more."""
    small_unet(tmp_path / "u.onnx", 1)
    assert Axis(survey(load(tmp_path / "u.onnx"), 1).field("conv_6"), 0, 1).padded == 2
    graph = read(model([node("Conv", "x,w", "y", strides=[8, 8])], constants={"w": floats(2, 3, 21, 21)}))
    field = survey(graph, 3).field("y")
    assert Axis(field, 0, 21).places == 1
    with pytest.raises(BankError, match="needs at least 21 rows of pixels, got 20"):
        Axis(field, 0, 20)


def test_a_network_that_sees_a_thousand_pixels_has_a_halo() -> None:
    graph = read(model([node("Conv", "x,w", "y")], constants={"w": floats(1, 1, 1301, 1)}))
    assert survey(graph, 1).field("y").halo[:3] == (650, 0, 650)


@pytest.mark.parametrize("scheduler", ["threads", "processes"])
@pytest.mark.parametrize("tile", [32, 64])
def test_features_that_are_no_numbers_are_counted(job: Path, tmp_path: Path, scheduler: str, tile: int) -> None:
    words = ("features", job / "uint8.tif", tmp_path / "f.tif", "--bank", f"onnx:{job}/steep.onnx")
    shown = call(*words, "--normalise", "none", "--tile", tile, "--scheduler", scheduler, "--workers", 2, "-q")
    assert shown.exit_code == 0
    found = pixels(tmp_path / "f.tif")
    bad = ~np.isfinite(found)
    bad[:, 20:24, 30:33] = False
    assert bad.sum() > 0
    said = f"Warning: uint8: {bad.sum()} values of {bad.any(axis=(1, 2)).sum()} features of onnx:steep.onnx@y, where"
    (line,) = shown.stderr.strip().splitlines()
    assert line.startswith(said)
    assert line.endswith("try --normalise scene (features.normalise in a workflow), or an earlier tensor with @TENSOR")


def test_weights_that_are_no_numbers_are_said_and_spoil_nothing_else(job: Path, tmp_path: Path) -> None:
    bank = f"onnx:{job}/holed.onnx"
    for dtype in ("float32", "int8"):
        words = ("features", job / "uint8.tif", tmp_path / f"{dtype}.tif", "--bank", bank, "--dtype", dtype)
        first, last = call(*words).stderr.strip().splitlines()
        assert first.startswith("Warning: onnx:holed.onnx@y: NaN in 1 weight (of w), and so in the features")
        assert last.startswith(f"Warning: uint8: {70 * 61 - 12} values of 1 feature of onnx:holed.onnx@y, where pixels")
    wanted = pixels(tmp_path / "float32.tif")
    with rasterio.open(tmp_path / "int8.tif") as file:
        scale, offset = (np.array(values)[:, None, None] for values in (file.scales, file.offsets))
        codes = file.read(masked=True)
    assert codes.mask[2].all()
    error = np.abs(codes * scale + offset - np.ma.masked_invalid(wanted))[[0, 1, 3]]
    assert error.count() == 3 * (70 * 61 - 12)
    assert error.max() < 0.51 * scale.max()


def test_the_mean_over_a_scene_says_so_too(job: Path, tmp_path: Path) -> None:
    shown = call("features", job / "uint8.tif", tmp_path / "f.tif", "--bank", f"onnx:{job}/pooled.onnx")
    assert "values of 1 feature of onnx:pooled.onnx@y" in shown.stderr
    assert np.isfinite(pixels(tmp_path / "f.tif")).ravel().tolist() == [True, True, False, True]


def test_a_run_says_so_once(job: Path, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(WORKFLOW.format(path=job / "holed.onnx", more=""))
    first, second = (call("run", tmp_path / "a.yaml", job / "uint8.tif", "--out", tmp_path / "out") for _ in range(2))
    assert first.exit_code == second.exit_code == 0
    assert first.stderr.count("values of 1 feature of onnx:holed.onnx@y, where pixels are valid") == 1
    assert "where pixels are valid" not in second.stderr


def test_holes_of_the_scene_are_no_such_features(job: Path, tmp_path: Path) -> None:
    shown = call("features", job / "uint8.tif", tmp_path / "f.tif", "--bank", "classic", "--stride", 4, "-q")
    assert (shown.exit_code, shown.stderr) == (0, "")
