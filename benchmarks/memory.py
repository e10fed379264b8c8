"""Is the memory bounded, and does `plan` know it? One wide scene from the generator through the whole pass."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from benchmarks.scene import measured
from benchmarks.tables import print_table
from sample_data.generator import Settings, write_scene

_WORKFLOW = """
version: 1
out: out
features: {bank: classic, stride: 8}
write: {cog: [denoised, features], report: true}
run: {workers: 2}
"""


def main(smoke: bool) -> None:
    """Peak memory of `run` beside the plan's, on 4 bands of growing size."""
    rows = []
    for side in [512] if smoke else [2000, 8000]:
        with tempfile.TemporaryDirectory() as folder:
            scene, workflow = Path(folder) / "scene.tif", Path(folder) / "job.yaml"
            workflow.write_text(_WORKFLOW)
            write_scene(scene, Settings(height=side, width=side, bands=4, seed=1, holes=0.05))
            planned = json.loads(measured(["plan", str(workflow), str(scene), "--json"])["stdout"])["scenes"][0]
            ran = measured(["run", str(workflow), str(scene), "--json"])
        seconds = sum(stage["seconds"] for stage in json.loads(ran["stdout"])["scenes"][0]["stages"])
        rows.append(
            [f"{side} x {side} x 4", f"{planned['memory'] / 2**20:.0f}", ran["peak"], f"{seconds:.0f}", ran["cpu"]]
        )
    print("threads, 2 workers, tiles of 256\n")
    print_table(["scene", "planned peak, MB", "measured peak, MB", "two maps, s", "CPU s, whole command"], rows)
