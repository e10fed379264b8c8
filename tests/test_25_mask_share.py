"""What a mask takes out is said: its share, and a warning where a coding that does not fit takes out nothing or all."""

from pathlib import Path

import numpy as np
import pytest

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


@pytest.mark.parametrize(
    "words", [("denoise", "d.tif"), ("denoise", "d.zarr", "--quality", "none"), ("compress", "c.zarr")]
)
def test_the_share_is_counted_over_valid_pixels_tile_by_tile(scene: Path, words: tuple[str, ...]) -> None:
    command, name, *more = words
    result = call(command, scene, scene.with_name(name), "--tile", 16, "--mask-band", 3, ALL, *more, "-v")
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
    assert facts == {"name": "3", "out": "values 4", "valid_pixels": 64 * 84, "share": pytest.approx(24 / 84)}
    (out / "s" / "item.json").unlink()  # all tiles are there
    assert call_json("run", job, "--out", out)["scenes"][0]["facts"]["mask"] == facts


def test_a_mask_that_takes_out_nothing_or_everything_is_warned_of(scene: Path) -> None:
    mask = all_out(scene)
    for command, name in (("denoise", "d.tif"), ("compress", "c.zarr"), ("fit", "-o"), ("features", "f.zarr")):
        target = ("-o", scene.with_name("b.npz"), "--bank", "classic") if command == "fit" else (scene.with_name(name),)
        target += ("--bank", "classic", "--stride", 8) if command == "features" else ()
        result = call(command, scene, *target, "--mask-band", 3, NONE)
        lines = [line for line in result.stderr.splitlines() if line.startswith("Warning: ")]
        assert result.exit_code == 0
        assert len(lines) == 1
        assert "s: the mask 3 (values 77) takes none of the valid pixels out" in lines[0]
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
