"""What a second worker brings, and what a campaign's plan makes of a run: predicted beside measured."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from benchmarks.scene import measured
from benchmarks.tables import print_table
from sample_data.generator import Settings, write_scene

_WORKFLOW = """
version: 1
features: {bank: classic, stride: 8}
write: {cog: [], report: false}
"""


def main(smoke: bool, side: int = 4000) -> None:
    """One scene on one worker and on two, as threads and as processes: wall and CPU of its maps, beside the plan's.

    Processes start with their imports and kernels inside the first map.
    """
    side = 512 if smoke else side
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        path, workflow = Path(folder) / "scene.tif", Path(folder) / "job.yaml"
        workflow.write_text(_WORKFLOW)
        write_scene(path, Settings(height=side, width=side, bands=4, seed=1))
        for scheduler in ("threads", "processes"):
            alone = 0.0
            for workers in (2,) if smoke else (1, 2):
                words = [str(workflow), str(path), "--workers", str(workers), "--json"]
                planned = json.loads(measured(["plan", *words, "--scenes", "1", "--calibrate"])["stdout"])["campaign"]
                out = ["--scheduler", scheduler, "--out", f"{folder}/{scheduler}{workers}"]
                ran = measured(["run", *words, *out])
                found = json.loads(ran["stdout"])["scenes"][0]
                wall, cpu = (sum(stage[key] for stage in found["stages"]) for key in ("seconds", "cpu_seconds"))
                alone = alone or wall
                core = sum(stage["core_seconds"] for stage in planned["stages"])
                rows.append(
                    [
                        f"{workers} {scheduler}",
                        f"{wall:.1f}",
                        f"{alone / wall / workers:.2f}",
                        f"{cpu:.1f}",
                        f"{cpu / (workers * wall):.2f}",
                        f"{core:.1f}",
                        f"{core / cpu - 1:+.0%}",
                        f"{planned['seconds']:.1f}",
                        f"{found['seconds']:.1f}",
                        ran["cpu"],
                    ]
                )
    print(f"{side} x {side} x 4, two maps\n")
    head = ["workers", "wall, s", "efficiency by wall", "CPU, s", "cores kept busy", "planned CPU, s", "its error"]
    print_table([*head, "planned wall of all, s", "wall of all, s", "CPU of the command, s"], rows)
