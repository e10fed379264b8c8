"""A bank's layer: convolution, rectification and mean pooling in one sweep, no map of the responses between them.

One convolution serves both signs: its responses z are pooled once as relu(z) and once as relu(−z), which costs what
mean relu(−z) = mean relu(z) − mean z would, and cannot come out below 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.gemm import Convolution
from pipeline.gemm import pooled_responses as pooled
from pipeline.network.bank import Bank

F32 = NDArray[np.float32]


def pooled_responses(z: F32, bank: Bank, pool: int, stride: int, features: F32) -> None:
    """Fill features (N or 2N, cells, cells) with the mean of relu(±(z * filters + bias)) over pool x pool windows.

    z (D, y, x), the planes of `bank`, holds just the receptive field of the cells.
    """
    n, c = bank.filters.shape[:2]
    both, per_group = bank.signs == "both", n // bank.groups
    for group in range(bank.groups):
        own = slice(group * per_group, (group + 1) * per_group)
        convolution = Convolution(bank.filters[own], bank.bias[own], dilation=bank.dilation)
        if bank.groups == 1:
            pooled(z, convolution, pool, stride, features, both=both)
            continue
        part = np.empty((2 * per_group if both else per_group, *features.shape[1:]), np.float32)
        pooled(z[group * c : (group + 1) * c], convolution, pool, stride, part, both=both)
        features[own] = part[:per_group]
        if both:
            features[n:][own] = part[per_group:]
