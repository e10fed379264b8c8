"""Whether what grows with the signal is noise: texture grows, too, but hardly where a scene is calmest.

Source: docs/algorithms.md, "Noise that grows with the signal".
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.denoise.details import Details
from pipeline.denoise.stabilise import BIN_SHARE, flat_cells

F64 = NDArray[np.float64]

# Share of the cells of each brightness that are calmest, of blocks that have so many of them; of smaller ones more.
CALMEST, CELLS = 0.1, 1600
# The brightest of the BINS, in which noise that grows must be found again, and how much of its variance at least.
BRIGHT, FOUND_AGAIN = 4, 0.8


def is_texture(details: Details, calm: Details, sigma: F64) -> bool:
    """Whether the bright cells of the median band have less noise σ (band,), data units, the calmer they are.

    details: as the line through the variances was drawn from; calm: the same with third differences for the diagonal
    details (`corner.corner_details`), in which texture has less share yet. White noise is the same in all of them.
    """
    noisy = np.flatnonzero(sigma > 0)
    count = int(np.count_nonzero(calm.readable[0]))
    share = min(BIN_SHARE, max(CALMEST, CELLS / max(1, count)))
    flat, calmest = (
        flat_cells(some.of(noisy), sigma[noisy], part) for some, part in ((details, BIN_SHARE), (calm, share))
    )
    if flat is None or calmest is None:
        return False
    part = calmest.variance[:, -BRIGHT:] / np.maximum(flat.variance[:, -BRIGHT:], np.finfo(np.float64).tiny)
    return bool(np.median(np.median(part, axis=1)) < FOUND_AGAIN)
