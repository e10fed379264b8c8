"""What lies beside the stores of a scene: a STAC item, a report, a receipt. Written last, each whole or not at all."""

from __future__ import annotations

import json
import math
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import rasterio

from pipeline import __version__
from pipeline.errors import OutputError
from pipeline.raster.dates import times_of
from pipeline.raster.look import look_of
from pipeline.raster.names import scene_name
from pipeline.raster.scene import SceneInfo
from pipeline.raster.stac import Asset, make_item
from pipeline.raster.stac_assets import FEATURES
from pipeline.raster.stac_origin import href_from, origin_of
from pipeline.raster.times import told_by
from pipeline.storage import Place, put_whole

_LIBRARIES = ("numpy", "scipy", "numba", "rasterio", "zarr", "numcodecs", "xarray", "dask", "distributed")
_COG = "image/tiff; application=geotiff; profile=cloud-optimized"
_ZARR = "application/vnd.zarr; version=3"


def versions() -> dict[str, str]:
    """The versions that decide the bytes, for receipts and reports."""
    found = {
        "terrasketch": __version__,
        "python": platform.python_version(),
        "GDAL": rasterio.__gdal_version__,
    }
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def write_json(path: Place, content: Any) -> None:
    """Write JSON under a temporary name, then rename. What JSON has no number for becomes null.

    Raises:
        OutputError: it cannot be written.
    """
    write_text(path, json_text(content))


def json_text(content: Any) -> str:
    """What `write_json` writes."""
    return json.dumps(plain(content), indent=2) + "\n"


def write_text(path: Place, text: str) -> None:
    """Write text under a temporary name, then rename.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        if isinstance(path, Path):
            path.parent.mkdir(parents=True, exist_ok=True)
        put_whole(path, text.encode())
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written: {error.strerror}; check its folder and the room there"
        ) from error


def write_item(
    folder: Place,
    info: SceneInfo,
    features: SceneInfo | None,
    processing: dict[str, Any],
    inputs: list[str],
    coarser: float = 1.0,
) -> dict[str, Any]:
    """Write item.json: a STAC item of what lies in the folder, made of `inputs`, with pixels so many times as large."""
    assets = {"scene": Asset("scene.zarr", _ZARR, ("data",), "Denoised and compressed scene, (band, y, x)", info)}
    if features is not None:
        assets["features"] = Asset("features.zarr", _ZARR, (FEATURES,), "Features, (feature, y, x)", features)
    for name, about, role in (("denoised", info, "data"), ("features", features, FEATURES)):
        if about is not None and (folder / f"{name}.tif").is_file():
            look = look_of(str(folder / f"{name}.tif"), about)
            assets[f"{name}_cog"] = Asset(f"{name}.tif", _COG, (role,), f"{name} as a COG", about, look)
    for name, kind, role in (
        ("report.html", "text/html", "overview"),
        ("receipt.json", "application/json", "metadata"),
    ):
        if name != "report.html" or (folder / name).is_file():  # the receipt is written last
            assets[name.partition(".")[0]] = Asset(name, kind, (role,), name, None)
    origin = origin_of(inputs, info.bands, coarser)
    source = href_from(origin, folder) if origin else None
    called = None if origin else folder.name
    named = told_by([scene_name(path) for path in inputs])
    words: dict[str, Any] = {"span": _span(info), "name": called, "origin": origin, "named": named}
    item = make_item(info, assets, processing, derived_from=source, **words)
    write_json(folder / "item.json", item)
    return item


def _span(info: SceneInfo) -> tuple[datetime, datetime] | None:
    """The first and the last date of a stack."""
    times = times_of(info)
    if times is None:
        return None
    first, last = (datetime.fromtimestamp(pick(times[0]), UTC) for pick in (min, max))
    return first, last


def share_text(share: float) -> str:
    """A share in percent; only nothing is none, only everything all."""
    if share in (0, 1):
        return "all" if share else "none"
    if 0.001 <= share <= 0.999:
        return f"{100 * share:.1f} %"
    return "less than 0.1 %" if share < 0.5 else "more than 99.9 %"


def counted(count: int, noun: str) -> str:
    """`1 tile`, `2 tiles`."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def plain(value: Any) -> Any:
    """The value in JSON's types; what JSON has no number for becomes null."""
    if isinstance(value, dict):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
