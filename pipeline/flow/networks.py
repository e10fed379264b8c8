"""ONNX networks among the banks: onnx:MODEL[@TENSOR], normalised by the scene, run on the blocks that are exact.

A fitted network is two files: the model, where the user has it, and a bank.npz of tensor, bands and normalisation.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import BankError, ConfigError
from pipeline.flow.crew import Watch
from pipeline.flow.masked_share import Lessons, taught
from pipeline.flow.read import spread
from pipeline.grid import Halo, Window
from pipeline.network import Bank, features_block
from pipeline.network.network_bank import PREFIX, NetworkBank, check_tensor, split, wanted_tensor
from pipeline.network.network_features import anchored, axis_of, network_block, network_window
from pipeline.network.sample import Moments, usable
from pipeline.raster.scene import Source

SAMPLE = 256
"""Side of the windows that a scene's normalisation is found on."""
AnyBank = Bank | NetworkBank


def is_network(words: str) -> bool:
    """Whether the bank that is asked for is a network."""
    return words.startswith(PREFIX)


def open_network(words: str, bands: tuple[str, ...], exact: bool = False, normalise: str | None = None) -> NetworkBank:
    """The network of onnx:MODEL[@TENSOR], for scenes of these bands, not normalised yet.

    Raises:
        ConfigError: a normalisation is asked for, and the network takes integers.
        ModelError: the file is not a model that we run, or has no such tensor.
        BankError: tiles cannot be computed of the tensor, or the network takes another number of bands.
    """
    model, tensor = split(words)
    model = model.absolute()
    bank = NetworkBank(model, wanted_tensor(model, tensor), bands, np.zeros(len(bands)), np.ones(len(bands)), exact)
    bank.settled(None, None)
    if bank.whole and normalise == "scene":
        raise ConfigError(
            f"--normalise scene (features.normalise in a workflow) with the bank {words}: its input is {bank.dtype}, "
            f"the pixels as they are; leave it out"
        )
    return bank


def check_network(words: str) -> None:
    """Refuse a network that cannot be used on any scene. Raises ModelError or BankError."""
    model, tensor = split(words)
    model = model.absolute()
    check_tensor(model, wanted_tensor(model, tensor))


def normalised_on(bank: NetworkBank, source: Source, watch: Watch | None = None) -> NetworkBank:
    """The network with the normalisation of a scene, found on the same windows whatever the tile, as the features are.

    `watch` is told of a mask how much it takes out of them. A network that takes integers is given the pixels as they
    are.

    Raises:
        BankError: no sample has a valid pixel, or the mask takes out all of them.
    """
    if bank.whole:
        return bank
    return taught([Lessons(source, spread(source, SAMPLE))], watch, partial(normalised, bank))


def normalised(bank: NetworkBank, blocks: Iterable[tuple[NDArray[Any], NDArray[np.bool_]]]) -> NetworkBank:
    """The network with the mean and standard deviation of each band over some blocks and their valid pixels.

    Raises:
        BankError: no sample has a valid pixel.
    """
    if bank.whole:
        return bank
    moments = Moments(len(bank.bands))
    for block, valid in blocks:
        moments.add(block, usable(block, valid))
    return replace(bank, mean=moments.mean, std=moments.std())


def check_pixels(bank: AnyBank, dtype: Any, shape: tuple[int, int], where: str) -> None:
    """Refuse a scene whose pixels a network does not take, or that is smaller than what it sees. Raises BankError."""
    if isinstance(bank, NetworkBank):
        bank.check_dtype(np.dtype(dtype), where)
        for number, length in enumerate(shape):
            axis_of(bank.field, number, length)


def seen_text(bank: AnyBank) -> str:
    """What a network sees, for a log, where it is not what others see."""
    return f", given the pixels as they are ({bank.dtype})" if isinstance(bank, NetworkBank) and bank.whole else ""


def feature_tile(tile: int, stride: int) -> int:
    """The smallest multiple of stride that is at least `tile`: cells never straddle tiles."""
    return -(-tile // stride) * stride


def settled(bank: AnyBank, tile: int, pool: int | None, stride: int | None) -> tuple[int, int, int]:
    """Tile, pool and stride in pixels: what was asked for, or what the bank has for it; whole cells in a tile.

    Raises:
        BankError: a network's tensor is not to be had at this stride.
        ConfigError: a size below one pixel.
    """
    if isinstance(bank, NetworkBank):
        pool, stride = bank.settled(pool, stride)
    else:
        pool, stride = bank.pool if pool is None else pool, 1 if stride is None else stride
    if pool < 1 or stride < 1:
        raise ConfigError(f"--pool and --stride must be at least 1, got {pool} and {stride}")
    if isinstance(bank, NetworkBank) and bank.exact:
        return anchored(tile, bank, stride), pool, stride
    return feature_tile(tile, stride), pool, stride


def is_mean(bank: AnyBank) -> bool:
    """Whether what is wanted is one mean over the whole scene, and no map."""
    return isinstance(bank, NetworkBank) and bank.field.mean


def check_mean(bank: AnyBank, dtype: str, *, table: bool = False) -> None:
    """Refuse int8 and tables for one mean over the scene: they are for maps. Raises ConfigError."""
    if is_mean(bank) and (table or dtype != "float32"):
        got = "a table" if table else dtype
        raise ConfigError(f"{bank.name} is one mean over the scene: it goes to .zarr or .tif in float32, got {got}")


def model_of(bank: AnyBank) -> str:
    """The path that workers find the model at; empty for other banks."""
    return str(bank.model) if isinstance(bank, NetworkBank) else ""


# Kept by path and content: a process that outlives a run would else go on with the bank that lay there before.
@lru_cache(maxsize=4)
def load_bank(path: str, model: str, digest: str) -> AnyBank:
    """A fitted bank, or a network's normalisation with its model. Raises BankError, ModelError.

    digest: of the bank, or BankError, since the file is another one by now.
    """
    bank = NetworkBank.load(path, model) if model else Bank.load(path)
    if bank.digest() != digest:
        raise BankError(f"{path}: the bank has been replaced since the run began; run again")
    return bank


def block_window(bank: AnyBank, pool: int, stride: int, window: Window, scene_shape: tuple[int, int]) -> Window:
    """The pixels to read for the cells of a window."""
    if isinstance(bank, NetworkBank):
        return network_window(bank, pool, stride, window, scene_shape)
    return window.expand(Halo.even(bank.halo(pool, stride)), *scene_shape)


def featurise(
    block: NDArray[Any],
    valid: NDArray[np.bool_],
    bank: AnyBank,
    *,
    pool: int,
    stride: int,
    window: Window,
    outer: Window,
    scene_shape: tuple[int, int],
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Features of the cells of `window`, NaN where not valid, of the pixels of `outer` = `block_window`; and which
    cells are valid."""
    if isinstance(bank, NetworkBank):
        return network_block(
            block, valid, bank, pool=pool, stride=stride, window=window, outer=outer, scene_shape=scene_shape
        )
    return features_block(
        block, valid, bank, pool=pool, stride=stride, window=window, outer=outer, scene_shape=scene_shape
    )


def check_words(words: str, normalise: str | None, exact: bool, fitted: dict[str, Any]) -> None:
    """Refuse options that say nothing to the bank that is asked for.

    Raises:
        ConfigError: there are any.
    """
    if is_network(words):
        given = [name for name, value in fitted.items() if value is not None]
        reason = "a network has its filters already"
    else:
        given = [name for name, value in (("normalise", normalise), ("exact", exact or None)) if value is not None]
        reason = f"it is for networks, {PREFIX}MODEL[@TENSOR]"
    if given:
        raise ConfigError(f"--{given[0]} with the bank {words}: {reason}; leave it out")
