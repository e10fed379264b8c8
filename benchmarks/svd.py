"""SVDs side by side: ours and every peer on the same matrices, one thread, in turn, CPU time and error.

A peer counts as the best only if it meets the gate: a Frobenius error within 1 % of that of the best approximation of
the same rank.
"""

from __future__ import annotations

import time
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from benchmarks.svd_cases import Case, Matrix, cases
from benchmarks.svd_peers import MODULES, Factors, Peer, absent, peers, tunable
from benchmarks.tables import print_table
from pipeline.svd import svd

GATE = 1e-2
ROUNDS = 7
# Seconds from which a rival runs in so many rounds only.
SLOW = {0.7: 2, 4.0: 1}
OURS = "terrasketch"


def main(smoke: bool) -> None:
    """One table: case, rival, CPU milliseconds, how many times ours, and the error beyond the best."""
    if "torch" in MODULES:
        MODULES["torch"].set_num_threads(1)
    for package in absent():
        print(f"Left out, not installed: {package}")
    head = ["matrix", "shape, dtype, rank", "by", "CPU ms", "times ours", "excess error"]
    print_table(head, [])
    with threadpool_limits(1):
        for case in cases(smoke):
            for row in measured(case, 1 if smoke else ROUNDS):
                print("| " + " | ".join(row) + " |", flush=True)


def measured(case: Case, rounds: int) -> list[list[str]]:
    """Rows of one case: ours first, then the peers from the quickest, those past the gate last."""
    floor = best_error(case.A, case.rank)

    def excess(factors: Factors) -> float:
        return error(case.A, factors) / floor - 1.0

    rivals: dict[str, Peer] = {OURS: svd, **peers(), **tuned(case, excess)}
    errors = {name: excess(rival(case.A, case.rank)) for name, rival in rivals.items()}
    times = in_turn(rivals, case, rounds)
    ours = times[OURS]
    shape = f"{case.A.shape[0]} x {case.A.shape[1]} {case.A.dtype}, {case.rank}"
    order = sorted(rivals, key=lambda name: (name != OURS, errors[name] > GATE, times[name]))
    return [
        [case.name, shape, name, f"{1e3 * times[name]:.3g}", f"{times[name] / ours:.2f}", shown(errors[name])]
        for name in order
    ]


def shown(excess: float) -> str:
    """An excess error for a table; rounding makes some a little less than none."""
    return f"{max(excess, 0.0):.1e}" + (" (misses)" if excess > GATE else "")


def tuned(case: Case, excess: Any) -> dict[str, Peer]:
    """Of each tunable peer the first setting, from the cheapest, that meets the gate, if there is one."""
    found: dict[str, Peer] = {}
    for name, settings in tunable().items():
        for setting, peer in settings:
            try:
                missed = excess(peer(case.A, case.rank))
            except np.linalg.LinAlgError:  # dask's own, at low settings, on patches
                continue
            if missed <= GATE:
                found[f"{name}, {setting}"] = peer
                break
    return found


def in_turn(rivals: dict[str, Peer], case: Case, rounds: int) -> dict[str, float]:
    """Median CPU seconds of each, A B C A B C ...; slow ones sit out the later rounds."""
    times: dict[str, list[float]] = {name: [] for name in rivals}
    for turn in range(rounds):
        for name, rival in rivals.items():
            if any(turn >= most and median(times[name]) > seconds for seconds, most in SLOW.items()):
                continue
            start = time.process_time()
            rival(case.A, case.rank)
            times[name].append(time.process_time() - start)
    return {name: median(spent) for name, spent in times.items()}


def best_error(A: Matrix, rank: int) -> float:
    """Frobenius error of the best approximation of this rank: the tail of the float64 Gram's spectrum."""
    small = A if A.shape[0] >= A.shape[1] else A.T
    G: NDArray[np.float64] = np.zeros((small.shape[1], small.shape[1]))
    for start in range(0, len(small), 16384):
        panel = small[start : start + 16384].astype(np.float64)
        G += panel.T @ panel
    return float(np.sqrt(np.linalg.eigvalsh(G)[:-rank].sum()))


def error(A: Matrix, factors: Factors) -> float:
    """‖A − UsVᵀ‖ in float64, panel by panel."""
    U, s, Vt = (np.asarray(part, np.float64) for part in factors)
    total = 0.0
    for start in range(0, len(A), 16384):
        rows = slice(start, start + 16384)
        total += float(np.square(A[rows] - (U[rows] * s) @ Vt).sum())
    return float(np.sqrt(total))
