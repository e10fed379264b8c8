"""Names by which GDAL and rasterio open what is not simply a path: a file in an archive, one raster of several."""

from __future__ import annotations

import os
import re
from pathlib import Path

_FRONT = re.compile(
    r"""/vsi(?:zip|tar|gzip|7z|rar|sparse|cached|crypt)/\{?|/vsisubfile/\d+_\d+,|[A-Za-z][\w.+-]*:(?://)?"?|\d+:"?"""
)
"""What stands before a path, or before another front: /vsizip/, zip://, file://, vrt://, NETCDF:", GTIFF_DIR:, 1:"""
_SCHEME = re.compile(r"(?:\w+\+)*(\w+)://")
_OF_FILES = {"file", "zip", "tar", "gzip", "vrt"}
_FOLDERS = {".gdb", ".safe", ".sen3", ".zarr"}
"""Endings of folders that are one dataset."""
_END = re.compile(r"""["?!:}/,]|$""")


def absolute_name(name: str) -> str:
    """A path, or a name in which there is one, absolute, so that it is found from any folder; others as they are.

    Known are paths to something that is there: `/vsizip/z.zip/a.tif` and `NETCDF:"in/a.nc":b`, of z.zip and in/a.nc.
    """
    if os.path.exists(name):
        return str(Path(name).absolute())
    at = 0
    while front := _FRONT.match(name, at):
        scheme = _SCHEME.match(front[0])
        if scheme and scheme[1].lower() not in _OF_FILES:  # an address: what is called like its host here is no matter
            return name
        at = front.end()
        path = _path_before(name[at:])
        if path is not None:
            return f"{name[:at]}{Path(path).absolute()}{name[at + len(path) :]}"
    return name


def _path_before(text: str) -> str | None:
    """The longest relative path that a text begins with, of a file, or a folder whose name has an ending."""
    parts = [] if text.startswith("/") else [text[: end.start()] for end in _END.finditer(text)]
    return next(filter(_is_there, reversed(parts)), None)


def _is_there(path: str) -> bool:
    return os.path.isfile(path) or (Path(path).suffix.lower() in _FOLDERS and os.path.isdir(path))
