"""What to do where that which was given for dates is something else."""

from __future__ import annotations

from pathlib import Path

from pipeline.errors import ConfigError, SourceError
from pipeline.raster.catalogue import is_many, members
from pipeline.raster.classes import is_classes
from pipeline.raster.folders import rasters_in
from pipeline.raster.masks import OWN_MASKS
from pipeline.raster.open import files_of
from pipeline.raster.stac_json import is_stac


def dates_in(folder: Path) -> list[str]:
    """The rasters of a folder of dates. Raises SourceError, which of folders of dates says how they are given."""
    if not rasters_in(folder):
        inner = [path for path in sorted(folder.iterdir()) if path.is_dir() and rasters_in(path)]
        if len(inner) > 1:
            raise SourceError(
                f"{folder} holds no raster, but {len(inner)} folders of them: of dates that are folders of band files "
                f"name each (--stack {folder}/*/)"
            )
    return files_of(folder)


def check_no_items(path: str) -> None:
    """Refuse the items of a STAC file that was given as the one date.

    Raises:
        ConfigError: it has several.
        SourceError: it cannot be read.
    """
    if is_stac(path) and is_many(path):
        items = [member.reference for member in members(path)]
        if len(items) > 1:
            raise ConfigError(
                f"{path} names {len(items)} items, which are dates of --stack where each is given: {items[0]} "
                f"{items[1]}{' ...' if len(items) > 2 else ''}; `run --stack` takes the file too"
            )


def same_time_remedy(one: str, other: str) -> str:
    """Of two files of one time, of which one may be the mask of the other."""
    flags = [path for path in (one, other) if is_classes(Path(path).stem)]
    if len(flags) != 1:
        return "tell them apart by --times"
    return f"if {Path(flags[0]).name} is the mask of the other, it is no date: {OWN_MASKS}"
