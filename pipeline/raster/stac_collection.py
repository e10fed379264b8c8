"""A STAC 1.1 collection of the items of many scenes, and the links that tie them to it.

Source: STAC 1.1.0, collection specification. Everything is relative, so that the folder can be moved.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pystac

from pipeline.raster.globe import Extent
from pipeline.raster.times import EARLIEST

_LISTED = ("platform", "constellation", "mission", "proj:code")
_UNITED = ("instruments",)
_RANGED = ("gsd", "eo:cloud_cover", "view:sun_elevation", "view:off_nadir")
_TIES = ("collection", "parent", "root")
_MOST = 64
"""Different words of one property that a summary lists."""
WORLD = [-180.0, -90.0, 180.0, 90.0]


class Members:
    """What a collection says of its items, gathered one by one: none of them is kept."""

    def __init__(self) -> None:
        self.hrefs: list[str] = []
        self._extent = Extent()
        self._times: list[datetime | None] = []
        self._words: dict[str, dict[Any, None]] = {}
        self._ranges: dict[str, list[float]] = {}
        self._assets: dict[str, dict[str, Any]] = {}

    def add(self, href: str, item: Mapping[str, Any]) -> None:
        """Take an item that lies at `href`, seen from the collection."""
        properties = item["properties"]
        self.hrefs.append(href)
        if item.get("bbox"):
            self._extent.add(item["bbox"])
        times = [properties.get(key) for key in ("datetime", "start_datetime", "end_datetime")]
        known = [datetime.fromisoformat(time) for time in times if time]
        self._times = [min([*known, *filter(None, self._times)]), max([*known, *filter(None, self._times)])]
        for key in (*_LISTED, *_UNITED):
            value = properties.get(key)
            for word in value if isinstance(value, list) else [value]:
                if isinstance(word, str) and len(self._words.setdefault(key, {})) < _MOST:
                    self._words[key][word] = None
        for key in _RANGED:
            if isinstance(properties.get(key), int | float):
                low, high = self._ranges.get(key, [properties[key]] * 2)
                self._ranges[key] = [min(low, properties[key]), max(high, properties[key])]
        for key, asset in item["assets"].items():
            mine = {name: asset[name] for name in ("title", "type", "roles", "bands", "data_type") if name in asset}
            theirs = self._assets.setdefault(key, mine)
            self._assets[key] = {name: value for name, value in mine.items() if theirs.get(name) == value}

    def collection(self, name: str) -> dict[str, Any]:
        """The collection as JSON's types; of no items at all it is valid too."""
        words = {key: list(found) for key, found in self._words.items()}
        ranges = {key: {"minimum": low, "maximum": high} for key, (low, high) in self._ranges.items()}
        start, end = self._times or (EARLIEST, None)
        collection = pystac.Collection(
            id=name,
            description="Scenes denoised and compressed, and their features, made by terrasketch.",
            extent=pystac.Extent(
                pystac.SpatialExtent([self._extent.bounds() or WORLD]), pystac.TemporalExtent([[start, end]])
            ),
            license="other",
            summaries=pystac.Summaries(words | ranges),
            extra_fields={"item_assets": self._assets},
            href="./collection.json",
        )
        facts = collection.to_dict(include_self_link=False, transform_hrefs=False)
        facts["links"] = [
            {"rel": "root", "href": "./collection.json", "type": "application/json"},
            *({"rel": "item", "href": href, "type": "application/geo+json"} for href in self.hrefs),
        ]
        return facts


def tied(item: dict[str, Any], collection: str, href: str) -> dict[str, Any]:
    """The item as a member of the collection of this id, which lies at `href` seen from the item."""
    others = [link for link in item.get("links", []) if link.get("rel") not in _TIES]
    ties = [{"rel": relation, "href": href, "type": "application/json"} for relation in _TIES]
    return item | {"collection": collection, "links": [*ties, *others]}


def is_ours(item: Mapping[str, Any]) -> bool:
    """True for an item that this program made."""
    properties = item.get("properties")
    software = properties.get("processing:software") if isinstance(properties, dict) else None
    return item.get("type") == "Feature" and isinstance(software, dict) and "terrasketch" in software
