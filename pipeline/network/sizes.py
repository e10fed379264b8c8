"""How large a tensor of a network may become: decided from its shape, before anything is allocated."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import DTypeLike

from pipeline.errors import ModelError

MOST_BYTES = 1 << 30
"""Of one tensor."""
MOST_LIVE_BYTES = 4 << 30
"""Of all the tensors that a network holds at one time, its constants left out."""
MOST_AXES = 16
MOST_CHANNELS = 1 << 16
"""Values at one place of a tensor that is to be tiled: as many as a bank has filters at most."""
MOST_STRIDE = 1 << 10
"""Pixels from one place of such a tensor to the next, places in a pixel, and pixels that blocks begin at multiples of:
networks have 32 or 64."""


def checked(shape: Sequence[int], dtype: DTypeLike) -> tuple[int, ...]:
    """The shape of a tensor, if it may exist. Raises ModelError."""
    sizes = tuple(int(size) for size in shape)
    shown = " x ".join(map(str, sizes[:MOST_AXES])) or "scalar"
    if len(sizes) > MOST_AXES:
        raise ModelError(f"a tensor of {len(sizes)} axes; at most {MOST_AXES} are supported")
    if min(sizes, default=0) < 0:
        raise ModelError(f"a tensor of shape {shown} cannot be")
    if math.prod(sizes) * np.dtype(dtype).itemsize > MOST_BYTES:
        raise ModelError(f"a tensor of shape {shown} is beyond {MOST_BYTES >> 20} MiB; run it on smaller tiles")
    return sizes
