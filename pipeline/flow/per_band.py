"""What a scene says of each of its bands, also of one from which bands were chosen: xarray leaves attributes whole."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr


def of_each_band(scene: xr.DataArray, told: Any, coordinate: str) -> list[Any] | None:
    """What is told of each band of a scene (band, y, x), or (y, x): one value for all, or one for each.

    A coordinate along the bands goes before `told`, since it was chosen with them. Of a longer list, that of the scene
    from which these bands are, those count whose numbers, from 1, are the bands' labels, as rioxarray has them. None
    where nothing says which they are.
    """
    count = scene.shape[0] if scene.ndim == 3 else 1
    if coordinate in scene.coords and scene.coords[coordinate].shape in ((), (count,)):
        return list(np.broadcast_to(scene.coords[coordinate].values, count).tolist())
    values = list(told) if isinstance(told, list | tuple | np.ndarray) and np.ndim(told) == 1 else [told]
    if len(values) in (1, count):
        return values * (count // len(values))
    labels = _labels(scene)
    if labels and all(type(label) is int and 1 <= label <= len(values) for label in labels):
        return [values[label - 1] for label in labels]
    return values[:1] * count if values and all(value == values[0] for value in values) else None


def _labels(scene: xr.DataArray) -> list[Any]:
    name = scene.dims[0] if scene.ndim == 3 else "band"
    return list(np.ravel(scene.coords[name].values).tolist()) if name in scene.coords else []
