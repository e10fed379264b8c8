"""Scores in sums over tiles equal the textbook on the whole scene."""

import json
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from scipy import ndimage
from skimage.metrics import structural_similarity

from pipeline.errors import BlockError
from pipeline.flow import compare as module
from pipeline.flow.read import open_scene
from tests.scenes import CRS, TRANSFORM, call, call_json, read, write_tif


def _pair(folder: Path, shape: tuple[int, int, int], **profile: object) -> tuple[np.ndarray, np.ndarray, Path, Path]:
    rng = np.random.default_rng([5])
    a = rng.integers(100, 900, shape).astype("uint16")
    b = (a + rng.integers(-20, 20, shape)).astype("uint16")
    return a, b, write_tif(folder / "a.tif", a, **profile), write_tif(folder / "b.tif", b, **profile)


def test_scores_equal_the_textbook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TILE", 23)
    a, b, path_a, path_b = _pair(tmp_path, (3, 60, 71))
    result = module.compare(open_scene(str(path_a)), open_scene(str(path_b)))
    x, y = a.astype(float), b.astype(float)
    error = ((x - y) ** 2).mean(axis=(1, 2))
    for band, scores in enumerate(result.bands.values()):
        peak = np.ptp(x[band])
        assert scores.rmse == pytest.approx(np.sqrt(error[band]))
        assert scores.snr == pytest.approx(10 * np.log10((x[band] ** 2).mean() / error[band]))
        assert scores.psnr == pytest.approx(10 * np.log10(peak**2 / error[band]))
        assert scores.max_error == np.abs(x[band] - y[band]).max()
        assert scores.ssim == pytest.approx(structural_similarity(x[band], y[band], data_range=peak), abs=1e-9)
    cosine = (x * y).sum(0) / np.sqrt((x**2).sum(0) * (y**2).sum(0))
    assert result.overall.sam == pytest.approx(np.degrees(np.arccos(cosine)).mean())
    assert result.overall.rmse == pytest.approx(np.sqrt(error.mean()))
    assert result.pixels == 60 * 71


def test_only_pixels_valid_in_both_count(tmp_path: Path) -> None:
    a, b, path_a, path_b = _pair(tmp_path, (2, 40, 40), nodata=0)
    a[:, :10], b[:, 10:15] = 0, 0
    write_tif(path_a, a, nodata=0), write_tif(path_b, b, nodata=0)
    result = module.compare(open_scene(str(path_a)), open_scene(str(path_b)))
    inner = (a[:, 15:].astype(float) - b[:, 15:]) ** 2
    assert result.pixels == 25 * 40
    assert result.alone == (5 * 40, 10 * 40)
    told = "Warning: 200 pixels with values in A alone, 400 in B alone: not compared"
    assert told in call("compare", path_a, path_b).stderr
    assert result.overall.rmse == pytest.approx(np.sqrt(inner.mean()))
    ssim = structural_similarity(a[0, 15:].astype(float), b[0, 15:].astype(float), data_range=np.ptp(a[0, 15:]))
    assert next(iter(result.bands.values())).ssim == pytest.approx(ssim, abs=0.01)


def test_what_b_holds_for_missing_is_no_peak_of_a(tmp_path: Path) -> None:
    a, b, path_a, path_b = _pair(tmp_path, (2, 40, 40))
    a[:, :8, :8] = b[:, :8, :8] = 65535
    write_tif(path_a, a), write_tif(path_b, b, nodata=65535)
    found = module.compare(open_scene(str(path_a)), open_scene(str(path_b)))
    told = module.compare(open_scene(str(path_a), nodata=65535), open_scene(str(path_b)))
    assert found.alone == (8 * 8, 0)
    assert replace(found, alone=(0, 0)) == told
    assert found.overall.psnr < 40  # of errors of 12 in 800


def test_bands_are_compared_where_they_have_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TILE", 17)
    a, b, path_a, path_b = _pair(tmp_path, (3, 40, 40))
    a[2, :, :10] = b[2, :, :10] = 0
    a[:, 30:, 30:] = b[:, 30:, 30:] = 0
    a[1, :5, 20:] = 0
    write_tif(path_a, a, nodata=0), write_tif(path_b, b, nodata=0)
    result = module.compare(open_scene(str(path_a)), open_scene(str(path_b)))
    assert (result.pixels, result.alone, result.partial) == (1500, (0, 0), 500)
    errors = []
    for x, y, scores in zip(a.astype(float), b.astype(float), result.bands.values(), strict=True):
        both = (x > 0) & (y > 0)
        errors.append(((x - y) ** 2)[both])
        assert scores.rmse == pytest.approx(np.sqrt(errors[-1].mean()))
        assert scores.snr == pytest.approx(10 * np.log10((x[both] ** 2).mean() / errors[-1].mean()))
        assert scores.psnr == pytest.approx(10 * np.log10(np.ptp(x[both]) ** 2 / errors[-1].mean()))
        assert scores.max_error == np.sqrt(errors[-1].max())
    assert result.overall.rmse == pytest.approx(np.sqrt(np.concatenate(errors).mean()))
    whole = ((a > 0) & (b > 0)).all(axis=0)
    x, y = a[:, whole].astype(float), b[:, whole].astype(float)
    cosine = (x * y).sum(0) / np.sqrt((x**2).sum(0) * (y**2).sum(0))
    assert result.overall.sam == pytest.approx(np.degrees(np.arccos(cosine)).mean())
    shown = call("compare", path_a, path_b, "--json")
    assert "Warning: 500 pixels lack a band: compared in the others" in shown.stderr
    assert json.loads(shown.stdout)["lacking_a_band"] == 500


def test_a_band_without_a_value_in_common_has_no_scores(tmp_path: Path) -> None:
    a, b, path_a, path_b = _pair(tmp_path, (2, 20, 20))
    a[0] = 0
    write_tif(path_a, a, nodata=0), write_tif(path_b, b, nodata=0)
    shown = json.loads(call("compare", path_a, path_b, "--json").stdout)
    empty, full = shown["bands"].values()
    assert set(empty.values()) == {None}
    assert {name: shown["overall"][name] for name in full if name != "sam"} == {
        k: v for k, v in full.items() if k != "sam"
    }
    a[:] = 0
    write_tif(path_a, a, nodata=0)
    assert "no valid pixel in common" in call("compare", path_a, path_b).stderr


def test_equal_scenes_are_infinitely_alike(tmp_path: Path) -> None:
    _, _, path, _ = _pair(tmp_path, (2, 20, 20))
    result = module.compare(open_scene(str(path)), open_scene(str(path)))
    assert result.overall.snr == float("inf")
    assert result.overall.to_json()["snr"] is None
    assert result.overall.ssim == pytest.approx(1)
    assert result.overall.sam == pytest.approx(0, abs=1e-5)


def test_scenes_of_two_shapes_are_refused(tmp_path: Path) -> None:
    _, _, path, _ = _pair(tmp_path, (2, 20, 20))
    other = write_tif(tmp_path / "c.tif", np.ones((2, 20, 21), "uint16"))
    with pytest.raises(BlockError, match="2 x 20 x 20, c is 2 x 20 x 21"):
        module.compare(open_scene(str(path)), open_scene(str(other)))


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize(
    ("profile", "says"),
    [
        ({}, None),
        ({"transform": TRANSFORM * TRANSFORM.translation(1e-4, 0)}, None),
        ({"crs": None, "transform": None}, None),
        ({"crs": None}, None),
        (
            {"transform": TRANSFORM * TRANSFORM.translation(300, 0)},
            "its transform is 20, 0, 441740, 0, -20, 4179460, that of a 20, 0, 435740, 0, -20, 4179460",
        ),
        ({"transform": TRANSFORM * TRANSFORM.scale(1.01)}, "its transform is 20.2, 0, 435740, 0, -20.2, 4179460"),
        ({"crs": "EPSG:32619"}, f"its CRS is EPSG:32619, that of a {CRS}"),
    ],
)
def test_scenes_that_lie_elsewhere_are_warned_of(tmp_path: Path, profile: dict[str, object], says: str | None) -> None:
    block = np.random.default_rng([6]).integers(1, 900, (2, 20, 20)).astype("uint16")
    a, b = write_tif(tmp_path / "a.tif", block), write_tif(tmp_path / "b.tif", block, **profile)
    alike, result = call("compare", a, a), call("compare", a, b)
    assert (result.exit_code, result.stdout, alike.stderr) == (0, alike.stdout, "")
    if says is None:
        assert result.stderr == ""
        return
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"Warning: b lies elsewhere than a: {says}")
    assert line.endswith("; pixels are compared by row and column all the same")


@pytest.mark.parametrize(("dtype", "other"), [("int64", "int64"), ("uint64", "uint64"), ("uint64", "int64")])
def test_integers_that_are_no_floats_are_told_apart(tmp_path: Path, dtype: str, other: str) -> None:
    block = np.random.default_rng([9]).integers(2**60, 2**60 + 9, (2, 40, 40)).astype(dtype)
    moved = block.astype(other)
    moved[1, 5:15, 5:15] += 1
    a, b = write_tif(tmp_path / "a.tif", block), write_tif(tmp_path / "b.tif", moved)
    result = module.compare(open_scene(str(a)), open_scene(str(b)))
    (same, differs) = result.bands.values()
    assert (same.max_error, same.rmse, differs.max_error) == (0, 0, 1)
    assert differs.rmse == np.sqrt(100 / 1600)
    assert differs.psnr == pytest.approx(10 * np.log10(8**2 / (100 / 1600)))


def test_the_ends_of_64_bits_are_as_far_apart_as_they_are(tmp_path: Path) -> None:
    block = np.full((1, 8, 8), -(2**63), "int64")
    a, b = write_tif(tmp_path / "a.tif", block), write_tif(tmp_path / "b.tif", np.full((1, 8, 8), 2**64 - 1, "uint64"))
    for one, other in ((a, b), (b, a)):
        assert module.compare(open_scene(str(one)), open_scene(str(other))).overall.max_error == 1.5 * 2**64


def test_ssim_far_from_zero_is_that_of_the_contrast(tmp_path: Path) -> None:
    rng = np.random.default_rng([8])
    near = ndimage.uniform_filter(rng.normal(0, 100, (1, 60, 60)), (0, 5, 5))
    blurred = near + rng.normal(0, 5, near.shape)
    a, b = (write_tif(tmp_path / f"{name}.tif", block + 1e9) for name, block in (("a", near), ("b", blurred)))
    # Far away the means are alike to the last digit: what is left is the second factor of the equation.
    x, y = (read(path)[0] - 1e9 for path in (a, b))
    peak = np.ptp(x)
    expected = structural_similarity(x + 1e4 * peak, y + 1e4 * peak, data_range=peak)
    assert module.compare(open_scene(str(a)), open_scene(str(b))).overall.ssim == pytest.approx(expected, abs=1e-5)
    assert module.compare(open_scene(str(a)), open_scene(str(a))).overall.ssim == pytest.approx(1, abs=1e-12)


def test_values_that_overflow_end_in_figures_without_a_word(tmp_path: Path) -> None:
    rng = np.random.default_rng([4])
    block = rng.normal(100, 9, (2, 40, 40))
    block[:, :9, :9] = -1.797e308
    off = block + rng.normal(0, 1, block.shape)
    a, b = write_tif(tmp_path / "a.tif", block), write_tif(tmp_path / "b.tif", off)
    huge = write_tif(tmp_path / "c.tif", -block)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same, other = call("compare", a, a, "--json"), call("compare", a, b, "--json")
        apart = call("compare", a, huge)
    assert (same.exit_code, other.exit_code, same.stderr, other.stderr) == (0, 0, "", "")
    assert (apart.exit_code, apart.stderr) == (0, "")
    overall = json.loads(other.stdout)["overall"]
    assert (overall["snr"], overall["psnr"], overall["ssim"]) == (None, None, None)  # no number says it
    assert overall["rmse"] == pytest.approx(np.sqrt(((off - block) ** 2).mean()))
    assert json.loads(same.stdout)["overall"]["max_error"] == 0
    assert "inf" in apart.stdout.splitlines()[-1]


def _told(path: Path, scales: tuple[float, ...], offsets: tuple[float, ...], names: tuple[str, ...]) -> Path:
    write_tif(path, np.random.default_rng([6]).integers(1, 900, (3, 20, 20)).astype("uint16"))
    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets, file.descriptions = scales, offsets, names
    return path


@pytest.mark.parametrize(
    ("scale", "offset", "names", "says"),
    [
        (1.0, 0.0, "B02 B03 B04", None),
        (1.0, 0.0, "B05 B06 B07", None),
        (1e-4, 0.0, "B02 B03 B04", "b has other units than a: its scale of B02 is 0.0001, that of a 1"),
        (1.0, -0.1, "B02 B03 B04", "b has other units than a: its offset of B02 is -0.1, that of a 0"),
        (1.0, 0.0, "B04 B03 B02", "b has its bands in another order than a: B04 is number 1, and 3 in a"),
    ],
)
def test_bands_of_other_units_or_order_are_warned_of(
    tmp_path: Path, scale: float, offset: float, names: str, says: str | None
) -> None:
    a = _told(tmp_path / "a.tif", (1.0,) * 3, (0.0,) * 3, ("B02", "B03", "B04"))
    b = _told(tmp_path / "b.tif", (scale, 1.0, 1.0), (offset, 0.0, 0.0), tuple(names.split()))
    result = call("compare", a, b)
    assert result.exit_code == 0
    told = [line.partition("; ") for line in result.stderr.splitlines()]
    assert [(front, rest.endswith("all the same")) for front, _, rest in told] == (
        [] if says is None else [(f"Warning: {says}", True)]
    )


def test_chosen_bands_are_compared_of_files_and_stores(tmp_path: Path) -> None:
    block = np.random.default_rng([6]).integers(1, 900, (3, 20, 30)).astype("uint16")
    scene, part = write_tif(tmp_path / "s.tif", block), write_tif(tmp_path / "p.tif", block[:2])
    assert call("compress", scene, tmp_path / "s.zarr", "--rmse", 5).exit_code == 0
    refused = call("compare", scene, part)
    assert refused.exit_code != 0
    assert (
        "s is 3 x 20 x 30, p is 2 x 20 x 30 (band x y x x); compare scenes of one shape, or the bands" in refused.stderr
    )
    (tmp_path / "other").mkdir()
    refused = call("compare", scene, write_tif(tmp_path / "other" / "s.tif", block[:2]))
    assert "A is 3 x 20 x 30, B is 2 x 20 x 30" in refused.stderr
    assert call_json("compare", scene, part, "-b", "1,2")["overall"]["rmse"] == 0
    whole, some = (call_json("compare", scene, tmp_path / "s.zarr", *words) for words in ((), ("-b", "2..3")))
    names = list(whole["bands"])
    assert list(some["bands"]) == names[1:]
    assert all(some["bands"][name] == whole["bands"][name] for name in names[1:])
    assert (
        call_json("compare", scene, tmp_path / "s.zarr", "--bands", names[2])["overall"]["rmse"]
        == (whole["bands"][names[2]]["rmse"])
    )


def test_infinities_alike_are_left_out_and_others_are_an_infinite_error(tmp_path: Path) -> None:
    a = np.random.default_rng(8).normal(5, 1, (2, 40, 40)).astype("float32")
    a[0, 3, 3], a[1, 20, 20] = np.inf, -np.inf
    one, other = write_tif(tmp_path / "a.tif", a), write_tif(tmp_path / "b.tif", a)
    result = call("compare", one, other)
    assert "Warning: 2 values infinite in both alike: left out" in result.stderr
    assert "nan" not in result.stdout
    scores = module.compare(open_scene(str(one)), open_scene(str(other)))
    assert (scores.overall.max_error, scores.overall.ssim, scores.partial) == (0, pytest.approx(1), 0)
    b = a.copy()
    b[0, 3, 3], b[0, 9, 9] = -np.inf, np.inf
    write_tif(other, b)
    result = call("compare", one, other)
    assert "2 values infinite in A or B alone, or of the other sign: their error is infinite" in result.stderr
    assert result.stderr.rstrip().endswith("; ssim and sam are without them")
    assert "nan" not in result.stdout
    scores = module.compare(open_scene(str(one)), open_scene(str(other)))
    assert scores.overall.max_error == np.inf
    assert scores.overall.snr == scores.bands["band_1"].snr == -np.inf
    assert (scores.overall.ssim, scores.overall.sam) == (pytest.approx(1), pytest.approx(0, abs=1e-5))
    assert call_json("compare", one, other, "--json")["infinite"] == [1, 2]
