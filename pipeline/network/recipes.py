"""How each bank is made of a sample: one function a bank, from what was learnt of the scene to the parts of a Bank."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from pipeline.errors import BankError
from pipeline.network.filters import CLASSIC_KINDS, classic_filters, response_moments, zca_filters
from pipeline.network.front import hidden_maps
from pipeline.network.sample import Patches

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Parts = dict[str, Any]

TORCHGEO_BIAS = MOSAIKS_BIAS = -1.0
MIXED_BIAS = 0.5
HIDDEN, HIDDEN_SIZE, HIDDEN_POOL = 32, 3, 2
MOST_PIXELS_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class Sample:
    """What a bank is made of."""

    bands: tuple[str, ...]
    mean: F64
    std: F64
    projection: F32 | None
    """(K, C), where the filters are to see components in place of bands."""
    patches: Patches
    count: int
    size: int
    seed: int

    @property
    def planes(self) -> int:
        """What the first layer sees: components or bands."""
        return len(self.bands) if self.projection is None else len(self.projection)

    @property
    def labels(self) -> tuple[str, ...]:
        """rcf_000, rcf_001, ..."""
        return tuple(f"rcf_{number:03d}" for number in range(self.count))

    def rows(self) -> F32:
        """The patches as the first layer sees them, (m, planes·side·side)."""
        return self.patches.scored(self.mean, self.std, self.projection)

    def gaussian(self, stream: int, count: int, planes: int, size: int) -> F64:
        """N(0, 1) filters (count, planes, size, size)."""
        return np.random.default_rng([self.seed, stream]).standard_normal((count, planes, size, size))


def rcf_mixed(sample: Sample) -> Parts:
    """Half gaussian, half ZCA-whitened patches, responses of std 1, bias ±½ by turns; spectra beside them."""
    gaussian = sample.gaussian(0, sample.count, sample.planes, sample.size)
    filters, bias = mixed(gaussian, sample.rows())
    return {"filters": filters, "bias": bias, "labels": sample.labels, "spectra": True}


def mosaiks_paper(sample: Sample) -> Parts:
    """Rolf et al. 2021: whitened patches F, relu(z·F − 1) and relu(−z·F − 1): F and −F, one sign each, bias −1."""
    empirical = zca_filters(_enough(sample, sample.rows()), sample.count)
    filters = empirical.reshape(sample.count, sample.planes, sample.size, sample.size)
    labels = *(f"{label}+" for label in sample.labels), *(f"{label}-" for label in sample.labels)
    return {
        "filters": np.concatenate([filters, -filters]),
        "bias": np.full(2 * sample.count, MOSAIKS_BIAS),
        "labels": labels,
        "signs": "one",
    }


def torchgeo_rcf(sample: Sample) -> Parts:
    """torchgeo.models.RCF(mode="gaussian"): N(0, 1) filters, bias −1."""
    filters = sample.gaussian(0, sample.count, sample.planes, sample.size)
    return {"filters": filters, "bias": np.full(sample.count, TORCHGEO_BIAS), "labels": sample.labels}


def torchgeo_rcf_empirical(sample: Sample) -> Parts:
    """torchgeo.models.RCF(mode="empirical"): as many patches as filters, whitened among themselves, bias −1."""
    rows = _enough(sample, sample.rows())
    whitened = zca_filters(rows[: sample.count], sample.count)
    filters = whitened.reshape(sample.count, sample.planes, sample.size, sample.size)
    return {"filters": filters, "bias": np.full(sample.count, TORCHGEO_BIAS), "labels": sample.labels}


def random_2layer(sample: Sample) -> Parts:
    """A hidden layer as rcf-mixed's filters, then gaussian filters over its maps; spectra beside the responses.

    Both layers have responses of std 1 and bias ±½; the second is centred too, as rectified maps are not. The patches
    are as wide as both layers see; the first is fitted to their upper left corners, which are patches as good as any.
    """
    rows = sample.rows()
    side, planes = sample.patches.size, sample.planes
    cubes = rows.reshape(-1, planes, side, side)
    corners = np.ascontiguousarray(cubes[:, :, :HIDDEN_SIZE, :HIDDEN_SIZE]).reshape(len(cubes), -1)
    hidden, hidden_bias = mixed(sample.gaussian(1, HIDDEN, planes, HIDDEN_SIZE), corners)
    seen = _second_rows(cubes, hidden, hidden_bias, sample.size)
    filters = sample.gaussian(0, sample.count, HIDDEN, sample.size)
    scaled, bias = unit_responses(filters, seen, centred=True)
    return {
        "filters": scaled,
        "bias": bias,
        "labels": sample.labels,
        "spectra": True,
        "hidden": hidden,
        "hidden_bias": hidden_bias,
        "hidden_pool": HIDDEN_POOL,
    }


def classic(sample: Sample) -> Parts:
    """Twelve textbook filters for each band, see `classic_filters`; spectra beside the responses."""
    kinds = [f"{kind}_{scale}" for scale in (1, 2) for kind in CLASSIC_KINDS]
    filters = np.tile(classic_filters(sample.size), (len(sample.bands), 1, 1, 1))
    labels = tuple(f"{kind}_{band}" for band in sample.bands for kind in kinds)
    return {"filters": filters, "bias": np.zeros(len(filters)), "labels": labels, "spectra": True}


def two_layer_side(size: int) -> int:
    """Pixels that a `size` filter sees through the hidden layer of random-2layer."""
    return HIDDEN_SIZE + (HIDDEN_POOL - 1) + (size - 1) * HIDDEN_POOL


def mixed(gaussian: F64, rows: F32) -> tuple[F32, F32]:
    """Whitened patches in place of the second half of the gaussian filters; responses of std 1, bias ±½ by turns."""
    filters = gaussian.copy()
    empirical = zca_filters(rows, len(filters) // 2)
    filters[len(filters) - len(empirical) :] = empirical.reshape(-1, *filters.shape[1:])
    return unit_responses(filters, rows)


def unit_responses(filters: F64, rows: F32, *, centred: bool = False) -> tuple[F32, F32]:
    """Filters (n, c, k, k) scaled to responses of std 1 over rows (m, c·k·k), and their biases ±½ by turns (n,).

    `centred` takes the responses' mean off too. A filter that nothing answers to is left as it is, with bias 0.
    """
    mean, spread = response_moments(rows, filters.reshape(len(filters), -1))
    varies = spread > 1e-6
    spread = np.where(varies, spread, 1.0)
    turns = np.where(np.arange(len(filters)) % 2, -MIXED_BIAS, MIXED_BIAS)
    bias = np.where(varies, turns - (mean / spread if centred else 0.0), 0.0)
    return (filters / spread[:, None, None, None]).astype(np.float32), bias.astype(np.float32)


def _second_rows(cubes: F32, hidden: F32, bias: F32, size: int) -> F32:
    """What the second layer sees of cubes (m, planes, side, side): rows (m, M·size·size)."""
    m, planes, side, _ = cubes.shape
    rows = np.empty((m, len(hidden) * size**2), np.float32)
    step = max(1, MOST_PIXELS_AT_ONCE // side**2)
    for first in range(0, m, step):
        strip = cubes[first : first + step].swapaxes(0, 1).reshape(planes, -1, side)  # one cube below the other
        maps = hidden_maps(strip, hidden, bias, HIDDEN_POOL)
        windows = sliding_window_view(maps, (side - HIDDEN_SIZE - HIDDEN_POOL + 2,) * 2, axis=(1, 2))[:, ::side, 0]
        rows[first : first + step] = (
            windows[..., ::HIDDEN_POOL, ::HIDDEN_POOL].swapaxes(0, 1).reshape(-1, rows.shape[1])
        )
    return rows


def _enough(sample: Sample, rows: F32) -> F32:
    """The rows, where there are as many as filters. Raises BankError otherwise."""
    if len(rows) < sample.count:
        raise BankError(
            f"{sample.count} filters need as many patches, the samples have {len(rows)}; take fewer --count"
        )
    return rows


RECIPES: dict[str, Callable[[Sample], Parts]] = {
    "rcf-mixed": rcf_mixed,
    "mosaiks-paper": mosaiks_paper,
    "torchgeo-rcf": torchgeo_rcf,
    "torchgeo-rcf-empirical": torchgeo_rcf_empirical,
    "random-2layer": random_2layer,
    "classic": classic,
}
PATCHED = ("rcf-mixed", "mosaiks-paper", "torchgeo-rcf-empirical", "random-2layer")
"""Banks that look at patches of the scene."""
PROJECTED = ("rcf-mixed", "mosaiks-paper", "random-2layer")
"""Banks that see components where there are more than MOST_SEEN bands; the others keep to their models."""
