"""The codecs to beat, each at its best settings within reason; all but ours come from `imagecodecs`.

A rival takes a block (band, y, x) of integers and a bound and gives what it made of it, or None where it has no way to
keep such a bound. What is searched: the step, until the true error after rounding is just within the bound, and how
the bands are laid out. SNR counts over all elements, so one step or one slope for all bands is best for a rival: none
of them is held to the same SNR in every band.

PCA + JPEG 2000: Du, Fowler (2007). JPEG XL: ISO 18181, libjxl. JPEG-LS: ISO 14495. SZ3: Liang et al. (2023).
LERC: Esri. ZFP: Lindstrom (2014).
"""

from __future__ import annotations

import importlib
import importlib.util
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.codec_search import ROUGH, Block, Coded, allowed_error, coarsest, fewest, keeps, rounded, squared_error
from benchmarks.codec_wavelet import encode_components, klt_wavelet, plain_wavelet
from pipeline.codec import Bound

Rival = Callable[[Block, Bound], Coded | None]

ic: Any = importlib.import_module("imagecodecs") if importlib.util.find_spec("imagecodecs") else None

# Lossy JPEG XL at effort 9 saves about 1 % of effort 7 and takes 28 times as long.
LOSSY_EFFORT = 7
LOSSLESS_EFFORTS = (7, 9)
GROUPS = (1, 3, 4)
DISTANCES = (math.log2(0.01), math.log2(25.0))
# Values of a band from 0 to its largest, or its range on the upper half: libjxl takes them for light as the eye has it.
FLOORS = (0.0, 0.5)


def rivals() -> tuple[dict[str, Rival], list[str]]:
    """Those that are installed, and the names of the rest."""
    known: dict[str, tuple[str, Rival]] = {
        "PCA + JPEG 2000": ("JPEG2K", lambda block, bound: klt_wavelet(ic, block, bound)),
        "JPEG 2000": ("JPEG2K", jpeg_2000),
        "JPEG XL": ("JPEGXL", jpeg_xl),
        "JPEG-LS": ("JPEGLS", jpeg_ls),
        "SZ3": ("SZ3", lambda block, bound: numeric(block, bound, Numeric(_sz3_encode, _sz3_decode))),
        "LERC": ("LERC", lambda block, bound: numeric(block, bound, Numeric(_lerc_encode, _lerc_decode))),
        "ZFP": ("ZFP", lambda block, bound: numeric(block, bound, Numeric(_zfp_encode, _zfp_decode, 2.0))),
    }
    there = {n: r for n, (unit, r) in known.items() if ic is not None and getattr(ic, unit).available}
    return there, [name for name in known if name not in there]


def jpeg_2000(block: Block, bound: Bound) -> Coded | None:
    """Every band by itself, one slope for all; without loss by the 5/3 wavelet, off by at most one as thirds."""
    if bound.mode == "snr":
        return plain_wavelet(ic, block, bound)

    def encode() -> bytes:
        return encode_components(ic, thirds(block, bound), reversible=True)

    data = encode()

    def decode() -> Block:
        planes = ic.jpeg2k_decode(data, numthreads=1).reshape(*block.shape[1:], -1).transpose(2, 0, 1)
        return whole(planes, block, bound)

    return Coded(len(data), decode(), "5/3", encode, decode)


def jpeg_ls(block: Block, bound: Bound) -> Coded | None:
    """Every band by itself, near-lossless as the standard has it."""
    if bound.mode == "snr":
        return None

    def encode() -> list[bytes]:
        return [ic.jpegls_encode(band, int(bound.value or 0)) for band in block]

    data = encode()

    def decode() -> Block:
        return np.stack([ic.jpegls_decode(one) for one in data])

    return Coded(sum(map(len, data)), decode(), f"near {int(bound.value or 0)}", encode, decode)


def thirds(block: Block, bound: Bound) -> Block:
    """Every value by the middle of 2e + 1 values: `block` itself for e = 0."""
    error = int(bound.value or 0)
    return block if not error else ((block.astype(np.int64) + error) // (2 * error + 1)).astype(block.dtype)


def whole(indices: Block, like: Block, bound: Bound) -> Block:
    """Back from `thirds`."""
    return rounded(indices.astype(np.float64) * (2 * int(bound.value or 0) + 1), like)


def jpeg_xl(block: Block, bound: Bound) -> Coded | None:
    """With loss band by band; without, bands one by one or in groups, off by at most one as thirds."""
    if bound.mode == "snr":
        return xl_lossy(block, bound)
    quick, thorough = LOSSLESS_EFFORTS
    tried = {size: xl_exact(block, bound, quick, size) for size in GROUPS}
    size = min(tried, key=lambda size: tried[size].nbytes)
    return fewest([tried[size], xl_exact(block, bound, thorough, size)])


def xl_exact(block: Block, bound: Bound, effort: int, size: int) -> Coded:
    """The modular coder on groups of `size` neighbouring bands."""

    def encode() -> list[bytes]:
        small = thirds(block, bound)
        groups = (np.ascontiguousarray(small[at : at + size].transpose(1, 2, 0)) for at in range(0, len(small), size))
        return [ic.jpegxl_encode(group, lossless=True, effort=effort, numthreads=1) for group in groups]

    data = encode()

    def decode() -> Block:
        groups = [ic.jpegxl_decode(one, numthreads=1).reshape(*block.shape[1:], -1) for one in data]
        return whole(np.concatenate(groups, axis=2).transpose(2, 0, 1), block, bound)

    return Coded(sum(map(len, data)), decode(), f"effort {effort}, bands by {size}", encode, decode)


def xl_lossy(block: Block, bound: Bound) -> Coded | None:
    """The same error in every band; what a flat band cannot spend goes to those with more in them."""
    budget = allowed_error(block, bound) * len(block)
    found: dict[int, Coded] = {}
    starts = dict.fromkeys(FLOORS, math.log2(0.3))
    for left, index in enumerate(np.argsort(block.reshape(len(block), -1).var(axis=1))):
        share = budget / (len(block) - left)
        tried = {floor: _xl_band(block[index], floor, share, starts[floor]) for floor in FLOORS}
        starts |= {floor: one.step for floor, one in tried.items() if one is not None}
        best = fewest([one for one in tried.values() if one is not None])
        if best is None:
            return None
        found[int(index)] = best
        budget -= squared_error(block[index], best.decoded)
    bands = [found[index] for index in range(len(block))]
    return Coded(
        sum(band.nbytes for band in bands),
        np.stack([band.decoded for band in bands]),
        f"effort {LOSSY_EFFORT}",
        lambda: [band.encode() for band in bands],
        lambda: np.stack([band.decode() for band in bands]),
    )


def _xl_band(band: Block, floor: float, allowed: float, start: float) -> Coded | None:
    """One band (y, x) as grey of 32 bits, scaled; its range is charged. start: log2 of a distance."""
    low = float(band.min()) if floor else 0.0
    scale = (1 - floor) / max(float(band.max()) - low, 1.0)

    def attempt(step: float) -> Coded:
        def encode() -> bytes:
            grey = ((band - low) * scale + floor).astype(np.float32)
            return ic.jpegxl_encode(grey, lossless=False, distance=2.0**step, effort=LOSSY_EFFORT, numthreads=1)

        data = encode()

        def decode() -> Block:
            return rounded((ic.jpegxl_decode(data, numthreads=1).astype(np.float64) - floor) / scale + low, band)

        return Coded(len(data) + 8, decode(), f"distance {2**step:.3g}", encode, decode, step)

    return coarsest(attempt, band, allowed, start, DISTANCES, ROUGH)


class Numeric(NamedTuple):
    """A codec of floats with a bound on every error."""

    encode: Callable[[NDArray[np.float32], float], bytes]
    """Of values and tolerance."""
    decode: Callable[[bytes, tuple[int, ...]], NDArray[np.float32]]
    loose: float = 0.0
    """Octaves up to which more than the tolerance needed is tried, for a codec whose errors stay far below it."""


def numeric(block: Block, bound: Bound, codec: Numeric) -> Coded | None:
    """The layout that is smallest at a first guess, then the tolerance."""
    if bound.mode == "snr":
        allowed = allowed_error(block, bound)
        start = math.log2(math.sqrt(3 * allowed))
        first = fewest([_laid_out(block, codec, layout, start) for layout in LAYOUTS])
        assert first is not None
        layout = first.setting.split(",")[0]
        return coarsest(lambda step: _laid_out(block, codec, layout, step), block, allowed, start, (-10.0, 20.0))
    # Just below half more than what is allowed: rounding takes it back.
    start = math.log2((bound.value or 0) + 0.49)
    best = fewest([_laid_out(block, codec, layout, start) for layout in LAYOUTS])
    assert best is not None
    layout = best.setting.split(",")[0]
    steps = start + np.arange(0.0, codec.loose + 0.01, 0.25)
    tried = [_laid_out(block, codec, layout, float(step)) for step in steps]
    return fewest([one for one in tried if keeps(block, one.decoded, bound)])


LAYOUTS = ("cube", "pixels", "tall", "planes")


def _arrays(block: Block, layout: str) -> Iterator[NDArray[np.float32]]:
    """Band by y by x; y by x by band; bands below one another; each band by itself."""
    values = block.astype(np.float32)
    if layout == "cube":
        yield values
    elif layout == "pixels":
        yield np.ascontiguousarray(values.transpose(1, 2, 0))
    elif layout == "tall":
        yield values.reshape(-1, block.shape[2])
    else:
        yield from values


def _laid_out(block: Block, codec: Numeric, layout: str, step: float) -> Coded:
    def encode() -> list[bytes]:
        return [codec.encode(values, 2.0**step) for values in _arrays(block, layout)]

    data = encode()
    bands, height, width = block.shape
    one = {"cube": block.shape, "pixels": (height, width, bands), "tall": (bands * height, width)}
    shape = one.get(layout, (height, width))

    def decode() -> Block:
        values = np.stack([codec.decode(part, shape) for part in data])
        values = values.reshape(one["pixels"]).transpose(2, 0, 1) if layout == "pixels" else values
        return rounded(values.reshape(block.shape), block)

    return Coded(sum(map(len, data)), decode(), f"{layout}, tolerance {2**step:.3g}", encode, decode)


def _sz3_encode(values: NDArray[np.float32], tolerance: float) -> bytes:
    return ic.sz3_encode(values, "abs", abs=tolerance)


def _sz3_decode(data: bytes, shape: tuple[int, ...]) -> NDArray[np.float32]:
    return ic.sz3_decode(data, shape, np.float32)


def _lerc_encode(values: NDArray[np.float32], tolerance: float) -> bytes:
    """With zstd on top or without, whichever is smaller."""
    planar = values.ndim == 3 and values.shape[0] < values.shape[2]
    both = (ic.lerc_encode(values, tolerance, planar=planar, compression=packer) for packer in (None, "zstd"))
    return min(both, key=len)


def _lerc_decode(data: bytes, shape: tuple[int, ...]) -> NDArray[np.float32]:
    return ic.lerc_decode(data).reshape(shape)


def _zfp_encode(values: NDArray[np.float32], tolerance: float) -> bytes:
    """Its tolerances are powers of two: values are scaled so that every tolerance is one; the scale is charged."""
    power = math.ceil(math.log2(tolerance))
    scale = np.float32(2.0**power / tolerance)
    return scale.tobytes() + ic.zfp_encode(values * scale, 2.0**power * 1.0001, mode="a", numthreads=1)


def _zfp_decode(data: bytes, shape: tuple[int, ...]) -> NDArray[np.float32]:
    return ic.zfp_decode(data[4:], numthreads=1).reshape(shape) / np.frombuffer(data[:4], np.float32)
