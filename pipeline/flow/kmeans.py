"""Groups of a scene: a seeded sample of its cells -> k-means -> the group of every cell, in colours, and a legend."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.answers import Groups
from pipeline.answers.colours import hex_of, palette
from pipeline.flow.crew import Crew
from pipeline.flow.holes import blamed
from pipeline.flow.legend import legend_files, write_legend
from pipeline.flow.maps import Layer, write_map
from pipeline.flow.tasks import Receipt
from pipeline.flow.threads import one_blas_thread
from pipeline.flow.values import Values, sample_cells
from pipeline.raster.store_source import StoreSource


def write_groups(
    values: Values, target: Path, crew: Crew, *, count: int, seed: int
) -> tuple[Receipt, list[dict[str, Any]]]:
    """Write the map of `count` groups at `target`, with its legend beside it; returns the receipt and the legend.

    Raises:
        OutputError, TileError: as for `write_map`.
        BlockError: fewer different cells than groups.
    """
    info = values.source.info
    crew.watch.note(f"{info.name}: {count} groups of {len(info.bands)} features")
    sample = sample_cells(values, seed, crew.gather)
    with one_blas_thread(), blamed(values.source, values.tile):
        model = Groups.fit(sample, count, seed)
    colours = palette(count)
    names = [f"group {number}" for number in range(1, count + 1)]

    def finish(store: StoreSource, made: Receipt) -> list[dict[str, Any]]:
        assert made.sums is not None
        cells = made.sums[:, -1].tolist()
        total = max(1, sum(cells))
        legend = [
            {"value": number, "name": names[number - 1], "colour": hex_of(colours[number - 1])}
            | {"cells": cells[number - 1], "share": round(cells[number - 1] / total, 6), "features": traits}
            for number, traits in enumerate(model.traits(made.sums, info.bands), 1)
        ]
        write_legend(target, legend)
        return legend

    layer = Layer("group", "uint8", dict(enumerate(colours, 1)), tuple(names))
    return write_map(values, target, layer, "groups", model, crew, finish=finish, beside=legend_files(target))
