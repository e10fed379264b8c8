"""Features that are infinite or not a number though their pixels are valid, and cells without features though most of
their pixels are: told, for they count as nodata."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pipeline.flow.crew import Watch
from pipeline.flow.networks import AnyBank, is_mean
from pipeline.flow.paperwork import counted, share_text
from pipeline.flow.tasks import Counts, Receipt
from pipeline.grid import Tile
from pipeline.network.network_bank import NetworkBank
from pipeline.network.sample import usable
from pipeline.raster.scene import Source
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


def feature_counts(features: NDArray[np.float32], valid: NDArray[np.bool_], source: Source, tile: Tile) -> Counts:
    """What a tile of features (F, y, x), NaN where cells (y, x) are not valid, tells of itself.

    The scene is read again where cells are lost: how many of its pixels are valid.

    Raises:
        SourceError: it cannot be read.
    """
    count, which = not_finite(features, valid)
    featured, pixels = int(np.count_nonzero(valid)), math.prod(tile.window.shape)
    if featured < valid.size:
        block, real = source.read(tile.window)
        pixels = int(np.count_nonzero(usable(block, real)))
    return Counts(
        not_finite=count,
        not_finite_features=which,
        cells=valid.size,
        featured=featured,
        pixels=pixels,
        scene_pixels=math.prod(tile.window.shape),
    )


def tell_features(
    name: str,
    bank: AnyBank,
    pool: int,
    stride: int,
    receipt: Receipt,
    watch: Watch,
    holes: Callable[[], str] = str,
) -> None:
    """Warn of what is wrong with the features of tiles made now. holes: what is to be said of the scene's dates, where
    many pixels lack one; it may be dear.

    Raises:
        SourceError: of `holes`.
    """
    lacking = holes() if 2 * receipt.featured < receipt.cells else ""
    if lacking:
        lost = receipt.cells - receipt.featured
        share = share_text(lost / receipt.cells)
        watch.warn(
            one_line(f"{name}: {lost} of {counted(receipt.cells, 'cell')} ({share}) have no features: {lacking}")
        )
    else:
        _tell_lost(name, bank, pool, stride, receipt, watch)
    _tell_not_finite(name, bank, receipt, watch)


def _tell_lost(name: str, bank: AnyBank, pool: int, stride: int, receipt: Receipt, watch: Watch) -> None:
    """Warn where the share of cells with features is less than half of that of valid pixels: holes that are few and
    scattered leave windows none."""
    if not receipt.cells or 2 * receipt.featured * receipt.scene_pixels >= receipt.pixels * receipt.cells:
        return
    lost, missing = receipt.cells - receipt.featured, 1 - receipt.pixels / receipt.scene_pixels
    seen = None if is_mean(bank) else bank.sees(pool, stride)
    windows = "what they see" if seen is None else f"their windows of {seen} x {seen} pixels"
    smaller = "" if isinstance(bank, NetworkBank) else "a smaller --pool, "
    watch.warn(
        one_line(
            f"{name}: {lost} of {counted(receipt.cells, 'cell')} ({share_text(lost / receipt.cells)}) have no "
            f"features: {windows} meet missing pixels ({share_text(missing)} of the scene); give {smaller}a bank that "
            "sees less, or fill the holes (gdal_fillnodata)"
        )
    )


def _tell_not_finite(name: str, bank: AnyBank, receipt: Receipt, watch: Watch) -> None:
    """Warn of the features that are no numbers where the scene is."""
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
