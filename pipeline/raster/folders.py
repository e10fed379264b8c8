"""What a folder is: the band files of one scene, many scenes, or a catalogue of them."""

from __future__ import annotations

from collections.abc import Container, Sequence
from itertools import combinations
from pathlib import Path

from rasterio.enums import ColorInterp

from pipeline.errors import ConfigError, SourceError
from pipeline.raster.catalogue import CATALOGUES
from pipeline.raster.gdal import GDAL_ERRORS, gdal_env, open_reader
from pipeline.raster.names import band_names, natural_key
from pipeline.raster.times import day_named

RASTER_ENDINGS = {".tif", ".tiff", ".jp2", ".j2k", ".img", ".vrt", ".bil", ".bsq", ".ntf"}

_SCENES, _MADE = ("scene.zarr", "denoised.tif"), "features.tif"
"""What `run` writes into the folder of a scene, beside receipt.json."""


def rasters_in(folder: Path) -> list[Path]:
    """The rasters of a folder by their endings, in the order people expect: B2 before B10."""
    files = [file for file in folder.iterdir() if file.suffix.lower() in RASTER_ENDINGS and file.is_file()]
    return sorted(files, key=_order)


def is_output(folder: Path) -> bool:
    """True for what `run` wrote of a scene: its rasters are no bands of one scene."""
    return (folder / "receipt.json").is_file() and any((folder / name).exists() for name in (*_SCENES, _MADE))


def check_no_output(folder: Path) -> None:
    """Refuse the folder of outputs of a scene, in which the scene is one of several things.

    Raises:
        SourceError: it is one.
    """
    if is_output(folder):
        there = [str(folder / name) for name in _SCENES if (folder / name).exists()]
        raise SourceError(
            f"{folder} holds the outputs of a run, features too, and is no scene; "
            f"give {' or '.join(there) or 'the scene they were made of'}"
        )


def scenes_in(folder: Path, made: Container[Path] = ()) -> list[Path]:
    """What to open for the scenes of a folder, one path for each: the folder itself where it is one scene.

    A store, a folder of outputs, or one of files of one band each: one scene. Files of several bands: each a scene. A
    folder without rasters: its STAC catalogue, unless it was `made` by a run, or else the scenes of the folders in it.

    Raises:
        ConfigError: some files have one band and some have several.
        SourceError: there is no scene in it, or it cannot be listed.
    """
    try:
        found = _scenes_in(folder, made)
        inside = [] if found else sorted((path for path in folder.iterdir() if path.is_dir()), key=_order)
        found = found or [scene for path in inside if path.name[:1] != "." for scene in _scenes_in(path, made)]
    except OSError as error:
        raise SourceError(f"{folder}: cannot be listed: {error.strerror}; name its scenes one by one") from error
    if not found:
        raise SourceError(
            f"{folder} holds no raster ({', '.join(sorted(RASTER_ENDINGS))}), and neither do the folders in it; "
            "give the folder of the band files, or a pattern such as 'scenes/**/*.tif'"
        )
    return found


def _scenes_in(folder: Path, made: Container[Path]) -> list[Path]:
    if (folder / "zarr.json").is_file() or is_output(folder):
        return [folder]
    files = rasters_in(folder)
    if not files:
        catalogues = [folder / name for name in CATALOGUES if (folder / name).is_file()]
        return [path for path in catalogues if path not in made][:1]
    bands = {file: _bands(file) for file in files}
    single = [file for file in files if bands[file] == 1]
    several = [file for file in files if bands[file] > 1]
    if several and not single:
        return files
    if several:
        raise ConfigError(
            f"{folder} holds files of one band ({single[0].name}) and of several ({several[0].name}), which may be one "
            "scene or many; give a pattern ('FOLDER/*.tif') for a scene each, or list the files of one scene"
        )
    return [folder]


def check_one_scene(folder: Path, files: Sequence[str], bands: Sequence[tuple[str, ...]]) -> None:
    """Refuse files of several bands (file, band) of which two have the same: each is a scene, and the folder many.

    Files of different days are dates, of which others tell.

    Raises:
        ConfigError: two have.
    """
    several = [(file, names) for file, names in zip(files, bands, strict=True) if len(names) > 1]
    for (one, names), (other, others) in combinations(several, 2):
        unnamed = band_names([None] * len(names))
        alike = names == others or any(name in others for name in names if name not in unnamed)
        days = {day_named(one), day_named(other)} - {None}
        if alike and len(days) < 2:
            raise ConfigError(
                f"{folder} holds files of the same bands ({Path(one).name}, {Path(other).name}), which `run`, `plan` "
                "and `fit` take for a scene each, and this command for one; name one of them, or list the files of one "
                "scene"
            )


def _bands(path: Path) -> int:
    """Bands of a file without its alpha; 0 where it cannot be opened, which its own scene will say."""
    try:
        with gdal_env(str(path)), open_reader(str(path)) as dataset:
            return sum(kind != ColorInterp.alpha for kind in dataset.colorinterp)
    except GDAL_ERRORS:
        return 0


def _order(path: Path) -> tuple[tuple[tuple[int, int, str], ...], str]:
    return natural_key(path.stem), path.name
