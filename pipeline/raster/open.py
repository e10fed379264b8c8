"""The one door for pixels that come in: a raster, a folder or list of band files, or a STAC item becomes a Source."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from pipeline.errors import ConfigError, SourceError
from pipeline.raster.band_values import item_values
from pipeline.raster.folders import RASTER_ENDINGS, check_no_output, check_one_scene, rasters_in
from pipeline.raster.geotiff import RasterSource, open_raster
from pipeline.raster.masks import MaskChoice, masked
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
from pipeline.raster.stac_assets import chosen_assets, mask_asset, read_item
from pipeline.raster.stac_bands import names_of
from pipeline.raster.stac_json import is_stac
from pipeline.raster.stack import stack
from pipeline.raster.warped import check_resampling
from pipeline.raster.zarr_store import of_other_zarr
from pipeline.storage import check_named

PathLike = str | os.PathLike[str]


def open_source(
    paths: PathLike | Sequence[PathLike],
    *,
    bidx: Sequence[int] | None = None,
    bands: Sequence[str] | None = None,
    resolution: float | tuple[float, float] | None = None,
    resampling: str | None = None,
    nodata: float | None = None,
    mask_band: str | None = None,
    mask_values: Sequence[int] | None = None,
    mask_bits: Sequence[int] | None = None,
) -> Source:
    """Open a scene for reading by windows.

    Args:
        paths: any GDAL path; a folder of band files or a list of them (stacked on the finest grid); a STAC item
            (`.json`, or `.json#ID` in an item collection), whose raster assets with the role `data` are taken where
            `bands` names none.
        bidx: numbers of the bands, from 1: of the file, or of the stack.
        bands: or their names; for a STAC item asset keys, band names or common names.
        resolution: size of a pixel in units of the CRS, or (x, y) sizes; the finest file's own by default.
        resampling: nearest, bilinear, cubic, average... By default files finer than the grid are averaged, others
            placed by nearest; bands of classes (SCL, QA) are never mixed.
        nodata: the sentinel of all bands, in place of the files' own.
        mask_band: [CODING:]BAND or FILE of a mask of clouds: a band or asset of the scene, which is then none of its
            bands, or a file of its own. CODING is scl, qa_pixel, fmask or cfmask, where the name does not say.
        mask_values: what values of the mask are out, in place of the coding's.
        mask_bits: or any value with one of these bits, from 0.

    Returns:
        A source that pickles and holds no open handle; a MaskedSource where there is a mask.

    Raises:
        SourceError: something cannot be opened, or the files cannot be stacked; one line that says what and how.
        ConfigError: an option names what is not there.
    """
    if resampling is not None:
        check_resampling(resampling)
    choice = MaskChoice.of(mask_band, mask_values, mask_bits)
    texts = _named(paths)
    if not texts:
        raise SourceError("no file was given; name a raster, a folder of band files, or a STAC item")
    if len(texts) == 1 and is_stac(texts[0]):
        return _open_item(texts[0], bidx, bands, resolution, resampling, nodata, choice)
    name = scene_name(texts[0])
    if len(texts) == 1 and os.path.isdir(texts[0]):
        name = safe_name(Path(texts[0]).resolve().name)
        texts = files_of(Path(texts[0]))
    elif len(texts) > 1:
        name = _common_name(texts)
    if len(texts) == 1 and resolution is None:
        return _open_file(texts[0], bidx, bands, nodata, choice)
    for text in texts:
        _check_file(text)
    sources = _opened(paths, texts, nodata, chosen=bool(bidx or bands))
    names = _stacked_names(sources, texts)
    found = choice.find(names) if choice else None
    positions = _kept(choose(names, bidx, bands, name), found, names, bidx or bands)
    scene = stack(name, sources, names, positions, resolution=resolution, resampling=resampling)
    return _with_mask(scene, choice, *_band_of(sources, names, found))


def _opened(
    paths: PathLike | Sequence[PathLike], texts: Sequence[str], nodata: float | None, *, chosen: bool
) -> list[RasterSource]:
    """The files of a scene; those of a folder, of which no bands are chosen, must be of one."""
    sources = [open_raster(text, nodata=nodata) for text in texts]
    named = _named(paths)
    if len(named) == 1 and len(texts) > 1 and not chosen:
        check_one_scene(Path(named[0]), texts, [source.info.bands for source in sources])
    return sources


def _named(paths: PathLike | Sequence[PathLike]) -> list[str]:
    """The paths as texts, none of them empty."""
    texts = [os.fspath(path) for path in ([paths] if isinstance(paths, str | os.PathLike) else paths)]
    for text in texts:
        check_named(text)
    return texts


def _open_file(
    path: str,
    bidx: Sequence[int] | None,
    bands: Sequence[str] | None,
    nodata: float | None,
    choice: MaskChoice | None,
) -> Source:
    """One file as it is; a band of it that is the mask is none of the scene's."""
    if choice is None:
        return open_raster(path, bidx=bidx, bands=bands, nodata=nodata)
    whole = open_raster(path)
    found = choice.find(whole.info.bands, whole.indexes)
    if found is not None:
        names, numbers = whole.info.bands, whole.indexes
        # By number an alpha band can be asked for, which is at no position.
        asked = [numbers.index(n) if n in numbers else -1 for n in bidx] if bidx else choose(names, None, bands, path)
        kept = _kept(asked, found, names, bidx or bands)
        bidx, bands = (bidx, bands) if bidx or bands else ([numbers[i] for i in kept], None)
    scene = open_raster(path, bidx=bidx, bands=bands, nodata=nodata)
    return _with_mask(scene, choice, *_band_of([whole], whole.info.bands, found))


def _kept(
    positions: Sequence[int], found: int | None, names: Sequence[str], asked: Sequence[object] | None
) -> tuple[int, ...]:
    """Positions of the bands without that of the mask, which may not be asked for."""
    if found in positions and asked:
        raise ConfigError(f"{names[found or 0]} is the mask, and none of the scene's bands; leave it out of the bands")
    kept = tuple(position for position in positions if position != found)
    if not kept:
        raise ConfigError(f"{names[found or 0]} is the mask, and there is no other band; name a scene with some")
    return kept


def _band_of(
    sources: Sequence[RasterSource], names: Sequence[str], position: int | None
) -> tuple[RasterSource | None, str]:
    """The band at a position over all files, and its name."""
    if position is None:
        return None, ""
    files = [(source, band) for source in sources for band in range(len(source.indexes))]
    source, band = files[position]
    return source.select([band]), names[position]


def _with_mask(scene: Source, choice: MaskChoice | None, mask: RasterSource | None, name: str) -> Source:
    """The scene with its mask, found under this name; a file of its own where it is none of the bands."""
    if choice is None:
        return scene
    mask = choice.open_file(scene.info) if mask is None else mask
    return masked(scene, mask, choice.rule(name or Path(choice.target).name), choice.target)


def with_mask_file(
    scene: Source, mask_band: str | None, mask_values: Sequence[int] | None, mask_bits: Sequence[int] | None
) -> Source:
    """A store with a mask, which is a file of its own. Raises as `open_source` does."""
    return _with_mask(scene, MaskChoice.of(mask_band, mask_values, mask_bits), None, "")


def _open_item(
    path: str,
    bidx: Sequence[int] | None,
    bands: Sequence[str] | None,
    resolution: float | tuple[float, float] | None,
    resampling: str | None,
    nodata: float | None,
    choice: MaskChoice | None,
) -> Source:
    """A STAC item: one asset is a raster of its own, several are stacked; one may be the mask."""
    item = read_item(path)
    assets = chosen_assets(item, bands, path, cache(lambda href: open_raster(href).info.bands))
    name = safe_name(item.id)
    asset = mask_asset(item, choice.target) if choice else None
    mask = open_raster(asset.href) if asset else None
    if asset:
        keys = [one.key for one in assets]
        kept = _kept(range(len(keys)), keys.index(asset.key) if asset.key in keys else None, keys, bands)
        assets = [assets[position] for position in kept]
    said = [item_values(item.assets[one.key].extra_fields, item.properties) for one in assets]
    sources = [
        open_raster(one.href, bidx=one.bidx, nodata=nodata, said=values)
        for one, values in zip(assets, said, strict=True)
    ]
    names = names_of(assets, [source.info.bands for source in sources])
    sources = [_with_tags(source, one.tags) for source, one in zip(sources, assets, strict=True)]
    positions = choose(names, bidx, None, path)
    scene = stack(name, sources, names, positions, resolution=resolution, resampling=resampling)
    return _with_mask(scene, choice, mask, asset.key if asset else "")


def _with_tags(source: RasterSource, tags: Sequence[Mapping[str, str]]) -> RasterSource:
    """What an item says of its bands stands beside what the file says."""
    if len(tags) != len(source.info.bands) or not any(tags):
        return source
    both = tuple({**said, **own} for said, own in zip(tags, source.info.band_tags, strict=True))
    return replace(source, info=replace(source.info, band_tags=both))


def files_of(folder: Path) -> list[str]:
    """The rasters of a folder in the order people expect. Raises SourceError where there are none, or outputs."""
    if (folder / "zarr.json").exists():
        raise SourceError(f"{folder} is a Zarr store, no folder of band files; open it as a store")
    if any((folder / name).exists() for name in (".zgroup", ".zarray", ".zmetadata")):
        raise SourceError(f"{folder} is Zarr of version 2; give a store of terrasketch, {of_other_zarr(folder)}")
    check_no_output(folder)
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
