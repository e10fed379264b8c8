"""The command line as a contract: what each command writes, prints and exits with."""

import json
import os
import signal
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rioxarray  # noqa: F401  (registers .rio)
import xarray as xr
from rio_cogeo.cogeo import cog_validate

from pipeline.cli.main import _COMMANDS
from tests.scenes import CRS, band_psnr, call, call_json, read, small_scene, write_tif


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scene with holes, its truth beside it."""
    folder = tmp_path_factory.mktemp("cli")
    return small_scene(folder / "scene.tif", truth_path=folder / "truth.tif")


@pytest.mark.parametrize("command", _COMMANDS)
def test_every_command_has_help_with_an_example(command: str) -> None:
    result = call(command, "--help")
    assert result.exit_code == 0
    assert f"terrasketch {command}" in result.stdout.partition("Example:")[2]


@pytest.mark.parametrize(
    ("command", "part"), [("compare", "compare_scenes"), ("inspect", "inspect_path"), ("plan", "load_workflow")]
)
def test_what_is_unexpected_says_where_it_comes_from(
    command: str, part: str, scene: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: object, **_words: object) -> None:
        raise KeyError("gone")

    monkeypatch.setattr(import_module(f"pipeline.cli.{_COMMANDS[command][0]}"), part, fail)
    words = [command, scene, scene]
    short, long = call(*words), call(*words, "-v")
    assert (short.exit_code, long.exit_code) == (1, 1)
    (hint,) = short.stderr.splitlines()
    assert hint.endswith("(a bug of ours; -v shows where)")
    assert "Traceback" in long.stderr
    assert ", in fail" in long.stderr


def test_denoise_writes_a_cog_that_keeps_what_it_should(scene: Path, tmp_path: Path) -> None:
    result = call_json("denoise", scene, tmp_path / "clean.tif", "--co", "COMPRESS=ZSTD")
    assert result["tiles"] == 1
    assert cog_validate(tmp_path / "clean.tif", strict=True)[0]
    truth, raw, clean = (read(path) for path in (scene.with_name("truth.tif"), scene, tmp_path / "clean.tif"))
    valid = (raw != 0).all(axis=0)
    assert np.array_equal((clean != 0).all(axis=0), valid)
    gain = band_psnr(truth[:, valid], clean[:, valid]) - band_psnr(truth[:, valid], raw[:, valid])
    assert gain > 3
    with rasterio.open(scene) as source, rasterio.open(tmp_path / "clean.tif") as target:
        assert (source.crs, source.transform, source.nodata) == (target.crs, target.transform, target.nodata)
        assert source.descriptions == target.descriptions
        assert target.compression.name == "zstd"
        assert {name: target.tags()[name] for name in source.tags()} == source.tags()


def test_denoise_takes_bands_sigma_and_writes_zarr(scene: Path, tmp_path: Path) -> None:
    assert call("denoise", scene, tmp_path / "c.zarr", "-b", "1..2", "-b", "4", "--sigma", "80").exit_code == 0
    with xr.open_zarr(tmp_path / "c.zarr", mask_and_scale=False) as opened:
        assert opened.scene.shape == (3, 150, 170)
        assert opened.scene.dtype == "uint16"
        assert opened.rio.crs == CRS
    assert call("denoise", scene, tmp_path / "n.tif", "--quality", "none").exit_code == 0
    assert np.array_equal(read(tmp_path / "n.tif"), read(scene))


@pytest.mark.parametrize(
    ("words", "check"),
    [
        (("--snr", 30), lambda error, pixels: 10 * np.log10((pixels**2).mean() / (error**2).mean()) >= 30),
        (("--rmse", 12), lambda error, pixels: np.sqrt((error**2).mean()) <= 12),
        (("--max-error", 3), lambda error, pixels: np.abs(error).max() <= 3),
        (("--lossless",), lambda error, pixels: not error.any()),
    ],
)
def test_compress_keeps_its_bound_and_decompress_gives_it_back(
    scene: Path, tmp_path: Path, words: tuple[object, ...], check: object
) -> None:
    result = call_json("compress", scene, tmp_path / "s.zarr", *words, "--tile", 96)
    assert result["ratio"] > 1
    assert call("decompress", tmp_path / "s.zarr", tmp_path / "back.tif").exit_code == 0
    raw, back = read(scene).astype(float), read(tmp_path / "back.tif").astype(float)
    valid = raw != 0
    assert np.array_equal(back != 0, valid)
    assert check(raw[valid] - back[valid], raw[valid])
    scores = call_json("compare", scene, tmp_path / "s.zarr")
    assert scores["overall"]["rmse"] == pytest.approx(
        call_json("compare", scene, tmp_path / "back.tif")["overall"]["rmse"]
    )


def test_fit_and_features(scene: Path, tmp_path: Path) -> None:
    bank = tmp_path / "bank.npz"
    fitted = call_json("fit", scene, "-o", bank, "--count", 6, "--seed", 2)
    first = bank.read_bytes()
    assert call("fit", scene, "-o", bank, "--count", 6, "--seed", 2, "--overwrite").exit_code == 0
    assert bank.read_bytes() == first
    words = ["features", scene, tmp_path / "f.zarr", "--bank", bank, "--stride", 4, "--pool", 5]
    assert call(*words).exit_code == 0
    assert call("features", scene, tmp_path / "f.tif", *words[3:]).exit_code == 0
    with xr.open_zarr(tmp_path / "f.zarr") as opened:
        assert opened.features.shape == (fitted["features"], 38, 43)
        np.testing.assert_array_equal(opened.features.values, read(tmp_path / "f.tif"))


def test_features_do_not_depend_on_the_tile(scene: Path, tmp_path: Path) -> None:
    call("fit", scene, "-o", tmp_path / "b.npz", "--count", 6)
    maps = []
    for tile in (32, 75, 512):
        target = tmp_path / f"f{tile}.tif"
        words = ["features", scene, target, "--bank", tmp_path / "b.npz", "--stride", 3, "--tile", tile]
        assert call(*words).exit_code == 0
        maps.append(read(target))
    for other in maps[1:]:
        assert np.array_equal(np.isnan(other), np.isnan(maps[0]))
        assert np.nanmax(np.abs(other - maps[0])) <= 1e-5 * np.nanmax(np.abs(maps[0]))


def test_inspect_knows_scenes_stores_and_banks(scene: Path, tmp_path: Path) -> None:
    facts = call_json("inspect", scene)
    assert facts["shape"] == [4, 150, 170]
    assert facts["crs"] == CRS
    assert len(facts["noise"]) == 4
    assert all(value > 0 for value in facts["noise"].values())
    printed = call("compress", scene, tmp_path / "s.zarr", "--rmse", 20, "--tile", 96).stdout
    store = call_json("inspect", tmp_path / "s.zarr")
    assert f"({store['ratio']:.2f} x smaller)" in printed
    assert store["compress"] == {"bound": "rmse", "value": 20.0}
    assert np.shape(store["rank_per_tile"]) == (2, 2)
    assert store["rmse"] <= 20
    assert (store["missing"], store["cut_short"], store["effort"]) == (0, 0, "fast")
    chunks = [path for path in (tmp_path / "s.zarr" / "scene" / "c").rglob("*") if path.is_file()]
    chunks[0].write_bytes(chunks[0].read_bytes()[:-9])
    chunks[1].write_bytes(b"")
    assert call_json("inspect", tmp_path / "s.zarr")["cut_short"] == 2
    for path in chunks:
        path.write_bytes(b"")
    assert call_json("inspect", tmp_path / "s.zarr")["cut_short"] == len(chunks)
    call("fit", scene, "-o", tmp_path / "b.npz", "--bank", "classic")
    assert call_json("inspect", tmp_path / "b.npz")["bank"] == "classic"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("denoise", "none.tif", "OUT.tif"), 1, "none.tif"),
        (("denoise", "SCENE", "OUT.png"), 2, "outputs end in .zarr (Zarr v3), .tif or .tiff (COG), got .png"),
        (("denoise", "SCENE", "TEXT"), 1, "exists"),
        (("denoise", "SCENE", "OUT.tif", "-b", "9"), 2, "9"),
        (("denoise", "SCENE", "OUT.tif", "-b", "0"), 2, "counted from 1"),
        (("denoise", "SCENE", "OUT.tif", "-b", "x"), 2, "not a band number"),
        (("denoise", "SCENE", "OUT.tif", "--bands", "B99"), 2, "B99"),
        (("denoise", "SCENE", "OUT.tif", "--sigma", "-4"), 2, "positive"),
        (("denoise", "SCENE", "OUT.tif", "--co", "COMPRESS"), 2, "NAME=VALUE"),
        (("denoise", "SCENE", "OUT.tif", "--scheduler", "fibres"), 2, "fibres"),
        (("denoise", "SCENE", "no/such/folder/OUT.tif"), 1, "folder"),
        (("denoise", "SCENE"), 2, "SRC"),
        (("denoise", "TEXT", "OUT.tif"), 1, "text.tif"),
        (("denoise", "EMPTY", "OUT.tif"), 1, "empty.tif"),
        (("denoise", "TORN", "OUT.tif"), 1, "rows"),
        (("denoise", "PALETTE", "OUT.tif"), 1, "palette"),
        (("compress", "SCENE", "OUT.tif"), 2, ".zarr"),
        (("compress", "SCENE", "OUT.zarr", "--snr", "30", "--lossless"), 2, "give one of"),
        (("compress", "SCENE", "OUT.zarr", "--rmse", "-3"), 2, "negative"),
        (("decompress", "SCENE", "OUT.tif"), 1, "not a store"),
        (("features", "SCENE", "OUT.zarr", "--bank", "TEXT"), 2, "text.tif"),
        (("features", "SCENE", "OUT.zarr", "--bank", "no-such-bank"), 2, "no-such-bank"),
        (("features", "SCENE", "OUT.zarr", "--bank", "none.npz"), 1, "none.npz"),
        (("fit", "SCENE", "-o", "OUT.txt"), 2, ".npz"),
        (("fit", "-", "-o", "OUT.npz"), 2, "no scenes"),
        (("denoise", "SCENE", "SCENE", "--overwrite"), 1, "is the input"),
        (("compress", "SCENE", "OUT.zarr", "--snr", "-5"), 2, "--snr"),
        (("run", "none.yaml"), 2, "none.yaml"),
        (("run", "YAML"), 2, "line.yaml:3: unknown key denoise.sigm"),
        (("run", "NOSCENES"), 2, "no scenes"),
        (("compare", "SCENE", "none.tif"), 1, "none.tif"),
        (("inspect", "none.zarr"), 1, "none.zarr"),
        (("nonsense",), 2, "nonsense"),
        ((), 2, "Commands"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    scene: Path, tmp_path: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    places = _bad_files(scene, tmp_path)
    before = sorted(path.name for path in tmp_path.iterdir())
    result = call(*[places.get(word, word.replace("OUT", str(tmp_path / "out"))) for word in words])
    assert result.exit_code == code, result.output
    assert said in result.output
    assert "Traceback" not in result.output
    if words:
        assert len(result.stderr.strip().splitlines()) == 1
        assert result.stderr.startswith("Error: ")
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def _bad_files(scene: Path, folder: Path) -> dict[str, Path]:
    (folder / "text.tif").write_text("not a raster")
    (folder / "empty.tif").write_bytes(b"")
    (folder / "torn.tif").write_bytes(scene.read_bytes()[: scene.stat().st_size * 2 // 3])
    (folder / "line.yaml").write_text("version: 1\ndenoise:\n  sigm: 3\n")
    (folder / "noscenes.yaml").write_text("version: 1\n")
    palette = write_tif(folder / "palette.tif", np.zeros((1, 20, 20), "uint8"), photometric="palette")
    with rasterio.open(palette, "r+") as file:
        file.write_colormap(1, {0: (255, 0, 0, 255), 1: (0, 0, 255, 255)})
    names = {"TEXT": "text.tif", "EMPTY": "empty.tif", "TORN": "torn.tif", "PALETTE": "palette.tif"}
    names |= {"YAML": "line.yaml", "NOSCENES": "noscenes.yaml"}
    return {word: folder / name for word, name in names.items()} | {"SCENE": scene}


def test_a_scene_without_a_valid_pixel_comes_back_as_it_is(tmp_path: Path) -> None:
    empty = write_tif(tmp_path / "e.tif", np.zeros((3, 40, 50), "uint16"), nodata=0)
    assert call("denoise", empty, tmp_path / "c.tif").exit_code == 0
    assert not read(tmp_path / "c.tif").any()
    assert call("compress", empty, tmp_path / "c.zarr").exit_code == 0
    result = call("features", empty, tmp_path / "f.zarr")
    assert result.exit_code == 1
    assert "no valid pixel" in result.stderr


def test_overwrite_replaces(scene: Path, tmp_path: Path) -> None:
    for target in (tmp_path / "c.zarr", tmp_path / "c.tif"):
        assert call("denoise", scene, target, "-b", 1).exit_code == 0
        refused = call("denoise", scene, target)
        assert refused.exit_code == 1
        assert "--overwrite" in refused.stderr
        assert call("denoise", scene, target, "--overwrite").exit_code == 0
        assert call_json("inspect", target)["shape"][0] == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.tif", "c.zarr"]


@pytest.mark.parametrize("target", ["out.zarr", "out.tif"])
def test_a_full_disk_is_one_line_and_leaves_nothing(scene: Path, tmp_path: Path, target: str) -> None:
    script = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000));"
        "from pipeline.cli.main import main; main(sys.argv[1:])"
    )
    words = ["denoise", str(scene), str(tmp_path / target), "--quality", "none"]
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path.parent / "cache")}
    command = [sys.executable, "-c", script, *words]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 1, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("Error")]
    assert len(lines) == 1
    assert "cannot be written" in lines[0]
    assert "files may have no more than 19 KiB here (ulimit -f); raise it" in lines[0]
    assert "free some space" not in lines[0]
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_sigterm_drains_and_the_run_can_be_resumed(tmp_path: Path) -> None:
    scene = small_scene(tmp_path / "scene.tif", height=900, width=900)
    (tmp_path / "job.yaml").write_text("version: 1\nout: out\nread: {tile: 64}\nfeatures: null\nwrite: {cog: []}\n")
    words = [sys.executable, "-m", "pipeline.cli", "run", str(tmp_path / "job.yaml"), str(scene), "--workers", "1"]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    partial = tmp_path / "out/scene/scene.zarr.partial/scene/c/0"
    for _ in range(600):
        if partial.is_dir() and any(partial.iterdir()):
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 130, stderr
    assert "resume" in stderr
    done = len([path for path in partial.rglob("*") if path.is_file()])
    assert 0 < done < 15 * 15
    result = call_json(*words[3:])["scenes"][0]
    assert result["status"] == "done"
    assert result["stages"][0]["resumed"] == done


def test_json_is_the_only_thing_on_stdout(scene: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.cli", "compress", str(scene), str(tmp_path / "s.zarr"), "--json", "-v"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["output"].endswith("s.zarr")
    assert done.stderr.strip()
