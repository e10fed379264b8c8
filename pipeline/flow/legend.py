"""What the values of a map of classes mean: a JSON legend beside the COG, and GDAL's category names in its .aux.xml."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from pipeline.flow.paperwork import write_json, write_text

LEGEND = ".legend.json"


def legend_files(target: Path) -> list[Path]:
    """What `write_legend` writes beside a map."""
    return [target.with_suffix(LEGEND), target.with_name(target.name + ".aux.xml")]


def write_legend(target: Path, legend: list[dict[str, Any]]) -> None:
    """Entries with `value` (1 ... k, in order), `name` and `colour`; value 0 is nodata and has no name.

    GeoTIFF itself has no place for names: GDAL and QGIS look in the file's .aux.xml.

    Raises:
        OutputError: they cannot be written.
    """
    entries, categories = legend_files(target)
    write_json(entries, legend)
    names = "".join(f"      <Category>{escape(name)}</Category>\n" for name in ["", *(str(e["name"]) for e in legend)])
    write_text(
        categories,
        '<PAMDataset>\n  <PAMRasterBand band="1">\n    <CategoryNames>\n'
        f"{names}    </CategoryNames>\n  </PAMRasterBand>\n</PAMDataset>\n",
    )
