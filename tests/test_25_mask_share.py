"""What a mask takes out is said: its share, and a warning where a coding that does not fit takes out nothing or all."""

from pathlib import Path

import numpy as np
import pytest
import rasterio

from tests.raster_files import numbers
from tests.scenes import call, call_json, write_tif

ALL, NONE = "--mask-values=4", "--mask-values=77"


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    """Two bands and a mask of 64 x 96 pixels, a quarter of them 4, an eighth invalid."""
    mask = np.full((1, 64, 96), 5, "uint16")
    mask[0, :, :24] = 4
    block = np.concatenate([numbers(2, 64, 96).astype("uint16") % 900 + 100, mask])
    block[:2, :, 84:] = 0
    return write_tif(tmp_path / "s.tif", block, nodata=0)


def all_out(scene: Path) -> Path:
    """A mask that is 4 everywhere."""
    return write_tif(scene.with_name("m.tif"), np.full((1, 64, 96), 4, "uint8"))


def test_the_share_is_counted_over_valid_pixels_tile_by_tile(scene: Path) -> None:
    result = call("denoise", scene, scene.with_name("d.tif"), "--tile", 16, "--mask-band", 3, ALL, "-v")
    assert result.exit_code == 0, result.stderr
    share = 100 * 24 / 84
    assert f"the mask 3 (values 4) takes {share:.1f} % of the valid pixels out" in result.stderr
    assert "Warning" not in result.stderr


def test_run_writes_the_share_into_the_receipt(scene: Path) -> None:
    job = scene.with_name("w.yaml")
    job.write_text(
        "version: 1\nsources: [s.tif]\nread: {tile: 32, mask_band: '3', mask_values: [4]}\nfeatures: null\n"
        "write: {cog: [], report: false}\n"
    )
    out = scene.with_name("out")
    facts = call_json("run", job, "--out", out)["scenes"][0]["facts"]["mask"]
    assert facts == {"name": "3", "out": "values 4", "valid_pixels": 64 * 84, "clouded_tiles": 0} | dict.fromkeys(
        ("share", "effective_share"), pytest.approx(24 / 84)
    )
    (out / "s" / "item.json").unlink()  # all tiles are there
    assert call_json("run", job, "--out", out)["scenes"][0]["facts"]["mask"] == facts


def test_a_mask_that_takes_out_nothing_or_everything_is_warned_of(scene: Path) -> None:
    mask = all_out(scene)
    for command, name in (("denoise", "d.tif"), ("fit", "-o"), ("features", "f.zarr")):
        target = ("-o", scene.with_name("b.npz"), "--bank", "classic") if command == "fit" else (scene.with_name(name),)
        target += ("--bank", "classic", "--stride", 8) if command == "features" else ()
        result = call(command, scene, *target, "--mask-band", 3, NONE)
        lines = [line for line in result.stderr.splitlines() if line.startswith("Warning: ")]
        assert result.exit_code == 0
        assert len(lines) == 1
        assert (
            "s: the mask 3 (values 77) takes none of the valid pixels out of learning; unless the scene is" in lines[0]
        )
        quiet = call(command, scene, *target, "--mask-band", 3, NONE, "--overwrite", "-q")
        assert quiet.stderr.splitlines() == lines  # no progress, but what may be wrong
    result = call("denoise", scene, scene.with_name("e.tif"), "-b", "1,2", "--mask-band", f"scl:{mask}", ALL)
    assert "(values 4) takes all of the valid pixels out" in result.stderr


@pytest.mark.parametrize("bank", ["classic", "rcf-mixed"])
def test_a_mask_that_leaves_nothing_to_learn_from_is_named(scene: Path, bank: str) -> None:
    words = ("--bank", bank, "--mask-band", all_out(scene), ALL)
    for command in (("fit", scene, "-o", scene.with_name("b.npz")), ("features", scene, scene.with_name("f.zarr"))):
        result = call(*command, *words)
        assert result.exit_code == 1
        (line,) = [line for line in result.stderr.splitlines() if line.startswith("Error")]
        assert "m.tif (values 4) takes every valid pixel of s out" in line
        assert "nodata" not in line
    (job := scene.with_name("w.yaml")).write_text(
        f"version: 1\nsources: [s.tif]\nread: {{mask_band: m.tif, mask_values: [4]}}\nfeatures: {{bank: {bank}}}\n"
        "write: {cog: [], report: false}\n"
    )
    result = call("run", job, "--out", scene.with_name("out"))
    assert result.exit_code == 3
    assert "m.tif (values 4) takes every valid pixel of s out" in result.stderr.splitlines()[-1]


def clouded(path: Path, columns: int) -> Path:
    """Two bands of noise and a mask SCL of 64 x 128 pixels, cloud in the first columns."""
    scl = np.full((1, 64, 128), 4, "uint16")
    scl[0, :, :columns] = 9
    block = np.random.default_rng(len(path.name)).normal(900, 20, (2, 64, 128)).astype("uint16")
    write_tif(path, np.concatenate([block, scl]))
    with rasterio.open(path, "r+") as file:
        file.descriptions = ("a", "b", "SCL")
    return path


def warned(stderr: str) -> list[str]:
    return [line for line in stderr.splitlines() if line.startswith("Warning: ")]


def test_tiles_that_learn_from_masked_pixels_too_are_told(tmp_path: Path) -> None:
    words = (clouded(tmp_path / "s.tif", 64), tmp_path / "d.zarr", "--mask-band", "SCL", "--tile", 32)
    result = call("denoise", *words)
    # With its halo of 32 pixels the first column of tiles is cloudy, and the second is half clear: 64 x 96 pixels.
    (line,) = warned(result.stderr)
    assert (
        "9, 10) takes 25.0 % of the valid pixels out of learning, of 50.0 % masked: 2 of 8 tiles are less than 25 %"
        in line
    )
    assert "clear and learn from masked pixels, too; give --basis scene, which learns for" in line
    result = call("denoise", *words, "--basis", "scene", "--overwrite", "-v")
    assert "takes 50.0 % of the valid pixels out of learning\n" in result.stderr
    assert warned(result.stderr) == []
    (job := tmp_path / "w.yaml").write_text(
        "sources: [s.tif]\nread: {tile: 32, mask_band: SCL}\nfeatures: null\nwrite: {cog: [], report: false}\n"
    )
    facts = call_json("run", job, "--out", tmp_path / "out")["scenes"][0]["facts"]["mask"]
    assert (facts["share"], facts["effective_share"], facts["clouded_tiles"]) == (0.5, 0.25, 2)


def test_of_dates_the_one_that_is_masked_most_is_named(tmp_path: Path) -> None:
    dates = [
        clouded(tmp_path / f"{day}.tif", columns)
        for day, columns in (("20160101", 9), ("20160201", 126), ("20160301", 0))
    ]
    result = call("denoise", *dates, tmp_path / "d.zarr", "--stack", "--mask-band", "SCL")
    (line,) = warned(result.stderr)
    assert (
        "takes none of the valid pixels out of learning, of 98.4 % masked: 1 of 1 tile is less than 25 % clear" in line
    )
    assert "(most are masked on 2016-02-01); leave that date out" in line
    dates = dates[::2]  # one date takes out some: the coding is right
    result = call("denoise", *dates, tmp_path / "e.zarr", "--stack", "--mask-band", "SCL", "-v")
    assert warned(result.stderr) == []
    assert "takes 7.0 % of the valid pixels out of learning\n" in result.stderr
    result = call("fit", *dates, "-o", tmp_path / "b.npz", "--mask-band", "SCL", "-v")
    assert warned(result.stderr) == []


def test_what_is_not_denoised_has_no_use_for_a_mask(scene: Path) -> None:
    result = call("compress", scene, scene.with_name("c.zarr"), "--mask-band", 3, NONE, "-v")
    assert warned(result.stderr) == []
    assert "s: the mask 3 (values 77) is without effect on what is stored: nothing is denoised\n" in result.stderr
