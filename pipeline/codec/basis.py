"""Columns of a basis in steps of powers of two, each of which adds the same error.

Source: reverse water-filling, Cover and Thomas, 10.3, of what rounding the basis costs; docs/algorithms.md.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import FormatError

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
I8 = NDArray[np.int8]

FINEST, COARSEST = -22, 0  # exponents of the steps of a column
SHARE = 0.05  # of the distortion, at most, is spent on rounding the columns


def quantise_columns(V: F64, variances: F64, distortion: float, samples: int) -> tuple[I8, I32]:
    """Exponents (k,) and entries (k, n) of columns V (n, k) in power-of-two steps √(12·share·D / (k·λ)).

    The share that costs the fewest bytes is entries per significant coefficient, of which about one in five is.
    """
    exponents = exponents_of(len(V), variances, distortion, samples)
    return exponents, np.rint(np.ldexp(V.T, -exponents[:, None].astype(np.int32))).astype(np.int32)


def exponents_of(n: int, variances: F64, distortion: float, samples: int) -> I8:
    """Exponents (k,) of the steps of columns of n entries, for the variances (k,) that they carry."""
    share = min(SHARE, 5 * n / samples)
    fair = np.sqrt(12 * share * distortion / max(len(variances), 1) / variances)
    steps = np.minimum(fair, 0.25 / np.sqrt(n))
    exponents: I8 = np.clip(np.floor(np.log2(steps)), FINEST, COARSEST).astype(np.int8)
    return exponents


def bits_of_columns(spread: F64, entries: int) -> F64:
    """(k,) about how many bits columns of so many entries take, for the mean magnitudes (k,) of these, in steps."""
    bits: F64 = entries * np.log2(2 * math.e * np.maximum(spread, 0.2)) + 16
    return bits


def columns_of(exponents: I8, entries: I32) -> F32:
    """(n, k) float32 columns from their entries (k, n)."""
    return np.ascontiguousarray(np.ldexp(entries.astype(np.float32), exponents[:, None].astype(np.int32)).T)


def dual_of(columns: F32) -> F32:
    """(k, n) what gives the least-squares scores in rounded columns (n, k)."""
    wide = columns.astype(np.float64)
    return np.linalg.solve(wide.T @ wide, wide.T).astype(np.float32)


def check_exponents(exponents: I8) -> None:
    """FormatError where these are not steps of columns."""
    if (exponents < FINEST).any() or (exponents > COARSEST).any():
        raise FormatError("chunk holds a basis with steps out of range; it is damaged")
