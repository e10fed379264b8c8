"""Convolution, dilated or not, and pooling by bands of rows: a buffer of responses, no map of the whole block."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.gemm import conv2d
from pipeline.gemm.pool import pool_into
from pipeline.network.bank import Bank

F32 = NDArray[np.float32]

BUFFER_BYTES = 8 << 20
SHORTEST_BUFFER = 32


def swept_responses(
    z: F32, bank: Bank, pool: int, stride: int, features: F32, buffer_bytes: int = BUFFER_BYTES
) -> None:
    """Fill features (N or 2N, cells, cells) with the mean of relu(±(z * filters + bias)) over pool x pool windows.

    z (D, y, x), the planes of `bank`, holds just the receptive field of the cells. Beside the features, about
    `buffer_bytes` are in use.
    """
    n, c, size, _ = bank.filters.shape
    width = z.shape[2] - (size - 1) * bank.dilation
    rows = max(SHORTEST_BUFFER, 2 * pool)
    step = max(1, buffer_bytes // (4 * rows * width))
    per_group = n // bank.groups
    for group in range(bank.groups):
        own, end = z[group * c : (group + 1) * c], (group + 1) * per_group
        for first in range(group * per_group, end, step):
            part = slice(first, min(first + step, end))
            targets = [(1.0, features[part])]
            if bank.signs == "both":
                targets.append((-1.0, features[n:][part]))
            _sweep(own, bank.filters[part], bank.bias[part], bank.dilation, pool, stride, targets, buffer_bytes)


def _sweep(
    z: F32,
    filters: F32,
    bias: F32,
    dilation: int,
    pool: int,
    stride: int,
    targets: list[tuple[float, F32]],
    buffer_bytes: int,
) -> None:
    """A band of rows of cells at a time; rows of responses that two bands share are kept, not computed again."""
    n, more = filters.shape[0], (filters.shape[2] - 1) * dilation
    cells, width = targets[0][1].shape[1], z.shape[2] - more
    room = buffer_bytes // (4 * n * width)
    band = min(cells, max(1, (room - pool) // stride + 1))
    responses = np.empty((n, (band - 1) * stride + pool, width), np.float32)
    done = 0
    for first in range(0, cells, band):
        count = min(band, cells - first)
        top = first * stride
        bottom = top + (count - 1) * stride + pool
        kept = max(0, done - top)
        if kept:
            responses[:, :kept] = responses[:, band * stride : band * stride + kept]
        if bottom > top + kept:
            rows = z[:, top + kept : bottom + more]
            conv2d(rows, filters, bias, dilation=dilation, out=responses[:, kept : bottom - top])
        for sign, means in targets:
            pool_into(responses, pool, stride, sign, 0.0, means, first, count)
        done = bottom
