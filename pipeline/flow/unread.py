"""What of files is not read as data, or not as what it is, though nothing else shows it: further images, alpha that is
like a band, dates that are taken for bands."""

from __future__ import annotations

from pipeline.flow.crew import Watch
from pipeline.flow.rasters import rasters_of
from pipeline.flow.told_dates import tell_dates
from pipeline.raster.alpha import alpha_as_data
from pipeline.raster.scene import Source
from pipeline.untrusted import one_line


def tell_unread(source: Source, watch: Watch) -> None:
    """Warn of pages and subdatasets that are not read, and of alpha that looks like data: of the first file of a scene
    that has some. And of dates, as `tell_dates` does."""
    files = list(rasters_of(source))
    for file in files:
        count, another = file.images
        if count > 1:
            what = f"{file.path} holds {count} images; the first is read: give {another} for another"
            watch.warn(one_line(what))
            break
    tell_dates(source, watch)
    for file in files:
        why = None if file.alpha is None else alpha_as_data(file.path, file.alpha)
        if file.alpha is not None and why is not None:
            most = max(file.alpha, *file.indexes)
            what = f"band {file.alpha} of {file.path} is tagged alpha and taken for a mask, but {why}"
            watch.warn(one_line(f"{what}; choose it as well if it is data: -b 1..{most}"))
            break
