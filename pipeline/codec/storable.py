"""What a chunk can hold, and under which options: refused in one line before anything is coded."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.codec import container
from pipeline.codec.bound import Bound
from pipeline.errors import BlockError, ConfigError
from pipeline.plain import no_plain_array
from pipeline.untrusted import one_line

Block = NDArray[Any]

EFFORTS = ("fast", "best")


def check_arrays(block: Any, valid: Any) -> None:
    """BlockError where block or valid, if there is one, is no plain array."""
    if wrong := no_plain_array(block, "(band, y, x)"):
        raise BlockError(f"block {wrong}")
    if valid is not None and (wrong := no_plain_array(valid, "(y, x) or (band, y, x) of bool")):
        raise BlockError(f"valid {wrong}")


def _check_words(bound: Any, nodata: Any) -> None:
    if not isinstance(bound, Bound):
        raise ConfigError(f'bound is {one_line(repr(bound))}; give one such as Bound("rmse", 5)')
    if nodata is not None and not isinstance(nodata, Real):
        raise ConfigError(f"nodata {one_line(repr(nodata))} is no number; give one, or None")


def check_storable(dtype: np.dtype[Any], bound: Bound, nodata: float | int | None) -> None:
    """BlockError or ConfigError where blocks of this dtype cannot be encoded with these options."""
    _check_words(bound, nodata)
    native = dtype.newbyteorder("=")
    if native not in container.DTYPES:
        raise BlockError(f"a chunk cannot hold {dtype}; cast to an integer type, float32 or float64")
    if native.kind != "f" and native.itemsize == 8 and bound.mode != "lossless":
        raise BlockError(f"{native} is stored without loss only, got {bound}; cast to 32 bits or ask for lossless")
    if nodata is not None and not _fits(nodata, native):
        raise ConfigError(f"nodata {nodata!r} is not a value of {native}; leave it out or cast the scene")


def check_effort(effort: str) -> None:
    """ConfigError where this version has no such effort."""
    if effort not in EFFORTS:
        raise ConfigError(f"effort {effort!r} is not known to this version; say one of {', '.join(EFFORTS)}")


def _fits(nodata: float | int, dtype: np.dtype[Any]) -> bool:
    """Whether a sentinel is a value of this dtype (rounded to it, for floats)."""
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            return not math.isfinite(nodata) or bool(np.isfinite(dtype.type(nodata)))
    info = np.iinfo(dtype)
    return math.isfinite(nodata) and nodata == int(nodata) and info.min <= nodata <= info.max


def as_chunk(block: Block) -> Block:
    """`block`, C-contiguous in native byte order, if it has the shape of one chunk."""
    if block.ndim != 3 or not block.size:
        raise BlockError(f"a chunk needs a block of (band, y, x), none of them 0, got {block.shape}")
    if block.size > container.MAX_ELEMENTS or block.shape[0] > container.MAX_BANDS:
        raise BlockError(f"a block of {block.shape} is too large for one chunk; use smaller tiles")
    return np.ascontiguousarray(block, block.dtype.newbyteorder("="))
