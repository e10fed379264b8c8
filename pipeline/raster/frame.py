"""The dimensions, coordinates and attributes that a scene came with as an array, as its store keeps them."""

from __future__ import annotations

import base64
import struct
from dataclasses import dataclass, field
from typing import Any

import zarr
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Coordinate:
    """One coordinate in CF's encoding: numbers, or words as objects, along some of the scene's dimensions."""

    name: str
    dims: tuple[str, ...]
    values: NDArray[Any]
    attributes: dict[str, Any] = field(default_factory=dict)
    encoded: bool = False
    """Whether the values are numbers that stand for dates, durations or booleans."""


@dataclass(frozen=True, eq=False)
class Frame:
    """What stands around the pixels (band, y, x) of an array, under its own names."""

    dims: tuple[str, str, str]
    coordinates: tuple[Coordinate, ...] = ()
    attributes: dict[str, Any] = field(default_factory=dict)
    grid_mapping: str | None = None
    """The coordinate that tells the CRS."""

    def record(self) -> dict[str, list[str]]:
        """What a reader cannot tell from the store: the dimensions, and which coordinates CF's encoding changed."""
        return {"dims": list(self.dims), "encoded": [one.name for one in self.coordinates if one.encoded]}

    def bookkeeping(self, dims: tuple[str, ...]) -> dict[str, str]:
        """The attributes of a variable along `dims` by which plain xarray.open_zarr finds its coordinates."""
        names = [one.name for one in self.coordinates if one.name not in self.dims and {*one.dims} <= {*dims}]
        named = {"coordinates": " ".join(names)} if names else {}
        return named if self.grid_mapping is None else {"grid_mapping": self.grid_mapping, **named}

    def write(self, group: zarr.Group) -> None:
        """Write the coordinates into the store's group."""
        for one in self.coordinates:
            array = group.create_array(
                one.name,
                shape=one.values.shape,
                dtype=str if one.values.dtype.kind == "O" else one.values.dtype,
                dimension_names=one.dims,
                attributes=one.attributes,
            )
            array[...] = one.values if one.dims else one.values[()]


def xarray_fill(value: float | int) -> int | str:
    """_FillValue as xarray spells it in Zarr v3 attributes: integers as they are, floats as base64 of a double."""
    return value if isinstance(value, int) else base64.standard_b64encode(struct.pack("<d", value)).decode()
