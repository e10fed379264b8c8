"""STAC that came without an address, on standard input: what it names by relative paths lies where the user stands."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pystac.utils import make_absolute_href

from pipeline.raster.references import is_address
from pipeline.raster.stac_json import Buffer, feature_spans, is_url, local_path, opened
from pipeline.untrusted import parse_json

_BLOCK = 1 << 20
_LOCAL = re.compile(rb'"href"\s*:\s*"(?![A-Za-z][\w+.-]*:)')
"""The beginning of an href without a scheme: of an item without one nothing is to be done."""


def settled(path: str, folder: Path) -> Iterator[bytes]:
    """The bytes of a STAC file with hrefs of files on this machine as `file://` and absolute, seen from a folder.

    What is relative to an item that says where it lies (its link `self`, an address) is made an address. An item
    collection is read item by item, and what needs no change comes as it is.
    """
    with opened(path) as buffer:
        done = 0
        for start, stop in feature_spans(buffer):
            yield from _blocks(buffer, done, start)
            yield _settled(buffer[start:stop], folder)
            done = stop
        if done:
            yield from _blocks(buffer, done, len(buffer))
        else:
            yield _settled(buffer[:], folder)


def _blocks(buffer: Buffer, start: int, stop: int) -> Iterator[bytes]:
    return (buffer[first : min(first + _BLOCK, stop)] for first in range(start, stop, _BLOCK))


def _settled(data: bytes, folder: Path) -> bytes:
    """One item, or one catalogue whose links lead to others."""
    if not _LOCAL.search(data):
        return data
    facts = parse_json(data)
    links = [link for link in _list(facts.get("links")) if isinstance(link, dict)]
    own = next((str(link.get("href")) for link in links if link.get("rel") == "self"), "")
    assets = facts.get("assets")
    named = [link for link in links if link.get("rel") in ("item", "child")]
    named += [asset for asset in assets.values() if isinstance(asset, dict)] if isinstance(assets, dict) else []
    for entry in named:
        if isinstance(entry.get("href"), str) and entry["href"] and not is_address(entry["href"]):
            entry["href"] = _absolute(entry["href"], own, folder)
    return json.dumps(facts).encode()


def _absolute(href: str, own: str, folder: Path) -> str:
    if is_url(own) and not os.path.isabs(href):
        return make_absolute_href(href, own)
    if os.path.isabs(own := local_path(own)):
        folder = Path(own).parent
    return f"file://{os.path.normpath(folder / href)}"


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
