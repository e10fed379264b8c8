"""Pixels unlike what is around them: the local background taken off, then a Mahalanobis distance (RX).

Sources: Reed, Yu 1990 (RX: the mean of a window around the pixel, with a guard); Caefer, Silverman, Orthal, Antonelli,
Sharoni, Rotman 2008, "Improved covariance matrices for point target detection in hyperspectral data" (quasi-local: the
eigenvectors are the scene's, the variance along each is the window's, so that in a rough place more is needed).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.answers.annulus import Annulus, box_sums
from pipeline.errors import BlockError

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Bool = NDArray[np.bool_]

SHRINK = 0.2
"""Weight of the scene's variance beside the window's, in windows."""
FEWEST = 16
"""A pixel is scored where so many pixels of its window are of the background."""
OPEN, OBJECT = 0.6, 0.33
"""On water a pixel is scored where this share of its window is water, and no more than that of its guard is not: what
is no water is an object then, and no shore."""
FLOOR = 1e-6
"""Directions with less than this share of the largest variance are copies of others."""
LEAST = 1e-3
"""The least local variance, of the scene's."""


class Water(NamedTuple):
    """What water is told by: NDWI = (g − n)/(g + n) above `least` (McFeeters 1996)."""

    green: int
    infrared: int
    """Positions of the bands."""
    least: float = 0.0


@dataclass(frozen=True)
class Background:
    """Which pixels are background, and over which window: what both passes must agree on.

    Of `water`, where it is given, water alone is the background. Pixels with much else around them are
    not scored.
    """

    annulus: Annulus
    water: Water | None = None

    def pixels(self, block: F32, valid: Bool) -> Bool:
        """The pixels (y, x) that the background is learnt from."""
        if self.water is None:
            return valid
        green, infrared = block[self.water.green], block[self.water.infrared]
        total = green + infrared
        return np.asarray(valid & (total > 0) & (green - infrared > np.float32(self.water.least) * total), bool)

    def residual(self, block: F32, background: Bool) -> tuple[F32, F64]:
        """The block (C, y, x) less the mean of each pixel's window, 0 without one; background pixels in it (y, x)."""
        count = np.rint(self.annulus.sums(background))
        out = np.empty(block.shape, np.float32)
        for band, plane in enumerate(block):
            level = plane[background].mean(dtype=np.float64) if background.any() else 0.0
            around = self.annulus.sums(np.where(background, plane - level, 0.0)) / np.maximum(count, 1)
            out[band] = np.where(count > 0, plane - level - around, 0.0)
        return out, count

    def scored(self, valid: Bool, background: Bool, count: F64) -> Bool:
        """The valid pixels (y, x) with enough background around them to tell, and no shore."""
        area = self.annulus.window**2 - self.annulus.guard**2
        enough = valid & (count >= min(FEWEST, area))
        if self.water is None:
            return np.asarray(enough, bool)
        open_water = count >= OPEN * np.rint(self.annulus.sums(valid))
        else_near = box_sums(valid & ~background, self.annulus.guard)
        return np.asarray(enough & open_water & (else_near <= OBJECT * self.annulus.guard**2), bool)


@dataclass(frozen=True)
class Moments:
    """The residuals' second moments over some background pixels: they add up."""

    gram: F64
    """(C, C) sum of r·rᵀ."""
    count: int

    @classmethod
    def of(cls, block: F32, valid: Bool, background: Background, inner: tuple[slice, slice]) -> Moments:
        """Those of a block's pixels within `inner`; block (C, y, x) float32, finite where valid."""
        pixels = background.pixels(block, valid)
        residual, count = background.residual(np.where(valid, block, np.float32(0.0)), pixels)
        chosen = (pixels & background.scored(valid, pixels, count))[inner]
        rows = residual[:, *inner][:, chosen].astype(np.float64)
        return cls(rows @ rows.T, int(chosen.sum()))

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.gram + other.gram, self.count + other.count)


@dataclass(frozen=True)
class Anomaly:
    """What pixels are scored by: arrays alone, so that it can lie in a file.

    whitening: (K, C) float64, residuals to K directions of unit variance; settings: (5,) float64, window, guard, and
    what tells water, or −1.
    """

    whitening: F64
    settings: F64

    @classmethod
    def fit(cls, moments: Moments, background: Background) -> Anomaly:
        """The directions of the residuals' correlation, and their variances.

        Raises:
            BlockError: too few background pixels, or none that vary.
        """
        if moments.count <= len(moments.gram):
            raise BlockError(
                f"{moments.count} pixels of background are too few to know {len(moments.gram)} bands by; "
                f"{'is there water?' if background.water else 'is all of it nodata?'}"
            )
        variance = np.diag(moments.gram) / moments.count
        if not (variance > 0).any():
            raise BlockError("no band varies over the scene; nothing can stand out")
        unit = np.where(variance > 0, 1 / np.sqrt(np.where(variance > 0, variance, 1.0)), 0.0)
        w, V = np.linalg.eigh(moments.gram / moments.count * unit * unit[:, None])
        kept = w > FLOOR * w[-1]
        signs = np.sign(V[np.abs(V).argmax(axis=0), np.arange(len(w))])
        whitening = (V * signs)[:, kept].T / np.sqrt(w[kept])[:, None] * unit
        water = background.water or Water(-1, -1)
        return cls(whitening, np.array([background.annulus.window, background.annulus.guard, *water], np.float64))

    @property
    def background(self) -> Background:
        """As it was when the model was fitted."""
        window, guard, green, infrared, least = self.settings.tolist()
        water = None if green < 0 else Water(int(green), int(infrared), least)
        return Background(Annulus(int(window), int(guard)), water)

    @property
    def halo(self) -> int:
        """Pixels around a pixel that its score depends on: its window's, and theirs."""
        return 2 * self.background.annulus.reach

    def answer(self, block: F32, valid: Bool) -> F32:
        """Scores (1, y, x) float32, about 1 on background, NaN where not valid or where there is too little around.

        block: (C, y, x) float32, finite where valid.
        """
        background = self.background
        block = np.where(valid, block, np.float32(0.0))
        pixels = background.pixels(block, valid)
        residual, count = background.residual(block, pixels)
        known = background.scored(valid, pixels, count)
        pixels = pixels & known
        total = np.zeros(valid.shape)
        around = np.rint(background.annulus.sums(pixels))
        prior = SHRINK * background.annulus.window**2
        for direction in self.whitening:
            energy = np.tensordot(direction, residual, axes=1) ** 2
            local = background.annulus.sums(np.where(pixels, energy, 0.0))
            total += energy / np.maximum((local + prior) / (around + prior), LEAST)
        scores = np.where(known, total / len(self.whitening), np.nan)
        return scores[None].astype(np.float32)
