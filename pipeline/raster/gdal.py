"""GDAL as every reader and writer here wants it: small cache, one thread, errors as one line, no warnings let out.

Settings of the user's own environment, or of a `rasterio.Env` around the call, win over ours.
"""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from threading import Lock, get_ident, local
from typing import Any

from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.env import Env, get_gdal_config, getenv, hasenv, set_gdal_config
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader, DatasetWriter

from pipeline.errors import SourceError, StorageError
from pipeline.raster.references import check_local, local_drivers
from pipeline.storage import ObjectPath, gdal_options, is_url, place

CACHE_BYTES, LEAST_CACHE = 64 << 20, 8 << 20
"""Of GDAL's blocks: at most, and where ours are kept (raster/blocks.py), which makes them a second copy."""
HANDLES = 32

GDAL_ERRORS = (RasterioError, CPLE_BaseError, OSError, SystemError, ValueError, TypeError, RuntimeError)
"""What rasterio raises when GDAL fails: its own errors, but bare GDAL errors and `SystemError` too."""

_LOCAL = {"GDAL_NUM_THREADS": "1", "GDAL_TIFF_INTERNAL_MASK": "YES"}
_REMOTE = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",  # local folders must be listed: .msk and .aux.xml lie beside
    # What was read stays with open datasets and no longer: an object may be another one by then.
    "CPL_VSIL_CURL_NON_CACHED": "/vsis3/:/vsigs/:/vsiaz/:/vsicurl/",
    "GDAL_HTTP_CONNECTTIMEOUT": "5",
    # A server that has fallen silent is given up; a slow one is not.
    "GDAL_HTTP_LOW_SPEED_LIMIT": "1",
    "GDAL_HTTP_LOW_SPEED_TIME": "20",
    "GDAL_HTTP_MAX_RETRY": "4",
    "GDAL_HTTP_RETRY_DELAY": "1",
    "GDAL_HTTP_MULTIRANGE": "YES",
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
}
_REMOTE_PATH = re.compile(r"/vsi(curl|s3|gs|az|adls|oss|swift|webhdfs)|^[\w+]*?\b(https?|ftp|s3|gs|az|oss)://")
_IN_HDF5 = re.compile(r'HDF5:"?((?!/vsi)[^":]+)"?:')
_warning_lock = Lock()


def is_remote(path: str) -> bool:
    """True for paths that GDAL fetches over a network."""
    return _REMOTE_PATH.search(path) is not None


def gdal_env(path: str = "", cache: int = LEAST_CACHE) -> AbstractContextManager[object]:
    """The settings under which `path` is opened, read and written with so many bytes of blocks in GDAL's cache.

    Within another of these there may be none to make: a map's task has them for all its tiles.

    The cache is the process's own and GDAL has none by thread: it is set in bytes and stays, as rasterio would give it
    back its default whenever one of many threads leaves its Env. It grows with what is asked, to CACHE_BYTES.
    """
    theirs = getenv() if hasenv() else {}
    if "GDAL_CACHEMAX" not in os.environ and "GDAL_CACHEMAX" not in theirs:
        current = int(get_gdal_config("GDAL_CACHEMAX") or CACHE_BYTES + 1)
        if current < cache or current > CACHE_BYTES:
            set_gdal_config("GDAL_CACHEMAX", min(cache, CACHE_BYTES))
    ours = _LOCAL | (_REMOTE | gdal_options(path) if is_remote(path) else {})
    new = {key: value for key, value in ours.items() if key not in os.environ and key not in theirs}
    return Env(**new) if new or not hasenv() else nullcontext()


def open_reader(path: str) -> DatasetReader:
    """A new read-only dataset of its own, never shared. A file on this machine opens no connection.

    Raises:
        SourceError: the file would.
    """
    _hush()
    if not os.path.exists(path):
        if "<" in path:  # GDAL finds a VRT in the middle of a name
            raise SourceError(f"{path[:200]}: no such file; give a raster that GDAL reads")
        inside = _IN_HDF5.match(path)
        if inside and not os.path.exists(inside[1]):  # HDF5 would print its own stack of errors
            raise SourceError(f"cannot open {path}: {inside[1]}: no such file; give a raster that GDAL reads")
        return DatasetReader(path, sharing=False)
    check_local(path)
    return DatasetReader(path, driver=local_drivers(), sharing=False)


def numpy_dtypes(dataset: DatasetReader) -> tuple[str, ...]:
    """The bands' dtypes by names of NumPy, which has no complex integers: complex64 in their place."""
    return tuple("complex64" if dtype == "complex_int16" else dtype for dtype in dataset.dtypes)


def read_bands(
    dataset: DatasetReader, indexes: Sequence[int], place: tuple[tuple[int, int], tuple[int, int]], out: NDArray[Any]
) -> None:
    """Read a window ((y0, y1), (x0, x1)) of bands, counted from 1, into out (band, y, x), in the dtype of out."""
    if len({dataset.dtypes[index - 1] for index in indexes}) == 1:
        dataset.read(list(indexes), window=place, out=out)
        return
    for index, band in zip(indexes, out, strict=True):  # rasterio reads bands of one dtype together
        dataset.read(index, window=place, out=band)


def open_writer(path: str, **profile: Any) -> DatasetWriter:
    """A new GTiff, open for writing and reading back."""
    _hush()
    return DatasetWriter(path, "w+", driver="GTiff", sharing=False, **profile)


def _hush() -> None:
    """Let no NotGeoreferencedWarning out of this package: scenes without georeference are in order.

    The warning is attributed to the Python frame that makes the dataset, so a filter on our own modules does not
    touch anybody else's. It is put in front, never taken away: `catch_warnings` is not safe between threads.
    """
    mine = ("ignore", None, NotGeoreferencedWarning)
    with _warning_lock:
        if not warnings.filters or warnings.filters[0][:3] != mine:
            warnings.filterwarnings("ignore", category=NotGeoreferencedWarning, module=r"pipeline\.raster\.")


def reason(error: BaseException) -> str:
    """GDAL's own words for a failure, from the innermost cause, in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = str(getattr(error, "errmsg", "") or error) or type(error).__name__
    return " ".join(text.split()).rstrip(".")


def why_unread(error: BaseException) -> str:
    """GDAL's words for pixels that cannot be read, and what to do: who opened the file may have been another host."""
    why = reason(error)
    if "No such file" in why or "does not exist" in why:
        return f"{why}; it is gone, or not seen by this worker; give a path that all workers see"
    return f"{why}; the file is damaged or incomplete, get it again"


@contextmanager
def gdal_warnings() -> Iterator[list[str]]:
    """The warnings GDAL gives in this thread, which rasterio passes to `logging` alone."""
    caught: list[str] = []
    thread = get_ident()

    class _Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.thread == thread and record.levelno >= logging.WARNING:
                caught.append(record.getMessage())

    collector = _Collector()
    logger = logging.getLogger("rasterio._env")
    logger.addHandler(collector)
    try:
        yield caught
    finally:
        logger.removeHandler(collector)


class _Handles(local):
    """The datasets one thread has open, the last used at the end."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self.open: OrderedDict[object, tuple[Any, DatasetReader]] = OrderedDict()
        self.inherited: list[object] = []


_handles = _Handles()


def handle(path: str, kind: object = None, make: Callable[[DatasetReader], Any] | None = None) -> Any:
    """This thread's dataset of `path`, opened on first use and closed when others were used more recently.

    `make` puts another dataset (a WarpedVRT, say) over one of its own, kept under `kind`. A file that was replaced
    since is opened anew; a forked child never uses its parent's datasets, as both would move one file position.
    """
    if _handles.process != os.getpid():
        _handles.process = os.getpid()
        _handles.inherited.append(_handles.open)
        _handles.open = OrderedDict()
    key = (path, file_identity(path), kind)
    if key not in _handles.open:
        reader = open_reader(path)
        _handles.open[key] = (reader if make is None else make(reader), reader)
    _handles.open.move_to_end(key)
    dataset = _handles.open[key][0]
    while len(_handles.open) > HANDLES:
        for old in _handles.open.popitem(last=False)[1]:
            old.close()
    return dataset


def file_identity(path: str) -> tuple[int, ...]:
    """What changes when a local file is replaced or written to; nothing where it is none."""
    try:
        stat = os.stat(path)
    except (OSError, ValueError):
        return ()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def images_in(dataset: DatasetReader) -> tuple[int, str]:
    """How many images there are in a file that was opened as its first, and GDAL's name of the second; 1 and none.

    Overviews and masks are no images for GDAL, and variables of containers none here: it opens such a file where there
    is one raster in it.
    """
    inside = [] if dataset.driver.startswith(("netCDF", "HDF")) else dataset.subdatasets
    return (len(inside), inside[1]) if len(inside) > 1 else (1, "")


def storage_reason(path: str) -> str | None:
    """Why an object cannot be read, in words of the object store; GDAL knows less, and forgets it."""
    where = place(path) if is_url(path) else None
    if not isinstance(where, ObjectPath) or where.scheme.startswith("http"):
        return None
    try:
        where.stat()
    except StorageError as error:
        return str(error)
    return None
