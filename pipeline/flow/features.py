"""What the second map is to make: the feature store's facts and configuration, checks, and the fitting of banks.

Fitting needs windows of scenes: a few, spread evenly, the same each time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from pipeline.errors import BankError, ConfigError
from pipeline.flow import algorithms
from pipeline.flow.compress import source_identity
from pipeline.flow.crew import Watch
from pipeline.flow.feature_job import FEATURES
from pipeline.flow.journal import Plan
from pipeline.flow.masked_share import Lessons, taught
from pipeline.flow.networks import AnyBank, check_pixels, is_mean
from pipeline.flow.read import sample_windows
from pipeline.network import BANKS, Bank, fit_bank
from pipeline.network.int8 import NODATA, Coding
from pipeline.raster.scene import SceneInfo, Source
from pipeline.raster.sight import with_sight
from pipeline.raster.zarr_store import Variable
from pipeline.storage import Place


def feature_info(
    info: SceneInfo,
    names: tuple[str, ...],
    rows: int,
    columns: int,
    coding: Coding | None = None,
    seen: int | None = None,
) -> SceneInfo:
    """The facts of the feature map: cells of rows x columns pixels of the scene, the last ones may hang over.

    seen: side of the square of pixels that a cell is made of, where that is told.
    """
    count = len(names)
    return replace(
        info,
        bands=names,
        height=-(-info.height // rows),
        width=-(-info.width // columns),
        dtype="int8" if coding else "float32",
        nodata=NODATA if coding else float("nan"),
        scales=coding.scale if coding else (1.0,) * count,
        offsets=coding.offset if coding else (0.0,) * count,
        geo=info.geo.scaled(rows, columns),
        masked=True,
        tags=with_sight(info.tags, seen, columns),
        **_plain_labels(count),
    )


def _plain_labels(count: int) -> dict[str, Any]:
    return {"units": (None,) * count, "band_tags": ({},) * count, "colorinterp": ("undefined",) * count}


def feature_plan(
    final: Place,
    source: Source,
    tile: int,
    bank: AnyBank,
    made: dict[str, Any],
    pool: int,
    stride: int,
    upstream: Any = None,
    coding: Coding | None = None,
    domain: str = "pixels",
) -> Plan:
    """The store of `FeatureJob`.

    `made` says what the bank was made from (a file's digest, or the options it was fitted with), `upstream` is the
    configuration of the scene store the features are of, where there is one. `domain` is named where it is factors:
    other bytes come of it.
    """
    info = source.info
    attributes: dict[str, Any] = {"long_name": list(bank.features), "bank": bank.name}
    coordinates = {}
    if coding is not None:
        attributes |= {"_FillValue": NODATA, "comment": "value = features * scale + offset"}
        coordinates = {"scale": coding.scale, "offset": coding.offset}
    features = Variable(
        FEATURES,
        "int8" if coding else "float32",
        NODATA if coding else float("nan"),
        "feature",
        bank.features,
        attributes=attributes,
        coordinates=coordinates,
    )
    configuration = {
        "source": upstream or source_identity(source),
        "grid": {"height": info.height, "width": info.width, "tile": tile},
        "features": {"bank": made, "pool": pool, "stride": stride}
        | ({"dtype": "int8"} if coding else {})
        | ({} if domain == "pixels" else {"domain": domain}),
        "algorithms": {"features": algorithms.FEATURES},
    }
    mean = is_mean(bank)
    cell = (info.height, info.width) if mean else (stride, stride)
    side = 1 if mean else tile // stride
    # A tag and no part of the configuration: stores that were begun before have another hash of it.
    seen = None if mean else bank.sees(pool, stride)
    return Plan(final, feature_info(info, bank.features, *cell, coding, seen), side, (features,), configuration)


def fit(
    name: str,
    sources: Sequence[Source],
    tile: int,
    *,
    count: int | None = None,
    size: int | None = None,
    seed: int = 0,
    watch: Watch | None = None,
) -> Bank:
    """Fit a bank on samples of one or more scenes with the same bands.

    watch: is told of masks how much they take out of the samples.

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
    lessons = [Lessons(source, sample_windows(source, tile)) for source in sources]
    return taught(lessons, watch, partial(fit_bank, name, bands=bands, count=count, size=size, seed=seed))


def check_bank_name(name: str) -> None:
    """Refuse the name of a bank that nobody can fit.

    Raises:
        ConfigError: no bank has this name.
    """
    if name not in BANKS:
        raise ConfigError(
            f"no bank is called {name}; choose one of {', '.join(BANKS)}, give the path of a BANK.npz, or onnx:MODEL"
        )


def check_bank(bank: AnyBank, info: SceneInfo, where: str) -> None:
    """Refuse a bank, which lies at `where`, that was fitted on other bands, or a network for other scenes.

    Raises:
        BankError: the bands differ in number, name or order; or a network takes no such pixels, or more of them.
    """
    try:
        bank.check_scene(info.bands, info.name)
        check_pixels(bank, info.dtype, (info.height, info.width), info.name)
    except BankError as error:
        raise BankError(f"{where}: {error}") from error
