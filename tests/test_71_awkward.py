"""Files that break naive readers: through the whole of compress and denoise, or one clear line."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray

from tests.scenes import call, read, write_tif

BROKEN = {"corrupt.tif", "truncated_s2_B05.tif", "palette-1c-8b.tiff"}


def _files() -> list[str]:
    folder = Path(__file__).parents[2] / "shared" / "data" / "awkward"
    return sorted(path.name for path in folder.glob("*.tif*") if path.suffix != ".msk") or ["absent"]


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("name", _files())
def test_awkward_files_work_or_give_one_line(shared_data: Path, tmp_path: Path, name: str) -> None:
    path = shared_data / "awkward" / name
    for words in (("compress", path, tmp_path / "s.zarr", "--lossless"), ("denoise", path, tmp_path / "c.tif")):
        result = call(*words)
        if name in BROKEN:
            assert result.exit_code == 1
            assert len(result.stderr.strip().splitlines()) == 1
            assert name.partition(".")[0] in result.stderr
        else:
            assert result.exit_code == 0, result.stderr
    if name in BROKEN:
        assert list(tmp_path.iterdir()) == []
        return
    assert call("decompress", tmp_path / "s.zarr", tmp_path / "back.tif").exit_code == 0
    with rasterio.open(path) as source, rasterio.open(tmp_path / "back.tif") as back:
        count = back.count
        assert (source.crs, source.gcps[1]) == (back.crs, back.gcps[1])
        assert len(source.gcps[0]) == len(back.gcps[0])
        assert np.array_equal(source.dataset_mask() > 0, back.dataset_mask() > 0) or source.nodata is not None
        assert source.scales[:count] == back.scales
        real = source.read_masks()[:count].all(axis=0) > 0
        np.testing.assert_array_equal(source.read()[:count, real], back.read()[:, real])
    assert read(tmp_path / "c.tif").shape[0] == count


VRT = """<VRTDataset rasterXSize="64" rasterYSize="48">{}</VRTDataset>"""
VRT_BAND = """<VRTRasterBand dataType="{kind}" band="{number}"><NoDataValue>{nodata}</NoDataValue><SimpleSource>
<SourceFilename relativeToVRT="1">q{number}.tif</SourceFilename><SourceBand>1</SourceBand></SimpleSource>
</VRTRasterBand>
"""


def _own_nodata(folder: Path, dtype: str, nodata: list[float]) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
    """Files q1.tif, q2.tif ... of one band and nodata each, and q.vrt of them all; the pixels, and which are real."""
    block = np.random.default_rng(0).integers(100, 200, (len(nodata), 48, 64)).astype(dtype)
    real = np.ones(block.shape, bool)
    real[0, :10], real[1, 15:25] = False, False
    bands = []
    for number, (band, own, value) in enumerate(zip(block, real, nodata, strict=True), 1):
        band[~own] = value
        write_tif(folder / f"q{number}.tif", band[None], nodata=value)
        bands.append(VRT_BAND.format(kind=dtype.title(), number=number, nodata=value))
    (folder / "q.vrt").write_text(VRT.format("".join(bands)))
    return block, real


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("names", [["q1.tif", "q2.tif", "q3.tif"], ["q.vrt"]])
def test_a_pixel_missing_in_a_band_of_its_own_nodata_is_kept_in_the_others(tmp_path: Path, names: list[str]) -> None:
    block, real = _own_nodata(tmp_path, "float32", [-1, -9999, -5])
    block[2, 30, :5] = -9999  # data in the third band
    with rasterio.open(tmp_path / "q3.tif", "r+") as file:
        file.write(block[2], 1)
    scene = [tmp_path / name for name in names]
    for words in (["compress", *scene, tmp_path / "s.zarr", "--lossless"], ["denoise", *scene, tmp_path / "d.tif"]):
        result = call(*words)
        assert result.exit_code == 0, result.stderr
        assert "different nodata" not in result.stderr
    assert call("decompress", tmp_path / "s.zarr", tmp_path / "back.tif").exit_code == 0
    for name in ("back.tif", "d.tif"):
        with rasterio.open(tmp_path / name) as file:
            assert np.isnan(file.nodata)
            assert (file.read_masks() > 0).tolist() == real.tolist()
    np.testing.assert_array_equal(read(tmp_path / "back.tif"), np.where(real, block, np.nan))


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("names", [["q1.tif", "q2.tif"], ["q.vrt"]])
def test_integers_of_different_nodata_are_warned_of_in_one_line(tmp_path: Path, names: list[str]) -> None:
    _own_nodata(tmp_path, "uint16", [0, 65535])
    result = call("compress", *(tmp_path / name for name in names), tmp_path / "s.zarr", "--lossless")
    assert result.exit_code == 0
    (line,) = [line for line in result.stderr.splitlines() if "nodata" in line]
    assert line.startswith("Warning: ")
    assert "its bands have different nodata (0, 65535), and uint16 has no value for all of them" in line
