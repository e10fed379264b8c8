"""OUT/collection.json: a STAC collection of all scenes in a folder of outputs, those of earlier runs too."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipeline.errors import OutputError, StorageError
from pipeline.flow.journal import alone
from pipeline.flow.paperwork import json_text, write_json
from pipeline.raster.names import natural_key, safe_name
from pipeline.raster.stac_collection import Members, is_ours, tied
from pipeline.storage import Place

COLLECTION, ITEM, RECEIPT = "collection.json", "item.json", "receipt.json"


def write_collection(out: Place, scenes: list[str], *, many: bool) -> None:
    """Tie the items of the scenes in `out` together: where there are `many`, or a collection has begun.

    scenes: names of those just run; in an object store, which is not listed, the collection has them and those it had.
    An item that is tied already is left as it is. A file of this name that is not ours stays, and nothing is tied.

    Raises:
        OutputError: an item or the collection cannot be written.
    """
    target = out / COLLECTION
    begun = _read(target)
    if not (many or begun) or (target.exists() and not _is_ours(begun)):
        return
    name = safe_name(str(begun["id"]) if begun else out.resolve().name)
    members = Members()
    for path in _items(out, scenes, begun):
        item = _read(path)
        if item is None or not is_ours(item):
            continue
        member = tied(item, name, f"../{COLLECTION}")
        if member != item:
            _tell_receipt(path, len(json_text(member).encode()))
            write_json(path, member)
        members.add(f"./{path.parent.name}/{ITEM}", member)
    if members.hrefs:
        collection = members.collection(name)
        if collection != begun:
            write_json(target, collection)


def _tell_receipt(item: Place, size: int) -> None:
    """Put the item's size of once it is tied into the receipt beside it; not where another run is at work, which writes
    its own."""
    path = item.with_name(RECEIPT)
    with suppress(OutputError, StorageError), alone(item.with_name(".running")):
        receipt = _read(path)
        outputs = (receipt or {}).get("outputs")
        if isinstance(outputs, dict) and ITEM in outputs:
            outputs[ITEM] = size
            write_json(path, receipt)


def _items(out: Place, scenes: list[str], begun: dict[str, Any] | None) -> list[Place]:
    """The items of the scenes in `out`, in the order of their names."""
    if isinstance(out, Path):
        found: list[Place] = [*out.glob(f"*/{ITEM}")]
    else:
        links = begun["links"] if begun and isinstance(begun.get("links"), list) else []
        hrefs = [str(link.get("href", "")) for link in links if isinstance(link, dict) and link.get("rel") == "item"]
        earlier = [href.split("/")[1] for href in hrefs if href.count("/") == 2 and href.startswith("./")]
        found = [out / name / ITEM for name in {*scenes, *earlier}]
    return sorted(found, key=lambda path: (natural_key(path.parent.name), path.parent.name))


def _read(path: Place) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _is_ours(collection: dict[str, Any] | None) -> bool:
    return collection is not None and "terrasketch" in str(collection.get("description"))
