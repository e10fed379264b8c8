"""Some coefficients of every subband, for what needs no more than their statistics."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pipeline.codec import wavelet

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]

SIZE = 1 << 18  # coefficients, about
PIECE = 16  # of a row, side by side: they come in one line of the cache
FEW = 16  # pieces of a subband, at least
SLANT = 5  # pieces by which those of the next row lie further on


def sample_of(coefficients: F32, levels: int) -> tuple[F32, F32]:
    """A flat sample of coefficients (plane, y, x), and what the square of each element of it counts for in the error
    of all: its norm, over the share of its subband that is taken."""
    planes, height, width = coefficients.shape
    places, counts = _places(height, width, levels, max(1, coefficients.size // SIZE))
    flat = coefficients.reshape(planes, height * width)
    return np.take(flat, places, axis=1).reshape(-1), np.tile(counts, planes)


@lru_cache(maxsize=4)
def _places(height: int, width: int, levels: int, every: int) -> tuple[I32, F32]:
    """Flat places in a plane, pieces of rows on slanting lines, one in `every`; what the square of each counts for."""
    places, counts = [], []
    for (y, x), norm in zip(wavelet.subbands(height, width, levels), wavelet.norms(levels), strict=True):
        rows, columns = np.arange(y.start, y.stop)[:, None], np.arange(x.start, x.stop)
        pieces = (columns - x.start) // PIECE
        step = max(1, min(every, rows.size * (columns.size // PIECE + 1) // FEW))
        taken = (pieces + SLANT * rows + rows // step) % step == step // 2
        places.append((rows * width + columns)[taken].astype(np.int32))
        share = np.count_nonzero(taken) / max(taken.size, 1)
        counts.append(np.full(places[-1].size, norm / share if share else 0.0, np.float32))
    found = np.concatenate(places), np.concatenate(counts)
    for shared in found:
        shared.flags.writeable = False
    return found
