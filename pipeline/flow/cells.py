"""Features as an xarray object: where their cells lie, by the coordinates and the transform of their scene."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.flow.frames import place_of, told_transform, transform_of
from pipeline.flow.networks import AnyBank


def label(scene: xr.DataArray, data: Any, bank: AnyBank, stride: int) -> xr.DataArray:
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
    result = xr.DataArray(data, dims=("feature", y, x), coords=coords, name="features", attrs={"bank": bank.name})
    if "spatial_ref" in scene.coords:
        result = result.assign_coords(spatial_ref=scene.coords["spatial_ref"].copy())
        # The GeoTransform of a whole scene stays with its parts: their coordinates know better.
        transform = transform_of(scene) or told_transform(scene)
        if stride > 1 and transform is not None and "GeoTransform" in result.spatial_ref.attrs:
            a, b, c, d, e, f = transform
            scaled = (c, a * stride, b * stride, f, d * stride, e * stride)
            result.spatial_ref.attrs["GeoTransform"] = " ".join(repr(float(value)) for value in scaled)
        result.encoding["grid_mapping"] = "spatial_ref"
    return result


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
