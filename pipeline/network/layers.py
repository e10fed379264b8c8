"""Convolution, rectification and mean pooling in one sweep over the rows: no response map of the whole block exists.

One convolution serves both signs: its responses z are pooled once as relu(z) and once as relu(−z), which costs what
mean relu(−z) = mean relu(z) − mean z would, and cannot come out below 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.network.bank import Bank
from pipeline.network.sweep import swept_responses

F32 = NDArray[np.float32]

BUFFER_BYTES = 8 << 20


def pooled_responses(z: F32, bank: Bank, pool: int, stride: int, features: F32) -> None:
    """Fill features (N or 2N, cells, cells) with the mean of relu(±(z * filters + bias)) over pool x pool windows.

    z (D, y, x), the planes of `bank`, holds just the receptive field of the cells. Beside the features, about
    BUFFER_BYTES are in use.
    """
    swept_responses(z, bank, pool, stride, features, BUFFER_BYTES)
