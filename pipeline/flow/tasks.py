"""The task of a map: some tiles, one after the other, and a small receipt of what became of them.

A tile that cannot be computed is a line in its receipt and the others go on; an output that cannot be written ends
the task.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import WORKER, Interrupted, OutputError, TerrasketchError
from pipeline.flow.ends import NO_PAIR, Pair, join
from pipeline.flow.threads import one_blas_thread
from pipeline.grid import Grid, Tile, Window
from pipeline.raster.gdal import gdal_env
from pipeline.storage import Place

Argument = TypeVar("Argument")
Result = TypeVar("Result")
Sums = tuple[tuple[int, float], ...]
"""Of each band: real elements, and the sum of their squared errors in data units."""

KEPT = 1000
"""Failures of a map that are kept: all may fail, and the driver's memory stays bounded."""

_halted: set[str] = set()
"""The maps that were ended early, in every process that works."""


def halt(name: str) -> None:
    """Let this process begin no other tile of a map."""
    _halted.add(name)


@dataclass
class Counts:
    """What a tile tells of itself, and tasks and maps add up."""

    raw: int = 0
    """Bytes read, as raw pixels."""
    stored: int = 0
    """Bytes of its chunks."""
    resumed: int = 0
    """Tiles that were there already."""
    clipped: int = 0
    """Values beyond the range that the output can hold."""
    valid: int = 0
    seen: int = 0
    """Valid pixels of tiles of a scene, and those that have all bands of some date."""
    judged: int = 0
    masked: int = 0
    """Those, or the valid pixels of all dates that are denoised apart, and those of them that a mask takes out of
    learning."""
    clouded: int = 0
    unheeded: int = 0
    """Tiles that learn from masked pixels too, for few are clear, and those pixels, which are among `masked`."""
    varied: int = 0
    flat: int = 0
    """Compressed tiles whose values vary, and those of them of which nothing but a constant is kept."""
    infinite: int = 0
    """Pixels of tiles of a scene that have an infinity in some band."""
    lacking: int = 0
    """Pixels of tiles that are denoised which lack a band and have others."""
    mended: int = 0
    """Values of tiles that are denoised which were taken for impulses or dead lines, and foretold."""
    not_finite: int = 0
    not_finite_features: int = 0
    """Values of features, where pixels are valid, that are infinite or not a number; and which features have them, a
    bit for each."""
    cells: int = 0
    featured: int = 0
    scene_pixels: int = 0
    pixels: int = 0
    """Of tiles of features: cells, and those of them that are valid; pixels of the scene, and those that are."""
    masked_on: dict[int, int] = field(default_factory=dict)
    """By the number of a date of a stack: pixels that its mask takes out of such tiles."""
    ends: Pair = NO_PAIR
    """Of the values read, where somebody asks."""
    storing: dict[int, Sums] = field(default_factory=dict)
    """By the number of a tile of a scene, where somebody asks: what storing it cost each band."""
    sums: NDArray[np.int64] | None = None
    """Of the cells of each group (`answers/kmeans.py`), where there are groups."""

    def count(self, other: Counts) -> None:
        """Add what another tells."""
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.not_finite_features |= other.not_finite_features
        self.ends = join(self.ends, other.ends)
        self.storing = self.storing | other.storing
        for date, pixels in other.masked_on.items():
            self.masked_on[date] = self.masked_on.get(date, 0) + pixels
        if other.sums is not None:
            self.sums = other.sums if self.sums is None else self.sums + other.sums


_UNLIKE = ("not_finite_features", "masked_on", "ends", "storing", "sums")
_SUMS = [one.name for one in fields(Counts) if one.name not in _UNLIKE]


@dataclass
class Wrote(Counts):
    """What became of one tile."""

    beside: int = 0
    """Of the bytes stored, those of the chunk of its mask: the others are the chunk's that ends the task."""


class Job(Protocol):
    """What every task of one map needs: picklable, a few kilobytes at most."""

    @property
    def grid(self) -> Grid:
        """The tiles of the map."""

    def run(self, tile: Tile) -> Wrote:
        """Compute one tile and write its chunk."""

    def chunk(self, tile: Tile) -> Place:
        """Where that chunk lies."""


@dataclass(frozen=True)
class Failure:
    """A tile that could not be computed, and the file that is to blame where one is."""

    tile: int
    window: Window
    error: str
    file: str | None = None

    @classmethod
    def of(cls, job: Job, index: int, error: BaseException) -> Failure:
        """What went wrong with a tile of a job, in one line."""
        text = " ".join((str(error) or type(error).__name__).split())
        if WORKER.get():
            text = f"worker {WORKER.get()}: {text}"
        return cls(index, job.grid[index].window, text, getattr(error, "file", None))

    def __str__(self) -> str:
        return f"tile {self.tile} ({self.window}): {self.error}"


@dataclass
class Receipt(Counts):
    """What tasks report and maps add up: counts, bytes, seconds of work, and the tiles that failed."""

    tiles: int = 0
    seconds: float = 0.0
    cpu: float = 0.0
    """Seconds of processor, of the threads that ran the tasks."""
    failed: int = 0
    failures: list[Failure] = field(default_factory=list)
    """The first of them, KEPT at most."""
    there: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Of each worker of a cluster a tile of which it says that it is written, and the bytes of its chunk."""

    @property
    def met(self) -> int:
        """Tiles that were tried."""
        return self.tiles + self.failed

    def add(self, other: Receipt) -> None:
        """Add another receipt to this one."""
        self.count(other)
        self.tiles += other.tiles
        self.seconds += other.seconds
        self.cpu += other.cpu
        self.failed += other.failed
        self.failures += other.failures[: max(0, KEPT - len(self.failures))]
        self.there |= other.there


def run_batch(job: Job, first: int, last: int, seconds: float = float("inf"), name: str = "") -> Receipt:
    """The task: tiles first..last of the job's grid, one after the other, on one BLAS thread.

    No tile is begun after `seconds`, nor once the map `name` is halted; the receipt tells how many were `met`.
    """
    receipt = Receipt()
    grid, run = job.grid, job.run
    start, cpu = time.perf_counter(), time.thread_time()
    with one_blas_thread(), gdal_env():
        for index in range(first, last):
            if name in _halted or (index > first and time.perf_counter() - start > seconds):
                break
            try:
                wrote = run(grid[index])
            except OutputError:
                raise
            except (TerrasketchError, MemoryError) as error:
                receipt.failed += 1
                receipt.failures.append(Failure.of(job, index, error))
                continue
            receipt.tiles += 1
            receipt.count(wrote)
            if WORKER.get():
                receipt.there[WORKER.get()] = index, wrote.stored - wrote.beside
    receipt.seconds = time.perf_counter() - start
    receipt.cpu = time.thread_time() - cpu
    return receipt


def run_one(function: Callable[[Argument], Result], argument: Argument, name: str) -> Result:
    """The task of `gather`: function(argument) on one BLAS thread, unless `name` is halted."""
    if name in _halted:
        raise Interrupted("stopped")
    with one_blas_thread():
        return function(argument)
