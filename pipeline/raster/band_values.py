"""What the numbers of bands mean: nodata, scale, offset and unit, by the file and, where it is silent, by a STAC item.

Sources: STAC 1.1.0, common metadata (nodata, unit; bands inherit from the asset, it from the item) and the raster
extension v2.0.0 (raster:scale, raster:offset); v1.1.0 of it (`raster:bands`) for items of STAC 1.0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rasterio.enums import ColorInterp
from rasterio.io import DatasetReader

from pipeline.raster.nodata import EXACT

PLAIN = (1.0, 0.0)
_WORDS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
"""STAC's, as JSON has no such numbers."""
_PREFIXED = {"nodata": "nodata", "unit": "unit", "scale": "raster:scale", "offset": "raster:offset"}
_APPLIED = ("earthsearch:boa_offset_applied", "sentinel:boa_offset_applied")
"""True where the offset is in the pixels already, whatever the item says of it (Element 84's Sentinel-2)."""
_MOST_UNIT = 64


@dataclass(frozen=True)
class BandValues:
    """Of one band; None where nothing is said."""

    nodata: float | None = None
    line: tuple[float, float] | None = None
    """(scale, offset): a value is scale·number + offset."""
    unit: str | None = None


@dataclass(frozen=True)
class ItemValues:
    """What an item says of one of its assets."""

    bands: tuple[BandValues, ...] = ()
    """Of each band of the file, as far as the item lists them."""
    rest: BandValues = BandValues()
    """Of every band of a file that has another number of bands than are listed."""

    def of(self, colours: Sequence[ColorInterp]) -> tuple[BandValues, ...]:
        """Of each band of a file of these colours; an alpha band at its end need not be listed."""
        count = len(colours)
        if len(self.bands) == count - 1 and colours[-1] is ColorInterp.alpha:
            return (*self.bands, BandValues())
        return self.bands if len(self.bands) == count else (self.rest,) * count


def item_values(asset: Mapping[str, Any], properties: Mapping[str, Any]) -> ItemValues:
    """From the fields of an asset and the properties of its item. What is of another kind than STAC's is not said."""
    rest = [_plain_names(asset), _plain_names(properties)]
    listed, raster = _dicts(asset.get("bands")), _dicts(asset.get("raster:bands"))
    count = len(raster) or len(listed)
    named = [_plain_names(band) for band in listed] if len(listed) == count else [{}] * count
    applied = any(properties.get(name) is True for name in _APPLIED)
    bands = zip(raster or [{}] * count, named, strict=True)
    return ItemValues(tuple(_band([first, second, *rest], applied) for first, second in bands), _band(rest, applied))


def declared(dataset: DatasetReader, said: ItemValues | None) -> tuple[BandValues, ...]:
    """Of each band of a file: its own where it declares any, scale and offset together, else what the item says."""
    told = (said or ItemValues()).of(dataset.colorinterp)
    facts = zip(dataset.nodatavals, dataset.scales, dataset.offsets, dataset.units, told, strict=True)
    return tuple(
        BandValues(
            item.nodata if nodata is None else nodata,
            item.line if item.line and (scale, offset) == PLAIN else (float(scale), float(offset)),
            unit or item.unit or unit,
        )
        for nodata, scale, offset, unit, item in facts
    )


def _band(levels: Sequence[Mapping[str, Any]], applied: bool) -> BandValues:
    """The first level that has a field says it."""
    found = {name: next((one[name] for one in levels if one.get(name) is not None), None) for name in _PREFIXED}
    unit = found["unit"]
    fit = isinstance(unit, str) and 0 < len(unit) <= _MOST_UNIT and unit.isprintable()
    return BandValues(_nodata(found["nodata"]), _line(found["scale"], found["offset"], applied), unit if fit else None)


def _nodata(value: object) -> float | None:
    if isinstance(value, str):
        return _WORDS.get(value.lower())
    # Larger integers are no floats: another value than was said would be missing.
    if isinstance(value, bool) or not isinstance(value, int | float) or (isinstance(value, int) and abs(value) > EXACT):
        return None
    return float(value)


def _line(scale: object, offset: object, applied: bool) -> tuple[float, float] | None:
    """Both or none: half of what was meant would be wrong."""
    both = tuple(default if value is None else _finite(value) for value, default in ((scale, 1.0), (offset, 0.0)))
    a, b = both
    if not a or b is None:
        return None
    line = (a, 0.0 if applied else b)
    return None if line == PLAIN else line


def _finite(value: object) -> float | None:
    """A finite number as float; None else, and for integers beyond all floats."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if -1e300 < value < 1e300 else None


def _plain_names(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: fields.get(key) for name, key in _PREFIXED.items()}


def _dicts(value: object) -> list[dict[str, Any]]:
    """A list of objects; none where it is something else, for then no place in it tells a band."""
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        return []
    return value
