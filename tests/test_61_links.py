"""Outputs whose names are symbolic links: what they name is replaced, and the links stay."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import OutputError
from pipeline.raster.cog import check_output
from pipeline.storage import put_file, put_whole, scratch, whole_file
from tests.scenes import call, read, snapshot, write_tif


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    block = np.random.default_rng(4).integers(100, 900, (2, 40, 40)).astype("uint16")
    return write_tif(tmp_path / "a.tif", block)


def _link(tmp_path: Path, ending: str) -> tuple[Path, Path]:
    """A link and what it names, in two folders."""
    for name in ("links", "real"):
        (tmp_path / name).mkdir()
    link, real = tmp_path / "links" / f"out{ending}", tmp_path / "real" / f"target{ending}"
    link.symlink_to(f"../real/target{ending}")
    return link, real


def test_a_file_is_put_where_its_link_leads(tmp_path: Path) -> None:
    link, real = _link(tmp_path, ".json")
    real.write_bytes(b"old")
    put_whole(link, b"one")
    assert real.read_bytes() == b"one"
    with whole_file(link) as file:
        assert [path.suffix for path in real.parent.iterdir()].count(".partial") == 1  # the same disk as the target
        file.write(b"two")
    assert real.read_bytes() == b"two"
    with scratch(link, "draft.") as folder:
        assert folder.parent.samefile(real.parent)
        (folder / "draft").write_bytes(b"three")
        put_file(folder / "draft", link)
    assert real.read_bytes() == b"three"
    assert link.is_symlink()
    assert list(real.parent.iterdir()) == [real]


@pytest.mark.parametrize("verb", ["denoise", "features", "cluster"])
def test_a_raster_is_written_where_its_link_leads(tmp_path: Path, scene: Path, verb: str) -> None:
    link, real = _link(tmp_path, ".tif")
    write_tif(real, np.ones((1, 8, 8), "uint8"))
    beside = real.with_name("target.tif.aux.xml")
    beside.write_text("<PAMDataset></PAMDataset>")
    assert "exists; give another name" in call(verb, scene, link).stderr
    result = call(verb, scene, link, "--overwrite")
    assert result.exit_code == 0, result.output
    assert link.is_symlink()
    assert read(real).shape[-2:] != (8, 8)
    assert not beside.exists() or "CategoryNames" in beside.read_text()  # not that of the old one
    names = {path.name for path in [*real.parent.iterdir(), *link.parent.iterdir()]}
    assert names - {"out.legend.json", beside.name} == {real.name, link.name}


def test_a_store_is_made_where_its_link_leads(tmp_path: Path, scene: Path) -> None:
    link, real = _link(tmp_path, ".zarr")
    assert call("compress", scene, real, "--max-error", "3").exit_code == 0
    before = snapshot(real)
    result = call("compress", scene, link, "--max-error", "9", "--overwrite")
    assert result.exit_code == 0, result.output
    assert link.is_symlink()
    assert not real.is_symlink()
    assert snapshot(real).keys() >= {"zarr.json"}
    assert snapshot(real) != before
    assert [*real.parent.iterdir(), *link.parent.iterdir()] == [real, link]


@pytest.mark.parametrize("ending", [".tif", ".zarr"])
def test_a_link_that_leads_nowhere_is_called_one(tmp_path: Path, scene: Path, ending: str) -> None:
    link, real = _link(tmp_path, ending)
    result = call("denoise", scene, link)
    assert result.exit_code != 0
    assert f"{link} is a link that leads nowhere (../real/target{ending}); give another name, or" in result.stderr
    assert call("denoise", scene, link, "--overwrite").exit_code == 0
    assert link.is_symlink()
    assert real.exists()
    for end in ("nowhere/target.tif", "loop.tif"):
        (lost := tmp_path / "loop.tif").unlink(missing_ok=True)
        lost.symlink_to(end)
        with pytest.raises(OutputError, match=rf"loop.tif is a link that leads nowhere \({end}\); give another name$"):
            check_output(lost, True)
