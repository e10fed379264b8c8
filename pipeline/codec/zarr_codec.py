"""The Zarr v3 codec `terrasketch.lowrank`: chunks of an array as containers (zarr.abc.codec.ArrayBytesCodec).

Zarr finds it by the entry point of this package, so whoever has the package installed reads our stores.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from zarr.abc.codec import ArrayBytesCodec
from zarr.core.array_spec import ArraySpec
from zarr.core.buffer import Buffer, NDBuffer
from zarr.core.chunk_grids import ChunkGrid
from zarr.core.common import JSON, parse_named_configuration
from zarr.core.dtype.wrapper import TBaseDType, TBaseScalar, ZDType

from pipeline.codec import mask
from pipeline.codec.bound import Bound, Mode
from pipeline.codec.chunk import decode, encode
from pipeline.codec.container import MAX_BANDS, MAX_ELEMENTS, read_header
from pipeline.codec.storable import EFFORTS, check_effort, check_storable
from pipeline.errors import BlockError, ConfigError, FormatError

NAME = "terrasketch.lowrank"
SNR = 40.0
"""Decibels that are kept where no number is given."""
_SPELLINGS = {"nan": "NaN", "infinity": "Infinity", "-infinity": "-Infinity"}
"""Of numbers that JSON has not, as Zarr spells fill values."""


@dataclass(frozen=True)
class LowRankCodec(ArrayBytesCodec):
    """Each chunk one container of docs/format.md, which keeps `bound` over its valid elements.

    The last two axes of the array are y and x; what comes before is merged into bands. A chunk may hold a container
    smaller than itself: the rest reads as the fill value. So a tile at the edge of a scene is stored at its own size,
    and the padding that zarr adds to an edge chunk is cut off before the promise is made.

    The codec sees numbers as they are stored: of packed values the bound is in units of the packed ones, and of missing
    values it knows what it is told here, not `_FillValue`. `pipeline.zarr_encoding` tells it.

    bound, value: as `Bound`; 40 dB where nothing is said.
    nodata: a number, "NaN", "Infinity" or "-Infinity": elements that equal it are missing and come back as it. None:
        under a lossy bound the array's fill value, unless that is 0. NaN is missing in any case, and comes back as
        `nodata` where one is given: with nodata=-9999 floats lose the difference of NaN and -9999, without loss too.
    effort: as `encode`; of a store that is read, any word.

    Each chunk is coded as a whole: who writes a part of a chunk, or what was decoded before, loses the bound once more.
    """

    is_fixed_size = False

    bound: Mode
    value: float | None
    nodata: float | int | str | None
    effort: str

    def __init__(
        self,
        *,
        bound: Mode = "snr",
        value: float | None = None,
        nodata: float | int | str | None = None,
        effort: str = "fast",
    ) -> None:
        check_effort(effort)
        promise = Bound(bound, SNR if bound == "snr" and value is None else value)
        object.__setattr__(self, "bound", promise.mode)
        object.__setattr__(self, "value", promise.value)
        object.__setattr__(self, "nodata", _spelled(nodata))
        object.__setattr__(self, "effort", effort)

    @classmethod
    def from_dict(cls, data: dict[str, JSON]) -> Self:
        """The codec of a `zarr.json`; ConfigError where its configuration has unknown words."""
        _, configuration = parse_named_configuration(data, NAME, require_configuration=False)
        known = {"bound", "value", "nodata", "effort"}
        words: dict[str, Any] = dict(configuration or {})
        if words.keys() - known:
            raise ConfigError(f"{NAME} knows {sorted(known)}, got {sorted(words.keys() - known)} besides")
        effort = words.pop("effort", EFFORTS[0])
        codec = cls(**words)
        # To decode, an effort of a later version need not be known; `encode` refuses it.
        object.__setattr__(codec, "effort", str(effort))
        return codec

    def to_dict(self) -> dict[str, JSON]:
        """The codec as `zarr.json` has it."""
        configuration: dict[str, JSON] = {"bound": self.bound}
        configuration |= {"value": self.value, "nodata": self.nodata, "effort": self.effort}
        return {"name": NAME, "configuration": configuration}

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: ArraySpec) -> int:
        """Not known before encoding: NotImplementedError, as zarr asks for."""
        raise NotImplementedError(f"{NAME} writes chunks of varying size")

    def validate(
        self, *, shape: tuple[int, ...], dtype: ZDType[TBaseDType, TBaseScalar], chunk_grid: ChunkGrid
    ) -> None:
        """BlockError or ConfigError where an array of this shape and dtype cannot be stored with this promise."""
        self._check_axes(len(shape))
        self.check(dtype.to_native_dtype())
        chunks = tuple(map(min, getattr(chunk_grid, "chunk_shape", ()), shape))  # none of an irregular grid
        if math.prod(chunks) > MAX_ELEMENTS or math.prod(chunks[:-2]) > MAX_BANDS:
            raise BlockError(
                f"a chunk of {NAME} holds at most {MAX_ELEMENTS} elements and {MAX_BANDS} bands, got {chunks}; "
                "make them smaller"
            )

    def evolve_from_array_spec(self, array_spec: ArraySpec) -> Self:
        """Itself; BlockError or ConfigError as `validate`, which zarr does not call inside of shards."""
        self._check_axes(len(array_spec.shape))
        self.check(array_spec.dtype.to_native_dtype())
        return self

    def check(self, dtype: np.dtype[Any]) -> None:
        """BlockError or ConfigError where arrays of this dtype cannot be stored with this promise."""
        check_storable(dtype, self.promise, self.sentinel)

    def _check_axes(self, axes: int) -> None:
        if axes < 2:
            raise BlockError(
                f"{NAME} needs an array whose last two axes are y and x, got {axes} axes; "
                "of what xarray opened, drop_encoding() lets go of this codec"
            )

    @property
    def promise(self) -> Bound:
        """The bound, as `encode` takes it."""
        return Bound(self.bound, self.value)

    @property
    def sentinel(self) -> float | int | None:
        """The nodata value, as `encode` takes it."""
        return float(self.nodata) if isinstance(self.nodata, str) else self.nodata

    def _encode_sync(self, chunk_array: NDBuffer, chunk_spec: ArraySpec) -> Buffer | None:
        chunk, fill = chunk_array.as_numpy_array(), _fill(chunk_spec)
        nodata = self._missing(fill)
        block, planes = _unpadded(chunk, fill)
        promise = self.promise if planes.all() else _promise_of(planes, self.promise, block, nodata)
        data = encode(block, None, promise, nodata=nodata, effort=self.effort)
        return chunk_spec.prototype.buffer.from_bytes(data)

    def _missing(self, fill: Any) -> float | int | None:
        """The nodata value, or in its place the fill value of an array whose elements are not all kept exactly."""
        if self.nodata is not None or self.bound == "lossless" or fill != fill or not fill:
            return self.sentinel
        number: float | int = fill.item()
        return number

    def _decode_sync(self, chunk_bytes: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        chunk = _padded(chunk_bytes.to_bytes(), chunk_spec)
        return chunk_spec.prototype.nd_buffer.from_numpy_array(chunk)

    async def _encode_single(self, chunk_data: NDBuffer, chunk_spec: ArraySpec) -> Buffer | None:
        return await asyncio.to_thread(self._encode_sync, chunk_data, chunk_spec)

    async def _decode_single(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        return await asyncio.to_thread(self._decode_sync, chunk_data, chunk_spec)


def _unpadded(chunk: NDArray[Any], fill: Any) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """The block (band, y, x) of a chunk without what its end is padded with, and which of its bands are no padding.

    Cut off are the last columns, rows and steps of the outermost axis that hold nothing but `fill`. Padding of the axes
    between, which are merged with it, stays in the block.
    """
    block = chunk.reshape(_block_shape(chunk.shape))
    real = ~np.isnan(block) if fill != fill else block != fill
    if block.dtype.kind == "f" and fill == 0:
        real |= np.signbit(block) != np.signbit(fill)
    if not real.any():
        return block, np.ones(len(block), bool)
    held_along = [real.any(axis=others) for others in ((1, 2), (0, 2), (0, 1))]
    ends = [int(np.flatnonzero(held)[-1]) + 1 for held in held_along]
    inner = _inner(chunk.shape)
    steps = -(-ends[0] // math.prod(inner))
    planes = np.ones((steps, *inner), bool)
    held = held_along[0][: planes.size].reshape(planes.shape)
    for axis in range(1, planes.ndim):
        last = np.flatnonzero(np.moveaxis(held, axis, 0).reshape(inner[axis - 1], -1).any(axis=1))[-1]
        np.moveaxis(planes, axis, 0)[last + 1 :] = False
    return block[: planes.size, : ends[1], : ends[2]], planes.reshape(-1)


def _promise_of(planes: NDArray[np.bool_], bound: Bound, block: NDArray[Any], nodata: float | int | None) -> Bound:
    """A bound over block (band, y, x) that, whatever lies in the other ones, keeps `bound` over the bands `planes`."""
    _, valid = mask.find_valid(block, None, nodata)
    valid = np.broadcast_to(valid, block.shape)
    if bound.value is None or bound.mode == "max_error" or not valid[~planes].any():
        return bound
    if bound.mode == "rmse":
        return Bound("rmse", bound.value * math.sqrt(valid[planes].sum() / valid.sum()))
    with np.errstate(all="ignore"):
        squares = np.where(valid, block, 0).astype(np.float64) ** 2
        louder = 10 * np.log10(squares.sum() / squares[planes].sum())
    return Bound("snr", bound.value + louder) if np.isfinite(louder) else Bound("lossless")


def _padded(data: bytes, spec: ArraySpec) -> NDArray[Any]:
    """The chunk of `spec` in these bytes; beyond a smaller container, the fill value."""
    shape, dtype = tuple(spec.shape), spec.dtype.to_native_dtype()
    room = _block_shape(shape)
    header = read_header(data)
    inside = all(got <= most for got, most in zip(header.shape, room, strict=True))
    if len(shape) > 3:  # merged bands cannot be told apart unless steps of the outermost axis are whole
        inside = inside and header.shape[0] % math.prod(_inner(shape)) == 0
    if header.dtype != dtype.newbyteorder("=") or not inside:
        raise FormatError(
            f"chunk holds a block of {header.shape} {header.dtype} where the array's chunks are {shape} {dtype}"
        )
    block, _ = decode(data)
    if header.shape == room:
        return block.reshape(shape).astype(dtype, copy=False)
    padded = np.full(room, _fill(spec), dtype)
    padded[tuple(slice(size) for size in header.shape)] = block
    return padded.reshape(shape)


def _fill(spec: ArraySpec) -> Any:
    return spec.dtype.default_scalar() if spec.fill_value is None else spec.fill_value


def _block_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """(band, y, x) of a chunk: leading axes merged, none of them one band."""
    return math.prod(shape[:-2]), shape[-2], shape[-1]


def _inner(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The axes of a chunk between the outermost that is longer than 1, and y."""
    return tuple(size for size in shape[:-2] if size > 1)[1:]


def _spelled(nodata: Any) -> float | int | str | None:
    """A nodata value as JSON can hold it."""
    value = nodata.item() if hasattr(nodata, "item") and not getattr(nodata, "shape", ()) else nodata
    if isinstance(value, float) and not math.isfinite(value):
        value = "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, str) and value.lower() in _SPELLINGS:
        return _SPELLINGS[value.lower()]
    truth = isinstance(value, bool)  # which Python counts as a number
    if value is None or isinstance(value, float) or (isinstance(value, int) and abs(value) < 1 << 64 and not truth):
        return value
    raise ConfigError(f'nodata of {NAME} is a number, "NaN", "Infinity", "-Infinity" or null, got {nodata!r}')
