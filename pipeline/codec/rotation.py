"""A rotation of the planes for each subband, where it pays: what is uncorrelated over a scene is not so in its detail.

Source: the KLT of subbands, docs/algorithms.md, "Compress". Columns are rounded in steps as those of the basis are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.codec import wavelet
from pipeline.codec.basis import bits_of_columns, check_exponents, columns_of, dual_of, exponents_of, quantise_columns
from pipeline.codec.container import Buffer
from pipeline.codec.context import boxes_of
from pipeline.codec.context_coder import encode_integers
from pipeline.codec.context_decoder import decode_integers
from pipeline.errors import FormatError
from pipeline.jit import jit
from pipeline.svd.gram import eigh_descending, gram

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]

CODER = 1  # of this section
# Leading planes that are tried, besides all of them; no more take part, whatever a chunk says.
TRIED = (4, 8, 16, 32, 64)
MOST_PLANES = 256
# Bits that a rotation must win for each that it costs.
WORTH = 1.1
# Of the level: no variance is taken for less.
LEAST = 1e-6


@dataclass(frozen=True, slots=True)
class Rotation:
    """The rotation of one subband."""

    box: int
    """Number of the subband."""
    exponents: NDArray[np.int8]
    """(m,) power of two of the step of each column; m planes take part, the first ones."""
    entries: I32
    """(m, m) columns, as rows, in these steps"""

    @property
    def weights(self) -> F32:
        """(m, m) float32: coefficients of the planes from the rotated ones."""
        return columns_of(self.exponents, self.entries)


def fit_rotations(coefficients: F32, boxes: I64, level: float) -> list[Rotation]:
    """The rotations of coefficients (plane, y, x) that pay where an error of variance `level` is left in each."""
    found: list[Rotation] = []
    if len(coefficients) < 2:
        return found
    for number, (y0, y1, x0, x1) in enumerate(boxes[:, :4]):
        few = coefficients[:MOST_PLANES, y0:y1, x0:x1]
        X = few.reshape(len(few), -1)
        if X.shape[1] < 2:
            continue
        best, most = None, 0.0
        covariance = gram(X.T) / X.shape[1]
        for m in _promising(covariance, X.shape[1], level):
            rotation, won = _rotation(number, covariance[:m, :m], X.shape[1], level)
            if won > most:
                best, most = rotation, won
        if best is not None:
            found.append(best)
    return found


def _promising(covariance: F64, count: int, level: float) -> list[int]:
    """How many leading planes of this covariance, of `count` coefficients each, a rotation may pay for.

    What it wins is told for all of them by one Cholesky factor, as det(1 + C/level) is a product of its squared
    diagonal, block by block; what it costs by the variances as they are, 2 to 15 % too much.
    """
    planes = len(covariance)
    sizes = [*(m for m in TRIED if m < planes), planes]
    scaled = covariance / level
    scaled.flat[:: planes + 1] += 1.0
    variances = np.maximum(np.diag(covariance), LEAST * level)
    try:
        factor = np.diag(np.linalg.cholesky(scaled))
    except np.linalg.LinAlgError:  # a Gram in float32 of what is far above the level
        return sizes
    won = 0.5 * count * np.cumsum(np.log2(np.diag(scaled)) - 2 * np.log2(factor))
    told = []
    for m in sizes:
        exponents = exponents_of(m, variances[:m], level, count)
        spread = np.ldexp(math.sqrt(2 / (math.pi * m)), -exponents.astype(np.int32))
        told.append(float(won[m - 1]) - WORTH * bits_of_columns(spread, m).sum())
    best = int(np.argmax(told))
    return [sizes[best]] if told[best] > 0 else []


def _rotation(number: int, covariance: F64, count: int, level: float) -> tuple[Rotation, float]:
    """The rotation of planes of this covariance, and the bits that it wins for `count` coefficients of each."""
    w, U = eigh_descending(covariance)
    w = np.maximum(w, LEAST * level)
    exponents, entries = quantise_columns(U, w, level, count)
    won = 0.5 * count * float(np.log2(1 + np.diag(covariance) / level).sum() - np.log2(1 + w / level).sum())
    cost = float(bits_of_columns(np.abs(entries).mean(axis=1), len(entries)).sum())
    return Rotation(number, exponents, entries), won - WORTH * cost


def rotate(planes: F32, boxes: I64, rotations: list[Rotation], *, back: bool) -> None:
    """Turn the subbands of planes (plane, y, x) in place; `back` as the decoder does, with the same bits everywhere."""
    for one in rotations:
        matrix = one.weights if back else dual_of(one.weights)
        _turn(planes, boxes[one.box], np.ascontiguousarray(matrix))


def invert(planes: F32, levels: int, rotations: list[Rotation]) -> None:
    """From coefficients (plane, y, x) to planes, in place: turned back, then the wavelet's inverse."""
    if rotations:
        _, height, width = planes.shape
        rotate(planes, boxes_of(height, width, levels), rotations, back=True)
    wavelet.inverse(planes, levels)


def pack_rotations(rotations: list[Rotation], count: int) -> bytes:
    """uint16 planes that take part for each of `count` subbands; exponents; entries under contexts."""
    sizes = np.zeros(count, "<u2")
    for one in rotations:
        sizes[one.box] = len(one.exponents)
    exponents = b"".join(one.exponents.tobytes() for one in rotations)
    return sizes.tobytes() + exponents + encode_integers(_stacked(rotations, int(sizes.max())), 0)


def unpack_rotations(payload: Buffer, count: int, rank: int) -> list[Rotation]:
    """Undo `pack_rotations` for planes of this rank; FormatError where that cannot be."""
    whole = len(payload) >= 2 * count
    sizes = np.frombuffer(payload[: 2 * count], "<u2").astype(np.intp) if whole else np.zeros(count, np.intp)
    total = int(sizes.sum())
    if not total or sizes.max() > min(rank, MOST_PLANES) or len(payload) < 2 * count + total:
        raise FormatError(f"chunk holds rotations of {len(payload)} bytes for rank {rank}; it is damaged")
    exponents = np.frombuffer(payload[2 * count : 2 * count + total], np.int8)
    check_exponents(exponents)
    entries = np.zeros((total, 1, int(sizes.max())), np.int32)
    decode_integers(payload[2 * count + total :], entries, 0)
    ends = np.cumsum(sizes)
    return [
        Rotation(int(box), exponents[end - m : end], np.ascontiguousarray(entries[end - m : end, 0, :m]))
        for box, (m, end) in enumerate(zip(sizes, ends, strict=True))
        if m
    ]


def _stacked(rotations: list[Rotation], width: int) -> I32:
    """(column, 1, width) the entries of all, zeros behind the shorter ones."""
    rows = [np.pad(one.entries, ((0, 0), (0, width - one.entries.shape[1]))) for one in rotations]
    return np.ascontiguousarray(np.concatenate(rows)[:, None], np.int32)


@jit
def _turn(planes: F32, box: I64, weights: F32) -> None:
    """planes[:m] = weights @ planes[:m] within a box, in float32 in the order of the planes."""
    m, x0, x1 = weights.shape[0], box[2], box[3]
    row = np.empty((m, x1 - x0), np.float32)
    for y in range(box[0], box[1]):
        for i in range(m):
            row[i, :] = np.float32(0.0)
            for j in range(m):
                factor, source = weights[i, j], planes[j, y, x0:x1]
                for x in range(x1 - x0):
                    row[i, x] += factor * source[x]
        for i in range(m):
            planes[i, y, x0:x1] = row[i]
