"""What the second map is to make: the feature store's facts and configuration, checks, and the fitting of banks.

Fitting needs windows of scenes: a few, spread evenly, the same each time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.errors import BankError, ConfigError
from pipeline.flow.compress import source_identity
from pipeline.flow.feature_job import FEATURES
from pipeline.flow.journal import Plan
from pipeline.flow.read import sample
from pipeline.network import BANKS, Bank, fit_bank
from pipeline.raster.scene import SceneInfo, Source
from pipeline.raster.zarr_store import Variable


def feature_tile(tile: int, stride: int) -> int:
    """The smallest multiple of stride that is at least `tile`: cells never straddle tiles."""
    return -(-tile // stride) * stride


def feature_info(info: SceneInfo, bank: Bank, stride: int) -> SceneInfo:
    """The facts of the feature map: ceil(size / stride) cells, each stride x stride pixels of the scene."""
    count = len(bank.features)
    return replace(
        info,
        bands=bank.features,
        height=-(-info.height // stride),
        width=-(-info.width // stride),
        dtype="float32",
        nodata=float("nan"),
        scales=(1.0,) * count,
        offsets=(0.0,) * count,
        geo=info.geo.scaled(stride),
        masked=True,
        **_plain_labels(count),
    )


def _plain_labels(count: int) -> dict[str, Any]:
    return {"units": (None,) * count, "band_tags": ({},) * count, "colorinterp": ("undefined",) * count}


def feature_plan(
    final: Path,
    source: Source,
    tile: int,
    bank: Bank,
    made: dict[str, Any],
    pool: int,
    stride: int,
    upstream: Any = None,
    domain: str = "pixels",
) -> Plan:
    """The store of `FeatureJob`.

    `made` says what the bank was made from (a file's digest, or the options it was fitted with), `upstream` is the
    configuration of the scene store the features are of, where there is one. `domain` is named where it is factors:
    other bytes come of it.
    """
    info = source.info
    features = Variable(
        FEATURES,
        "float32",
        float("nan"),
        "feature",
        bank.features,
        attributes={"long_name": list(bank.features), "bank": bank.name},
    )
    configuration = {
        "source": upstream or source_identity(source),
        "grid": {"height": info.height, "width": info.width, "tile": tile},
        "features": {"bank": made, "pool": pool, "stride": stride} | ({} if domain == "pixels" else {"domain": domain}),
    }
    return Plan(final, feature_info(info, bank, stride), tile // stride, (features,), configuration)


def fit(
    name: str,
    sources: Sequence[Source],
    tile: int,
    *,
    count: int | None = None,
    size: int | None = None,
    seed: int = 0,
) -> Bank:
    """Fit a bank on samples of one or more scenes with the same bands.

    Raises:
        BankError: the scenes' bands differ, or no valid pixel was found.
        ConfigError: no bank has this name.
    """
    check_bank_name(name)
    bands = sources[0].info.bands
    for source in sources[1:]:
        if source.info.bands != bands:
            raise BankError(
                f"{source.info.name} has bands {', '.join(source.info.bands)}, but {sources[0].info.name} has "
                f"{', '.join(bands)}; a bank is fitted on scenes with the same bands (choose them with -b)"
            )
    samples = (window for source in sources for window in sample(source, tile))
    return fit_bank(name, samples, bands=bands, count=count, size=size, seed=seed)


def check_bank_name(name: str) -> None:
    """Refuse the name of a bank that nobody can fit.

    Raises:
        ConfigError: no bank has this name.
    """
    if name not in BANKS:
        raise ConfigError(f"no bank is called {name}; choose one of {', '.join(BANKS)}, or give the path of a BANK.npz")


def check_bank(bank: Bank, info: SceneInfo, where: str) -> None:
    """Refuse a bank that was fitted on other bands.

    Raises:
        BankError: the bands differ in number, name or order.
    """
    bank.check_scene(info.bands, f"{info.name} ({where})")


def check_stride(pool: int, stride: int) -> None:
    """Refuse a pool or stride below one pixel."""
    if pool < 1 or stride < 1:
        raise ConfigError(f"--pool and --stride must be at least 1, got {pool} and {stride}")
