"""What lies between the z-scored bands and the filters of a bank: a projection, a hidden layer, both or neither.

The hidden layer is rectified and averaged over p x p pixels. A network would keep one pixel of each p x p and go on;
here the mean slides by one pixel and the next filters are dilated by p instead ("à trous", Holschneider et al. 1989),
which gives the strided network's outputs for every position of its grid. So no tile has to begin on that grid.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.gemm import average_pool, conv2d
from pipeline.network.bank import Bank

F32 = NDArray[np.float32]


def planes(z: F32, bank: Bank) -> F32:
    """What the filters of `bank` see of the z-scored bands z (C, y, x): (D, y', x') float32, smaller by its front."""
    if len(bank.projection):
        z = project(z, bank.projection)
    if len(bank.hidden):
        z = hidden_maps(z, bank.hidden, bank.hidden_bias, bank.hidden_pool)
    return z


def project(z: F32, projection: F32) -> F32:
    """Components (K, y, x) of the bands z (C, y, x), a 1 x 1 convolution by projection (K, C)."""
    return conv2d(z, projection[:, :, None, None])


def hidden_maps(z: F32, filters: F32, bias: F32, pool: int) -> F32:
    """relu(z * filters + bias), averaged over each pool x pool window: (M, y', x')."""
    return average_pool(conv2d(z, filters, bias, relu=True), pool)
