"""The one door for pixels that come in: a raster, a folder or list of band files, or a STAC item becomes a Source."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pipeline.errors import SourceError
from pipeline.raster.folders import RASTER_ENDINGS, rasters_in
from pipeline.raster.geotiff import RasterSource, open_raster
from pipeline.raster.names import (
    band_names,
    choose,
    file_labels,
    safe_name,
    scene_name,
    shared_front,
    unique,
)
from pipeline.raster.scene import Source
from pipeline.raster.stac_assets import chosen_assets, read_item
from pipeline.raster.stac_json import is_stac
from pipeline.raster.stack import stack
from pipeline.raster.warped import check_resampling

PathLike = str | os.PathLike[str]


def open_source(
    paths: PathLike | Sequence[PathLike],
    *,
    bidx: Sequence[int] | None = None,
    bands: Sequence[str] | None = None,
    resolution: float | tuple[float, float] | None = None,
    resampling: str = "nearest",
    nodata: float | None = None,
) -> Source:
    """Open a scene for reading by windows.

    Args:
        paths: any GDAL path; a folder of band files or a list of them (stacked on the finest grid); a STAC item
            (`.json`, or `.json#ID` in an item collection), whose raster assets with the role `data` are taken where
            `bands` names none.
        bidx: numbers of the bands, from 1: of the file, or of the stack.
        bands: or their names; for a STAC item asset keys, band names or common names.
        resolution: size of a pixel in units of the CRS, or (x, y) sizes; the finest file's own by default.
        resampling: how files of another resolution are placed: nearest (default), bilinear, cubic, average...
        nodata: the sentinel of all bands, in place of the files' own.

    Returns:
        A source that pickles and holds no open handle.

    Raises:
        SourceError: something cannot be opened, or the files cannot be stacked; one line that says what and how.
        ConfigError: an option names what is not there.
    """
    check_resampling(resampling)
    given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    texts = [os.fspath(path) for path in given]
    if not texts:
        raise SourceError("no file was given; name a raster, a folder of band files, or a STAC item")
    if len(texts) == 1 and is_stac(texts[0]):
        return _open_item(texts[0], bidx, bands, resolution, resampling, nodata)
    name = scene_name(texts[0])
    if len(texts) == 1 and os.path.isdir(texts[0]):
        name = safe_name(Path(texts[0]).resolve().name)
        texts = _files_of(Path(texts[0]))
    elif len(texts) > 1:
        name = _common_name(texts)
    if len(texts) == 1 and resolution is None:
        return open_raster(texts[0], bidx=bidx, bands=bands, nodata=nodata)
    for text in texts:
        _check_file(text)
    sources = [open_raster(text, nodata=nodata) for text in texts]
    names = _stacked_names(sources, texts)
    positions = choose(names, bidx, bands, name)
    return stack(name, sources, names, positions, resolution=resolution, resampling=resampling)


def _open_item(
    path: str,
    bidx: Sequence[int] | None,
    bands: Sequence[str] | None,
    resolution: float | tuple[float, float] | None,
    resampling: str,
    nodata: float | None,
) -> Source:
    """A STAC item: one asset is a raster of its own, several are stacked."""
    item = read_item(path)
    assets = chosen_assets(item, bands, path)
    name = safe_name(item.id)
    sources = [open_raster(asset.href, bidx=asset.bidx, nodata=nodata) for asset in assets]
    names: list[str] = []
    for source, asset in zip(sources, assets, strict=True):
        labelled = len(source.info.bands) == len(asset.names)
        names += asset.names if labelled else [f"{asset.key}_{band}" for band in source.info.bands]
    sources = [_with_tags(source, asset.tags) for source, asset in zip(sources, assets, strict=True)]
    names = list(unique(names))
    positions = choose(names, bidx, None, path)
    return stack(name, sources, names, positions, resolution=resolution, resampling=resampling)


def _with_tags(source: RasterSource, tags: Sequence[Mapping[str, str]]) -> RasterSource:
    """What an item says of its bands stands beside what the file says."""
    if len(tags) != len(source.info.bands) or not any(tags):
        return source
    both = tuple({**said, **own} for said, own in zip(tags, source.info.band_tags, strict=True))
    return replace(source, info=replace(source.info, band_tags=both))


def _files_of(folder: Path) -> list[str]:
    if (folder / "zarr.json").exists():
        raise SourceError(f"{folder} is a Zarr store, no folder of band files; open it as a store")
    files = rasters_in(folder)
    if not files:
        raise SourceError(
            f"{folder} holds no raster ({', '.join(sorted(RASTER_ENDINGS))}); give the folder of the band files"
        )
    return [str(file) for file in files]


def _check_file(path: str) -> None:
    if os.path.isdir(path):
        raise SourceError(f"{path} is a folder within a list; give one folder alone, or its files")
    if is_stac(path):
        raise SourceError(f"{path} is an item within a list of rasters; give it alone")


def _common_name(paths: Sequence[str]) -> str:
    """The words all files begin with, or their folder."""
    stems = [Path(path).stem for path in paths]
    common = stems[0][: shared_front(stems)].rstrip("_-. ")
    return safe_name(common if len(common) > 2 else Path(paths[0]).resolve().parent.name)


def _stacked_names(sources: Sequence[RasterSource], paths: Sequence[str]) -> tuple[str, ...]:
    """A single-band file is called by what tells it from the others; bands of one file by their own names too."""
    names: list[str] = []
    labels = file_labels(paths)
    for source, label in zip(sources, labels, strict=True):
        own = source.info.bands
        if len(sources) == 1:
            names += own
        elif len(own) == 1:
            names.append(label if own == band_names([None]) else own[0])
        else:
            names += [f"{label}_{band}" for band in own]
    return tuple(unique(names))
