"""The mean of a network's tensor over a whole scene: what a final global pool gives, from tiles.

Every tile leaves the sums of its valid cells, in float64, and their number as a chunk of a store beside the output, so
a run that was ended goes on. The sums are added up as a binary tree over the tiles in raster order: the same bytes,
whoever computed them. The output has one cell, which covers the scene.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import TileError
from pipeline.flow.feature_job import FEATURES, FeatureJob
from pipeline.flow.features import feature_info
from pipeline.flow.journal import Plan
from pipeline.flow.networks import load_bank
from pipeline.flow.not_finite import feature_counts
from pipeline.flow.seen import check_seen
from pipeline.flow.tasks import Job, Receipt, Wrote
from pipeline.grid import Grid, Tile, Window
from pipeline.raster.chunks import check_crc32c, chunk_path, is_whole, pack, put_chunk, remove_tree, whole_size
from pipeline.raster.store_source import open_store
from pipeline.raster.zarr_store import Variable, read_attributes
from pipeline.storage import Place, place

F64 = NDArray[np.float64]
RunMap = Callable[[str, Job], Receipt]
COUNT = "count"


def mean_job(job: FeatureJob, run: RunMap) -> MeanJob:
    """Run the map of the sums, unless the mean is there; then what makes the mean of them.

    Raises:
        TileError: a tile could not be computed.
        ResumeError: sums that are there are of another configuration.
    """
    store = place(job.store)
    if not is_whole(chunk_path(store, FEATURES, 0, 0, 0), check_crc32c):
        plan = _sums_plan(job)
        path = plan.begin()
        sums = SumsJob(job, str(path))
        receipt = run("network", sums)
        if receipt.failures:
            failure = receipt.failures[0]
            raise TileError(f"{job.source.info.name}: {failure}").of(failure.file, failure.window.to_json())
        check_seen(sums, receipt)
        plan.finish(path)
    return MeanJob(job.store)


def sums_path(store: Place) -> Place:
    """Where the sums of a store lie, whether it is whole or being filled."""
    return store.with_name(store.name.removesuffix(".partial") + ".sums")


def remove_sums(store: Place) -> None:
    """Remove the sums of a store, whole or not."""
    path = sums_path(store)
    remove_tree(path)
    remove_tree(path.with_name(path.name + ".partial"))


@dataclass(frozen=True)
class SumsJob:
    """The sums of each tile's valid cells, and their number."""

    job: FeatureJob
    store: str

    @property
    def grid(self) -> Grid:
        """The tiles of the map in scene pixels."""
        return self.job.grid

    def run(self, tile: Tile) -> Wrote:
        """One tile, unless its chunk is there and whole."""
        store, raw, path = place(self.store), self.job.raw_bytes(tile), self.chunk(tile)
        size = whole_size(path, check_crc32c)
        if size is not None:
            return Wrote(raw, size, resumed=True)
        features, known = self.job.compute(tile)
        with np.errstate(invalid="ignore"):
            sums = features[:, known].sum(axis=1, dtype=np.float64)
        data = pack(np.append(sums, known.sum())[:, None, None], (len(sums) + 1, 1, 1), np.nan)
        put_chunk(store, path, data)
        wrote = Wrote(raw, len(data))
        wrote.count(feature_counts(features, known, self.job.source, tile))
        return wrote

    def chunk(self, tile: Tile) -> Place:
        """Where the sums of a tile lie."""
        return chunk_path(place(self.store), FEATURES, 0, tile.row, tile.column)


@dataclass(frozen=True)
class MeanJob:
    """The one cell of the mean, from the sums beside the store."""

    store: str

    @property
    def grid(self) -> Grid:
        """One tile: the mean."""
        return Grid(1, 1, 1)

    def run(self, tile: Tile) -> Wrote:
        """Add up the sums, unless the mean is there."""
        store, path = place(self.store), self.chunk(tile)
        size = whole_size(path, check_crc32c)
        if size is not None:
            return Wrote(0, size, resumed=True)
        sums = open_store(sums_path(store))
        rows = (Window(row, row + 1, 0, sums.info.width) for row in range(sums.info.height))
        with np.errstate(invalid="ignore"):
            total = tree_sum(part for row in rows for part in sums.read(row)[0][:, 0].T)
            mean = (total[:-1] / total[-1]).astype(np.float32)
        data = pack(mean[:, None, None], (len(mean), 1, 1), np.nan)
        put_chunk(store, path, data)
        remove_sums(store)
        return Wrote(0, len(data))

    def chunk(self, tile: Tile) -> Place:
        """Where the mean lies."""
        return chunk_path(place(self.store), FEATURES, 0, tile.row, tile.column)


def tree_sum(parts: Iterable[F64]) -> F64:
    """The sum of the parts as a binary tree in their order: neighbours, then neighbouring pairs, and so on."""
    waiting: list[tuple[int, F64]] = []
    for part in parts:
        level, total = 0, part
        while waiting and waiting[-1][0] == level:
            total = waiting.pop()[1] + total
            level += 1
        waiting.append((level, total))
    total = waiting.pop()[1]
    while waiting:
        total = waiting.pop()[1] + total
    return total


def _sums_plan(job: FeatureJob) -> Plan:
    """The store of the sums: a cell and a chunk for each tile, under the configuration of the output."""
    bank, grid = load_bank(job.bank, job.model, job.digest), job.grid
    names = (*bank.features, COUNT)
    info = feature_info(job.source.info, names, grid.tile, grid.tile)
    configuration: dict[str, Any] = read_attributes(place(job.store))["configuration"]
    sums = Variable(FEATURES, "float64", float("nan"), "feature", names)
    return Plan(sums_path(place(job.store)), replace(info, dtype="float64"), 1, (sums,), configuration)
