"""The first map: raw window with halo -> denoise -> trim -> encode -> one chunk of the store, in one task."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.codec import Bound, check, encode
from pipeline.codec.zarr_codec import LowRankCodec
from pipeline.errors import TerrasketchError
from pipeline.flow import algorithms
from pipeline.flow.by_date import dates_of
from pipeline.flow.constants import variances_of, varied_and_flat
from pipeline.flow.denoise import Denoising
from pipeline.flow.denoised import denoised_and_read
from pipeline.flow.ends import pair_of
from pipeline.flow.far import NO_FAR, far_of
from pipeline.flow.infinite import infinite_pixels, keeps_infinities
from pipeline.flow.journal import Plan
from pipeline.flow.lacking import lacking_pixels
from pipeline.flow.storing import squared_errors
from pipeline.flow.tasks import Sums, Wrote
from pipeline.grid import Grid, Tile
from pipeline.raster.chunks import check_crc32c, chunk_path, pack, put_chunk, read_chunk, whole_size
from pipeline.raster.dates import times_of
from pipeline.raster.frame import Frame, xarray_fill
from pipeline.raster.masks import MaskedSource
from pipeline.raster.nodata import real_elements
from pipeline.raster.scene import SceneInfo, Source
from pipeline.raster.zarr_store import Variable, valid_variable
from pipeline.storage import Place, place

SCENE = "scene"
TIME_ATTRIBUTES = {
    "time": {"standard_name": "time", "units": "seconds since 1970-01-01", "calendar": "proleptic_gregorian"}
}


@dataclass(frozen=True)
class SceneJob:
    """Fill a store with a scene, denoised; `bound` None keeps it in plain Zarr, without loss."""

    source: Source
    store: str
    tile: int
    denoising: Denoising
    bound: Bound | None
    effort: str = "fast"
    asked: tuple[int, ...] = ()
    """Numbers of the tiles that tell what storing cost each band, those too that are there already."""

    @property
    def grid(self) -> Grid:
        """The tiles of the map, one chunk each."""
        return Grid(self.source.info.height, self.source.info.width, self.tile)

    def run(self, tile: Tile) -> Wrote:
        """One tile, unless its chunks are there and whole. The scene's chunk comes last and ends the task."""
        store, scene = place(self.store), self.chunk(tile)
        valid = chunk_path(store, "valid", tile.row, tile.column)
        size = whole_size(scene, self._check)
        beside = whole_size(valid, check_crc32c) if self.source.info.masked else 0
        if size is not None and beside is not None:
            told = self._storing(tile)
            return Wrote(self._raw_bytes(tile), size + beside, resumed=True, beside=beside, storing=told)
        read = denoised_and_read(self.source, tile, self.tile, self.denoising)
        block, real, original = read.block, read.valid, read.original
        by_snr = self.bound is not None and self.bound.mode == "snr"
        far = far_of(original, real, tile.window, self.source.info.nodata) if by_snr else NO_FAR
        ends = pair_of(original, real, far)
        read = read._replace(original=block)
        del original  # the codec needs the memory
        mask = pack(real, (self.tile, self.tile), False) if self.source.info.masked else b""
        if mask:
            put_chunk(store, valid, mask)
        data = self._encode(block, real)
        put_chunk(store, scene, data)
        varied, flat = (False, False) if self.bound is None else varied_and_flat(data, variances_of(block, real))
        masked, dates = read.masked, dates_of(self.source.info)
        denoised = self.denoising.quality != "none" or getattr(self.source, "denoised", False)
        lacking = lacking_pixels(block, real, self.source.info.nodata, dates) if denoised else 0
        return Wrote(
            self._raw_bytes(tile),
            len(data) + len(mask),
            beside=len(mask),
            valid=int(np.count_nonzero(real)),
            seen=read.seen,
            judged=masked.judged,
            masked=masked.out,
            clouded=masked.clouded,
            unheeded=masked.unheeded,
            masked_on=masked.on,
            varied=varied,
            flat=flat,
            ends=ends,
            infinite=infinite_pixels(block, self.source.info.nodata, self.bound),
            lacking=lacking,
            mended=read.mended,
            storing=self._storing(tile, block, real, data),
        )

    def chunk(self, tile: Tile) -> Place:
        """Where the tile's chunk of the scene lies."""
        return chunk_path(place(self.store), SCENE, 0, tile.row, tile.column)

    def _raw_bytes(self, tile: Tile) -> int:
        height, width = tile.window.shape
        return len(self.source.info.bands) * height * width * np.dtype(self.source.info.dtype).itemsize

    def _storing(self, tile: Tile, *made: Any) -> dict[int, Sums]:
        """What storing cost each band of a tile that is asked for; `made` are its block, valid and chunk, which a tile
        that is there makes again, for only who has what was denoised knows."""
        number = tile.row * self.grid.columns + tile.column
        if self.bound is None or number not in self.asked:
            return {}
        if not made:
            try:
                read = denoised_and_read(self.source, tile, self.tile, self.denoising)
                made = read.block, read.valid, read_chunk(self.chunk(tile))
            except (TerrasketchError, OSError, ValueError):  # the tile is done: its figures are no reason to fail
                return {}
        block, valid, chunk = made
        return {number: squared_errors(block, self._real(block, valid, self.bound), chunk)}

    def _real(self, block: NDArray[Any], valid: NDArray[np.bool_], bound: Bound) -> NDArray[np.bool_]:
        return real_elements(block, valid, self.source.info.nodata, infinite=keeps_infinities(bound))

    @cached_property
    def _check(self) -> Any:
        return check_crc32c if self.bound is None else check

    def _encode(self, block: NDArray[Any], valid: NDArray[np.bool_]) -> bytes:
        info = self.source.info
        if self.bound is None:
            return pack(block, (len(info.bands), self.tile, self.tile), fill_value(info))
        return encode(block, self._real(block, valid, self.bound), self.bound, nodata=info.nodata, effort=self.effort)


def fill_value(info: SceneInfo) -> float | int:
    """What a store holds where nothing is written: nodata, NaN for floats, else 0."""
    if np.dtype(info.dtype).kind == "f":
        return float("nan") if info.nodata is None else float(info.nodata)
    return 0 if info.nodata is None else int(info.nodata)


def source_identity(source: Source) -> dict[str, Any]:
    """What a store was made of, for the configuration hash: the input's contents, its bands and where they lie."""
    info = source.info
    mask = {"mask": source.identity()} if isinstance(source, MaskedSource) else {}
    dates = times_of(info)
    times = {"times": list(dates[0])} if dates else {}
    return (
        mask
        | times
        | {
            "fingerprint": info.fingerprint,
            "bands": list(info.bands),
            "nodata": repr(info.nodata),
            "transform": list(info.geo.transform) if info.geo.transform else None,
            "crs": info.geo.crs_wkt,
        }
    )


def scene_plan(
    final: Place, source: Source, tile: int, denoising: Denoising, bound: Bound | None, effort: str = "fast"
) -> Plan:
    """The store of `SceneJob`: its variables, attributes and configuration; the frame of an array."""
    info = source.info
    frame: Frame | None = getattr(source, "frame", None)
    serializer = None
    if bound is not None:
        serializer = LowRankCodec(bound=bound.mode, value=bound.value, nodata=info.nodata, effort=effort)
    scene = Variable(
        SCENE,
        info.dtype,
        fill_value(info),
        "band",
        info.bands,
        serializer,
        _scene_attributes(info, frame),
        _dates(info),
        TIME_ATTRIBUTES,
    )
    configuration = {
        "source": source_identity(source),
        "grid": {"height": info.height, "width": info.width, "tile": tile},
        "denoise": denoising.configuration(dates_of(info)),
        "compress": {"bound": bound.mode if bound else "plain", "value": bound.value if bound else None},
        "algorithms": algorithms.of_scene(denoised=denoising.quality != "none", coded=bound is not None),
    } | ({"effort": effort} if bound else {})
    variables = (scene, valid_variable()) if info.masked else (scene,)
    return Plan(final, info, tile, variables, configuration, frame)


def _dates(info: SceneInfo) -> dict[str, tuple[Any, ...]]:
    """`time` and `band_name` of each band of a stack of dates, as coordinates along its axis."""
    found = times_of(info)
    return {} if found is None else {"time": found[0], "band_name": found[1]}


def _scene_attributes(info: SceneInfo, frame: Frame | None) -> dict[str, Any]:
    """What rioxarray reads: band names as long_name, the sentinel as _FillValue, one common scale and offset."""
    attributes: dict[str, Any] = {"long_name": list(info.bands)} if frame is None else dict(frame.attributes)
    if info.nodata is not None:
        attributes["_FillValue"] = xarray_fill(fill_value(info))
    scales, offsets = set(info.scales), set(info.offsets)
    if scales != {1.0} or offsets != {0.0}:
        if len(scales) == len(offsets) == 1:
            attributes |= {"scale_factor": info.scales[0], "add_offset": info.offsets[0]}
        else:
            attributes |= {"scales": list(info.scales), "offsets": list(info.offsets)}
    return attributes
