"""The file NAME.aux.xml beside a raster, in which GDAL and QGIS look for what GeoTIFF has no place for.

That is a CRS without GeoTIFF keys (rotated poles, some projections of the world), and names of classes. GDAL writes
more into it, which the COG itself holds and ours leaves out: what stands twice can contradict.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from xml.etree import ElementTree

from pipeline.raster.files import writing
from pipeline.storage import Place, put_whole


def sidecar(path: Place) -> Place:
    """Where the sidecar of a raster lies."""
    return path.with_name(f"{path.name}.aux.xml")


def words_beside(cog: Path, categories: Sequence[str] = ()) -> bytes | None:
    """The sidecar of a COG that GDAL has just made with one of its own: its CRS, if that holds it, and categories.

    Args:
        cog: the draft, alone with its sidecar.
        categories: names of the values 0, 1 ... of the only band.

    Returns:
        None where there is nothing to say.
    """
    root = ElementTree.Element("PAMDataset")
    with suppress(FileNotFoundError):
        crs = ElementTree.parse(sidecar(cog)).find("SRS")  # type: ignore[arg-type]
        if crs is not None:
            root.append(crs)
    if categories:
        band = ElementTree.SubElement(root, "PAMRasterBand", band="1")
        names = ElementTree.SubElement(band, "CategoryNames")
        for name in categories:
            ElementTree.SubElement(names, "Category").text = name
    if not len(root):
        return None
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode").encode() + b"\n"


@contextmanager
def put_beside(path: Place, words: bytes | None) -> Iterator[None]:
    """Put the sidecar of the raster that the block puts at `path`, or take away that of the one before.

    The sidecar comes first: who is killed in the block leaves no new raster without its CRS, but may leave the one that
    it was to replace with the new one's. Where the block fails, all is as it was.

    Raises:
        OutputError: it cannot be written.
    """
    place = sidecar(path)
    with writing(place, (OSError,), str):
        before = place.read_bytes() if place.is_file() else None
        _settle(place, words, before)
    try:
        yield
    except BaseException:
        with suppress(OSError):
            _settle(place, before, words)
        raise


def _settle(place: Place, words: bytes | None, before: bytes | None) -> None:
    if words is not None:
        put_whole(place, words)
    elif before is not None:
        place.unlink(missing_ok=True)
