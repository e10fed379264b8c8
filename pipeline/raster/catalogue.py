"""The scenes that a STAC file names: one item, the items of an item collection, or those that a catalogue links to.

Catalogues are walked link by link, within bounds; no item is opened before its turn comes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from pipeline.errors import SourceError
from pipeline.raster.names import safe_name
from pipeline.raster.stac_json import MAX_ITEMS, absolute_href, is_url, outline, read_document, split_reference

MAX_DEPTH = 16
MAX_DOCUMENTS = 20_000
CATALOGUES = ("collection.json", "catalog.json")
"""What a folder that is a catalogue holds."""


class Member(NamedTuple):
    """A scene of a catalogue: how it is opened, and names it may have, the best first; none for a file of its own."""

    reference: str
    names: tuple[str, ...]


def members(path: str) -> Iterator[Member]:
    """Every item that a STAC file holds or links to, in its order; a single item names itself.

    Raises:
        SourceError: the file, or a catalogue it links to, cannot be read, holds no item, or has no end.
    """
    file, name = split_reference(path)
    kind, spans = outline(file)
    if name is not None or kind == "Feature":
        yield Member(path, () if name is None else (safe_name(name),))
        return
    if kind == "FeatureCollection":
        for item in spans:
            yield Member(f"{file}#{item}", (safe_name(item),))
        if not spans:
            raise SourceError(f"{path} holds no item; did the search find anything?")
    elif kind in ("Collection", "Catalog"):
        yield from _walk(path)
    else:
        raise SourceError(
            f"{path} is no STAC item but {kind or 'an object without a type'}; "
            "give an item, an item collection or a catalogue"
        )


def is_many(path: str) -> bool:
    """True where a STAC file is no single item, but holds or links to some.

    Raises:
        SourceError: it cannot be read.
    """
    file, name = split_reference(path)
    return name is None and outline(file)[0] in ("FeatureCollection", "Collection", "Catalog")


def _walk(root: str) -> Iterator[Member]:
    """Depth first; a catalogue or item that is linked to twice counts once."""
    start = root if is_url(root) else str(Path(root).absolute())
    waiting, seen, found = [(start, 0)], {start}, 0
    while waiting:
        path, depth = waiting.pop()
        children = []
        for kind, href in _links(read_document(path), path):
            if href in seen:
                continue
            seen.add(href)
            if kind == "item":
                found += 1
                yield Member(href, _linked_names(href))
            else:
                children.append((href, depth + 1))
        waiting += reversed(children)
        if depth >= MAX_DEPTH or len(seen) - found > MAX_DOCUMENTS or found > MAX_ITEMS:
            raise SourceError(
                f"{root}: a catalogue of more than {MAX_DEPTH} floors, {MAX_DOCUMENTS} parts or {MAX_ITEMS} items; "
                "give the parts of it that you want"
            )
    if not found:
        raise SourceError(f"{root} links to no item; give the items, or what a search finds")


def _links(document: dict[str, Any], path: str) -> Iterator[tuple[str, str]]:
    """(`item` or `child`, absolute address) of each link to follow."""
    links = document.get("links")
    relations = set()
    for link in links if isinstance(links, list) else []:
        relation = link.get("rel") if isinstance(link, dict) else None
        relations.add(str(relation))
        href = link.get("href") if relation in ("item", "child") else None
        if not isinstance(href, str) or not href:
            continue
        href = absolute_href(href, path)
        if is_url(path) and not is_url(href):
            raise SourceError(f"{path} links to {href}, which is not on the network; a copy of the catalogue may")
        yield str(relation), href
    if "items" in relations and not relations & {"item", "child"}:
        raise SourceError(
            f"{path} is a collection of a STAC API, whose items a search finds; "
            "give its result: stac-client search ... | terrasketch run WORKFLOW.yaml -"
        )


def _linked_names(href: str) -> tuple[str, ...]:
    """By custom an item ID lies at ID/ID.json, or at .../items/ID; and ours at STEM/item.json."""
    stem, folder = _stem(href), safe_name(PurePosixPath(href).parent.name)
    return (folder, f"{folder}_{stem}") if stem == "item" else (stem, f"{folder}_{stem}")


def _stem(href: str) -> str:
    last = PurePosixPath(href.split("?")[0] if is_url(href) else href).name
    return safe_name(last.removesuffix(".json").removesuffix(".geojson"))
