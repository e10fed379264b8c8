"""Noise, planes and bases of a whole scene, for all its blocks alike.

Source: docs/algorithms.md, "Denoise", bases of the scene.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.denoise.defects import Repair
from pipeline.denoise.measure import Measured, mend
from pipeline.denoise.mixture import Gaussian
from pipeline.denoise.patch_svd import PatchBasis
from pipeline.denoise.stabilise import Stabiliser
from pipeline.denoise.whiten import Whitening

F64 = NDArray[np.float64]
Valid = NDArray[np.bool_]


@dataclass(frozen=True)
class Learnt:
    """How one group of planes is denoised."""

    basis: PatchBasis
    sorters: list[Gaussian]
    """Classes over the leading scores, to sort patches by."""
    classes: list[Gaussian]
    """The same over all scores, to shrink patches with; empty where they are to be fitted to those very patches."""


@dataclass(frozen=True)
class SceneModel:
    """What the blocks of a scene share."""

    sigma: F64
    """(band,) noise, data units; 0 for a band without."""
    stabiliser: Stabiliser | None
    whitening: Whitening
    """Of the bands whose sigma is not 0."""
    learnt: list[Learnt]
    """One for each group of planes; empty where each block is to learn by itself."""
    replicated: bool = False
    """Whether some band was made by doubling pixels on the even grid."""
    repair: Repair = "all"
    """What is mended of a block."""

    def measured(self, block: NDArray[Any], valid: Valid, learn: Valid | None = None) -> Measured:
        """Block (band, y, x) mended where valid by what is seen where `learn`, with the scene's noise."""
        if not self.sigma.any():
            return Measured(block, self.sigma, None, np.ones(self.sigma.size, np.bool_))
        mended, clean, holes = mend(block, valid, self.sigma, learn, self.repair)
        return Measured(mended, self.sigma, self.stabiliser, clean, holes)
