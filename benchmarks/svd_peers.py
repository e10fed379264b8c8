"""The peers: each takes A (m, n) and a rank k and returns U (m, k), s (k,), Vt (k, n), as ours does.

A peer whose package is not installed is left out, and `absent` names it. One that can be tuned comes with its settings
from the cheapest up: the benchmark takes the first of them that meets the gate.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from scipy.sparse.linalg import svds

Matrix = NDArray[np.floating[Any]]
Factors = tuple[Matrix, Matrix, Matrix]
Peer = Callable[[Matrix, int], Factors]

OPTIONAL = ("sklearn.decomposition", "sklearn.utils.extmath", "torch", "dask", "dask.array")
MODULES = {n: importlib.import_module(n) for n in OPTIONAL if importlib.util.find_spec(n.split(".")[0]) is not None}
POWER_ITERATIONS = (0, 1, 2, 3, 4, 7)
OVERSAMPLING = (5, 10, 20)


def peers() -> dict[str, Peer]:
    """Peers with nothing to tune, or as they come."""
    found: dict[str, Peer] = {
        "np.linalg.svd": _numpy,
        "eigh(A.T @ A), three lines": _three_lines,
        "svds, PROPACK": lambda A, k: _scipy_svds(A, k, "propack"),
        "svds, ARPACK": lambda A, k: _scipy_svds(A, k, "arpack"),
    }
    if "sklearn.decomposition" in MODULES:
        found["sklearn PCA, covariance_eigh"] = _sklearn_pca
        found["sklearn randomized_svd, default"] = lambda A, k: _sklearn(A, k, "auto")
        found["sklearn randomized_svd, n_iter=1"] = lambda A, k: _sklearn(A, k, 1)
    if "torch" in MODULES:
        found["torch.linalg.svd"] = _torch_full
        found["torch.svd_lowrank, niter=1"] = lambda A, k: _torch_lowrank(A, k, 1)
        found["torch.svd_lowrank, default"] = lambda A, k: _torch_lowrank(A, k, 2)
    return found


def tunable() -> dict[str, list[tuple[str, Peer]]]:
    """Peers with power iterations q and oversampling p to choose: name -> (setting, peer), cheapest first."""
    kinds: dict[str, Callable[[Matrix, int, int, int], Factors]] = {}
    if "sklearn.utils.extmath" in MODULES:
        kinds["sklearn randomized_svd"] = _sklearn
    if "torch" in MODULES:
        kinds["torch.svd_lowrank"] = _torch_lowrank
    if "dask.array" in MODULES:
        kinds["dask svd_compressed"] = _dask
    return {
        name: [
            (f"q={q} p={p}", lambda A, k, f=peer, q=q, p=p: f(A, k, q, p))
            for q in POWER_ITERATIONS
            for p in OVERSAMPLING
        ]
        for name, peer in kinds.items()
    }


def absent() -> list[str]:
    """Packages whose peers are left out, because they are not installed."""
    return sorted({name.split(".")[0] for name in OPTIONAL} - {name.split(".")[0] for name in MODULES})


def _numpy(A: Matrix, k: int) -> Factors:
    U, s, Vt = np.linalg.svd(A, full_matrices=False)
    return U[:, :k], s[:k], Vt[:k]


def _three_lines(A: Matrix, k: int) -> Factors:
    n = A.shape[1]
    w, V = linalg.eigh(A.T @ A, subset_by_index=[n - k, n - 1])
    s = np.sqrt(np.maximum(w[::-1], 0.0))
    V = V[:, ::-1]
    return A @ (V / s), s, V.T


def _scipy_svds(A: Matrix, k: int, solver: str) -> Factors:
    U, s, Vt = svds(A, k, solver=solver, rng=np.random.default_rng(0))
    return U[:, ::-1], s[::-1], Vt[::-1]


def _sklearn(A: Matrix, k: int, n_iter: int | str, oversampling: int = 10) -> Factors:
    factors: Factors = MODULES["sklearn.utils.extmath"].randomized_svd(
        A, k, n_iter=n_iter, n_oversamples=oversampling, random_state=0
    )
    return factors


def _sklearn_pca(A: Matrix, k: int) -> Factors:
    model = MODULES["sklearn.decomposition"].PCA(k, svd_solver="covariance_eigh")
    scores = model.fit_transform(A)
    return scores / model.singular_values_, model.singular_values_, model.components_


def _torch_full(A: Matrix, k: int) -> Factors:
    torch = MODULES["torch"]
    U, s, Vt = torch.linalg.svd(torch.from_numpy(A), full_matrices=False)
    return U[:, :k].numpy(), s[:k].numpy(), Vt[:k].numpy()


def _torch_lowrank(A: Matrix, k: int, niter: int, oversampling: int = 10) -> Factors:
    torch = MODULES["torch"]
    U, s, V = torch.svd_lowrank(torch.from_numpy(A), q=min(k + oversampling, *A.shape), niter=niter)
    return U[:, :k].numpy(), s[:k].numpy(), V[:, :k].T.numpy()


def _dask(A: Matrix, k: int, n_power_iter: int, oversampling: int) -> Factors:
    array = MODULES["dask.array"]
    chunks = array.from_array(A, chunks=(-(-A.shape[0] // 4), -1), name=False)
    parts = array.linalg.svd_compressed(chunks, k, n_oversamples=oversampling, n_power_iter=n_power_iter, seed=0)
    U, s, Vt = MODULES["dask"].compute(*parts, scheduler="synchronous")
    return U, s, Vt
