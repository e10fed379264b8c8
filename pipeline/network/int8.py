"""Features in one byte each: value = offset + scale·q, a scale and an offset for each feature, q = −127 ... 127.

−128 stands where a cell is not valid. What lies beyond the range that was fitted is clipped, and counted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]

NODATA = -128
MOST = 127
MARGIN = 0.05


@dataclass(frozen=True)
class Coding:
    """Scale and offset of each feature, float32 values; a scale is positive."""

    scale: tuple[float, ...]
    offset: tuple[float, ...]

    @classmethod
    def over(cls, low: F32, high: F32) -> Coding:
        """The coding of values from low (F,) to high (F,), and MARGIN of that range beyond on each side.

        A feature that does not vary has scale 1; one without values (low > high) has offset 0 too.
        """
        known = low <= high
        least, most = (np.where(known, bound, 0.0).astype(np.float64) for bound in (low, high))
        span = (most - least) * (1 + 2 * MARGIN)
        scale = np.where(span > 0, span / (2 * MOST), 1.0)
        return cls(*(tuple(part.astype(np.float32).tolist()) for part in (scale, (least + most) / 2)))

    def encode(self, features: F32) -> tuple[NDArray[np.int8], int]:
        """Features (F, y, x) with NaN where not valid as int8, and how many values were clipped.

        A value within the range comes back to half a scale.
        """
        codes = np.empty(features.shape, np.int8)
        clipped = 0
        for plane, coded, scale, offset in zip(features, codes, self.scale, self.offset, strict=True):
            valid = np.isfinite(plane)
            steps = np.rint((np.where(valid, plane, offset) - offset) / scale)
            clipped += int(np.count_nonzero(np.abs(steps) > MOST))
            coded[...] = np.where(valid, np.clip(steps, -MOST, MOST), NODATA)
        return codes, clipped

    def decode(self, codes: NDArray[np.int8]) -> F32:
        """The features (F, y, x) float32 of codes, NaN where not valid."""
        scale, offset = (np.array(part, np.float32)[:, None, None] for part in (self.scale, self.offset))
        return np.where(codes == NODATA, np.float32(np.nan), codes * scale + offset)
