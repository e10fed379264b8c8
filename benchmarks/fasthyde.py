"""FastHyDe (Zhuang, Bioucas-Dias 2018) with BM3D on its planes; alone, so that a script can have it without ours."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]


def fasthyde(Z: F64, bm3d: Any) -> F64:
    """Bands of unit noise (band, y, x): the planes above the noise, each by BM3D, and back."""
    bands, pixels = len(Z), Z[0].size
    mean = Z.mean(axis=(1, 2), keepdims=True)
    flat = (Z - mean).reshape(bands, -1)
    w, V = np.linalg.eigh(flat @ flat.T / pixels)
    V = V[:, w > 1.04 * (1 + np.sqrt(bands / pixels)) ** 2]
    planes = (V.T @ flat).reshape(-1, *Z.shape[1:])
    clean = np.array([bm3d.bm3d(plane, 1.0) for plane in planes]).reshape(planes.shape)
    return (V @ clean.reshape(len(clean), pixels)).reshape(Z.shape) + mean
