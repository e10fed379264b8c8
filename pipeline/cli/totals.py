"""The plans of many scenes, added up."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from pipeline.cli.progress import print_bytes
from pipeline.flow.paperwork import counted
from pipeline.plan import ScenePlan


@dataclass
class Totals:
    """Sums over scenes, but for the memory: scenes come one after the other, and the largest counts."""

    scenes: int = 0
    tiles: int = 0
    tasks: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    flops: float = 0.0
    memory: int = 0

    def add(self, plan: ScenePlan) -> None:
        """Add the plan of one scene."""
        self.scenes += 1
        self.memory = max(self.memory, plan.memory)
        self.bytes_out += plan.bytes_out
        for stage in plan.stages:
            self.tiles += stage.tiles
            self.tasks += stage.tasks
            self.bytes_in += stage.bytes_in
            self.flops += stage.flops

    def to_json(self) -> dict[str, Any]:
        """The sums as JSON types."""
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"{counted(self.scenes, 'scene')}: {counted(self.tiles, 'tile')} in {counted(self.tasks, 'task')}, "
            f"{print_bytes(self.bytes_in)} read, "
            f"at most {print_bytes(self.bytes_out)} written, {self.flops / 1e9:.1f} GFLOP, "
            f"peak memory {print_bytes(self.memory)}"
        )
