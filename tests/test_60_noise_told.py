"""The noise reduction that a report tells, beside the truth."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from tests.raster_files import write_tif
from tests.scenes import call, call_json, read

SIGMA = 10.0


def _truth() -> NDArray[np.float64]:
    """Five bands of three smooth sources."""
    rng = np.random.default_rng(3)
    sources = np.stack([gaussian_filter(rng.normal(size=(128, 128)), 5) for _ in range(3)])
    sources *= 600 / sources.std(axis=(1, 2), keepdims=True)
    return 3000 + np.einsum("bk,kyx->byx", rng.uniform(0.3, 1.0, (5, 3)), sources)


def _run(folder: Path, compress: str, denoise: str = "{quality: fast}") -> tuple[str, float, str, float]:
    """The headline's figure and remark, the median of σ before over σ after of the table, and the true reduction."""
    truth = _truth()
    noisy = np.rint(truth + np.random.default_rng(4).normal(0, SIGMA, truth.shape)).astype(np.uint16)
    write_tif(folder / "scene.tif", noisy)
    (folder / "job.yaml").write_text(
        f"version: 1\nsources: [scene.tif]\nout: out\nread: {{tile: 128}}\ndenoise: {denoise}\n"
        f"compress: {compress}\nwrite: {{cog: [denoised], report: true}}\n"
    )
    result = call("run", folder / "job.yaml")
    assert result.exit_code == 0, result.stderr
    page = (folder / "out/scene/report.html").read_text()
    found = re.search(r"Noise (?:reduction|after storing)</.*?>([^<>]+)<.*?>([^<>]*median[^<>]*)<", page, re.DOTALL)
    assert found is not None
    text, remark = found.groups()
    rows = re.findall(r"<th scope=.row.>band_\d</th>((?:<td>.*?</td>)+)", page)
    cells = [re.findall("<td>(.*?)</td>", row) for row in rows]
    told = np.median([20 * np.log10(float(row[2]) / float(row[-1])) for row in cells])
    stored = read(folder / "out/scene/denoised.tif")
    before, after = (np.sqrt(np.square(block - truth).mean(axis=(1, 2))) for block in (noisy, stored))
    return text, float(told), remark, float(np.median(20 * np.log10(before / after)))


@pytest.mark.parametrize("denoise", ["{quality: fast}", "{quality: none}"])
def test_what_storing_adds_is_no_gain(tmp_path: Path, denoise: str) -> None:
    text, told, remark, true = _run(tmp_path, "{snr: 42}", denoise)
    assert true < -5
    assert text.endswith("×")
    times = float(text.split("×")[0])
    assert -20 * np.log10(times) == pytest.approx(true, abs=1.5)
    assert times == pytest.approx(10 ** (-told / 20), abs=0.08)
    assert "coarser than the noise" in remark


def test_without_loss_it_is_the_noise_that_inspect_finds(tmp_path: Path) -> None:
    text, told, remark, true = _run(tmp_path, "{lossless: true}")
    before, after = (
        np.array(list(call_json("inspect", path)["noise"].values()))
        for path in (tmp_path / "scene.tif", tmp_path / "out/scene/denoised.tif")
    )
    headline = float(text.split()[0])
    assert headline == pytest.approx(np.median(20 * np.log10(before / after)), abs=0.06)
    assert told == pytest.approx(headline, abs=0.1)
    assert true > 3
    assert text.endswith("dB")
    assert remark == "median of the bands"


def _rows(page: str) -> dict[str, list[float]]:
    """The figures of each band in the table of noise, without units."""
    rows = re.findall(r"<th scope=.row.>(band_\d)</th>((?:<td>.*?</td>)+)", page)
    return {name: [float(cell.split()[0]) for cell in re.findall("<td>(.*?)</td>", row)] for name, row in rows}


def _uneven(folder: Path, write: str = "{report: true}") -> NDArray[np.float32]:
    """A scene of four tiles whose bands differ in level and noise by a factor of a thousand, not denoised; its job."""
    levels = np.array([0.1, 0.3, 1, 20, 100])
    block = _truth() / 3000 * levels[:, None, None]
    block = (block + np.random.default_rng(6).normal(0, 0.01, block.shape) * levels[:, None, None]).astype(np.float32)
    write_tif(folder / "scene.tif", block)
    (folder / "job.yaml").write_text(
        f"version: 1\nsources: [scene.tif]\nout: out\nread: {{tile: 64}}\ndenoise: {{quality: none}}\n"
        f"compress: {{snr: 45}}\nwrite: {write}\n"
    )
    return block


def test_each_band_has_an_error_of_storing_of_its_own(tmp_path: Path) -> None:
    block = _uneven(tmp_path, "{cog: [denoised], report: true}")
    assert call("run", tmp_path / "job.yaml").exit_code == 0
    stored = read(tmp_path / "out/scene/denoised.tif")
    error = np.sqrt(np.square(stored.astype(np.float64) - block).mean(axis=(1, 2)))
    assert error.max() > 10 * error.min()
    found = np.array(list(call_json("inspect", tmp_path / "out/scene/denoised.tif")["noise"].values()))
    rows = np.array(list(_rows((tmp_path / "out/scene/report.html").read_text()).values()))
    np.testing.assert_allclose(rows[:, -2], error, rtol=0.006)
    np.testing.assert_allclose(rows[:, -1], np.hypot(found, error), rtol=0.006)
    facts = json.loads((tmp_path / "out/scene/receipt.json").read_text())["facts"]["storing"]
    np.testing.assert_allclose(list(facts["rmse"].values()), error, rtol=1e-6)
    assert facts["tiles"] == [4, 4]


@pytest.mark.parametrize("left", ["the store", "some tiles", "damage"])
def test_a_run_that_finds_tiles_done_tells_the_same(tmp_path: Path, left: str) -> None:
    _uneven(tmp_path)
    assert call("run", tmp_path / "job.yaml").exit_code == 0
    out = tmp_path / "out/scene"
    facts, rows = json.loads((out / "receipt.json").read_text())["facts"], _rows((out / "report.html").read_text())
    (out / "report.html").unlink()
    chunk = out / "scene.zarr/scene/c/0/1/1"
    if left == "some tiles":  # as a run that was killed leaves it
        chunk.unlink()
        (out / "receipt.json").unlink()
        shutil.move(out / "scene.zarr", out / "scene.zarr.partial")
    elif left == "damage":
        chunk.write_bytes(chunk.read_bytes()[:-1])
    assert call("run", tmp_path / "job.yaml").exit_code == 0
    again = json.loads((out / "receipt.json").read_text())["facts"]
    assert again["storing"] == facts["storing"]
    assert _rows((out / "report.html").read_text()) == rows


def test_of_another_configuration_nothing_is_recalled(tmp_path: Path) -> None:
    _uneven(tmp_path)
    assert call("run", tmp_path / "job.yaml").exit_code == 0
    out = tmp_path / "out/scene"
    receipt = json.loads((out / "receipt.json").read_text())
    true = receipt["facts"]["storing"]["rmse"]
    receipt["facts"]["storing"] |= {"configuration_hash": "0", "rmse": dict.fromkeys(true, 7.0)}
    (out / "receipt.json").write_text(json.dumps(receipt))
    (out / "report.html").unlink()
    assert call("run", tmp_path / "job.yaml").exit_code == 0
    assert json.loads((out / "receipt.json").read_text())["facts"]["storing"]["rmse"] == true


def test_a_bound_finer_than_the_noise_is_not_called_coarser(tmp_path: Path) -> None:
    text, _, remark, _ = _run(tmp_path, "{max_error: 2}", "{quality: none}")
    assert text == "1.0×"
    assert "coarser" not in remark
    times = re.search(r"the error of storing is ([\d.]+) times the noise", remark)
    assert times is not None
    assert float(times[1]) == pytest.approx(np.sqrt(2) / SIGMA, rel=0.1)
