"""Where files and stores lie: a local folder, or a prefix of an object store, behind one set of methods.

Local places are `pathlib.Path` and nothing else. `ObjectPath` has those of its methods that we use.
"""

from pipeline.storage.files import (
    Place,
    at_home,
    check_named,
    followed,
    lies_in,
    place,
    put_file,
    put_whole,
    scratch,
    whole_file,
)
from pipeline.storage.objects import ObjectPath, is_url
from pipeline.storage.variables import gdal_options

__all__ = [
    "ObjectPath",
    "Place",
    "at_home",
    "check_named",
    "followed",
    "gdal_options",
    "is_url",
    "lies_in",
    "place",
    "put_file",
    "put_whole",
    "scratch",
    "whole_file",
]
