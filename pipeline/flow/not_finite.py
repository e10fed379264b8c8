"""Features that are infinite or not a number though their pixels are valid: told, for they count as nodata."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.flow.crew import Watch
from pipeline.flow.networks import AnyBank
from pipeline.flow.paperwork import counted
from pipeline.flow.tasks import Receipt
from pipeline.network.network_bank import NetworkBank
from pipeline.untrusted import one_line

SHOWN = 3
"""Names of a network's constants that a line has room for."""


def not_finite(features: NDArray[np.float32], valid: NDArray[np.bool_]) -> tuple[int, int]:
    """Of features (F, y, x), NaN where cells (y, x) are not valid: how many values of valid cells are not finite, and
    which features have them, a bit for each."""
    cells, total, which = int(np.count_nonzero(valid)), 0, 0
    for number, plane in enumerate(features):
        missing = cells - int(np.count_nonzero(np.isfinite(plane)))
        total += missing
        which |= (missing > 0) << number
    return total, which


def tell_not_finite(name: str, bank: AnyBank, receipt: Receipt, watch: Watch) -> None:
    """Warn of the features, of tiles made now, that are no numbers where the scene is."""
    if not receipt.not_finite:
        return
    shares = f"{counted(receipt.not_finite, 'value')} of {counted(receipt.not_finite_features.bit_count(), 'feature')}"
    watch.warn(
        one_line(
            f"{name}: {shares} of {bank.name}, where pixels are valid, are infinite or not a number, which is taken as "
            f"nodata; {_remedy(bank)}"
        )
    )


def _remedy(bank: AnyBank) -> str:
    if not isinstance(bank, NetworkBank):
        return "fit the bank on this scene"
    if bank.plain and not bank.whole:
        return "try --normalise scene (features.normalise in a workflow), or an earlier tensor with @TENSOR"
    return "take an earlier tensor with @TENSOR, or see to the network's weights"


def tell_weights(bank: AnyBank, watch: Watch) -> None:
    """Warn of a network's weights that are not a number, before it runs."""
    if not isinstance(bank, NetworkBank):
        return
    floats = {name: value for name, value in bank.graph.constants.items() if value.dtype.kind == "f"}
    nan = {name: int(np.count_nonzero(np.isnan(value))) for name, value in floats.items()}
    names = [name for name, count in nan.items() if count]
    if names:
        shown = ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
        watch.warn(
            one_line(
                f"{bank.name}: NaN in {counted(sum(nan.values()), 'weight')} (of {shown}), and so in the features that "
                f"they reach, which is taken as nodata; export the network again"
            )
        )
