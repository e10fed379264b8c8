"""What many scenes on many workers take: time, bytes, memory, and what the time goes on. The model: docs/cluster.md."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from pipeline.errors import ConfigError
from pipeline.flow.batches import tasks_for
from pipeline.plan.model import ScenePlan
from pipeline.plan.rates import Rates

BUSY = 0.9
"""Of the workers' time: what a campaign should reach."""


@dataclass(frozen=True)
class StageCost:
    """One map over one scene, by the clock: the largest of three is what it takes."""

    name: str
    core_seconds: float
    """Of one scene, all its workers together."""
    compute: float
    storage: float
    """0 where the bandwidth is not known."""
    driver: float
    tasks: int
    bytes_in: int
    bytes_out: int

    @property
    def seconds(self) -> float:
        """By the clock."""
        return max(self.compute, self.storage, self.driver)

    @property
    def limit(self) -> str:
        """What it waits for."""
        of = {"workers": self.compute, "storage": self.storage, "driver": self.driver}
        return max(of, key=lambda name: of[name])


@dataclass(frozen=True)
class Campaign:
    """Many scenes like one: every figure of all of them, unless it says otherwise."""

    scenes: int
    workers: int
    drivers: int
    origin: str
    stages: list[StageCost]
    alone_seconds: float
    """Of one scene: one process alone, before its maps."""
    finish_seconds: float
    """Of one scene: one process, while the maps of the next run."""
    scene_seconds: float
    """From one scene to the next, by the clock."""
    seconds: float
    """By the clock."""
    core_hours: float
    utilisation: float
    """Part of the workers' time that is work."""
    drivers_wanted: int
    """So many runs at a time, each with its share of the workers, would keep nine tenths of them at work."""
    tasks: int
    bytes_in: int
    bytes_out: int
    bandwidth: float
    """Bytes a second that storage must give and take while the maps run, for the workers not to wait."""
    worker_memory: int
    driver_memory: int
    notes: list[str] = field(default_factory=list)

    @property
    def limit(self) -> str:
        """What most of the time goes on: workers, storage or driver."""
        if self.finish_seconds >= self.scene_seconds:
            return "driver"
        spent = {"workers": 0.0, "storage": 0.0, "driver": self.alone_seconds}
        for stage in self.stages:
            spent[stage.limit] += stage.seconds
        return max(spent, key=lambda name: spent[name])

    def to_json(self) -> dict[str, Any]:
        """The campaign as JSON types."""
        return asdict(self) | {"limit": self.limit}


def plan_campaign(
    scene: ScenePlan, rates: Rates, scenes: int, workers: int, drivers: int = 1, bandwidth: float | None = None
) -> Campaign:
    """Many scenes like `scene`, `drivers` runs at a time, each with its share of `workers` of one thread.

    bandwidth: bytes a second that storage gives and takes, all workers together.

    Raises:
        ConfigError: there are more drivers than workers or scenes, or the rates know nothing of a stage.
    """
    if drivers > min(workers, scenes):
        raise ConfigError(f"--drivers {drivers}: at most one for each worker and scene, of {workers} and {scenes}")
    unknown = [stage.name for stage in scene.stages if stage.name not in rates.stages]
    if unknown:
        raise ConfigError(f"{rates.origin} knows nothing of {unknown[0]}; give rates of a run of the same workflow")
    share = workers // drivers
    stages = _stages(scene, rates, share, bandwidth and bandwidth / drivers)
    finish = rates.finish * scene.raw_bytes
    mapping = sum(stage.seconds for stage in stages)
    step = _step(scene, rates, stages)
    work = sum(stage.core_seconds for stage in stages)
    read = sum(stage.bytes_in for stage in stages)
    stored = sum(stage.bytes_out for stage in stages)
    return Campaign(
        scenes=scenes,
        workers=workers,
        drivers=drivers,
        origin=rates.origin,
        stages=stages,
        alone_seconds=rates.alone,
        finish_seconds=finish,
        scene_seconds=step,
        seconds=step * (math.ceil(scenes / drivers) - 1) + rates.alone + mapping + finish,
        core_hours=scenes * (work + rates.alone + finish) / 3600,
        utilisation=work / (share * step),
        drivers_wanted=_drivers(scene, rates, min(workers, scenes), workers),
        tasks=scenes * sum(stage.tasks for stage in stages),
        bytes_in=scenes * read,
        bytes_out=scenes * int(stored + rates.products * scene.raw_bytes),
        bandwidth=drivers * (read + stored) / mapping,
        worker_memory=scene.worker_memory,
        driver_memory=scene.driver_memory,
        notes=list(rates.notes),
    )


def _stages(scene: ScenePlan, rates: Rates, workers: int, bandwidth: float | None) -> list[StageCost]:
    """Every map of one scene on so many workers. The features read what the first map stored, the rest is raw."""
    costs = []
    before = 1.0
    for stage in scene.stages:
        rate = rates.stages[stage.name]
        core = rate.seconds * scene.raw_bytes
        tile = core / stage.tiles
        tasks = tasks_for(stage.tiles, tile, workers)
        read, stored = int(stage.bytes_in * before), int(rate.stored * scene.raw_bytes)
        costs.append(
            StageCost(
                stage.name,
                core,
                tile * math.ceil(stage.tiles / workers),
                (read + stored) / bandwidth if bandwidth else 0.0,
                tasks * rates.task,
                tasks,
                read,
                stored,
            )
        )
        before = min(1.0, rate.stored)
    return costs


def _step(scene: ScenePlan, rates: Rates, stages: list[StageCost]) -> float:
    """Seconds from one scene to the next: its maps, unless the one before takes longer to be finished."""
    return max(rates.alone + sum(stage.seconds for stage in stages), rates.finish * scene.raw_bytes)


def _drivers(scene: ScenePlan, rates: Rates, most: int, workers: int) -> int:
    """The fewest runs at a time that keep BUSY of the workers at work, or else those that keep most of them."""
    best, found = 1, 0.0
    for drivers in range(1, most + 1):
        share = workers // drivers
        stages = _stages(scene, rates, share, None)
        busy = drivers * sum(stage.core_seconds for stage in stages) / (workers * _step(scene, rates, stages))
        if busy >= BUSY:
            return drivers
        if busy > found:
            best, found = drivers, busy
    return best
