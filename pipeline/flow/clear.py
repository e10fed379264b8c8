"""The mask of clouds of an array: its coordinate `clear` (y, x), which says where may be learnt from."""

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
from pipeline.flow.python_words import python_words
from pipeline.grid import Window
from pipeline.raster.masks import MaskedSource
from pipeline.raster.nodata import valid_from

CLEAR = "clear"
_SAID = "not taken out by the "
"""How the long name of a mask begins that is made here, and that no store keeps."""


def with_clear(scene: xr.DataArray, source: MaskedSource) -> xr.DataArray:
    """A lazy scene (band, y, x) with what its mask says, in chunks like its own."""
    assert scene.chunks is not None
    data = da.map_blocks(  # type: ignore[no-untyped-call]
        _read_clear, source, dtype=bool, chunks=scene.chunks[1:], meta=np.empty((0, 0), bool)
    )
    return scene.assign_coords({CLEAR: (scene.dims[1:], data, {"long_name": f"{_SAID}{source}"})})


def _read_clear(source: MaskedSource, block_info: Any = None) -> NDArray[np.bool_]:
    ((y0, y1), (x0, x1)) = block_info[None]["array-location"]
    with python_words():
        return source.clear(Window(y0, y1, x0, x1))


def clear_in(scene: xr.DataArray) -> Any:
    """(y, x) bool, of numpy or Dask, where a scene says that it may be learnt from; None where it does not say.

    Raises:
        BlockError: its coordinate `clear` lies along y or x, and is no mask of them.
    """
    plane = scene.dims[-2:]
    if scene.ndim != 3 or CLEAR not in scene.coords or not {*scene.coords[CLEAR].dims} & {*plane}:
        return None
    found = scene.coords[CLEAR]
    if not _is_mask(found, plane):
        raise BlockError(
            f"the coordinate {CLEAR!r} says where may be learnt from: bool along {plane}, got {found.dtype} along "
            f"{found.dims}; give it so (a mean of masks as `scene.clear > 0.99`), or drop_vars({CLEAR!r})"
        )
    return found.data


def without_clear(scene: xr.DataArray) -> xr.DataArray:
    """The scene without the mask that it was opened with, which no store keeps; one that was given is data."""
    if CLEAR not in scene.coords:
        return scene
    mask = scene.coords[CLEAR]
    ours = str(mask.attrs.get("long_name")).startswith(_SAID) and _is_mask(mask, scene.dims[-2:])
    return scene.drop_vars(CLEAR) if ours else scene


def _is_mask(coordinate: xr.DataArray, plane: tuple[Any, ...]) -> bool:
    return coordinate.dims == plane and coordinate.dtype == bool


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
            taught = valid if self.clear is None else valid & np.asarray(self.clear[window.slices])
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
