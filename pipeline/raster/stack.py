"""Files of different resolution and origin as one scene, placed by their georeference.

The grid is that of the finest file, stretched in whole pixels until it covers all files (their union, as gdalbuildvrt
has it): the finest file's pixels are copied as they are. Where a file has no pixel, the scene's pixel is invalid.
`nearest`: a pixel has the value of the source pixel that contains its centre; the one to the right and below on a tie.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.crs import CRS

from pipeline.errors import ConfigError, SourceError
from pipeline.grid import MOST_SIDE, Window
from pipeline.raster.fingerprint import content_fingerprint
from pipeline.raster.geotiff import RasterSource
from pipeline.raster.nodata import mark, shared, unite
from pipeline.raster.scene import Affine6, Georeference, SceneInfo, Source
from pipeline.raster.warped import WarpedSource

_TIE = 1e-6  # of a source pixel: coordinates of millions of metres carry rounding errors far below it


@dataclass(frozen=True)
class PlacedSource:
    """One file on the grid of `info`, by nearest neighbour."""

    source: RasterSource
    info: SceneInfo

    def read(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """A window of the grid: block (band, y, x), valid (y, x); invalid where the file has no pixel.

        Raises:
            SourceError: the pixels cannot be read.
        """
        target, own = _transform(self.info), _transform(self.source.info)
        rows = _nearest(window.y0, window.y1, target[5], target[4], own[5], own[4])
        columns = _nearest(window.x0, window.x1, target[2], target[0], own[2], own[0])
        ys, xs = _inside(rows, self.source.info.height), _inside(columns, self.source.info.width)
        fill = 0 if self.info.nodata is None else self.info.nodata
        block = np.full((len(self.info.bands), *window.shape), fill, self.info.dtype)
        valid = np.zeros(window.shape, bool)
        rows, columns = rows[ys], columns[xs]
        if rows.size and columns.size:
            y0, x0 = int(rows.min()), int(columns.min())
            part, real = self.source.read(Window(y0, int(rows.max()) + 1, x0, int(columns.max()) + 1))
            block[:, ys, xs] = part[:, rows - y0][:, :, columns - x0]
            valid[ys, xs] = real[rows - y0][:, columns - x0]
        return block, valid


@dataclass(frozen=True)
class StackSource:
    """Files one behind the other on one grid. Picklable, without an open handle."""

    members: tuple[Source, ...]
    info: SceneInfo
    nodata: tuple[float | None, ...]
    """The sentinel of each band, as the files are read; info.nodata takes its place, where there is one."""

    def read(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """A window inside the scene: block (band, y, x) of info.dtype, valid where every file is.

        Raises:
            SourceError: the pixels of one file cannot be read.
        """
        block = np.empty((len(self.info.bands), *window.shape), self.info.dtype)
        valid = np.ones(window.shape, bool)
        united = self.info.nodata is not None and len(set(map(repr, self.nodata))) > 1
        band = 0
        for member in self.members:
            part, real = member.read(window)
            bands = slice(band, band + len(part))
            block[bands] = part
            if united and not real.all():
                # A file without a sentinel cannot say which pixels it has not; another's would speak for them.
                assert self.info.nodata is not None
                mark(unite(block[bands], part, self.nodata[bands], self.info.nodata), real, self.info.nodata)
            valid &= real
            band += len(part)
        return block, valid


def stack(
    name: str,
    sources: Sequence[RasterSource],
    bands: Sequence[str],
    positions: Sequence[int],
    *,
    resolution: float | tuple[float, float] | None = None,
    resampling: str = "nearest",
) -> Source:
    """Put the bands of several files on one grid.

    Args:
        sources: the files, in order.
        bands: names of all their bands, one file behind the other.
        positions: the bands to take, counted from 0 over all files.
        resolution: size of a pixel in units of the CRS, or (x, y) sizes; the finest file's by default.
        resampling: nearest, or another of GDAL's warper: bilinear, cubic, average, mode...

    Raises:
        SourceError: one of several files has no CRS, another CRS than the first, or a rotated grid.
        ConfigError: no such resolution or resampling.
    """
    files = [(number, band) for number, source in enumerate(sources) for band in range(len(source.indexes))]
    chosen = [
        sources[number].select([files[position][1] for position in run])
        for number, run in groupby(positions, lambda position: files[position][0])
    ]
    names = tuple(bands[position] for position in positions)
    if len(chosen) == 1 and resolution is None:  # nothing to place: it needs no georeference
        only: RasterSource = replace(chosen[0], info=replace(chosen[0].info, name=name, bands=names))
        return only
    _check_grids([(source.path, source.info.geo) for source in chosen])
    finest = min(chosen, key=lambda source: math.prod(source.info.geo.resolution or ()))
    transform, height, width = _union(chosen, _transform(finest.info), _step(finest.info, resolution))
    geo = Georeference(crs_wkt=finest.info.geo.crs_wkt, transform=transform)
    grids = [replace(source.info, height=height, width=width, geo=geo) for source in chosen]
    members: list[Source] = []
    for source, info in zip(chosen, grids, strict=True):
        exact = resampling == "nearest" or source.info.geo.transform == transform
        members.append(PlacedSource(source, info) if exact else WarpedSource(source, info, resampling))
    whole = all(_covers(source.info, info) for source, info in zip(chosen, grids, strict=True))
    told = [(source, source.info.nodata) for source in chosen]
    own = [source.nodata if value is None else (value,) * len(source.nodata) for source, value in told]
    info = _join(name, names, [member.info for member in members], whole, own)
    if any(isinstance(member, WarpedSource) for member in members):  # the pixels are no longer the files' own
        info = replace(info, fingerprint=f"{info.fingerprint}-{resampling}")
    return StackSource(tuple(members), info, sum(own, ()))


def place(source: RasterSource, scene: SceneInfo) -> Source:
    """A file on the grid of a scene, by nearest neighbour; as it is where that is its grid, or it says of none.

    Raises:
        SourceError: it cannot be placed there, or lies beside the scene.
    """
    own, geo = source.info, scene.geo
    same = (own.height, own.width) == (scene.height, scene.width)
    if same and (own.geo.transform is None or (own.geo.transform, own.geo.crs_wkt) == (geo.transform, geo.crs_wkt)):
        return source
    _check_grids([(f"the scene {scene.name}", geo), (source.path, own.geo)])
    placed = PlacedSource(source, replace(own, height=scene.height, width=scene.width, geo=geo))
    if not all(reach.stop for reach in _reach(own, placed.info)):
        raise SourceError(f"{source.path} lies beside {scene.name}: they share no pixel; give the one of this scene")
    return placed


def _check_grids(places: Sequence[tuple[str, Georeference]]) -> None:
    name, first = places[0]
    for path, geo in places:
        if geo.transform is None or geo.crs_wkt is None:
            raise SourceError(
                f"{path} has no CRS and transform, so it cannot be placed among other bands; "
                "give it one (gdal_edit -a_srs, -a_ullr) or stack the files yourself (gdalbuildvrt -separate)"
            )
        if geo.crs_wkt != first.crs_wkt and CRS.from_wkt(geo.crs_wkt) != CRS.from_wkt(first.crs_wkt):
            raise SourceError(
                f"{path} is in {_crs_name(geo)}, {name} in {_crs_name(first)}; "
                "warp the files to one CRS first (gdalwarp -t_srs)"
            )
        if not (geo.transform[0] and geo.transform[4]):
            raise SourceError(f"{path} has pixels of no size; give it a transform (gdal_edit -a_ullr)")
        if geo.transform[1] or geo.transform[3]:
            raise SourceError(f"{path} lies on a rotated grid; warp it first (gdalwarp) to stack it")


def _crs_name(geo: Georeference) -> str:
    return f"EPSG:{geo.epsg}" if geo.epsg else "another CRS"


def _transform(info: SceneInfo) -> Affine6:
    assert info.geo.transform is not None, info.name
    return info.geo.transform


def _step(info: SceneInfo, resolution: float | tuple[float, float] | None) -> tuple[float, float]:
    """(x, y) signed size of the grid's pixels."""
    a, _, _, _, e, _ = _transform(info)
    if resolution is None:
        return a, e
    x, y = resolution if isinstance(resolution, tuple) else (resolution, resolution)
    if not (0 < x < math.inf and 0 < y < math.inf):
        raise ConfigError(f"a resolution is a positive number in units of the CRS, got {resolution}")
    return math.copysign(x, a), math.copysign(y, e)


def _union(sources: Sequence[RasterSource], anchor: Affine6, step: tuple[float, float]) -> tuple[Affine6, int, int]:
    """The grid of pixels of size `step`, one corner at the anchor's origin, that covers all files."""
    columns: list[float] = []
    rows: list[float] = []
    for source in sources:
        a, _, c, _, e, f = _transform(source.info)
        columns += [(c - anchor[2]) / step[0], (c + a * source.info.width - anchor[2]) / step[0]]
        rows += [(f - anchor[5]) / step[1], (f + e * source.info.height - anchor[5]) / step[1]]
    if max(max(columns) - min(columns), max(rows) - min(rows)) > MOST_SIDE:
        raise SourceError(
            f"{sources[0].path} and the others lie over more than {MOST_SIDE} pixels of {step[0]:g} x {step[1]:g}; "
            "stack files of one place, at a coarser resolution"
        )
    left, top = math.floor(min(columns) + _TIE), math.floor(min(rows) + _TIE)
    right, bottom = math.ceil(max(columns) - _TIE), math.ceil(max(rows) - _TIE)
    transform = (step[0], 0.0, anchor[2] + left * step[0], 0.0, step[1], anchor[5] + top * step[1])
    return transform, bottom - top, right - left


def _nearest(start: int, stop: int, origin: float, step: float, own_origin: float, own_step: float) -> NDArray[np.intp]:
    """Along one axis: the source pixel that contains the centre of each grid pixel, wherever that is."""
    centres = origin + (np.arange(start, stop) + 0.5) * step
    return np.asarray(np.floor((centres - own_origin) / own_step + _TIE), np.intp)


def _inside(pixels: NDArray[np.intp], extent: int) -> slice:
    """The run of grid pixels whose source pixel exists."""
    there = np.flatnonzero((pixels >= 0) & (pixels < extent))
    return slice(int(there[0]), int(there[-1]) + 1) if there.size else slice(0, 0)


def _reach(source: SceneInfo, grid: SceneInfo) -> tuple[slice, slice]:
    """Rows and columns of a grid that have a pixel of the source."""
    target, own = _transform(grid), _transform(source)
    rows = _nearest(0, grid.height, target[5], target[4], own[5], own[4])
    columns = _nearest(0, grid.width, target[2], target[0], own[2], own[0])
    return _inside(rows, source.height), _inside(columns, source.width)


def _covers(source: SceneInfo, grid: SceneInfo) -> bool:
    return _reach(source, grid) == (slice(0, grid.height), slice(0, grid.width))


def _join(
    name: str, bands: tuple[str, ...], infos: Sequence[SceneInfo], whole: bool, own: Sequence[tuple[float | None, ...]]
) -> SceneInfo:
    first = infos[0]
    dtypes = [info.dtype for info in infos for _ in info.bands]
    common = set(first.tags.items()).intersection(*(info.tags.items() for info in infos))
    return replace(
        first,
        name=name,
        bands=bands,
        dtype=str(np.result_type(*(np.dtype(info.dtype) for info in infos))),
        nodata=shared(sum(own, ()), dtypes),
        scales=sum((info.scales for info in infos), ()),
        offsets=sum((info.offsets for info in infos), ()),
        units=sum((info.units for info in infos), ()),
        tags=dict(sorted(common)),
        band_tags=sum((info.band_tags for info in infos), ()),
        colorinterp=("undefined",) * len(bands),
        masked=not whole or any(info.masked for info in infos),
        fingerprint=content_fingerprint(*(info.fingerprint.encode() for info in infos)),
    )
