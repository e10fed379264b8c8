"""A store that was made of an array, under the dimensions, coordinates and attributes of that array."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
import zarr
from xarray.backends import ZarrStore
from xarray.conventions import decode_cf_variable

from pipeline.errors import SourceError
from pipeline.raster.object_zarr import zarr_of
from pipeline.raster.store_source import StoreSource
from pipeline.raster.zarr_store import read_attributes
from pipeline.storage import ObjectPath, Place, place

# Of one value of a coordinate. There are at most as many values as pixels on a side of a scene.
MOST_BYTES = 1 << 12
_SAID = ("_FillValue", "coordinates", "grid_mapping")


def given_frame(source: StoreSource) -> xr.DataArray | None:
    """An array without pixels of its own, (band, y, x), in the frame of the one the store was made of.

    None where the store was made of a file.

    Raises:
        SourceError: its coordinates cannot be read, or are not those of its pixels.
    """
    where, info = place(source.path), source.info
    ours = read_attributes(where)
    dims = ours.get("dims")
    if dims is None:
        return None
    shape = (len(info.bands), info.height, info.width)
    try:
        stored, coordinates = _opened(where, source.variable, dict(zip(dims, shape, strict=True)))
        for name in {*ours.get("encoded", ())} & {*coordinates}:
            coordinates[name] = _decoded(name, coordinates[name])
        attributes = {name: value for name, value in stored.attrs.items() if name not in _SAID}
        room = np.broadcast_to(np.zeros((), stored.dtype), shape)
        frame = xr.DataArray(room, dims=stored.dims, coords=coordinates, attrs=attributes)
        # Those of planes may be as large as a band: they are read when they are asked for.
        frame = frame.assign_coords({name: one.compute() for name, one in frame.coords.items() if one.ndim < 2})
    except Exception as error:  # whatever zarr and xarray make of damaged metadata
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise SourceError(f"{where}: the coordinates of the store cannot be read: {reason}") from error
    if "grid_mapping" in stored.attrs:
        frame.encoding["grid_mapping"] = stored.attrs["grid_mapping"]
    return frame


def _opened(where: Place, variable: str, sizes: dict[str, int]) -> tuple[xr.Variable, dict[Any, xr.Variable]]:
    """The variable of these dimensions and its coordinates, as they are stored.

    Nothing else of the store is opened: of every axis xarray makes an index, as long as the axis says that it is.
    """
    store = zarr_of(where) if isinstance(where, ObjectPath) else str(where)
    group = zarr.open_group(store, mode="r", zarr_format=3)
    array = _array(group, variable)
    found = _sizes(variable, array)
    if list(found.items()) != list(sizes.items()):
        raise ValueError(f"{variable} is {found}, not {sizes}")
    named = str(array.attrs.get("coordinates", "")).split()
    names = [name for name in dict.fromkeys((*sizes, *named)) if name in group]
    for name in names:
        _check(name, _array(group, name), sizes)
    # Values and attributes as they stand: the user's own may read like CF's and mean something else.
    stored = ZarrStore(group, mode="r")
    data, *around = (stored.open_store_variable(name) for name in (variable, *names))  # type: ignore[no-untyped-call]
    return data, dict(zip(names, around, strict=True))


def _array(group: zarr.Group, name: str) -> zarr.Array[Any]:
    array = group[name]
    if not isinstance(array, zarr.Array):
        raise ValueError(f"{name} is no array")
    return array


def _sizes(name: str, array: zarr.Array[Any]) -> dict[str, int]:
    dims = getattr(array.metadata, "dimension_names", None) or ()
    if len({*dims}) != array.ndim:
        raise ValueError(f"{name} of shape {array.shape} has the dimensions {dims}")
    return dict(zip(dims, array.shape, strict=True))


def _check(name: str, array: zarr.Array[Any], sizes: dict[str, int]) -> None:
    """ValueError for a coordinate that is not of the scene's sizes, or wider than any is, before one is read."""
    found = _sizes(name, array)
    if not found.items() <= sizes.items():
        raise ValueError(f"{name} is {found}, not of {sizes}")
    if any(chunk > max(1, side) for chunk, side in zip(array.shards or array.chunks, array.shape, strict=True)):
        raise ValueError(f"{name} of shape {array.shape} has chunks of {array.shards or array.chunks}")
    if array.dtype.itemsize > MOST_BYTES:
        raise ValueError(f"{name} has {array.dtype.itemsize} bytes a value")


def _decoded(name: str, stored: xr.Variable) -> xr.Variable:
    """Dates, durations or booleans of the numbers that were stored for them."""
    return decode_cf_variable(name, stored, mask_and_scale=False, decode_times=True, decode_timedelta=True)
