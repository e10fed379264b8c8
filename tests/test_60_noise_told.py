"""The noise reduction that a report tells, beside the truth."""

import re
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
