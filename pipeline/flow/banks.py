"""The bank of a run: a fitted one by its path, or one fitted on the stored scene and kept beside it."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from pipeline.config import Features
from pipeline.flow.chunk_size import check_feature_chunk
from pipeline.flow.features import check_bank, check_bank_name, fit
from pipeline.flow.journal import check_configuration
from pipeline.flow.networks import AnyBank, check_mean, check_network, is_network, normalised_on, open_network
from pipeline.flow.threads import one_blas_thread
from pipeline.network import Bank, fit_bank
from pipeline.network.network_bank import NetworkBank
from pipeline.raster.object_stores import is_begun
from pipeline.raster.scene import SceneInfo, Source
from pipeline.raster.zarr_store import read_attributes
from pipeline.storage import Place, place

# Pixels with more patches of SMALL than a bank has filters, whose size decides neither their number nor their names.
NOTHING = (96, 96)
SMALL = 3


def bank_of_run(
    wanted: Features, stored: Source, tile: int, folder: Place, upstream: dict[str, Any]
) -> tuple[AnyBank, Place, dict[str, Any]]:
    """The bank, where it lies, and what it was made from (for the configuration hash).

    `stored` has chunks of tile x tile pixels, and the scene's mask where there is one.

    Raises:
        BankError: it cannot be loaded or fitted, or was fitted on other bands.
        ModelError: the network cannot be read.
        ResumeError: the features that are there were begun with another bank.
    """
    if is_network(wanted.bank):
        return _network_of_run(wanted, stored, folder, upstream)
    if wanted.bank.endswith(".npz"):
        path = place(wanted.bank)
        bank = Bank.load(path)
        check_bank(bank, stored.info, str(path))
        return bank, path, {"name": bank.name, "digest": bank.digest()}
    made = {"name": wanted.bank, "count": wanted.count, "size": wanted.size, "seed": wanted.seed}
    path = folder / "bank.npz"
    if _made_features(folder, made, upstream) and path.is_file():
        return Bank.load(path), path, made
    with one_blas_thread():
        bank = fit(wanted.bank, [stored], tile, count=wanted.count, size=wanted.size, seed=wanted.seed)
    bank.save(path)
    return bank, path, made


def _network_of_run(
    wanted: Features, stored: Source, folder: Place, upstream: dict[str, Any]
) -> tuple[NetworkBank, Place, dict[str, Any]]:
    """A network with the stored scene's normalisation, kept as bank.npz; the model stays where it is."""
    network = open_network(wanted.bank, stored.info.bands, wanted.exact, wanted.normalise)
    path, normalise = folder / "bank.npz", "none" if network.whole else wanted.normalise or "scene"
    made = {
        "network": network.name,
        "digest": network.digest_of_model,
        "normalise": normalise,
        "exact": wanted.exact,
    }
    if _made_features(folder, made, upstream) and path.is_file():
        return NetworkBank.load(path, network.model), path, made
    if normalise == "scene":
        with one_blas_thread():
            network = normalised_on(network, stored)
    network.save(path)
    return network, path, made


def _made_features(folder: Place, made: dict[str, Any], upstream: dict[str, Any]) -> bool:
    """True where the features in the folder were begun with the bank that this scene and these options make.

    Raises:
        ResumeError: they were begun with another, whose file is not to be replaced.
    """
    for name in ("features.zarr", "features.zarr.partial"):
        if is_begun(folder / name):
            begun = read_attributes(folder / name).get("configuration", {})
            now = begun | {"source": upstream, "features": begun.get("features", {}) | {"bank": made}}
            check_configuration(folder / name, now)
            return True
    return False


def check_wanted(wanted: Features) -> None:
    """Refuse a bank that cannot be used on any scene, before the first.

    Raises:
        ConfigError: no bank has this name.
        BankError: the file cannot be loaded, or the network not be computed in tiles.
        ModelError: the network cannot be read.
    """
    if is_network(wanted.bank):
        check_network(wanted.bank)
    elif wanted.bank.endswith(".npz"):
        Bank.load(place(wanted.bank))
    else:
        check_bank_name(wanted.bank)


def check_scene(wanted: Features, info: SceneInfo, tile: int) -> None:
    """Refuse what cannot be made in tiles of so many pixels, or of a bank that is there already and was made for other
    bands, before the scene is denoised for nothing.

    Raises:
        BankError: the bands differ in number, name or order; or a network takes no such pixels, or more of them.
        ConfigError: int8 is wanted of one mean over the scene, or a normalisation of a network of integers; or a chunk
            of the features is too large.
        ModelError: the network cannot be read.
    """
    if is_network(wanted.bank):
        network = open_network(wanted.bank, info.bands, wanted.exact, wanted.normalise)
        check_bank(network, info, wanted.bank)
        check_mean(network, wanted.dtype)
    elif wanted.bank.endswith(".npz"):
        check_bank(Bank.load(place(wanted.bank)), info, wanted.bank)
    check_feature_chunk(info, planned_bank(wanted, info), tile, wanted.pool, wanted.stride)


def planned_bank(wanted: Features, info: SceneInfo) -> AnyBank:
    """A bank of the right shapes, to plan with: the file's, the network's, or one fitted on a few pixels of nothing.

    Raises:
        BankError: the file cannot be loaded, no bank has this name, or the network takes no such scene.
        ModelError: the network cannot be read.
    """
    if is_network(wanted.bank):
        network = open_network(wanted.bank, info.bands, wanted.exact, wanted.normalise)
        check_bank(network, info, wanted.bank)
        return network
    if wanted.bank.endswith(".npz"):
        return Bank.load(place(wanted.bank))
    check_bank_name(wanted.bank)
    return _fitted_on_nothing(wanted.bank, info.bands, wanted.count, wanted.size, wanted.seed)


@lru_cache(maxsize=4)
def _fitted_on_nothing(name: str, bands: tuple[str, ...], count: int | None, size: int | None, seed: int) -> Bank:
    """Small filters are fitted in no time, and their number is that of large ones, which take their place as zeros."""
    noise = np.random.default_rng([seed]).standard_normal((len(bands), *NOTHING))
    small = size if name == "classic" else min(size or SMALL, SMALL)
    bank = fit_bank(name, [(noise, np.ones(NOTHING, bool))], bands=bands, count=count, size=small, seed=seed)
    if size in (None, small):
        return bank
    return replace(bank, filters=np.zeros((*bank.filters.shape[:2], size, size), np.float32))
