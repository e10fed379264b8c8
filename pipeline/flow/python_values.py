"""What who calls from Python gives as options, looked at before anything is begun.

Where several of a kind are wanted one alone may stand for a list of it, as rasterio and xarray have it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from datetime import date
from numbers import Integral, Real
from typing import Any

import numpy as np
import xarray as xr

from pipeline.errors import BlockError, ConfigError
from pipeline.untrusted import kind_of, one_line

_LONG = 60


def shown(value: Any) -> str:
    """A value in a message: as it is written, or what it is where that is long."""
    text = one_line(repr(value.item() if isinstance(value, np.generic) else value))
    return text if len(text) <= _LONG and "object at 0x" not in text else kind_of(value)


def check_array(scene: Any) -> None:
    """Raise BlockError for what is no DataArray, with the way to one."""
    if isinstance(scene, xr.DataArray):
        return
    ways = "give an xarray.DataArray (band, y, x)"
    if isinstance(scene, xr.Dataset):
        names = ", ".join(repr(name) for name in list(scene.data_vars)[:3])
        ways = f"give one of its variables ({names})" if names else "it has no variables"
    elif isinstance(scene, str | os.PathLike):
        ways = "open it by pipeline.open_scene(path)"
    elif hasattr(scene, "dtype") or isinstance(scene, list | tuple):
        ways = 'give xarray.DataArray(array, dims=("band", "y", "x"))'
    raise BlockError(f"a scene is an xarray.DataArray, got {kind_of(scene)}; {ways}")


def path_text(name: str, value: Any, remedy: str = "give a file, a folder or an address") -> str:
    """A path or address in words. Raises ConfigError for what is none."""
    text = os.fspath(value) if isinstance(value, str | os.PathLike) else value
    if not isinstance(text, str):
        raise ConfigError(f"{name} is {shown(value)}, and no path; {remedy}")
    return text


def path_texts(name: str, value: Any) -> str | list[str]:
    """A path or address, or a list of them. Raises ConfigError for what is neither."""
    of_words = getattr(getattr(value, "dtype", None), "kind", "") in ("O", "U", "T") and getattr(value, "ndim", 0) == 1
    if isinstance(value, list | tuple) or of_words or (isinstance(value, Iterable) and not hasattr(value, "dtype")):
        several = not isinstance(value, str | bytes | os.PathLike)
        return [path_text(name, one) for one in value] if several else path_text(name, value)
    return path_text(name, value)


def whole_number(name: str, value: Any, least: int = 1, most: int | None = None) -> int | None:
    """`value` as an int from `least` to `most`; None where it is None. Raises ConfigError for anything else."""
    if value is None:
        return None
    if value is True or not isinstance(value, Integral) or value < least:
        above = "above 0" if least == 1 else f"from {least}"
        raise ConfigError(f"{name} {shown(value)} is not a whole number {above}; give one, or leave it out")
    if most is not None and int(value) > most:
        raise ConfigError(f"{name} {value} is beyond {most}; give a smaller one")
    return int(value)


def whole_numbers(name: str, value: Any) -> list[int] | None:
    """Whole numbers, of a list or alone; None where it is None. Raises ConfigError for anything else."""
    if value is None:
        return None
    several = _each(value)
    if not all(isinstance(one, Integral) and not isinstance(one, bool) for one in several):
        raise ConfigError(f"{name} {shown(value)} is no list of whole numbers; give one such as [1, 2]")
    return [int(one) for one in several]


def names(name: str, value: Any) -> list[str] | None:
    """Words, of a list or alone; None where it is None. Raises ConfigError for anything else."""
    if value is None:
        return None
    several = _each(value)
    if not all(isinstance(one, str) for one in several):
        raise ConfigError(f'{name} {shown(value)} is no list of names; give one such as ["B04", "B03"]')
    return [str(one) for one in several]


def times_of(value: Any) -> list[str] | None:
    """Times in ISO 8601, of datetimes too; None where it is None. Raises ConfigError for anything else."""
    if value is None:
        return None
    return [_time(one) for one in _each(value)]


def _time(value: Any) -> str:
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, np.datetime64) and not np.isnat(value):
        return str(np.datetime_as_string(value, "s"))
    if not isinstance(value, str):
        raise ConfigError(f'times: {shown(value)} is no time; give a datetime, or "2016-02-06T15:56:22" in ISO 8601')
    return str(value)


def number(name: str, value: Any) -> Any:
    """A real number; None where it is None. Raises ConfigError for anything else."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if value is not None and not _is_number(value):
        raise ConfigError(f"{name} {shown(value)} is no number; give one, or leave it out")
    return value.item() if isinstance(value, np.generic) else value


def resolution_of(value: Any) -> Any:
    """One size of a pixel, or (x, y). Raises ConfigError for anything else."""
    if value is None or _is_number(value) or (isinstance(value, np.ndarray) and value.ndim == 0):
        return number("resolution", value)
    several = _each(value)
    if len(several) != 2 or not all(map(_is_number, several)):
        raise ConfigError(f"resolution {shown(value)} is no size of a pixel; give a number, or two, (x, y)")
    return tuple(float(one) for one in several)


def truth(name: str, value: Any) -> bool:
    """True or False. Raises ConfigError for words and the like, of which all but none would be true."""
    if not isinstance(value, bool | np.bool_) and not (isinstance(value, int) and value in (0, 1)):
        raise ConfigError(f"{name} {shown(value)} is neither True nor False; give one of them")
    return bool(value)


def noise_level(value: Any, bands: int) -> float | tuple[float, ...] | None:
    """A level of noise, for all bands or for each. Raises ConfigError for anything else."""
    if value is None:
        return None
    levels = _each(value)
    if len(levels) not in (1, bands) or not all(_is_number(one) and 0 <= one < math.inf for one in levels):
        raise ConfigError(
            f"sigma {shown(value)} is not a noise level; give a number >= 0 in data units, one for each of {bands} "
            "bands, or None"
        )
    return float(levels[0]) if len(levels) == 1 else tuple(float(one) for one in levels)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _each(value: Any) -> list[Any]:
    """Those of a list or array; a word or number alone."""
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        return [value]
    return list(np.asarray(value).ravel()) if hasattr(value, "dtype") else list(value)
