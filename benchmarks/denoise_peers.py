"""The denoisers to beat, each given the true noise: FastHyDe with BM3D on its planes, and BM4D on the whole cube.

Sources: Zhuang, Bioucas-Dias (2018); Dabov et al. (2007); Maggioni et al. (2013); Poisson-like noise through the
generalised Anscombe transform of the true gain and floor and its exact unbiased inverse: Mäkitalo, Foi (2013).
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.fasthyde import fasthyde
from benchmarks.noises import FLOOR, GAIN, Noisy

F64 = NDArray[np.float64]
Rival = Callable[[Noisy, bool], F64]


def installed(name: str) -> ModuleType | None:
    """The package, or None."""
    return importlib.import_module(name) if importlib.util.find_spec(name) else None


def rivals() -> dict[str, Rival]:
    """Those whose packages are installed: noisy scene, whether its noise is Poisson-like -> denoised."""
    found: dict[str, Rival] = {}
    bm3d, bm4d = installed("bm3d"), installed("bm4d")
    if bm3d is not None:
        found["FastHyDe + BM3D"] = lambda scene, poisson: level(scene, poisson, lambda Z: fasthyde(Z, bm3d))
    if bm4d is not None:
        found["BM4D"] = lambda scene, poisson: level(scene, poisson, lambda Z: cube(Z, bm4d))
    return found


def level(scene: Noisy, poisson: bool, denoise: Callable[[F64], F64]) -> F64:
    """Denoise the scene as one of unit noise, by the truth about its noise."""
    if poisson:
        root = np.sqrt(np.maximum(GAIN * scene.block.astype(np.float64) + 0.375 * GAIN**2 + FLOOR, 0.0))
        return GAIN * unbiased(denoise(2 / GAIN * root)) - FLOOR / GAIN
    sigma = scene.sigma[:, None, None]
    return denoise(scene.block / sigma) * sigma


def unbiased(D: F64) -> F64:
    """Closed form of the exact unbiased inverse of the Anscombe transform, read noise left in."""
    D = np.maximum(D, 2 * np.sqrt(0.375))
    return np.asarray(D**2 / 4 - 0.125 + np.sqrt(1.5) / (4 * D) - 1.375 / D**2 + 0.625 * np.sqrt(1.5) / D**3)


def cube(Z: F64, bm4d: Any) -> F64:
    """Bands of unit noise (band, y, x) as one volume."""
    volume = np.ascontiguousarray(Z.transpose(1, 2, 0), np.float32)
    return np.asarray(bm4d.bm4d(volume, 1.0).transpose(2, 0, 1), np.float64)
