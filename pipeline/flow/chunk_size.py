"""A chunk has a largest size: refused in `plan`, and before anything is computed for it."""

from __future__ import annotations

from pipeline.errors import ConfigError
from pipeline.flow.networks import AnyBank, is_mean, settled
from pipeline.raster.chunks import MOST_ELEMENTS
from pipeline.raster.scene import SceneInfo


def check_scene_chunk(info: SceneInfo, tile: int) -> None:
    """Refuse a tile whose chunk of the scene would be too large.

    Raises:
        ConfigError: it is.
    """
    _check(f"{info.name}: a chunk of {len(info.bands)} bands x {tile} x {tile} pixels", len(info.bands), tile, "")


def check_feature_chunk(info: SceneInfo, bank: AnyBank, tile: int, pool: int | None, stride: int | None) -> None:
    """Refuse a tile whose chunk of features of a bank would be too large; sizes as for `settled`.

    Raises:
        ConfigError: it is, or one of the sizes is none.
        BankError: a network's tensor is not to be had at this stride.
    """
    tile, _, stride = settled(bank, tile, pool, stride)
    side, count = 1 if is_mean(bank) else tile // stride, len(bank.features)
    more = ", a larger --stride (features.stride) or fewer features"
    _check(f"{info.name}: a chunk of {count} features of {bank.name} x {side} x {side} cells", count, side, more)


def _check(what: str, count: int, side: int, more: str) -> None:
    numbers = count * side**2
    if numbers > MOST_ELEMENTS:
        remedy = f"give a smaller --tile (read.tile){more}"
        raise ConfigError(f"{what} is {numbers:,} numbers, at most {MOST_ELEMENTS:,}; {remedy}")
