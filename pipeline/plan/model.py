"""The plan of a scene: what every stage of it takes."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class StagePlan:
    """One map: `bytes_out` and `task_memory` are upper bounds."""

    name: str
    tiles: int
    tasks: int
    halo: int
    bytes_in: int
    bytes_out: int
    flops: float
    intensity: float
    """FLOPs per byte read from and written to the stores."""
    task_memory: int


@dataclass(frozen=True)
class ScenePlan:
    """A scene's maps, and the peak memory of the process that runs `workers` tasks at a time."""

    name: str
    shape: tuple[int, int, int]
    dtype: str
    tile: int
    workers: int
    stages: list[StagePlan]
    memory: int
    worker_memory: int
    """Of a process that runs one task at a time for a driver elsewhere."""
    driver_memory: int
    """Of that driver, which opens, fits and finishes."""
    products: list[list[str]] = field(default_factory=list)
    """The features' matrix products: layer, m, n, k, GFLOP, FLOP/byte, panel rows, parts along m x n x k."""
    notes: list[str] = field(default_factory=list)
    """What else is good to know: the stride and halo of a network."""
    beside: int = 0
    """Bytes at most that are written beside the values of the stores: rasters, bank, report, item, receipt."""

    @property
    def bytes_out(self) -> int:
        """All that is written, at most."""
        return self.beside + sum(stage.bytes_out for stage in self.stages)

    @property
    def raw_bytes(self) -> int:
        """Of its pixels."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    def to_json(self) -> dict[str, Any]:
        """The plan as JSON types."""
        return asdict(self)
