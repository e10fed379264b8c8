"""Any raster that GDAL opens, as blocks (band, y, x) and valid (y, x).

A pixel is valid when every band of it is real: finite, not the sentinel, not masked (internal mask, .msk file), and
not transparent. The alpha band is no band of the scene, unless it is asked for by its number.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.io import DatasetReader

from pipeline.errors import ConfigError, SourceError
from pipeline.grid import Window
from pipeline.raster import cache
from pipeline.raster.band_values import PLAIN, ItemValues, declared
from pipeline.raster.blocks import MOST_CELL_BYTES, DamagedCell, Pixels, cell_shape, read_cells
from pipeline.raster.cache import rows_of
from pipeline.raster.fingerprint import dataset_fingerprint
from pipeline.raster.gdal import (
    CACHE_BYTES,
    GDAL_ERRORS,
    LEAST_CACHE,
    file_identity,
    gdal_env,
    handle,
    images_in,
    is_remote,
    numpy_dtypes,
    open_reader,
    read_bands,
    reason,
    storage_reason,
    why_unread,
)
from pipeline.raster.names import band_names, choose, scene_name
from pipeline.raster.nodata import hide, sentinel, shared, unfit, unite, valid_from
from pipeline.raster.scene import Affine6, Gcp, Georeference, SceneInfo
from pipeline.raster.spectrum import IMAGERY, with_spectrum

MOST_BLOCK_BYTES = 1 << 30
"""Of a block of the file: GDAL unpacks it whole, whatever of it is asked for."""
MOST_READ_BYTES = 4 << 30


@dataclass(frozen=True)
class RasterSource:
    """The bands of one file. Picklable, without an open handle."""

    path: str
    info: SceneInfo
    indexes: tuple[int, ...]
    """The file's numbers of the bands, from 1."""
    nodata: tuple[float | None, ...]
    """The sentinel of each band in the file; what is read has info.nodata in its place, where there is one."""
    masks: tuple[int, ...]
    """Bands of the file whose GDAL mask counts; one of them stands for all where they share it."""
    alpha: int | None
    """The file's number of the alpha band."""
    cell: tuple[int, int] = (0, 0)
    """(y, x) side of the blocks that are decoded together, clipped at the scene's edge; 0 where windows are."""
    images: tuple[int, str] = (1, "")
    """How many the file holds (pages of a TIFF), of which this is the first; and GDAL's name of the second."""

    def read(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """A window inside the scene: block (band, y, x) of info.dtype, C-contiguous, and valid (y, x) bool.

        Raises:
            SourceError: the pixels cannot be read; names file, window and GDAL's reason.
        """
        assert 0 <= window.y0 < window.y1 <= self.info.height, (self.path, window)
        assert 0 <= window.x0 < window.x1 <= self.info.width, (self.path, window)
        self._check_size(window)
        # A damaged cell is asked for again by the window: a block takes with it no windows but those that touch it.
        with suppress(DamagedCell):
            if 0 < (size := math.prod(self.cell) * self._pixel_bytes) <= MOST_CELL_BYTES:
                key, extent = (self._key, file_identity(self.path)), (self.info.height, self.info.width)
                decode = partial(self._decode_cell, gdal_cache=max(LEAST_CACHE, 4 * size))
                need = rows_of(window.shape[0], self.cell[0], self.info.width * self._pixel_bytes)
                cache.shared.reserve(self._key, need)
                return read_cells(key, self.cell, extent, window, decode, size)
        try:
            return self._decode(window)
        except GDAL_ERRORS as error:
            raise SourceError(f"{self.path}: cannot read {window}: {why_unread(error)}").of(
                self.path, window.to_json()
            ) from error

    def _decode_cell(self, window: Window, gdal_cache: int) -> Pixels:
        try:
            return self._decode(window, gdal_cache=gdal_cache)
        except GDAL_ERRORS as error:
            raise DamagedCell from error

    def _decode(self, window: Window, gdal_cache: int = CACHE_BYTES) -> Pixels:
        rows_columns = ((window.y0, window.y1), (window.x0, window.x1))
        block = np.empty((len(self.indexes), *window.shape), self.info.dtype)
        with gdal_env(self.path, gdal_cache):
            dataset = handle(self.path)
            read_bands(dataset, self.indexes, rows_columns, block)
            told, shown = valid_from(block, self.nodata), np.ones(window.shape, bool)
            for index in self.masks:
                shown &= dataset.read_masks(index, window=rows_columns) > 0
            if self.alpha is not None:
                shown &= dataset.read(self.alpha, window=rows_columns) > 0
        unite(block, block, self.nodata, self.info.nodata)
        return Pixels(hide(block, told, shown, self.info.nodata), told & shown)

    @cached_property
    def _key(self) -> str:
        facts = (self.info.fingerprint, self.info.dtype, self.info.nodata)
        return repr((self.path, facts, self.indexes, self.nodata, self.masks, self.alpha))

    @property
    def _pixel_bytes(self) -> int:
        return len(self.indexes) * np.dtype(self.info.dtype).itemsize + 1

    def _check_size(self, window: Window) -> None:
        size = math.prod(window.shape) * self._pixel_bytes
        if size > MOST_READ_BYTES:
            raise SourceError(
                f"{self.path}: {window} of {len(self.indexes)} bands are {size >> 20} MiB, beyond "
                f"{MOST_READ_BYTES >> 20} MiB; give a smaller --tile, or choose bands"
            )

    def select(self, positions: Sequence[int]) -> RasterSource:
        """The same file with the bands of these positions, counted from 0."""
        return replace(
            self,
            info=self.info.select(positions),
            indexes=tuple(self.indexes[index] for index in positions),
            nodata=tuple(self.nodata[index] for index in positions),
        )


def open_raster(
    path: str,
    *,
    bidx: Sequence[int] | None = None,
    bands: Sequence[str] | None = None,
    nodata: float | None = None,
    said: ItemValues | None = None,
) -> RasterSource:
    """Open one raster of any GDAL path and look at everything but its pixels.

    Args:
        bidx: the file's numbers of the bands, from 1; all but alpha by default.
        bands: or their names.
        nodata: the sentinel of all bands, in place of the file's own.
        said: what an item says of the file's bands; it counts where the file declares nothing.

    Raises:
        SourceError: no such file, no raster, no bands, a palette, or complex numbers.
        ConfigError: there is no such band, or the bands cannot hold this nodata.
    """
    try:
        with gdal_env(path), open_reader(path) as dataset:
            return _describe(path, dataset, bidx, bands, nodata, said)
    except (SourceError, ConfigError):
        raise
    except GDAL_ERRORS as error:
        why = reason(error).removeprefix(f"'{path}' ").removeprefix(f"`{path}' ")
        why = why if "too slow" in why else storage_reason(path) or why
        why = why if path in why else f"{path}: {why}"
        raise SourceError(f"cannot open {why}; give a raster that GDAL reads").of(path) from error


def _describe(
    path: str,
    dataset: DatasetReader,
    bidx: Sequence[int] | None,
    bands: Sequence[str] | None,
    nodata: float | None,
    said: ItemValues | None,
) -> RasterSource:
    if not dataset.count:
        inside = ", ".join(dataset.subdatasets[:3])
        remedy = f"give one of its {len(dataset.subdatasets)} rasters: {inside}" if inside else "it holds no raster"
        raise SourceError(f"{path} has no bands; {remedy}")
    names = band_names(dataset.descriptions)
    positions, alpha = _bands_and_alpha(path, dataset.colorinterp, choose(names, bidx, bands, path), bidx or bands)
    dtypes = numpy_dtypes(dataset)
    _check_pixels(path, dataset, positions, dtypes)
    _check_blocks(path, dataset)
    values = declared(dataset, said)
    lines = [value.line or PLAIN for value in values]
    dtype = np.result_type(*(dtypes[index] for index in positions))
    if nodata is not None and (why := unfit(nodata, dtype)):
        raise ConfigError(f"{path}: {why}")
    missing = [value.nodata if nodata is None else nodata for value in values]
    sentinels = tuple(sentinel(value, dtype) for value, dtype in zip(missing, dtypes, strict=True))
    masks = _mask_bands(dataset.mask_flag_enums, sentinels, positions, alpha)
    chosen = [sentinels[index] for index in positions]
    info = SceneInfo(
        name=scene_name(path),
        bands=names,
        height=dataset.height,
        width=dataset.width,
        dtype=str(dtype),
        nodata=shared(chosen, [dtypes[index] for index in positions]),
        scales=tuple(line[0] for line in lines),
        offsets=tuple(line[1] for line in lines),
        units=tuple(value.unit for value in values),
        geo=_georeference(dataset),
        tags=dict(dataset.tags()),
        band_tags=tuple(
            with_spectrum(dataset.tags(index), dataset.tags(index, ns=IMAGERY)) for index in dataset.indexes
        ),
        # A chosen alpha band is data: written out as alpha again, it would be taken away on reading.
        colorinterp=tuple("undefined" if c is ColorInterp.alpha else c.name for c in dataset.colorinterp),
        masked=any(v is not None for v in chosen) or dtype.kind == "f" or bool(masks) or alpha is not None,
        fingerprint=dataset_fingerprint(path, dataset),
        described=any(text == f"band_{n}" for n, text in enumerate(dataset.descriptions, 1)),
    )
    # Behind a network a window is fewer requests than its cells, what is no file cannot be seen to change, and a VRT
    # does not tell how its files are stored.
    plain = os.path.isfile(path) and not is_remote(path) and dataset.driver != "VRT"
    cell = cell_shape(dataset.block_shapes[0], dataset.height, dataset.width) if plain else (0, 0)
    whole = RasterSource(path, info, tuple(dataset.indexes), sentinels, masks, alpha, cell, images_in(dataset))
    return whole.select(positions)


def _bands_and_alpha(
    path: str, colours: Sequence[ColorInterp], positions: tuple[int, ...], asked: Sequence[object] | None
) -> tuple[tuple[int, ...], int | None]:
    """The bands without alpha, and alpha's number. Alpha that was asked for is a band like the others."""
    if ColorInterp.alpha not in colours:
        return positions, None
    alpha = colours.index(ColorInterp.alpha)
    if asked is not None:
        return positions, None if alpha in positions else alpha + 1
    positions = tuple(index for index in positions if index != alpha)
    if not positions:
        raise SourceError(f"{path} has an alpha band and no other; choose it by -b 1 if it is data")
    return positions, alpha + 1


def _check_pixels(path: str, dataset: DatasetReader, positions: Sequence[int], dtypes: Sequence[str]) -> None:
    for index in positions:
        if dataset.colorinterp[index] is ColorInterp.palette:
            raise SourceError(
                f"{path}: band {index + 1} is a palette, its numbers stand for colours; "
                "expand it first: gdal_translate -expand rgb"
            )
        if np.dtype(dtypes[index]).kind not in "iuf":
            raise SourceError(
                f"{path}: band {index + 1} is {dataset.dtypes[index]}; give real numbers, for example its amplitudes: "
                f"DERIVED_SUBDATASET:AMPLITUDE:{path}"
            )


def _check_blocks(path: str, dataset: DatasetReader) -> None:
    """Refuse what would take much memory at the first pixel, and a place that is none."""
    together = dataset.count if dataset.tags(ns="IMAGE_STRUCTURE").get("INTERLEAVE") == "PIXEL" else 1
    for (height, width), dtype in set(zip(dataset.block_shapes, numpy_dtypes(dataset), strict=True)):
        size = height * width * np.dtype(dtype).itemsize * together
        if size > MOST_BLOCK_BYTES:
            raise SourceError(
                f"{path} is stored in blocks of {height} x {width}, {size >> 20} MiB each, beyond "
                f"{MOST_BLOCK_BYTES >> 20} MiB; rewrite it in tiles first (gdal_translate -co TILED=YES)"
            )
    if not np.isfinite(dataset.transform[:6]).all():
        raise SourceError(f"{path}: its transform is not finite; give it another (gdal_edit -a_ullr)")


def _mask_bands(
    flags: Sequence[Sequence[MaskFlags]], own: Sequence[float | None], positions: Sequence[int], alpha: int | None
) -> tuple[int, ...]:
    """Bands whose masks must be read: no sentinel of `own` (the largest of 64 bits is none) nor alpha tells them."""
    read = []
    for index in positions:
        of_band = set(flags[index])
        if MaskFlags.alpha in of_band or of_band & {MaskFlags.all_valid}:
            continue
        if MaskFlags.per_dataset in of_band:
            return (index + 1,)
        if MaskFlags.nodata not in of_band or own[index] is None:
            read.append(index + 1)
    return tuple(read)


def _georeference(dataset: DatasetReader) -> Georeference:
    transform, rpcs = dataset.transform, dataset.rpcs
    gcps, gcps_crs = dataset.gcps
    return Georeference(
        crs_wkt=dataset.crs.to_wkt() if dataset.crs else None,
        transform=None if transform.is_identity else cast(Affine6, tuple(map(float, transform[:6]))),
        gcps=tuple(Gcp(g.row, g.col, g.x, g.y, g.z or 0.0) for g in gcps),
        gcps_crs_wkt=gcps_crs.to_wkt() if gcps_crs else None,
        rpcs=rpcs.to_gdal() if rpcs else None,
    )
