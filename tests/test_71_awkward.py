"""Files that break naive readers: through the whole of compress and denoise, or one clear line."""

from pathlib import Path

import numpy as np
import pytest
import rasterio

from tests.scenes import call, read

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
