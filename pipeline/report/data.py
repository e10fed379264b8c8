"""What a report is made of: plain values and arrays, checked at the door.

Pictures are *sampled*: before = scene[:, ::step, ::step], never averaged, so that noise looks as it is and
the difference of the two keeps the size it has in the scene.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import BlockError

F32 = NDArray[np.float32]
Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.integer[Any]]

PICTURE_PIXELS = 250_000
PICTURE_SIDE = 900
"""A picture is sampled down to so many pixels and so long a side, for a page of about 3 MB at most."""


def picture_step(height: int, width: int) -> int:
    """Every how many pixels to sample a height x width scene for the report's pictures."""
    by_area = math.ceil(math.sqrt(height * width / PICTURE_PIXELS))
    return max(1, by_area, -(-max(height, width) // PICTURE_SIDE))


@dataclass(frozen=True)
class Source:
    """Where the scene came from."""

    path: str
    shape: tuple[int, int, int]
    """(band, y, x), in pixels of the whole scene."""
    dtype: str
    crs: str | None = None
    pixel_size: tuple[float, float] | None = None
    """(x, y) in units of the CRS."""
    nodata: float | None = None


@dataclass(frozen=True, eq=False)
class Detail:
    """A small window of the scene, every pixel of it: (band, y, x) float32, NaN = invalid."""

    before: F32
    after: F32
    y0: int
    x0: int


@dataclass(frozen=True, eq=False)
class Noise:
    """Noise per band, (band,), in data units: before denoising and, where known, after storing, whose error counts."""

    sigma: Floats
    mean: Floats
    """Of the pictures' valid pixels, as the next."""
    std: Floats
    sigma_after: Floats | None = None
    stored_error: Floats | None = None
    """Root mean square error of storing each band, which `sigma_after` holds; 0 without loss, None where not known."""

    @property
    def lossy(self) -> bool:
        """Whether storing is known to have added an error to some band."""
        return self.stored_error is not None and bool((self.stored_error > 0).any())


@dataclass(frozen=True, eq=False)
class Rates:
    """What each tile costs and keeps, (tile,): only what is known, one point each."""

    bits: Floats
    """Bits stored for each valid pixel and band."""
    snr: Floats
    """dB; infinite where nothing was lost, NaN where there is no signal."""
    rmse: Floats
    """Data units."""
    whole: tuple[float, float, float]
    """The same of all tiles together."""
    raw_bits: int
    """Of one value of the raw scene."""
    mode: str
    """The bound: snr, rmse, max_error or lossless; or plain, where nothing was asked for."""
    value: float | None = None


@dataclass(frozen=True, eq=False)
class Storage:
    """What the store costs and what it keeps."""

    raw_bytes: int
    stored_bytes: int
    rmse: float | None = None
    """Root mean square error of what was stored, over all valid pixels and bands, in data units."""
    snr: float | None = None
    """The same in dB; infinite when nothing was lost."""
    requested: str = ""
    """The bound asked for, in words: "SNR of at least 40 dB", "lossless"."""
    rank_map: Ints | None = None
    """(tile row, tile column): components kept in each tile; negative = no valid pixel there."""
    tile_bytes: Ints | None = None
    """(tile row, tile column): bytes of each tile's chunk; negative = no chunk."""
    rates: Rates | None = None


@dataclass(frozen=True, eq=False)
class Features:
    """Features of the scene, sampled: (feature, y, x) float32, NaN = invalid; and the bank that made them."""

    sample: F32
    bank: str
    count: int | None = None
    """Features in the store, where the sample holds fewer."""


@dataclass(frozen=True)
class Stage:
    """One stage's work, summed over its tasks: seconds the workers were busy, not the wall clock's."""

    name: str
    seconds: float
    tiles: int
    bytes_in: int = 0
    bytes_out: int = 0
    flops: float | None = None
    """Of matrix products, where they are known."""
    cpu_seconds: float = 0.0
    """Of processor; 0 where they are not known."""


@dataclass(frozen=True)
class Run:
    """One run on these outputs: when it began (ISO 8601, UTC), tiles of all stages, seconds by the clock."""

    started: str
    command: str
    status: str
    computed: int
    found: int
    failures: int
    seconds: float


@dataclass(frozen=True, eq=False)
class ReportData:
    """Everything the report of one scene shows.

    before, after: (band, y, x) float32, sampled every `step` pixels, NaN = invalid, in data units.
    rgb: bands of the main picture, counted from 0 (default_rgb chooses when None).
    wavelengths: (band,) centre wavelengths in nm, or None.
    wall_seconds: wall-clock time of the run.
    compiled: whether kernels were compiled within it, which takes about a minute, once on a machine.
    tiles, tile, resumed: tiles of the scene, a tile's side in pixels, tiles found done already.
    history: the runs that worked on these outputs, oldest first.
    Raises BlockError when arrays and names do not fit together.
    """

    title: str
    command: str
    source: Source
    band_names: Sequence[str]
    before: F32
    after: F32
    step: int = 1
    rgb: tuple[int, int, int] | None = None
    wavelengths: Sequence[float] | None = None
    detail: Detail | None = None
    noise: Noise | None = None
    storage: Storage | None = None
    features: Features | None = None
    stages: Sequence[Stage] = ()
    wall_seconds: float | None = None
    compiled: bool = False
    tiles: int = 0
    tile: int = 0
    resumed: int = 0
    failures: Sequence[str] = ()
    history: Sequence[Run] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        bands = len(self.band_names)
        _check_pair("before and after", bands, self.before, self.after)
        if self.detail is not None:
            _check_pair("the detail's before and after", bands, self.detail.before, self.detail.after)
        for name, values in self._per_band():
            if values is not None and len(values) != bands:
                raise BlockError(f"report: {name} has {len(values)} values for {bands} bands; give one per band")
        for name, table in self._per_tile():
            if table is not None and (table.ndim != 2 or table.size == 0):
                raise BlockError(f"report: {name} is of shape {table.shape}; give (tile row, tile column)")
        if self.features is not None and (self.features.sample.ndim != 3 or self.features.sample.size == 0):
            raise BlockError(f"report: features of shape {self.features.sample.shape}; give (feature, y, x)")
        if self.rgb is not None and not all(0 <= band < bands for band in self.rgb):
            raise BlockError(f"report: rgb {self.rgb} names a band outside 0..{bands - 1}; count bands from 0")

    def _per_band(self) -> list[tuple[str, Sequence[float] | Floats | None]]:
        noise = self.noise
        found: list[tuple[str, Sequence[float] | Floats | None]] = [("wavelengths", self.wavelengths)]
        if noise is not None:
            found += [("noise.sigma", noise.sigma), ("noise.mean", noise.mean)]
            found += [("noise.std", noise.std), ("noise.sigma_after", noise.sigma_after)]
            found += [("noise.stored_error", noise.stored_error)]
        return found

    def _per_tile(self) -> list[tuple[str, Ints | None]]:
        if self.storage is None:
            return []
        return [("rank_map", self.storage.rank_map), ("tile_bytes", self.storage.tile_bytes)]


def _check_pair(what: str, bands: int, before: F32, after: F32) -> None:
    if before.shape != after.shape or before.ndim != 3 or before.size == 0 or before.shape[0] != bands:
        raise BlockError(
            f"report: {what} are of shapes {before.shape} and {after.shape} for {bands} band names; "
            "give two arrays of one (band, y, x) shape"
        )
