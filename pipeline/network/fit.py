"""fit_bank: from windows of one or more scenes to a bank of filters with its normalisation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from pipeline.errors import BankError
from pipeline.network.bank import MOST_FILTERS, MOST_PIXELS, Bank
from pipeline.network.filters import CLASSIC_KINDS, classic_filters, response_std, zca_filters
from pipeline.network.sample import Moments, Patches, usable

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Bool = NDArray[np.bool_]

BANKS = ("rcf-mixed", "torchgeo-rcf", "torchgeo-rcf-empirical", "classic")
COUNT = 128
TORCHGEO_BIAS = -1.0
MIXED_BIAS = 0.5


def fit_bank(
    name: str,
    samples: Iterable[tuple[NDArray[Any], Bool]],
    *,
    bands: tuple[str, ...],
    count: int | None = None,
    size: int | None = None,
    seed: int = 0,
) -> Bank:
    """Fit one of BANKS to sample windows, each a (block (C, y, x) of any real dtype, valid (y, x)), in their order.

    rcf-mixed               `count` (128) filters of `size` (3): half gaussian, half ZCA-whitened patches of the
                            samples, each scaled to a response of std 1, bias ±½ by turns; spectra beside the responses
    torchgeo-rcf            as torchgeo.models.RCF(mode="gaussian"): N(0, 1) filters, bias −1, no spectra
    torchgeo-rcf-empirical  as its mode="empirical": as many patches as filters, whitened among themselves
    classic                 12 filters for each band, see `classic_filters` (size 7); spectra beside the responses

    Mean and std come from valid pixels alone. The same samples, arguments and seed give the same bytes.
    Raises BankError for another name, sizes out of range, windows of other shapes, or samples without valid pixels.
    """
    _check(name, bands, count, size, seed)
    side = size or (7 if name == "classic" else 3)
    moments, patches = Moments(len(bands)), Patches(side)
    for number, (block, valid) in enumerate(samples):
        if block.shape != (len(bands), *valid.shape) or block.dtype.kind not in "biuf":
            raise BankError(f"sample {number} is {block.dtype} {block.shape}, not real and ({len(bands)} bands, y, x)")
        valid = usable(block, valid)
        moments.add(block, valid)
        if name in ("rcf-mixed", "torchgeo-rcf-empirical"):
            patches.add(block, valid, np.random.default_rng([seed, number + 1]))
    std = moments.std()
    # One BLAS thread: a bank's bytes must not depend on the machine's core count.
    with threadpool_limits(1, user_api="blas"):
        filters, bias, labels = _filters(name, bands, patches, moments.mean, std, count or COUNT, side, seed)
    return Bank(name, bands, moments.mean, std, filters, bias, labels, spectra=name in ("rcf-mixed", "classic"))


def _filters(
    name: str, bands: tuple[str, ...], patches: Patches, mean: F64, std: F64, count: int, size: int, seed: int
) -> tuple[F32, F32, tuple[str, ...]]:
    """Filters (N, C/groups, k, k), bias (N,) and labels (N,) of the bank called `name`."""
    if name == "classic":
        kinds = [f"{kind}_{scale}" for scale in (1, 2) for kind in CLASSIC_KINDS]
        filters = np.tile(classic_filters(size), (len(bands), 1, 1, 1))
        labels = tuple(f"{kind}_{band}" for band in bands for kind in kinds)
        return filters, np.zeros(len(filters), np.float32), labels
    labels = tuple(f"rcf_{number:03d}" for number in range(count))
    gaussian = np.random.default_rng([seed, 0]).standard_normal((count, len(bands), size, size))
    if name == "torchgeo-rcf":
        return gaussian.astype(np.float32), np.full(count, TORCHGEO_BIAS, np.float32), labels
    rows = patches.scored(mean, std)
    if name == "torchgeo-rcf-empirical":
        if len(rows) < count:
            raise BankError(f"{count} filters need as many patches, the samples have {len(rows)}; take fewer --count")
        whitened = zca_filters(rows[:count], count).reshape(gaussian.shape)
        return whitened.astype(np.float32), np.full(count, TORCHGEO_BIAS, np.float32), labels
    mixed, bias = _mixed(gaussian.reshape(count, -1), rows)
    return mixed.reshape(gaussian.shape), bias, labels


def _mixed(gaussian: F64, rows: F32) -> tuple[F32, F32]:
    """Whitened patches in place of the second half of the gaussian filters, all scaled to responses of std 1."""
    filters = gaussian.copy()
    empirical = zca_filters(rows, len(filters) // 2)
    filters[len(filters) - len(empirical) :] = empirical
    spread = response_std(rows, filters)
    varies = spread > 1e-6
    filters /= np.where(varies, spread, 1.0)[:, None]
    turns = np.where(np.arange(len(filters)) % 2, -MIXED_BIAS, MIXED_BIAS)
    return filters.astype(np.float32), np.where(varies, turns, 0.0).astype(np.float32)


def _check(name: str, bands: tuple[str, ...], count: int | None, size: int | None, seed: int) -> None:
    if name not in BANKS:
        raise BankError(f"no bank is called {name!r}; choose one of {', '.join(BANKS)}, or give a .npz file")
    if not bands:
        raise BankError("a bank needs at least one band; check -b")
    if count is not None and name == "classic":
        raise BankError(f"classic has 12 filters for each band, got --count {count}; drop --count")
    if count is not None and not 1 <= count <= MOST_FILTERS:
        raise BankError(f"a bank has 1 to {MOST_FILTERS} filters, got --count {count}")
    if size is not None and not 1 <= size <= MOST_PIXELS:
        raise BankError(f"filters are 1 to {MOST_PIXELS} pixels wide, got --size {size}")
    if seed < 0:
        raise BankError(f"a seed is 0 or more, got --seed {seed}")
