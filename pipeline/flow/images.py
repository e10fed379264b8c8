"""A file of several images, of which the first alone is read: told, for nothing else shows it."""

from __future__ import annotations

from pipeline.flow.crew import Watch
from pipeline.flow.rasters import rasters_of
from pipeline.raster.scene import Source
from pipeline.untrusted import one_line


def tell_images(source: Source, watch: Watch) -> None:
    """Warn of pages and subdatasets that are not read: of the first file of a scene that has some."""
    for file in rasters_of(source):
        count, another = file.images
        if count > 1:
            what = f"{file.path} holds {count} images; the first is read: give {another} for another"
            watch.warn(one_line(what))
            return
