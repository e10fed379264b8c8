"""A file of several images, of which the first alone is read: told, for nothing else shows it."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.flow.crew import Watch
from pipeline.raster.geotiff import RasterSource
from pipeline.raster.masks import unmasked
from pipeline.raster.scene import Source
from pipeline.raster.stack import PlacedSource, StackSource
from pipeline.raster.warped import WarpedSource
from pipeline.untrusted import one_line


def tell_images(source: Source, watch: Watch) -> None:
    """Warn of pages and subdatasets that are not read: of the first file of a scene that has some."""
    for file in _files(unmasked(source)):
        count, another = file.images
        if count > 1:
            what = f"{file.path} holds {count} images; the first is read: give {another} for another"
            watch.warn(one_line(what))
            return


def _files(scene: Source) -> Iterator[RasterSource]:
    """The files of a scene, in order."""
    if isinstance(scene, RasterSource):
        yield scene
    elif isinstance(scene, PlacedSource | WarpedSource):
        yield from _files(scene.source)
    elif isinstance(scene, StackSource):
        for member in scene.members:
            yield from _files(member)
