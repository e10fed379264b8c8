"""The two verbs for people who hold an xarray object: DataArray in, DataArray out, lazy where the input is lazy.

Each block of the output takes its own slice of the input, halo included. Of a Dask-backed scene nothing is computed
before it is asked for, but the windows that a bank is fitted on (`_resolve`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import rioxarray  # noqa: F401  (registers .rio)
import xarray as xr
from dask.base import is_dask_collection
from numpy.typing import NDArray

from pipeline.errors import BankError, BlockError
from pipeline.flow.array_dates import date_tags
from pipeline.flow.by_date import Dates, dates_among
from pipeline.flow.cells import label
from pipeline.flow.clear import Samples, clear_in, clear_of_dates
from pipeline.flow.denoise import Denoising
from pipeline.flow.denoised import denoised_window
from pipeline.flow.half import widened
from pipeline.flow.networks import (
    AnyBank,
    block_window,
    check_pixels,
    featurise,
    is_mean,
    is_network,
    normalised,
    open_network,
    settled,
)
from pipeline.flow.per_band import of_each_band
from pipeline.flow.python_values import check_array, noise_level, whole_number
from pipeline.flow.python_words import python_words
from pipeline.flow.read import SAMPLES
from pipeline.flow.sentinels import nodata_of, with_own
from pipeline.flow.threads import one_blas_thread
from pipeline.flow.told_at_once import tell_denoised, tell_featured
from pipeline.flow.windows import map_windows
from pipeline.grid import Grid, Halo, Window
from pipeline.network import Bank, fit_bank
from pipeline.raster.nodata import valid_from
from pipeline.raster.times import TIME
from pipeline.storage import place

TILE = 256
_Y, _X = {"y", "lat", "latitude", "projection_y_coordinate"}, {"x", "lon", "longitude", "projection_x_coordinate"}
MOST_POOL, MOST_STRIDE = 255, 1024


def denoise(
    scene: xr.DataArray,
    *,
    quality: str = "fast",
    sigma: float | Sequence[float] | None = None,
    repair: str = "auto",
    tile: int = TILE,
) -> xr.DataArray:
    """Denoise a scene (band, y, x) by blockwise patch SVD; noise level and rank are found by itself.

    Args:
        scene: (band, y, x), or (y, x), of a real dtype. NaN and the scene's nodata are left as they are. What its
            coordinate `clear`, (y, x) or (band, y, x), says to be clouded does not teach, and is kept
            (`open_scene(mask_band=...)`); a tile of less than a quarter clear learns from all of its pixels, which a
            lazy scene cannot warn of. Of several times along its bands those of six bands or more are denoised one by
            one, others together.
        quality: `none`, `fast` or `quality`.
        sigma: noise in data units, for all bands or for each; None = estimated on each block. Below what float32 rounds
            a band's values to (20 at 1e9), the band is left as it is.
        repair: what is mended before: `all` (stripes, dead lines and impulses of single bands), `stripes` (the lines
            alone) or `none`; `auto` is `all`, of dates that are denoised together `stripes`.
        tile: side of the blocks where the scene is not Dask-backed; Dask's own chunks otherwise.

    Returns:
        The same scene, denoised: dtype (of float16: float32), coordinates, attributes and CRS kept; lazy where the
        input is lazy.

    Raises:
        BlockError: the scene has not two or three dimensions, or no real dtype.
        ConfigError: there is no such quality or repair, sigma is no noise level, or tile is below 1.
    """
    scene = widened(scene)
    cube, tile = as_cube(scene), whole_number("tile", tile) or TILE
    denoising = Denoising(quality, cast(Any, noise_level(sigma, cube.shape[0])), repair=repair)
    if quality == "none":
        return scene
    scene = with_own(scene)
    dates = dates_along(scene)
    heart = partial(_denoised, denoising=denoising, dates=dates, nodata=nodata_of(scene))
    side = min(max(cube.chunks[1]), max(cube.chunks[2])) if is_dask_collection(cube) else tile
    outer = partial(
        Window.expand, halo=Halo.even(denoising.halo(side, dates)), height=cube.shape[1], width=cube.shape[2]
    )
    words: dict[str, Any] = {"tile": tile, "stride": 1, "name": "denoise", "clear": clear_in(scene)}
    data = map_windows(cube, heart, outer, count=cube.shape[0], dtype=cube.dtype, **words)
    tell_denoised(scene, cube, nodata_of(scene), band_labels(scene, cube), dates)
    # Not deep: NumPy before 2.2.6 crashes where it copies strings of variable width so.
    return scene.copy(deep=False, data=data if scene.ndim == 3 else data[0])


def features(
    scene: xr.DataArray,
    bank: AnyBank | str | Path = "rcf-mixed",
    *,
    pool: int | None = None,
    stride: int | None = None,
    tile: int = TILE,
    seed: int = 0,
) -> xr.DataArray:
    """Convolutional features of a scene (band, y, x), pooled, at every `stride` pixels.

    Args:
        scene: (band, y, x), or (y, x), of a real dtype. A bank is fitted where its coordinate `clear` is true, in all
            bands, if it has one (`open_scene(mask_band=...)`).
        bank: a fitted bank, the path of one, the name of one to fit on samples of this scene, or a tensor of an ONNX
            network, onnx:MODEL[@TENSOR], normalised by such samples (of integers: given the pixels as they are). These
            samples, of up to 16 windows of 256 x 256 pixels, are computed at the call, of a lazy scene too, with all
            that it is made of: give a fitted bank, or `scene.persist()`, where that is dear.
        pool: side of the mean pool in pixels; the bank's own by default, of a network the stride.
        stride: pixels of the scene a feature cell covers on a side; 1 by default, of a network its tensor's own.

    Returns:
        (feature, y, x) float32, NaN where the receptive field meets an invalid pixel (of a network: where the pool
        does), on the scene's scalar coordinates and CRS; lazy where the input is lazy.

    Raises:
        BlockError: the scene has not two or three dimensions, or no real dtype.
        BankError: the bank does not fit the scene, or the network cannot be computed in tiles, takes no such pixels or
            more of them.
        ModelError: the network cannot be read.
        ConfigError: tile, pool or stride is below 1, or pool or stride larger than any.
    """
    cube = as_cube(scene)
    tile, seed = whole_number("tile", tile) or TILE, whole_number("seed", seed, 0) or 0
    pool, stride = whole_number("pool", pool, most=MOST_POOL), whole_number("stride", stride, most=MOST_STRIDE)
    scene = with_own(scene)
    nodata = nodata_of(scene)
    fitted = _resolve(bank, cube, band_labels(scene, cube), nodata, seed, clear_in(scene))
    if is_mean(fitted):
        raise BankError(f"{fitted.name} is one mean over the whole scene, and no map; use terrasketch features")
    tile, pool, stride = settled(fitted, tile, pool, stride)
    shape = (cube.shape[1], cube.shape[2])  # a heart travels to every worker: it must not hold the scene
    check_pixels(fitted, cube.dtype, shape, "the scene")
    heart = partial(_featured, nodata=nodata, bank=fitted, pool=pool, stride=stride, scene_shape=shape)
    outer = partial(block_window, fitted, pool, stride, scene_shape=shape)
    count, dtype = len(fitted.features), np.dtype("float32")
    data = map_windows(cube, heart, outer, tile=tile, stride=stride, count=count, dtype=dtype, name="features")
    bands, dates = band_labels(scene, cube), dates_along(scene)
    tell_featured(scene, cube, nodata, data, fitted, pool, stride, bands, dates)
    return label(scene, data, fitted, pool, stride)


def _denoised(
    block: NDArray[Any],
    inner: Window,
    outer: Window,
    *,
    denoising: Denoising,
    dates: Dates | None,
    nodata: float | int | None,
    clear: NDArray[np.bool_] | None = None,
) -> NDArray[Any]:
    valid = valid_from(block, (nodata,) * block.shape[0])
    masks = clear_of_dates(clear, dates)
    place, origin = inner.within(outer), (outer.y0, outer.x0)
    return denoised_window(denoising, block, valid, origin, place, nodata, clear=masks, dates=dates).block


def dates_along(scene: xr.DataArray) -> Dates | None:
    """The dates of the bands of a scene: by a coordinate of times along them, or their dimension's name."""
    tags = date_tags(scene)
    if tags is not None:
        return dates_among([one.get(TIME) for one in tags])
    along = scene.ndim == 3 and scene.dims[0] in ("time", "t")
    return dates_among([str(number) for number in range(len(scene))]) if along else None


def _featured(
    block: NDArray[Any], inner: Window, outer: Window, *, nodata: float | int | None, **words: Any
) -> NDArray[Any]:
    valid = valid_from(block, (nodata,) * block.shape[0])
    return featurise(block, valid, window=inner, outer=outer, **words)[0]


def as_cube(scene: xr.DataArray) -> Any:
    """The pixels (band, y, x).

    Raises:
        BlockError: the scene is no DataArray, has not two or three dimensions, none but y and x last, no real dtype of
            at most 64 bits, or no pixels.
    """
    check_array(scene)
    if scene.ndim not in (2, 3) or scene.dtype.kind not in "iuf":
        raise BlockError(
            f"a scene is (band, y, x) or (y, x) of integers or floats, got dimensions {scene.dims} of {scene.dtype}; "
            + _remedy(scene)
        )
    if scene.dtype.itemsize > 8:
        raise BlockError(
            f"a scene has at most 64 bits a value, got {scene.dtype}; cast to float32 or float64 by astype()"
        )
    order = _order(scene)
    if order != scene.dims:
        words = ", ".join(repr(name) for name in order)
        raise BlockError(f"a scene is (band, y, x) or (y, x), got {scene.dims}; give scene.transpose({words})")
    if 0 in scene.shape:
        raise BlockError(f"a scene has pixels, got {dict(scene.sizes)}; was it cut where it does not lie?")
    return scene.data if scene.ndim == 3 else scene.data[None]


def _remedy(scene: xr.DataArray) -> str:
    """What makes a scene of another array."""
    if scene.ndim == 4:
        y, x = _order(scene)[-2:]
        first, second = (name for name in scene.dims if name not in (y, x))
        names = ", ".join(f"{name!r}" for name in (first, second))
        stacked = f'stack(bands=({names})).reset_index("bands").transpose("bands", {y!r}, {x!r})'
        one = f"isel({first}=0)"
        if (first, second, y, x) != scene.dims:
            one += f".transpose({second!r}, {y!r}, {x!r})"
        return f"give one by {one}, or all as bands by {stacked}"
    if scene.ndim in (2, 3):
        return "give it as numbers, by astype() or .real" if scene.dtype.kind in "bc" else "give it as numbers"
    return "give it y and x, by expand_dims() or isel()"


def _order(scene: xr.DataArray) -> tuple[Any, ...]:
    """The dimensions with those last that are known for y and x by their names or by CF's words."""

    def rank(name: Any) -> int:
        attributes = scene.coords[name].attrs if name in scene.coords else {}
        words = {str(one).lower() for one in (name, attributes.get("standard_name"), attributes.get("axis"))}
        return 2 if words & _X else 1 if words & _Y else 0

    ranks = [rank(name) for name in scene.dims]
    known = [number for number in (1, 2) if ranks.count(number) == 1]
    rest = [name for name, number in zip(scene.dims, ranks, strict=True) if number not in known]
    if "band" in rest:
        rest.insert(0, rest.pop(rest.index("band")))
    ends = {number: scene.dims[ranks.index(number)] for number in known}
    if 2 in ends and 1 not in ends:
        return (*rest, ends[2])
    if 1 in ends and 2 not in ends:
        return (*rest[:-1], ends[1], *rest[-1:])
    return (*rest, *ends.values())


def band_labels(scene: xr.DataArray, cube: Any) -> tuple[str, ...]:
    """The names of the bands (band,): words along the first dimension, else `long_name`, other labels, or numbers."""
    name, count = scene.dims[0] if scene.ndim == 3 else "band", cube.shape[0]
    labels = np.ravel(scene.coords[name].values) if name in scene.coords else np.empty(0)
    words = all(isinstance(one, str) for one in labels.tolist())
    labels = labels if scene.ndim == 3 or words else labels[:0]
    told = scene.attrs.get("long_name")
    named = [told] if isinstance(told, str) and count == 1 else []
    if isinstance(told, list | tuple):
        named = of_each_band(scene, told, "long_name") or []
    if len(named) == count and all(isinstance(one, str) for one in named) and not (len(labels) and words):
        return tuple(named)
    return tuple(map(str, labels)) if len(labels) else tuple(f"band_{number}" for number in range(1, count + 1))


def _resolve(
    bank: AnyBank | str | Path, cube: Any, names: tuple[str, ...], nodata: float | int | None, seed: int, clear: Any
) -> AnyBank:
    """The bank, fitted where a name is given: the only pixels of a lazy scene that are computed at the call."""
    if isinstance(bank, AnyBank):
        return bank
    if str(bank).endswith(".npz"):
        return Bank.load(place(bank))
    # By the grid of the commands, not by Dask's chunks: a scene has one bank, however it is cut.
    grid = Grid(cube.shape[1], cube.shape[2], TILE)
    samples = Samples(cube, [grid[number].window for number in grid.spread(SAMPLES)], nodata, clear)
    with python_words(), one_blas_thread(), samples.blamed():
        if is_network(str(bank)):
            return normalised(open_network(str(bank), names), samples)
        return fit_bank(str(bank), samples, bands=names, seed=seed)
