"""An xarray scene as a Source: what a file tells of itself, told by coordinates and attributes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import rioxarray  # noqa: F401  (registers .rio)
import xarray as xr
from dask.base import is_dask_collection
from numpy.typing import NDArray

from pipeline.errors import BlockError, SourceError
from pipeline.flow.array_dates import date_tags
from pipeline.flow.arrays import as_cube, band_labels
from pipeline.flow.computing import Scheduler
from pipeline.flow.frames import frame_of, transform_of
from pipeline.flow.half import widened
from pipeline.flow.per_band import of_each_band
from pipeline.flow.read import spread
from pipeline.flow.sentinels import nodata_of, with_own
from pipeline.flow.windows import made_here
from pipeline.grid import Window
from pipeline.raster.fingerprint import content_fingerprint
from pipeline.raster.frame import Frame
from pipeline.raster.names import band_names, safe_name
from pipeline.raster.nodata import sentinel, valid_from
from pipeline.raster.scene import Affine6, Gcp, Georeference, SceneInfo


@dataclass(frozen=True, eq=False)
class ArraySource:
    """Pixels of an array (band, y, x) of numpy or Dask. Of a lazy one each window is computed as it is read."""

    cube: Any
    info: SceneInfo
    frame: Frame | None = None
    """Its dimensions, coordinates and attributes, for the store."""
    missing: int | None = None
    """A sentinel of 64-bit integers that is no float, as info.nodata is: `valid` alone tells of it."""
    scheduler: Scheduler = "synchronous"
    """Of Dask, for windows of a lazy array; whoever reads is one of many threads already."""
    denoised: bool = False
    """Whether `denoise` is among what a lazy array is made of: as it is computed, not told before."""

    def read(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """A window's block (band, y, x), and valid (y, x) bool.

        Raises:
            SourceError: the lazy array cannot be computed there.
        """
        block = self.cube[:, *window.slices]
        if is_dask_collection(block):
            try:
                block = block.compute(scheduler=self.scheduler)
            except Exception as error:  # whatever the user's own graph raises
                reason = " ".join(str(error).split()) or type(error).__name__
                raise SourceError(f"{self.info.name}: {window} cannot be computed: {reason}") from error
        block = np.array(block)
        nodata = self.info.nodata if self.missing is None else self.missing
        return block, valid_from(block, (nodata,) * len(block))

    @property
    def warning(self) -> str | None:
        """What is to be said of the sentinel; None where it is kept as it is."""
        if self.missing is None:
            return None
        return (
            f"{self.info.name}: nodata {self.missing} is no float64, as nodata is kept: a pixel that has it in one "
            "band is missing in all, as `valid` says, and reads as 0; give one below 2**53 to keep it"
        )


def source_of(scene: xr.DataArray, scheduler: Scheduler = "synchronous") -> ArraySource:
    """A scene (band, y, x), or (y, x), as a source, with what its coordinates and attributes tell; float16 as float32.

    Windows of a lazy one are computed by the scheduler (`computing.who_computes`).

    Raises:
        BlockError: it has not two or three dimensions, no real dtype, a name of the store's own, or scales of other
            bands.
        SourceError: a sample of it cannot be computed.
    """
    scene = widened(scene)
    cube, scene = as_cube(scene), with_own(scene)
    declared = nodata_of(scene)
    missing = declared if isinstance(declared, int) and int(float(declared)) != declared else None
    nodata = None if missing is not None else sentinel(declared, cube.dtype)
    names = band_names(band_labels(scene, cube))
    transform = transform_of(scene)
    info = SceneInfo(
        name=safe_name(str(scene.name or "scene")),
        bands=names,
        height=cube.shape[1],
        width=cube.shape[2],
        dtype=str(cube.dtype),
        nodata=nodata,
        scales=_per_band(scene, "scale_factor", "scales", "scale"),
        offsets=_per_band(scene, "add_offset", "offsets", "offset"),
        geo=_georeference(scene, transform),
        tags={key: value for key, value in scene.attrs.items() if isinstance(value, str)},
        band_tags=_band_tags(scene, len(names)),
        masked=nodata is not None or missing is not None or cube.dtype.kind == "f",
    )
    denoised = made_here(cube, "denoise")
    source = ArraySource(cube, info, missing=missing, scheduler=scheduler, denoised=denoised)
    ends = [source.read(window)[0] for window in spread(source, 64, 4)]
    facts = repr((cube.shape, str(cube.dtype))).encode()
    known = content_fingerprint(facts, *(block.tobytes() for block in ends))
    frame = frame_of(_with_bands(scene), transform)
    return replace(source, info=replace(info, fingerprint=known), frame=frame)


def _with_bands(scene: xr.DataArray) -> xr.DataArray:
    """The scene (band, y, x); a plane's scalar `band` becomes the label of its one band.

    Raises:
        BlockError: the plane has an axis, or a coordinate along one, of that name.
    """
    if scene.ndim == 3:
        return scene
    if "band" in scene.dims or ("band" in scene.coords and scene.coords["band"].ndim):
        raise BlockError(
            f"a plane (y, x) of dimensions {scene.dims} has a `band` along them; "
            "give the scene three, or another name by rename()"
        )
    spread_out = scene.expand_dims("band")
    spread_out.encoding = scene.encoding
    return spread_out


def _per_band(scene: xr.DataArray, common: str, each: str, coordinate: str) -> tuple[float, ...]:
    """A number for each band, from CF's one for all or rioxarray's list of them; none where neither says so.

    Raises:
        BlockError: the list is longer or shorter, and nothing says which numbers are those of these bands.
    """
    told = scene.attrs.get(common, scene.attrs.get(each))
    if told is None or np.asarray(told).dtype.kind not in "iuf" or np.ndim(told) > 1 or not np.size(told):
        return ()
    values = of_each_band(scene, told, coordinate)
    if values is None:
        raise BlockError(
            f"the attribute {each!r} has {np.size(told)} numbers and the scene another number of bands, which are not "
            "those numbers' by their labels; give it one for each band, or leave it out"
        )
    return tuple(map(float, values))


def _band_tags(scene: xr.DataArray, count: int) -> tuple[dict[str, str], ...]:
    """The tags that files carry of dates, and `wavelength` in nm as that of micrometres."""
    tags = date_tags(scene) or [{} for _ in range(count)]
    if "wavelength" in scene.coords and scene.wavelength.shape == (count,):
        values = scene.wavelength.values.astype(float)
        waves = [{"center_wavelength": f"{value / 1e3:.9g}"} if np.isfinite(value) else {} for value in values]
        tags = [one | wave for one, wave in zip(tags, waves, strict=True)]
    return tuple(tags)


def _georeference(scene: xr.DataArray, transform: Affine6 | None) -> Georeference:
    crs = scene.rio.crs
    wkt = crs.to_wkt() if crs else None
    points = scene.rio.get_gcps() or []
    gcps = tuple(Gcp(g.row, g.col, g.x, g.y, g.z or 0.0) for g in points)
    if gcps and transform is None:
        return Georeference(gcps=gcps, gcps_crs_wkt=wkt)
    return Georeference(crs_wkt=wkt, transform=transform)
