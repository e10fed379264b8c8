"""One file on another grid of the same CRS by GDAL's warper: bilinear, cubic, average and their like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.io import DatasetReader
from rasterio.vrt import WarpedVRT
from rasterio.warp import SUPPORTED_RESAMPLING

from pipeline.errors import ConfigError, SourceError
from pipeline.grid import Window
from pipeline.raster.gdal import CACHE_BYTES, GDAL_ERRORS, gdal_env, handle, read_bands, why_unread
from pipeline.raster.geotiff import RasterSource
from pipeline.raster.nodata import hide, valid_from
from pipeline.raster.scene import SceneInfo


def check_resampling(name: str) -> None:
    """Raise ConfigError unless the warper knows this resampling."""
    names = sorted(method.name for method in SUPPORTED_RESAMPLING)
    if name not in names:
        raise ConfigError(f"no resampling {name!r}; there are {', '.join(names)}")


@dataclass(frozen=True)
class WarpedSource:
    """One file on the grid of `info`. GDAL works block by block, so a pixel does not depend on the window."""

    source: RasterSource
    info: SceneInfo
    resampling: str

    def __post_init__(self) -> None:
        if len(set(map(repr, self.source.nodata))) > 1:
            raise ConfigError(
                f"{self.source.path}: its bands have different nodata, which {self.resampling} would mix; "
                "use nearest, or --nodata"
            )

    def read(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """A window of the grid: block (band, y, x), valid (y, x); invalid where the file has no pixel.

        Raises:
            SourceError: the pixels cannot be read.
        """
        place = ((window.y0, window.y1), (window.x0, window.x1))
        kind = (self.info.geo.transform, self.info.height, self.info.width, self.resampling, self._nodata)
        try:
            with gdal_env(self.source.path, CACHE_BYTES):
                vrt = handle(self.source.path, repr(kind), self._warp)
                block = np.empty((len(self.source.indexes), *window.shape), self.info.dtype)
                read_bands(vrt, self.source.indexes, place, block)
                told, shown = valid_from(block, self.source.nodata), np.ones(window.shape, bool)
                if self._nodata is None:
                    shown &= vrt.read(self.source.alpha or vrt.count, window=place) > 0
        except GDAL_ERRORS as error:
            raise SourceError(
                f"{self.source.path}: cannot read {window} at {self.info.geo.resolution}: {why_unread(error)}"
            ) from error
        return np.ascontiguousarray(hide(block, told, shown, self.info.nodata)), told & shown

    @property
    def _nodata(self) -> float | None:
        """NaN for floats without a sentinel, but where alpha tells: it would be NaN itself, and all pixels with it."""
        sentinel = self.source.nodata[0]
        floats = np.dtype(self.info.dtype).kind == "f" and self.source.alpha is None
        return float("nan") if sentinel is None and floats else sentinel

    def _warp(self, dataset: DatasetReader) -> WarpedVRT:
        assert self.info.geo.transform is not None
        return WarpedVRT(
            dataset,
            crs=dataset.crs,
            transform=Affine(*self.info.geo.transform),
            width=self.info.width,
            height=self.info.height,
            resampling=Resampling[self.resampling],
            src_nodata=self._nodata,
            nodata=self._nodata,
            add_alpha=self._nodata is None and self.source.alpha is None,
        )
