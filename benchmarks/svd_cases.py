"""The matrices the SVDs are measured on: pixels, patches and the founding talk's, float32 and centred by column."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import rasterio
from numpy.typing import NDArray

Matrix = NDArray[np.floating[Any]]

DATA = Path(__file__).parents[2] / "shared" / "data"
PIXELS = 512 * 512


class Case(NamedTuple):
    """One matrix (m, n) and the rank asked of it."""

    name: str
    A: Matrix
    rank: int


def cases(smoke: bool) -> Iterator[Case]:
    """Every case that can be made here, one at a time; the real ones only where the data lie beside the repository."""
    if smoke:
        yield Case("10 columns, flat", spiked(2000, 10, 4), 4)
        yield Case("200 x 150, flat", spiked(200, 150, 5), 5)
        return
    if DATA.is_dir():
        yield Case("Sentinel-2 pixels, 10 bands", centred(sentinel_pixels()), 5)
        yield Case("Sentinel-2 pixels, 13 bands", centred(five_scenes_pixels()), 5)
    yield Case("13 columns, flat", spiked(PIXELS, 13, 5), 5)
    if DATA.is_dir():
        yield Case("Indian Pines pixels", centred(indian_pines_pixels()), 10)
    yield Case("200 columns, flat", spiked(PIXELS, 200, 10), 10)
    for rank in (30, 100):
        if DATA.is_dir():
            yield Case("Sentinel-2 patches", centred(patches(five_scenes())), rank)
            yield Case("the same + noise, flat", centred(patches(five_scenes(), noise=0.3)), rank)
    yield Case("the talk's, flat", spiked(1000, 1000, 15), 15)
    yield Case("the talk's, flat", spiked(1000, 1000, 15, np.float64), 15)
    yield Case("the talk's, 1/i", harmonic(1000, 1000), 15)
    if DATA.is_dir():
        with rasterio.open(DATA / "s2_18SVG_west_bands" / "B08.tif") as source:
            band = source.read(1)[400:1400, 100:1100]
        yield Case("Sentinel-2 band 8, a picture", centred(band), 15)
    yield Case("1/i", harmonic(2000, 1500), 20)
    yield Case("flat", spiked(2000, 1500, 20), 20)


def centred(A: NDArray[Any]) -> NDArray[np.float32]:
    """A less its column means, float32: what a PCA decomposes, so that PCA can be a peer."""
    return np.ascontiguousarray(A - A.mean(axis=0, dtype=np.float64), np.float32)


def spiked(m: int, n: int, rank: int, dtype: Any = np.float32) -> Matrix:
    """Low rank plus white noise: `rank` values from 10 down to 2 times the edge of the noise, then its flat tail."""
    rng = np.random.default_rng([m, n, rank])
    U, V = (np.linalg.qr(rng.standard_normal((side, rank)))[0] for side in (m, n))
    signal = (U * np.geomspace(10, 2, rank) * (np.sqrt(m) + np.sqrt(n))) @ V.T
    A = signal + rng.standard_normal((m, n))
    return np.ascontiguousarray(A - A.mean(axis=0), dtype)


def harmonic(m: int, n: int) -> Matrix:
    """Singular values 1/i over the whole rank."""
    rng = np.random.default_rng([m, n])
    U, V = (np.linalg.qr(rng.standard_normal((side, n)))[0] for side in (m, n))
    return centred((U / np.arange(1, n + 1)) @ V.T)


def sentinel_pixels() -> NDArray[Any]:
    """512 x 512 pixels of a Sentinel-2 scene, 10 bands: (262144, 10)."""
    with rasterio.open(DATA / "s2_18SVG_west_10band_20m.tif") as source:
        return source.read()[:, 200:712, 24:536].reshape(source.count, -1).T


def five_scenes() -> NDArray[np.float32]:
    """Five small Sentinel-2 scenes: (5, 13, 101, 100), each band at unit variance."""
    scenes = []
    for path in sorted((DATA / "s2_L1C_5scenes_13band").glob("*.tif")):
        with rasterio.open(path) as source:
            scenes.append(source.read())
    block = np.stack(scenes).astype(np.float32)
    return block / block.std(axis=(0, 2, 3), keepdims=True)


def five_scenes_pixels() -> NDArray[Any]:
    """The pixels of the five scenes over and over until there are 262144: (262144, 13)."""
    pixels = np.moveaxis(five_scenes(), 1, -1).reshape(-1, 13)
    return np.resize(pixels, (PIXELS, 13))


def indian_pines_pixels() -> NDArray[Any]:
    """The cube's 21025 pixels over and over, each time with fresh noise of the level found past rank 10 by band."""
    with rasterio.open(DATA / "aviris_indian_pines_200band_20m.tif") as source:
        pixels = source.read().reshape(source.count, -1).T.astype(np.float64)
    pixels -= pixels.mean(axis=0)
    V = np.linalg.eigh(pixels.T @ pixels)[1][:, -10:]
    sigma = (pixels - pixels @ V @ V.T).std(axis=0).astype(np.float32)
    noise = np.random.default_rng(0).standard_normal((PIXELS, len(sigma)), dtype=np.float32)
    return np.resize(pixels.astype(np.float32), (PIXELS, len(sigma))) + sigma * noise


def patches(scenes: NDArray[np.float32], noise: float = 0.0, size: int = 8, count: int = 4096) -> NDArray[Any]:
    """`count` patches of size x size x 13 from all scenes, every third pixel: (4096, 832)."""
    scenes = scenes + noise * np.random.default_rng(0).standard_normal(scenes.shape, dtype=np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(scenes, (size, size), axis=(2, 3))[:, :, ::3, ::3]
    rows = np.moveaxis(windows, 1, 3).reshape(-1, scenes.shape[1] * size * size)
    return rows[np.linspace(0, len(rows) - 1, count).astype(int)]
