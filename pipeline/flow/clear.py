"""The mask of clouds of an array: its coordinate `clear` (y, x), of several dates (band, y, x), which says where may be
learnt from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.errors import BankError, BlockError
from pipeline.flow.by_date import WHOLE, Dates, clear_on, dates_of
from pipeline.flow.python_words import python_words
from pipeline.grid import Window
from pipeline.raster.masks import MaskedSource
from pipeline.raster.nodata import valid_from

CLEAR = "clear"
_SAID = "not taken out by the "
"""How the long name of a mask begins that is made here, and that no store keeps."""


def with_clear(scene: xr.DataArray, source: MaskedSource) -> xr.DataArray:
    """A lazy scene (band, y, x) with what its mask says, of dates that of each, in chunks like its own."""
    assert scene.chunks is not None
    dates = dates_of(source.info)
    first = 1 if dates is None else 0
    words: dict[str, Any] = {"dtype": bool, "chunks": scene.chunks[first:], "meta": np.empty((0,) * (3 - first), bool)}
    data = da.map_blocks(_read_clear, source, dates, **words)  # type: ignore[no-untyped-call]
    return scene.assign_coords({CLEAR: (scene.dims[first:], data, {"long_name": f"{_SAID}{source}"})})


def _read_clear(source: MaskedSource, dates: Dates | None, block_info: Any = None) -> NDArray[np.bool_]:
    (y0, y1), (x0, x1) = block_info[None]["array-location"][-2:]
    window = Window(y0, y1, x0, x1)
    with python_words():
        if dates is None:
            return source.clear(window)
        found = np.empty((len(source.info.bands), *window.shape), bool)
        for date, clear in enumerate(clear_on(source, window, dates)):
            found[dates.bands(date)] = clear
        return found


def clear_of_dates(clear: NDArray[np.bool_] | None, dates: Dates | None) -> list[NDArray[np.bool_] | None]:
    """Of a mask (y, x) or (band, y, x) that of each date; what all bands say, where there are none."""
    if clear is None or clear.ndim == 2:
        return [clear] * (1 if dates is None else len(dates))
    each = [WHOLE] if dates is None else [dates.bands(date) for date in range(len(dates))]
    return [np.logical_and.reduce(clear[bands]) for bands in each]


def clear_in(scene: xr.DataArray) -> Any:
    """(y, x) or (band, y, x) bool, of numpy or Dask, where a scene says that may be learnt; None where it does not say.

    Raises:
        BlockError: its coordinate `clear` lies along y or x, and is no mask of them.
    """
    plane = scene.dims[-2:]
    if scene.ndim != 3 or CLEAR not in scene.coords or not {*scene.coords[CLEAR].dims} & {*plane}:
        return None
    found = scene.coords[CLEAR]
    if not _is_mask(found, scene):
        raise BlockError(
            f"the coordinate {CLEAR!r} says where may be learnt from: bool along {plane} or {scene.dims}, got "
            f"{found.dtype} along {found.dims}; give it so (a mean of masks as `scene.clear > 0.99`), or "
            f"drop_vars({CLEAR!r})"
        )
    return found.data


def without_clear(scene: xr.DataArray) -> xr.DataArray:
    """The scene without the mask that it was opened with, which no store keeps; one that was given is data."""
    if CLEAR not in scene.coords:
        return scene
    mask = scene.coords[CLEAR]
    ours = str(mask.attrs.get("long_name")).startswith(_SAID) and _is_mask(mask, scene)
    return scene.drop_vars(CLEAR) if ours else scene


def _is_mask(coordinate: xr.DataArray, scene: xr.DataArray) -> bool:
    return coordinate.dims in (scene.dims[-2:], scene.dims) and coordinate.dtype == bool


@dataclass
class Samples:
    """Windows of an array to fit a bank on: blocks (band, y, x), and where (y, x) they teach. To be iterated once."""

    cube: Any
    windows: Sequence[Window]
    nodata: float | int | None
    clear: Any = None
    valid: int = 0
    taught: int = 0
    """Pixels of them so far."""

    def __iter__(self) -> Iterator[tuple[NDArray[Any], NDArray[np.bool_]]]:
        for window in self.windows:
            block = np.asarray(self.cube[:, *window.slices])
            valid = valid_from(block, (self.nodata,) * len(block))
            (clear,) = clear_of_dates(None if self.clear is None else np.asarray(self.clear[..., *window.slices]), None)
            taught = valid if clear is None else valid & clear
            self.valid += int(np.count_nonzero(valid))
            self.taught += int(np.count_nonzero(taught))
            yield block, taught

    @contextmanager
    def blamed(self) -> Iterator[None]:
        """What a bank misses is the mask's fault where that has left nothing."""
        try:
            yield
        except BankError as error:
            if self.taught or not self.valid:
                raise
            raise BankError(
                f"the coordinate {CLEAR!r} leaves no valid pixel to learn from; is it true where it is clear, and "
                "mask_band, mask_values or mask_bits what the mask's coding is?"
            ) from error
