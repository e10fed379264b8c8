"""A chunk as the factors that it is stored in, before they are multiplied out: what works on scores starts here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.codec import container, kernels, layer_sections, low_rank, mask, outliers
from pipeline.codec.container import Buffer, Header, Kind, MaskKind, Section
from pipeline.codec.low_rank import Layer, limits_of
from pipeline.errors import FormatError
from pipeline.jit import jit

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
Bool = NDArray[np.bool_]

# Neither multiplied out (lossless, largest error) nor a layer below something else, nor several on grids of their own.
WITHOUT_FACTORS = (Kind.DIRECT, Kind.PREDICTED, Kind.RESIDUAL, Kind.PARTS)
# To see which values are clipped: pixels in a run, and pixels that are multiplied out at once.
RUN, TOGETHER = 32, 2048
# Where a larger share of the elements had to be mended, the factors say too little.
MOST_MENDED = 1 / 64


@dataclass(frozen=True, slots=True, eq=False)
class Factors:
    """block[b] = mean[b] + Σ_j basis[b, j]·scores[j], with `amounts` added to single elements.

    `decode` gives the same with integers rounded (half a unit at most), valid elements moved off the nodata value (by
    one) and invalid ones overwritten. Elements that it clips to its dtype are among those mended here.
    """

    mean: F64
    """(band,) data units"""
    basis: F64
    """(band, rank) data units for each unit of a score"""
    scores: F32
    """(rank, y, x)"""
    valid: Bool
    """(y, x), or (band, y, x) where bands differ"""
    indices: I64
    """(n,) flat index in (band, y, x) of elements to be mended: outliers, and what is clipped; ascending"""
    amounts: F64
    """(n,) data units"""

    def block(self) -> F64:
        """The block (band, y, x), multiplied out, every element, holes included."""
        block: F64 = self.mean[:, None, None] + np.tensordot(self.basis, self.scores.astype(np.float64), 1)
        block.reshape(-1)[self.indices] += self.amounts
        return block

    @property
    def nbytes(self) -> int:
        """Of all arrays."""
        return sum(getattr(self, name).nbytes for name in self.__slots__)


def decode_factors(data: Buffer) -> Factors | None:
    """The factors of a container; None where it holds no low-rank layer, or one that a residual is coded upon.

    None, too, where much of what the layer stands for is clipped, or not finite. A chunk without a valid pixel has
    rank 0. Memory: scores, one word for each. Raises FormatError.
    """
    header, sections = container.unpack(data)
    if any(kind in sections for kind in WITHOUT_FACTORS):
        return None
    packed = sections.get(Kind.MASK)
    if packed is not None and packed.coder != mask.PACKED_BITS:
        raise FormatError(f"chunk holds a mask of coder {packed.coder}; it is damaged or newer")
    valid = mask.mask_of(header.mask, None if packed is None else packed.payload, header.shape)
    if header.mask is MaskKind.EMPTY:
        return _nothing(header, valid)
    if header.dtype.kind != "f" and header.dtype.itemsize == 8:
        raise FormatError(f"chunk holds a layer of {header.dtype}, which is stored without loss only; it is damaged")
    layer = layer_sections.read_layer(header, sections)
    with np.errstate(all="ignore"):  # damaged bytes make anything
        scores = low_rank.score_planes(layer, layer.scores.view(np.float32))
        basis = layer.step * layer.weights.astype(np.float64)
        found = Factors(layer.mean, basis, scores, valid, np.empty(0, np.int64), np.empty(0))
        if not all(np.isfinite(part).all() for part in (layer.mean, basis, scores)):
            return None
        indices, amounts = _mended(found, layer, header, sections.get(Kind.OUTLIERS))
    if len(indices) > MOST_MENDED * np.prod(header.shape):
        return None
    return Factors(layer.mean, basis, scores, valid, indices, amounts)


def factored_rank(header: Header) -> int | None:
    """Rank of the factors in a container with this header; None where it holds none (it may turn out to later)."""
    return None if any(kind in WITHOUT_FACTORS for kind, _, _ in header.sections) else header.rank


def _nothing(header: Header, valid: Bool) -> Factors:
    bands, height, width = header.shape
    scores = np.empty((0, height, width), np.float32)
    return Factors(np.zeros(bands), np.empty((bands, 0)), scores, valid, np.empty(0, np.int64), np.empty(0))


def _mended(factors: Factors, layer: Layer, header: Header, listed: Section | None) -> tuple[I64, F64]:
    """Elements that outliers and clipping change, and by how much in all."""
    limits = limits_of(header.dtype)
    whole = header.dtype.kind != "f" and len(factors.scores)
    indices = _clipped(factors, layer, limits) if whole else np.empty(0, np.int64)
    added = np.zeros(len(indices))
    if listed is not None:
        found = outliers.read_outliers(header, listed)
        both = np.union1d(indices, found.indices)
        indices, added = both, np.zeros(len(both))
        added[np.searchsorted(both, found.indices)] = found.step * found.steps
    rank, pixels = len(factors.scores), int(np.prod(header.shape[1:]))
    band, pixel = np.divmod(indices, pixels)
    columns = factors.scores.reshape(rank, pixels)[:, pixel].astype(np.float64)
    value = factors.mean[band] + np.einsum("ij,ji->i", factors.basis[band], columns)
    return indices, np.clip(np.clip(value, *limits) + added, *limits) - value


def _clipped(factors: Factors, layer: Layer, limits: F64) -> I64:
    """Flat indices of elements of valid pixels that lie outside of the limits by more than rounding.

    Runs of pixels first: what lies in the middle of the scores of a run, and how far it can be from there.
    """
    rank, height, width = factors.scores.shape
    pixels = height * width
    planes = factors.scores.reshape(rank, pixels)
    # In steps from the mean: what still rounds to the limits.
    low, high = (
        ((limit + margin - factors.mean) / layer.step).astype(np.float32)
        for limit, margin in zip(limits, (-0.5, 0.5), strict=True)
    )
    valid = factors.valid.reshape(-1, pixels).any(axis=0)
    near = np.flatnonzero(np.repeat(_doubtful(planes, layer.weights, low, high), RUN)[:pixels] & valid)
    found = []
    for first in range(0, len(near), TOGETHER):
        some = near[first : first + TOGETHER]
        values = np.empty((len(low), len(some)), np.float32)
        kernels.combine(layer.weights, np.ascontiguousarray(planes[:, some]), values)
        band, place = np.nonzero((values < low[:, None]) | (values > high[:, None]))
        found.append(band * pixels + some[place])
    return np.sort(np.concatenate(found)) if found else np.empty(0, np.int64)


def _doubtful(planes: F32, weights: F32, low: F32, high: F32) -> Bool:
    """(run,) whether a run of pixels may hold a weighted sum of planes (rank, pixel) beyond low or high (band,)."""
    runs = -(-planes.shape[1] // RUN)
    middle, reach = np.empty((2, len(planes), runs), np.float32)
    _spans(planes, middle, reach)
    middle, reach = weights @ middle, np.abs(weights) @ reach
    doubtful: Bool = ((middle - reach < low[:, None]) | (middle + reach > high[:, None])).any(axis=0)
    return doubtful


@jit
def _spans(planes: F32, middle: F32, reach: F32) -> None:
    """Middle of each run of each plane (rank, pixel), and how far its values are from there, with room for rounding."""
    for j in range(planes.shape[0]):
        for run in range(middle.shape[1]):
            part = planes[j, run * RUN : (run + 1) * RUN]
            least = most = part[0]
            for i in range(part.shape[0]):
                least, most = min(least, part[i]), max(most, part[i])
            middle[j, run] = np.float32(0.5) * (least + most)
            reach[j, run] = np.float32(0.5) * (most - least) + np.float32(1e-4) * max(abs(least), abs(most))
