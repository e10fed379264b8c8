"""Zarr v3 stores of ours: made once, filled chunk by chunk, opened as they are by xarray and rioxarray.

GDAL 3.10 knows no codec `terrasketch.lowrank`.

A store holds one labelled variable (`scene` or `features`), `valid` where pixels may be invalid, the coordinates, and
CF's `spatial_ref`. The georeference stands there a second time by the Zarr conventions `proj:` and `spatial:`.
Everything of ours is under the attribute `terrasketch`, as JSON in a word, since netCDF has no mappings: the scene's
facts and the configuration with its hash.
"""

from __future__ import annotations

import json
import shutil
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import zarr
from zarr.errors import ZarrUserWarning

from pipeline.errors import OutputError, SourceError
from pipeline.grid import MOST_SIDE
from pipeline.raster.chunks import MOST_ELEMENTS, plain_codecs
from pipeline.raster.frame import Frame
from pipeline.raster.object_stores import group_metadata
from pipeline.raster.scene import Georeference, SceneInfo
from pipeline.storage import ObjectPath, Place
from pipeline.untrusted import parse_json

_CONVENTIONS = [
    {
        "uuid": "f17cb550-5864-4468-aeb7-f3180cfb622f",
        "name": "proj:",
        "spec_url": "https://github.com/zarr-conventions/geo-proj",
        "description": "Coordinate reference system of the arrays",
    },
    {
        "uuid": "689b58e2-cf7b-45e0-9fff-9cfc0883d6b4",
        "name": "spatial:",
        "spec_url": "https://github.com/zarr-conventions/spatial",
        "description": "From array indices to spatial coordinates",
    },
]


@dataclass(frozen=True)
class Variable:
    """One array of a store: (label, y, x) in square chunks over all labels, or (y, x) without labels."""

    name: str
    dtype: str
    fill: float | int | bool
    axis: str | None = None
    labels: tuple[str, ...] = ()
    serializer: Any = None
    attributes: dict[str, Any] = field(default_factory=dict)
    coordinates: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    """A value for each label as coordinates along its axis: words, whole numbers (int64), or others (float32)."""
    coordinate_attributes: dict[str, dict[str, Any]] = field(default_factory=dict)


def valid_variable() -> Variable:
    """The validity of the pixels, (y, x) bool, True = real."""
    return Variable("valid", "bool", False, attributes={"long_name": "True where the pixel is real"})


def create_store(
    path: Path,
    info: SceneInfo,
    tile: int,
    variables: list[Variable],
    attributes: dict[str, Any],
    frame: Frame | None = None,
) -> None:
    """Make the metadata, coordinates and georeference of a store whose chunks are tile x tile pixels.

    With a `frame` its dimensions and coordinates are written, and no others.

    Raises:
        OutputError: the folder cannot be made or written, or the store is larger than any can be.
    """
    _check_size(path, info, tile, variables)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        ours = {"terrasketch": json.dumps(attributes, ensure_ascii=False)}
        group = zarr.create_group(path, attributes=_group_attributes(info, frame) | ours)
        if frame is None:
            _write_coordinates(group, info)
        else:
            frame.write(group)
        for variable in variables:
            _create_array(group, info, tile, variable, frame)
        with warnings.catch_warnings():
            # xarray warns where consolidated metadata is missing, zarr where it is made; the first is the user's.
            warnings.simplefilter("ignore", ZarrUserWarning)
            zarr.consolidate_metadata(path)
    except OSError as error:
        shutil.rmtree(path, ignore_errors=True)
        raise OutputError(f"{path}: the store cannot be made: {error.strerror}") from error


def _check_size(path: Path, info: SceneInfo, tile: int, variables: list[Variable]) -> None:
    most = max(max(1, len(variable.labels)) for variable in variables) * tile * tile
    if most > MOST_ELEMENTS:
        raise OutputError(f"{path}: a chunk of {most} numbers is beyond {MOST_ELEMENTS}; give a smaller --tile")
    if max(info.height, info.width) > MOST_SIDE:
        raise OutputError(
            f"{path}: a scene of {info.height} x {info.width} pixels is beyond {MOST_SIDE} on a side; cut it in parts"
        )


def read_attributes(path: Place) -> dict[str, Any]:
    """What we wrote under `terrasketch` in a store's attributes, of one that is being filled too.

    Raises:
        SourceError: there is no Zarr group, or it is not one of ours.
    """
    try:
        ours = parse_json(group_metadata(path))["attributes"]["terrasketch"]
        if isinstance(ours, str):  # a mapping in stores of before
            ours = parse_json(ours)
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(path, ObjectPath) and isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
            raise SourceError(f"{path}: cannot be read: {error.strerror}") from error
        if isinstance(path, Path) and not path.exists():
            raise SourceError(f"{path}: there is no such store; `terrasketch compress` or `run` writes one") from error
        raise SourceError(
            f"{path} is not a store of terrasketch (no `terrasketch` attribute in zarr.json); "
            f"write one with `terrasketch compress` or `run`, {of_other_zarr(path)}"
        ) from error
    if not isinstance(ours, dict):
        raise SourceError(f"{path}: the `terrasketch` attribute of zarr.json is not a mapping")
    return ours


def of_other_zarr(path: Place) -> str:
    """What to do with Zarr that others wrote, in a message's words."""
    words = f'import pipeline, xarray; xarray.open_zarr("{path}")[VARIABLE].terrasketch.compress("OUT.zarr")'
    return f"or make one of other Zarr in Python: {words}"


def _create_array(group: zarr.Group, info: SceneInfo, tile: int, variable: Variable, frame: Frame | None) -> None:
    labels = (len(variable.labels),) if variable.axis else ()
    serializer: Any = "auto" if variable.serializer is None else variable.serializer
    plain = plain_codecs(np.dtype(variable.dtype))
    # Plain xarray.open_zarr makes a coordinate of what `coordinates` names, and there rioxarray finds the CRS.
    named = " ".join(["spatial_ref", *variable.coordinates])
    attributes = {"grid_mapping": "spatial_ref", "coordinates": named, **variable.attributes}
    dims = (*([variable.axis] if variable.axis else []), "y", "x")
    if frame is not None:
        dims = frame.dims if variable.axis else frame.dims[1:]
        attributes = {**variable.attributes, **frame.bookkeeping(dims)}
    group.create_array(
        variable.name,
        shape=(*labels, info.height, info.width),
        chunks=(*labels, tile, tile),
        dtype=variable.dtype,
        fill_value=variable.fill,
        serializer=serializer,
        compressors=plain if variable.serializer is None else None,
        dimension_names=dims,
        attributes=attributes,
    )
    if variable.axis and frame is None:
        label = group.create_array(
            variable.axis, shape=labels, chunks=labels, dtype=str, dimension_names=[variable.axis]
        )
        label[:] = np.array(variable.labels, dtype=object)
        for name, values in variable.coordinates.items():
            words, whole = (all(isinstance(value, kind) for value in values) for kind in (str, int))
            dtype: Any = str if words else "int64" if whole else "float32"
            about = variable.coordinate_attributes.get(name, {})
            coordinate = group.create_array(
                name, shape=labels, chunks=labels, dtype=dtype, dimension_names=[variable.axis], attributes=about
            )
            coordinate[:] = np.array(values, dtype=object if words else dtype)


def _write_coordinates(group: zarr.Group, info: SceneInfo) -> None:
    spatial_ref = group.create_array(
        "spatial_ref", shape=(), dtype="int64", fill_value=0, attributes=_spatial_ref(info.geo)
    )
    spatial_ref[...] = 0
    transform = info.geo.transform
    if transform is None or transform[1] or transform[3]:
        return
    a, _, c, _, e, f = transform
    for name, extent, origin, step in (("y", info.height, f, e), ("x", info.width, c, a)):
        axis = group.create_array(
            name,
            shape=(extent,),
            dtype="float64",
            dimension_names=[name],
            attributes={"axis": name.upper(), **_axis_attributes(info.geo, name)},
        )
        axis[:] = origin + (np.arange(extent) + 0.5) * step


def _axis_attributes(geo: Georeference, name: str) -> dict[str, str]:
    if geo.crs_wkt is None:
        return {"long_name": f"{name} coordinate of the pixel centre"}
    crs = pyproj.CRS.from_wkt(geo.crs_wkt)
    if crs.is_geographic:
        standard, units = ("latitude", "degrees_north") if name == "y" else ("longitude", "degrees_east")
        return {"standard_name": standard, "units": units, "long_name": standard}
    return {
        "standard_name": f"projection_{name}_coordinate",
        "units": crs.axis_info[0].unit_name if crs.axis_info else "metre",
        "long_name": f"{name} coordinate of projection",
    }


def _spatial_ref(geo: Georeference) -> dict[str, Any]:
    attributes: dict[str, Any] = {}
    wkt = geo.crs_wkt or geo.gcps_crs_wkt
    if wkt is not None:
        attributes |= pyproj.CRS.from_wkt(wkt).to_cf()
        attributes |= {"crs_wkt": wkt, "spatial_ref": wkt}
    if geo.transform is not None:
        a, b, c, d, e, f = geo.transform
        attributes["GeoTransform"] = " ".join(repr(float(value)) for value in (c, a, b, f, d, e))
    if geo.gcps:
        attributes["gcps"] = _gcps_as_geojson(geo)
    return attributes


def _gcps_as_geojson(geo: Georeference) -> str:
    """Ground control points in the form rioxarray reads."""
    features = [
        {
            "type": "Feature",
            "properties": {"id": str(number), "info": "", "row": row, "col": column},
            "geometry": {"type": "Point", "coordinates": [x, y, z]},
        }
        for number, (row, column, x, y, z) in enumerate(geo.gcps, 1)
    ]
    return json.dumps({"type": "FeatureCollection", "features": features})


def _group_attributes(info: SceneInfo, frame: Frame | None) -> dict[str, Any]:
    attributes: dict[str, Any] = {"Conventions": "CF-1.11"}
    geo = info.geo
    bounds = geo.bounds(info.height, info.width)
    if geo.transform is not None and bounds is not None:
        attributes |= {
            "zarr_conventions": _CONVENTIONS if geo.crs_wkt else _CONVENTIONS[1:],
            "spatial:dimensions": ["y", "x"] if frame is None else list(frame.dims[1:]),
            "spatial:shape": [info.height, info.width],
            "spatial:transform": list(geo.transform),
            "spatial:bbox": list(bounds),
        }
    if geo.crs_wkt is not None:
        epsg = geo.epsg
        attributes |= {"proj:code": f"EPSG:{epsg}"} if epsg else {"proj:wkt2": geo.wkt2}
    return attributes
