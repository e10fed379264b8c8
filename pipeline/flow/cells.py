"""Features as an xarray object: where their cells lie, by the coordinates and the transform of their scene."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import rioxarray  # noqa: F401  (registers .rio)
import xarray as xr
from numpy.typing import NDArray

from pipeline.flow.frames import grid_mapping, place_of, told_transform, transform_of
from pipeline.flow.networks import AnyBank
from pipeline.raster.sight import SEEN, STRIDE, with_sight


def label(scene: xr.DataArray, data: Any, bank: AnyBank, pool: int, stride: int) -> xr.DataArray:
    """Features (feature, y, x) of cells of stride x stride pixels of a scene, with its dimensions, places and CRS."""
    y, x = scene.dims[-2:]
    coords: dict[Any, Any] = {"feature": np.array(bank.features, object)}
    for name in (y, x):
        if name not in scene.coords:
            continue
        if stride == 1:
            coords[name] = scene.coords[name].variable  # to the last bit, or xarray joins nothing with the scene
            continue
        centres = _centres(scene, name, stride)
        if centres is not None:
            coords[name] = (name, centres, scene.coords[name].attrs)
    # What a scene is one of (its time, its tile); its mapping comes below.
    mapping = grid_mapping(scene)
    for name, one in scene.coords.items():
        if one.ndim == 0 and name not in (mapping, *coords):
            coords[name] = one.variable
    told = {name: str(value) for name, value in scene.attrs.items() if name in (SEEN, STRIDE)}
    attributes = {"bank": bank.name} | with_sight(told, bank.sees(pool, stride), stride)
    result = xr.DataArray(data, dims=("feature", y, x), coords=coords, name="features", attrs=attributes)
    if mapping is not None:
        placed = scene.coords[mapping].copy()
        result = result.assign_coords({mapping: placed if stride == 1 else _coarser(scene, placed, stride)})
        result.encoding["grid_mapping"] = mapping
    crs = _crs(scene)
    if crs is not None and _crs(result) is None:  # in an attribute, as stackstac has it
        result = result.rio.write_crs(crs)
    return result


def _crs(scene: xr.DataArray) -> Any:
    try:
        return scene.rio.crs
    except (RuntimeError, ValueError):  # pyproj's or rasterio's: an attribute `crs` that says none
        return None


def _coarser(scene: xr.DataArray, placed: xr.DataArray, stride: int) -> xr.DataArray:
    """The CRS variable with transform and ground control points of cells in place of pixels."""
    # The GeoTransform of a whole scene stays with its parts: their coordinates know better.
    transform = transform_of(scene) or told_transform(scene)
    if transform is not None and "GeoTransform" in placed.attrs:
        a, b, c, d, e, f = transform
        scaled = (c, a * stride, b * stride, f, d * stride, e * stride)
        placed.attrs["GeoTransform"] = " ".join(repr(float(value)) for value in scaled)
    if "gcps" in placed.attrs:
        points = json.loads(placed.attrs["gcps"])
        for point in points["features"]:
            point["properties"] |= {name: point["properties"][name] / stride for name in ("row", "col")}
        placed.attrs["gcps"] = json.dumps(points)
    return placed


def _centres(scene: xr.DataArray, name: Any, stride: int) -> NDArray[Any] | None:
    """A coordinate of cells: of equal steps float64 as stores have it, else the means of labels; None of words."""
    values = scene.coords[name].values
    starts = np.arange(0, len(values), stride)
    place = place_of(scene, name)
    if place is not None:
        edge, step = place
        # The formula of stores' coordinates (`_write_coordinates`).
        return np.asarray(edge + (np.arange(len(starts)) + 0.5) * (step * stride))
    counts = np.diff(np.append(starts, len(values)))
    if values.dtype.kind in "iuf":
        return np.asarray(np.add.reduceat(values.astype(float), starts) / counts)
    if values.dtype.kind not in "mM":
        return None
    first = np.repeat(values[starts], counts)  # sums of the distances from it alone stay within 64 bits
    means: NDArray[Any] = values[starts] + np.add.reduceat((values - first).astype("int64"), starts) // counts
    means[np.logical_or.reduceat(np.isnat(values), starts)] = "NaT"
    return means
