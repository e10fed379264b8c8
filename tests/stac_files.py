"""STAC files for tests: items, item collections and catalogues, as searches and publishers write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TIFF = "image/tiff; application=geotiff"


def item(name: str, href: str, **changes: Any) -> dict[str, Any]:
    """An item of version 1.0 with one raster."""
    facts = {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": ["https://stac-extensions.github.io/eo/v1.1.0/schema.json"],
        "id": name,
        "geometry": {"type": "Point", "coordinates": [-75.0, 37.0]},
        "bbox": [-75.0, 37.0, -75.0, 37.0],
        "properties": {"datetime": "2016-01-12T15:56:22Z", "platform": "sentinel-2a", "eo:cloud_cover": 12.5},
        "links": [],
        "assets": {"cube": {"href": href, "type": TIFF, "roles": ["data"]}},
    }
    return facts | changes


def write(path: Path, facts: Any) -> Path:
    """Facts as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(facts, indent=1))
    return path


def search(path: Path, items: list[dict[str, Any]]) -> Path:
    """An item collection as `stac-client search` prints it."""
    return write(path, {"type": "FeatureCollection", "features": items})


def catalogue(path: Path, kind: str = "Catalog", **links: list[str]) -> Path:
    """A catalogue or collection with links of the relations `item`, `child` and so on."""
    found = [{"rel": relation, "href": href} for relation, hrefs in links.items() for href in hrefs]
    facts: dict[str, Any] = {
        "type": kind,
        "stac_version": "1.0.0",
        "id": path.parent.name,
        "description": "x",
        "links": found,
    }
    return write(path, facts)
