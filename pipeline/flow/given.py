"""A store that was made of an array, under the dimensions, coordinates and attributes of that array."""

from __future__ import annotations

import numpy as np
import xarray as xr

from pipeline.errors import SourceError
from pipeline.raster.object_zarr import zarr_of
from pipeline.raster.store_source import StoreSource
from pipeline.raster.zarr_store import read_attributes
from pipeline.storage import ObjectPath, place

# Of one value of a coordinate. There are at most as many values as pixels on a side of a scene.
MOST_BYTES = 1 << 12


def given_frame(source: StoreSource) -> xr.DataArray | None:
    """An array without pixels of its own, (band, y, x), in the frame of the one the store was made of.

    None where the store was made of a file.

    Raises:
        SourceError: its coordinates cannot be read, or are not those of its pixels.
    """
    where, info = place(source.path), source.info
    dims = read_attributes(where).get("dims")
    if dims is None:
        return None
    shape = (len(info.bands), info.height, info.width)
    try:
        store = zarr_of(where) if isinstance(where, ObjectPath) else str(where)
        stored = xr.open_zarr(store, chunks=None, mask_and_scale=False)[source.variable]
        if list(stored.dims) != dims or stored.shape != shape:
            raise ValueError(f"{source.variable} is {dict(stored.sizes)}, not {dims} of {shape}")
        _check(stored)
        attributes = {name: value for name, value in stored.attrs.items() if name not in ("_FillValue", "grid_mapping")}
        room = np.broadcast_to(np.zeros((), stored.dtype), shape)
        frame = xr.DataArray(room, dims=stored.dims, coords=stored.coords, attrs=attributes)
        # Those of planes may be as large as a band: they are read when they are asked for.
        frame = frame.assign_coords({name: one.compute() for name, one in frame.coords.items() if one.ndim < 2})
    except Exception as error:  # whatever zarr and xarray make of damaged metadata
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise SourceError(f"{where}: the coordinates of the store cannot be read: {reason}") from error
    if "grid_mapping" in stored.attrs:
        frame.encoding["grid_mapping"] = stored.attrs["grid_mapping"]
    return frame


def _check(stored: xr.DataArray) -> None:
    """ValueError for a coordinate whose words or numbers are wider than any that are meant, before one is read."""
    for name, one in stored.coords.items():
        if one.dtype.itemsize > MOST_BYTES:
            raise ValueError(f"{name} has {one.dtype.itemsize} bytes a value")
