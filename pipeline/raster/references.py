"""What a file may make GDAL open besides itself: other files of this machine, and nothing over a network.

A local VRT, or a STAC item, names other rasters, and GDAL follows any name: URLs, web services, addresses in memory.
Here the names are looked at first. A path that is remote by itself is the user's own word and goes by unseen.
"""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

from rasterio.env import Env

from pipeline.errors import SourceError
from pipeline.untrusted import is_inside, one_line, read_file

NETWORK_DRIVERS = {
    *("DAAS", "EEDA", "EEDAI", "GTI", "HTTP", "NGW", "OGCAPI", "PLMOSAIC", "PLSCENES"),
    *("STACIT", "STACTA", "WCS", "WMS", "WMTS"),
}
_MOST_BYTES, _MOST_DEPTH, _HEAD = 64 << 20, 8, 4096
_LISTS = (b"<VRTDataset", b"<MRF_META")
_URL = re.compile(r"\b(?!file:)[a-z][a-z0-9+.-]+://|/vsi(?!zip|tar|gzip|subfile|sparse|cached)\w+", re.IGNORECASE)
_SERVICE = re.compile(rf"(?:{'|'.join(sorted(NETWORK_DRIVERS))}|MEM)(?:[:,]|$)", re.IGNORECASE)
_ASSET_URL = re.compile(r"(?:https?|s3|gs|az|azure|abfss?|adl|oss|file)://", re.IGNORECASE)
_ADDRESS = re.compile(r"/vsi|[A-Za-z][\w+.-]*:")
_ASSET_VSI = re.compile(r"/vsi(?:curl|s3|gs|az|adls|oss|swift|zip|tar|gzip)/")
_WORDS = {"SRS", "Description", "UnitType", "Category"}
"""Elements of a VRT whose text GDAL opens never."""
_REMEDY = "give the remote path itself, or files on this machine"


def check_href(href: str, item: str) -> None:
    """Refuse an asset of a STAC item that is neither a file nor at a URL that is meant for rasters.

    Raises:
        SourceError: it is a service, an address in memory, or text that GDAL would take for a raster.
    """
    if not href.isprintable() or "<" in href:
        raise SourceError(f"{item}: an asset is at {one_line(href)[:200]!r}, which is no path")
    if _ASSET_URL.match(href) or _ASSET_VSI.match(href) or os.path.exists(href):
        return
    if href.startswith("/vsi") or re.match(r"[A-Za-z][\w+.-]+:", href):
        raise SourceError(f"{item}: an asset is at {href[:200]}, neither a file nor a URL of https, s3, gs or az")


def is_address(word: str) -> bool:
    """True for what has a scheme or a driver's prefix, or lies in GDAL's own file systems: no path of this machine."""
    return _ADDRESS.match(word) is not None


@cache
def local_drivers() -> list[str]:
    """GDAL's raster drivers that open no connection by themselves."""
    with Env() as env:
        return sorted(set(env.drivers()) - NETWORK_DRIVERS)


def check_local(path: str) -> None:
    """Look at a file on this machine before GDAL opens it, and at all the files it names.

    Raises:
        SourceError: it is a device or a pipe, or would read over a network.
    """
    if not (os.path.isfile(path) or os.path.isdir(path)):
        raise SourceError(f"{path} is no file; give a raster that GDAL reads")
    _check_file(path, path, set(), 0)


def _check_file(path: str, top: str, seen: set[str], depth: int) -> None:
    real = os.path.realpath(path)
    if real in seen or not os.path.isfile(path):
        return
    seen.add(real)
    if depth > _MOST_DEPTH:
        raise SourceError(f"{top}: files name files more than {_MOST_DEPTH} deep; give the rasters themselves")
    try:
        with open(path, "rb") as file:
            head = file.read(_HEAD)
        if any(word in head for word in _LISTS):
            _check_text(read_file(path, _MOST_BYTES), Path(path).parent, top, seen, depth)
    except OSError as error:
        raise SourceError(f"cannot open {path}: {error.strerror}; give a raster that GDAL reads") from error
    except ValueError as error:
        if isinstance(error, SourceError):
            raise
        where = path if path == top else f"{top}: {path}"
        raise SourceError(f"{where}: {error}; give a raster that GDAL reads") from error


def _check_text(text: bytes, folder: Path, top: str, seen: set[str], depth: int) -> None:
    """Look at all that the XML of a VRT, or of a dataset inside it, names."""
    if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
        raise ValueError("it declares entities, which rasters do not")
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, LookupError, RecursionError) as error:
        raise ValueError(f"it is no XML ({' '.join(str(error).split())})") from error
    if root.tag not in ("VRTDataset", "MRF_META"):
        raise ValueError(f"it holds a dataset of another kind, {root.tag[:50]}; {_REMEDY}")
    for band in root.iter("VRTRasterBand"):
        if band.get("subClass") == "VRTRawRasterBand":
            for source in band.iter("SourceFilename"):
                if not is_inside(folder / (source.text or "").strip(), folder):
                    raise ValueError(f"it takes the bytes of {_short(source.text)}, outside its folder, for pixels")
    for element in root.iter():
        key = element.get("key", "")
        if element.tag in _WORDS or (element.tag == "MDI" and not key.upper().endswith("_DATASET")):
            continue
        for name in (element.text, *element.attrib.values()):
            _check_name((name or "").strip(), folder, top, seen, depth)


def _check_name(name: str, folder: Path, top: str, seen: set[str], depth: int) -> None:
    name = name.removeprefix("vrt://")
    if name.startswith("<"):
        if depth >= _MOST_DEPTH:
            raise ValueError(f"it holds datasets in datasets more than {_MOST_DEPTH} deep")
        _check_text(name.encode(), folder, top, seen, depth + 1)
    elif _URL.search(name) or _SERVICE.match(name):
        raise ValueError(f"it reads {_short(name)}, which is no file; {_REMEDY}")
    elif name and "\0" not in name and len(name) < _HEAD:
        _check_file(str(folder / name.partition("?")[0]), top, seen, depth + 1)


def _short(text: str | None) -> str:
    return one_line(text or "")[:200]
