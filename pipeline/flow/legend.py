"""What the values of a map of classes mean: a JSON legend beside the COG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.flow.paperwork import write_json
from pipeline.raster.sidecar import sidecar

LEGEND = ".legend.json"


def legend_files(target: Path) -> list[Path]:
    """What lies beside a map of classes: the legend, and the COG's own names of its values."""
    return [target.with_suffix(LEGEND), Path(str(sidecar(target)))]


def write_legend(target: Path, legend: list[dict[str, Any]]) -> None:
    """Entries with `value` (1 ... k, in order), `name` and `colour`; value 0 is nodata and has no name.

    Raises:
        OutputError: it cannot be written.
    """
    write_json(target.with_suffix(LEGEND), legend)
