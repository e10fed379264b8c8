"""`scene.terrasketch`: the verbs on xarray's arrays. Registered by `import pipeline` (pipeline/hook.py)."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import xarray as xr
from dask.base import is_dask_collection

from pipeline.errors import ConfigError, OutputError
from pipeline.flow import arrays
from pipeline.flow.array_source import source_of
from pipeline.flow.clear import without_clear
from pipeline.flow.computing import who_computes
from pipeline.flow.crew import Crew, Nobody
from pipeline.flow.denoise import Denoising
from pipeline.flow.encoding import one_bound
from pipeline.flow.networks import AnyBank
from pipeline.flow.opening import open_scene
from pipeline.flow.origins import reads_from
from pipeline.flow.python_values import path_text, truth, whole_number
from pipeline.flow.python_words import in_python, python_words
from pipeline.flow.stages import write_scene
from pipeline.storage import ObjectPath, place


class SceneAccessor:
    """What can be done with a scene (band, y, x), or (y, x), of a real dtype."""

    def __init__(self, scene: xr.DataArray) -> None:
        self._scene = scene

    def denoise(
        self,
        *,
        quality: str = "fast",
        sigma: float | Sequence[float] | None = None,
        repair: str = "auto",
        tile: int = arrays.TILE,
    ) -> xr.DataArray:
        """The scene without its noise, lazy where it is lazy; see `pipeline.flow.arrays.denoise`."""
        return arrays.denoise(self._scene, quality=quality, sigma=sigma, repair=repair, tile=tile)

    def features(
        self,
        bank: AnyBank | str | Path = "rcf-mixed",
        *,
        pool: int | None = None,
        stride: int | None = None,
        tile: int = arrays.TILE,
        seed: int = 0,
    ) -> xr.DataArray:
        """Its features (feature, y, x), lazy where it is lazy, but for the fit of a bank that is named; see
        `pipeline.flow.arrays.features`."""
        return arrays.features(self._scene, bank, pool=pool, stride=stride, tile=tile, seed=seed)

    def compress(
        self,
        path: str | os.PathLike[str],
        *,
        snr: float | None = None,
        rmse: float | None = None,
        max_error: float | None = None,
        lossless: bool = False,
        effort: str = "fast",
        tile: int | None = None,
        overwrite: bool = False,
        workers: int | None = None,
    ) -> xr.DataArray:
        """Write the scene as a Zarr v3 store of low-rank factors (float16 as float32), and open it again, lazily.

        Tile by tile: of a lazy scene no more than the tiles at work are in memory, each computed once where the tiles
        are its Dask chunks. Dimensions, coordinates and attributes are kept as they are; what Zarr cannot hold of them
        is left out with a warning, a `mask_band` without one. Coordinates of unequal steps make no transform.

        Args:
            path: a folder ending in .zarr, or an address s3://, gs://, az:// of one.
            snr: keep this signal to noise ratio in dB, the mean counted as signal; 40 where no bound is given. Of
                values far from 0 (kelvin, heights) that is a wide bound: give `rmse`.
            rmse: or allow this root mean square error, data units.
            max_error: or allow no pixel a larger error, data units.
            lossless: or keep every value.
            effort: `fast`, or `best` for fewer bytes and more time.
            tile: side of the store's chunks; that of the Dask chunks where they are square, 256 elsewhere.
            overwrite: whether to replace a store that is there.
            workers: threads; as many as cores by default.

        Returns:
            The stored scene, as `pipeline.open_scene(path)`: of a plane (y, x) too it has a `band`, of one.

        Raises:
            BlockError: the scene is not (band, y, x) or (y, x), in this order, has no real dtype, or a name of the
                store's own.
            ConfigError: several bounds, an ending that is not .zarr, or a number of tile or workers below 1.
            OutputError: it is there already, cannot be written, or lies in an object store and the scene reads from it.
            TileError: a tile could not be computed. Nothing is left behind then.
        """
        side, count = whole_number("tile", tile), whole_number("workers", workers)
        target, overwrite = place(path_text("the output", path)), truth("overwrite", overwrite)
        if target.suffix != ".zarr":
            raise ConfigError(f"{target}: compress writes Zarr; give an output ending in .zarr")
        bound = one_bound(snr, rmse, max_error, lossless)
        if overwrite and isinstance(target, ObjectPath) and reads_from(self._scene.data, target):
            # There a store is filled in its own place: its chunks would go before they are read.
            raise OutputError(f"{target} is what the scene is read from; give another output, or compute() it first")
        count = count or os.cpu_count() or 1
        with python_words(), who_computes(self._scene.data) as scheduler, ThreadPoolExecutor(count) as threads:
            source, side = source_of(without_clear(self._scene), scheduler), side or _tile(self._scene)
            told = _Told()
            if source.warning:
                told.warn(source.warning)
            crew = Crew(threads, count, told)
            write_scene(source, target, side, Denoising("none"), bound, crew, effort=effort, overwrite=overwrite)
        for text in told.texts:
            warnings.warn(in_python(text), UserWarning, stacklevel=2)
        return open_scene(os.fspath(path))


class _Told(Nobody):
    """A Watch that keeps what is most likely not meant, for `compress` to say it in the name of its caller."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def warn(self, text: str) -> None:
        """One line more."""
        self.texts.append(text)


def _tile(scene: xr.DataArray) -> int:
    """The side of the Dask chunks, where all but the last of a row and column share one."""
    if is_dask_collection(scene.data):
        ys, xs = (scene.data.chunks[axis] for axis in (-2, -1))
        sides = {*ys[:-1], *xs[:-1]} or {max(ys[0], xs[0])}
        side = max(sides)
        if len(sides) == 1 and max(ys[-1], xs[-1]) <= side and 16 <= side <= 8192:
            return int(side)
    return arrays.TILE
