"""What xarray's `to_zarr` is to be told to store an array by our codec."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from dask.base import is_dask_collection

from pipeline.codec import Bound
from pipeline.codec.zarr_codec import SNR, LowRankCodec
from pipeline.errors import BlockError, ConfigError
from pipeline.flow.arrays import TILE
from pipeline.flow.python_values import check_array, truth, whole_number
from pipeline.flow.sentinels import (
    ENCODED,
    PACKED,
    counts,
    encoded_sentinel,
    foreign,
    nodata_of,
    remedy,
    with_own,
)

_PACKING = ("dtype", "scale_factor", "add_offset", "_FillValue", "missing_value", "_Unsigned")
_PLANES = (("y", "x"), ("lat", "lon"), ("latitude", "longitude"))


class Encoding(dict[str, Any]):
    """An encoding with our codec, which is told what is missing by whoever puts it in later, too."""

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, value)
        codec = self.get("serializer")
        if key in (*ENCODED, "dtype", "_Unsigned") and isinstance(codec, LowRankCodec):
            said = _sentinel(self)
            nodata = codec.nodata if said is None else _as_stored(said, self)
            told = LowRankCodec(bound=codec.bound, value=codec.value, nodata=nodata, effort=codec.effort)
            super().__setitem__("serializer", told)

    def update(self, *args: Any, **named: Any) -> None:
        for key, value in dict(*args, **named).items():
            self[key] = value

    def __or__(self, other: Any) -> Encoding:  # type: ignore[override]
        result = Encoding(self)
        result.update(other)
        return result

    def __ior__(self, other: Any) -> Encoding:  # type: ignore[override]
        self.update(other)
        return self


def zarr_encoding(
    scene: xr.DataArray,
    *,
    snr: float | None = None,
    rmse: float | None = None,
    max_error: float | None = None,
    lossless: bool = False,
    effort: str = "fast",
    tile: int = TILE,
) -> Encoding:
    """The encoding under which `to_zarr` writes an array in low-rank chunks, in a Zarr v3 store of xarray's own making.

        data.to_zarr("cube.zarr", encoding={"ndvi": pipeline.zarr_encoding(data.ndvi, max_error=0.01)})

    The codec is told the missing value, since it does not see `_FillValue`; one that `nodata` or `fill_value` of the
    attributes, or rioxarray, declare, is a `_FillValue` of the encoding too. A chunk holds all bands (the axis before
    y), one of every axis before that, and tile x tile pixels. How the array is packed (`dtype`, `scale_factor`,
    `add_offset`, `_FillValue` of its own `encoding`) stays. `encoding | {...}` of what is given back changes more, and
    tells the codec of a `_FillValue` among it; a plain dictionary made of it (`{**encoding, ...}`) cannot.

    Args:
        scene: (..., y, x), of a real dtype; nothing of it is computed.
        snr: keep this signal to noise ratio in dB; 40 where no bound is given. As all bounds, of every chunk, over the
            numbers as they are stored: of packed values in packed units.
        rmse: or allow this root mean square error.
        max_error: or allow no element a larger error.
        lossless: or keep every value.
        effort: `fast`, or `best` for fewer bytes and more time.
        tile: side of the chunks; of a Dask array the next smaller one of which its chunks hold whole ones.

    Raises:
        BlockError: its last two axes are not y and x, its dtype cannot be stored, or its Dask chunks cut bands or are
            of several sizes.
        ConfigError: several bounds, a bound or a sentinel that means nothing.
    """
    check_array(scene)
    if len(scene.dims) < 2:
        raise BlockError(f"an array whose last two axes are y and x is needed, got {scene.dims}")
    for plane in _PLANES:
        if {*plane} <= {*scene.dims} and scene.dims[-2:] != plane:
            raise BlockError(f"the last two axes must be {plane}, got {scene.dims}; give transpose(..., *{plane})")
    tile = whole_number("tile", tile) or TILE
    bound = one_bound(snr, rmse, max_error, lossless)
    packing = {key: scene.encoding[key] for key in _PACKING if key in scene.encoding}
    seen = _other_sign(packing)
    if seen is not None and bound.mode != "lossless":
        raise ConfigError(
            f"{packing['dtype']} that stand for {seen} by _Unsigned lie apart by {2 ** (8 * seen.itemsize)} where "
            f"neighbours meet, and no bound but lossless holds there; give dtype {str(seen)!r} and no _Unsigned"
        )
    packing |= {key: _as_stored(packing[key], packing) for key in ENCODED if key in packing}
    kind = np.dtype(packing.get("dtype") or scene.dtype)
    # Before its nodata is asked for: a dtype that cannot be stored has none.
    LowRankCodec(bound=bound.mode, value=bound.value, nodata=None, effort=effort).check(kind)
    told, inside = _missing(scene, packing, kind)
    nodata = _as_stored(told, packing)
    packing |= {} if inside else {"_FillValue": nodata}
    codec = LowRankCodec(bound=bound.mode, value=bound.value, nodata=nodata, effort=effort)
    codec.check(kind)
    return Encoding(packing | {"chunks": _chunks(scene, tile), "serializer": codec, "compressors": None})


def one_bound(snr: float | None, rmse: float | None, max_error: float | None, lossless: bool) -> Bound:
    """The bound that is given, or 40 dB; ConfigError for several, and for no decibels."""
    numbers = {"snr": snr, "rmse": rmse, "max_error": max_error}
    given: list[tuple[Any, Any]] = [(mode, value) for mode, value in numbers.items() if value is not None]
    given += [("lossless", None)] if truth("lossless", lossless) else []
    if len(given) > 1:
        raise ConfigError(f"{', '.join(mode for mode, _ in given)}: give one bound")
    bound = Bound(*given[0]) if given else Bound("snr", SNR)
    if bound.mode == "snr" and (bound.value or 0) <= 0:
        raise ConfigError(f"snr {snr} is no signal above the noise; give decibels above 0, such as 40")
    return bound


def _missing(scene: xr.DataArray, packing: Mapping[str, Any], dtype: np.dtype[Any]) -> tuple[Any, bool]:
    """The sentinel, by whoever declares it, and whether `to_zarr` writes it by itself (so it does where there is none).

    Raises:
        ConfigError: it is not one of the stored numbers.
    """
    told = _sentinel(scene.encoding)
    if told is not None:
        if "dtype" not in packing and encoded_sentinel(scene) is not None:
            _check_own(scene, told, dtype, encoded=True)
        return told, True
    told = _own(scene, dtype)
    if told is not None:
        return told, True
    told = _declared(scene, packing, dtype)
    return told, told is None or "_FillValue" in scene.attrs


def _sentinel(words: Mapping[Any, Any]) -> Any:
    """What xarray will write for what is missing; None where it says nothing."""
    return next((words[key] for key in ENCODED if words.get(key) is not None), None)


def _own(scene: xr.DataArray, dtype: np.dtype[Any]) -> Any:
    """The sentinel in the attributes, which `to_zarr` writes whatever becomes of the pixels.

    Raises:
        ConfigError: it is of another dtype than the stored numbers: readers would take what is a value for missing.
    """
    told = _sentinel(scene.attrs)
    if told is not None:
        _check_own(scene, told, dtype)
    return told


def _check_own(scene: xr.DataArray, told: Any, dtype: np.dtype[Any], *, encoded: bool = False) -> None:
    if not counts(told, dtype):
        name = str(scene.name or "the array")
        raise ConfigError(
            foreign(name, told, dtype)
            + f"to_zarr would write it and readers take {told} for missing; {remedy(told, encoded=encoded)}"
        )


def _declared(scene: xr.DataArray, packing: Mapping[str, Any], dtype: np.dtype[Any]) -> float | int | None:
    """What the other verbs take for missing, and `to_zarr` would not write: attributes of other names, `set_nodata`.

    Raises:
        ConfigError: it is of the values before they are packed.
    """
    told = nodata_of(with_own(scene))
    if told is None or told != told:
        return None
    if {*PACKED} & {*packing}:
        raise ConfigError(
            f"{scene.name or 'the array'}: nodata {told} is of the values before scale_factor and add_offset; give "
            f".where(scene != {told}), and a _FillValue of the packed numbers in its encoding"
        )
    if dtype.kind not in "iu":
        return told
    if not (np.iinfo(dtype).min <= told <= np.iinfo(dtype).max and told == int(told)):
        raise ConfigError(
            f"{scene.name or 'the array'}: nodata {told:.9g} is no number of {dtype}, as which it is stored; give "
            f".where(scene != {told:.9g}), and in its encoding a _FillValue that is one"
        )
    return int(told)


def _other_sign(packing: Mapping[str, Any]) -> np.dtype[Any] | None:
    """The integers that those stored stand for by `_Unsigned`, where that is not what they are."""
    dtype = np.dtype(packing.get("dtype") or float)
    kind = {("i", "true"): "u", ("u", "false"): "i"}.get((dtype.kind, str(packing.get("_Unsigned"))))
    return np.dtype(f"{kind}{dtype.itemsize}") if kind else None


def _as_stored(word: Any, packing: Mapping[str, Any]) -> Any:
    """A sentinel as the codec will see it: of integers that are stored under the other sign, the same bits."""
    dtype, other = np.dtype(packing.get("dtype") or float), _other_sign(packing)
    if other is None or word is None or word != word:
        return word
    seen = np.iinfo(other)
    if word != int(word) or not seen.min <= word <= seen.max:
        return word
    return np.array(int(word), seen.dtype).view(dtype).item()


def _chunks(scene: xr.DataArray, tile: int) -> tuple[int, ...]:
    before = tuple(1 for _ in scene.shape[:-3]) + scene.shape[-3:-2]
    return (*before, *(_side(scene, axis, tile) for axis in (-2, -1)))


def _side(scene: xr.DataArray, axis: int, tile: int) -> int:
    """The side of the chunks along y or x, of which each Dask chunk holds whole ones."""
    size = int(scene.shape[axis])
    if not is_dask_collection(scene.data):
        return max(1, min(tile, size))
    if scene.ndim > 2 and len(scene.chunks[-3]) > 1:  # type: ignore[index]
        raise BlockError(f"Dask chunks cut {scene.dims[-3]!r}; give chunk({{{scene.dims[-3]!r}: -1}}) first")
    parts = scene.chunks[axis]  # type: ignore[index]
    if len({*parts[:-1]}) > 1 or parts[-1] > parts[0]:
        raise BlockError(f"Dask chunks of several sizes along {scene.dims[axis]!r}; give chunk(...) of one first")
    if len(parts) == 1:
        return max(1, min(tile, size))
    return next((side for side in range(tile, tile // 4, -1) if parts[0] % side == 0), int(parts[0]))
