"""JSON of STAC, from a file or over HTTP, in bounded memory: one item of an item collection without the others.

`search.json#ID` names an item inside an item collection (a FeatureCollection, as STAC searches give it). A file is
looked through once, bracket by bracket, and only where each item lies is kept; what is read is one item.
"""

from __future__ import annotations

import mmap
import os
import re
import stat
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

from pystac.utils import make_absolute_href

from pipeline.errors import SourceError
from pipeline.raster.references import is_address
from pipeline.storage import ObjectPath
from pipeline.untrusted import parse_json

MAX_DOCUMENT = 16 << 20
"""Bytes of an item, a collection or a catalogue, and of anything that comes over HTTP."""
MAX_SEARCH = 2 << 30
"""Bytes of an item collection on disk, of which one item at a time is read."""
MAX_FEATURE = 4 << 20
MAX_ITEMS = 200_000
_TIMEOUT, _TRIES = 30.0, 3
_URL = re.compile(r"^(https?|s3|gs|az)://", re.IGNORECASE)
_WEB = re.compile(r"^https?://", re.IGNORECASE)
_API = re.compile(r"^https?://[^?#]*/(collections|catalogs|catalogues|items)(/[^?#]*)?$", re.IGNORECASE)
_REFERENCE = re.compile(r"^(.*\.(?:geo)?json)#(.+)$", re.IGNORECASE | re.DOTALL)
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[{}\[\]]', re.DOTALL)
"""A string, or a bracket outside of strings; possessive, so that no hostile text makes it look back."""
_NO_STAC = "leave the file out if it is plain GeoJSON"
_GAP = 64
"""Blanks that may stand between a key and its colon."""

Buffer = bytes | mmap.mmap
Span = tuple[int, int]


def is_url(text: str) -> bool:
    """True for what is fetched: http(s)://, and objects of s3://, gs:// and az://."""
    return _URL.match(text) is not None


def local_path(href: str) -> str:
    """An href as a plain path where it is `file://`: as written if that is there, else with %20 and the like read."""
    if not href.startswith("file://"):
        return href
    path = href.removeprefix("file://").removeprefix("localhost")
    return path if os.path.exists(path) else unquote(path)


def absolute_href(href: str, home: str) -> str:
    """An href as a path or an address, seen from the file or address `home` that names it.

    In paths of this machine `#`, `?` and `%` are letters like others, which pystac takes for a URL's. A path is as it
    is written where that is there, else with %20 and the like read.
    """
    if is_url(home) or is_address(href):
        return local_path(make_absolute_href(href, home) if is_url(home) else href)
    folder = os.path.dirname(os.path.abspath(home))
    path, decoded = (os.path.normpath(os.path.join(folder, text)) for text in (href, unquote(href)))
    return decoded if os.path.exists(decoded) and not os.path.exists(path) else path


def is_stac(text: str) -> bool:
    """True for what is named as STAC is: *.json, *.geojson, an item of one (`#ID`), or a path of a STAC API."""
    last = text.lower().split("?")[0] if is_url(text) else text.lower()
    if last.endswith((".json", ".geojson")):
        return not os.path.isdir(text)
    api = _API.match(text) is not None and not last.endswith((".tif", ".tiff", ".jp2", ".vrt"))
    return api or split_reference(text)[1] is not None


def split_reference(text: str) -> tuple[str, str | None]:
    """(file, id of an item in it) of `file.json#ID`; the id is None where the text names a file alone."""
    found = _REFERENCE.match(text)
    if found is None or (not is_url(text) and os.path.exists(text)):
        return text, None
    return found[1], found[2]


def read_document(path: str) -> dict[str, Any]:
    """A whole JSON object of at most MAX_DOCUMENT bytes.

    Raises:
        SourceError: it cannot be read, is too large, or is no JSON object.
    """
    with opened(path) as buffer:
        if len(buffer) > MAX_DOCUMENT:
            raise SourceError(f"{path} is larger than {MAX_DOCUMENT >> 20} MiB, too large for one STAC object")
        return _object(buffer[:], path)


def outline(path: str) -> tuple[str, dict[str, Span]]:
    """The `type` of a STAC file ('' where it has none), and where each item of an item collection lies, by its id.

    Of two items with one id, as items of two collections may have it, the later is called `COLLECTION/ID`.

    Raises:
        SourceError: it cannot be read, is no JSON object, holds too many or too large items, or one of them twice.
    """
    try:
        stamp = (0, 0) if is_url(path) else _stamp(path)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "no path"
        raise SourceError(f"cannot open {path}: {why}; give a STAC item on this machine") from error
    return _outline(path, stamp)


def read_feature(path: str, name: str) -> dict[str, Any]:
    """One item of an item collection.

    Raises:
        SourceError: the file cannot be read, or has no such item.
    """
    spans = outline(path)[1]
    if name not in spans:
        some = ", ".join(list(spans)[:3])
        raise SourceError(f"{path}: no item {name} in it; there are {some or 'none'}{', ...' * (len(spans) > 3)}")
    with opened(path) as buffer:
        return _object(buffer[slice(*spans[name])], f"{path}#{name}")


def _stamp(path: str) -> tuple[int, int]:
    stat = os.stat(path)
    return stat.st_size, stat.st_mtime_ns


@lru_cache(maxsize=4)
def _outline(path: str, _stamp: tuple[int, int]) -> tuple[str, dict[str, Span]]:
    spans: dict[str, Span] = {}
    kind = ""
    with opened(path) as buffer:
        for what, start, stop in _parts(buffer):
            if what == "torn":
                raise SourceError(f"{path} is no JSON (it ends too early or too late); get it again")
            if what == "type":
                kind = str(_loads(buffer[start:stop], path))
                continue
            if stop - start > MAX_FEATURE or len(spans) >= MAX_ITEMS:
                raise SourceError(
                    f"{path}: more than {MAX_ITEMS} items, or one of more than {MAX_FEATURE >> 20} MiB; split it"
                )
            item = _object(buffer[start:stop], path)
            name = str(item.get("id", ""))
            name = f"{item.get('collection')}/{name}" if name in spans else name
            if not name:
                raise SourceError(f"{path} holds an item without an id, so it is no STAC; {_NO_STAC}")
            if name in spans:
                raise SourceError(f"{path} holds the item {name} twice; keep one of them")
            spans[name] = start, stop
    return kind, spans


def _parts(buffer: Buffer) -> Iterator[tuple[str, int, int]]:
    """('type', span of its value) of the outermost object, ('features', span) of each object in its `features`, and
    in the end 'torn' where a bracket is not closed.
    """
    depth, start = 0, 0
    key, inside = b"", False
    for token in _TOKEN.finditer(buffer):
        text = token[0]
        if text[:1] == b'"':
            if depth == 1 and buffer[token.end() : token.end() + _GAP].lstrip()[:1] == b":":
                key = text
            elif depth == 1 and key == b'"type"':
                yield "type", *token.span()
        elif text in b"{[":
            inside = inside or (depth == 1 and text == b"[" and key == b'"features"')
            start = token.start() if depth == 2 else start
            depth += 1
        else:
            depth -= 1
            if inside and depth == 2 and text == b"}":
                yield "features", start, token.end()
            inside = inside and depth > 1
    if depth:
        yield "torn", 0, 0


def feature_spans(buffer: Buffer) -> Iterator[Span]:
    """Where each item of an item collection lies; nothing of any other STAC."""
    return ((start, stop) for what, start, stop in _parts(buffer) if what == "features")


def _object(data: bytes, path: str) -> dict[str, Any]:
    value = _loads(data, path)
    if not isinstance(value, dict):
        raise SourceError(f"{path} is no STAC item but {type(value).__name__}; give a STAC item")
    return value


def _loads(data: bytes, path: str) -> Any:
    try:
        return parse_json(data)
    except ValueError as error:
        raise SourceError(f"{path} is no JSON ({' '.join(str(error).split())}); give a STAC item") from error


@contextmanager
def opened(path: str) -> Iterator[Buffer]:
    """The bytes of a document; of a local file as a map of it."""
    if is_url(path):
        yield _fetch(path)
        return
    try:
        with open(path, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise SourceError(f"cannot open {path}: it is no file; give a STAC item on this machine")
            size = os.fstat(file.fileno()).st_size
            if size > MAX_SEARCH:
                raise SourceError(f"{path} is larger than {MAX_SEARCH >> 30} GiB; split the search")
            if not size:
                yield b""
                return
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as buffer:
                yield buffer
    except OSError as error:
        raise SourceError(f"cannot open {path}: {error.strerror}; give a STAC item on this machine") from error


def _get(url: str) -> bytes:
    try:
        data, _size = ObjectPath(url).read_first(MAX_DOCUMENT + 1)
    except OSError as error:
        raise SourceError(f"cannot open {url}: {error.strerror}") from error
    return data


@lru_cache(maxsize=4)
def _fetch(url: str) -> bytes:
    """What an address answers, tried three times. Raises SourceError."""
    if not _WEB.match(url):
        return _get(url)
    request = urllib.request.Request(url, headers={"Accept": "application/geo+json, application/json"})
    for left in reversed(range(_TRIES)):
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:
                data: bytes = answer.read(MAX_DOCUMENT + 1)
                return data
        except (OSError, ValueError) as error:
            code = getattr(error, "code", 500)
            if not left or code < 500:
                why = " ".join(str(getattr(error, "reason", None) or error).split())
                raise SourceError(f"cannot open {url}: {why}; is the address right?") from error
            time.sleep(0.5 * (_TRIES - left))
    raise AssertionError(url)
