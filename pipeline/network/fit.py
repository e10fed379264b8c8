"""fit_bank: from windows of one or more scenes to a bank of filters with its normalisation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from pipeline.errors import BankError
from pipeline.network.bank import MOST_FILTERS, MOST_PIXELS, Bank
from pipeline.network.filters import principal_components
from pipeline.network.recipes import HIDDEN, PATCHED, PROJECTED, RECIPES, Sample, two_layer_side
from pipeline.network.sample import Moments, Patches, most_patches, usable
from pipeline.plain import no_plain_array
from pipeline.untrusted import kind_of

Bool = NDArray[np.bool_]

BANKS = tuple(RECIPES)
COUNT = 128
MOST_SEEN, COMPONENTS = 16, 20
MOST_WHITENED = 8192
"""Values of a patch, whose products with each other have to be in memory."""


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
    mosaiks-paper           Rolf et al. 2021: whitened patches, relu(±z − 1), no spectra
    torchgeo-rcf            as torchgeo.models.RCF(mode="gaussian"): N(0, 1) filters, bias −1, no spectra
    torchgeo-rcf-empirical  as its mode="empirical": as many patches as filters, whitened among themselves
    random-2layer           32 filters as rcf-mixed's, rectified, mean of 2 x 2, then `count` gaussian filters; spectra
    classic                 12 filters for each band, see `classic_filters` (size 7); spectra beside the responses

    Of more than MOST_SEEN bands, rcf-mixed, mosaiks-paper and random-2layer see COMPONENTS whitened principal
    components. Mean and std come from valid pixels alone. The same samples, arguments and seed give the same bytes.
    Raises BankError for another name, sizes out of range, windows of other shapes, samples without valid pixels, or
    values that are too large.
    """
    _check(name, bands, count, size, seed)
    side = size or (7 if name == "classic" else 3)
    moments = Moments(len(bands), pairs=is_projected(name, len(bands)))
    patches = Patches(patch_side(name, side), most_patches(len(bands), patch_side(name, side)))
    # One BLAS thread: a bank's bytes must not depend on the machine's core count.
    with threadpool_limits(1, user_api="blas"):
        for number, (block, valid) in enumerate(_pairs(samples)):
            if block.shape != (len(bands), *valid.shape) or block.dtype.kind not in "biuf":
                raise BankError(
                    f"sample {number} is {block.dtype} {block.shape}, not real and ({len(bands)} bands, y, x)"
                )
            valid = usable(block, valid)
            with np.errstate(over="ignore", invalid="ignore"):
                moments.add(block, valid)
                if name in PATCHED:
                    patches.add(block, valid, np.random.default_rng([seed, number + 1]))
        _check_sizes(bands, moments, float(np.finfo(np.float32).max) if name in PATCHED else np.inf)
        std = moments.std()
        projection = None
        if is_projected(name, len(bands)):
            projection = principal_components(moments.correlation(), COMPONENTS, moments.rounding())
        sample = Sample(bands, moments.mean, std, projection, patches, count or COUNT, side, seed)
        parts = RECIPES[name](sample)
    if projection is not None:
        parts["projection"] = projection
    return Bank(name, bands, moments.mean, std, **parts)


def _check_sizes(bands: tuple[str, ...], moments: Moments, most: float) -> None:
    """BankError where a band's values are beyond `most`, or their squares beyond float64."""
    beyond = ~np.isfinite(moments.mean + moments.squares) | (moments.largest > most)
    if beyond.any():
        number = int(np.argmax(beyond))
        raise BankError(
            f"{bands[number]} has values of up to {moments.largest[number]:.3g}, too large to fit a bank to; give them "
            "as nodata (--nodata) where they mark what is missing, or in larger units"
        )


def is_projected(name: str, bands: int) -> bool:
    """Whether the filters of this bank see components in place of so many bands."""
    return name in PROJECTED and bands > MOST_SEEN


def patch_side(name: str, size: int) -> int:
    """Pixels that a filter of this bank sees on a side, through all layers."""
    return two_layer_side(size) if name == "random-2layer" else size


def fitting_bytes(name: str, bands: int, size: int) -> int:
    """About what is in memory while a bank is fitted: patches in data units, merged, and as rows; 0 without patches."""
    if name not in PATCHED:
        return 0
    side = patch_side(name, size)
    return 3 * 8 * most_patches(bands, side) * bands * side**2


def _pairs(samples: Any) -> Iterator[tuple[NDArray[Any], Bool]]:
    if not isinstance(samples, Iterable):
        raise BankError(f"samples are {kind_of(samples)}; give pairs of a block (band, y, x) and its valid (y, x)")
    for number, sample in enumerate(samples):
        pair = isinstance(sample, tuple | list) and len(sample) == 2
        if not pair:
            raise BankError(f"sample {number} is no pair of a block (band, y, x) and its valid (y, x); give arrays")
        for one, name, axes in zip(sample, ("block", "valid"), ("(band, y, x)", "(y, x) of bool"), strict=True):
            if wrong := no_plain_array(one, axes):
                raise BankError(f"sample {number}: {name} {wrong}")
        yield sample[0], sample[1]


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral)


def _check(name: str, bands: tuple[str, ...], count: int | None, size: int | None, seed: int) -> None:
    if name not in BANKS:
        raise BankError(f"no bank is called {name!r}; choose one of {', '.join(BANKS)}, or give a .npz file")
    if not bands:
        raise BankError("a bank needs at least one band; check -b")
    if count is not None and name == "classic":
        raise BankError(f"classic has 12 filters for each band, got --count {count}; drop --count")
    if count is not None and not (_is_whole(count) and 1 <= count <= MOST_FILTERS):
        raise BankError(f"a bank has 1 to {MOST_FILTERS} filters, got --count {count}")
    if size is not None and not (_is_whole(size) and 1 <= size <= MOST_PIXELS):
        raise BankError(f"filters are 1 to {MOST_PIXELS} pixels wide, got --size {size}")
    seen = COMPONENTS if is_projected(name, len(bands)) else len(bands)
    seen = HIDDEN if name == "random-2layer" else seen
    if name in PATCHED and size is not None and seen * size**2 > MOST_WHITENED:
        raise BankError(
            f"filters of {seen} x {size} x {size} values are too many to whiten; take a smaller --size (features.size)"
        )
    if not _is_whole(seed) or seed < 0:
        raise BankError(f"a seed is a whole number of 0 or more, got --seed {seed}")
