"""Cloud-optimised GeoTIFFs, streamed: windows in any order and of any size, in bounded memory, whole or not at all.

Windows go into an uncompressed tiled GTiff in a folder of its own beside the target (of an object: in the temporary
folder), which gets its overviews there; GDAL's COG driver makes the COG of it, which is checked and then renamed, or
uploaded. Two things are not left to GDAL: compressed
blocks that windows cut across would be rewritten and leave holes, and overviews of many bands would be built pixel by
pixel (256 bands: 5 times the time of the whole).
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import rasterio.shutil
from affine import Affine
from numpy.typing import NDArray
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, Resampling
from rasterio.io import DatasetWriter, MemoryFile
from rasterio.rpc import RPC

from pipeline.errors import ConfigError, FormatError, OutputError, elsewhere
from pipeline.raster.cog_options import cog_options, is_sparse, may_share_out, overview_factors
from pipeline.raster.files import drafts, give, writing
from pipeline.raster.gdal import GDAL_ERRORS, gdal_env, gdal_warnings, open_writer, reason
from pipeline.raster.handed import Windows, with_block
from pipeline.raster.look import write_statistics
from pipeline.raster.names import descriptions
from pipeline.raster.nodata import convert, mark, nudge, representable, valid_from
from pipeline.raster.scene import SceneInfo
from pipeline.raster.sidecar import put_beside, words_beside
from pipeline.raster.spectrum import IMAGERY, imagery_tags
from pipeline.raster.statistics import Statistics
from pipeline.raster.tiff import check_whole
from pipeline.storage import ObjectPath, Place, followed

COG_CACHE = 16 << 20
"""Of GDAL's blocks: they are small and of all bands, so their places in memory are several times what they hold."""

_UNSAID = re.compile(r"^CPLE_\w+ in (.*?: )?|\.$")
"""Of a warning: GDAL's number in rasterio's words, the name of our file, the full stop."""

Colours = Mapping[int, tuple[int, int, int]]
"""Red, green and blue, 0 ... 255, of values of a raster of one uint8 band."""


def check_output(path: Place, overwrite: bool) -> None:
    """Refuse an output, a file or a folder, that is there already; and one that cannot be written to at all.

    Of a store in an object store, one that is whole is there.

    Raises:
        OutputError: it is there and `overwrite` is False.
    """
    if isinstance(path, ObjectPath):
        try:
            path.check_writable()
            there = (path / "zarr.json" if path.suffix == ".zarr" else path).is_file()
        except OSError as error:
            raise OutputError(f"{path}: cannot be written: {elsewhere(error.strerror)}") from error
    else:
        there = os.path.lexists(path)
        _check_link(path, overwrite)
    if there and not overwrite:
        raise OutputError(f"{path} exists; give another name, or --overwrite")


def _check_link(path: Path, overwrite: bool) -> None:
    """Refuse a link that leads nowhere, but one to a name that is free, where `overwrite` allows to write there."""
    if path.exists() or not path.is_symlink():
        return
    end = followed(path)
    free = end.parent.is_dir() and not os.path.lexists(end)
    if not (free and overwrite):
        remedy = "give another name" + ", or --overwrite to write there" * free
        raise OutputError(f"{path} is a link that leads nowhere ({os.readlink(path)}); {remedy}")


def check_folder(path: Path) -> None:
    """Refuse an output whose folder is not there.

    Raises:
        OutputError: it is not, or a file is in its place.
    """
    if path.parent.is_dir():
        return
    above = next((folder for folder in path.parents if os.path.lexists(folder)), path.parent)
    if above.exists() and not above.is_dir():
        raise OutputError(f"{path}: {above} is a file, and no folder; give another output")
    raise OutputError(f"{path}: its folder {path.parent} does not exist; make it first")


def write_cog(
    path: Place,
    info: SceneInfo,
    windows: Windows,
    *,
    overwrite: bool = False,
    overview_resampling: str = "average",
    creation_options: Mapping[str, str] | None = None,
    colours: Colours | None = None,
    categories: Sequence[str] = (),
    statistics: bool = False,
    threads: int = 1,
) -> None:
    """Write a COG with everything `info` says: bands, dtype, nodata, georeference, scales, units, tags, colours.

    Invalid pixels read back invalid: they carry info.nodata in some band, or are not finite, or else the file gets an
    internal mask. Valid pixels that hit the sentinel are moved to the value beside it. What GeoTIFF cannot hold, a CRS
    without keys and categories, goes into `path`.aux.xml; one that an earlier file had there goes with that.

    Args:
        windows: (window, block (band, y, x), valid (y, x) or None for all valid); together they cover the scene once.
        creation_options: of GDAL's COG driver, such as COMPRESS=ZSTD; DEFLATE with a predictor by default.
        colours: the colour table of the one band.
        categories: names of the values 0, 1 ... of the one band.
        statistics: whether to write the least and largest value, mean and deviation of each band's valid pixels, and
            percentiles of a sample of them.
        threads: that compress blocks; the bytes are the same. NUM_THREADS among the creation options wins, and
            GDAL_NUM_THREADS of the environment.

    Raises:
        OutputError: the file exists, or cannot be written; nothing is left behind.
        ConfigError: a creation option that the driver does not know, or a nodata that no pixel can hold.
    """
    check_output(path, overwrite)
    if isinstance(path, Path) and path.is_dir():
        raise OutputError(f"{path} is a folder; give the name of a file")
    options = cog_options(info, overview_resampling, creation_options or {})
    if threads > 1 and may_share_out(options):
        options["NUM_THREADS"] = str(threads)
    if info.nodata is not None and not representable(info.nodata, info.dtype):
        raise ConfigError(f"{path}: nodata {info.nodata:g} is no value of {info.dtype}; give one that is")
    path = followed(path)
    with drafts(path) as folder, gdal_env(cache=COG_CACHE):
        if creation_options:
            _try_options(info, options)
        _write(path, folder, info, windows, options, colours, statistics)
        with put_beside(path, words_beside(folder / "cog.tif", categories)):
            give(folder / "cog.tif", path, reason)


def _write(
    path: Place,
    folder: Path,
    info: SceneInfo,
    windows: Windows,
    options: Mapping[str, str],
    colours: Colours | None,
    statistics: bool,
) -> None:
    """Fill the working file, and make the COG of it while it is open: what cannot be flushed raises here.

    GDAL closes files without an error on a full disk, so nothing is believed that was closed.
    """
    cog = folder / "cog.tif"
    windows, block = with_block(windows, int(options["BLOCKSIZE"]))
    with _writing(path):
        dataset = open_writer(str(folder / "draft.tif"), **_profile(info, block))
    try:
        with _writing(path):
            _describe(dataset, info)
            if colours:
                dataset.write_colormap(1, {value: (*colour, 255) for value, colour in colours.items()})
        counted = Statistics(len(info.bands), info.height, info.width, info.nodata) if statistics else None
        _fill(path, dataset, info, windows, counted)
        with _writing(path):
            if counted is not None:
                write_statistics(dataset, counted)
            if options.get("OVERVIEWS") == "AUTO" and overview_factors(info):
                dataset.build_overviews(overview_factors(info), Resampling[options["OVERVIEW_RESAMPLING"].lower()])
            rasterio.shutil.copy(dataset, str(cog), driver="COG", **options)
            check_whole(cog, sparse=is_sparse(options), trailer=4, bare=options["COMPRESS"].upper() == "NONE")
    finally:
        with suppress(*GDAL_ERRORS):
            dataset.close()


def _fill(path: Place, dataset: DatasetWriter, info: SceneInfo, windows: Windows, counted: Statistics | None) -> None:
    """Write and count every window, and write the mask from the first window on that needs one."""
    missing = info.height * info.width
    masked = False
    for window, block, valid in windows:
        place = ((window.y0, window.y1), (window.x0, window.x1))
        missing -= math.prod(window.shape)
        assert block.shape == (len(info.bands), *window.shape), (path, block.shape, window)
        out, mask = _settle(block, valid, info)
        if counted is not None:
            counted.add(window, out, mask)
        with _writing(path):
            dataset.write(out, window=place)
            if mask is not None and not masked:
                dataset.write_mask(True)  # all windows before this one were valid
                masked = True
            if masked:
                dataset.write_mask(np.ones(window.shape, bool) if mask is None else mask, window=place)
        del block, valid, out, mask  # before the next is decoded
    assert missing == 0, f"{path}: the windows leave {missing} pixels"


def _settle(
    block: NDArray[Any], valid: NDArray[np.bool_] | None, info: SceneInfo
) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """The block as it goes into the file, and the mask where the values alone do not tell what is valid."""
    out = convert(block, info.dtype)
    if valid is None:
        return out, None
    if info.nodata is not None:
        return mark(nudge(out, valid, info.nodata), valid, info.nodata), None
    told = valid_from(out, (None,) * len(out))
    return out, None if np.array_equal(told, valid) else valid


def _profile(info: SceneInfo, block: int) -> dict[str, Any]:
    """The working file: uncompressed blocks, band by band."""
    geo = info.geo
    crs = geo.crs_wkt if geo.transform is not None or not geo.gcps else None
    profile: dict[str, Any] = {
        "width": info.width,
        "height": info.height,
        "count": len(info.bands),
        "dtype": info.dtype,
        "nodata": info.nodata,
        "crs": CRS.from_wkt(crs) if crs else None,
        "transform": None if geo.transform is None else Affine(*geo.transform),
        "tiled": True,
        "blockxsize": block,
        "blockysize": block,
        "interleave": "band",
        "BIGTIFF": "YES",
        "SPARSE_OK": True,
    }
    return {key: value for key, value in profile.items() if value is not None}


def _describe(dataset: DatasetWriter, info: SceneInfo) -> None:
    """Everything beside the pixels. Statistics are left out: they were of other pixels."""
    dataset.descriptions = descriptions(info.bands, info.described)
    dataset.scales, dataset.offsets = info.scales, info.offsets
    dataset.units = tuple(unit or "" for unit in info.units)
    dataset.colorinterp = tuple(ColorInterp[name] for name in info.colorinterp)
    dataset.update_tags(**{key: value for key, value in info.tags.items() if not key.startswith("STATISTICS_")})
    for index, tags in enumerate(info.band_tags, 1):
        kept = {key: value for key, value in tags.items() if not key.startswith("STATISTICS_")}
        if kept:
            dataset.update_tags(index, **kept)
        if imagery := imagery_tags(tags):
            dataset.update_tags(index, ns=IMAGERY, **imagery)
    if info.geo.gcps:
        wkt = info.geo.gcps_crs_wkt
        points = [GroundControlPoint(g.row, g.column, g.x, g.y, g.z) for g in info.geo.gcps]
        dataset.gcps = (points, CRS.from_wkt(wkt) if wkt else CRS())
    if info.geo.rpcs:
        dataset.rpcs = RPC.from_gdal(dict(info.geo.rpcs))


def try_creation_options(info: SceneInfo, given: Mapping[str, str]) -> None:
    """Refuse creation options that a COG of such a scene cannot be made with, before there are pixels.

    Raises:
        ConfigError: the driver does not know one of them, or not its value.
    """
    with gdal_env(cache=COG_CACHE):
        _try_options(info, cog_options(info, "average", given))


def _try_options(info: SceneInfo, options: Mapping[str, str]) -> None:
    """Make a small COG with these options in memory first: GDAL only warns of an option it does not know, and late.

    BLOCKSIZE has been checked by `cog_options`, and is the least here of which GDAL does not warn: 512 would be half a
    gigabyte of some scenes. One thread compresses: what others of GDAL's find wrong nobody hears.
    """
    tried = {key: value for key, value in options.items() if key != "NUM_THREADS"} | {"BLOCKSIZE": "128"}
    small = {"width": 16, "height": 16, "crs": None, "transform": None}
    profile = {key: value for key, value in (_profile(info, 16) | small).items() if value is not None}
    with MemoryFile(ext=".tif") as trial, MemoryFile() as cog, open_writer(trial.name, **profile) as dataset:
        try:
            with gdal_warnings() as warned:
                rasterio.shutil.copy(dataset, cog.name, driver="COG", **tried)
        except GDAL_ERRORS as error:
            raise ConfigError(f"creation options: {reason(error)}; see the options of GDAL's COG driver") from error
    refused = [_UNSAID.sub("", text) for text in warned if "creation option" in text]
    if refused:
        # Of one value GDAL may warn twice, for the COG and for the GTiff within.
        once = {text.partition(" for ")[0]: text for text in reversed(refused)}
        raise ConfigError(
            f"creation options: {'; '.join(reversed(once.values()))}; see the options of GDAL's COG driver"
        )


def _writing(path: Place) -> AbstractContextManager[None]:
    return writing(path, (*GDAL_ERRORS, FormatError), reason)
