"""Files of different resolution and origin as one scene, placed by their georeference.

The grid is that of the first file that has the resolution asked for, else of the finest, stretched in whole pixels
until it covers all files (their union, as gdalbuildvrt has it): that file's pixels are copied as they are. Where a file
has no pixel, the scene's pixel is invalid. Files finer than the grid are averaged, others placed by `nearest`: a pixel
has the value of the source pixel that contains its centre; the one to the right and below on a tie.
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
from pipeline.raster.averaged import FINER, TIE, AveragedSource, axes, is_finer
from pipeline.raster.classes import is_classes
from pipeline.raster.fingerprint import content_fingerprint
from pipeline.raster.geotiff import RasterSource
from pipeline.raster.nodata import mark, shared, unite
from pipeline.raster.placed import PlacedSource, reach, transform_of
from pipeline.raster.scene import Affine6, Georeference, SceneInfo, Source
from pipeline.raster.warped import WarpedSource

_ORDERED = ("nearest", "mode")
"""Resamplings that a band of classes can bear: they make no number that is not there."""


Member = PlacedSource | AveragedSource | WarpedSource


@dataclass(frozen=True)
class StackSource:
    """Files one behind the other on one grid. Picklable, without an open handle."""

    members: tuple[Member, ...]
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
    resampling: str | None = None,
) -> Source:
    """Put the bands of several files on one grid.

    Args:
        sources: the files, in order.
        bands: names of all their bands, one file behind the other.
        positions: the bands to take, counted from 0 over all files.
        resolution: size of a pixel in units of the CRS, or (x, y) sizes; the finest file's by default.
        resampling: of all files of another grid: nearest, average, or another of GDAL's warper: bilinear, cubic,
            mode... By default finer files are averaged and others placed by nearest. Bands of classes (SCL, QA) know
            nearest and mode alone.

    Raises:
        SourceError: one of several files has no CRS, another CRS than the first, or a rotated grid.
        ConfigError: no such resolution or resampling.
    """
    files = [(number, band) for number, source in enumerate(sources) for band in range(len(source.indexes))]
    names = tuple(bands[position] for position in positions)
    if len({files[position][0] for position in positions}) == 1 and resolution is None:
        # Nothing to place: it needs no georeference.
        only = sources[files[positions[0]][0]].select([files[position][1] for position in positions])
        return replace(only, info=replace(only.info, name=name, bands=names))
    together = groupby(positions, lambda position: (files[position][0], is_classes(bands[position])))
    runs = [
        (sources[number].select([files[position][1] for position in run]), classes)
        for (number, classes), run in together
    ]
    chosen = [source for source, _ in runs]
    _check_grids([(source.path, source.info.geo) for source in chosen])
    anchor, step = _anchor(chosen, resolution)
    transform, height, width = _union(chosen, transform_of(anchor.info), step)
    geo = Georeference(crs_wkt=anchor.info.geo.crs_wkt, transform=transform)
    members = [
        _member(source, replace(source.info, height=height, width=width, geo=geo), resampling, classes)
        for source, classes in runs
    ]
    told = [(source, source.info.nodata) for source in chosen]
    own = [source.nodata if value is None else (value,) * len(source.nodata) for source, value in told]
    info = _join(name, names, [member.info for member in members], all(map(_covers, members)), own)
    made = sorted({_how(member) for member in members} - {""})
    if made and resampling and any(classes for _, classes in runs):  # before, they were mixed like the others
        made.append("classes")
    if made:  # the pixels are no longer the files' own
        info = replace(info, fingerprint="-".join((info.fingerprint, *made)))
    return StackSource(tuple(members), info, sum(own, ()))


def _member(source: RasterSource, info: SceneInfo, resampling: str | None, classes: bool) -> Member:
    """A file on the grid of `info`; as it is, pixel by pixel, where that is its own."""
    grid = transform_of(info)
    finer = is_finer(transform_of(source.info), (grid[0], grid[4]))
    method = resampling or ("average" if finer else "nearest")
    method = method if not classes or method in _ORDERED else "nearest"
    if method == "nearest" or _aligned(transform_of(source.info), grid):
        return PlacedSource(source, info)
    return AveragedSource(source, info) if method == "average" and finer else WarpedSource(source, info, method)


def _aligned(own: Affine6, grid: Affine6) -> bool:
    """True where pixels of a file are pixels of the grid, which may reach further."""
    x, y = (grid[2] - own[2]) / own[0], (grid[5] - own[5]) / own[4]
    return (own[0], own[4]) == (grid[0], grid[4]) and max(abs(x - round(x)), abs(y - round(y))) < TIE


def _how(member: Member) -> str:
    """What a fingerprint says of a member whose pixels are not copies; stores of before averaged otherwise."""
    if isinstance(member, PlacedSource):
        return ""
    return "mean" if isinstance(member, AveragedSource) else member.resampling


def times_coarser(source: Source) -> float:
    """How many times as large the pixels of a scene are, along an axis, as those of the finest file it is read from."""
    grid = source.info.geo.resolution
    own = [member.source.info.geo.resolution for member in source.members] if isinstance(source, StackSource) else []
    sizes = [math.prod(size) for size in own if size is not None]
    times = math.sqrt(math.prod(grid) / min(sizes)) if grid and sizes else 1.0
    return times if times > FINER else 1.0


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
    if not all(side.stop for side in reach(own, placed.info)):
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
        if geo.transform[1] or geo.transform[3]:
            raise SourceError(f"{path} lies on a rotated grid; warp it first (gdalwarp) to stack it")
        if not (geo.transform[0] and geo.transform[4]):
            raise SourceError(f"{path} has pixels of no size; give it a transform (gdal_edit -a_ullr)")


def _crs_name(geo: Georeference) -> str:
    return f"EPSG:{geo.epsg}" if geo.epsg else "another CRS"


def _anchor(
    sources: Sequence[RasterSource], resolution: float | tuple[float, float] | None
) -> tuple[RasterSource, tuple[float, float]]:
    """The file that says where pixels lie, and their size: the first of this resolution, else the finest."""
    for source in sources if resolution is not None else ():
        own, step = transform_of(source.info), _step(source.info, resolution)
        sides = (source.info.width, source.info.height)
        # Where it writes its size in fewer digits, no pixel of it is a tenth of a pixel from where it belongs.
        if all(abs(s / o - 1) * n <= 0.1 for s, o, n in zip(step, (own[0], own[4]), sides, strict=True)):
            return source, (own[0], own[4])
    finest = min(sources, key=lambda source: math.prod(source.info.geo.resolution or ()))
    return finest, _step(finest.info, resolution)


def _step(info: SceneInfo, resolution: float | tuple[float, float] | None) -> tuple[float, float]:
    """(x, y) signed size of the grid's pixels."""
    a, _, _, _, e, _ = transform_of(info)
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
        a, _, c, _, e, f = transform_of(source.info)
        columns += [(c - anchor[2]) / step[0], (c + a * source.info.width - anchor[2]) / step[0]]
        rows += [(f - anchor[5]) / step[1], (f + e * source.info.height - anchor[5]) / step[1]]
    if max(max(columns) - min(columns), max(rows) - min(rows)) > MOST_SIDE:
        raise SourceError(
            f"{sources[0].path} and the others lie over more than {MOST_SIDE} pixels of {step[0]:g} x {step[1]:g}; "
            "stack files of one place, at a coarser resolution"
        )
    left, top = math.floor(min(columns) + TIE), math.floor(min(rows) + TIE)
    right, bottom = math.ceil(max(columns) - TIE), math.ceil(max(rows) - TIE)
    transform = (step[0], 0.0, anchor[2] + left * step[0], 0.0, step[1], anchor[5] + top * step[1])
    return transform, bottom - top, right - left


def covered(member: Member) -> tuple[slice, slice]:
    """Rows and columns of the grid that have something of the file."""
    grid = member.info
    if isinstance(member, AveragedSource):
        rows, columns = axes(member.source.info, grid, Window(0, grid.height, 0, grid.width))
        return rows.reach, columns.reach
    return reach(member.source.info, grid)


def _covers(member: Member) -> bool:
    return covered(member) == (slice(0, member.info.height), slice(0, member.info.width))


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
