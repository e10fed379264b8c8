"""The low-rank layer as sections of a container, and back. docs/format.md has the bytes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.codec import context_coder, context_decoder, entropy
from pipeline.codec.basis import check_exponents
from pipeline.codec.container import Header, Kind, Section
from pipeline.codec.context import boxes_of
from pipeline.codec.context_models import DEPENDENT, STATES
from pipeline.codec.low_rank import Layer, mean_dtype
from pipeline.codec.rotation import CODER as ROTATIONS
from pipeline.codec.rotation import pack_rotations, unpack_rotations
from pipeline.errors import FormatError

MEAN_F32, MEAN_F64 = 1, 2
# Coders of the basis: steps of powers of two, the entries as bit planes or under contexts.
BASIS_PLANES, BASIS_CONTEXTS = 1, 2


def sections(layer: Layer, dtype: np.dtype[Any]) -> dict[Kind, Section]:
    """The layer's sections."""
    exact = mean_dtype(dtype)
    parts = {Kind.MEAN: Section(MEAN_F32 if exact == "<f4" else MEAN_F64, layer.mean.astype(exact).tobytes())}
    if not len(layer.exponents):
        return parts
    steps, entries = layer.exponents.tobytes(), np.ascontiguousarray(layer.entries[:, None])
    if layer.dependent is None:
        planes = entropy.encode_integers(entries, _whole(1, entries.shape[2]))
        scores = entropy.encode_integers(layer.scores, _boxes(layer))
        parts[Kind.BASIS] = Section(BASIS_PLANES, steps + planes)
        parts[Kind.SCORES] = Section(entropy.BIT_PLANES, scores)
        return parts
    parts[Kind.BASIS] = Section(BASIS_CONTEXTS, steps + context_coder.encode_integers(entries, 0))
    parts[Kind.SCORES] = Section(DEPENDENT, layer.dependent)
    if layer.rotations:
        parts[Kind.ROTATIONS] = Section(ROTATIONS, pack_rotations(layer.rotations, 3 * layer.levels + 1))
    return parts


def read_layer(header: Header, parts: dict[Kind, Section]) -> Layer:
    """Undo `sections`; FormatError where they do not fit the header."""
    height, width = header.shape[1:]
    basis, scores, rank = parts.get(Kind.BASIS), parts.get(Kind.SCORES), header.rank
    if (basis is None or scores is None) if rank else (basis or scores):
        raise FormatError(f"chunk of rank {rank} does not hold the basis and scores to match; it is damaged")
    layer = Layer(
        mean=_read_mean(header, parts.get(Kind.MEAN)),
        exponents=np.zeros(rank, np.int8),
        entries=np.empty((rank, header.shape[0]), np.int32),
        scores=np.empty((rank, height, width), np.int32),
        levels=header.levels,
        step=header.step,
        centroids=header.centroids,
    )
    if basis is None or scores is None:
        return layer
    _read_basis(layer, basis)
    _read_scores(layer, scores)
    turned = parts.get(Kind.ROTATIONS)
    if turned is None:
        return layer
    if turned.coder != ROTATIONS:
        raise FormatError(f"chunk holds rotations of coder {turned.coder}; it is damaged or newer")
    return replace(layer, rotations=unpack_rotations(turned.payload, 3 * layer.levels + 1, rank))


def _read_mean(header: Header, mean: Section | None) -> NDArray[np.float64]:
    if mean is None or mean.coder not in (MEAN_F32, MEAN_F64):
        raise FormatError("chunk holds no mean that this reader knows; it is damaged or newer")
    exact = np.dtype("<f4" if mean.coder == MEAN_F32 else "<f8")
    if len(mean.payload) != header.shape[0] * exact.itemsize:
        raise FormatError(f"chunk holds a mean of {len(mean.payload)} bytes for {header.shape[0]} bands; it is damaged")
    return np.frombuffer(mean.payload, exact).astype(np.float64)


def _read_basis(layer: Layer, basis: Section) -> None:
    rank = len(layer.exponents)
    if basis.coder not in (BASIS_PLANES, BASIS_CONTEXTS) or len(basis.payload) < rank:
        raise FormatError(f"chunk holds a basis of coder {basis.coder}; it is damaged or newer")
    layer.exponents[:] = np.frombuffer(basis.payload, np.int8, rank)
    check_exponents(layer.exponents)
    entries = layer.entries[:, None]
    if basis.coder == BASIS_PLANES:
        entropy.decode_integers(basis.payload[rank:], entries, _whole(1, entries.shape[2]))
    else:
        context_decoder.decode_integers(basis.payload[rank:], entries, 0)


def _read_scores(layer: Layer, scores: Section) -> None:
    if scores.coder == entropy.BIT_PLANES:
        entropy.decode_integers(scores.payload, layer.scores, _boxes(layer))
    elif scores.coder == DEPENDENT:
        context_decoder.decode_integers(scores.payload, layer.scores, layer.levels, STATES)
    else:
        raise FormatError(f"chunk holds scores of coder {scores.coder}; it is damaged or newer")


def _boxes(layer: Layer) -> NDArray[np.int64]:
    """(subband, 4): y0, y1, x0, x1."""
    _, height, width = layer.scores.shape
    return boxes_of(height, width, layer.levels)[:, :4].copy()


def _whole(height: int, width: int) -> NDArray[np.int64]:
    return np.array([[0, height, 0, width]], np.int64)
