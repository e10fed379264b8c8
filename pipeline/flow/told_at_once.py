"""What is told of arrays in memory, by who computes them at once; of lazy ones by who computes them (`compress`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import xarray as xr
from dask.base import is_dask_collection
from numpy.typing import NDArray

from pipeline.flow.array_dates import date_tags
from pipeline.flow.by_date import Dates
from pipeline.flow.crew import Nobody
from pipeline.flow.holes import holes_of
from pipeline.flow.lacking import lacking_pixels, lacking_text
from pipeline.flow.networks import AnyBank
from pipeline.flow.not_finite import not_finite, tell_features
from pipeline.flow.python_words import in_python
from pipeline.flow.sentinels import warn_caller
from pipeline.flow.speckle import speckle_text
from pipeline.flow.tasks import Receipt
from pipeline.flow.windows import windows
from pipeline.grid import Window
from pipeline.network.sample import usable
from pipeline.raster.nodata import valid_from
from pipeline.raster.times import TIME

_SIDE = 1024


class _Warner(Nobody):
    """A Watch that warns as Python does."""

    def warn(self, text: str) -> None:
        warn_caller(in_python(text))


def tell_denoised(
    scene: xr.DataArray, cube: Any, nodata: float | int | None, bands: Sequence[str], dates: Dates | None = None
) -> None:
    """Warn of noise in proportion to the signal, and of pixels that lack a band and have others, where they are many.

    bands: names of the scene's.
    """
    if is_dask_collection(cube):
        return
    name = str(scene.name or "scene")

    def read(window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        block = cube[:, *window.slices]
        return block, valid_from(block, (nodata,) * len(block))

    told = [speckle_text(name, bands, cube.shape[1:], read)]
    lacking = seen = 0
    for block, valid in _parts(cube, nodata) if len(cube) > 1 else ():
        lacking += lacking_pixels(block, valid, nodata, dates)
        each = [valid] if dates is None else dates.valid(block, valid, nodata)
        seen += int(np.count_nonzero(np.logical_or.reduce(each)))
    told.append(lacking_text(name, lacking, seen))
    for text in told:
        if text is not None:
            warn_caller(text)


def tell_featured(
    scene: xr.DataArray,
    cube: Any,
    nodata: float | int | None,
    features: Any,
    bank: AnyBank,
    pool: int,
    stride: int,
    bands: Sequence[str],
    dates: Dates | None,
) -> None:
    """Warn of what is wrong with features (F, y, x); bands: names of the scene's."""
    if is_dask_collection(cube):
        return
    known = np.zeros(features.shape[1:], bool)
    for plane in features:
        known |= ~np.isnan(plane)
    count, which = not_finite(features, known)
    pixels = sum(int(np.count_nonzero(usable(block, valid))) for block, valid in _parts(cube, nodata))
    receipt = Receipt(
        not_finite=count,
        not_finite_features=which,
        cells=known.size,
        featured=int(np.count_nonzero(known)),
        pixels=pixels,
        scene_pixels=cube[0].size,
    )

    def holes() -> str:
        tags = date_tags(scene) or [{}] * len(bands)
        days = [one.get(TIME, name)[:10] for one, name in zip(tags, bands, strict=True)]
        found = holes_of(_parts(cube, nodata), bands if dates is None else days, dates, nodata)
        return found.text() if len(bands) > 1 and found.many else ""

    tell_features(str(scene.name or "scene"), bank, pool, stride, receipt, _Warner(), holes)


def _parts(cube: Any, nodata: float | int | None) -> Iterator[tuple[NDArray[Any], NDArray[np.bool_]]]:
    for window in windows(cube, _SIDE, 1):
        block = cube[:, *window.slices]
        yield block, valid_from(block, (nodata,) * len(block))
