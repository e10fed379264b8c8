"""What bands of STAC items are called: by the item, by the files of its assets, by both where one is no name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from pipeline.raster.names import unique
from pipeline.raster.stac_assets import RasterAsset


def names_of(assets: Sequence[RasterAsset], files: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """The names of all bands, asset by asset; `files` are those that each asset's own file gives them.

    A band is called as it was asked for, else as the item calls it, else as its file does. Only where no name is given,
    or two assets have the same, it is ASSET_NAME.
    """
    plain = [_plain(asset, own) for asset, own in zip(assets, files, strict=True)]
    counts = Counter(name for names in plain for name in names)
    found = []
    for asset, names in zip(assets, plain, strict=True):
        for name in names:
            named = name == asset.key or (counts[name] == 1 and not numbered(name))
            found.append(name if asset.bidx or named else f"{asset.key}_{name}")
    return tuple(unique(found))


def _plain(asset: RasterAsset, own: Sequence[str]) -> tuple[str, ...]:
    return asset.names if len(asset.names) == len(own) else tuple(own)


def numbered(name: str) -> bool:
    """True for what `band_names` says where a file gives no name."""
    front, _, number = name.rpartition("_")
    return front == "band" and number.isdecimal()
