"""What xarray holds around the pixels, as a store keeps it, and back: dimensions, coordinates, attributes, the grid."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from xarray.conventions import encode_cf_variable

from pipeline.errors import BlockError
from pipeline.flow.array_dates import time_encoding
from pipeline.flow.per_band import of_each_band
from pipeline.raster.frame import Coordinate, Frame, xarray_fill
from pipeline.raster.scene import Affine6

NEAR = 0.005
"""Of a pixel: how far coordinates may be from equal steps, beside their dtype's digits, and still be a transform's.
Gaussian grids are off by 0.009 and more."""
_OURS = ("scene", "valid", "zarr.json")
# What a store says by itself: sentinel, scales, and which variables are coordinates.
_SAID = {
    "_FillValue",
    "missing_value",
    "scale_factor",
    "add_offset",
    "scales",
    "offsets",
    "coordinates",
    "grid_mapping",
}

# Attributes that may be lists, one for each band, and the coordinates that tell the same.
_LISTS = {"long_name": "long_name", "units": "unit"}


def frame_of(scene: xr.DataArray, transform: Affine6 | None) -> Frame:
    """The frame of a scene (band, y, x) whose grid has this transform.

    What Zarr cannot hold is left out with a warning.

    Raises:
        BlockError: a coordinate has the name of a part of the store, or attributes that contradict its values.
    """
    taken = [name for name in (*scene.dims, *scene.coords) if name in _OURS]
    if taken:
        raise BlockError(f"{taken[0]!r} is the name of a part of the store; give the scene's another by rename()")
    mapping = grid_mapping(scene)
    found = tuple(_coordinates(scene, mapping, transform))
    attributes = dict(_attributes(_own(scene), "the scene", _SAID))
    return Frame(cast(Any, tuple(map(str, scene.dims))), found, attributes, mapping)


def _own(scene: xr.DataArray) -> dict[Any, Any]:
    """The attributes, of a list of names and of units those of these bands; without it where nothing tells which."""
    attributes = dict(scene.attrs)
    for key, coordinate in _LISTS.items():
        told = attributes.get(key)
        if isinstance(told, list | tuple | np.ndarray):
            attributes[key] = of_each_band(scene, told, coordinate)
            if attributes[key] is None:
                del attributes[key]
    return attributes


def transform_of(scene: xr.DataArray) -> Affine6 | None:
    """Where the pixels of a scene (.., y, x) lie by its coordinates; without them by its GeoTransform.

    The GeoTransform counts where the coordinates agree with it. None where they have no equal steps, or nothing tells.
    """
    told = told_transform(scene)
    y, x = scene.dims[-2:]
    if not (y in scene.coords or x in scene.coords) or (told is not None and (told[1] or told[3])):
        return told
    rows, columns = _place(scene, y, told and told[4]), _place(scene, x, told and told[0])
    if rows is None or columns is None:
        return None
    (top, down), (left, right) = rows, columns
    found = (right, 0.0, left, 0.0, down, top)
    agree = told is not None and all(
        abs(a - b) <= NEAR * abs(step) / extent
        for a, b, step, extent in (
            (told[0], right, right, scene.sizes[x]),
            (told[4], down, down, scene.sizes[y]),
            (told[2], left, right, 1),
            (told[5], top, down, 1),
        )
    )
    return told if agree else found


def place_of(scene: xr.DataArray, name: Any) -> tuple[float, float] | None:
    """Edge and step of one of the last two axes: by the transform, or by itself where the other has no equal steps."""
    column = name == scene.dims[-1]
    transform, told = transform_of(scene), told_transform(scene)
    if transform is None or transform[1] or transform[3]:
        return _place(scene, name, told and told[0 if column else 4])
    a, _, c, _, e, f = transform
    return (c, a) if column else (f, e)


def told_transform(scene: xr.DataArray) -> Affine6 | None:
    """That of the GeoTransform, whatever the coordinates say; None where there is none."""
    mapping = grid_mapping(scene)
    words = str(scene.coords[mapping].attrs.get("GeoTransform", "")).split() if mapping else []
    if len(words) != 6:
        return None
    try:
        c, a, b, f, d, e = map(float, words)
    except ValueError:  # words of others, which GDAL does not read either
        return None
    return a, b, c, d, e, f


def grid_mapping(scene: xr.DataArray) -> str | None:
    """The coordinate that holds the CRS; None where there is none."""
    name = scene.rio.grid_mapping
    return str(name) if name in scene.coords else None


def _place(scene: xr.DataArray, name: Any, step: float | None) -> tuple[float, float] | None:
    """Edge and step of an axis by the coordinate of its name, numbers at equal steps; `step` is that of one alone."""
    if name not in scene.coords or scene.coords[name].dtype.kind not in "iuf" or not scene.sizes[name]:
        return None
    values, count = scene.coords[name].values.astype(float), scene.sizes[name]
    if count > 1:
        step = float((values[-1] - values[0]) / (count - 1))
    if not step or not np.isfinite(values).all():
        return None
    dtype = scene.coords[name].dtype
    digits = np.finfo(dtype).eps * np.abs(values).max() if dtype.kind == "f" else 0
    if np.abs(values - (values[0] + np.arange(count) * step)).max() > NEAR * abs(step) + digits:
        return None
    return float(values[0] - step / 2), float(step)


def _coordinates(scene: xr.DataArray, mapping: str | None, transform: Affine6 | None) -> Iterator[Coordinate]:
    for key, coordinate in scene.coords.items():
        name, variable = str(key), coordinate.variable
        attributes = dict(_attributes(variable.attrs, f"coordinate {name}", {"_FillValue", "coordinates"}))
        if name == mapping:
            attributes.pop("GeoTransform", None)
            if transform is not None:
                a, b, c, d, e, f = transform
                attributes["GeoTransform"] = " ".join(repr(float(value)) for value in (c, a, b, f, d, e))
        values = np.asarray(variable.values)
        words = _words(values.astype(object) if values.dtype.kind in "UT" else values)
        others = [one for one in words.ravel() if not isinstance(one, str)] if words.dtype == object else []
        if others:
            _leave_out(f"coordinate {name}", f"{type(others[0]).__name__} and the like")
            continue
        if {*name} & {"/", " "} or name.startswith("."):
            _leave_out(f"coordinate {name!r}", "such names")
            continue
        encoding = {"_FillValue": None} if words.dtype.kind in "fc" else time_encoding(variable)
        coded = _coded(name, xr.Variable(variable.dims, words, attributes, encoding))
        facts = {key: xarray_fill(float(v)) if key == "_FillValue" else _json(v) for key, v in coded.attrs.items()}
        encoded = values.dtype.kind in "mMb"
        yield Coordinate(name, tuple(map(str, coded.dims)), np.asarray(coded.values), facts, encoded)


def _words(values: NDArray[Any]) -> NDArray[Any]:
    """Words with "" where there is none (None, NaN), as xarray writes them; values of other kinds as they are."""
    if values.dtype != object:
        return values
    none = np.array([one is None or (isinstance(one, float) and one != one) for one in values.ravel()], bool)
    known = [isinstance(one, str) for one in values.ravel()[~none]]
    if not none.any() or not known or not all(known):
        return values
    return np.where(none.reshape(values.shape), "", values)


def _coded(name: str, variable: xr.Variable) -> xr.Variable:
    try:
        return encode_cf_variable(variable, name=name)
    except Exception as error:  # whatever xarray makes of attributes that CF's encoding sets itself
        reason = " ".join(str(error).split())
        raise BlockError(f"coordinate {name!r} of {variable.dtype} cannot be stored: {reason}") from error


def _attributes(given: Any, whose: str, left: set[str]) -> Iterator[tuple[str, Any]]:
    for name, value in given.items():
        if name in left:
            continue
        try:
            yield str(name), json.loads(json.dumps(_json(value), allow_nan=False))
        except (TypeError, ValueError):
            _leave_out(f"attribute {name} of {whose}", type(value).__name__)


def _json(value: Any) -> Any:
    """A value in JSON's types, where it is made of numpy's."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, tuple | list):
        return [_json(one) for one in value]
    if isinstance(value, dict):
        return {name: _json(one) for name, one in value.items()}
    return value


def _leave_out(what: str, kind: str) -> None:
    warnings.warn(f"{what} is left out: Zarr does not hold {kind}", UserWarning, stacklevel=2)
