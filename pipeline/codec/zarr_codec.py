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

from pipeline.codec.bound import Bound, Mode
from pipeline.codec.chunk import check_storable, decode, encode
from pipeline.codec.container import read_header
from pipeline.errors import BlockError, ConfigError, FormatError

NAME = "terrasketch.lowrank"


@dataclass(frozen=True)
class LowRankCodec(ArrayBytesCodec):
    """Each chunk one container of docs/format.md, which keeps `bound` over its valid elements.

    The last two axes of the array are y and x; what comes before is merged into bands. A chunk may hold a container
    smaller than itself: the rest reads as the fill value. So a tile at the edge of a scene is stored at its own size,
    and the padding that zarr adds to an edge chunk is cut off before the promise is made.
    bound, value: as `Bound`. nodata: a number, "NaN" or None. effort: as `encode`.
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
        promise = Bound(bound, value)
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
        return cls(**words)

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
        if len(shape) < 2:
            raise BlockError(f"{NAME} needs an array whose last two axes are y and x, got {len(shape)} axis")
        check_storable(dtype.to_native_dtype(), self.promise, self.sentinel, self.effort)

    @property
    def promise(self) -> Bound:
        """The bound, as `encode` takes it."""
        return Bound(self.bound, self.value)

    @property
    def sentinel(self) -> float | int | None:
        """The nodata value, as `encode` takes it."""
        return math.nan if isinstance(self.nodata, str) else self.nodata

    def _encode_sync(self, chunk_array: NDBuffer, chunk_spec: ArraySpec) -> Buffer | None:
        chunk = chunk_array.as_numpy_array()
        block = _unpadded(chunk.reshape(_block_shape(chunk.shape)), _fill(chunk_spec), chunk.ndim <= 3)
        data = encode(block, None, self.promise, nodata=self.sentinel, effort=self.effort)
        return chunk_spec.prototype.buffer.from_bytes(data)

    def _decode_sync(self, chunk_bytes: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        chunk = _padded(chunk_bytes.to_bytes(), chunk_spec)
        return chunk_spec.prototype.nd_buffer.from_numpy_array(chunk)

    async def _encode_single(self, chunk_data: NDBuffer, chunk_spec: ArraySpec) -> Buffer | None:
        return await asyncio.to_thread(self._encode_sync, chunk_data, chunk_spec)

    async def _decode_single(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        return await asyncio.to_thread(self._decode_sync, chunk_data, chunk_spec)


def _unpadded(block: NDArray[Any], fill: Any, bands: bool) -> NDArray[Any]:
    """`block` (band, y, x) without the last columns, rows and (where `bands`) bands that hold nothing but `fill`."""
    real = ~np.isnan(block) if fill != fill else block != fill
    if not real.any():
        return block
    ends = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        ends.append(int(np.flatnonzero(real.any(axis=others))[-1]) + 1 if axis or bands else block.shape[0])
    return block[: ends[0], : ends[1], : ends[2]]


def _padded(data: bytes, spec: ArraySpec) -> NDArray[Any]:
    """The chunk of `spec` in these bytes; beyond a smaller container, the fill value."""
    shape, dtype = tuple(spec.shape), spec.dtype.to_native_dtype()
    room = _block_shape(shape)
    header = read_header(data)
    inside = all(got <= most for got, most in zip(header.shape, room, strict=True))
    if len(shape) > 3:  # merged bands cannot be told apart unless all are there
        inside = inside and header.shape[0] == room[0]
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


def _spelled(nodata: Any) -> float | int | str | None:
    """A nodata value as JSON can hold it."""
    value = nodata.item() if isinstance(nodata, np.generic) else nodata
    if isinstance(value, str) and value.lower() == "nan":
        return "NaN"
    if value is None or (isinstance(value, int | float) and math.isfinite(value)):
        return value
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    raise ConfigError(f'nodata of {NAME} is a finite number, "NaN" or null, got {nodata!r}')
