"""One block to one container and back: find what is real, keep the promise with the fewest bytes, check it, pack it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.codec import container, kernels, layer_sections, lossless, low_rank, mask, outliers, parts, predicted
from pipeline.codec.bound import Bound
from pipeline.codec.container import Buffer, Header, Kind, MaskKind, Section
from pipeline.codec.fit import Fit, Goal
from pipeline.codec.low_rank import Layer
from pipeline.codec.rate import fit_layer
from pipeline.codec.storable import as_chunk, check_arrays, check_effort, check_storable
from pipeline.errors import FormatError

Block = NDArray[Any]
Bool = NDArray[np.bool_]

# Above this share of the raw bytes a bounded chunk is tried without loss too, and the smaller one kept.
DEAR = 0.5
# And integers where the mean squared error is below twice that of rounding: what no predictor stores, a layer must.
ROUNDED = 1 / 6
# Where it is below this, a glimpse of the block says whether no loss may take less: of smooth fields, or of classes.
FINE = 1.0
# Share of the allowed error from which the trellis is believed to have found its layer.
SPENT = 0.9


class Stored(NamedTuple):
    """One way to store a block: its header, its sections, and Σ (x − decoded)² over the valid elements."""

    header: Header
    sections: dict[Kind, Section]
    error: float = 0.0


def encode(
    block: Block,
    valid: Bool | None,
    bound: Bound,
    *,
    nodata: float | int | None = None,
    effort: str = "fast",
) -> bytes:
    """One container of format version 1 that keeps `bound` over the valid elements of `block`.

    block: (band, y, x), any integer or float32/float64 dtype (64-bit integers: lossless only), at most 2²⁸ elements.
    valid: (y, x) or (band, y, x) bool, or None; NaN and `nodata` in the block are invalid besides.
    The same input gives the same bytes, on one kind of processor and with one number of BLAS threads. Elements that are
    valid never decode to `nodata`.
    Raises BlockError for a block, ConfigError for an option that cannot be served.
    """
    check_effort(effort)
    check_arrays(block, valid)
    check_storable(block.dtype, bound, nodata)
    block = as_chunk(block)
    kind, real = mask.find_valid(block, valid, nodata)
    header = Header(block.shape, block.dtype, bound, mask=kind, nodata=nodata)
    if kind is MaskKind.EMPTY:
        return container.pack(header, {})
    if kind is not MaskKind.NONE:
        block = mask.fill_holes(block, real)
    wide = real.reshape(-1, *block.shape[1:])
    power = kernels.squared_sum(block.reshape(block.shape[0], -1), wide.reshape(wide.shape[0], -1))
    header, sections, error = _smallest(block, wide, header, power, effort)
    figures = (value if math.isfinite(value) else math.nan for value in (_elements(block, wide), power, error))
    sections[Kind.FIGURES] = Section(container.DOUBLES, container.FIGURES.pack(*figures))
    if kind is not MaskKind.NONE:
        sections[Kind.MASK] = Section(mask.PACKED_BITS, mask.pack_mask(real))
    return container.pack(header, sections)


def decode(data: Buffer) -> tuple[Block, Bool]:
    """The block (band, y, x) of a container, in its own dtype, and its valid mask, True = real.

    The mask is (y, x) where it is the same in every band, which is the rule; (band, y, x) where it is not.
    Invalid elements are the container's nodata value, without one NaN (floats) or 0 (integers).
    Raises FormatError.
    """
    header, sections = container.unpack(data)
    packed = sections.get(Kind.MASK)
    if packed is not None and packed.coder != mask.PACKED_BITS:
        raise FormatError(f"chunk holds a mask of coder {packed.coder}; it is damaged or newer")
    real = mask.mask_of(header.mask, None if packed is None else packed.payload, header.shape)
    if header.mask is MaskKind.EMPTY:
        return np.full(header.shape, header.fill), real
    block = _reconstruct(header, sections, real.reshape(-1, *header.shape[1:]))
    if header.mask is not MaskKind.NONE:
        block[~np.broadcast_to(real, block.shape)] = header.fill
    return block, real


def _reconstruct(header: Header, sections: dict[Kind, Section], real: Bool) -> Block:
    """Every element, holes included, as the sections have it; none of them nodata."""
    if Kind.DIRECT in sections:
        return lossless.decode_direct(header, sections[Kind.DIRECT])
    if Kind.PREDICTED in sections:
        return mask.off_nodata(predicted.decode_predicted(header, sections[Kind.PREDICTED], real), header.nodata)
    if header.dtype.kind != "f" and header.dtype.itemsize == 8:
        raise FormatError(f"chunk holds a layer of {header.dtype}, which is stored without loss only; it is damaged")
    if Kind.PARTS in sections:
        if sections.keys() - {Kind.PARTS, Kind.MASK, Kind.FIGURES}:
            raise FormatError("chunk holds parts and other samples beside them; it is damaged")
        return parts.together(header, sections[Kind.PARTS], _layer)
    layer = layer_sections.read_layer(header, sections)
    layered = low_rank.predict(layer, header.dtype, layer.scores.view(np.float32))
    block = lossless.add_residual(layered, header, sections.get(Kind.RESIDUAL))
    listed = sections.get(Kind.OUTLIERS)
    if listed is not None:
        outliers.add_outliers(block, header, listed)
    return mask.off_nodata(block, header.nodata)


def _layer(header: Header, sections: dict[Kind, Section]) -> Block:
    """The block of a container without holes."""
    return _reconstruct(header, sections, np.ones((1, *header.shape[1:]), np.bool_))


def _smallest(block: Block, real: Bool, header: Header, power: float, effort: str) -> Stored:
    """The smallest way known to keep the promise; block without holes, real (1 or band, y, x), power Σ x² over it."""
    bound, stored, exact = header.bound, None, None
    finite = block.dtype.kind != "f" or bool(np.isfinite(block).all())
    if finite and bound.mode == "max_error" and bound.value:
        stored = _bounded(block, real, header, bound.value, effort)
    elif finite and bound.value is not None and bound.mode != "max_error":
        mse = _allowed(block, real, bound, power)
        # Of rounded numbers next to none may be wrong: what that takes is told by storing them without loss.
        exact = _exact(block, real, header, effort) if block.dtype.kind != "f" and mse <= ROUNDED else None
        most = math.inf if exact is None else _nbytes(exact)
        stored = _by_grids(block, real, header, mse, effort) if mse > ROUNDED or block.dtype.kind == "f" else None
        if stored is None or 8 * _nbytes(stored) < parts.FAINT * block.size:
            ways = stored, _averaged(block, real, header, mse, effort, most)
            stored = min((one for one in ways if one is not None), key=_nbytes, default=None)
    if exact is None and stored is not None and (_is_cheap(stored, block, real) or _is_foretold(stored, block)):
        return stored
    exact = exact or _exact(block, real, header, effort)
    return exact if stored is None or _nbytes(exact) < _nbytes(stored) else stored


def _is_cheap(stored: Stored, block: Block, real: Bool) -> bool:
    """Whether nothing is to be gained by storing all of the block (band, y, x) without loss."""
    whole, elements, size = block.dtype.kind != "f", _elements(block, real), _nbytes(stored)
    if stored.error <= (ROUNDED * elements if whole else 0.0) or size > DEAR * block.nbytes:
        return False
    return not whole or stored.error > FINE * elements or size < lossless.direct_cost(block, lossless.GLIMPSE)


def _is_foretold(stored: Stored, block: Block) -> bool:
    """Whether a predictor tells block (band, y, x) for less than its samples: where its tables are most of it, not."""
    return Kind.PREDICTED in stored.sections and _nbytes(stored) <= lossless.direct_cost(block)


def _allowed(block: Block, real: Bool, bound: Bound, power: float) -> float:
    """The mean squared error that a bound on it allows; not a number, 0 or infinite where there is none to speak of."""
    value = np.float64(bound.value)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        return float(power / _elements(block, real) / 10 ** (value / 10) if bound.mode == "snr" else value * value)


def _by_grids(block: Block, real: Bool, header: Header, mse: float, effort: str) -> Stored | None:
    """A layer for each grid that bands were measured on, where pixels were repeated; None where all are of one grid."""
    found = parts.pieces(block, real) if 0 < mse < np.inf else []

    def coded(small: Block, there: Bool, allowed: float, nodata: float | int | None) -> bytes | None:
        inner = Header(small.shape, small.dtype, header.bound, nodata=nodata)
        stored = _averaged(small, there, inner, allowed, effort, math.inf, mse)
        return None if stored is None else container.pack(stored.header, stored.sections)

    made = parts.encode_parts(block, real, mse, header.nodata, found, coded, _layer) if found else None
    if made is None:
        return None
    section, error, rank = made
    return Stored(replace(header, rank=min(rank, math.prod(block.shape[1:]))), {Kind.PARTS: section}, error)


def _averaged(
    block: Block, real: Bool, header: Header, mse: float, effort: str, most: float, whole: float | None = None
) -> Stored | None:
    """The low-rank layer alone, for a bound on the mean squared error, where it takes less than `most` bytes; that of
    the `whole` says what is an outlier of a part."""
    if not 0 < mse < np.inf:
        return None
    goal = Goal(mse, header.nodata, mse if whole is None else whole)
    found = [fit_layer(block, real, goal, effort, most)]
    # Values that jump (maps of classes, single spikes) leave the trellis far below the bound, or without a step at all.
    if effort == "best" and not (found[0] and found[0].error >= SPENT * mse * _elements(block, real)):
        found.append(fit_layer(block, real, goal, most=most))
    stored = [_layered(header, one, block.dtype) for one in found if one is not None]
    return min(stored, key=_nbytes, default=None)


def _layered(header: Header, found: Fit, dtype: np.dtype[Any]) -> Stored:
    """A layer and what is mended on top of it, as they are stored."""
    header, sections = _describe(header, found.layer), layer_sections.sections(found.layer, dtype)
    if found.outliers is not None:
        header = replace(header, residual_step=found.outliers.step)
        sections[Kind.OUTLIERS] = Section(outliers.LISTED, outliers.pack_outliers(found.outliers))
    return Stored(header, sections, found.error)


def _bounded(block: Block, real: Bool, header: Header, max_error: float, effort: str) -> Stored | None:
    """For a bound on every element: what a predictor leaves of integers, else a layer and its residual."""
    whole = block.dtype.kind != "f"
    # A valid element whose reconstruction was nodata moved on by one: leave room for that.
    for bound in (max_error, max_error - 1 if whole else max_error * (1 - 1e-3)):
        if whole and bound < 1:
            return None
        step = lossless.residual_step(block.dtype, bound)
        found = _predicted(block, real, header, step, effort)
        kept = None if found is None else _kept(*found, block, real, max_error)
        if kept is not None:
            return kept
        layered = [_with_residual(block, header, step, share) for share in lossless.BOUNDED_SHARES]
        for stored in sorted((one for one in layered if found is None and one is not None), key=_nbytes):
            kept = _kept(stored, _reconstruct(stored.header, stored.sections, real), block, real, max_error)
            if kept is not None:
                return kept
    return None


def _exact(block: Block, real: Bool, header: Header, effort: str) -> Stored:
    """Without loss: integers up to 32 bits foretold, or the samples, whichever is smaller."""
    found = _predicted(block, real, header, 1.0, effort)
    foretold = None if found is None else found[0]
    if foretold is not None and _nbytes(foretold) <= lossless.direct_cost(block):
        return foretold
    direct = Stored(header, lossless.encode_direct(block))
    return direct if foretold is None or _nbytes(direct) < _nbytes(foretold) else foretold


def _predicted(block: Block, real: Bool, header: Header, step: float, effort: str) -> tuple[Stored, Block] | None:
    """What a predictor leaves, and the block it decodes to; None for a dtype or values that it does not serve."""
    found = predicted.encode_predicted(block, real, int(step), effort) if predicted.serves(block.dtype) else None
    if found is None:
        return None
    stored = Stored(replace(header, residual_step=step), {Kind.PREDICTED: found[0]})
    return stored, mask.off_nodata(found[1], header.nodata)


def _with_residual(block: Block, header: Header, step: float, share: float) -> Stored | None:
    found = lossless.encode_residual(block, step, share)
    return None if found is None else Stored(replace(_describe(header, found[0]), residual_step=step), found[1])


def _describe(header: Header, layer: Layer) -> Header:
    """`header` with what is to be known of the layer."""
    return replace(header, rank=len(layer.exponents), levels=layer.levels, step=layer.step, centroids=layer.centroids)


def _kept(stored: Stored, decoded: Block, block: Block, real: Bool, max_error: float) -> Stored | None:
    """`stored` with its error, if no valid element is off by more than `max_error` as decoded; None if one is."""
    pixels = block.shape[1] * block.shape[2]
    flat = [a.reshape(-1, pixels) for a in (block, decoded, real)]
    if kernels.largest_error(*flat) > max_error:
        return None
    return stored._replace(error=float(kernels.squared_error(*flat)))


def _elements(block: Block, real: Bool) -> int:
    """How many elements of block (band, y, x) are valid, for real (1 or band, y, x)."""
    return int(np.count_nonzero(real) * (block.shape[0] // real.shape[0]))


def _nbytes(stored: Stored) -> int:
    return sum(len(section.payload) for section in stored.sections.values())
