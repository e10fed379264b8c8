"""The whole pass against the script that somebody with the same wishes would write today, process by process.

The script wants torch, rioxarray, scikit-learn, imagecodecs and bm3d; the environment variable PEERS may name a Python
that has them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.scene import ROOT, measured
from benchmarks.tables import print_table
from sample_data.generator import Settings, write_scene

PEERS = os.environ.get("PEERS", sys.executable)
_WORKFLOW = """
version: 1
denoise: {{quality: {quality}}}
compress: {{snr: 40}}
features: {{bank: torchgeo-rcf, stride: 4}}
write: {{cog: [], report: false}}
run: {{workers: 1}}
"""
KINDS = {
    "bm3d": ("fast", "rioxarray, FastHyDe with BM3D, JPEG 2000, torch RCF", 1),
    "pca": ("none", "rioxarray, PCA of scikit-learn, Zstandard, torch RCF", 3),
}


def main(smoke: bool, side: int = 1024) -> None:
    """CPU and peak memory of whole commands, one thread, in turn; medians where there are several rounds."""
    side = 64 if smoke else side
    rows: list[list[object]] = []
    with tempfile.TemporaryDirectory() as folder:
        scene = Path(folder) / "scene.tif"
        write_scene(scene, Settings(height=side, width=side, bands=10, seed=1))
        ours(scene, Path(folder), "fast")  # compiles
        for kind, (quality, name, rounds) in KINDS.items():
            if not (modules := missing(kind)):
                runs = [(ours(scene, Path(folder), quality), script(scene, kind)) for _ in range(rounds)]
                rows += lines(quality, name, [list(both) for both in zip(*runs, strict=True)])
            else:
                mine = ours(scene, Path(folder), quality)
                rows += lines(quality, f"{name}: no {modules}", [[mine], []])
    print(f"10 x {side} x {side} uint16, one thread, one process each, write: no rasters, no report\n")
    print_table(
        [
            "what",
            "CPU, s",
            "its CPU over ours",
            "peak, MB",
            "its peak over ours",
            "SNR, dB (ours: the bound)",
            "features",
            "ratio",
        ],
        rows,
    )


def lines(quality: str, name: str, runs: list[list[dict[str, Any]]]) -> list[list[object]]:
    """A row of ours and one of the script's."""
    mine, theirs = runs
    cpu, peak = (median(run[key] for run in mine) for key in ("cpu", "peak"))
    rows: list[list[object]] = [[f"terrasketch, denoise: {quality}", *shown(mine, cpu, peak)]]
    return [*rows, [name, *shown(theirs, cpu, peak)]] if theirs else [*rows, [name, *["-"] * 7]]


def shown(runs: list[dict[str, Any]], cpu: float, peak: float) -> list[str]:
    """The cells of a row."""
    spent, held = (median(run[key] for run in runs) for key in ("cpu", "peak"))
    last = runs[-1]
    figures = [f"{spent:.1f}", f"{spent / cpu:.2f}", f"{held:.0f}", f"{held / peak:.2f}"]
    return [*figures, f"{last['snr']:.1f}", f"{last['features']}", f"{last['ratio']:.1f}"]


def ours(scene: Path, folder: Path, quality: str) -> dict[str, Any]:
    """The command."""
    workflow = folder / "job.yaml"
    workflow.write_text(_WORKFLOW.format(quality=quality))
    with tempfile.TemporaryDirectory(dir=folder) as out:
        ran = measured(["run", str(workflow), str(scene), "--out", out, "--json"])
        receipt = json.loads(ran["stdout"])["scenes"][0]
        shape = json.loads((Path(out) / "scene" / "features.zarr" / "features" / "zarr.json").read_text())["shape"]
    raw, stored = (receipt["stages"][0][key] for key in ("raw_bytes", "stored_bytes"))
    snr = receipt["facts"].get("snr", 40.0)
    return {
        "cpu": float(ran["cpu"]),
        "peak": float(ran["peak"]),
        "snr": snr,
        "features": shape[0],
        "ratio": raw / stored,
    }


def script(scene: Path, kind: str) -> dict[str, Any]:
    """The script, told to keep to one thread."""
    with tempfile.TemporaryDirectory() as folder:
        command = [PEERS, "-m", "benchmarks.whole_script", kind, str(scene), folder]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def missing(kind: str) -> str:
    """The packages that the script wants and does not find."""
    names = ["torch", "rioxarray", "sklearn", "imagecodecs", *(["bm3d"] if kind == "bm3d" else [])]
    code = "import importlib.util, sys; print(*[n for n in sys.argv[1:] if not importlib.util.find_spec(n)])"
    return subprocess.run([PEERS, "-c", code, *names], capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main("--smoke" in sys.argv)
