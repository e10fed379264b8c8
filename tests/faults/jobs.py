"""The small jobs that the schedules run, each with its undisturbed outputs."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults.counting import log_of
from tests.scenes import small_scene
from tests.tiny_models import small_resnet

_NO_REPORT = "write: {{report: false, cog: [%s]}}\n"
_HEAD = "version: 1\nsources: {sources}\nread: {{tile: 64}}\n"
TEXTS = {
    "plain": _HEAD + "compress: {{snr: 35}}\nfeatures: {{bank: rcf-mixed, count: 8, stride: 4}}\n",
    "basis": _HEAD
    + "denoise: {{basis: scene}}\nfeatures: {{bank: classic, stride: 4, dtype: int8}}\n"
    + _NO_REPORT % "denoised",
    "mean": _HEAD
    + "compress: {{rmse: 40}}\nfeatures: {{bank: 'onnx:{model}@globalaveragepool_6'}}\n"
    + _NO_REPORT % "features",
    "many": _HEAD
    + "denoise: {{quality: none}}\ncompress: {{lossless: true}}\nfeatures: null\n"
    + _NO_REPORT % "denoised",
}
SIZES = {
    "plain": [(260, 300)],
    "basis": [(250, 300), (200, 130)],
    "mean": [(320, 320)],
    "many": [(200, 260), (130, 260), (260, 130), (190, 190)],
}
_OF_A_RUN = {
    *("created", "updated", "datetime", "start_datetime", "end_datetime", "processing:datetime"),
    *("folder", "command", "seconds", "work_seconds", "resumed", "clipped", "out", "run", "report.html"),
    *("cpu_seconds", "finish_seconds", "started", "compiled", "history", "flops", "interval"),
}
_OF_A_SUMMARY = _OF_A_RUN | {"status", "counts"}
"""What the last run did, and what it found done, is as true as another sum."""
_LINES = re.compile(
    rb'Wall time|Busy time|<dt>Tiles|<tr><th scope="row">(denoise \+ compress|compress|features|network|run\.\w+)</th>'
    rb"|<code>terrasketch|<code>[^<]* run "
)
_OF_TIMES = re.compile(
    rb'<section id="stages">.*?</section>|<h3 class="gap">Runs on these outputs</h3>.*?<p class="note">', re.DOTALL
)


@dataclass
class Reference:
    """A job, and what it leaves when nobody disturbs it."""

    name: str
    workflow: Path
    files: dict[str, bytes] = field(default_factory=dict)
    """What matters of each output, by its path in the folder of outputs."""
    tiles: dict[tuple[str, str, str], int] = field(default_factory=dict)
    """How often each (scene, stage, tile) was computed: once."""

    def chunks(self, stage: str) -> list[str]:
        """The chunks of a stage, over all scenes."""
        return [name for name in self.files if f"/{stage}.zarr/" in name and "/c/" in name]

    def order(self, out: Path, scheduler: str, batch: int) -> dict[str, Any]:
        """A run of the job as an order to the drivers."""
        words = ["run", self.workflow.name, "--out", str(out), "--scheduler", scheduler, "--workers", "2"]
        return {"words": words, "folder": str(self.workflow.parent), "batch": batch}


def write_jobs(folder: Path) -> dict[str, Path]:
    """The scenes and workflows in a folder; the paths of the workflows."""
    folder.mkdir(parents=True, exist_ok=True)
    model, paths = small_resnet(folder / "head.onnx", 4, classifies=True), {}
    for name, text in TEXTS.items():
        sources = [
            str(small_scene(folder / f"{name}{number}.tif", height=height, width=width, seed=number))
            for number, (height, width) in enumerate(SIZES[name])
        ]
        paths[name] = folder / f"{name}.yaml"
        paths[name].write_text(text.format(sources=json.dumps(sources), model=model))
    return paths


def learn(name: str, workflow: Path, out: Path) -> Reference:
    """The reference of a job from its undisturbed outputs."""
    return Reference(name, workflow, outputs(out), computed(out))


def outputs(out: Path) -> dict[str, bytes]:
    """What matters of every file below the folder of outputs: all bytes, but for times and what names the run."""
    return {
        str(path.relative_to(out)): essence(path.name, path.read_bytes())
        for path in sorted(out.rglob("*"))
        if path.is_file()
    }


def essence(name: str, content: bytes) -> bytes:
    """A file without the times and the words of the run that wrote it; chunks and rasters stay as they are."""
    if name.endswith(".json") and name != "zarr.json":
        left_out = _OF_A_SUMMARY if name == "run.json" else _OF_A_RUN
        return json.dumps(_without(json.loads(content), left_out), sort_keys=True).encode()
    if name == "report.html":
        if not content.rstrip().endswith(b"</html>"):
            raise ValueError("half a page")
        content = _OF_TIMES.sub(b"", content)
        return b"\n".join(line for line in content.splitlines() if not _LINES.search(line))
    return content


def computed(out: Path) -> dict[tuple[str, str, str], int]:
    """How often each (scene, stage, tile) was begun and not found done, whatever became of it."""
    counts: dict[tuple[str, str, str], int] = {}
    log = log_of(out.parent)
    for line in log.read_text().splitlines() if log.exists() else []:
        word, scene, stage, tile, _pid = line.split()
        change = {"begin": 1, "found": -1}.get(word, 0)
        counts[scene, stage, tile] = counts.get((scene, stage, tile), 0) + change
    return counts


def _without(value: Any, names: set[str]) -> Any:
    if isinstance(value, dict):
        return {key: _without(inner, names) for key, inner in value.items() if key not in names}
    if isinstance(value, list):
        return [_without(inner, names) for inner in value]
    return value
