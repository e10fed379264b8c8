"""What a scene is besides its pixels, and what every source of pixels can do.

All of it is frozen, pickles, and goes through JSON and back unchanged, so that a Zarr store can carry it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple, Protocol, cast

import numpy as np
from numpy.typing import NDArray
from rasterio.crs import CRS

from pipeline.grid import Grid, Window

Affine6 = tuple[float, float, float, float, float, float]
_RPC_PIXELS = ("LINE_OFF", "SAMP_OFF", "LINE_SCALE", "SAMP_SCALE")


class Gcp(NamedTuple):
    """A ground control point: (row, column) in pixels lies at (x, y, z)."""

    row: float
    column: float
    x: float
    y: float
    z: float


@dataclass(frozen=True)
class Georeference:
    """Where the pixels lie. Every part may be missing."""

    crs_wkt: str | None = None
    """CRS of `transform`."""
    transform: Affine6 | None = None
    """(a, b, c, d, e, f): x = a·column + b·row + c, y = d·column + e·row + f, at the pixel's upper left corner."""
    gcps: tuple[Gcp, ...] = ()
    gcps_crs_wkt: str | None = None
    rpcs: Mapping[str, str] | None = None
    """Rational polynomial coefficients, in GDAL's words."""

    @property
    def epsg(self) -> int | None:
        """The EPSG code of the CRS, where it has one."""
        code = CRS.from_wkt(self.crs_wkt).to_epsg() if self.crs_wkt else None
        return None if code is None else int(code)

    @property
    def wkt2(self) -> str | None:
        """The CRS as WKT2:2019, which `proj:wkt2` of STAC and Zarr asks for: `crs_wkt` may be WKT1."""
        return str(CRS.from_wkt(self.crs_wkt).to_wkt(version="WKT2_2019")) if self.crs_wkt else None

    @property
    def resolution(self) -> tuple[float, float] | None:
        """(x, y) size of a pixel in units of the CRS, rotated or not."""
        if self.transform is None:
            return None
        a, b, _, d, e, _ = self.transform
        return math.hypot(a, d), math.hypot(b, e)

    def bounds(self, height: int, width: int) -> tuple[float, float, float, float] | None:
        """(left, bottom, right, top) of height x width pixels in units of the CRS, rotated or not."""
        if self.transform is None:
            return None
        a, b, c, d, e, f = self.transform
        corners = [(a * x + b * y + c, d * x + e * y + f) for x in (0, width) for y in (0, height)]
        xs, ys = zip(*corners, strict=True)
        return min(xs), min(ys), max(xs), max(ys)

    def scaled(self, rows: int, columns: int | None = None) -> Georeference:
        """The georeference of cells of rows x columns (or rows x rows) pixels, with the same origin."""
        columns = rows if columns is None else columns
        transform = self.transform
        if transform is not None:
            a, b, c, d, e, f = transform
            transform = (a * columns, b * rows, c, d * columns, e * rows, f)
        gcps = tuple(Gcp(g.row / rows, g.column / columns, g.x, g.y, g.z) for g in self.gcps)
        return replace(self, transform=transform, gcps=gcps, rpcs=_scaled_rpcs(self.rpcs, rows, columns))


def _scaled_rpcs(rpcs: Mapping[str, str] | None, rows: int, columns: int) -> Mapping[str, str] | None:
    """RPCs count from the centre of the first pixel: centre p of a pixel is centre (p + 1/2)/stride - 1/2 of a cell."""
    if rpcs is None:
        return None
    scaled = dict(rpcs)
    for key in _RPC_PIXELS:
        value, stride = float(rpcs[key]), rows if key.startswith("LINE") else columns
        scaled[key] = repr((value + 0.5) / stride - 0.5 if key.endswith("OFF") else value / stride)
    return scaled


@dataclass(frozen=True)
class SceneInfo:
    """The facts of a scene of len(bands) x height x width pixels."""

    name: str
    """A safe file name: letters, digits, `_`, `-` and `.`."""
    bands: tuple[str, ...]
    height: int
    width: int
    dtype: str
    nodata: float | None = None
    """The sentinel all bands share (NaN allowed); None where there is none, or where no one can stand for theirs."""
    scales: tuple[float, ...] = ()
    offsets: tuple[float, ...] = ()
    units: tuple[str | None, ...] = ()
    geo: Georeference = field(default_factory=Georeference)
    tags: Mapping[str, str] = field(default_factory=dict)
    band_tags: tuple[Mapping[str, str], ...] = ()
    colorinterp: tuple[str, ...] = ()
    masked: bool = False
    """True where a pixel may be invalid; False promises that every pixel is real."""
    fingerprint: str = ""
    """Cheap identity of the input files' contents: no path, no time."""
    described: bool = False
    """Whether a name `band_N` of band N is the source's own; else it had none."""

    def __post_init__(self) -> None:
        count = len(self.bands)
        defaults: dict[str, Any] = {"scales": 1.0, "offsets": 0.0, "units": None, "band_tags": {}}
        defaults["colorinterp"] = "undefined"
        for name, default in defaults.items():
            if not getattr(self, name):
                object.__setattr__(self, name, (default,) * count)
            assert len(getattr(self, name)) == count, (name, getattr(self, name), self.bands)

    def grid(self, tile: int) -> Grid:
        """The scene in tiles of tile x tile pixels."""
        return Grid(self.height, self.width, tile)

    def select(self, positions: Sequence[int]) -> SceneInfo:
        """The same scene with the bands of these positions, counted from 0, in this order."""
        names = ("bands", "scales", "offsets", "units", "band_tags", "colorinterp")
        chosen = {name: tuple(getattr(self, name)[index] for index in positions) for name in names}
        return replace(self, **cast(Any, chosen))

    def to_json(self) -> dict[str, Any]:
        """A mapping of JSON's types; numbers that JSON has not (NaN, infinities) become words."""
        facts = cast(dict[str, Any], _to_json(asdict(self)))
        if not self.described:  # as in stores that older versions wrote
            del facts["described"]
        return facts

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> SceneInfo:
        """The facts that `to_json` wrote; KeyError, TypeError or ValueError where they are not such."""
        geo = facts["geo"]
        transform = geo["transform"]
        return cls(
            name=str(facts["name"]),
            bands=tuple(map(str, facts["bands"])),
            height=int(facts["height"]),
            width=int(facts["width"]),
            dtype=str(np.dtype(facts["dtype"])),
            nodata=None if facts["nodata"] is None else float(facts["nodata"]),
            scales=tuple(map(float, facts["scales"])),
            offsets=tuple(map(float, facts["offsets"])),
            units=tuple(facts["units"]),
            geo=Georeference(
                crs_wkt=_words(geo["crs_wkt"]),
                transform=None if transform is None else cast(Affine6, tuple(map(float, transform))),
                gcps=tuple(Gcp(*map(float, gcp)) for gcp in geo["gcps"]),
                gcps_crs_wkt=_words(geo["gcps_crs_wkt"]),
                rpcs=geo["rpcs"],
            ),
            tags=dict(facts["tags"]),
            band_tags=tuple(map(dict, facts["band_tags"])),
            colorinterp=tuple(map(str, facts["colorinterp"])),
            masked=bool(facts["masked"]),
            fingerprint=str(facts["fingerprint"]),
            described=facts.get("described") is True,
        )


def _words(value: Any) -> str | None:
    """`value`, if it is words or None; TypeError else."""
    if value is None or isinstance(value, str):
        return value
    raise TypeError(f"a CRS is {type(value).__name__}, not words")


def _to_json(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    if isinstance(value, Mapping):
        return {key: _to_json(inner) for key, inner in value.items()}
    if isinstance(value, tuple | list):
        return [_to_json(inner) for inner in value]
    return value


class Source(Protocol):
    """Pixels by windows. Sources pickle and hold no open handle: they travel to workers."""

    @property
    def info(self) -> SceneInfo:
        """The facts of the scene."""

    def read(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """A window inside the scene: its block (band, y, x) in the source's dtype, and valid (y, x) bool.

        Raises:
            SourceError: the pixels cannot be read; the message names file and window.
        """
