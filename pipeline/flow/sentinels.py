"""Which value of an array is missing, by its attributes, of integers its encoding too: what is declared for its dtype.

xarray takes attributes along through arithmetic and casts. Nothing of an array tells whether its 0 is the nodata of the
integers that it was made of (`astype`) or a value (an index, a difference): pixels are not asked, for then each chunk
would answer for itself. rioxarray and `open_scene` give a sentinel the dtype that it is of, and so does `write_nodata`.
So one of other integers does not count, which is told: what is missing may be taken for values, no value is lost.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import rioxarray  # noqa: F401  (registers .rio)
import xarray as xr

from pipeline.raster.nodata import representable

KEYS = ("_FillValue", "missing_value", "fill_value", "nodata", "nodatavals")
"""Where rioxarray looks."""
ENCODED = ("_FillValue", "missing_value")
PACKED = ("scale_factor", "add_offset")
"""Under these the encoding's sentinel is of the packed numbers."""


def nodata_of(scene: xr.DataArray) -> float | int | None:
    """The sentinel that counts; of integers an integer, which may be no float."""
    value = _declared(scene)
    if value is None or not counts(value, scene.dtype):
        return None
    value = int(value) if isinstance(value, int | np.integer) else float(value)
    return value if representable(value, scene.dtype) else None


def counts(value: Any, dtype: np.dtype[Any]) -> bool:
    """Whether a sentinel is one of arrays of this dtype.

    Integers of Python's (and of int64, which NumPy makes of them) say no dtype: of attributes in JSON, or by hand. They
    count, but for 0 among floats.
    """
    told = np.asarray(value).dtype
    if told.kind == "f" or told.type is dtype.type:
        return True
    return told == np.int64 and (dtype.kind != "f" or value != 0)


def foreign(name: str, value: Any, dtype: np.dtype[Any]) -> str:
    """What is to be said of a sentinel that does not count, without what follows from it."""
    one = _number(value)
    told = "whole numbers" if type(one) is int else np.asarray(one).dtype
    return f"{name}: nodata {one} is of {told} and the array of {dtype}: "


def remedy(value: Any, *, encoded: bool = False) -> str:
    """What whoever has such a sentinel, in the attributes or in the encoding, may do."""
    one = _number(value)
    if encoded:
        return (
            f"if {one} is missing here, give .drop_encoding().rio.write_nodata({one}), if it is a value, "
            ".drop_encoding()"
        )
    return (
        f"if {one} is missing here, give .rio.write_nodata({one}), if it is a value, .drop_attrs(deep=False), or begin "
        "with open_scene(..., masked=True)"
    )


def with_own(scene: xr.DataArray) -> xr.DataArray:
    """The scene without a sentinel that does not count, of which its user is warned."""
    value = _declared(scene)
    if value is None or counts(value, scene.dtype):
        return scene
    but = ", NaN alone is missing" if scene.dtype.kind == "f" else ", nothing is missing"
    way = remedy(value, encoded=_attribute(scene) is None)
    warn_caller(foreign(str(scene.name or "scene"), value, scene.dtype) + f"it is no nodata here{but}; {way}")
    result = scene.copy(deep=False)
    result.attrs = {key: told for key, told in scene.attrs.items() if key not in KEYS}
    if encoded_sentinel(scene) is not None:
        result.encoding = {key: told for key, told in scene.encoding.items() if key not in ENCODED}
    return result


def encoded_sentinel(scene: xr.DataArray) -> Any:
    """What the encoding of integers says of them, in its own dtype, as xarray will write it; None of floats.

    Those have NaN in its place (`masked=True`).
    """
    if scene.dtype.kind not in "iu" or {*PACKED} & {*scene.encoding}:
        return None
    return _first(scene.encoding, ENCODED)


def warn_caller(text: str) -> None:
    """Warn in the name of whoever called this package."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "pipeline":
        level, frame = level + 1, frame.f_back
    warnings.warn(text, UserWarning, stacklevel=level)


def _declared(scene: xr.DataArray) -> Any:
    """What attributes or encoding declare, in its own dtype; `set_nodata`, and of floats NaN where the encoding has a
    sentinel, come before, as of rioxarray."""
    told, inside = _attribute(scene), encoded_sentinel(scene)
    told = inside if told is None else told
    try:
        known = scene.rio.nodata  # in the array's dtype, whatever it was declared for
    except (OverflowError, TypeError, ValueError):  # it is none of the array's, to the last digit
        return told
    return told if known is None or known == told or (inside is not None and known != known) else known


def _attribute(scene: xr.DataArray) -> Any:
    return _first(scene.attrs, KEYS)


def _first(words: Mapping[Any, Any], keys: Sequence[str]) -> Any:
    """The first number among them."""
    return next((one for one in (_number(words.get(key)) for key in keys) if one is not None), None)


def _number(value: Any) -> Any:
    """One number, the first of a list of each band's; None of what is none."""
    if isinstance(value, np.ndarray | list | tuple) and len(np.ravel(value)):
        value = value[0] if isinstance(value, list | tuple) else value.ravel()[0]
    return value if isinstance(value, int | float | np.integer | np.floating) else None
