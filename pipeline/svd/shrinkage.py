"""Optimal shrinkage of noisy singular values.

Source: Gavish, Donoho, "Optimal shrinkage of singular values" (2017), Frobenius loss; the limits of spiked
covariances are those of Baik, Silverstein (2006) and Benaych-Georges, Nadakuditi (2012).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]


def noise_edge(beta: float) -> float:
    """Largest eigenvalue, (1 + √β)², that unit noise gives a sample covariance; β = dimension / samples."""
    return float((1.0 + np.sqrt(beta)) ** 2)


def frobenius_gains(w: F64, beta: float) -> F64:
    """Gains in [0, 1) for the sample eigenvalues w of a covariance with unit noise, β = dimension / samples.

    An eigenvalue w came from a spike ℓ with w = (ℓ + 1)(1 + β/ℓ); its vector has cos² = c² with the true one;
    the best linear gain on a fresh sample along it is ℓc² / (ℓc² + 1). Eigenvalues within the noise get 0.
    """
    w = np.asarray(w, np.float64)
    t = w + 1.0 - beta
    spike = (t + np.sqrt(np.maximum(t * t - 4.0 * w, 0.0))) / 2.0 - 1.0
    above = (w > noise_edge(beta)) & (spike > np.sqrt(beta))
    spike = np.where(above, spike, np.inf)
    signal = np.where(above, (1.0 - beta / spike**2) / (1.0 + beta / spike) * np.where(above, spike, 0.0), 0.0)
    return signal / (signal + 1.0)
