"""What `benchmarks.scale` has a real scheduler do, driven by a process of its own so that its memory can be read.

python -m benchmarks.scale_jobs SCHEDULER_FILE nothing|tasks|chunks TILES FOLDER: prints a JSON object.
"""

from __future__ import annotations

import json
import math
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.cluster import open_cluster
from pipeline.flow import batches
from pipeline.flow.compress import SceneJob, scene_plan
from pipeline.flow.crew import Crew
from pipeline.flow.denoise import Denoising
from pipeline.flow.flight import run_map
from pipeline.flow.stages import fill
from pipeline.flow.tasks import Receipt, Wrote
from pipeline.grid import Grid, Tile
from pipeline.raster.open import open_source
from sample_data.generator import Settings, write_scene

TILE = 16


@dataclass(frozen=True)
class Nothing:
    """A stage that does nothing: all its time is overhead."""

    grid: Grid

    def run(self, tile: Tile) -> Wrote:
        """No work at all."""
        return Wrote(1, 1)


def peak_mb(process: int | str = "self") -> float:
    """The most memory that a process ever held, in MB; `getrusage` would count what a parent held before it."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def measured(work: Any) -> dict[str, Any]:
    """Seconds by the clock, of the driver's CPU and in tasks, tasks, and the driver's peak so far."""
    came: list[int] = [0]

    def count(_receipt: Receipt) -> None:
        came[0] += 1

    start, cpu = time.perf_counter(), time.process_time()
    receipt: Receipt = work(count)
    assert not receipt.failures, receipt.failures[0]
    return {
        "tiles": receipt.tiles,
        "resumed": receipt.resumed,
        "tasks": came[0],
        "seconds": time.perf_counter() - start,
        "driver_cpu": time.process_time() - cpu,
        "work": receipt.seconds,
        "work_cpu": receipt.cpu,
        "peak": peak_mb(),
    }


class Counter:
    """A Watch that counts tasks."""

    def __init__(self, count: Any) -> None:
        self._count = count

    def begin(self, stage: str, tiles: int) -> None:
        """Of no interest."""

    def advance(self, receipt: Receipt) -> None:
        """A task of it came back."""
        self._count(receipt)

    def note(self, text: str) -> None:
        """Of no interest."""


def chunks(crew: Any, store: Path, scene: Path, count: Any) -> Receipt:
    """The product's first map without denoising, into plain Zarr, on tiles of TILE x TILE."""
    source = open_source(str(scene))
    denoising = Denoising("none")
    plan = scene_plan(store, source, TILE, denoising, None)
    team = Crew(crew.executor, crew.workers, Counter(count), check=crew.check)
    return fill(plan, lambda path: SceneJob(source, path, TILE, denoising, None), "chunks", team)[1]


def main(scheduler: str, kind: str, tiles: int, folder: Path) -> None:
    """Drive one job and print what it took; of chunks, once more when all are there."""
    side = math.isqrt(tiles)
    with open_cluster(scheduler) as cluster:
        Crew(cluster.executor, cluster.workers).warm()  # or workers would import what they need while the clock runs
        if kind != "chunks":
            if kind == "tasks":
                batches.MOST_TILES = 1
            job = Nothing(Grid(side, tiles // side, 1))
            found = [measured(lambda count: run_map(job, cluster.executor, cluster.workers, progress=count))]
        else:
            scene = folder / "scene.tif"
            write_scene(scene, Settings(height=TILE * side, width=TILE * side, bands=1, seed=1))
            work = partial(chunks, cluster, folder / "scene.zarr", scene)
            found = [measured(work), measured(work)]
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))
