"""The main job on a real scene, whole command by whole command: size, SNR, CPU seconds and peak memory."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.tables import print_table

ROOT = Path(__file__).parents[1]
FULL = ROOT.parent / "shared" / "data" / "s2_18SVG_west_10band_20m.tif"
SAMPLE = ROOT / "sample_data" / "s2_18SVG_crop_10band_20m.tif"


def main(smoke: bool) -> None:
    """`terrasketch run workflows/scene.yaml` on the sample and, where it is there, the scene it was cut from."""
    rows = []
    for path in [SAMPLE] if smoke or not FULL.is_file() else [SAMPLE, FULL]:
        with tempfile.TemporaryDirectory() as folder:
            words = ["run", str(ROOT / "workflows" / "scene.yaml"), str(path), "--out", folder, "--json"]
            result = measured(words)
            scene = json.loads(result["stdout"])["scenes"][0]
        facts = scene["facts"]
        seconds = sum(stage["seconds"] for stage in scene["stages"])
        rows.append(
            [path.stem, f"{facts['ratio']:.2f}", f"{facts['snr']:.1f}", f"{seconds:.1f}", result["cpu"], result["peak"]]
        )
    print_table(["scene", "times smaller", "SNR dB", "two maps, s", "CPU s, whole command", "peak memory, MB"], rows)


def measured(words: list[str]) -> dict[str, str]:
    """Run a command of ours; its stdout, CPU seconds and peak resident memory as text."""
    script = (
        "import resource, subprocess, sys; r = subprocess.run(sys.argv[1:]); "
        "u = resource.getrusage(resource.RUSAGE_CHILDREN); "
        "print(f'{u.ru_utime + u.ru_stime:.1f} {u.ru_maxrss / 1024:.0f}', file=sys.stderr); sys.exit(r.returncode)"
    )
    command = [sys.executable, "-m", "pipeline.cli", *words]
    done = subprocess.run([sys.executable, "-c", script, *command], capture_output=True, text=True, check=True)
    cpu, peak = done.stderr.split()[-2:]
    return {"stdout": done.stdout, "cpu": cpu, "peak": peak}
