"""What became of a scene: a receipt, a figure per stage, every failure by name."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from pipeline.flow.basis_files import models_in
from pipeline.flow.history import earlier_runs, now
from pipeline.flow.paperwork import counted, versions, write_json
from pipeline.flow.tasks import Receipt
from pipeline.jit import any_compiled
from pipeline.raster.object_stores import METADATA
from pipeline.storage import ObjectPath, place


@dataclass
class StageReceipt:
    """One map over one scene: tiles there at its end, those found done, bytes in and out, seconds."""

    name: str
    tiles: int
    resumed: int
    raw_bytes: int
    stored_bytes: int
    work_seconds: float
    """Summed over the tasks."""
    seconds: float
    """By the clock."""
    clipped: int = 0
    """Values beyond the range of int8 features, in the tiles that this run computed."""
    failed: int = 0
    cpu_seconds: float = 0.0
    """Of processor, summed over the tasks."""
    flops: float | None = None
    """Of matrix products, in the tiles that this run computed; None where they are not known."""

    @property
    def computed(self) -> float:
        """The share of the tiles that this run computed."""
        return (self.tiles - self.resumed) / self.tiles if self.tiles else 0.0

    @classmethod
    def of(cls, name: str, receipt: Receipt, seconds: float, flops: float | None = None) -> StageReceipt:
        """The figures of a map; `flops` of all its tiles."""
        share = (receipt.tiles - receipt.resumed) / max(1, receipt.met)
        return cls(
            name=name,
            tiles=receipt.tiles,
            resumed=receipt.resumed,
            raw_bytes=receipt.raw,
            stored_bytes=receipt.stored,
            work_seconds=receipt.seconds,
            seconds=seconds,
            clipped=receipt.clipped,
            failed=receipt.failed,
            cpu_seconds=receipt.cpu,
            flops=None if flops is None else flops * share,
        )


@dataclass
class SceneReceipt:
    """What became of one scene: `done`, `complete` (it was already), `failed` with its failures, or `refused`
    with the reason: outputs of other options are there, and stay as they are."""

    name: str
    folder: str
    inputs: list[str]
    command: str
    status: str = "failed"
    stages: list[StageReceipt] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    """A line each, as people read it."""
    failed: list[dict[str, Any]] = field(default_factory=list)
    """The same for machines: file, window (rasterio's words), tile, stage, error."""
    stage: str = "read"
    """What was at work last."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Figures found at the end: ratio, snr, noise, shapes."""
    seconds: float = 0.0
    """By the clock, for all of the scene: opening it, its stages, its finish."""
    finish_seconds: float = 0.0
    """By the clock, of its rasters, item and report."""
    started: str = field(default_factory=now)
    """UTC, ISO 8601."""
    compiled: bool = field(default_factory=lambda: not any_compiled())
    """Whether no kernel was on the disk when it began, so that its seconds hold their compiling."""
    kept_off: bool = False
    """Whether the folder is another run's at this moment, or somebody else's, or cannot be written."""

    earlier: list[dict[str, Any]] = field(default_factory=list)
    """The runs before this one that worked on the same outputs, oldest first."""

    @property
    def foreign(self) -> bool:
        """Whether the folder from which this run was kept off holds anything."""
        try:
            folder = place(self.folder)
            names = folder.names() if isinstance(folder, ObjectPath) else {path.name for path in folder.iterdir()}
        except OSError:
            return False
        return self.kept_off and bool(names - {".running"})

    @property
    def history(self) -> list[dict[str, Any]]:
        """Every run that worked on the outputs, this one last."""
        run = {
            "started": self.started,
            "command": self.command,
            "status": self.status,
            "computed": sum(stage.tiles - stage.resumed for stage in self.stages),
            "found": sum(stage.resumed for stage in self.stages),
            "failures": max(sum(stage.failed for stage in self.stages), len(self.failed)),
            "seconds": self.seconds,
        }
        return [*self.earlier, run]

    def recall(self) -> None:
        """Take over the history of the receipt that is in the folder."""
        self.earlier = earlier_runs(place(self.folder) / "receipt.json")

    @property
    def resumed(self) -> bool:
        """True where no tile had to be computed."""
        return bool(self.stages) and all(stage.resumed == stage.tiles for stage in self.stages)

    @property
    def computed(self) -> bool:
        """True where a chunk of the scene is there."""
        folders = [
            place(self.folder) / f"{name}.zarr{end}" for name in ("scene", "features") for end in ("", ".partial")
        ]
        try:
            return any((folder / folder.name.partition(".")[0] / "c").is_dir() for folder in folders)
        except OSError:  # an object store that does not answer; who asks wants words for people
            return False

    def add(self, name: str, receipt: Receipt, seconds: float, flops: float | None = None) -> None:
        """Record a map of so many `flops`, and the tiles that failed in it."""
        self.stages.append(StageReceipt.of(name, receipt, seconds, flops))
        for failure in receipt.failures:
            self.failures.append(str(failure))
            self.failed.append(self._entry(failure.error, failure.file, failure.window.to_json(), failure.tile))
        if receipt.failed > len(receipt.failures):
            self.failures.append(f"and {counted(receipt.failed - len(receipt.failures), 'more tile')}")

    def was_done(self) -> bool:
        """Whether the receipt in the folder is that of a finished run: it is written last, and may not have been."""
        return (self._before() or {}).get("status") in ("done", "complete")

    def facts_before(self) -> dict[str, Any]:
        """What the receipt in the folder tells of the scene; of any type, for others may have written there."""
        facts = (self._before() or {}).get("facts")
        return facts if isinstance(facts, dict) else {}

    def _before(self) -> dict[str, Any] | None:
        """The receipt in the folder; None where there is none that can be read."""
        try:
            known = json.loads((place(self.folder) / "receipt.json").read_bytes())
        except (OSError, ValueError, RecursionError):
            return None
        return known if isinstance(known, dict) else None

    def interrupted(self, options: dict[str, Any]) -> None:
        """Write down that this run was stopped: in the receipt that is there, which else stays as it is, or a new one.

        Raises:
            OutputError: it cannot be written.
        """
        self.status = "interrupted"
        known, told = self._before(), {"history": self.history, "status": self.status}
        write_json(place(self.folder) / "receipt.json", self.to_json(options) if known is None else known | told)

    def refuse(self, error: BaseException) -> None:
        """Record that the outputs are of other options; had this run begun with them, it has failed."""
        self.fail(error)
        if not any(stage.computed for stage in self.stages):
            self.status = "refused"

    def fail(self, error: BaseException) -> None:
        """Record why the scene failed, unless its tiles said so already."""
        self.status = "failed"
        if not self.failures:
            line = " ".join(str(error).split())
            self.failures.append(line)
            self.failed.append(self._entry(line, getattr(error, "file", None), getattr(error, "window", None)))

    def to_json(self, options: dict[str, Any]) -> dict[str, Any]:
        """The receipt as it is written."""
        facts = asdict(self)
        del facts["stage"], facts["earlier"], facts["kept_off"]
        return facts | {"history": self.history, "options": options, "versions": versions(), "outputs": self._outputs()}

    def write(self, options: dict[str, Any]) -> None:
        """Write receipt.json into the scene's folder."""
        write_json(place(self.folder) / "receipt.json", self.to_json(options))

    def _entry(
        self, error: str, file: str | None, window: dict[str, int] | None, tile: int | None = None
    ) -> dict[str, Any]:
        """Where no error names its file, a scene of one file has no other."""
        return {
            "file": file or (self.inputs[0] if len(self.inputs) == 1 else None),
            "window": window,
            "tile": tile,
            "stage": self.stage,
            "error": error,
        }

    def _outputs(self) -> dict[str, int]:
        """Bytes of each output that is there; of a store, of its chunks. Nothing where an object store does not say."""
        try:
            return self._sizes()
        except OSError:
            return {}

    def _sizes(self) -> dict[str, int]:
        folder = place(self.folder)
        stored = {"scene.zarr": 0, "features.zarr": 1}
        sizes = {
            name: self.stages[number].stored_bytes
            for name, number in stored.items()
            if (folder / name / METADATA).is_file() and number < len(self.stages)
        }
        files = ("denoised.tif", "features.tif", "item.json", "report.html", "bank.npz", "basis.npz")
        sizes |= {name: (folder / name).stat().st_size for name in files if (folder / name).is_file()}
        models = sum(file.stat().st_size for file in models_in(folder / "basis"))
        return sizes | ({"basis": models} if models else {})
