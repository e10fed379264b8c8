"""A layer straight from the factors of a chunk, beside decoding it and convolving its bands; CPU time, one thread.

    python -m benchmarks factors

`layer`: folding and convolution of the scores against the best peer's convolution of the z-scored bands, both in
memory. `with decoding`: from the chunk's bytes in both cases, z-scoring counted. `features`: the product's two ways, a
tile with its eight neighbours, both signs, pooled; the neighbours' chunks are decoded before the clock starts.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from benchmarks import convolution_peers
from benchmarks.scene import FULL
from benchmarks.tables import interleaved, print_table
from pipeline.codec import Bound, Factors, decode, decode_factors, encode
from pipeline.flow.read import open_scene
from pipeline.gemm import conv2d
from pipeline.grid import Grid, Halo, Window
from pipeline.network import Bank, Mosaic, Piece, features_block, features_mosaic
from pipeline.network.fold import Folder

F32 = NDArray[np.float32]
PINES = FULL.with_name("aviris_indian_pines_200band_20m.tif")
FILTERS, SIZE, POOL = 64, 3, 9
Work = Callable[[], Any]


def main(smoke: bool) -> None:
    """A scene of rank 12 and Indian Pines, as one chunk each."""
    side = 48 if smoke else 512
    if absent := convolution_peers.absent():
        print(f"not installed, left out: {', '.join(absent)}\n")
    cases = {f"synthetic, {snr:.0f} dB": (_synthetic(side), snr) for snr in (40.0,)}
    if PINES.is_file() and not smoke:
        cases |= {f"Indian Pines, reflected, {snr:.0f} dB": (_pines(side), snr) for snr in (30.0, 35.0)}
    rows = [_layer(name, block, snr, 1 if smoke else 7) for name, (block, snr) in cases.items()]
    head = ["chunk", "rank", "mended", "peer", "its ms", "ours, ms", "layer", "its decode", "ours", "with decoding"]
    print_table([*head, "error / std"], rows)
    print()
    name, (block, snr) = next(iter(cases.items()))
    rows = _features(name, block, snr, smoke)
    print_table(["chunk", "every", "from pixels, ms", "from factors, ms", "times", "largest difference / std"], rows)


def _layer(name: str, block: NDArray[Any], snr: float, repeats: int) -> list[object]:
    """One layer of 3 x 3 filters with ReLU: ours over factors, the peers over bands."""
    data, bank = encode(block, None, Bound("snr", snr)), _bank(block)
    factors = decode_factors(data)
    assert factors is not None
    z = _scored(decode(data)[0], bank)
    works: dict[str, Work] = {
        "ours": lambda: _convolved(factors, bank),
        "ours, whole": lambda: _convolved(_factors(data), bank),
        "decode": lambda: _scored(decode(data)[0], bank),
        "our conv2d": lambda: conv2d(z, bank.filters, bank.bias, padding=SIZE // 2, relu=True),
    } | convolution_peers.peers(z, bank.filters, bank.bias, 1)
    spent = dict(zip(works, interleaved(list(works.values()), repeats), strict=True))
    peers = [peer for peer in works if peer not in ("ours", "ours, whole", "decode", "our conv2d")]
    best = min(peers or ["our conv2d"], key=spent.__getitem__)
    unrounded = _scored(factors.block(), bank)
    wanted = conv2d(unrounded, bank.filters, bank.bias)
    error = np.abs(_convolved(factors, bank)[:, 1:-1, 1:-1] - np.maximum(wanted, 0))
    # Single elements are mended where features are made: rows that see some say nothing here.
    clean = np.delete(error, _mended_rows(factors), axis=1)
    return [
        name,
        len(factors.scores),
        len(factors.indices),
        best,
        1e3 * spent[best],
        1e3 * spent["ours"],
        f"**{spent[best] / spent['ours']:.1f}**",
        1e3 * spent["decode"],
        1e3 * (spent["ours, whole"] - spent["ours"]),
        f"{(spent['decode'] + spent[best]) / spent['ours, whole']:.1f}",
        f"{clean.max() / wanted.std():.1e}" if clean.size else "–",
    ]


def _features(name: str, block: NDArray[Any], snr: float, smoke: bool) -> list[list[object]]:
    """Features of the tile in the middle of nine, by the product's two ways."""
    side, bank = block.shape[1], _bank(block)
    turned = {0: block[:, ::-1, ::-1], 1: block[:, ::-1], 2: block[:, :, ::-1], 3: block}
    chunks = [
        encode(np.ascontiguousarray(turned[3 - i % 2 - 2 * (i // 3 % 2)]), None, Bound("snr", snr)) for i in range(9)
    ]
    grid = Grid(3 * side, 3 * side, side)
    pieces = {number: _piece(_factors(data)) for number, data in enumerate(chunks)}
    window, shape = grid[4].window, (grid.height, grid.width)
    rows: list[list[object]] = []
    for stride in (1, 4):
        halo = bank.halo(POOL, stride)
        outer = window.expand(Halo.even(halo), *shape)
        around = _decoded(chunks, grid, outer)
        valid = np.ones(outer.shape, bool)
        options: dict[str, Any] = {"pool": POOL, "stride": stride, "window": window}
        inner = window.within(outer)

        def pixels(
            around: Any = around, valid: Any = valid, inner: Any = inner, o: Any = options, out: Any = outer
        ) -> F32:
            around[:, *inner] = decode(chunks[4])[0]
            return features_block(around, valid, bank, outer=out, scene_shape=shape, **o)[0]

        def factors(o: Any = options) -> F32:
            return features_mosaic(Mosaic(grid, pieces | {4: _piece(_factors(chunks[4]))}), bank, **o)[0]

        one, other = interleaved([pixels, factors], 1 if smoke else 5)
        wanted = pixels()
        difference = np.abs(factors() - wanted).max() / wanted.std()
        rows.append([name, stride, 1e3 * one, 1e3 * other, f"**{one / other:.1f}**", f"{difference:.1e}"])
    return rows


def _factors(data: bytes) -> Factors:
    found = decode_factors(data)
    assert found is not None
    return found


def _piece(factors: Factors) -> Piece:
    shape = (len(factors.mean), *factors.scores.shape[1:])
    places = np.stack(np.unravel_index(factors.indices, shape))
    return Piece(factors.valid, None, factors.mean, factors.basis, factors.scores, places, factors.amounts)


def _convolved(factors: Factors, bank: Bank) -> F32:
    """The layer over the tile, its border apart (there the offset would need a plane of ones)."""
    fold = Folder(bank).fold({0: _piece(factors)})
    return conv2d(factors.scores, fold.bank.filters, fold.bank.bias, padding=SIZE // 2, relu=True)


def _scored(block: NDArray[Any], bank: Bank) -> F32:
    z = np.empty(block.shape, np.float32)
    for band, mean, std, plane in zip(block, bank.mean, bank.std, z, strict=True):
        np.subtract(band, np.float32(mean), out=plane)
        plane *= np.float32(1 / std)
    return z


def _decoded(chunks: list[bytes], grid: Grid, outer: Window) -> NDArray[Any]:
    """The middle tile with its halo."""
    scene = np.block([[decode(chunks[3 * row + column])[0] for column in range(3)] for row in range(3)])
    return np.ascontiguousarray(scene[:, *outer.slices])


def _mended_rows(factors: Factors) -> NDArray[np.intp]:
    """Rows of responses without padding that see mended elements."""
    _, height, width = factors.scores.shape
    rows = factors.indices % (height * width) // width
    near = np.unique(np.concatenate([rows - SIZE + 1 + tap for tap in range(SIZE)]))
    return near[(near >= 0) & (near < height - SIZE + 1)]


def _bank(block: NDArray[Any]) -> Bank:
    bands = len(block)
    flat = block.reshape(bands, -1)
    filters = np.random.default_rng(0).standard_normal((FILTERS, bands, SIZE, SIZE)) / np.sqrt(bands * SIZE**2)
    names = tuple(f"f{number}" for number in range(FILTERS))
    return Bank(
        "gaussian",
        tuple(map(str, range(bands))),
        flat.mean(axis=1),
        flat.std(axis=1),
        filters.astype(np.float32),
        np.zeros(FILTERS, np.float32),
        names,
        pool=POOL,
    )


def _synthetic(side: int) -> NDArray[np.uint16]:
    """200 bands of rank 12 under noise of a hundredth of the weakest component."""
    rng = np.random.default_rng(0)
    scores = np.stack([gaussian_filter(rng.standard_normal((side, side)), 3, mode="wrap") for _ in range(12)])
    scores *= (200 * 2.0 ** (-np.arange(12) / 3) / scores.std(axis=(1, 2)))[:, None, None]
    return np.rint(5000 + np.tensordot(rng.standard_normal((200, 12)), scores, 1)).astype(np.uint16)


def _pines(side: int) -> NDArray[Any]:
    """Indian Pines, 145 x 145, continued by reflection."""
    source = open_scene(str(Path(PINES)))
    block, _ = source.read(Window(0, source.info.height, 0, source.info.width))
    return np.pad(block, ((0, 0), *((0, side - length) for length in block.shape[1:])), mode="symmetric")
