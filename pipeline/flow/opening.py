"""Whatever SRC names as an xarray object: lazy on Dask, with bands, coordinates, wavelengths and CRS."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import date
from numbers import Integral
from typing import Any

import dask.array as da
import numpy as np
import rioxarray  # noqa: F401  (registers .rio)
import xarray as xr
from affine import Affine
from numpy.typing import NDArray
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS

from pipeline.flow import read
from pipeline.flow.array_dates import date_coordinates
from pipeline.flow.arrays import TILE
from pipeline.flow.clear import with_clear
from pipeline.flow.crew import Nobody
from pipeline.flow.given import given_frame
from pipeline.flow.python_values import (
    names,
    number,
    path_text,
    path_texts,
    resolution_of,
    times_of,
    truth,
    whole_number,
    whole_numbers,
)
from pipeline.flow.python_words import in_python, python_words
from pipeline.flow.sentinels import warn_caller
from pipeline.flow.unread import tell_unread
from pipeline.grid import Window
from pipeline.raster.masks import MaskedSource, unmasked
from pipeline.raster.nodata import mark, real_elements
from pipeline.raster.scene import SceneInfo, Source
from pipeline.raster.spectrum import known_wavelengths
from pipeline.raster.store_bands import StoreBands, stored
from pipeline.storage import at_home


def open_scene(
    source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    masked: bool | None = None,
    tile: int | None = None,
    bidx: int | Sequence[int] | None = None,
    bands: str | Sequence[str] | None = None,
    nodata: float | None = None,
    resolution: float | tuple[float, float] | None = None,
    resampling: str | None = None,
    stack: bool = False,
    times: Sequence[str | date | np.datetime64] | None = None,
    mask_band: str | os.PathLike[str] | int | None = None,
    mask_values: int | Sequence[int] | None = None,
    mask_bits: int | Sequence[int] | None = None,
) -> xr.DataArray:
    """Open what the commands take as SRC as one lazy array; no pixel is read before it is asked for.

    Args:
        source: a raster of any GDAL path, a folder or list of band files, a STAC item, or a store of ours.
        masked: True: floats, NaN in the bands that hold no number there, in all where a mask alone says so;
            nodata in the encoding, as rioxarray's `masked=True`. False: the file's dtype, its nodata where a pixel is
            invalid. None: False where the values tell what is invalid, True where a mask or alpha band does.
        tile: side of the Dask chunks in pixels; that of the chunks of a store, 256 of anything else.
        bidx: numbers of the bands, from 1.
        bands: or their names.
        nodata: the sentinel of all bands, in place of the files' own.
        resolution: pixel size of a stack of band files of several resolutions, or (x, y) sizes.
        resampling: how files are brought to that grid: nearest, bilinear, cubic, average; by default finer ones are
            averaged, others placed by nearest.
        stack: whether the sources are dates of one place, one joint scene.
        times: when they were taken, ISO 8601 or datetimes, where nothing else says.
        mask_band: [CODING:]BAND or FILE of a mask of clouds, as of the commands: name or number of a band, or key of an
            asset, which is then none of the scene's, or a file of its own. What it leaves is the coordinate `clear`
            (y, x), lazy, of which `denoise` and `features` learn; `compress` does not store it.
        mask_values: values of the mask that are out, not its coding's.
        mask_bits: or its bits, from 0.

    Returns:
        (band, y, x), of a store of features (feature, y, x): names of bands, centres of pixels, `wavelength` in nm
        where the tags tell it, CRS and transform as rioxarray has them.

    Raises:
        SourceError: it cannot be opened.
        ConfigError: an option names what is not there, or does not fit the source.
    """
    paths = path_texts("source", source)
    words: dict[str, Any] = {"bidx": whole_numbers("bidx", bidx), "bands": names("bands", bands)}
    words |= {"nodata": number("nodata", nodata), "resolution": resolution_of(resolution), "resampling": resampling}
    words |= {"stack": truth("stack", stack or False), "times": times_of(times), "mask_band": _mask_text(mask_band)}
    words |= {"mask_values": whole_numbers("mask_values", mask_values)}
    words |= {"mask_bits": whole_numbers("mask_bits", mask_bits)}
    side, masked = whole_number("tile", tile), None if masked is None else truth("masked", masked)
    with python_words():
        opened = read.open_scene(paths, **words)
        tell_unread(opened, _Warner())
    scene = as_array(unmasked(opened), masked, side)
    return with_clear(scene, opened) if isinstance(opened, MaskedSource) else scene


def _mask_text(mask: Any) -> str | None:
    """The mask in the words of the commands; a number alone is that of a band."""
    if mask is None:
        return None
    if isinstance(mask, Integral) and mask is not True:
        return str(int(mask))
    coding, colon, name = path_text("mask_band", mask, "give the name or number of a band, or a file").rpartition(":")
    return f"{coding}{colon}{at_home(name)}"


class _Warner(Nobody):
    """A Watch that warns as Python does, in the name of the caller of `open_scene`."""

    def warn(self, text: str) -> None:
        warn_caller(in_python(text))


def as_array(source: Source, masked: bool | None = None, tile: int | None = None) -> xr.DataArray:
    """A source as a lazy array; see `open_scene`."""
    info = source.info
    store = stored(source)
    side = tile or (TILE if store is None else store.tile)
    if masked is None:
        masked = info.masked and info.nodata is None and np.dtype(info.dtype).kind != "f"
    dtype = _masked_dtype(info.dtype) if masked else np.dtype(info.dtype)
    chunks = ((len(info.bands),), _parts(info.height, side), _parts(info.width, side))
    data = da.map_blocks(  # type: ignore[no-untyped-call]
        _read_block, source, masked, dtype=dtype, chunks=chunks, meta=np.empty((0, 0, 0), dtype)
    )
    given = None if store is None else given_frame(store)
    if given is not None and isinstance(source, StoreBands):
        given = given.isel({given.dims[0]: list(source.positions)})
    if given is not None:
        return _marked(given.copy(deep=False, data=data).rename(info.name), info, masked)
    axis = "feature" if store is not None and store.variable == "features" else "band"
    scene = xr.DataArray(data, dims=(axis, "y", "x"), coords=_coordinates(info, axis), name=info.name)
    return _with_facts(scene, info, masked)


def _read_block(source: Source, masked: bool, block_info: Any = None) -> NDArray[Any]:
    (_, (y0, y1), (x0, x1)) = block_info[None]["array-location"]
    with python_words():
        block, valid = source.read(Window(y0, y1, x0, x1))
    if masked:
        real = real_elements(block, valid, source.info.nodata, infinite=True)
        block = block.astype(_masked_dtype(block.dtype))
        block[~real] = np.nan
    elif source.info.nodata is not None:
        block = mark(block, valid, source.info.nodata)
    elif block.dtype.kind == "f":
        block = mark(block, valid, np.nan)
    return block


def _masked_dtype(dtype: Any) -> np.dtype[Any]:
    """The float that holds every value of the dtype, of 64-bit integers but the largest, and NaN."""
    kind: np.dtype[Any] = np.dtype(dtype)
    if kind.kind == "f":
        return kind
    return np.dtype("float32" if kind.itemsize <= 2 else "float64")


def _parts(extent: int, side: int) -> tuple[int, ...]:
    return tuple(min(side, extent - start) for start in range(0, extent, side))


def _coordinates(info: SceneInfo, axis: str) -> dict[str, Any]:
    # Objects, as xarray has strings of any length: those of a fixed one stand in no specification of Zarr's.
    coords: dict[str, Any] = {axis: np.array(info.bands, object)}
    centres = known_wavelengths(info)
    if centres is not None:
        about = {"long_name": "centre wavelength", "units": "nm"}
        coords["wavelength"] = (axis, np.array(centres), about)
    # Numbers that differ from band to band are coordinates too: xarray takes along those of the bands that are chosen.
    if len(set(zip(info.scales, info.offsets, strict=True))) > 1:
        coords |= {"scale": (axis, np.array(info.scales)), "offset": (axis, np.array(info.offsets))}
    if len(set(info.units)) > 1:
        coords["unit"] = (axis, np.array([unit or "" for unit in info.units], object))
    coords |= date_coordinates(info, axis)
    transform = info.geo.transform
    if transform is not None and not transform[1] and not transform[3]:
        a, _, c, _, e, f = transform
        coords["y"] = f + (np.arange(info.height) + 0.5) * e
        coords["x"] = c + (np.arange(info.width) + 0.5) * a
    return coords


def _with_facts(scene: xr.DataArray, info: SceneInfo, masked: bool) -> xr.DataArray:
    geo = info.geo
    wkt = geo.crs_wkt or geo.gcps_crs_wkt
    scene.attrs.update(info.tags)
    pairs = set(zip(info.scales, info.offsets, strict=True))
    if len(pairs) > 1:
        scene.attrs.update(scales=info.scales, offsets=info.offsets)
    elif pairs != {(1.0, 0.0)}:
        scene.attrs.update(scale_factor=info.scales[0], add_offset=info.offsets[0])
    if any(info.units):
        units = tuple(unit or "" for unit in info.units)
        scene.attrs["units"] = units if len(set(units)) > 1 else units[0]
    if geo.gcps:
        points = [GroundControlPoint(g.row, g.column, g.x, g.y, g.z) for g in geo.gcps]
        scene = scene.rio.write_gcps(points, CRS.from_wkt(wkt) if wkt else None)
    elif wkt:
        scene = scene.rio.write_crs(wkt)
    if geo.transform is not None:
        scene = scene.rio.write_transform(Affine(*geo.transform))
        if "y" in scene.coords and wkt:
            scene = scene.rio.write_coordinate_system()
    return _marked(scene, info, masked)


def _marked(scene: xr.DataArray, info: SceneInfo, masked: bool) -> xr.DataArray:
    """The scene, which says what stands for an invalid pixel."""
    if info.nodata is not None or masked:
        sentinel = np.nan if info.nodata is None else info.nodata
        scene = scene.rio.write_nodata(sentinel, encoded=masked and info.nodata is not None)
    return scene
