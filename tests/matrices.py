"""Matrices of known spectrum, and how far from the best an approximation is."""

from __future__ import annotations

import numpy as np


def matrix(m, n, spectrum, dtype=np.float64, seed=0):
    """A matrix (m, n) with these singular values and random singular vectors."""
    rng = np.random.default_rng(seed)
    k = len(spectrum)
    U = np.linalg.qr(rng.standard_normal((m, k)))[0]
    V = np.linalg.qr(rng.standard_normal((n, k)))[0]
    return ((U * spectrum) @ V.T).astype(dtype)


def error(A, factors):
    U, s, Vt = (np.asarray(part, np.float64) for part in factors)
    return np.linalg.norm(A.astype(np.float64) - (U * s) @ Vt)


def best_error(A, k):
    return np.linalg.norm(np.linalg.svd(A.astype(np.float64), compute_uv=False)[k:])
