"""How far apart cells are that see no pixel in common: the gap that validation keeps where none is given."""

from __future__ import annotations

import re
from typing import Any

from pipeline.network.network_bank import PREFIX
from pipeline.raster.sight import sight
from pipeline.raster.stack import StackSource
from pipeline.raster.store_bands import stored
from pipeline.raster.zarr_store import read_attributes
from pipeline.storage import place

FILTER = 7
"""The largest filter, in pixels, that a bank is taken to have where a store of before does not say."""
_OURS = re.compile(r"rcf_\d{3,}[+-]?")


def reach(source: Any) -> tuple[int, str]:
    """The gap in cells, and what is not known of it, in words; empty where all is.

    Features say by tags what their cells see. Stores of before know pool and stride; any other raster has pixels that
    see themselves.
    """
    info = source.info
    told = None if isinstance(source, StackSource) else sight(info.tags)  # a stack has cells of its own size
    if told is not None:
        seen, stride = told
        return -(-seen // stride), ""
    cells, known = 1, not any(map(_OURS.fullmatch, info.bands))
    store = stored(source)
    if store is not None:
        features = read_attributes(place(store.path)).get("configuration", {}).get("features", {})
        if features:
            pool, stride = int(features.get("pool", 1)), int(features.get("stride", 1))
            bank = str(store.arrays[store.variable].attrs.get("bank", ""))
            cells, known = -(-(pool + FILTER - 1) // stride), not bank.startswith(PREFIX)
    if known:
        return cells, ""
    return cells, (
        f"{info.name} does not say how many pixels its cells see: the gap is {cells} cell{'s' * (cells > 1)}, and the "
        "accuracy flatters if they see further; give --gap, or make the features again"
    )
