"""The dates of a stack as coordinates along its bands, and back: `time` and `band_name`, as its stores have them."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from pipeline.flow.compress import TIME_ATTRIBUTES
from pipeline.raster.dates import times_of
from pipeline.raster.scene import SceneInfo
from pipeline.raster.times import BAND, TIME

_ENCODING = ("units", "calendar")


def date_coordinates(info: SceneInfo, axis: str) -> dict[str, Any]:
    """The coordinates of a stack of dates; none of other scenes."""
    found = times_of(info)
    if found is None:
        return {}
    said = TIME_ATTRIBUTES["time"]
    encoding = {key: said[key] for key in _ENCODING} | {"dtype": "int64"}
    attributes = {key: value for key, value in said.items() if key not in _ENCODING}
    seconds = np.array(found[0], "M8[s]")
    times = seconds.astype("M8[ns]")
    if (times.astype("M8[s]") != seconds)[~np.isnat(seconds)].any():  # years that nanoseconds do not reach
        times = seconds
    return {
        "time": xr.Variable(axis, times, attributes, encoding),
        "band_name": (axis, np.array(found[1], object)),
    }


def time_encoding(variable: xr.Variable) -> dict[str, Any]:
    """How a stack's times are written; nothing of others, for which xarray finds units that hold them."""
    said = {key: variable.encoding.get(key) for key in (*_ENCODING, "dtype")}
    ours = all(said[key] == TIME_ATTRIBUTES["time"][key] for key in _ENCODING)
    return {key: value for key, value in said.items() if value is not None} if ours else {}


def times_along(scene: xr.DataArray) -> np.ndarray[Any, Any] | None:
    """(band,) when each band of a scene (band, y, x) was taken, by a coordinate of several times; None without one."""
    first = scene.dims[0] if scene.ndim == 3 else None
    along = {name: one for name, one in scene.coords.items() if one.dims == (first,)}
    times = {name: one for name, one in along.items() if getattr(one.dtype, "kind", "") == "M"}
    several = {name: one.values for name, one in times.items() if len(np.unique(one.values)) > 1}
    return several.get("time", next(iter(several.values()), None))


def date_tags(scene: xr.DataArray) -> list[dict[str, str]] | None:
    """Of each band the tags by which a file tells its date; None where a scene has no dates."""
    times = times_along(scene)
    if times is None:
        return None
    tags = [{} if np.isnat(one) else {TIME: f"{np.datetime_as_string(one, 's')}Z"} for one in times]
    names = scene.coords.get("band_name")
    if (
        names is not None
        and names.dims == scene.dims[:1]
        and all(isinstance(one, str) for one in names.values.tolist())
    ):
        tags = [tag | {BAND: name} for tag, name in zip(tags, names.values.tolist(), strict=True)]
    return tags
