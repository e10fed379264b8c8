"""COGs: valid, with every fact and pixel of their source, in bounded memory, and never half there."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rasterio import Affine
from rio_cogeo.cogeo import cog_validate

from pipeline.errors import ConfigError, FormatError, OutputError, SourceError
from pipeline.grid import Grid, Window
from pipeline.raster.cog import check_output, write_cog
from pipeline.raster.cog_options import may_share_out
from pipeline.raster.open import open_source
from pipeline.raster.scene import Gcp, Georeference, SceneInfo, Source
from pipeline.raster.tiff import check_whole
from tests.raster_files import UTM, numbers, rasterio_open, read_all, whole, write_tif
from tests.test_23_raster_read import BROKEN, NAMES, REFUSED

Piece = tuple[Window, NDArray[Any], NDArray[np.bool_] | None]
GEO = Georeference(None, (10.0, 0.0, 5e5, 0.0, -10.0, 4e6))


def windows(source: Source, tile: int) -> Iterator[Piece]:
    for piece in source.info.grid(tile):
        block, valid = source.read(piece.window)
        yield piece.window, block, valid if source.info.masked else None


def pieces(block: NDArray[Any], valid: NDArray[np.bool_] | None, tile: int, seed: int = 0) -> list[Piece]:
    """The windows of an array in any order."""
    grid = list(Grid(*block.shape[1:], tile))
    order = np.random.default_rng(seed).permutation(len(grid))
    found = []
    for number in order:
        window = grid[number].window
        found.append((window, block[:, *window.slices], None if valid is None else valid[window.slices]))
    return found


def facts(info: SceneInfo) -> SceneInfo:
    """What a COG keeps: not name and fingerprint, and no statistics."""
    tags = tuple({k: v for k, v in tags.items() if not k.startswith("STATISTICS_")} for tags in info.band_tags)
    return replace(info, name="", fingerprint="", band_tags=tags)


@pytest.mark.parametrize("name", sorted(set(NAMES) - BROKEN - REFUSED))
def test_awkward_files_come_back_whole(shared_data: Path, tmp_path: Path, name: str) -> None:
    source = open_source(shared_data / "awkward" / name)
    path = tmp_path / "out.tif"
    write_cog(path, source.info, windows(source, 100))
    assert list(tmp_path.iterdir()) == [path]
    back = open_source(path)
    block, valid = read_all(source, 300)
    again, same = read_all(back, 256)
    np.testing.assert_array_equal(again, block)
    np.testing.assert_array_equal(same, valid)
    # A mask is written only where a pixel is invalid: then the COG promises more than its source.
    expected = replace(facts(source.info), masked=back.info.masked)
    assert repr(facts(back.info)) == repr(expected)
    assert back.info.masked or valid.all()
    with rasterio_open(shared_data / "awkward" / name) as one, rasterio_open(path) as two:
        count = two.count
        assert one.crs == two.crs
        assert one.transform == two.transform
        assert [(g.row, g.col, g.x, g.y) for g in one.gcps[0]] == [(g.row, g.col, g.x, g.y) for g in two.gcps[0]]
        assert one.gcps[1] == two.gcps[1]
        np.testing.assert_equal(one.nodata, two.nodata)
        assert one.scales[:count] == two.scales
        assert one.offsets[:count] == two.offsets
        assert one.colorinterp[:count] == two.colorinterp
        assert two.descriptions == one.descriptions[:count]
    if source.info.geo.transform is not None:
        assert cog_validate(str(path), quiet=True) == (True, [], [])


@pytest.mark.parametrize("name", sorted(BROKEN & set(NAMES)))
def test_a_source_that_breaks_leaves_nothing(shared_data: Path, tmp_path: Path, name: str) -> None:
    source = open_source(shared_data / "awkward" / name)
    with pytest.raises(SourceError, match=rf"{name}: cannot read rows"):
        write_cog(tmp_path / "out.tif", source.info, windows(source, 256))
    assert list(tmp_path.iterdir()) == []


@settings(max_examples=25)
@given(
    bands=st.integers(1, 5),
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    tile=st.integers(7, 100),
    dtype=st.sampled_from(["uint8", "int16", "uint16", "float32", "float64", "int32"]),
    nodata=st.sampled_from([None, 0.0, 7.0]),
    holes=st.sampled_from([0.0, 0.3]),
)
def test_any_windows_in_any_order(
    tmp_path_factory: pytest.TempPathFactory,
    bands: int,
    height: int,
    width: int,
    tile: int,
    dtype: str,
    nodata: float | None,
    holes: float,
) -> None:
    path = tmp_path_factory.mktemp("cog") / "a.tif"
    block = (numbers(bands, height, width) % 12).astype(dtype)
    valid = np.random.default_rng(height).random((height, width)) >= holes
    info = SceneInfo("a", tuple("abcde"[:bands]), height, width, dtype, nodata, geo=GEO)
    write_cog(path, info, pieces(block, valid, tile))
    got, real = whole(open_source(path))
    np.testing.assert_array_equal(real, valid)
    kept = valid & ((block != nodata).all(axis=0) if nodata is not None else True)
    np.testing.assert_array_equal(got[:, kept], block[:, kept])
    with rasterio_open(path) as dataset:
        np.testing.assert_array_equal((dataset.read_masks() > 0).all(axis=0), valid)
        assert dataset.nodata == nodata


def test_overviews_blocks_and_mask_of_a_larger_scene(tmp_path: Path) -> None:
    block = numbers(3, 1100, 1300)
    valid = np.ones((1100, 1300), bool)
    valid[600:, 700:] = False
    info = SceneInfo("a", ("r", "g", "b"), 1100, 1300, "uint16", geo=GEO)
    path = tmp_path / "a.tif"
    write_cog(path, info, pieces(block, valid, 300), overview_resampling="nearest")
    assert cog_validate(str(path), quiet=True)[0]
    with rasterio_open(path) as dataset:
        assert dataset.block_shapes == [(512, 512)] * 3
        assert dataset.overviews(1) == [2, 4]
        assert dataset.compression.name == "deflate"
        np.testing.assert_array_equal(dataset.read_masks(1) > 0, valid)
    with rasterio_open(path, overview_level=0) as half:
        assert half.shape == (550, 650)
        small = half.read(1)
        np.testing.assert_array_equal(half.read_masks(1) > 0, valid[::2, ::2])
        assert (
            (
                small[:300, :350, None]
                == block[0][:600, :700].reshape(300, 2, 350, 2).swapaxes(1, 2).reshape(300, 350, 4)
            )
            .any(-1)
            .all()
        )


def test_many_bands_make_small_blocks(tmp_path: Path) -> None:
    info = SceneInfo("a", tuple(f"f{n}" for n in range(300)), 90, 200, "float32", float("nan"), geo=GEO)
    block = numbers(300, 90, 200, "float32")
    valid = numbers(1, 90, 200)[0] > 50
    path = tmp_path / "a.tif"
    write_cog(path, info, pieces(block, valid, 64), creation_options={"LEVEL": "1"})
    with rasterio_open(path) as dataset:
        side = dataset.block_shapes[0][0]
        assert dataset.block_shapes == [(side, side)] * 300
        assert side % 16 == 0
        assert 4 << 20 < side * side * 300 * 4 <= 8 << 20
        assert np.isnan(dataset.nodata)
        assert dataset.descriptions[299] == "f299"
    got, real = whole(open_source(path))
    np.testing.assert_array_equal(real, valid)
    np.testing.assert_array_equal(got[:, valid], block[:, valid])


def test_every_fact_is_written(tmp_path: Path) -> None:
    with rasterio_open(write_tif(tmp_path / "crs.tif", numbers(1, 2, 2), crs=UTM)) as dataset:
        wkt = dataset.crs.to_wkt()
    info = SceneInfo(
        "a",
        ("red", "nir"),
        20,
        30,
        "int16",
        -1.0,
        scales=(0.5, 2.0),
        offsets=(1.0, -3.0),
        units=("m", None),
        geo=Georeference(wkt, (10.0, 3.0, 5e5, 2.0, -10.0, 4e6)),
        tags={"AREA_OR_POINT": "Point", "SENSOR": "MSI", "STATISTICS_MEAN": "3"},
        band_tags=({"wavelength": "665", "STATISTICS_MAXIMUM": "9"}, {}),
        colorinterp=("red", "undefined"),
        masked=True,
    )
    block = numbers(2, 20, 30, "int16")
    write_cog(tmp_path / "a.tif", info, [(Window(0, 20, 0, 30), block, None)])
    back = open_source(tmp_path / "a.tif").info
    assert (back.bands, back.nodata, back.scales, back.offsets) == (info.bands, -1.0, (0.5, 2.0), (1.0, -3.0))
    assert back.geo == info.geo
    assert (back.units[0], back.colorinterp) == ("m", ("red", "undefined"))
    assert (back.tags["SENSOR"], back.tags["AREA_OR_POINT"]) == ("MSI", "Point")
    assert "STATISTICS_MEAN" not in back.tags
    assert back.band_tags == ({"wavelength": "665"}, {})


def test_ground_control_points_and_rpcs_are_written(tmp_path: Path) -> None:
    gcps = tuple(Gcp(row, column, 10 + column, 50 - row, 2.0) for row, column in ((0, 0), (0, 20), (10, 0)))
    coefficients = " ".join(["1.5"] + ["0"] * 19)
    words = "LINE_OFF SAMP_OFF LAT_OFF LONG_OFF HEIGHT_OFF LINE_SCALE SAMP_SCALE LAT_SCALE LONG_SCALE HEIGHT_SCALE"
    rpcs = dict.fromkeys(words.split(), "3.0")
    rpcs |= {f"{axis}_{part}_COEFF": coefficients for axis in ("LINE", "SAMP") for part in ("NUM", "DEN")}
    block = numbers(1, 10, 20)
    for number, geo in enumerate((Georeference(gcps=gcps), Georeference(rpcs=rpcs))):
        path = tmp_path / f"{number}.tif"
        write_cog(path, SceneInfo("a", ("x",), 10, 20, "uint16", geo=geo), pieces(block, None, 8))
        back = open_source(path).info.geo
        assert (back.gcps, back.transform) == (geo.gcps, None)
        assert (back.rpcs is None) == (geo.rpcs is None)
        if back.rpcs and geo.rpcs:
            assert float(back.rpcs["LINE_SCALE"]) == 3.0
            assert [float(c) for c in back.rpcs["SAMP_NUM_COEFF"].split()] == [1.5] + [0.0] * 19


def test_the_mask_begins_with_the_first_invalid_pixel(tmp_path: Path) -> None:
    block, valid = numbers(2, 40, 40), np.ones((40, 40), bool)
    info = SceneInfo("a", ("x", "y"), 40, 40, "uint16", geo=GEO)
    for last in (True, False):
        valid[39, 39] = last
        path = tmp_path / f"{last}.tif"
        parts = [(t.window, block[:, *t.window.slices], valid[t.window.slices]) for t in Grid(40, 40, 16)]
        write_cog(path, info, parts)
        with rasterio_open(path) as dataset:
            assert (dataset.mask_flag_enums[0][0].name == "per_dataset") == (not last)
        np.testing.assert_array_equal(whole(open_source(path))[1], valid)


def test_an_output_that_is_there_is_refused(tmp_path: Path) -> None:
    info, block = SceneInfo("a", ("x",), 4, 4, "uint8"), numbers(1, 4, 4, "uint8")
    path = tmp_path / "a.tif"
    path.write_text("mine")
    with pytest.raises(OutputError, match=r"a.tif exists; give another name, or --overwrite"):
        write_cog(path, info, pieces(block, None, 4))
    assert path.read_text() == "mine"
    write_cog(path, info, pieces(block, None, 4), overwrite=True)
    np.testing.assert_array_equal(whole(open_source(path))[0], block)
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for there in (tmp_path, tmp_path / "dangling"):
        with pytest.raises(OutputError):
            check_output(there, False)
    check_output(tmp_path / "free", False)
    with pytest.raises(OutputError, match="is a folder"):
        write_cog(tmp_path, info, pieces(block, None, 4), overwrite=True)
    with pytest.raises(OutputError, match="cannot be written: No such file or directory"):
        write_cog(tmp_path / "no" / "a.tif", info, pieces(block, None, 4))


def test_a_failed_overwrite_keeps_the_old_file(tmp_path: Path) -> None:
    info, block = SceneInfo("a", ("x",), 8, 8, "uint8"), numbers(1, 8, 8, "uint8")
    path = tmp_path / "a.tif"
    write_cog(path, info, pieces(block, None, 4))

    def breaking() -> Iterator[Piece]:
        yield Window(0, 4, 0, 8), block[:, :4], None
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_cog(path, info, breaking(), overwrite=True)
    np.testing.assert_array_equal(whole(open_source(path))[0], block)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("options", "compression", "side"),
    [
        ({"COMPRESS": "ZSTD", "LEVEL": "1"}, "zstd", 512),
        ({"compress": "lzw", "TILED": "YES", "BLOCKXSIZE": "256", "BLOCKYSIZE": "256"}, "lzw", 256),
        ({"COMPRESS": "JPEG", "QUALITY": "90"}, "jpeg", 512),
    ],
)
def test_creation_options_win(tmp_path: Path, options: dict[str, str], compression: str, side: int) -> None:
    info, block = SceneInfo("a", ("x",), 40, 50, "uint8", geo=GEO), numbers(1, 40, 50, "uint8")
    write_cog(tmp_path / "a.tif", info, pieces(block, None, 16), creation_options=options)
    with rasterio_open(tmp_path / "a.tif") as dataset:
        assert dataset.compression.name == compression
        assert dataset.block_shapes == [(side, side)]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"COMPRES": "ZSTD"}, "driver COG does not support creation option COMPRES"),
        ({"COMPRESS": "MAGIC"}, "COMPRESS"),
        ({"BLOCKSIZE": "100"}, "BLOCKSIZE=100: give a multiple of 16"),
        ({"LEVEL": "quite"}, "LEVEL"),
    ],
)
def test_wrong_creation_options_are_refused_at_once(tmp_path: Path, options: dict[str, str], words: str) -> None:
    def never() -> Iterator[Piece]:
        raise AssertionError("the windows were asked for")
        yield

    with pytest.raises(ConfigError) as error:
        write_cog(tmp_path / "a.tif", SceneInfo("a", ("x",), 4, 4, "uint8"), never(), creation_options=options)
    assert words in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_a_nodata_that_no_pixel_can_hold_is_refused(tmp_path: Path) -> None:
    info = SceneInfo("a", ("x",), 4, 4, "uint8", nodata=-9999.0)
    with pytest.raises(ConfigError, match="nodata -9999 is no value of uint8"):
        write_cog(tmp_path / "a.tif", info, [])


def test_windows_that_leave_pixels_are_our_own_error(tmp_path: Path) -> None:
    info = SceneInfo("a", ("x",), 8, 8, "uint8")
    with pytest.raises(AssertionError, match="leave 32 pixels"):
        write_cog(tmp_path / "a.tif", info, [(Window(0, 4, 0, 8), numbers(1, 4, 8, "uint8"), None)])
    assert list(tmp_path.iterdir()) == []


# In the working file: its head, its middle, its end. In the COG, which is larger (leaders and trailers of small
# blocks): its last blocks, where GDAL closes it without an error, and its last byte.
@pytest.mark.parametrize("limit", ["100", "200_000", "block.nbytes", "size - 2_000", "size - 99", "size - 1", "size"])
@pytest.mark.parametrize("compress", ["NONE", "DEFLATE"])  # by two threads, which GDAL has for compression alone
def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path, limit: str, compress: str) -> None:
    script = f"""
        import resource
        from pathlib import Path
        import numpy as np
        from pipeline.errors import OutputError
        from pipeline.grid import Window
        from pipeline.raster.cog import write_cog
        from pipeline.raster.scene import Georeference, SceneInfo
        folder = Path({str(tmp_path)!r})
        block = np.random.default_rng(0).integers(0, 2**16, (1, 512, 512)).astype("uint16")
        info = SceneInfo("a", ("x",), 512, 512, "uint16", geo=Georeference(None, (1., 0., 0., 0., -1., 0.)))
        pieces = [(Window(y, y + 128, 0, 512), block[:, y : y + 128], None) for y in range(0, 512, 128)]
        options = {{"COMPRESS": {compress!r}, "BLOCKSIZE": "16", "BIGTIFF": "YES"}}
        write_cog(folder / "whole.tif", info, pieces, creation_options=options, threads=2)
        size = (folder / "whole.tif").stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
        try:
            write_cog(folder / "a.tif", info, pieces, creation_options=options, threads=2)
            print("written")
        except OutputError as error:
            print(error)
    """
    command = [sys.executable, "-B", "-c", textwrap.dedent(script)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    line = result.stdout.splitlines()
    assert len(line) == 1, result.stdout
    if limit == "size":
        assert line == ["written"]
        assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "whole.tif").read_bytes()
    else:
        assert "a.tif: cannot be written: " in line[0]
        assert "files may have no more than " in line[0]
        assert "(ulimit -f); raise it, or write elsewhere" in line[0]
        assert [path.name for path in tmp_path.iterdir()] == ["whole.tif"]


@pytest.mark.parametrize("bigtiff", ["NO", "YES"])
def test_a_tiff_cut_anywhere_is_not_whole(tmp_path: Path, bigtiff: str) -> None:
    path = tmp_path / "a.tif"
    info = SceneInfo("a", ("x", "y"), 300, 300, "uint16", geo=GEO)
    options = {"BIGTIFF": bigtiff, "BLOCKSIZE": "128"}
    write_cog(path, info, pieces(numbers(2, 300, 300), None, 100), creation_options=options)
    check_whole(path, trailer=4)
    data = path.read_bytes()
    for length in [0, 2, 7, 100, 400, *range(500, len(data), 9973), len(data) - 1]:
        path.write_bytes(data[:length])
        with pytest.raises(FormatError):
            check_whole(path, trailer=4)


@pytest.mark.parametrize("options", [{}, {"COMPRESS": "LERC", "BLOCKSIZE": "128"}, {"num_threads": "3"}], ids=str)
@pytest.mark.parametrize(("dtype", "masked"), [("float32", False), ("uint16", True), ("int16", True)])
def test_the_bytes_do_not_depend_on_threads(tmp_path: Path, options: dict[str, str], dtype: str, masked: bool) -> None:
    block = numbers(3, 1100, 1300, dtype)
    valid = numbers(1, 1100, 1300, "uint8")[0] > 40 if masked else None
    info = SceneInfo("a", ("x", "y", "z"), 1100, 1300, dtype, geo=GEO)
    for threads in (1, 2, 4):
        path = tmp_path / f"{threads}.tif"
        write_cog(path, info, pieces(block, valid, 64), creation_options=options, statistics=True, threads=threads)
    one, *others = [(tmp_path / f"{threads}.tif").read_bytes() for threads in (1, 2, 4)]
    assert others == [one, one]


@pytest.mark.parametrize("threads", [1, 2])
def test_files_that_are_not_compressed_are_whole(tmp_path: Path, threads: int) -> None:
    block = numbers(3, 600, 700, "uint8")  # GDAL leaves out what should follow the last block, with bands apart
    info, options = SceneInfo("a", ("x", "y", "z"), 600, 700, "uint8", geo=GEO), {"COMPRESS": "none"}
    write_cog(tmp_path / "a.tif", info, pieces(block, None, 64), creation_options=options, threads=threads)
    assert np.array_equal(whole(open_source(tmp_path / "a.tif"))[0], block)
    assert cog_validate(tmp_path / "a.tif", quiet=True)[0]


def test_a_codec_that_cannot_hold_the_values_is_refused_at_once(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    info, block = SceneInfo("a", ("x", "y", "z"), 600, 700, "uint16", geo=GEO), numbers(3, 600, 700)
    with pytest.raises(ConfigError, match="WEBP driver requires 8 bit"):
        write_cog(tmp_path / "a.tif", info, pieces(block, None, 64), creation_options={"COMPRESS": "WEBP"}, threads=2)
    assert capfd.readouterr().err == ""  # a thread of GDAL's would print there, and nobody would know


def test_threads_are_those_that_people_say(monkeypatch: pytest.MonkeyPatch) -> None:
    assert may_share_out({"COMPRESS": "DEFLATE", "SPARSE_OK": "no"})
    assert not may_share_out({"NUM_THREADS": "3"})
    assert not may_share_out({"SPARSE_OK": "YES"})  # a block that a thread could not compress would look left out
    with rasterio.Env(GDAL_NUM_THREADS="8"):
        assert not may_share_out({})
    child = os.fork()  # which has none of GDAL's threads
    if not child:
        os._exit(may_share_out({}))
    assert os.waitpid(child, 0)[1] == 0
    assert may_share_out({})
    monkeypatch.setenv("GDAL_NUM_THREADS", "1")
    assert not may_share_out({})


def test_creation_options_of_many_bands_are_tried_in_little_memory(tmp_path: Path) -> None:
    script = f"""
        from pathlib import Path
        import numpy as np
        from pipeline.grid import Window
        from pipeline.raster.cog import write_cog
        from pipeline.raster.scene import SceneInfo
        def peak():  # getrusage would count the parent's memory before exec
            status = Path("/proc/self/status").read_text()
            return int(status.partition("VmHWM:")[2].split()[0]) >> 10
        info = SceneInfo("a", tuple(f"f{{n}}" for n in range(300)), 32, 32, "float32")
        before = peak()
        block = np.zeros((300, 32, 32), "float32")
        write_cog(Path({str(tmp_path / "a.tif")!r}), info, [(Window(0, 32, 0, 32), block, None)],
                  creation_options={{"COMPRESS": "ZSTD"}})
        print(peak() - before)
    """
    command = [sys.executable, "-B", "-c", textwrap.dedent(script)]
    grown = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert grown < 200, grown  # MB; 16 pixels in blocks of 512 were more than 900


def test_other_tiffs_are_whole_too(shared_data: Path) -> None:
    for name in ("BigTIFFMotorola.tif", "RGB.byte.tif", "tiled-jpeg-ycbcr.tif"):
        check_whole(shared_data / "awkward" / name)
    for name in ("truncated_s2_B05.tif", "corrupt.tif"):
        with pytest.raises(FormatError, match="cut short"):
            check_whole(shared_data / "awkward" / name)
    with pytest.raises(FormatError, match="is no TIFF"):
        check_whole(shared_data / "README.md")


def test_affine_of_the_profile_is_rasterios_order(tmp_path: Path) -> None:
    geo = Georeference(None, (1.0, 2.0, 3.0, 4.0, -5.0, 6.0))
    write_cog(
        tmp_path / "a.tif", SceneInfo("a", ("x",), 4, 4, "uint8", geo=geo), pieces(numbers(1, 4, 4, "uint8"), None, 4)
    )
    with rasterio_open(tmp_path / "a.tif") as dataset:
        assert dataset.transform == Affine(1, 2, 3, 4, -5, 6)
