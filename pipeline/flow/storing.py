"""What storing a scene costs each of its bands, of some tiles, found where these are written.

The figures of a container are over all its bands: of bands of several units, or of few large and many small numbers,
they say nothing of each. A tile's chunk is decoded again for it, which takes about a hundredth of the tile's work.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.codec import decode
from pipeline.flow.journal import Plan, configuration_hash
from pipeline.flow.receipts import SceneReceipt
from pipeline.flow.tasks import Sums
from pipeline.storage import place

F64 = NDArray[np.float64]

SAMPLED = 16


def squared_errors(block: NDArray[Any], real: NDArray[np.bool_], chunk: bytes) -> Sums:
    """What was lost of block (band, y, x), where its elements are `real`, in the chunk that was made of it.

    What is infinite is left out: it is kept whole, or taken as missing. Memory: the block again, and a band in float64.
    """
    stored, found = decode(chunk)[0], []
    for band, kept, elements in zip(block, stored, real, strict=True):
        with np.errstate(invalid="ignore", over="ignore"):
            error = kept[elements].astype(np.float64) - band[elements]
            error = error[np.isfinite(error)]
            found.append((error.size, float(np.square(error).sum())))
    return tuple(found)


def storing_facts(plan: Plan, sums: Mapping[int, Sums], wanted: tuple[int, ...], tiles: int) -> dict[str, Any]:
    """What a receipt says of it: the root mean square error of each band over the tiles `wanted`, of so many; nothing
    where one of them is not known."""
    if not wanted or any(number not in sums for number in wanted):
        return {}
    counts, errors = np.array([sums[number] for number in sorted(wanted)]).sum(axis=0).T
    rmse = np.sqrt(errors / np.where(counts, counts, np.nan)).tolist()
    digest = configuration_hash(plan.configuration)
    named = dict(zip(plan.info.bands, rmse, strict=True))
    return {"storing": {"rmse": named, "tiles": [len(wanted), tiles], "configuration_hash": digest}}


def known_facts(plan: Plan, receipt: SceneReceipt) -> dict[str, Any] | None:
    """What the run before found, whose store has the same bytes; nothing where it is done and found none; None where
    it is still to be found."""
    if not plan.begun:
        return None
    facts = _recalled(receipt.facts_before(), plan)
    return facts or ({} if receipt.was_done() and (place(receipt.folder) / "report.html").is_file() else None)


def _recalled(before: dict[str, Any], plan: Plan) -> dict[str, Any]:
    try:
        facts = before["storing"]
        same = facts["configuration_hash"] == configuration_hash(plan.configuration)
        np.array(list(facts["rmse"].values()), np.float64)
        return {"storing": facts} if same and list(facts["rmse"]) == list(plan.info.bands) else {}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def storing_errors(facts: Mapping[str, Any], bands: int) -> F64 | None:
    """The root mean square errors (band,) that a receipt's facts tell, NaN of a band without any element; None where
    they tell none, or there was nothing in the tiles that were looked at."""
    rmse = np.array(list(facts.get("storing", {}).get("rmse", {}).values()), np.float64)
    return rmse if len(rmse) == bands and not np.isnan(rmse).all() else None
