"""A bank folded into the bases of pieces: filters of the bands become filters of the scores.

z[c] = (block[c] − mean[c]) / std[c] = constant[c] + Σ_j weights[c, j]·plane[j]
Σ_c filters[n, c] ∗ z[c]  =  Σ_j (Σ_c filters[n, c]·weights[c, j]) ∗ plane[j]  +  Σ_c filters[n, c]·constant[c]
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.network.bank import Bank
from pipeline.network.pieces import Piece

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Fold:
    """How planes make z-scored bands, z = constant + weights · stack, and what a bank is on such planes."""

    weights: F64
    """(band, plane)"""
    constant: F64
    """(band,)"""
    bank: Bank
    """of (N, plane, k, k) filters"""

    def with_bands(self, bank: Bank, bands: NDArray[np.int64]) -> Fold:
        """The same with a plane more for each of these bands of `bank`, in data units."""
        columns = np.zeros((len(self.weights), len(bands)))
        columns[bands, np.arange(len(bands))] = 1 / bank.std[bands]
        more = bank.filters[:, bands] / bank.std[bands, None, None]
        filters = np.concatenate([self.bank.filters, more.astype(np.float32)], axis=1)
        weights = np.concatenate([self.weights, columns], axis=1)
        return Fold(weights, self.constant, _bank_of(bank, filters, self.bank.bias))

    def multiplied(self, stack: F32) -> F32:
        """The z-scored bands (band, y, x) of a stack (plane, y, x)."""
        z = np.tensordot(self.weights.astype(np.float32), stack, 1)
        z += self.constant.astype(np.float32)[:, None, None]
        return z


class Folder:
    """Folds a bank into pieces, each of them once."""

    def __init__(self, bank: Bank) -> None:
        self._bank = bank
        self._taps = bank.filters.astype(np.float64).transpose(0, 2, 3, 1).reshape(-1, bank.filters.shape[1])
        self._known: dict[int, tuple[F64, F64]] = {}

    def fold(self, pieces: Mapping[int, Piece]) -> Fold:
        """The bank on the scores of all these pieces, by their numbers, then a plane of ones for each but the first.

        A plane of nothing stands for a single piece of rank 0.
        """
        columns, filters = zip(*(self._folded(number, piece) for number, piece in pieces.items()), strict=True)
        planes = [(part[:, :-1], part[:, -1:] - columns[0][:, -1:]) for part in columns]
        taps = [(part[:, :-1], part[:, -1:] - filters[0][:, -1:]) for part in filters]
        ones = 1 if len(pieces) > 1 or columns[0].shape[1] > 1 else 0
        n, _, size, _ = self._bank.filters.shape
        weights = np.concatenate([*(own for own, _ in planes), *(offset for _, offset in planes[ones:])], axis=1)
        cubes = np.concatenate([*(own for own, _ in taps), *(offset for _, offset in taps[ones:])], axis=1)
        cubes = cubes.reshape(n, size, size, -1).transpose(0, 3, 1, 2).astype(np.float32)
        bias = self._bank.bias + filters[0][:, -1].reshape(n, -1).sum(axis=1)
        return Fold(weights, columns[0][:, -1], _bank_of(self._bank, cubes, bias.astype(np.float32)))

    def _folded(self, number: int, piece: Piece) -> tuple[F64, F64]:
        """Weights and offset of a piece as columns (band, rank + 1), and the filters folded into them."""
        if number not in self._known:
            bank = self._bank
            columns = np.column_stack([piece.basis, piece.mean - bank.mean]) / bank.std[:, None]
            self._known[number] = columns, self._taps @ columns
        return self._known[number]


def _bank_of(bank: Bank, filters: F32, bias: F32) -> Bank:
    k = filters.shape[1]
    names = tuple(map(str, range(k)))
    return replace(bank, bands=names, mean=np.zeros(k), std=np.ones(k), filters=filters, bias=bias)
