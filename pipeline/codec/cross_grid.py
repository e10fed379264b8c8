"""Cells of a coarser grid foretold by the means of finer bands over them: what is stored is what is left of that.

Bands of one scene show the same ground. The weights are those of the bends over three cells, not of the cells
themselves: fine detail is where the bytes go, and what is smooth takes none.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.codec.low_rank import limits_of
from pipeline.codec.mask import off_nodata
from pipeline.jit import jit
from pipeline.repeated import Cells

Block = NDArray[Any]
Bool = NDArray[np.bool_]
F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

# So much of the mean variance of the means is added to each: bands may be multiples of one another.
RIDGE = 1e-6
# Cells from whose rows the weights are learnt, about.
SAMPLED = 1 << 14
# Of integers that 32 bits hold less another.
WIDEST = 2


class Foretelling(NamedTuple):
    """How cells follow from finer bands."""

    weights: F32
    """(band, finer band + 1) the last a constant, data units"""
    told: F64
    """(band, cell, cell) data units, for integers whole"""

    def rest(self, cells: Block) -> Block:
        """What is left of the cells (band, cell, cell), in `rest_dtype`."""
        rest = cells.astype(np.float64) - self.told
        return rest.astype(rest_dtype(cells.dtype))


def rest_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """That of what is left of cells of this dtype."""
    return dtype if dtype.kind == "f" else np.dtype(np.int32)


def serves(dtype: np.dtype[Any]) -> bool:
    """Whether cells of this dtype may be foretold."""
    return dtype.kind == "f" or dtype.itemsize <= WIDEST


def means_of(finer: list[Block], cells: Cells) -> F64:
    """(finer band, cell, cell) means of planes (y, x) over the cells, summed up row by row from left to right."""
    found = np.empty((len(finer), *cells.shape))
    for plane, mean in zip(finer, found, strict=True):
        _means(plane, cells.rows, cells.columns, mean)
    return found


@jit
def _means(plane: Block, rows: NDArray[np.intp], columns: NDArray[np.intp], found: F64) -> None:
    height, width = plane.shape
    for i in range(len(rows)):
        bottom = rows[i + 1] if i + 1 < len(rows) else height
        for j in range(len(columns)):
            right = columns[j + 1] if j + 1 < len(columns) else width
            total = 0.0
            for y in range(rows[i], bottom):
                for x in range(columns[j], right):
                    total += np.float64(plane[y, x])
            found[i, j] = total / ((bottom - rows[i]) * (right - columns[j]))


def foretold(weights: F32, means: F64, dtype: np.dtype[Any]) -> F64:
    """(band, cell, cell) Σ weight·mean from the constant on, in the order of the finer bands; whole for integers."""
    found = np.empty((len(weights), *means.shape[1:]))
    with np.errstate(over="ignore", invalid="ignore"):
        for own, row in zip(found, weights.astype(np.float64), strict=True):
            own[:] = row[-1]
            for weight, mean in zip(row[:-1], means, strict=True):
                own += weight * mean
        return found if dtype.kind == "f" else np.rint(found)


def together(rest: Block, told: F64, dtype: np.dtype[Any], nodata: float | int | None) -> Block:
    """The cells (band, cell, cell) of what is left of them and what was told, off the nodata value."""
    low, high = limits_of(dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        cells = np.clip(told + rest, low, high)
    return off_nodata(np.where(np.isnan(cells), low, cells).astype(dtype), nodata)


def foretell(cells: Block, real: Bool, means: F64, mse: float) -> Foretelling | None:
    """How cells (band, cell, cell) follow from means (finer band, cell, cell), where real (1 or band, cell, cell); None
    where what is left would take as many bytes at this mean squared error."""
    if not serves(cells.dtype):
        return None
    there: Bool = np.asarray(real.all(axis=0))
    own, other = (_bends(planes, there) for planes in (cells, means))
    if own.shape[1] <= 4 * len(means) or not (np.isfinite(own).all() and np.isfinite(other).all()):
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        gram = other @ other.T
        gram += np.eye(len(gram)) * max(RIDGE * np.trace(gram) / len(gram), np.finfo(np.float64).tiny)
        slopes = np.linalg.solve(gram, other @ own.T).T
        constant = cells[:, there].mean(axis=1, dtype=np.float64) - slopes @ means[:, there].mean(axis=1)
        weights = np.column_stack([slopes, constant]).astype(np.float32)
        if not np.isfinite(weights).all():
            return None
        bits = _bits(own, mse) - _bits(own - slopes @ other, mse)
    worth = bits * np.count_nonzero(there) > 32 * weights.size
    return Foretelling(weights, foretold(weights, means, cells.dtype)) if worth else None


def _bends(planes: Block, there: Bool) -> F64:
    """(plane, n) bends to the right and down over three cells of planes (plane, cell, cell) that are all there, in
    which white noise keeps its size; of some rows of many."""
    middle = np.arange(1, len(there) - 1, max(1, there.size // SAMPLED))
    above, here, below = (planes[:, middle + step].astype(np.float64) for step in (-1, 0, 1))
    known = there[middle]
    across, down = known[:, :-2] & known[:, 1:-1] & known[:, 2:], there[middle - 1] & known & there[middle + 1]
    bends = here[:, :, :-2] - 2 * here[:, :, 1:-1] + here[:, :, 2:], above - 2 * here + below
    return np.asarray(np.concatenate([bends[0][:, across], bends[1][:, down]], axis=1) / np.sqrt(6.0))


def _bits(bends: F64, mse: float) -> float:
    """Bits of a cell of all bands, about, of bends (band, n) stored with this error: those of Gaussian components."""
    variances = np.linalg.eigvalsh(bends @ bends.T / bends.shape[1])
    return float(0.5 * np.log2(1 + np.maximum(variances, 0.0) / mse).sum())
